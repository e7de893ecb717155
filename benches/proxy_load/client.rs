//! The clients: one transaction after the other, every reply checked.

use std::rc::Rc;
use std::time::Instant;

use crate::Scenario;
use crate::mailbox::Mailbox;
use crate::reactor::{Out, Verdict, lines};

/// One connection, as the client sees it.
pub(crate) struct Client {
    scenario: Scenario,
    partial: Vec<u8>,
    step: Step,
    /// When the transaction under way began.
    began: Instant,
    number: usize,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Ehlo,
    /// Replies to MAIL, RCPT and DATA; how many are in.
    Envelope(u8),
    /// The reply to the message.
    Message,
    Quit,
    End,
    Login,
    Select,
    /// The line before the message; whether it was there already.
    Fetch(bool),
    /// Octets of the message that are still to come.
    Literal(usize),
    Close,
    Idle,
    Still,
}

/// What became of a transaction.
pub(crate) enum Progress {
    /// Nothing to tell.
    None,
    /// One is done that began then.
    Done(Instant),
    /// It stands still now.
    Still,
}

impl Client {
    /// A client that has just dialled.
    pub(crate) fn new(scenario: Scenario, number: usize) -> Self {
        Self { scenario, partial: Vec::new(), step: Step::Greeting, began: Instant::now(), number }
    }

    /// Reads what came in, and goes on.
    pub(crate) fn received(&mut self, octets: &[u8], out: &mut Out, mailbox: &Mailbox) -> (Verdict, Progress) {
        let mut progress = Progress::None;
        let mut octets = octets;
        if let Step::Literal(left) = self.step {
            octets = &octets[self.literal(left, octets, mailbox)..];
        }
        // The partial line is lent out, so that the closure may have the rest.
        let mut partial = std::mem::take(&mut self.partial);
        let (verdict, _) = lines(&mut partial, octets, |line, behind| {
            let verdict = match self.scenario {
                Scenario::Smtp | Scenario::SmtpConnect => self.smtp(line, out, mailbox, &mut progress),
                _ => self.imap(line, out, mailbox, &mut progress),
            };
            match self.step {
                Step::Literal(left) => (verdict, self.literal(left, behind, mailbox)),
                _ => (verdict, 0),
            }
        });
        self.partial = partial;
        (verdict, progress)
    }

    /// The server has closed: whether that was to be.
    pub(crate) fn ended(&mut self) -> (bool, Progress) {
        if self.step == Step::End { (true, Progress::Done(self.began)) } else { (false, Progress::None) }
    }

    /// Whether it has not been greeted yet.
    pub(crate) fn is_new(&self) -> bool {
        self.step == Step::Greeting
    }

    fn smtp(&mut self, line: &[u8], out: &mut Out, mailbox: &Mailbox, progress: &mut Progress) -> Verdict {
        if line.get(3) == Some(&b'-') {
            return if self.step == Step::Ehlo { Verdict::GoOn } else { wrong(self.step, line) };
        }
        let (expected, next): (&[u8], _) = match self.step {
            Step::Greeting => (b"220 ", Step::Ehlo),
            Step::Ehlo => (b"250 ", Step::Envelope(0)),
            Step::Envelope(in_already) => {
                (if in_already == 2 { b"354 " } else { b"250 2.1." }, Step::Envelope(in_already + 1))
            }
            Step::Message => {
                (b"250 2.0.0 Ok: ", if self.scenario == Scenario::Smtp { Step::Envelope(0) } else { Step::Quit })
            }
            Step::Quit => (b"221 ", Step::End),
            _ => return wrong(self.step, line),
        };
        let Some(rest) = line.strip_prefix(expected) else { return wrong(self.step, line) };
        if self.step == Step::Message {
            let octets = rest.split(|octet| *octet == b' ').next().and_then(|word| std::str::from_utf8(word).ok());
            if octets.and_then(|word| word.parse().ok()) != Some(mailbox.sent(self.number).len()) {
                return wrong(self.step, line);
            }
            self.number += 1;
            if self.scenario == Scenario::Smtp {
                *progress = Progress::Done(self.began);
            }
        }
        self.step = next;
        match next {
            Step::Ehlo => out.say(b"EHLO client.example.org\r\n"),
            Step::Envelope(0) => {
                if self.scenario == Scenario::Smtp {
                    self.began = Instant::now();
                }
                let size = mailbox.stored(self.number).len();
                let (from, to) = (self.number % 89, self.number % 97);
                out.say(
                    format!(
                        "MAIL FROM:<sender{from}@example.org> SIZE={size}\r\nRCPT TO:<user{to}@example.com>\r\nDATA\r\n"
                    )
                    .as_bytes(),
                );
            }
            Step::Envelope(3) => {
                self.step = Step::Message;
                out.send(Rc::clone(mailbox.sent(self.number)));
            }
            Step::Quit => out.say(b"QUIT\r\n"),
            _ => {}
        }
        Verdict::GoOn
    }

