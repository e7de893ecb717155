#!/usr/bin/env python3
"""A client for what no stock client does: pipelined groups, BDAT, SASL step by step, IMAP literals and COMPRESS.

    client.py SCENARIO HOST PORT

A scenario states every reply it expects and stops at the first that differs, so a sample shows what its name says.
"""

import base64
import hashlib
import hmac
import re
import socket
import sys
import zlib

ANN, ANN_SECRET, WRONG = "ann", "secret-of-ann", "wrong-guess-of-ann"
TOKEN = "token-of-ann-1f8b08"


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def note(subject, body, sender="bob@example.net", to="ann@example.org", extra=""):
    """A message in CRLF lines, its last line ended."""
    head = f"From: {sender}\nTo: {to}\nSubject: {subject}\nDate: Sat, 31 Jan 2026 09:00:00 +0000\n"
    head += f"Message-ID: <{hashlib.sha1(subject.encode()).hexdigest()[:12]}@example.net>\n{extra}\n"
    return (head + body).replace("\n", "\r\n").encode()


def stuffed(message):
    """The message as DATA sends it: dots doubled at line starts, the final dot added (RFC 5321 section 4.5.2)."""
    return re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"


DOTS = note("Dots", "A line.\n.\n..\n.hidden\n\nThe dot above ended nothing.\n")
MIXED = note(
    "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?= from\n =?ISO-8859-1?B?TfxuY2hlbg==?=",
    "--b1\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße aus München\n"
    "--b1\nContent-Type: application/octet-stream; name=table.bin\nContent-Transfer-Encoding: base64\n"
    "Content-Disposition: attachment; filename=table.bin\n\n"
    + "".join(b64(bytes(range(line * 16, line * 16 + 16)) * 3) + "\n" for line in range(16))
    + "--b1--\n",
    extra="MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b1\n",
)


class Peer:
    """One connection."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.inflate, self.deflate, self.tag = b"", None, None, 0

    def send(self, data):
        data = self.sent = data if isinstance(data, bytes) else data.encode()
        if self.deflate:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"closed by the server after {self.buffer!r}")
        self.buffer += self.inflate.decompress(data) if self.inflate else data

    def octets(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode(errors="replace")

    def close(self):
        """Waits for the server's end of file first: the server closes after a good bye."""
        self.socket.settimeout(5)
        while self.socket.recv(65536):
            pass
        self.socket.close()

    # SMTP and LMTP

    def reply(self, *codes):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        if int(lines[-1][:3]) not in codes:
            raise AssertionError(f"after {self.sent!r} expected {codes}: {lines}")
        return lines

    def smtp(self, command, *codes):
        self.send(command + "\r\n" if isinstance(command, str) else command)
        return self.reply(*codes)

    # POP3

    def pop3(self, command=None, ok=True, multiline=False):
        if command is not None:
            self.send(command + "\r\n")
        lines = [self.line()]
        if lines[0].startswith("+OK") is not ok:
            raise AssertionError(f"{command}: {lines}")
        while multiline and lines[-1] != ".":
            lines.append(self.line())
        return lines

    # IMAP

    def untagged(self, until, results):
        """Reads up to the line that starts with `until`, literals included."""
        lines = []
        while True:
            line = self.line()
            while literal := re.search(r"\{(\d+)\}$", line):
                line += "\n" + self.octets(int(literal[1])).decode(errors="replace") + self.line()
            lines.append(line)
            if line.startswith(until):
                return self.judge(lines, results)

    @staticmethod
    def judge(lines, results):
        if results and lines[-1].split(" ")[1] not in results:
            raise AssertionError(f"expected {results}: {lines}")
        return lines

    def imap(self, *parts, results=("OK",)):
        """A command; every part after the first is a literal with what follows it: (octets, rest)."""
        self.tag += 1
        tag = f"a{self.tag:03}"
        line = f"{tag} {parts[0]}".encode()
        for octets, rest in parts[1:]:
            octets = octets if isinstance(octets, bytes) else octets.encode()
            self.send(line + f"{{{len(octets)}}}\r\n".encode())
            if (lines := self.untagged(("+", tag), None))[-1].startswith(tag):
                return self.judge(lines, results)
            line = octets + rest.encode()
        # In one piece with the last literal: Dovecot answers some commands before it has seen the end of their line.
        self.send(line + b"\r\n")
        return self.untagged(tag, results)


