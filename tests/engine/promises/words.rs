//! A conversation for each word of the lists that have a word for everything the protocols know.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};

use mailtap::engine::{Limits, Session};
use mailtap::event::{
    Dir, End, EstablishedTls, Handshake, Input, Peers, Protocol, Refusal, Sink, Text, TlsFailure, TlsMode, Upstream,
    Verb,
};
use mailtap::output::metrics::label_values;
use mailtap::time::Timestamp;

use crate::dialogue::{self, Dialogue};

/// Commands, mechanisms, replies, extensions and untagged responses, each once.
pub(super) fn dialogues() -> Vec<Dialogue> {
    let mut all = dialogue::parse(&(commands_of_smtp() + &replies() + &extensions() + BEYOND_UTF8), "smtp");
    all.extend(dialogue::parse(AT_A_MAIL_PORT, "smtp"));
    all.extend(dialogue::parse(LMTP_BEYOND_UTF8, "lmtp"));
    all.extend(dialogue::parse(&commands_of_pop3(), "pop3"));
    all.extend(dialogue::parse(&(commands_of_imap() + &untagged() + IMAP_BEYOND_UTF8), "imap"));
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

/// Texts that are not UTF-8, in every place that has one.
const BEYOND_UTF8: &str = r"
dialogue SMTP beyond UTF-8
S~ 220 m\xffx\r\n
C~ EHLO c\xff\r\n
S~ 250-mx\r\n250-AUTH PLAIN\r\n250 X\xff\r\n
C: AUTH PLAIN AP8AeHh4eHh4
S~ 235 \xff\r\n
C~ MAIL FROM:<@a\xff:a\xff@example.org>\r\n
S~ 250 \xff\r\n
C~ RCPT TO:<b\xff@example.org>\r\n
S~ 250 \xff\r\n
C: DATA
S: 354 go
C: Subject: all of it
+C: Cc: c@example.org
+C: Reply-To: d@example.org
+C:
+C: text
+C: .
S~ 250 ok \xff: queued as 4F\xff1\r\n
dialogue replies that do not fit
S: 220 mx
C: EHLO c
S: 250 mx
C: MAIL FROM:<a@example.org> BY=120;R HOLDFOR=60 X-OTHER=1
S: 250 ok
C: RCPT TO:<b@example.org>
S: 354 what
C: RCPT TO:<c@example.org>
S: 199 what
C: NOOP
S: 250 2.9.1 what
";

const IMAP_BEYOND_UTF8: &str = r#"
dialogue IMAP beyond UTF-8
S~ * OK h\xffi\r\n
C: a AUTHENTICATE PLAIN AP8AeHh4eHh4
S~ a OK [X\xff] \xff\r\n
C~ \xff NOOP\r\n
S~ \xff OK [X\xff] \xff\r\n
C~ c SELECT "\xff"\r\n
S: c OK
C~ d UID FETCH 1 (BODY[\xff])\r\n
S~ * 1 FETCH (UID 1 BODY[\xff] {3}\r\nabc)\r\nd OK\r\n
C~ e APPEND "\xff" (\xff) "\xff" {3+}\r\nabc\r\n
S: e OK
C: f UID FETCH 2 (BODY[])
S: * 2 UIDFETCH (BODY[] {3}
+S: abc)
S: * NO [ALERT] look
S: f OK
dialogue STARTTLS with a command behind it
S: * OK hi
C: a STARTTLS
+C: b FETCH 1 BODY[]
S: a OK go
C# 160301002e0100002a0303
dialogue STARTTLS and no handshake
S: * OK hi
C: a STARTTLS
S: a OK go
dialogue logged in from the start
S: * PREAUTH hi
C: a NOOP
S: a OK
dialogue a command whose reply is none
S: * OK hi
C: a NOOP
S: a WHAT
"#;

const LMTP_BEYOND_UTF8: &str = r"
dialogue LMTP beyond UTF-8
S: 220 mx
C: LHLO c
S: 250 mx
C: MAIL FROM:<a@example.org>
S: 250 ok
C: RCPT TO:<b@example.org>
S: 250 ok
C: DATA
S: 354 go
C: .
S~ 250 \xff\r\n
";

const AT_A_MAIL_PORT: &str = r"
dialogue another protocol: HTTP
C: GET / HTTP/1.1
+C: Host: example.org
+C:
S: HTTP/1.1 200 OK
dialogue another protocol: SSH
S: SSH-2.0-OpenSSH_9.2
C: SSH-2.0-client
dialogue another protocol: FTP
S: 220 ProFTPD Server (FTP) ready
C: USER ann
S: 331 Password required
dialogue another protocol: NNTP
S: 200 news.example.org InterNetNews NNRP server ready
C: GROUP misc.test
S: 211 3 1 3 misc.test
dialogue another protocol: Redis
C: *1
+C: $4
+C: PING
S: +PONG
dialogue another protocol: MySQL
S# 4a0000000a382e302e3332000b0000001234567812345678000ff08020
dialogue another protocol: none that is known
S~ \x01\x02\x03\x04\x05\x06\x07\x08
C~ \x01\x02\x03\x04\x05\x06\x07\x08
dialogue another protocol: SOCKS
C# 050100
S# 0500
dialogue another protocol: IRC
C: NICK ann
+C: USER ann 0 * :Ann
S: :irc.example.org 001 ann :Welcome
dialogue another protocol: TLS
C# 16030100310100002d0303000000000000000000000000000000000000000000000000000000000000000000000213010100000200
dialogue the server alone was captured
unseen C
S: 220 mx
S: 250 mx
dialogue the server sends again with other bytes
S: 220 mx
again S 221 mx\r\n
C: QUIT
S: 221 bye
";

/// What sessions tell beyond what is said on the wire: TLS that was answered, ends of every kind, an observer that gave up.
pub(super) fn sessions(out: &mut dyn Sink) {
    let values = |name: &str, label: &str| label_values(name, label, Protocol::Smtp).unwrap();
    let versions = values("mailtap_tls_handshakes_total", "version");
    let ciphers = values("mailtap_tls_ciphers_total", "cipher");
    for n in 0..versions.len().max(ciphers.len()) {
        for mode in [TlsMode::Implicit, TlsMode::StartTls] {
            let version = versions.get(n).or_else(|| versions.last()).filter(|version| **version != "unknown").copied();
            let cipher = ciphers.get(n).or_else(|| ciphers.last()).filter(|cipher| **cipher != "unknown").copied();
            let mut sni = Text::default();
            sni.set(b"mx.example.org");
            secured(EstablishedTls { mode, handshake: Handshake::Ok, version, cipher, sni, failure: None }, out);
        }
    }
    for why in TlsFailure::ALL {
        let how = EstablishedTls {
            mode: TlsMode::StartTls,
            handshake: Handshake::Failed,
            version: None,
            cipher: None,
            sni: Text::default(),
            failure: Some(*why),
        };
        secured(how, out);
        let mut talk = Talk::new(true, out);
        talk.turns(&TURNS[..2]);
        talk.session.upstream_tls_failed(*why);
        talk.session.finish(talk.at, End::Closed, talk.out);
    }
    let address = Some("192.0.2.25:25".parse().unwrap());
    for error in std::iter::once(None).chain(Refusal::ALL.iter().copied().map(Some)) {
        let mut talk = Talk::new(true, out);
        talk.session.connected(Duration::from_millis(3));
        talk.session.dialled(Upstream { address, error });
        talk.turns(&TURNS[..2]);
        talk.session.finish(talk.at, End::Closed, talk.out);
    }
    let mut talk = Talk::new(true, out);
    talk.session.set_health_check();
    talk.turns(&[(Dir::ToServer, "QUIT\r\n"), (Dir::ToClient, "221 bye\r\n")]);
    talk.session.finish(talk.at, End::Closed, talk.out);
    for why in [End::Closed, End::Timeout, End::Drain, End::Evicted, End::CaptureEnd] {
        for said in 0..=TURNS.len() {
            let mut talk = Talk::new(true, out);
            talk.turns(&TURNS[..said]);
            talk.session.finish(talk.at, why, talk.out);
        }
    }
    let mut talk = Talk::new(false, out);
    talk.turns(&[(Dir::ToServer, "AUTH PLAIN AGFubgB4eHh4eA==\r\n"), (Dir::ToClient, "235 in\r\n")]);
    talk.turns(&TURNS[3..]);
    talk.turns(&[(Dir::ToClient, "250 ok\r\n")]);
    talk.session.finish(talk.at, End::Closed, talk.out);
    let mut talk = Talk::new(true, out);
    talk.turns(&TURNS[..2]);
    talk.session.give_up();
    talk.session.finish(talk.at, End::Closed, talk.out);
    let held = "x".repeat(200_000) + "\r\n";
    let mut talk = Talk::new(true, out);
    talk.turns(&TURNS[..7]);
    talk.turns(&[(Dir::ToServer, "DATA\r\n"), (Dir::ToServer, &held), (Dir::ToClient, "354 go\r\n")]);
    talk.session.finish(talk.at, End::Closed, talk.out);
    untimed(out);
    overworked(out);
}

/// A session whose packets were captured without a time.
fn untimed(out: &mut dyn Sink) {
    let mut talk = Talk::new(true, out);
    talk.at = Timestamp::UNKNOWN;
    for (dir, text) in &TURNS[..7] {
        talk.session.handle(talk.at, *dir, Input::Data(text.as_bytes()), talk.out);
    }
    talk.session.finish(talk.at, End::CaptureEnd, talk.out);
}

/// A session in which few bytes are more commands than they are worth: some have no record, and then nothing more is read.
fn overworked(out: &mut dyn Sink) {
    let commands = b"c NOOP\r\n".repeat(20_000);
    let mut packed = Vec::with_capacity(commands.len());
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&commands, &mut packed, FlushCompress::Sync).unwrap();
    let mut talk = Talk::with(true, Limits { work: 200_000, ..Limits::default() }, out);
    talk.turns(&[(Dir::ToClient, "* OK hi\r\n"), (Dir::ToServer, "b COMPRESS DEFLATE\r\n")]);
    talk.turns(&[(Dir::ToClient, "b OK go\r\n")]);
    talk.session.handle(talk.at, Dir::ToServer, Input::Data(&packed), talk.out);
    talk.session.finish(talk.at, End::Closed, talk.out);
}