    fn imap(&mut self, line: &[u8], out: &mut Out, mailbox: &Mailbox, progress: &mut Progress) -> Verdict {
        let untagged = line.starts_with(b"* ");
        match self.step {
            Step::Greeting if line.starts_with(b"* OK ") && self.scenario == Scenario::Greeting => {
                self.step = Step::Still;
                *progress = Progress::Still;
            }
            Step::Greeting if line.starts_with(b"* OK ") => {
                self.step = Step::Login;
                out.say(format!("a1 LOGIN user{}@example.com correct-horse\r\n", self.number % 97).as_bytes());
            }
            Step::Login if line.starts_with(b"a1 OK ") => {
                self.step = Step::Select;
                out.say(b"a2 SELECT INBOX\r\n");
            }
            Step::Select if untagged => {}
            Step::Select if line.starts_with(b"a2 OK ") && self.scenario == Scenario::Idle => {
                self.step = Step::Idle;
                out.say(b"a3 IDLE\r\n");
            }
            Step::Select if line.starts_with(b"a2 OK ") => self.fetch(out),
            Step::Idle if line.starts_with(b"+ ") => {
                self.step = Step::Still;
                *progress = Progress::Still;
            }
            Step::Fetch(false) if untagged => {
                let size = mailbox.stored(self.uid()).len();
                if line != format!("* {0} FETCH (UID {0} BODY[] {{{size}}}", self.uid()).as_bytes() {
                    return wrong(self.step, line);
                }
                self.step = Step::Literal(size);
            }
            Step::Close if line == b")" => self.step = Step::Fetch(true),
            Step::Fetch(true) if line.starts_with(b"a3 OK ") => {
                *progress = Progress::Done(self.began);
                self.number += 1;
                self.fetch(out);
            }
            _ => return wrong(self.step, line),
        }
        Verdict::GoOn
    }

    fn fetch(&mut self, out: &mut Out) {
        self.step = Step::Fetch(false);
        self.began = Instant::now();
        out.say(format!("a3 UID FETCH {} BODY.PEEK[]\r\n", self.uid()).as_bytes());
    }

    fn uid(&self) -> usize {
        self.number % 509 + 1
    }

    /// Takes octets of a message with `left` still to come; how many. Its ends are compared: that it is whole and in
    /// order is what the line behind it shows.
    fn literal(&mut self, left: usize, octets: &[u8], mailbox: &Mailbox) -> usize {
        let message = mailbox.stored(self.uid());
        let taken = left.min(octets.len());
        let at = message.len() - left;
        let same = |from: usize, to: usize| octets[from..to] == message[at + from..at + to];
        if !same(0, taken.min(64)) || !same(taken - taken.min(64), taken) {
            // No reply is like this: the next line will be found wrong.
            self.step = Step::Greeting;
            return taken;
        }
        self.step = if taken == left { Step::Close } else { Step::Literal(left - taken) };
        taken
    }
}

fn wrong(step: Step, line: &[u8]) -> Verdict {
    Verdict::Wrong(format!("{step:?}: {}", String::from_utf8_lossy(line.get(..80).unwrap_or(line))))
}
