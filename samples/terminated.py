"""Talks to a proxy that answers TLS, and looks at what is said of STARTTLS. Ports are read from the command line.

terminated.py PROTOCOL HOW PORT CA    PROTOCOL: smtp imap pop3; HOW: starttls implicit
"""

import base64
import re
import socket
import ssl
import sys

protocol, how, port, authority = sys.argv[1:5]
host = "mx.example.org"
context = ssl.create_default_context(cafile=authority)
words = {"smtp": b"STARTTLS", "imap": b"STARTTLS", "pop3": b"STLS"}
word = words[protocol]


class Line:
    """A connection that is talked over in lines."""

    def __init__(self):
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        if how == "implicit":
            self.secure()
        self.file = self.socket.makefile("rb")

    def secure(self):
        self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.file = self.socket.makefile("rb")

    def say(self, text, injected=b""):
        self.socket.sendall(text + b"\r\n" + injected)

    def until(self, pattern):
        lines = b""
        while True:
            line = self.file.readline()
            assert line, f"the connection ended after {lines!r}, before {pattern!r}"
            lines += line
            if re.match(pattern, line):
                return lines


line = Line()
ENDS = {"smtp": rb"\d\d\d ", "pop3": rb"\.\r\n", "imap": rb"c "}
LIST = {"smtp": b"EHLO client.example.net", "pop3": b"CAPA", "imap": b"c CAPABILITY"}


def listed():
    line.say(LIST[protocol])
    return line.until(ENDS[protocol]).upper().count(word)


greeting = line.until(rb"220 |\* OK|\+OK")
if how == "starttls":
    assert greeting.upper().count(word) == (protocol == "imap"), greeting
    assert listed() == 1
    ask = {"smtp": b"STARTTLS", "pop3": b"STLS", "imap": b"s STARTTLS"}[protocol]
    injected = {"smtp": b"RSET\r\n", "pop3": b"NOOP\r\n", "imap": b"i NOOP\r\n"}[protocol]
    line.say(ask, injected)
    line.until(rb"220 |\+OK|s OK")
    line.secure()
else:
    assert greeting.upper().count(word) == 0, greeting
assert listed() == 0
again = {"smtp": b"STARTTLS", "pop3": b"STLS", "imap": b"t STARTTLS"}[protocol]
line.say(again)
line.until(rb"5\d\d |-ERR|t BAD")
if protocol == "smtp":
    if port != "1025":
        line.say(b"AUTH PLAIN " + base64.b64encode(b"\0ann\0secret-of-ann"))
        line.until(rb"235 ")
    for command in [b"MAIL FROM:<bob@example.net>", b"RCPT TO:<ann@example.org>"]:
        line.say(command)
        line.until(rb"250 ")
    line.say(b"DATA")
    line.until(rb"354 ")
    line.say(b"Subject: " + how.encode() + b"\r\n\r\nSTARTTLS\r\n.")
    line.until(rb"250 ")
    line.say(b"QUIT")
    line.until(rb"221 ")
elif protocol == "pop3":
    for command in [b"USER ann", b"PASS secret-of-ann"]:
        line.say(command)
        line.until(rb"\+OK")
    line.say(b"RETR 1")
    line.until(rb"\.\r\n")
    line.say(b"QUIT")
    line.until(rb"\+OK")
else:
    line.say(b"l LOGIN ann secret-of-ann")
    line.until(rb"l OK")
    line.say(b"e SELECT INBOX")
    line.until(rb"e OK")
    line.say(b"f FETCH 1 BODY[]")
    line.until(rb"f OK")
    line.say(b"q LOGOUT")
    line.until(rb"q OK")