const TURNS: [(Dir, &str); 11] = [
    (Dir::ToClient, "220 mx\r\n"),
    (Dir::ToServer, "EHLO c\r\n"),
    (Dir::ToClient, "250-mx\r\n250 AUTH PLAIN\r\n"),
    (Dir::ToServer, "MAIL FROM:<a@example.org>\r\n"),
    (Dir::ToClient, "250 ok\r\n"),
    (Dir::ToServer, "RCPT TO:<b@example.org>\r\n"),
    (Dir::ToClient, "250 ok\r\n"),
    (Dir::ToServer, "DATA\r\n"),
    (Dir::ToClient, "354 go\r\n"),
    (Dir::ToServer, "Subject: half\r\n"),
    (Dir::ToServer, "\r\nhalf of it\r\n.\r\n"),
];

struct Talk<'a> {
    session: Session,
    at: Timestamp,
    out: &'a mut dyn Sink,
}

impl<'a> Talk<'a> {
    fn new(seen_from_its_start: bool, out: &'a mut dyn Sink) -> Self {
        Self::with(seen_from_its_start, Limits::default(), out)
    }

    fn with(seen_from_its_start: bool, limits: Limits, out: &'a mut dyn Sink) -> Self {
        let at = Timestamp::from_parts(1_780_000_000, 0);
        let peers = Peers {
            client: "203.0.113.10:50000".parse().unwrap(),
            server: "198.51.100.25:25".parse().unwrap(),
            established: seen_from_its_start.then_some(at),
            roles_certain: seen_from_its_start,
            source: 0,
            ordinal: 0,
        };
        Self { session: Session::new(at, 1, peers, Arc::new(limits)), at, out }
    }

