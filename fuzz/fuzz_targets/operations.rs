//! A conversation as a list of operations: how `session` and `record` read the fuzzer's input.
//!
//! An operation is one octet and what it asks for: the low three bits say what, the fourth the direction, the upper
//! four how much time passes. A port from [`LOGGED_IN`] on stands for a session that begins with a login; in its data, the
//! octet 1 stands for the password, so that either side may repeat it anywhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Dir, End, Input, Peers, Sink};
use mailtap::time::Timestamp;

/// The password of sessions that begin with a login, and its Base64.
pub const PASSWORD: &str = "Zq7kWm4Xt9";
pub const ENCODED: &str = "WnE3a1dtNFh0OQ";

/// From here on, a port is one of these modulo their number.
const LOGGED_IN: u8 = 200;
const LOGINS: [(u8, &[(Dir, &str)]); 3] = [
    (25, &[
        (Dir::ToClient, "220 mx\r\n"),
        (Dir::ToServer, "EHLO a\r\n"),
        (Dir::ToClient, "250-mx\r\n250 AUTH PLAIN\r\n"),
        (Dir::ToServer, "AUTH PLAIN AGFubgBacTdrV200WHQ5\r\n"),
        (Dir::ToClient, "235 ok\r\n"),
    ]),
    (110, &[
        (Dir::ToClient, "+OK\r\n"),
        (Dir::ToServer, "USER ann\r\n"),
        (Dir::ToClient, "+OK\r\n"),
        (Dir::ToServer, "PASS Zq7kWm4Xt9\r\n"),
        (Dir::ToClient, "+OK\r\n"),
    ]),
    (143, &[
        (Dir::ToClient, "* OK IMAP4rev1\r\n"),
        (Dir::ToServer, "a LOGIN ann Zq7kWm4Xt9\r\n"),
        (Dir::ToClient, "a OK\r\n"),
    ]),
];

/// Work for a byte: 1000 commands wait at most, a few looks at each of them are work for one line, and no line is shorter than two bytes.
const MOST_WORK: u64 = 4096;

/// What a run was.
pub struct Played {
    /// The session began with a login.
    pub logged_in: bool,
    /// The bytes that were seen of each direction, a NUL for each hole.
    pub seen: [Vec<u8>; 2],
}

impl Played {
    /// Whether `word` was seen in a direction, in upper or lower case.
    pub fn has_seen(&self, word: &[u8]) -> bool {
        self.seen.iter().any(|bytes| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word)))
    }
}

/// Runs the operations of `input`, data in pieces of at most `cut` bytes.
pub fn run(input: &[u8], cut: usize, out: &mut dyn Sink) -> Played {
    play(input, cut, None, out)
}

/// The same with loss: of the data, every fourth piece is lost, from the one with number `lost` on. Nothing is known of
/// what either side received.
pub fn lossy(input: &[u8], lost: usize, out: &mut dyn Sink) -> Played {
    play(input, usize::MAX, Some(lost), out)
}

/// The data of `input` in its order, with whether it is the client's.
#[allow(dead_code, reason = "`record` has no use for it")]
pub fn turns(input: &[u8]) -> Vec<(bool, &[u8])> {
    let operations = Operations { rest: input.get(1..).unwrap_or_default() };
    let data = operations.filter_map(|operation| match operation.what {
        Action::Data(data) if !data.is_empty() => Some((operation.dir == Dir::ToServer, data)),
        _ => None,
    });
    data.collect()
}

