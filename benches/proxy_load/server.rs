//! The mail server: says what a real one would, keeps nothing.

use std::rc::Rc;

use crate::mailbox::Mailbox;
use crate::reactor::{Out, Verdict, lines};

/// What an SMTP server says first.
pub(crate) const SMTP_GREETING: &[u8] = b"220 mx.example.com ESMTP Postfix\r\n";

/// What an IMAP server says first.
pub(crate) const IMAP_GREETING: &[u8] =
    b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready.\r\n";

const EHLO: &[u8] = b"250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ENHANCEDSTATUSCODES\r\n\
250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";

const SELECT: &[u8] = b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n\
* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted.\r\n* 512 EXISTS\r\n* 0 RECENT\r\n\
* OK [UIDVALIDITY 1767225600] UIDs valid\r\n* OK [UIDNEXT 513] Predicted next UID\r\n";

/// One connection, as the server sees it.
pub(crate) struct Server {
    partial: Vec<u8>,
    speech: Speech,
}

enum Speech {
    Smtp(Option<Data>),
    Imap { idle: Option<Vec<u8>> },
}

/// A message that comes in.
struct Data {
    octets: u64,
    tail: [u8; 5],
}

impl Server {
    pub(crate) fn smtp(out: &mut Out) -> Self {
        out.say(SMTP_GREETING);
        Self { partial: Vec::new(), speech: Speech::Smtp(None) }
    }

    pub(crate) fn imap(out: &mut Out) -> Self {
        out.say(IMAP_GREETING);
        Self { partial: Vec::new(), speech: Speech::Imap { idle: None } }
    }

    /// Answers what came in.
    pub(crate) fn received(&mut self, octets: &[u8], out: &mut Out, mailbox: &Mailbox) -> Verdict {
        match &mut self.speech {
            Speech::Smtp(data) => smtp(&mut self.partial, data, octets, out),
            Speech::Imap { idle } => lines(&mut self.partial, octets, |line, _| (imap(line, idle, out, mailbox), 0)).0,
        }
    }
}

fn smtp(partial: &mut Vec<u8>, data: &mut Option<Data>, octets: &[u8], out: &mut Out) -> Verdict {
    if let Some(message) = data {
        if let Some(octets) = message.took(octets) {
            *data = None;
            out.say(format!("250 2.0.0 Ok: {octets} octets queued as 4Yd3Xk1Zq\r\n").as_bytes());
        }
        return Verdict::GoOn;
    }
    // No client here sends a message before it is told to: what follows DATA in the same piece is an error.
    let mut taken = false;
    let (verdict, _) = lines(partial, octets, |line, _| {
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        let reply: &[u8] = match verb.as_slice() {
            _ if taken => return (Verdict::Wrong("octets behind DATA".into()), 0),
            b"EHLO" => EHLO,
            b"HELO" => b"250 mx.example.com\r\n",
            b"MAIL" => b"250 2.1.0 Ok\r\n",
            b"RCPT" => b"250 2.1.5 Ok\r\n",
            b"RSET" | b"NOOP" => b"250 2.0.0 Ok\r\n",
            b"DATA" => {
                taken = true;
                b"354 End data with <CR><LF>.<CR><LF>\r\n"
            }
            b"QUIT" => {
                out.say(b"221 2.0.0 Bye\r\n");
                return (Verdict::Close, 0);
            }
            _ => b"500 5.5.2 Error: command not recognized\r\n",
        };
        out.say(reply);
        (Verdict::GoOn, 0)
    });
    if taken {
        *data = Some(Data { octets: 0, tail: *b"...\r\n" });
    }
    verdict
}

impl Data {
    /// Takes what came in; the octets of the message with its final dot once that is there. Nothing comes behind it
    /// before the reply, so only the end of each piece needs a look.
    fn took(&mut self, octets: &[u8]) -> Option<u64> {
        self.octets += octets.len() as u64;
        if let Some(tail) = octets.last_chunk() {
            self.tail = *tail;
        } else {
            self.tail.rotate_left(octets.len());
            let kept = self.tail.len() - octets.len();
            self.tail[kept..].copy_from_slice(octets);
        }
        (self.tail == *b"\r\n.\r\n").then_some(self.octets)
    }
}

fn imap(line: &[u8], idle: &mut Option<Vec<u8>>, out: &mut Out, mailbox: &Mailbox) -> Verdict {
    if let Some(tag) = idle.take() {
        if line != b"DONE" {
            return Verdict::Wrong("expected DONE".into());
        }
        out.say(&tag);
        out.say(b" OK Idle completed.\r\n");
        return Verdict::GoOn;
    }
    let mut words = line.split(|octet| *octet == b' ');
    let (tag, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let done: &[u8] = match verb {
        b"LOGIN" => b" OK [CAPABILITY IMAP4rev1 IDLE NAMESPACE UIDPLUS CONDSTORE] Logged in\r\n",
        b"SELECT" => {
            out.say(SELECT);
            b" OK [READ-WRITE] Select completed.\r\n"
        }
        b"UID" => {
            let number = words.nth(1).and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
            let Some(number) = number else { return Verdict::Wrong("expected UID FETCH n".into()) };
            let message = mailbox.stored(number);
            out.say(format!("* {number} FETCH (UID {number} BODY[] {{{}}}\r\n", message.len()).as_bytes());
            out.send(Rc::clone(message));
            out.say(b")\r\n");
            b" OK Fetch completed.\r\n"
        }
        b"IDLE" => {
            *idle = Some(tag.to_vec());
            out.say(b"+ idling\r\n");
            return Verdict::GoOn;
        }
        b"LOGOUT" => {
            out.say(b"* BYE Logging out\r\n");
            out.say(tag);
            out.say(b" OK Logout completed.\r\n");
            return Verdict::Close;
        }
        _ => b" BAD Error in IMAP command received by server.\r\n",
    };
    out.say(tag);
    out.say(done);
    Verdict::GoOn
}