    fn turns(&mut self, turns: &[(Dir, &str)]) {
        for (dir, text) in turns {
            self.at = self.at.after(Duration::from_millis(1));
            self.session.handle(self.at, *dir, Input::Data(text.as_bytes()), self.out);
        }
    }
}

/// A session whose TLS was answered, with a login and a message inside.
fn secured(how: EstablishedTls, out: &mut dyn Sink) {
    let mut talk = Talk::new(true, out);
    if how.mode == TlsMode::StartTls {
        talk.turns(&TURNS[..2]);
        let go = [(Dir::ToServer, "STARTTLS\r\n"), (Dir::ToClient, "220 go\r\n")];
        talk.turns(&[&[(Dir::ToClient, "250-mx\r\n250 STARTTLS\r\n")], &go[..]].concat());
    }
    talk.session.tls_established(talk.at, &how, talk.out);
    talk.turns(&TURNS[usize::from(how.mode == TlsMode::StartTls)..3]);
    talk.turns(&[(Dir::ToServer, "AUTH PLAIN AGFubgB4eHh4eA==\r\n"), (Dir::ToClient, "235 in\r\n")]);
    talk.turns(&TURNS[3..]);
    talk.turns(&[(Dir::ToClient, "250 ok\r\n")]);
    talk.session.finish(talk.at, End::Closed, talk.out);
}
