//! What one transaction costs a proxy beyond its copying: the engine and the records, in pieces as sockets bring them.
//!
//! `cargo bench --bench transaction`. Commands and replies come one by one, messages in reads of 64 KiB; time is per transaction.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    reason = "criterion's macros write undocumented functions; every index is below a length that stands beside it"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use mailtap::engine::{Limits, Session};
use mailtap::event::{Dir, End, Input, Peers};
use mailtap::output::{Detail, InputKind, Policy, RecordKind, RecordSet, RecordWriter};
use mailtap::time::Timestamp;

/// Octets that a proxy reads at once.
const READ: usize = 64 << 10;

/// Time that this thread had the processor for: what else the machine does is not counted (proc(5), schedstat).
struct Processor;

impl Processor {
    fn now() -> Duration {
        let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = told.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    }
}

impl Measurement for Processor {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, began: Duration) -> Duration {
        Self::now().saturating_sub(began)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        WallTime.add(one, other)
    }

    fn zero(&self) -> Duration {
        WallTime.zero()
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A connection under observation, with the log it writes.
struct Observed {
    session: Session,
    log: RecordWriter,
    at: Timestamp,
    seen: [u64; 2],
}

impl Observed {
    fn new(port: u16, hash: bool) -> Self {
        let limits = Arc::new(Limits { hash, ..Limits::default() });
        let policy = Policy {
            records: RecordSet::ALL.without(RecordKind::Command),
            detail: Detail::Envelope,
            input: InputKind::Proxy,
            ..Policy::default()
        };
        let at = Timestamp::from_parts(1_768_204_800, 0);
        let session = Session::new(at, 1, peers(port, at), limits);
        Self { session, log: RecordWriter::new(Arc::new(policy)), at, seen: [0; 2] }
    }

    /// The same log and limits for another connection.
    fn anew(&mut self, port: u16, limits: &Arc<Limits>) {
        self.session = Session::new(self.at, 1, peers(port, self.at), Arc::clone(limits));
        self.seen = [0; 2];
    }

    fn say(&mut self, dir: Dir, said: &[u8]) {
        for piece in said.chunks(READ) {
            self.at = self.at.after(Duration::from_micros(20));
            self.session.handle(self.at, dir, Input::Data(piece), &mut self.log);
            self.seen[dir.index()] += piece.len() as u64;
            self.session.acked(dir, self.seen[dir.index()]);
        }
    }

    fn play(&mut self, script: &[(Dir, Vec<u8>)]) {
        for (dir, said) in script {
            self.say(*dir, said);
        }
        if self.log.bytes().len() >= READ {
            black_box(self.log.bytes());
            self.log.clear();
        }
    }

    fn end(&mut self) {
        self.session.handle(self.at, Dir::ToServer, Input::Fin, &mut self.log);
        self.session.handle(self.at, Dir::ToClient, Input::Fin, &mut self.log);
        self.session.finish(self.at, End::Closed, &mut self.log);
    }
}

fn peers(port: u16, at: Timestamp) -> Peers {
    Peers {
        client: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 40_000)),
        server: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10), port)),
        established: Some(at),
        roles_certain: true,
        source: 0,
        ordinal: 0,
    }
}

/// A message of `size` octets: `text` lines of 70 columns, or an attachment in base64 of 76.
fn message(size: usize, attached: bool) -> Vec<u8> {
    let mut message = b"Received: from client.example.net (client.example.net [198.51.100.7])\r\n\
        \tby mx.example.org (Postfix) with ESMTPS id 4Xk1Jq2mZ8z9sPJ\r\n\
        \tfor <bob@example.org>; Mon, 12 Jan 2026 09:00:00 +0000 (UTC)\r\n\
        From: Alice Example <alice@example.net>\r\nTo: Bob Example <bob@example.org>\r\n\
        Subject: The minutes of yesterday's meeting\r\nDate: Mon, 12 Jan 2026 10:00:00 +0100\r\n\
        Message-ID: <20260112090000.4F1A2@client.example.net>\r\nMIME-Version: 1.0\r\n"
        .to_vec();
    if attached {
        message.extend_from_slice(
            b"Content-Type: multipart/mixed; boundary=\"=_b7f3c1a09d\"\r\n\r\n--=_b7f3c1a09d\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\r\nSee the attached file.\r\n\r\n--=_b7f3c1a09d\r\n\
            Content-Type: application/pdf; name=\"minutes.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=\"minutes.pdf\"\r\n\r\n",
        );
    } else {
        message.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n\r\n");
    }
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    let alphabet: &[u8] = if attached {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    } else {
        b"etaoin shrdlu. cmfwyp, vbgkqjxz etaoin shrdlu et ao in shr dlu-cmf'"
    };
    let columns = if attached { 76 } else { 70 };
    while message.len() < size {
        let from = message.len();
        message.extend((0..columns).map(|_| alphabet[next() as usize % 64]));
        if message[from] == b'.' {
            message[from] = b'e';
        }
        message.extend_from_slice(b"\r\n");
    }
    if attached {
        message.extend_from_slice(b"--=_b7f3c1a09d--\r\n");
    }
    message
}