fn play(input: &[u8], cut: usize, lost: Option<usize>, out: &mut dyn Sink) -> Played {
    let (&port, input) = input.split_first().unwrap_or((&25, input));
    let login = port.checked_sub(LOGGED_IN).and_then(|n| LOGINS.get(usize::from(n) % LOGINS.len()));
    let peers = peers(login.map_or(port, |(port, _)| *port), login.is_some());
    let mut session = Session::new(at(0), 1, peers, Arc::new(Limits::default()));
    let (mut now, mut sent, mut seen, mut number) = (1_000_000_000u64, [0u64; 2], [Vec::new(), Vec::new()], 0);
    for (dir, line) in login.iter().flat_map(|(_, lines)| lines.iter()) {
        session.acked(dir.reverse(), sent[dir.reverse().index()]);
        session.handle(at(now), *dir, Input::Data(line.as_bytes()), out);
        sent[dir.index()] += line.len() as u64;
        seen[dir.index()].extend_from_slice(line.as_bytes());
    }
    for operation in (Operations { rest: input }) {
        now = now.saturating_add_signed(operation.step);
        let dir = operation.dir;
        match operation.what {
            Action::Data(octets) => {
                number += 1;
                let octets = if login.is_some() { with_password(octets) } else { octets.to_vec() };
                sent[dir.index()] += octets.len() as u64;
                if lost.is_some_and(|lost| number % 4 == lost) {
                    session.handle(at(now), dir, Input::Gap(octets.len() as u64), out);
                    seen[dir.index()].push(0);
                    continue;
                }
                for piece in octets.chunks(cut) {
                    session.handle(at(now), dir, Input::Data(piece), out);
                }
                seen[dir.index()].extend(octets);
            }
            Action::Gap(octets) => {
                session.handle(at(now), dir, Input::Gap(octets), out);
                seen[dir.index()].push(0);
                sent[dir.index()] = sent[dir.index()].saturating_add(octets);
            }
            Action::Fin => session.handle(at(now), dir, Input::Fin, out),
            Action::Reset => session.handle(at(now), dir, Input::Reset, out),
            Action::Acked(_) | Action::Rest if lost.is_some() => {}
            Action::Acked(back) => session.acked(dir, sent[dir.index()].saturating_sub(back)),
            Action::Rest => session.shrink(),
        }
    }
    session.finish(at(now), End::CaptureEnd, out);
    let played = Played { logged_in: login.is_some(), seen };
    // Law 5: a byte costs no more than all that may wait at a time, however long the session is. What DEFLATE unpacks to
    // has a bound of its own.
    let bytes = played.seen.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    let work = session.work();
    assert!(
        work <= MOST_WORK * bytes + (1 << 20) || played.has_seen(b"DEFLATE"),
        "{work} steps of work for {bytes} bytes"
    );
    played
}

/// `octets` with the password for every octet 1.
fn with_password(octets: &[u8]) -> Vec<u8> {
    octets.iter().flat_map(|octet| if *octet == 1 { PASSWORD.as_bytes() } else { std::slice::from_ref(octet) }).copied().collect()
}

/// Whether `text` shows the password, in any case, or its Base64.
pub fn shows_password(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    [PASSWORD, ENCODED].iter().any(|form| {
        let form = form.to_ascii_lowercase();
        text.windows(form.len()).any(|window| window == form.as_bytes())
    })
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn peers(port: u8, certain: bool) -> Peers {
    let host = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    Peers {
        client: SocketAddr::new(host(1), 50000),
        server: SocketAddr::new(host(2), u16::from(port)),
        established: (certain || port % 2 == 0).then(|| at(1)),
        roles_certain: certain || port % 3 != 0,
        source: 0,
        ordinal: 0,
    }
}

struct Operation<'a> {
    dir: Dir,
    /// Nanoseconds.
    step: i64,
    what: Action<'a>,
}

enum Action<'a> {
    Data(&'a [u8]),
    Gap(u64),
    Fin,
    Reset,
    Acked(u64),
    Rest,
}

/// Cuts the fuzzer's input into operations. Data runs up to the next 0xff, so that dictionary words stay whole.
struct Operations<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Operations<'a> {
    type Item = Operation<'a>;

    fn next(&mut self) -> Option<Operation<'a>> {
        let (&code, rest) = self.rest.split_first()?;
        let dir = if code & 8 == 0 { Dir::ToServer } else { Dir::ToClient };
        let step = (i64::from(code >> 4) - 2) * Duration::from_millis(1).as_nanos() as i64;
        let (what, rest) = match code & 7 {
            0..=3 => {
                let length = rest.iter().position(|&octet| octet == 0xff).unwrap_or(rest.len());
                let (data, behind) = rest.split_at(length);
                (Action::Data(data), behind.get(1..).unwrap_or_default())
            }
            4 => number(rest, Action::Gap),
            5 => number(rest, Action::Acked),
            6 => (Action::Rest, rest),
            _ if code & 0x10 == 0 => (Action::Fin, rest),
            _ => (Action::Reset, rest),
        };
        self.rest = rest;
        Some(Operation { dir, step, what })
    }
}

/// One octet as a number of octets: small ones exactly, the rest by powers of two.
fn number<'a>(rest: &'a [u8], what: fn(u64) -> Action<'a>) -> (Action<'a>, &'a [u8]) {
    let (&octet, rest) = rest.split_first().unwrap_or((&1, rest));
    let value = if octet < 200 { u64::from(octet) } else { 1 << (octet - 200) };
    (what(value.max(1)), rest)
}
