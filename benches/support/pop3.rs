//! POP3: log in, look what is there, fetch some, delete some, leave.

use super::World;
use super::mail::NAMES;
use super::smtp::stuff;
use super::stage::{Side, Stage, say};

/// One connection to a POP3 server.
pub(crate) struct Pop3 {
    sizes: Vec<usize>,
    next: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Transaction,
    Gone,
}

impl Pop3 {
    /// A maildrop of some messages.
    pub(crate) fn new(world: &mut World) -> Self {
        let n = world.random.range(1, 60);
        let sizes: Vec<_> = (0..n).map(|_| world.random.size(18_000.0, 2.3, 2048, 5 << 20)).collect();
        let next = (n / 2) as usize;
        Self { sizes, next, state: State::Greeting }
    }

    /// See [`super::Dialogue::act`].
    pub(crate) fn act(&mut self, last: bool, world: &mut World, stage: &mut Stage) -> bool {
        match self.state {
            State::Greeting => {
                self.open(world, stage);
                self.state = State::Transaction;
            }
            State::Transaction if last || self.next == self.sizes.len() => {
                say!(stage, Client, "QUIT");
                say!(stage, Server, "+OK Logging out.");
                world.totals.of("pop3").commands += 1;
                self.state = State::Gone;
            }
            State::Transaction => self.retrieve(world, stage),
            State::Gone => return false,
        }
        true
    }

    fn open(&self, world: &mut World, stage: &mut Stage) {
        let totals = world.totals.of("pop3");
        totals.sessions += 1;
        totals.authenticated += 1;
        totals.commands += 6;
        say!(stage, Server, "+OK Dovecot ready.");
        say!(stage, Client, "CAPA");
        say!(stage, Server, "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nUSER\r\nSASL PLAIN\r\n.");
        say!(stage, Client, "USER {}", world.random.pick(&NAMES));
        say!(stage, Server, "+OK");
        say!(stage, Client, "PASS {:016x}", world.random.bits());
        say!(stage, Server, "+OK Logged in.");
        say!(stage, Client, "STAT");
        say!(stage, Server, "+OK {} {}", self.sizes.len(), self.sizes.iter().sum::<usize>());
        say!(stage, Client, "LIST");
        say!(stage, Server, "+OK {} messages:", self.sizes.len());
        self.sizes.iter().enumerate().for_each(|(i, size)| say!(stage, Server, "{} {size}", i + 1));
        say!(stage, Server, ".");
        say!(stage, Client, "UIDL");
        say!(stage, Server, "+OK");
        (1..=self.sizes.len()).for_each(|i| say!(stage, Server, "{i} {:016x}", world.random.bits()));
        say!(stage, Server, ".");
    }

    fn retrieve(&mut self, world: &mut World, stage: &mut Stage) {
        let size = self.sizes[self.next];
        self.next += 1;
        world.compose(size);
        if world.random.chance(80) {
            self.top(world, stage);
        }
        say!(stage, Client, "RETR {}", self.next);
        say!(stage, Server, "+OK {size} octets");
        stuff(&world.message, stage.voice(Side::Server));
        say!(stage, Server, ".");
        let totals = world.totals.of("pop3");
        totals.commands += 1;
        totals.transaction("complete", size);
        if world.random.chance(300) {
            say!(stage, Client, "DELE {}", self.next);
            say!(stage, Server, "+OK Marked to be deleted.");
            world.totals.of("pop3").commands += 1;
        }
    }

    /// The header of the message at hand, and the empty line after it (RFC 1939 section 7).
    fn top(&self, world: &mut World, stage: &mut Stage) {
        let header = memchr::memmem::find(&world.message, b"\r\n\r\n").map_or(0, |at| at + 4);
        say!(stage, Client, "TOP {} 0", self.next);
        say!(stage, Server, "+OK");
        stuff(&world.message[..header], stage.voice(Side::Server));
        say!(stage, Server, ".");
        let totals = world.totals.of("pop3");
        totals.commands += 1;
        totals.transaction("complete", header);
    }
}
