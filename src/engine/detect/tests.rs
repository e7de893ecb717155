//! Every kind of opening, at every prefix of it; pickups in the middle; hostile octets.

use proptest::prelude::*;

use super::*;

const SMTP: Verdict = mail(Protocol::Smtp);
const LMTP: Verdict = mail(Protocol::Lmtp);
const POP3: Verdict = mail(Protocol::Pop3);
const IMAP: Verdict = mail(Protocol::Imap);
const SIEVE: Verdict = mail(Protocol::ManageSieve);
const FTP: Verdict = Verdict::Other(Other::Ftp);
const NNTP: Verdict = Verdict::Other(Other::Nntp);
const REDIS: Verdict = Verdict::Other(Other::Redis);
const HTTP: Verdict = Verdict::Other(Other::Http);
const OTHER: Verdict = Verdict::Other(Other::Other);

const ODD: Option<u16> = None;

/// Who says what: `C text` or `S text`, CRLF included in the text.
type Steps<'a> = &'a [(char, &'a [u8])];

struct Talk<'a> {
    prior: Option<Protocol>,
    midstream: bool,
    steps: Steps<'a>,
}

fn talk<'a>(port: Option<u16>, steps: Steps<'a>) -> Talk<'a> {
    Talk { prior: port.and_then(prior), midstream: false, steps }
}

fn middle<'a>(port: Option<u16>, steps: Steps<'a>) -> Talk<'a> {
    Talk { midstream: true, ..talk(port, steps) }
}

impl Talk<'_> {
    /// The octets in the order they were sent.
    fn octets(&self) -> Vec<(char, u8)> {
        self.steps.iter().flat_map(|(who, text)| text.iter().map(|o| (*who, *o))).collect()
    }

    /// The verdict when `count` octets were sent.
    fn at(&self, count: usize, last: bool) -> Verdict {
        let octets = self.octets();
        let of = |who| octets[..count].iter().filter(|(w, _)| *w == who).map(|(_, o)| *o).collect::<Vec<u8>>();
        decide(&DetectionEvidence {
            client: &of('C'),
            server: &of('S'),
            prior: self.prior,
            midstream: self.midstream,
            reversible: self.midstream,
            server_first: octets.first().is_some_and(|(who, _)| *who == 'S'),
            is_deep: false,
            last,
        })
    }

    /// The first verdict that is one, with the octets it took; it must never change.
    fn settles(&self) -> (Verdict, usize) {
        let total = self.octets().len();
        let found = (0..=total).find(|count| self.at(*count, false) != Verdict::Wait);
        let at = found.unwrap_or(total);
        let verdict = self.at(at, found.is_none());
        if found.is_some() {
            for count in at..=total {
                assert_eq!(self.at(count, false), verdict, "changes at {count} of {total}: {:?}", self.shown());
            }
            assert_eq!(self.at(total, true), verdict, "changes at the end: {:?}", self.shown());
        }
        (verdict, at)
    }

    fn is(&self, verdict: Verdict) {
        assert_eq!(self.settles().0, verdict, "{:?}", self.shown());
    }

    /// As [`Self::is`], without waiting for more than these octets.
    fn is_at_once(&self, verdict: Verdict) {
        self.is(verdict);
        assert_ne!(self.at(self.octets().len(), false), Verdict::Wait, "waits for more: {:?}", self.shown());
    }

    fn shown(&self) -> String {
        let shown = self.steps.iter().map(|(who, text)| format!("{who} {}", text.escape_ascii()));
        shown.collect::<Vec<_>>().join(" | ")
    }
}

#[test]
fn a_greeting_with_220_is_told_by_the_client() {
    for port in [ODD, Some(25), Some(587), Some(465), Some(24), Some(110)] {
        // Where LMTP is expected, the answer to EHLO tells.
        let hello = if port == Some(24) { LMTP } else { SMTP };
        for (line, verdict) in [
            (b"EHLO a\r\n".as_slice(), hello),
            (b"helo a\r\n", hello),
            (b"LHLO a\r\n", LMTP),
            (b"USER ann\r\n", FTP),
            (b"AUTH TLS\r\n", FTP),
            (b"AUTH SSL\r\n", FTP),
            (b"FEAT\r\n", FTP),
            (b"SYST\r\n", FTP),
            (b"OPTS UTF8 ON\r\n", FTP),
            (b"HOST ftp.example\r\n", FTP),
            (b"CLNT x\r\n", FTP),
        ] {
            talk(port, &[('S', b"220 mail.example ready\r\n"), ('C', line)]).is_at_once(verdict);
            talk(port, &[('S', b"220-mail.example\r\n220 ready\r\n"), ('C', line)]).is_at_once(verdict);
        }
    }
}

