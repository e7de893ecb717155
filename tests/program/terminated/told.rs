//! What the server is told of the client by PROXY headers, and what it is not told twice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{Authority, BOTH, Client, NAME, hear, rest, secured, start};
use crate::running::{Proxy, patient};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header that came to the server: addresses and ports, and the extensions.
struct Header {
    ends: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
}

impl Header {
    fn read(from: &mut TcpStream) -> Self {
        let mut start = [0; 16];
        from.read_exact(&mut start).unwrap();
        assert_eq!((&start[..12], &start[12..14]), (SIGNATURE, &[0x21, 0x11][..]));
        let mut block = vec![0; usize::from(u16::from_be_bytes([start[14], start[15]]))];
        from.read_exact(&mut block).unwrap();
        Self { ends: block[..12].to_vec(), extensions: extensions(&block[12..]) }
    }

    fn extension(&self, kind: u8) -> Option<&[u8]> {
        self.extensions.iter().find(|(other, _)| *other == kind).map(|(_, value)| &**value)
    }
}

fn extensions(mut block: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let [kind, high, low, rest @ ..] = block {
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        all.push((*kind, value.to_vec()));
        block = rest;
    }
    all
}

#[test]
fn the_server_learns_of_the_clients_tls() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    let ca = authority.path();
    for (named, common_name) in [(false, None), (true, Some(&b"ann"[..]))] {
        let asked = ["--tls", "implicit", "--proxy-to", "v2", "--tls-client-ca", &ca, "--tls-client-auth", "optional"];
        let (proxy, _) = start("imap", &own, &asked);
        let ann = authority.certify("ann", |_| {});
        let config = authority.client(BOTH, named.then_some(&ann));
        let client = proxy.client();
        let client = std::thread::spawn(move || {
            let mut client = secured(client, &config);
            hear(&mut client, "* OK hi\r\n");
            client
        });
        let (mut server, _) = proxy.server.accept().unwrap();
        patient(&server);
        let header = Header::read(&mut server);
        server.write_all(b"* OK hi\r\n").unwrap();
        client.join().unwrap();
        assert_eq!(header.extension(0x02), Some(NAME.as_bytes()));
        let told = header.extension(0x20).unwrap();
        assert_eq!(told[..5], if named { [3, 0, 0, 0, 0] } else { [1, 0, 0, 0, 1] });
        let inside = extensions(&told[5..]);
        let of = |kind: u8| inside.iter().find(|(other, _)| *other == kind).map(|(_, value)| &**value);
        assert_eq!((of(0x21), of(0x22)), (Some(&b"TLSv1.3"[..]), common_name));
        assert!(of(0x23).unwrap().starts_with(b"TLS_"));
    }
}

/// Greeting, what is said before TLS, its reply, and the question for TLS with its answer.
const BEGINNINGS: [(&str, [&str; 5]); 3] = [
    ("smtp", ["220 mx\r\n", "EHLO c\r\n", "250 mx\r\n", "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n"]),
    ("pop3", ["+OK hi\r\n", "CAPA\r\n", "-ERR no\r\n", "STLS\r\n", "+OK Begin TLS\r\n"]),
    ("imap", ["* OK hi\r\n", "a NOOP\r\n", "a OK\r\n", "b STARTTLS\r\n", "b OK Begin TLS\r\n"]),
];

/// A client in clear that asks for TLS, as far as the handshake.
fn begin(proxy: &Proxy, dialogue: [&str; 5], header: bool) -> (TcpStream, TcpStream) {
    let [greeting, said, reply, starttls, go] = dialogue;
    let (mut client, mut server) = proxy.connect();
    if header {
        assert_eq!(Header::read(&mut server).extension(0x20), None, "in clear there is none");
    }
    server.write_all(greeting.as_bytes()).unwrap();
    hear(&mut client, greeting);
    client.write_all([said, starttls].concat().as_bytes()).unwrap();
    hear(&mut server, said);
    server.write_all(reply.as_bytes()).unwrap();
    let mut answer = String::new();
    while !answer.ends_with(go) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    (client, server)
}

#[test]
fn behind_starttls_the_server_learns_of_it_by_a_new_connection() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    for (protocol, dialogue) in BEGINNINGS {
        let (proxy, _) = start(protocol, &own, &["--tls", "starttls", "--proxy-to", "v2"]);
        let (client, mut old) = begin(&proxy, dialogue, true);
        let mut client: Client = secured(client, &authority.client(BOTH, None));
        client.write_all(dialogue[1].as_bytes()).unwrap();
        let (mut new, _) = proxy.server.accept().unwrap();
        patient(&new);
        assert_eq!(Header::read(&mut new).extension(0x20).unwrap()[0], 1);
        new.write_all(dialogue[0].as_bytes()).unwrap();
        hear(&mut new, dialogue[1]);
        new.write_all(b"done\r\n").unwrap();
        hear(&mut client, "done\r\n");
        assert_eq!(rest(&mut old), "", "it is closed");
    }
}

