#!/usr/bin/env python3
"""What a webmail does with a mailbox when somebody signs in, looks at the list, reads, answers, files and deletes.

    webmail.py HOST plain|starttls|tls CA

Prints what the server answered; what differs between two runs (UIDVALIDITY, times) is left out.
"""

import imaplib
import re
import ssl
import sys


def main(host, security, ca):
    context = ssl.create_default_context(cafile=ca)
    mail = imaplib.IMAP4_SSL(host, ssl_context=context, timeout=20) if security == "tls" else imaplib.IMAP4(host, timeout=20)
    if security == "starttls":
        show("STARTTLS", mail.starttls(context))
    show("LOGIN", mail.login("ann", "secret-of-ann"))
    show("NAMESPACE", mail.namespace())
    show("LIST", mail.list('""', "*"))
    show("LSUB", mail.lsub('""', "*"))
    show("STATUS", mail.status("INBOX", "(MESSAGES UNSEEN)"))
    mail.select("INBOX", readonly=True)
    _, [found] = mail.uid("SEARCH", None, "ALL")
    show("SEARCH", found)
    listed = b",".join(found.split()).decode()
    show("list", mail.uid("FETCH", listed, "(FLAGS RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT CONTENT-TYPE)])"))
    show("sort by thread", mail.uid("THREAD", "REFERENCES", "UTF-8", "ALL"))
    for uid in found.split():
        show("read", mail.uid("FETCH", uid.decode(), "(UID BODY.PEEK[1] BODY.PEEK[]<0.2048> ENVELOPE)"))
    show("search", mail.uid("SEARCH", "CHARSET", "UTF-8", "TEXT", "attachment"))
    show("CREATE", mail.create("Drafts"))
    draft = b"From: ann@example.org\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Re=3A_gr=C3=BCn?=\r\n\r\n" + b"a line of the draft\r\n" * 2000
    show("APPEND", mail.append("Drafts", r"(\Draft \Seen)", None, draft))
    show("SELECT", mail.select("Drafts"))
    _, [uid] = mail.uid("SEARCH", None, "DRAFT")
    show("draft", mail.uid("FETCH", uid.decode(), "(FLAGS RFC822.SIZE BODY[TEXT]<100.300>)"))
    show("STORE", mail.uid("STORE", uid.decode(), "+FLAGS.SILENT", r"(\Flagged)"))
    show("COPY", mail.uid("COPY", uid.decode(), "INBOX"))
    show("STORE", mail.uid("STORE", uid.decode(), "+FLAGS", r"(\Deleted)"))
    show("EXPUNGE", mail.expunge())
    show("CLOSE", mail.close())
    mail.select("INBOX")
    _, [copied] = mail.uid("SEARCH", None, "DRAFT")
    show("STORE", mail.uid("STORE", copied.decode(), "+FLAGS", r"(\Deleted)"))
    show("EXPUNGE", mail.expunge())
    show("DELETE", mail.delete("Drafts"))
    try:
        mail.select("Nowhere")
        mail.uid("FETCH", "1:*", "(NONSENSE)")
    except imaplib.IMAP4.error as refused:
        show("refused", str(refused))
    show("LOGOUT", mail.logout())


def show(what, answer):
    text = re.sub(r"UID \d+|APPENDUID \d+ \d+|COPYUID [\d :,]+|\d+\.\d+ \+ \d+\.\d+( \+ \d+\.\d+)? secs|UIDVALIDITY \d+", "…", repr(answer))
    print(what, text)


if __name__ == "__main__":
    main(*sys.argv[1:])
