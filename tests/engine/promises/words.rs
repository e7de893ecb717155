//! A conversation for each word of the lists that have a word for everything the protocols know.

use std::fmt::Write as _;

use mailtap::engine::{Limits, Session};
use mailtap::event::{Dir, End, EstablishedTls, Handshake, Input, Peers, Protocol, Sink, Text, TlsMode, Verb};
use mailtap::output::metrics::label_values;
use mailtap::time::Timestamp;

use crate::dialogue::{self, Dialogue};

/// Commands, mechanisms, replies, extensions and untagged responses, each once.
pub(super) fn dialogues() -> Vec<Dialogue> {
    let mut all = dialogue::parse(&(commands_of_smtp() + &replies() + &extensions()), "smtp");
    all.extend(dialogue::parse(&commands_of_pop3(), "pop3"));
    all.extend(dialogue::parse(&(commands_of_imap() + &untagged()), "imap"));
    all
}

fn commands_of_smtp() -> String {
    let mut text = String::new();
    for verb in Verb::ALL {
        let name = verb.as_str();
        writeln!(
            text,
            "dialogue SMTP {name}\nS: 220 mx\nC: EHLO c\nS: 250 mx\nC: {name} x\nS: 500 no\nC: QUIT\nS: 221 bye"
        )
        .unwrap();
    }
    for mechanism in mechanisms() {
        writeln!(text, "dialogue AUTH {mechanism}\nS: 220 mx\nC: EHLO c\nS: 250-mx\n+S: 250 AUTH {mechanism}\nC: AUTH {mechanism}\nS: 334 \nC: eA==\nS: 235 in").unwrap();
    }
    text
}

fn mechanisms() -> Vec<&'static str> {
    mailtap::event::Mechanism::ALL.iter().map(|mechanism| mechanism.as_str()).collect()
}

fn replies() -> String {
    let mut text = String::new();
    let values = |name: &str, label: &str| label_values(name, label, Protocol::Smtp).unwrap();
    for code in values("mailtap_smtp_replies_total", "code").iter().filter(|code| code.len() == 3) {
        writeln!(text, "dialogue reply {code}\nS: 220 mx\nC: EHLO c\nS: 250 mx\nC: NOOP\nS: {code} said").unwrap();
    }
    for status in values("mailtap_smtp_enhanced_status_total", "enhanced").iter().filter(|status| status.len() == 3) {
        let class = status.get(..1).unwrap();
        writeln!(
            text,
            "dialogue status {status}\nS: 220 mx\nC: EHLO c\nS: 250 mx\nC: NOOP\nS: {class}50 {status}.1 said"
        )
        .unwrap();
    }
    text
}

fn extensions() -> String {
    let mut text = String::new();
    for word in label_values("mailtap_smtp_extensions_offered_total", "extension", Protocol::Smtp).unwrap() {
        writeln!(text, "dialogue extension {word}\nS: 220 mx\nC: EHLO c\nS: 250-mx\n+S: 250 {word}").unwrap();
    }
    text
}

fn commands_of_pop3() -> String {
    let mut text = String::new();
    for verb in Verb::ALL {
        let name = verb.as_str();
        writeln!(text, "dialogue POP3 {name}\nS: +OK hi\nC: {name} x\nS: -ERR no\nC: QUIT\nS: +OK bye").unwrap();
    }
    text
}

fn commands_of_imap() -> String {
    let mut text = String::new();
    for verb in Verb::ALL {
        let name = verb.as_str();
        writeln!(text, "dialogue IMAP {name}\nS: * OK hi\nC: a {name} x\nS: a BAD no\nC: b LOGOUT\nS: * BYE\n+S: b OK")
            .unwrap();
    }
    text
}

fn untagged() -> String {
    let mut text = String::from("dialogue untagged responses\nS: * OK hi\nC: a NOOP\n");
    for kind in mailtap::event::Untagged::ALL {
        let name = kind.as_str();
        let line = if ["EXISTS", "RECENT", "EXPUNGE", "FETCH", "UIDFETCH"].contains(&name) {
            format!("1 {name} ()")
        } else {
            format!("{name} x")
        };
        writeln!(text, "S: * {line}").unwrap();
    }
    text + "S: a OK\n"
}

/// Handshakes of every version and cipher suite, as whoever answers TLS tells them.
pub(super) fn secured(out: &mut dyn Sink) {
    let values = |name: &str, label: &str| label_values(name, label, Protocol::Smtp).unwrap();
    let versions = values("mailtap_tls_handshakes_total", "version");
    let ciphers = values("mailtap_tls_ciphers_total", "cipher");
    let longest = versions.len().max(ciphers.len());
    for n in 0..longest {
        for mode in [TlsMode::Implicit, TlsMode::StartTls] {
            let version = versions.get(n).or(versions.last()).filter(|version| **version != "unknown").copied();
            let cipher = ciphers.get(n).or(ciphers.last()).filter(|cipher| **cipher != "unknown").copied();
            handshake(&EstablishedTls { mode, handshake: Handshake::Ok, version, cipher, sni: Text::default() }, out);
        }
    }
}

fn handshake(how: &EstablishedTls, out: &mut dyn Sink) {
    let at = Timestamp::from_parts(1_780_000_000, 0);
    let peers = Peers {
        client: "203.0.113.10:50000".parse().unwrap(),
        server: "198.51.100.25:25".parse().unwrap(),
        established: Some(at),
        roles_certain: true,
        source: 0,
        ordinal: 0,
    };
    let mut session = Session::new(at, 1, peers, std::sync::Arc::new(Limits::default()));
    let mut say = |dir, text: &str| session.handle(at, dir, Input::Data(text.as_bytes()), out);
    if how.mode == TlsMode::StartTls {
        say(Dir::ToClient, "220 mx\r\n");
        say(Dir::ToServer, "EHLO c\r\n");
        say(Dir::ToClient, "250-mx\r\n250 STARTTLS\r\n");
        say(Dir::ToServer, "STARTTLS\r\n");
        say(Dir::ToClient, "220 go\r\n");
    }
    session.tls_established(at, how, out);
    session.handle(at, Dir::ToServer, Input::Data(b"EHLO c\r\n"), out);
    session.finish(at, End::Closed, out);
}
