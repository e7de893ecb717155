//! IMAP as clients speak it: listings of flags and headers, bodies by literal, partial fetches, APPEND both ways,
//! IDLE, SEARCH, STORE.

use super::World;
use super::mail::{DOMAINS, NAMES};
use super::random::Random;
use super::stage::{Side, Stage, say};

const MAILBOXES: [&str; 10] = [
    "INBOX",
    "Drafts",
    "Sent",
    "Trash",
    "Junk",
    "PcapThread/2024",
    "PcapThread/2025",
    "Lists/rust",
    "Entw&APw-rfe",
    "\"With spaces\"",
];

const FLAGS: [&str; 6] =
    ["\\Seen", "", "\\Seen \\Answered", "\\Seen \\Flagged", "\\Recent", "\\Seen $Forwarded NonJunk"];

/// One connection to an IMAP server, with one mailbox selected.
pub(crate) struct Imap {
    tag: u32,
    messages: u64,
    first_uid: u64,
    left: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Selected,
    Gone,
}

impl Imap {
    /// A mailbox of some hundred messages.
    pub(crate) fn new(world: &mut World) -> Self {
        let random = &mut world.random;
        Self {
            tag: 0,
            messages: random.size(700.0, 1.5, 20, 20_000) as u64,
            first_uid: random.range(1, 50_000),
            left: random.range(6, 40),
            state: State::Greeting,
        }
    }

    /// See [`super::Dialogue::act`].
    pub(crate) fn act(&mut self, last: bool, world: &mut World, stage: &mut Stage) -> bool {
        match self.state {
            State::Greeting => {
                self.open(world, stage);
                self.state = State::Selected;
            }
            State::Selected if last || self.left == 0 => {
                let tag = self.command(world);
                say!(stage, Client, "a{tag:04} LOGOUT");
                say!(stage, Server, "* BYE Logging out\r\na{tag:04} OK Logout completed.");
                self.state = State::Gone;
            }
            State::Selected => {
                self.left -= 1;
                self.work(world, stage);
            }
            State::Gone => return false,
        }
        true
    }

    fn command(&mut self, world: &mut World) -> u32 {
        world.totals.of("imap").commands += 1;
        self.tag += 1;
        self.tag
    }

    fn open(&mut self, world: &mut World, stage: &mut Stage) {
        let totals = world.totals.of("imap");
        totals.sessions += 1;
        totals.authenticated += 1;
        say!(
            stage,
            Server,
            "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready."
        );
        let tag = self.command(world);
        let (name, secret) = (*world.random.pick(&NAMES), world.random.bits());
        match world.random.below(3) {
            0 => say!(stage, Client, "a{tag:04} LOGIN {name} \"{secret:016x}\""),
            1 => say!(stage, Client, "a{tag:04} AUTHENTICATE PLAIN AGFsaWNlAGFi{secret:016x}"),
            _ => {
                say!(stage, Client, "a{tag:04} AUTHENTICATE PLAIN");
                say!(stage, Server, "+ ");
                say!(stage, Client, "AGFsaWNlAGFi{secret:016x}");
            }
        }
        say!(
            stage,
            Server,
            "a{tag:04} OK [CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE SORT THREAD=REFERENCES UIDPLUS LITERAL+ ESEARCH MOVE SPECIAL-USE] Logged in"
        );
        let tag = self.command(world);
        say!(stage, Client, "a{tag:04} ID (\"name\" \"Thunderbird\" \"version\" \"140.1\")");
        say!(stage, Server, "* ID (\"name\" \"Dovecot\")\r\na{tag:04} OK ID completed.");
        let tag = self.command(world);
        say!(stage, Client, "a{tag:04} LIST \"\" \"*\"");
        MAILBOXES.iter().for_each(|m| say!(stage, Server, "* LIST (\\HasNoChildren) \"/\" {m}"));
        say!(stage, Server, "a{tag:04} OK List completed (0.001 + 0.000 secs).");
        self.status(world, stage);
        self.select(world, stage);
    }

    /// Several commands in one go.
    fn status(&mut self, world: &mut World, stage: &mut Stage) {
        let tags: Vec<_> = MAILBOXES.iter().map(|mailbox| (self.command(world), mailbox)).collect();
        for (tag, mailbox) in &tags {
            say!(stage, Client, "a{tag:04} STATUS {mailbox} (MESSAGES UIDNEXT UNSEEN UIDVALIDITY)");
        }
        for (tag, mailbox) in &tags {
            let (n, next) = (world.random.below(5000), world.random.range(5000, 60_000));
            say!(
                stage,
                Server,
                "* STATUS {mailbox} (MESSAGES {n} UIDNEXT {next} UNSEEN {} UIDVALIDITY 1700000000)",
                n / 7
            );
            say!(stage, Server, "a{tag:04} OK Status completed (0.001 + 0.000 secs).");
        }
    }

