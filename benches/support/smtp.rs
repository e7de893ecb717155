//! SMTP, submission and LMTP: pipelined or not, DATA or BDAT, refusals at every stage, some STARTTLS.

use std::io::Write as _;

use super::World;
use super::mail::{DOMAINS, NAMES, base64};
use super::random::Random;
use super::stage::{Side, Stage, say};
use super::tls;

/// One connection to a mail server.
pub(crate) struct Smtp {
    lmtp: bool,
    submission: bool,
    pipelined: bool,
    chunked: bool,
    starttls: bool,
    state: State,
    left: u64,
    number: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Ready,
    Gone,
}

/// A command with its reply.
type Exchange = (String, &'static str);

/// What the servers of the world answer to a mailbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Temporary,
    Permanent,
}

impl Smtp {
    /// A new connection; the world decides of what kind.
    pub(crate) fn new(world: &mut World) -> Self {
        let random = &mut world.random;
        let lmtp = random.chance(120);
        Self {
            lmtp,
            submission: !lmtp && random.chance(150),
            pipelined: random.chance(750),
            chunked: random.chance(120),
            starttls: !lmtp && random.chance(60),
            state: State::Greeting,
            left: random.range(1, 6),
            number: 0,
        }
    }

    /// 24 for LMTP, 587 for submission, 25.
    pub(crate) const fn port(&self) -> u16 {
        if self.lmtp {
            24
        } else if self.submission {
            587
        } else {
            25
        }
    }