#[test]
fn a_banner_speaks_where_the_client_does_not() {
    talk(ODD, &[('S', b"220 mx ESMTP\r\n"), ('C', b"QUIT\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('S', b"220 mx LMTP\r\n"), ('C', b"QUIT\r\n")]).is_at_once(LMTP);
    talk(ODD, &[('S', b"220 mx FTP server\r\n"), ('C', b"QUIT\r\n")]).is_at_once(FTP);
    talk(ODD, &[('S', b"220 mx\r\n"), ('C', b"QUIT\r\n"), ('S', b"221 2.0.0 bye\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('S', b"220 mx\r\n"), ('C', b"QUIT\r\n"), ('S', b"221 bye\r\n")]).is(Verdict::Unknown);
    talk(ODD, &[('S', b"220-mx\r\n welcome\r\n220 x\r\n"), ('C', b"QUIT\r\n")]).is_at_once(FTP);
    talk(ODD, &[('S', b"220 mx\r\n"), ('C', b"NOOP\r\n"), ('S', b"250 ok\r\n"), ('C', b"EHLO a\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('S', b"220 mx ESMTP\r\n")]).is(SMTP);
    talk(ODD, &[('S', b"220 mx\r\n")]).is(Verdict::Unknown);
    talk(Some(25), &[('S', b"220 mx\r\n")]).is(SMTP);
    talk(Some(24), &[('S', b"220 mx\r\n")]).is(LMTP);
    talk(Some(25), &[('S', b"220 *****0****2****\r\n"), ('C', b"QUIT\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('S', b"220 *****0****2****\r\n"), ('C', b"EHLO a\r\n")]).is_at_once(SMTP);
    talk(Some(25), &[('S', b"220 mx ESMTP Postfix\r\n"), ('C', b"USER ann\r\n")]).is_at_once(SMTP);
}

#[test]
fn a_server_that_turns_clients_away_is_told_by_port_or_words() {
    for code in [b"421".as_slice(), b"554", b"521", b"450"] {
        let refusal = [code, b" go away\r\n"].concat();
        talk(Some(25), &[('S', &refusal)]).is(SMTP);
        talk(Some(25), &[('S', &refusal), ('C', b"QUIT\r\n")]).is_at_once(SMTP);
        talk(ODD, &[('S', &refusal), ('C', b"EHLO a\r\n")]).is_at_once(SMTP);
        talk(ODD, &[('S', &refusal)]).is(Verdict::Unknown);
    }
    talk(ODD, &[('S', b"554 mx ESMTP not accepting\r\n")]).is(SMTP);
    talk(ODD, &[('S', b"421 FTP: too many users\r\n")]).is(FTP);
    talk(ODD, &[('S', b"400 busy\r\n"), ('C', b"MODE READER\r\n")]).is_at_once(NNTP);
}

#[test]
fn news_and_password_changes_are_not_mail() {
    talk(ODD, &[('S', b"200 news ready\r\n"), ('C', b"CAPABILITIES\r\n"), ('S', b"101 list\r\n")]).is_at_once(NNTP);
    talk(ODD, &[('S', b"201 hi\r\n"), ('C', b"AUTHINFO USER x\r\n")]).is_at_once(NNTP);
    talk(Some(110), &[('S', b"200 hi\r\n"), ('C', b"MODE READER\r\n")]).is_at_once(NNTP);
    talk(ODD, &[('S', b"200 hello\r\n"), ('C', b"user ann\r\n")]).is_at_once(OTHER);
    talk(ODD, &[('S', b"200 NNTP Service\r\n")]).is(NNTP);
}

#[test]
fn pop3_greets_first_and_redis_does_not() {
    for line in [b"CAPA\r\n".as_slice(), b"USER ann\r\n", b"AUTH PLAIN\r\n", b"APOP a b\r\n", b"STLS\r\n", b"QUIT\r\n"]
    {
        talk(ODD, &[('S', b"+OK hi\r\n"), ('C', line)]).is_at_once(POP3);
        talk(Some(110), &[('S', b"+OK hi\r\n"), ('C', line)]).is_at_once(POP3);
        talk(Some(143), &[('S', b"+OK hi\r\n"), ('C', line)]).is_at_once(POP3);
    }
    talk(Some(110), &[('S', b"-ERR locked\r\n")]).is(POP3);
    talk(ODD, &[('S', b"+OK POP3 ready\r\n")]).is(POP3);
    talk(ODD, &[('S', b"+OK <1.2@mx>\r\n")]).is(POP3);
    talk(ODD, &[('S', b"+OK\r\n")]).is(Verdict::Unknown);
    talk(ODD, &[('C', b"PING\r\n"), ('S', b"+PONG\r\n"), ('C', b"AUTH x\r\n"), ('S', b"+OK\r\n")]).is_at_once(REDIS);
    talk(Some(110), &[('C', b"PING\r\n"), ('S', b"+PONG\r\n")]).is_at_once(REDIS);
    talk(ODD, &[('C', b"AUTH secret\r\n"), ('S', b"+OK\r\n")]).is_at_once(REDIS);
    talk(ODD, &[('C', b"SELECT 1\r\n"), ('S', b"+OK\r\n")]).is_at_once(REDIS);
    talk(ODD, &[('C', b"*1\r\n$4\r\nPING\r\n")]).is_at_once(REDIS);
    talk(ODD, &[('S', b"-DENIED Redis is running in protected mode\r\n")]).is_at_once(REDIS);
}

#[test]
fn imap_has_look_alikes() {
    talk(ODD, &[('S', b"* OK hi\r\n"), ('C', b"a1 LOGIN a b\r\n")]).is_at_once(IMAP);
    talk(ODD, &[('S', b"* PREAUTH hi\r\n"), ('C', b"1 SELECT x\r\n")]).is_at_once(IMAP);
    talk(ODD, &[('S', b"* BYE busy\r\n")]).is(IMAP);
    talk(Some(143), &[('S', b"* OK hi\r\n"), ('C', b"junk\r\n")]).is_at_once(IMAP);
    talk(Some(143), &[('S', b"* OK MUPDATE \"h\" \"Cyrus IMAP\" \"v\" \"(master)\"\r\n")]).is_at_once(OTHER);
    talk(ODD, &[('S', b"* AUTH \"PLAIN\"\r\n* OK MUPDATE \"h\"\r\n")]).is_at_once(OTHER);
    talk(ODD, &[('S', b"* OK h Cyrus IMSP version 1\r\n")]).is_at_once(OTHER);
    talk(ODD, &[('S', b"* ACAP (IMPLEMENTATION \"x\")\r\n")]).is_at_once(OTHER);
}

#[test]
fn managesieve_greets_with_quoted_capabilities() {
    talk(ODD, &[('S', b"\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n")]).is_at_once(SIEVE);
    talk(ODD, &[('S', b"\"SIEVE\" \"fileinto\"\r\n"), ('C', b"AUTHENTICATE \"PLAIN\" {16+}\r\n")]).is_at_once(SIEVE);
    talk(Some(4190), &[('S', b"BYE \"busy\"\r\n")]).is(SIEVE);
}

#[test]
fn others_announce_themselves() {
    for port in [ODD, Some(25), Some(143)] {
        talk(port, &[('S', b"SSH-2.0-OpenSSH\r\n")]).is_at_once(Verdict::Other(Other::Ssh));
        talk(port, &[('S', b"RFB 003.008\n")]).is_at_once(OTHER);
        talk(port, &[('S', b"J\0\0\0\x0a5.7.1\0xyz")]).is_at_once(Verdict::Other(Other::Mysql));
        talk(port, &[('S', b"\x0a\0\0\0\x0a5.7.1\0xyz")]).is_at_once(Verdict::Other(Other::Mysql));
        talk(port, &[('C', b"GET / HTTP/1.1\r\n\r\n"), ('S', b"HTTP/1.1 200 OK\r\n\r\n")]).is_at_once(HTTP);
        talk(port, &[('C', b"\x05\x01\0"), ('S', b"\x05\xff")]).is_at_once(Verdict::Other(Other::Socks));
        talk(port, &[('C', b"\x04\x01\0\x19\x01\x02\x03\x04a\0"), ('S', b"\0Z\0\0")]).is(Verdict::Other(Other::Socks));
        talk(port, &[('C', b"CAP LS\r\nNICK x\r\n"), ('S', b":irc NOTICE * :hi\r\n")]).is_at_once(OTHER);
        talk(port, &[('C', b"<?xml version='1.0'?>\n<stream:stream>"), ('S', b"<?xml version='1.0'?>\n")])
            .is_at_once(OTHER);
    }
    talk(ODD, &[('C', b"GET / HTTP/1.1\r\n\r\n")]).is(HTTP);
    talk(ODD, &[('C', b"\0\x01binary")]).is_at_once(Verdict::Unknown);
    talk(Some(25), &[('C', b"\x05\x01\0"), ('S', b"220 mx\r\n")]).is_at_once(SMTP);
    talk(Some(25), &[('S', b"\x01\x02\x03\x04\x05\n"), ('C', b"\x01\x02\n")]).is_at_once(Verdict::Unknown);
}

#[test]
fn http_to_a_mail_server_stays_mail() {
    for request in
        [b"GET / HTTP/1.1\r\n".as_slice(), b"POST / HTTP/1.1\r\n", b"CONNECT mx:25 HTTP/1.1\r\n", b"PUT / HTTP/1.0\r\n"]
    {
        talk(Some(25), &[('C', request), ('C', b"Host: x\r\n\r\n"), ('S', b"220 mx\r\n")]).is_at_once(SMTP);
        talk(ODD, &[('C', request), ('C', b"Host: x\r\n\r\n"), ('S', b"220 mx ESMTP\r\n")]).is_at_once(SMTP);
    }
}

#[test]
fn a_client_that_does_not_wait_is_told_with_the_greeting() {
    let early = talk(Some(25), &[('C', b"EHLO a\r\n"), ('S', b"220 mx\r\n")]);
    assert_eq!(early.at(8, false), Verdict::Wait);
    early.is_at_once(SMTP);
    talk(ODD, &[('C', b"EHLO a\r\n"), ('S', b"220 mx\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('C', b"EHLO a\r\n"), ('S', b"****\r\n250-mx\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('C', b"EHLO a\r\n")]).is(Verdict::Unknown);
}

#[test]
fn a_client_alone_on_a_mail_port_is_told_by_its_verbs() {
    let lines: Steps<'_> =
        &[('C', b"EHLO a\r\n"), ('C', b"MAIL FROM:<a@b>\r\n"), ('C', b"RCPT TO:<c@d>\r\n"), ('C', b"DATA\r\n")];
    talk(Some(25), lines).is_at_once(SMTP);
    talk(Some(24), &[('C', b"LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")]).is_at_once(LMTP);
    talk(ODD, lines).is(SMTP);
    talk(Some(110), &[('C', b"USER a\r\n")]).is(POP3);
    talk(Some(143), &[('C', b"1 NOOP\r\n")]).is(IMAP);
    // Where nobody says anything the port alone is no proof.
    talk(Some(143), &[]).is(Verdict::Unknown);
}

#[test]
fn other_text_protocols_on_mail_ports_are_not_mail() {
    let talks: &[Steps<'_>] = &[
        // NATS, Redis, memcached, beanstalk, IRC, JSON-RPC, an echo, and one that nobody knows.
        &[('S', b"INFO {\"a\":1}\r\n"), ('C', b"CONNECT {}\r\nPING\r\n"), ('S', b"+OK\r\nPONG\r\n")],
        &[('C', b"*1\r\n$4\r\nINFO\r\n"), ('S', b"+OK\r\n")],
        &[('C', b"SET a b\r\n"), ('S', b"+OK\r\n")],
        &[('C', b"get a\r\n"), ('S', b"END\r\n")],
        &[('C', b"version\r\n"), ('S', b"VERSION 1.6.9\r\n")],
        &[('C', b"watch tube\r\n"), ('S', b"WATCHING 2\r\n")],
        &[('C', b"NICK a\r\nUSER a 0 * :b\r\n"), ('S', b":irc 001 a :hi\r\n")],
        &[('C', b"{\"id\":1}\n"), ('S', b"{\"result\":null}\n")],
        &[('C', b"hello\r\n"), ('S', b"hello\r\n")],
        &[('S', b"Welcome to the bridge\r\n"), ('C', b"HELP\r\n"), ('S', b"no help\r\n"), ('C', b"QUIT\r\n")],
        &[('S', b"SSH-2.0-x\r\n"), ('C', b"SSH-2.0-y\r\n")],
        &[('C', b"garbage that nobody answers\r\n")],
    ];
    for port in [25, 587, 24, 110, 143] {
        for steps in talks {
            let (verdict, _) = talk(Some(port), steps).settles();
            assert!(matches!(verdict, Verdict::Unknown | Verdict::Other(_)), "{port}: {verdict:?} {steps:?}");
        }
    }
    // Each mail protocol on the port of another is what it is.
    talk(Some(143), &[('S', b"+OK hi\r\n"), ('C', b"CAPA\r\n")]).is_at_once(POP3);
    talk(Some(110), &[('S', b"220 mx ESMTP\r\n"), ('C', b"EHLO a\r\n")]).is_at_once(SMTP);
    talk(Some(25), &[('S', b"* OK hi\r\n"), ('C', b"a1 LOGIN a b\r\n")]).is_at_once(IMAP);
}

#[test]
fn other_text_protocols_under_way_are_not_mail() {
    let talks: &[Steps<'_>] = &[
        &[('S', b"+OK\r\n"), ('C', b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"), ('S', b"+OK\r\n")],
        &[('S', b"+OK\r\n"), ('C', b"SET a b\r\n"), ('S', b"+OK\r\n"), ('C', b"AUTH pw\r\n"), ('S', b"+OK\r\n")],
        &[('S', b"+OK\r\n"), ('C', b"PUB a 5\r\nhello\r\n"), ('S', b"+OK\r\n"), ('C', b"PUB a 1\r\nx\r\n")],
        &[('C', b"PUB a 5\r\nhello\r\n"), ('S', b"+OK\r\n"), ('C', b"PUB a 1\r\nx\r\n"), ('S', b"+OK\r\n")],
        &[('S', b"-ERR unknown command\r\n"), ('C', b"*1\r\n$4\r\nPING\r\n"), ('S', b"+PONG\r\n")],
        &[
            ('C', b"set a 0 0 1\r\nx\r\n"),
            ('S', b"STORED\r\n"),
            ('C', b"get a\r\n"),
            ('S', b"VALUE a 0 1\r\nx\r\nEND\r\n"),
        ],
        &[
            ('C', b"CWD /\r\n"),
            ('S', b"250 ok\r\n"),
            ('C', b"LIST\r\n"),
            ('S', b"150 here\r\n"),
            ('S', b"226 sent\r\n"),
        ],
        &[('C', b"GROUP misc.test\r\n"), ('S', b"211 1 1 1 misc.test\r\n"), ('C', b"ARTICLE 1\r\n")],
        &[('C', b"GET / HTTP/1.1\r\n\r\n"), ('S', b"HTTP/1.1 200 OK\r\n\r\n")],
        &[('C', b"PRIVMSG #a :hi\r\n"), ('S', b":b!b@c PRIVMSG #a :hi\r\n")],
    ];
    for port in [ODD, Some(25), Some(110), Some(143)] {
        for steps in talks {
            let (verdict, _) = middle(port, steps).settles();
            let is_mail = matches!(verdict, Verdict::Mail { .. } | Verdict::Tls(_));
            assert!(!is_mail, "{port:?}: {verdict:?} {steps:?}");
        }
    }
    middle(ODD, &[('S', b"+OK\r\n+OK\r\n+OK\r\n")]).is(Verdict::Unknown);
    middle(ODD, &[('S', b"+OK 2 messages\r\n+OK\r\n+OK bye\r\n")]).is(POP3);
    middle(Some(110), &[('S', b"+OK\r\n"), ('C', b"AGFubgBwdw==\r\n"), ('S', b"+OK in\r\n")]).is(POP3);
    middle(Some(110), &[('S', b"+OK\r\n"), ('C', b"RETR 1\r\n")]).is_at_once(POP3);
}

#[test]
fn other_protocols_the_wrong_way_round_have_their_server_there() {
    middle(Some(25), &[('C', b"HTTP/1.1 200 OK\r\n\r\n"), ('S', b"GET / HTTP/1.1\r\n\r\n")])
        .is(Verdict::OtherReversed(Other::Http));
}

#[test]
fn tunnels_are_gone_through() {
    let kind = |verdict| match verdict {
        Verdict::Tunnel(opened) => opened.kind.as_str(),
        _ => "none",
    };
    let request = b"CONNECT mx.example:25 HTTP/1.1\r\n\r\n";
    let (verdict, _) = talk(Some(25), &[('C', request), ('S', b"HTTP/1.1 200 OK\r\n\r\n")]).settles();
    assert_eq!(kind(verdict), "http_connect");
    let socks: Steps<'_> = &[
        ('C', b"\x05\x01\0"),
        ('S', b"\x05\0"),
        ('C', b"\x05\x01\0\x01\xc0\0\x02\x07\0\x19"),
        ('S', b"\x05\0\0\x01\0\0\0\0\0\0"),
    ];
    let (verdict, used) = talk(ODD, socks).settles();
    assert_eq!((kind(verdict), used), ("socks5", 25));
    talk(ODD, &[('C', request), ('S', b"HTTP/1.1 403 no\r\n\r\n")]).is_at_once(HTTP);
    talk(ODD, &[('C', request)]).is(HTTP);
}

/// A ClientHello with one ALPN name, or none.
fn hello(alpn: Option<&str>) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    let mut extensions = vec![0, 0x17, 0, 0];
    if let Some(name) = alpn {
        let length = name.len() as u8;
        extensions.extend([0, 16, 0, length + 3, 0, length + 1, length]);
        extensions.extend(name.bytes());
    }
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    // In two records, as some middleboxes cut it.
    let (one, two) = handshake.split_at(20);
    let record = |part: &[u8]| [&[0x16, 3, 1, 0, part.len() as u8][..], part].concat();
    [record(one), record(two)].concat()
}

#[test]
fn tls_from_the_first_octet_takes_port_or_alpn() {
    let answer: &[u8] = b"\x16\x03\x03\0\x7a\x02\0\0\x76";
    let tls = |port, alpn, verdict| {
        let hello = hello(alpn);
        talk(port, &[('C', &hello), ('S', answer)]).is_at_once(verdict);
    };
    for (port, protocol) in [
        (465, Protocol::Smtp),
        (993, Protocol::Imap),
        (995, Protocol::Pop3),
        (25, Protocol::Smtp),
        (110, Protocol::Pop3),
        (143, Protocol::Imap),
    ] {
        tls(Some(port), None, Verdict::Tls(protocol));
    }
    tls(ODD, None, Verdict::Tls(Protocol::Unknown));
    tls(ODD, Some("imap"), Verdict::Tls(Protocol::Imap));
    tls(ODD, Some("pop3"), Verdict::Tls(Protocol::Pop3));
    tls(ODD, Some("managesieve"), Verdict::Tls(Protocol::ManageSieve));
    tls(ODD, Some("h2"), HTTP);
    tls(ODD, Some("http/1.1"), HTTP);
    tls(ODD, Some("x"), Verdict::Tls(Protocol::Unknown));
    // Cut off: nothing is claimed beyond the port.
    talk(ODD, &[('C', b"\x16\x03\x01\0\x2e\x01\0\0\x2a\x03\x03"), ('S', answer)]).is(Verdict::Tls(Protocol::Unknown));
    talk(Some(465), &[('C', b"\x16\x03\x01\0\x2e\x01\0\0\x2a\x03\x03")]).is(Verdict::Tls(Protocol::Smtp));
}

#[test]
fn tls_to_a_server_that_greets_in_clear_is_that_server() {
    let hello: &[u8] = &hello(None);
    talk(Some(25), &[('S', b"220 mx\r\n"), ('C', hello), ('S', b"500 what\r\n")]).is_at_once(SMTP);
    talk(Some(25), &[('C', hello), ('S', b"220 mx\r\n")]).is_at_once(SMTP);
    talk(ODD, &[('S', b"220 mx ESMTP\r\n"), ('C', hello)]).is_at_once(SMTP);
    talk(ODD, &[('C', hello), ('S', b"HTTP/1.1 400 Bad Request\r\n")]).is_at_once(HTTP);
    // The other way round: text to a port where TLS is spoken.
    talk(Some(465), &[('C', b"EHLO a\r\n"), ('S', b"\x15\x03\x01\0\x02\x02\x0a")]).is(SMTP);
}

#[test]
fn the_middle_needs_both_directions_or_one_and_the_port() {
    let smtp: Steps<'_> = &[('C', b"RCPT TO:<a@b>\r\n"), ('S', b"250 2.1.5 ok\r\n")];
    middle(ODD, smtp).is_at_once(SMTP);
    middle(Some(110), smtp).is_at_once(SMTP);
    middle(Some(25), &[('C', b"RCPT TO:<a@b>\r\n")]).is_at_once(SMTP);
    middle(Some(25), &[('S', b"354 go\r\n")]).is_at_once(SMTP);
    middle(ODD, &[('C', b"RCPT TO:<a@b>\r\n")]).is(Verdict::Unknown);
    middle(ODD, &[('C', b"RETR 1\r\n"), ('S', b"+OK 120 octets\r\n")]).is_at_once(POP3);
    middle(ODD, &[('C', b"a7 UID FETCH 1 BODY[]\r\n"), ('S', b"* 1 FETCH (UID 1 BODY[] {3}\r\n")]).is_at_once(IMAP);
    middle(Some(143), &[('S', b"* 3 EXISTS\r\n")]).is_at_once(IMAP);
    middle(ODD, &[('S', b"* 3 EXISTS\r\n"), ('C', b"DONE\r\n")]).is_at_once(IMAP);
    middle(ODD, &[('C', b"LHLO a\r\n"), ('S', b"250-mx\r\n")]).is_at_once(LMTP);
    middle(ODD, &[('C', b"AUTH x\r\n"), ('S', b"+OK\r\n")]).is(REDIS);
    middle(ODD, &[('C', b"USER ann\r\n"), ('S', b"331 pass\r\n")]).is(Verdict::Unknown);
}

#[test]
fn a_body_in_the_middle_is_what_the_port_says() {
    middle(Some(25), &[('C', b"dear bob,\r\n250 of them\r\n\r\nyours\r\n")]).is(SMTP);
    middle(Some(110), &[('S', b"\x80\x81\x82 no text at all")]).is(POP3);
    middle(ODD, &[('C', b"dear bob,\r\n")]).is(Verdict::Unknown);
    middle(Some(25), &[('C', b"220 of them\r\n"), ('S', b"250 ok\r\n")]).is(SMTP);
}

#[test]
fn tls_in_the_middle_is_known_by_its_records() {
    let sealed: &[u8] = b"\x17\x03\x03\0\x20abcdefgh";
    middle(Some(993), &[('C', sealed)]).is_at_once(Verdict::Tls(Protocol::Imap));
    middle(Some(993), &[('S', sealed)]).is_at_once(Verdict::Tls(Protocol::Imap));
    middle(ODD, &[('S', sealed)]).is_at_once(Verdict::Tls(Protocol::Unknown));
}

#[test]
fn roles_the_wrong_way_round_are_turned() {
    let reversed = |protocol| Verdict::Mail { protocol, reversed: true };
    middle(ODD, &[('C', b"220 mx ESMTP\r\n"), ('S', b"EHLO a\r\n")]).is_at_once(reversed(Protocol::Smtp));
    middle(ODD, &[('C', b"250 2.1.0 ok\r\n"), ('S', b"RCPT TO:<a@b>\r\n")]).is_at_once(reversed(Protocol::Smtp));
    middle(ODD, &[('S', b"a1 NOOP\r\n"), ('C', b"a1 OK done\r\n")]).is_at_once(reversed(Protocol::Imap));
    middle(ODD, &[('C', b"+OK hi\r\n"), ('S', b"USER a\r\n")]).is_at_once(reversed(Protocol::Pop3));
    middle(ODD, &[('C', b"* 1 EXISTS\r\n* 2 EXISTS\r\n* 3 EXISTS\r\n")]).is(reversed(Protocol::Imap));
    middle(ODD, &[('C', b"250-mx\r\n250-PIPELINING\r\n250 SIZE 1\r\n")]).is(reversed(Protocol::Smtp));
    let certain = DetectionEvidence {
        client: b"250 2.1.0 ok\r\n",
        server: b"RCPT TO:<a@b>\r\n",
        prior: None,
        midstream: true,
        reversible: false,
        server_first: false,
        is_deep: false,
        last: true,
    };
    assert_eq!(decide(&certain), Verdict::Unknown);
}

#[test]
fn a_start_without_syn_is_told_like_a_start() {
    middle(Some(25), &[('S', b"220 mx\r\n"), ('C', b"LHLO a\r\n")]).is_at_once(LMTP);
    middle(Some(25), &[('S', b"220 files\r\n"), ('C', b"USER a\r\n")]).is_at_once(FTP);
    middle(Some(25), &[('S', b"220 mx\r\n"), ('C', b"EHLO a\r\n")]).is_at_once(SMTP);
    middle(Some(143), &[('S', b"* OK hi\r\n"), ('C', b"1 LOGIN a b\r\n")]).is_at_once(IMAP);
}

/// Octets that are likely to look like something.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &[
        "220 ",
        "220-",
        "EHLO a\r\n",
        "+OK\r\n",
        "-ERR x\r\n",
        "* OK hi\r\n",
        "* 1 EXISTS\r\n",
        "a LOGIN b c\r\n",
        "250-SIZE\r\n",
        "\r\n",
        "PROXY ",
        "\u{16}\u{3}\u{1}",
        "\u{5}\u{1}",
        "GET / HTTP/1.1\r\n",
        "*1\r\n$4\r\n",
        "QUIT\r\n",
        "354 x\r\n",
        "AUTH PLAIN\r\n",
        "MAIL FROM:<>\r\n",
        "\"SASL\" \"x\"\r\n",
        ":irc\r\n",
        "200 x\r\n",
    ];
    let known = proptest::sample::select(KNOWN).prop_map(|text| text.as_bytes().to_vec());
    proptest::collection::vec(prop_oneof![known, proptest::collection::vec(any::<u8>(), 0..12)], 0..8)
        .prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn no_octets_panic_and_the_end_always_has_a_verdict(
        client in pieces(),
        server in pieces(),
        port in proptest::sample::select(vec![0_u16, 24, 25, 110, 143, 465, 4190]),
        flags in any::<(bool, bool, bool)>(),
    ) {
        let (midstream, reversible, server_first) = flags;
        let evidence = DetectionEvidence {
            client: &client, server: &server, prior: prior(port), midstream, reversible, server_first, is_deep: false, last: true,
        };
        let verdict = decide(&evidence);
        prop_assert_ne!(verdict, Verdict::Wait);
        prop_assert_eq!(verdict, decide(&evidence));
        _ = decide(&DetectionEvidence { last: false, ..evidence });
    }
}

#[test]
fn a_bare_answer_in_the_middle_is_no_sign_of_pop3() {
    let picked = |server: &[u8]| {
        let evidence = DetectionEvidence {
            client: b"",
            server,
            prior: Some(Protocol::Pop3),
            midstream: true,
            reversible: true,
            server_first: true,
            is_deep: false,
            last: true,
        };
        decide(&evidence)
    };
    assert_eq!(picked(b"+OK\r\nPONG\r\n"), Verdict::Unknown);
    for server in [&b"+OK\r\n"[..], b"+OK 2 320\r\n", b"+OK\r\n1 120\r\n.\r\n", b"+OK\r\nFrom: a@x.org\r\n"] {
        assert_eq!(picked(server), Verdict::Mail { protocol: Protocol::Pop3, reversed: false });
    }
}