    fn select(&mut self, world: &mut World, stage: &mut Stage) {
        let tag = self.command(world);
        say!(stage, Client, "a{tag:04} SELECT INBOX");
        say!(stage, Server, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded NonJunk)");
        say!(
            stage,
            Server,
            "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted."
        );
        say!(stage, Server, "* {} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1700000000] UIDs valid", self.messages);
        say!(stage, Server, "* OK [UIDNEXT {}] Predicted next UID", self.first_uid + self.messages);
        say!(stage, Server, "a{tag:04} OK [READ-WRITE] Select completed (0.001 + 0.000 secs).");
    }

    fn work(&mut self, world: &mut World, stage: &mut Stage) {
        match world.random.below(100) {
            0..12 => self.flags(world, stage),
            12..22 => self.envelopes(world, stage),
            22..37 => self.headers(world, stage),
            37..62 => self.bodies(world, stage),
            62..67 => self.partials(world, stage),
            67..75 => self.append(world, stage),
            75..82 => self.search(world, stage),
            82..90 => self.store(world, stage),
            90..96 => self.idle(world, stage),
            _ => {
                let tag = self.command(world);
                say!(stage, Client, "a{tag:04} NOOP");
                say!(stage, Server, "a{tag:04} OK NOOP completed (0.001 + 0.000 secs).");
            }
        }
    }

    /// A run of up to `most` messages: the first and the last number.
    fn range(&self, random: &mut Random, most: u64) -> (u64, u64) {
        let n = random.range(1, most.min(self.messages));
        let first = random.range(1, self.messages - n + 1);
        (first, first + n - 1)
    }

    const fn uid(&self, number: u64) -> u64 {
        self.first_uid + number - 1
    }

    fn fetch(&mut self, first: u64, last: u64, items: &str, world: &mut World, stage: &mut Stage) -> u32 {
        let tag = self.command(world);
        let (first, last) = (self.uid(first), self.uid(last));
        if first == last {
            say!(stage, Client, "a{tag:04} UID FETCH {first} {items}");
        } else {
            say!(stage, Client, "a{tag:04} UID FETCH {first}:{last} {items}");
        }
        tag
    }

    fn fetched(tag: u32, stage: &mut Stage) {
        say!(stage, Server, "a{tag:04} OK Fetch completed (0.002 + 0.000 + 0.001 secs).");
    }

    fn flags(&mut self, world: &mut World, stage: &mut Stage) {
        let (first, last) = self.range(&mut world.random, 2000);
        let tag = self.fetch(first, last, "(UID FLAGS)", world, stage);
        for n in first..=last {
            say!(stage, Server, "* {n} FETCH (UID {} FLAGS ({}))", self.uid(n), world.random.pick(&FLAGS));
        }
        Self::fetched(tag, stage);
    }

    fn envelopes(&mut self, world: &mut World, stage: &mut Stage) {
        let (first, last) = self.range(&mut world.random, 300);
        let tag = self.fetch(first, last, "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", world, stage);
        for n in first..=last {
            let random = &mut world.random;
            let (name, domain) = (*random.pick(&NAMES), *random.pick(&DOMAINS));
            say!(
                stage,
                Server,
                "* {n} FETCH (UID {} FLAGS ({}) INTERNALDATE \"12-Jan-2026 07:{:02}:{:02} +0000\" RFC822.SIZE {} ENVELOPE (\"Mon, 12 Jan 2026 \
                 07:00:00 +0000\" \"Re: open (and \\\"quoted\\\") questions\" ((\"Example\" NIL \"{name}\" \"{domain}\")) ((\"Example\" NIL \"{name}\" \
                 \"{domain}\")) ((\"Example\" NIL \"{name}\" \"{domain}\")) ((NIL NIL \"bob\" \"example.com\")) NIL NIL NIL \"<{:016x}@{domain}>\"))",
                self.uid(n),
                random.pick(&FLAGS),
                random.below(60),
                random.below(60),
                random.size(18_000.0, 2.3, 2048, 5 << 20),
                random.bits(),
            );
        }
        Self::fetched(tag, stage);
    }

    fn headers(&mut self, world: &mut World, stage: &mut Stage) {
        let (first, last) = self.range(&mut world.random, 200);
        let items = "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT MESSAGE-ID)])";
        let tag = self.fetch(first, last, items, world, stage);
        for n in first..=last {
            world.message.clear();
            world.composer.header(&mut world.random, 2048, &mut world.message);
            world.message.extend_from_slice(b"\r\n");
            let (size, flags) = (world.random.size(18_000.0, 2.3, 2048, 5 << 20), *world.random.pick(&FLAGS));
            let from = memchr::memmem::find(&world.message, b"\r\nDate:").map_or(0, |at| at + 2);
            let header = &world.message[from..];
            say!(
                stage,
                Server,
                "* {n} FETCH (UID {} RFC822.SIZE {size} FLAGS ({flags}) BODY[HEADER.FIELDS (DATE FROM TO SUBJECT MESSAGE-ID)] {{{}}}",
                self.uid(n),
                header.len()
            );
            stage.voice(Side::Server).extend_from_slice(header);
            say!(stage, Server, ")");
        }
        Self::fetched(tag, stage);
    }