#[test]
fn without_a_need_for_it_the_connection_is_kept() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    for (protocol, dialogue) in BEGINNINGS {
        let (proxy, _) = start(protocol, &own, &["--tls", "starttls"]);
        let (client, mut server) = begin(&proxy, dialogue, false);
        let mut client: Client = secured(client, &authority.client(BOTH, None));
        client.write_all(dialogue[1].as_bytes()).unwrap();
        hear(&mut server, dialogue[1]);
    }
}

/// The session that an attacker began in clear is not the one that the client has under TLS.
#[test]
fn what_was_said_in_clear_is_forgotten_when_tls_begins() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    let logins = [
        (
            "smtp",
            ["220 mx\r\n", "AUTH PLAIN AGEAYg==\r\n", "235 in\r\n", "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n"],
        ),
        ("pop3", ["+OK hi\r\n", "USER attacker\r\n", "+OK\r\n", "STLS\r\n", "+OK Begin TLS\r\n"]),
        ("imap", ["* OK hi\r\n", "a LOGIN a b\r\n", "a NO no\r\n", "b STARTTLS\r\n", "b OK Begin TLS\r\n"]),
    ];
    for (protocol, dialogue) in logins {
        let (proxy, _) = start(protocol, &own, &["--tls", "starttls"]);
        let (client, mut old) = begin(&proxy, dialogue, false);
        let mut client: Client = secured(client, &authority.client(BOTH, None));
        client.write_all(b"c NOOP\r\n").unwrap();
        let (mut new, _) = proxy.server.accept().unwrap();
        patient(&new);
        new.write_all(dialogue[0].as_bytes()).unwrap();
        hear(&mut new, "c NOOP\r\n");
        assert_eq!(rest(&mut old), "", "{protocol}: it is closed");
        new.write_all(b"c OK\r\n").unwrap();
        hear(&mut client, "c OK\r\n");
    }
}

#[test]
fn a_login_that_goes_well_leaves_no_way_to_starttls() {
    let authority = Authority::new();
    let own = authority.certify("own", |_| {});
    for (protocol, [greeting, said, went, replies, last]) in [
        (
            "imap",
            [
                "* OK hi\r\n",
                "a LOGIN a b\r\nc STARTTLS\r\n",
                "a LOGIN a b\r\n",
                "a OK in\r\n",
                "c BAD STARTTLS is out of place now\r\n",
            ],
        ),
        (
            "pop3",
            [
                "+OK hi\r\n",
                "USER a\r\nPASS b\r\nSTLS\r\n",
                "USER a\r\nPASS b\r\n",
                "+OK\r\n+OK in\r\n",
                "-ERR STLS is out of place now\r\n",
            ],
        ),
    ] {
        let (proxy, _) = start(protocol, &own, &["--tls", "starttls"]);
        let (mut client, mut server) = proxy.connect();
        server.write_all(greeting.as_bytes()).unwrap();
        hear(&mut client, greeting);
        client.write_all(said.as_bytes()).unwrap();
        hear(&mut server, went);
        server.write_all(replies.as_bytes()).unwrap();
        hear(&mut client, replies);
        hear(&mut client, last);
    }
}

#[test]
fn a_balancers_header_goes_on_with_all_it_says() {
    let proxy = Proxy::start("smtp", &["--proxy-from", "127.0.0.0/8", "--proxy-to", "v2"]);
    let mut client = proxy.client();
    let mut block = [203, 0, 113, 66, 198, 51, 100, 1].to_vec();
    block.extend([40_000_u16, 465].iter().flat_map(|port| port.to_be_bytes()));
    let told: [(u8, &[u8]); 4] =
        [(0x02, b"mail.example.org"), (0x20, &[1, 0, 0, 0, 0]), (0x05, b"unique-1"), (0xea, b"x")];
    for (kind, value) in told {
        block.push(kind);
        block.extend((value.len() as u16).to_be_bytes());
        block.extend(value);
    }
    let header = [SIGNATURE, &[0x21, 0x11], &(block.len() as u16).to_be_bytes(), &block].concat();
    client.write_all(&header).unwrap();
    let (mut server, _) = proxy.server.accept().unwrap();
    patient(&server);
    let header = Header::read(&mut server);
    assert_eq!(header.ends, block[..12]);
    assert_eq!(header.extensions, told.map(|(kind, value)| (kind, value.to_vec())));
}