def scram(mechanism, user, password):
    """Client messages of RFC 5802: a generator that takes the server's and gives the client's."""
    name = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]
    nonce = "nonce-of-" + user
    first = f"n={user},r={nonce}"
    challenge = yield "n,," + first
    facts = dict(field.split("=", 1) for field in challenge.split(","))
    salted = hashlib.pbkdf2_hmac(name, password.encode(), base64.b64decode(facts["s"]), int(facts["i"]))
    bare = f"c=biws,r={facts['r']}"
    key = hmac.digest(salted, b"Client Key", name)
    signature = hmac.digest(hashlib.new(name, key).digest(), f"{first},{challenge},{bare}".encode(), name)
    proof = bytes(a ^ b for a, b in zip(key, signature))
    yield f"{bare},p={b64(proof)}"
    yield ""


def cram(user, password, challenge):
    return f"{user} {hmac.new(password.encode(), base64.b64decode(challenge), 'md5').hexdigest()}"


# SMTP


def smtp_hello(host, port, name="client.example.net"):
    peer = Peer(host, port)
    peer.reply(220)
    peer.smtp(f"EHLO {name}", 250)
    return peer


def smtp_quit(peer):
    peer.smtp("QUIT", 221)
    peer.close()


def smtp_pipelined(host, port):
    """Groups of RFC 2920: some recipients refused, all refused, and the next transaction behind the message."""
    peer = smtp_hello(host, port)
    peer.send(
        "MAIL FROM:<bob@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
        "RCPT TO:<bob@example.org>\r\nRCPT TO:<someone@example.com>\r\nDATA\r\n"
    )
    for code in 250, 250, 550, 250, 554, 354:
        peer.reply(code)
    peer.smtp(stuffed(DOTS), 250)
    peer.send("MAIL FROM:<bob@example.net>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<no.one@example.org>\r\nDATA\r\n")
    for code in 250, 550, 550, 554:
        peer.reply(code)
    peer.send("RSET\r\nMAIL FROM:<bob@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
    for code in 250, 250, 250, 354:
        peer.reply(code)
    peer.send(
        stuffed(note("First of two", "One.\n"))
        + b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    )
    for code in 250, 250, 250, 354:
        peer.reply(code)
    peer.send(stuffed(note("Second of two", "Two.\n")) + b"QUIT\r\n")
    peer.reply(250)
    peer.reply(221)
    peer.close()


def smtp_bdat(host, port):
    """RFC 3030: chunks cut inside a line, an empty last chunk, chunks in one group, chunks without a recipient."""
    peer = smtp_hello(host, port)
    peer.smtp("MAIL FROM:<bob@example.net> BODY=8BITMIME", 250)
    peer.smtp("RCPT TO:<ann@example.org>", 250)
    for chunk in MIXED[:100], MIXED[100:777], MIXED[777:]:
        peer.smtp(b"BDAT %d\r\n" % len(chunk) + chunk, 250)
    peer.smtp("BDAT 0 LAST", 250)
    peer.send(
        b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
        + b"BDAT 50\r\n" + DOTS[:50] + b"BDAT %d LAST\r\n" % (len(DOTS) - 50) + DOTS[50:]
    )
    for code in 250, 250, 550, 250, 250:
        peer.reply(code)
    peer.send(b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<nobody@example.org>\r\nBDAT 30 LAST\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\n")
    for code in 250, 550, 554:
        peer.reply(code)
    peer.smtp("RSET", 250)
    smtp_quit(peer)


def smtp_utf8(host, port):
    """RFC 6531: an address and a header beyond ASCII."""
    peer = smtp_hello(host, port)
    peer.smtp("MAIL FROM:<jürgen@example.net> SMTPUTF8 BODY=8BITMIME", 250)
    peer.smtp("RCPT TO:<ann@example.org>", 250)
    peer.smtp("DATA", 354)
    peer.smtp(stuffed(note("Grüße aus München ☃", "Straße.\n", sender="Jürgen <jürgen@example.net>")), 250)
    peer.smtp("MAIL FROM:<bob@example.net> BODY=8BITMIME", 250)
    peer.smtp("RCPT TO:<ann@example.org>", 250)
    peer.smtp("DATA", 354)
    peer.smtp(stuffed(MIXED), 250)
    smtp_quit(peer)


def smtp_sasl(host, port):
    """Mechanisms and outcomes that swaks does not reach (RFC 4954)."""
    peer = smtp_hello(host, port)
    peer.smtp("AUTH GSSAPI", 504, 535)
    peer.smtp("AUTH PLAIN", 334)
    peer.smtp("*", 501, 535)
    peer.smtp("AUTH LOGIN " + b64(ANN), 334)
    peer.smtp(b64(WRONG), 535)
    peer.smtp(f"AUTH PLAIN {b64(chr(0) + ANN + chr(0) + WRONG)}", 535)
    peer.smtp("AUTH XOAUTH2 " + b64(f"user=ann@example.org\1auth=Bearer {TOKEN}\1\1"), 334, 535)
    if peer.smtp("", 535, 500, 501, 502):
        pass
    smtp_quit(peer)
    for mechanism in "SCRAM-SHA-1", "SCRAM-SHA-256":
        peer = smtp_hello(host, port)
        steps = scram(mechanism, ANN, ANN_SECRET)
        challenge = peer.smtp(f"AUTH {mechanism} {b64(next(steps))}", 334)[0][4:]
        answer = steps.send(base64.b64decode(challenge).decode())
        peer.smtp(b64(answer), 334)
        peer.smtp("", 235)
        peer.smtp("MAIL FROM:<ann@example.org> AUTH=ann@example.org", 250)
        peer.smtp("RCPT TO:<bob@example.org>", 250)
        peer.smtp("DATA", 354)
        peer.smtp(stuffed(note(f"By {mechanism}", "Sent.\n", "ann@example.org", "bob@example.org")), 250)
        peer.smtp("AUTH PLAIN", 503)
        smtp_quit(peer)


def smtp_dsn(host, port):
    """RFC 3461: parameters of MAIL and RCPT, xtext included."""
    peer = smtp_hello(host, port)
    message = note("Please confirm", "Thank you.\n", sender="bob@example.org")
    peer.smtp(f"MAIL FROM:<bob@example.org> RET=HDRS ENVID=QQ+2B314+3D159 SIZE={len(message)} BODY=7BIT", 250)
    peer.smtp("RCPT TO:<ann@example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;ann+2Bnews@example.org", 250)
    peer.smtp("RCPT TO:<bob@example.org> NOTIFY=NEVER", 250)
    peer.smtp("RCPT TO:<ann@example.org> NOTIFY=SOMETIMES", 501)
    peer.smtp("DATA", 354)
    peer.smtp(stuffed(message), 250)
    smtp_quit(peer)


def smtp_rejects(host, port):
    """Refusals: syntax, order, senders, recipients, size; then one error too many."""
    peer = smtp_hello(host, port)
    for command, code in [
        ("MAIL FROM:<spammer@example.com>", 250),
        ("RCPT TO:<ann@example.org>", 550),
        ("RSET", 250),
        ("MAIL FROM:<greylist@example.com>", 250),
        ("RCPT TO:<ann@example.org>", 450),
        ("RSET", 250),
        ("MAIL FROM:<bob@example.net> SIZE=99999999", 552),
        ("RSET", 250),
        ("MAIL FROM:<bob@example.net>", 250),
        ("MAIL FROM:<bob@example.net>", 503),
        ("RCPT TO:<nobody@example.org>", 550),
        ("RCPT TO:<someone@example.com>", 554),
        ("DATA", 554),
        ("RCPT TO:<ann@example.org>", 250),
        ("RSET", 250),
        ("VRFY ann", 252),
        ("VRFY nobody@example.org", 550),
        ("NOOP", 250),
    ]:
        peer.smtp(command, code)
    smtp_quit(peer)

    peer = Peer(host, port)
    peer.reply(220)
    peer.smtp("HELO", 501)
    peer.smtp("HELO client.example.net", 250)
    for command, code in [
        ("RCPT TO:<ann@example.org>", 503),
        ("DATA", 503),
        ("MAIL FROM:bob@example.net extra words", 555),
        ("MAIL FROM:<bob@example.net> FOO=BAR", 555),
        ("MAIL TO:<bob@example.net>", 501),
        ("MAIL FROM:<bob>", 250),
        ("RCPT TO:<ann@example.org>", 504),
        ("EXPN staff", 500),
        ("HELP", 500),
        ("FROBNICATE now", 500),
        ("AUTH PLAIN", 503),
    ]:
        peer.smtp(command, code)
    # Postfix counts 20 errors, says 421 unasked and closes. One more command would meet the close, and be reset.
    for _ in range(9):
        peer.smtp("XYZZY", 500)
    peer.reply(421)
    peer.close()


def smtp_breaks(host, port):
    """Ends that are no QUIT: a client gone in the middle of its data, HTTP by mistake, a client that resets."""
    peer = smtp_hello(host, port)
    peer.smtp("MAIL FROM:<bob@example.net>", 250)
    peer.smtp("RCPT TO:<ann@example.org>", 250)
    peer.smtp("DATA", 354)
    peer.send(DOTS[:90])
    peer.socket.shutdown(socket.SHUT_WR)
    peer.close()

    peer = Peer(host, port)
    peer.send("GET / HTTP/1.1\r\nHost: mx.example.org\r\n\r\n")
    peer.reply(220)
    peer.reply(221)
    peer.close()

    peer = smtp_hello(host, port)
    peer.smtp("MAIL FROM:<bob@example.net>", 250)
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.socket.close()


def lmtp(host, port):
    """RFC 2033: one reply a recipient after the data; carol's mailbox is too small."""
    peer = Peer(host, port)
    peer.reply(220)
    peer.smtp("EHLO client.example.net", 500, 502)
    peer.smtp("LHLO client.example.net", 250)
    peer.smtp("MAIL FROM:<bob@example.net>", 250)
    peer.smtp("RCPT TO:<ann@example.org>", 250)
    peer.smtp("RCPT TO:<nobody@example.org>", 550)
    peer.smtp("RCPT TO:<carol@example.org>", 250)
    peer.smtp("RCPT TO:<bob@example.org>", 250)
    peer.smtp("DATA", 354)
    peer.send(stuffed(note("To three", "Some line of text.\n" * 200)))
    for code in 250, 552, 250:
        peer.reply(code)
    peer.send("RSET\r\nMAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\n")
    for code in 250, 250, 250, 250:
        peer.reply(code)
    peer.send(b"BDAT 100\r\n" + MIXED[:100] + b"BDAT %d LAST\r\n" % (len(MIXED) - 100) + MIXED[100:])
    for code in 250, 250, 250:
        peer.reply(code)
    peer.smtp("MAIL FROM:<bob@example.net>", 250)
    peer.smtp("RCPT TO:<nobody@example.org>", 550)
    peer.smtp("DATA", 503, 554)
    smtp_quit(peer)


def seed(host, port):
    """Three messages for ann, by LMTP."""
    peer = Peer(host, port)
    peer.reply(220)
    peer.smtp("LHLO client.example.net", 250)
    for message in DOTS, MIXED, note("Long", "0123456789 abcdefghijklmnopqrstuvwxyz\n" * 400):
        peer.smtp("MAIL FROM:<bob@example.net>", 250)
        peer.smtp("RCPT TO:<ann@example.org>", 250)
        peer.smtp("DATA", 354)
        peer.smtp(stuffed(message), 250)
    smtp_quit(peer)


# POP3


def pop3(host, port):
    """RFC 1939: every command, answers of one line and of many, refusals, and a pipelined group (RFC 2449)."""
    peer = Peer(host, port)
    peer.pop3()
    peer.pop3("CAPA", multiline=True)
    peer.pop3("STAT", ok=False)
    peer.pop3("USER ann")
    peer.pop3("PASS " + WRONG, ok=False)
    peer.pop3("USER ann")
    peer.pop3("PASS " + ANN_SECRET)
    peer.pop3("STAT")
    peer.pop3("LIST", multiline=True)
    peer.pop3("LIST 1")
    peer.pop3("LIST 9", ok=False)
    peer.pop3("UIDL", multiline=True)
    peer.pop3("UIDL 2")
    peer.pop3("TOP 1 0", multiline=True)
    peer.pop3("TOP 2 3", multiline=True)
    peer.pop3("RETR 1", multiline=True)
    peer.pop3("RETR 2", multiline=True)
    peer.pop3("RETR 9", ok=False)
    peer.pop3("XTND XLST", ok=False)
    peer.pop3("DELE 1")
    peer.pop3("RETR 1", ok=False)
    peer.pop3("RSET")
    peer.pop3("NOOP")
    peer.send("RETR 3\r\nDELE 3\r\nDELE 1\r\nQUIT\r\n")
    peer.pop3(multiline=True)
    peer.pop3()
    peer.pop3()
    peer.pop3()
    peer.close()


def pop3_auth(host, port):
    """APOP (RFC 1939 section 7) and SASL (RFC 5034), good and bad."""
    for secret, ok in (WRONG, False), (ANN_SECRET, True):
        peer = Peer(host, port)
        stamp = re.search(r"<.*>", peer.pop3()[0])[0]
        peer.pop3(f"APOP ann {hashlib.md5((stamp + secret).encode()).hexdigest()}", ok=ok)
        if ok:
            peer.pop3("STAT")
        peer.pop3("QUIT")
        peer.close()
    peer = Peer(host, port)
    peer.pop3()
    peer.send("AUTH CRAM-MD5\r\n")
    peer.pop3(cram_answer(peer, WRONG), ok=False)
    peer.send("AUTH PLAIN\r\n")
    peer.line()
    peer.pop3("*", ok=False)
    peer.send("AUTH CRAM-MD5\r\n")
    peer.pop3(cram_answer(peer, ANN_SECRET))
    peer.pop3("QUIT")
    peer.close()
    peer = Peer(host, port)
    peer.pop3()
    peer.pop3("AUTH PLAIN " + b64("\0ann\0" + ANN_SECRET))
    peer.pop3("QUIT")
    peer.close()


def cram_answer(peer, secret):
    return b64(cram(ANN, secret, peer.line().removeprefix("+ ")))


# IMAP


def imap_login(host, port):
    peer = Peer(host, port)
    peer.untagged("* OK", None)
    peer.imap(f"LOGIN ann {ANN_SECRET}")
    return peer


def imap_logout(peer):
    peer.imap("LOGOUT")
    peer.close()


def imap(host, port):
    """RFC 3501 and extensions: literals of all forms, appends, fetches of parts, flags, searches, copies."""
    peer = Peer(host, port)
    peer.untagged("* OK", None)
    peer.imap("CAPABILITY")
    peer.imap("SELECT INBOX", results=("BAD", "NO"))
    peer.imap("LOGIN ", ("ann", " "), (WRONG, ""), results=("NO",))
    peer.send(f"a900 LOGIN {{3+}}\r\nann {{{len(ANN_SECRET)}+}}\r\n{ANN_SECRET}\r\n")
    peer.untagged("a900", ("OK",))
    peer.imap('ID ("name" "client.py" "version" "1")')
    peer.imap("NAMESPACE")
    peer.imap('LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN))')
    peer.imap('LSUB "" %')
    peer.imap('CREATE "M&APw-nchen/Notes"')
    peer.imap("SUBSCRIBE ", ("M&APw-nchen/Notes", ""))
    peer.imap("STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE)")
    peer.imap("SELECT INBOX (CONDSTORE)")
    peer.imap("APPEND Sent (\\Seen) \"31-Jan-2026 09:00:00 +0000\" ", (DOTS, ""))
    one, two = note("One", "1\n"), note("Two", "2\n")
    peer.send(
        b"a901 APPEND Sent (\\Seen \\Flagged) {%d+}\r\n" % len(one) + one
        + b" (\\Draft) {%d+}\r\n" % len(two) + two + b"\r\n"
    )
    peer.untagged("a901", ("OK",))
    peer.imap("APPEND Nowhere ", (one, ""), results=("NO",))
    peer.imap("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)")
    peer.imap("FETCH 2 (BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])")
    peer.imap("FETCH 1 BODY[]")
    peer.imap("UID FETCH 2 (FLAGS BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[TEXT])")
    peer.imap("UID FETCH 3 BODY.PEEK[]<0.4096>")
    peer.imap("UID FETCH 3 BODY.PEEK[]<4096.65536>")
    peer.imap("FETCH 2 (RFC822.HEADER BINARY.PEEK[2])")
    peer.imap("STORE 1 +FLAGS (\\Answered $Forwarded)")
    peer.imap("UID STORE 2 FLAGS.SILENT (\\Seen)")
    peer.imap("SEARCH UNSEEN SINCE 1-Jan-2026")
    peer.imap("UID SEARCH RETURN (MIN MAX COUNT) CHARSET UTF-8 SUBJECT ", ("Grüße", ""))
    peer.imap("UID SORT (REVERSE DATE) UTF-8 ALL")
    peer.imap("COPY 1 Trash")
    peer.imap('UID MOVE 2 "M&APw-nchen/Notes"')
    peer.imap("STORE 1 +FLAGS (\\Deleted)")
    peer.imap("EXPUNGE")
    # Commands that may be answered in any order, in one segment; the third is none.
    peer.send(
        "b1 NOOP\r\nb2 STATUS Trash (MESSAGES)\r\nb3 FROB\r\nb4 UID FETCH 3 (BODY.PEEK[HEADER])\r\nb5 CHECK\r\n"
    )
    peer.untagged("b5", ("OK",))
    peer.imap("ENABLE CONDSTORE QRESYNC")
    peer.imap("GETQUOTAROOT INBOX")
    peer.imap("CLOSE")
    peer.imap("EXAMINE Trash")
    peer.imap("UNSELECT")
    peer.imap('RENAME "M&APw-nchen/Notes" Notes')
    peer.imap("DELETE Notes")
    imap_logout(peer)


def imap_idle(host, port):
    """RFC 2177: mail arrives while the client waits; then a second wait that sees flags change."""
    peer = imap_login(host, port)
    other = imap_login(host, port)
    peer.imap("SELECT INBOX")
    peer.send("c1 IDLE\r\n")
    peer.untagged("+", None)
    other.imap("APPEND INBOX ", (note("New", "Look here.\n"), ""))
    peer.untagged("* 4 EXISTS", None)
    peer.send("DONE\r\n")
    peer.untagged("c1", ("OK",))
    peer.imap("FETCH 4 (UID FLAGS BODY[])")
    other.imap("SELECT INBOX")
    peer.send("c2 IDLE\r\n")
    peer.untagged("+", None)
    other.imap("STORE 1 +FLAGS (\\Flagged)")
    peer.untagged("* 1 FETCH", None)
    peer.send("DONE\r\nc3 NOOP\r\n")
    peer.untagged("c3", ("OK",))
    imap_logout(other)
    imap_logout(peer)


def imap_compress(host, port):
    """RFC 4978: both directions deflated from the reply on."""
    peer = imap_login(host, port)
    peer.imap("COMPRESS DEFLATE")
    peer.deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    peer.inflate = zlib.decompressobj(-15)
    rest, peer.buffer = peer.buffer, b""
    peer.buffer = peer.inflate.decompress(rest)
    peer.imap("SELECT INBOX")
    peer.imap("FETCH 1:3 (UID FLAGS BODY.PEEK[])")
    peer.imap("APPEND INBOX ", (MIXED, ""))
    peer.imap("COMPRESS DEFLATE", results=("NO",))
    peer.imap("LOGOUT")
    peer.close()


def imap_auth(host, port):
    """SASL (RFC 3501 section 6.2.2, RFC 4959): good, bad, cancelled, in one step and in several."""
    peer = Peer(host, port)
    peer.untagged("* OK", None)
    peer.imap(f"LOGIN ann {WRONG}", results=("NO",))
    peer.imap(f'LOGIN "ann" "{WRONG}" "{ANN_SECRET}"', results=("BAD",))
    peer.imap(f"AUTHENTICATE PLAIN {b64(chr(0) + ANN + chr(0) + WRONG)}", results=("NO",))
    peer.imap("AUTHENTICATE GSSAPI", results=("NO",))
    imap_sasl(peer, "XOAUTH2", [f"user=ann@example.org\1auth=Bearer {TOKEN}\1\1", ""], "NO")
    peer.send("a800 AUTHENTICATE PLAIN\r\n")
    peer.line()
    peer.send("*\r\n")
    peer.untagged("a800", ("BAD", "NO"))
    peer.imap(f"AUTHENTICATE PLAIN {b64(chr(0) + ANN + chr(0) + ANN_SECRET)}")
    imap_logout(peer)

    peer = Peer(host, port)
    peer.untagged("* OK", None)
    peer.send("a800 AUTHENTICATE CRAM-MD5\r\n")
    peer.send(cram_answer(peer, ANN_SECRET) + "\r\n")
    peer.untagged("a800", ("OK",))
    imap_logout(peer)

    peer = Peer(host, port)
    peer.untagged("* OK", None)
    imap_sasl(peer, "LOGIN", [None, ANN, ANN_SECRET], "OK")
    imap_logout(peer)

    for mechanism in "SCRAM-SHA-1", "SCRAM-SHA-256":
        peer = Peer(host, port)
        peer.untagged("* OK", None)
        steps = scram(mechanism, ANN, ANN_SECRET)
        peer.send(f"a800 AUTHENTICATE {mechanism} {b64(next(steps))}\r\n")
        peer.send(b64(steps.send(base64.b64decode(peer.line()[2:]).decode())) + "\r\n")
        peer.line()
        peer.send("\r\n")
        peer.untagged("a800", ("OK",))
        imap_logout(peer)


def imap_sasl(peer, mechanism, answers, result):
    """An exchange whose answers do not depend on the challenges; `None` first means no initial response."""
    first = "" if answers[0] is None else " " + b64(answers[0])
    peer.send(f"a700 AUTHENTICATE {mechanism}{first}\r\n")
    for answer in answers[1:]:
        line = peer.line()
        if not line.startswith("+"):
            break
        peer.send(b64(answer) + "\r\n")
    else:
        line = peer.untagged("a700", None)[-1]
    if line.split(" ")[1] != result:
        raise AssertionError(line)


SCENARIOS = {
    name: scenario
    for name, scenario in list(globals().items())
    if callable(scenario) and getattr(scenario, "__code__", None) and scenario.__code__.co_varnames[:2] == ("host", "port")
}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in SCENARIOS:
        sys.exit(f"{__doc__}\nScenarios: {' '.join(SCENARIOS)}")
    SCENARIOS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