fn turn(dir: Dir, said: &[u8]) -> (Dir, Vec<u8>) {
    (dir, said.to_vec())
}

const GREETING: &[u8] = b"220 mx.example.org ESMTP Postfix\r\n";
const EHLO: &[u8] = b"EHLO client.example.net\r\n";
const CAPABILITIES: &[u8] =
    b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n250-ENHANCEDSTATUSCODES\r\n\
    250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";

fn open() -> Vec<(Dir, Vec<u8>)> {
    vec![turn(Dir::ToClient, GREETING), turn(Dir::ToServer, EHLO), turn(Dir::ToClient, CAPABILITIES)]
}

fn quit() -> Vec<(Dir, Vec<u8>)> {
    vec![turn(Dir::ToServer, b"QUIT\r\n"), turn(Dir::ToClient, b"221 2.0.0 Bye\r\n")]
}

fn delivery(message: &[u8]) -> Vec<(Dir, Vec<u8>)> {
    let mut data = message.to_vec();
    data.extend_from_slice(b".\r\n");
    vec![
        turn(Dir::ToServer, b"MAIL FROM:<alice@example.net>\r\n"),
        turn(Dir::ToClient, b"250 2.1.0 Ok\r\n"),
        turn(Dir::ToServer, b"RCPT TO:<bob@example.org>\r\n"),
        turn(Dir::ToClient, b"250 2.1.5 Ok\r\n"),
        turn(Dir::ToServer, b"DATA\r\n"),
        turn(Dir::ToClient, b"354 End data with <CR><LF>.<CR><LF>\r\n"),
        (Dir::ToServer, data),
        turn(Dir::ToClient, b"250 2.0.0 Ok: queued as 4Xk1Jq2mZ8z9sPJ\r\n"),
    ]
}

fn login() -> Vec<(Dir, Vec<u8>)> {
    vec![
        turn(Dir::ToClient, b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready.\r\n"),
        turn(Dir::ToServer, b"a1 LOGIN bob secret\r\n"),
        turn(Dir::ToClient, b"a1 OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n"),
        turn(Dir::ToServer, b"a2 SELECT INBOX\r\n"),
        turn(
            Dir::ToClient,
            b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* 3 EXISTS\r\n* 0 RECENT\r\n\
              * OK [UIDVALIDITY 1700000000] UIDs valid\r\n* OK [UIDNEXT 4] Predicted next UID\r\n\
              a2 OK [READ-WRITE] Select completed (0.001 + 0.000 secs).\r\n",
        ),
    ]
}

fn fetch(message: &[u8]) -> Vec<(Dir, Vec<u8>)> {
    let mut answer = format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n", message.len()).into_bytes();
    answer.extend_from_slice(message);
    answer.extend_from_slice(b")\r\na3 OK Fetch completed (0.001 + 0.000 secs).\r\n");
    vec![turn(Dir::ToServer, b"a3 UID FETCH 1 (BODY.PEEK[])\r\n"), (Dir::ToClient, answer)]
}

fn transaction(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("transaction");
    group.sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (size, named) in [(1 << 10, "1kB"), (10 << 10, "10kB"), (1 << 20, "1MB")] {
        for (attached, shape) in [(false, "text"), (true, "base64")] {
            if attached && size < 2048 {
                continue;
            }
            let message = message(size, attached);
            for hash in [false, true] {
                let hashed = if hash { "sha256" } else { "no hash" };
                let mut smtp = Observed::new(25, hash);
                smtp.play(&open());
                let script = delivery(&message);
                group.bench_function(format!("smtp {named} {shape} {hashed}"), |b| b.iter(|| smtp.play(&script)));
                let mut imap = Observed::new(143, hash);
                imap.play(&login());
                let script = fetch(&message);
                group.bench_function(format!("imap {named} {shape} {hashed}"), |b| b.iter(|| imap.play(&script)));
            }
        }
    }
    let limits = Arc::new(Limits::default());
    let mut observed = Observed::new(25, true);
    let empty = [open(), quit()].concat();
    let whole = [open(), delivery(&message(1 << 10, false)), quit()].concat();
    for (script, named) in [(empty, "connection, nothing sent"), (whole, "connection, 1kB sha256")] {
        group.bench_function(named, |b| {
            b.iter(|| {
                observed.anew(25, &limits);
                observed.play(&script);
                observed.end();
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(Processor);
    targets = transaction
}
criterion_main!(benches);