    fn bodies(&mut self, world: &mut World, stage: &mut Stage) {
        let (first, last) = self.range(&mut world.random, 8);
        let tag = self.fetch(first, last, "(UID FLAGS RFC822.SIZE BODY.PEEK[])", world, stage);
        for n in first..=last {
            let size = world.random.size(18_000.0, 2.3, 2048, 5 << 20);
            world.compose(size);
            let flags = world.random.pick(&FLAGS);
            say!(
                stage,
                Server,
                "* {n} FETCH (UID {} FLAGS ({flags}) RFC822.SIZE {size} BODY[] {{{size}}}",
                self.uid(n)
            );
            stage.voice(Side::Server).extend_from_slice(&world.message);
            say!(stage, Server, ")");
            world.totals.of("imap").transaction("complete", size);
        }
        Self::fetched(tag, stage);
    }

    /// One message in pieces, a command each.
    fn partials(&mut self, world: &mut World, stage: &mut Stage) {
        let n = world.random.range(1, self.messages);
        let size = world.random.size(200_000.0, 1.5, 30_000, 5 << 20);
        world.compose(size);
        let piece = 1 << world.random.range(14, 18);
        let mut origin = 0;
        while origin < size {
            let end = size.min(origin + piece);
            let tag = self.fetch(n, n, &format!("(UID BODY.PEEK[]<{origin}.{piece}>)"), world, stage);
            say!(stage, Server, "* {n} FETCH (UID {} BODY[]<{origin}> {{{}}}", self.uid(n), end - origin);
            stage.voice(Side::Server).extend_from_slice(&world.message[origin..end]);
            say!(stage, Server, ")");
            Self::fetched(tag, stage);
            world.totals.of("imap").partial_octets += (end - origin) as u64;
            origin = end;
        }
    }

    fn append(&mut self, world: &mut World, stage: &mut Stage) {
        let size = world.random.size(12_000.0, 2.0, 2048, 5 << 20);
        world.compose(size);
        let tag = self.command(world);
        let plus = if world.random.chance(500) { "+" } else { "" };
        say!(stage, Client, "a{tag:04} APPEND Sent (\\Seen) \"12-Jan-2026 08:00:00 +0000\" {{{size}{plus}}}");
        if plus.is_empty() {
            say!(stage, Server, "+ OK");
        }
        stage.voice(Side::Client).extend_from_slice(&world.message);
        say!(stage, Client, "");
        let uid = world.random.range(1, 60_000);
        say!(stage, Server, "a{tag:04} OK [APPENDUID 1700000000 {uid}] Append completed (0.004 + 0.000 + 0.003 secs).");
        world.totals.of("imap").transaction("accepted", size);
    }

    fn search(&mut self, world: &mut World, stage: &mut Stage) {
        let tag = self.command(world);
        if world.random.chance(400) {
            say!(stage, Client, "a{tag:04} UID SEARCH RETURN (ALL COUNT) UNDELETED SINCE 1-Jan-2026");
            let (n, last) = (self.messages, self.uid(self.messages));
            say!(stage, Server, "* ESEARCH (TAG \"a{tag:04}\") UID COUNT {n} ALL {}:{last}", self.first_uid);
        } else {
            use std::io::Write as _;
            say!(stage, Client, "a{tag:04} UID SEARCH UNSEEN HEADER Subject \"quarter\"");
            let voice = stage.voice(Side::Server);
            voice.extend_from_slice(b"* SEARCH");
            for n in (1..=self.messages).step_by(world.random.range(3, 40) as usize) {
                let _ = write!(voice, " {}", self.first_uid + n - 1);
            }
            say!(stage, Server, "");
        }
        say!(stage, Server, "a{tag:04} OK Search completed (0.001 + 0.000 secs).");
    }

    fn store(&mut self, world: &mut World, stage: &mut Stage) {
        let (first, last) = self.range(&mut world.random, 30);
        let tag = self.command(world);
        say!(stage, Client, "a{tag:04} UID STORE {}:{} +FLAGS (\\Seen)", self.uid(first), self.uid(last));
        for n in first..=last {
            say!(stage, Server, "* {n} FETCH (UID {} FLAGS (\\Seen))", self.uid(n));
        }
        say!(stage, Server, "a{tag:04} OK Store completed (0.001 + 0.000 secs).");
    }

    fn idle(&mut self, world: &mut World, stage: &mut Stage) {
        let tag = self.command(world);
        say!(stage, Client, "a{tag:04} IDLE");
        say!(stage, Server, "+ idling");
        for _ in 0..world.random.below(4) {
            self.messages += 1;
            stage.turn(Side::Server);
            say!(stage, Server, "* {} EXISTS\r\n* 1 RECENT", self.messages);
        }
        say!(stage, Client, "DONE");
        say!(stage, Server, "a{tag:04} OK Idle completed (11.402 + 11.401 + 11.401 secs).");
    }
}