    const fn protocol(&self) -> &'static str {
        if self.lmtp { "lmtp" } else { "smtp" }
    }

    /// See [`super::Dialogue::act`].
    pub(crate) fn act(&mut self, last: bool, world: &mut World, stage: &mut Stage) -> bool {
        match self.state {
            State::Greeting => {
                self.open(world, stage);
                self.state = if self.starttls { State::Gone } else { State::Ready };
            }
            State::Ready if last || self.left == 0 => {
                say!(stage, Client, "QUIT");
                say!(stage, Server, "221 2.0.0 Bye");
                self.commands(world, 1);
                self.state = State::Gone;
            }
            State::Ready => {
                self.left -= 1;
                self.number += 1;
                self.transaction(world, stage);
            }
            State::Gone => return false,
        }
        true
    }

    fn commands(&self, world: &mut World, n: usize) {
        world.totals.of(self.protocol()).commands += n as u64;
    }

    fn open(&self, world: &mut World, stage: &mut Stage) {
        let host = *world.random.pick(&DOMAINS);
        let server = *world.random.pick(&DOMAINS);
        world.totals.of(self.protocol()).sessions += 1;
        say!(stage, Server, "220 mx.{} ESMTP Postfix", server);
        say!(stage, Client, "{} client{}.{}", if self.lmtp { "LHLO" } else { "EHLO" }, world.random.below(1000), host);
        say!(
            stage,
            Server,
            "250-mx.{}\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME",
            server
        );
        if self.submission {
            say!(stage, Server, "250-AUTH PLAIN LOGIN");
        }
        if !self.lmtp {
            say!(stage, Server, "250-STARTTLS\r\n250-DSN");
        }
        say!(stage, Server, "250 CHUNKING");
        self.commands(world, 1);
        if self.starttls {
            say!(stage, Client, "STARTTLS");
            say!(stage, Server, "220 2.0.0 Ready to start TLS");
            self.commands(world, 1);
            world.totals.of("smtp").encrypted += 1;
            let volume = world.random.size(40_000.0, 2.0, 3_000, 2_000_000);
            tls::conversation(&mut world.random, &format!("mx.{server}"), volume, stage);
        } else if self.submission {
            let _ = stage.voice(Side::Client).write_all(b"AUTH PLAIN AGFsaWNl");
            base64(&mut world.random, 24, stage.voice(Side::Client));
            say!(stage, Client, "");
            say!(stage, Server, "235 2.7.0 Authentication successful");
            self.commands(world, 1);
            world.totals.of("smtp").authenticated += 1;
        }
    }

    fn transaction(&self, world: &mut World, stage: &mut Stage) {
        let size = world.random.size(18_000.0, 2.3, 2048, 5 << 20);
        let mut group: Vec<Exchange> = Vec::new();
        if self.number > 1 && world.random.chance(100) {
            group.push(("RSET".into(), "250 2.0.0 Ok"));
        }
        let mail = format!("MAIL FROM:<{}> SIZE={size}", address(&mut world.random));
        if world.random.chance(15) {
            return self.sender_refused(mail, group, world, stage);
        }
        group.push((mail, "250 2.1.0 Ok"));
        let verdicts = recipients(&mut world.random, &mut group);
        let taken = verdicts.iter().filter(|v| **v == Verdict::Taken).count();
        world.totals.of(self.protocol()).recipients += verdicts.len() as u64;
        if taken == 0 {
            let outcome =
                if verdicts.contains(&Verdict::Temporary) { "rejected_temporary" } else { "rejected_permanent" };
            if self.pipelined {
                group.push(("DATA".into(), "554 5.5.1 Error: no valid recipients"));
                self.exchange(&group, world, stage);
                group.clear();
            }
            return self.reset(group, outcome, world, stage);
        }
        if world.random.chance(10) {
            return self.reset(group, "aborted", world, stage);
        }
        world.compose(size);
        if self.chunked {
            self.chunks(&group, world, stage);
        } else {
            self.data(group, world, stage);
        }
        self.end_of_data(taken, size, world, stage);
    }

    fn sender_refused(&self, mail: String, mut group: Vec<Exchange>, world: &mut World, stage: &mut Stage) {
        let (reply, outcome) = if world.random.chance(500) {
            ("451 4.3.0 Error: queue file write error", "rejected_temporary")
        } else {
            ("550 5.7.1 Sender rejected", "rejected_permanent")
        };
        group.push((mail, reply));
        if self.pipelined {
            group.push((format!("RCPT TO:<{}>", address(&mut world.random)), "503 5.5.1 Error: need MAIL command"));
            group.push(("DATA".into(), "503 5.5.1 Error: need RCPT command"));
        }
        self.exchange(&group, world, stage);
        self.reset(Vec::new(), outcome, world, stage);
    }

    fn reset(&self, mut group: Vec<Exchange>, outcome: &'static str, world: &mut World, stage: &mut Stage) {
        group.push(("RSET".into(), "250 2.0.0 Ok"));
        self.exchange(&group, world, stage);
        world.totals.of(self.protocol()).transaction(outcome, 0);
    }

    /// All commands, then all replies; or one by one.
    fn exchange(&self, group: &[Exchange], world: &mut World, stage: &mut Stage) {
        self.commands(world, group.len());
        if self.pipelined {
            group.iter().for_each(|(command, _)| say!(stage, Client, "{command}"));
            group.iter().for_each(|(_, reply)| say!(stage, Server, "{reply}"));
        } else {
            for (command, reply) in group {
                say!(stage, Client, "{command}");
                say!(stage, Server, "{reply}");
            }
        }
    }

    fn data(&self, mut group: Vec<Exchange>, world: &mut World, stage: &mut Stage) {
        group.push(("DATA".into(), "354 End data with <CR><LF>.<CR><LF>"));
        self.exchange(&group, world, stage);
        stuff(&world.message, stage.voice(Side::Client));
        say!(stage, Client, ".");
    }

    /// The message in chunks, each but the last answered.
    fn chunks(&self, group: &[Exchange], world: &mut World, stage: &mut Stage) {
        if !self.pipelined {
            self.exchange(group, world, stage);
        } else {
            self.commands(world, group.len());
            group.iter().for_each(|(command, _)| say!(stage, Client, "{command}"));
        }
        let mut owed = self.pipelined;
        let chunk = 1 << world.random.range(15, 18);
        let mut left = world.message.as_slice();
        let mut sent = 0;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(chunk));
            left = later;
            sent += 1;
            say!(stage, Client, "BDAT {}{}", now.len(), if left.is_empty() { " LAST" } else { "" });
            stage.voice(Side::Client).extend_from_slice(now);
            if std::mem::take(&mut owed) {
                group.iter().for_each(|(_, reply)| say!(stage, Server, "{reply}"));
            }
            if !left.is_empty() {
                say!(stage, Server, "250 2.0.0 Ok: {} bytes", now.len());
            }
        }
        self.commands(world, sent);
    }

    fn end_of_data(&self, taken: usize, size: usize, world: &mut World, stage: &mut Stage) {
        let (refusal, refused) = if world.random.chance(500) {
            ("452 4.2.2 Mailbox full", "rejected_temporary")
        } else {
            ("554 5.7.1 Message refused as spam", "rejected_permanent")
        };
        let replies = if self.lmtp { taken } else { 1 };
        let mut accepted = 0;
        for _ in 0..replies {
            if world.random.chance(30) {
                say!(stage, Server, "{refusal}");
            } else {
                accepted += 1;
                say!(stage, Server, "250 2.0.0 Ok: queued as {:010X}", world.random.bits() & 0xff_ffff_ffff);
            }
        }
        let outcome = match replies - accepted {
            0 => "accepted",
            n if n == replies => refused,
            _ => "partial",
        };
        world.totals.of(self.protocol()).transaction(outcome, size);
    }
}

fn address(random: &mut Random) -> String {
    format!("{}@{}", random.pick(&NAMES), random.pick(&DOMAINS))
}

/// Adds RCPT commands with their replies.
fn recipients(random: &mut Random, group: &mut Vec<Exchange>) -> Vec<Verdict> {
    let n = if random.chance(650) { 1 } else { random.size(3.0, 1.2, 2, 60) };
    (0..n)
        .map(|i| {
            let (verdict, reply) = match random.below(1000) {
                0..50 => (Verdict::Permanent, "550 5.1.1 User unknown in local recipient table"),
                50..80 => (Verdict::Temporary, "450 4.2.0 Greylisted, try again later"),
                _ => (Verdict::Taken, "250 2.1.5 Ok"),
            };
            group.push((format!("RCPT TO:<{i}.{}>", address(random)), reply));
            verdict
        })
        .collect()
}

/// Appends `message` with a dot before each line that begins with one (RFC 5321 section 4.5.2).
pub(crate) fn stuff(message: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for at in memchr::memmem::find_iter(message, b"\n.") {
        out.extend_from_slice(&message[from..=at]);
        out.push(b'.');
        from = at + 1;
    }
    out.extend_from_slice(&message[from..]);
}
