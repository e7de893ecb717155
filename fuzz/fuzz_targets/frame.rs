//! One direction's octets as a server's dialogue sees them: the framings (lines, counted octets, dot text, literals,
//! deflate) are driven through a session whose other side agrees to everything.
//!
//! The input's first octet chooses the protocol. Whatever follows is the client's; after each of its lines the server
//! answers with the go-ahead of that protocol, so DATA, BDAT, AUTH, `{n}` and COMPRESS are entered again and again.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink};
use mailtap::engine::{Limits, Session};
use mailtap::time::Timestamp;

const DIALOGUES: [(u16, &[u8], &[u8]); 4] = [
    (25, b"220 mx.example.org ESMTP\r\n", b"354 go\r\n250 2.0.0 ok\r\n"),
    (24, b"220 mx.example.org LMTP\r\n", b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n"),
    (110, b"+OK POP3\r\n", b"+OK\r\n+ \r\n.\r\n"),
    (143, b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n", b"+ go\r\na OK done\r\n"),
];

fuzz_target!(|input: &[u8]| {
    let Some((&first, client)) = input.split_first() else { return };
    let (port, greeting, answer) = DIALOGUES[usize::from(first) % DIALOGUES.len()];
    let host = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let peers = Peers {
        client: SocketAddr::new(host(1), 50000),
        server: SocketAddr::new(host(2), port),
        established: Some(Timestamp::default()),
        roles_certain: true,
        source: 0,
        ordinal: 0,
    };
    let mut octets = Octets { body: 0 };
    let mut session = Session::new(Timestamp::default(), 1, peers, Arc::new(Limits::default()));
    let mut say = |dir, data| session.handle(Timestamp::from_nanos(1), dir, Input::Data(data), &mut octets);
    say(Dir::ToClient, greeting);
    for line in client.split_inclusive(|&octet| octet == b'\n') {
        say(Dir::ToServer, line);
        say(Dir::ToClient, answer);
    }
    session.finish(Timestamp::from_nanos(2), End::CaptureEnd, &mut octets);
    let sent = client.len() + (greeting.len() + answer.len()) * (2 + client.len());
    assert!(octets.body <= sent * 1100, "more message than deflate can hold in what was sent");
});

struct Octets {
    body: usize,
}

impl Sink for Octets {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        if let Event::Body { octets, .. } = event {
            self.body += octets.len();
        }
    }
}
