//! Events made by hand, for the tests of this module.

use std::time::Duration;

use crate::event::*;
use crate::event::{List, Span, Text, Untagged, Verb, anomaly};
use crate::message::Message;
use crate::time::Timestamp;

pub(super) const START: u64 = 1_769_850_000;

/// `millis` after 2026-01-31T09:00:00Z.
pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_parts(START, 0).after(Duration::from_millis(millis))
}

pub(super) fn context(protocol: Protocol) -> Context {
    let peers = Peers {
        client: "192.0.2.7:51234".parse().unwrap(),
        server: "[::ffff:198.51.100.25]:25".parse().unwrap(),
        established: Some(at(0)),
        roles_certain: true,
        source: 0,
        ordinal: 1,
    };
    Context {
        id: 0x00c0_ffee_0000_0001,
        began: at(0),
        peers,
        proxied_client: None,
        protocol,
        connect: millis(3),
        health_check: false,
        omitted: false,
    }
}

pub(super) fn text(octets: impl AsRef<[u8]>) -> Text {
    let mut text = Text::default();
    text.set(octets.as_ref());
    text
}

pub(super) fn list(entries: &[&[u8]]) -> List {
    let mut list = List::default();
    entries.iter().for_each(|e| list.push(e));
    list
}

pub(super) fn enhanced(class: u8, subject: u16, detail: u16) -> Option<Enhanced> {
    Some(Enhanced { class, subject, detail })
}

pub(super) fn reply(status: Status, enhanced: Option<Enhanced>, words: &str) -> Reply {
    Reply { status: Some(status), enhanced, response_code: Text::default(), text: text(words) }
}

pub(super) const fn millis(n: u64) -> Option<Duration> {
    Some(Duration::from_millis(n))
}

pub(super) fn command(number: u32, verb: Verb, status: Status, latency: u64) -> Command {
    Command {
        number,
        verb,
        reply: reply(status, None, "done"),
        began: at(10),
        sent: at(10),
        latency: millis(latency),
        service_latency: millis(latency),
        octets: [6, 14],
        ..Command::default()
    }
}

pub(super) fn imap_command() -> Command {
    let mut command = command(4, Verb::UidFetch, Status::Ok, 7);
    command.tag = text("a4");
    command.args = text("1:* (BODY.PEEK[])");
    command.reply.response_code = text("HIGHESTMODSEQ 12");
    command.untagged = vec![(Untagged::Fetch, 3), (Untagged::Exists, 1)];
    command.mailbox = text("Entwürfe");
    command.literals = 2;
    command.coalesced = true;
    command.pipelined = true;
    command.incomplete.add(Missing::ServerGap);
    command.incomplete.add(Missing::Truncated);
    command
}

pub(super) fn auth(outcome: AuthOutcome) -> Auth {
    let status =
        if outcome == AuthOutcome::Success { (Status::Code(235), (2, 7, 0)) } else { (Status::Code(535), (5, 7, 8)) };
    let (class, subject, detail) = status.1;
    Auth {
        began: at(20),
        method: AuthMethod::Sasl,
        mechanism: Some(Mechanism::Plain),
        identity: text("ann@example.org"),
        identity_proven: false,
        outcome,
        reply: reply(status.0, enhanced(class, subject, detail), "so be it"),
        oauth_error: None,
        initial_response: Some(true),
        steps: 0,
        octets: 40,
        tls: TlsMode::None,
        latency: millis(31),
        server_latency: millis(31),
        incomplete: Incomplete::NONE,
    }
}

pub(super) fn transaction(kind: TransactionKind, outcome: TransactionOutcome) -> Transaction {
    Transaction {
        kind,
        number: 1,
        began: at(100),
        ended: at(400),
        outcome,
        stage: None,
        tls: TlsMode::None,
        identity: Text::default(),
        has_message: false,
        message: Message::default(),
        wire_size: None,
        declared_size: None,
        timing: Timing::default(),
        incomplete: Incomplete::NONE,
        arena: Vec::new(),
        reverse_path: None,
        source_route: Vec::new(),
        params: Vec::new(),
        mail_params: 0,
        recipients: Vec::new(),
        recipients_total: 0,
        data_mode: None,
        chunks: 0,
        last: Reply::default(),
        reply_undelivered: false,
        queue_id: Text::default(),
        pipelined: false,
        probe: false,
        smuggled: false,
        parent: None,
        reversed: false,
        verb: None,
        mailbox: Text::default(),
        uid: None,
        uid_validity: None,
        message_number: None,
        section: Text::default(),
        origin: None,
        flags: List::default(),
        internal_date: Text::default(),
    }
}

impl Transaction {
    pub(super) fn store(&mut self, octets: &[u8]) -> Span {
        Span::store(&mut self.arena, octets)
    }

    pub(super) fn mail_param(&mut self, keyword: &[u8], value: Option<&[u8]>) {
        let (keyword, value) = (self.store(keyword), value.map(|v| self.store(v)));
        self.params.push(Param { keyword, value });
        self.mail_params += 1;
    }

    pub(super) fn recipient(&mut self, path: &[u8], code: u16, enhanced: Option<Enhanced>) {
        let (forward_path, words) = (self.store(path), self.store(b"noted"));
        let after = u32::try_from(self.params.len()).unwrap();
        self.recipients.push(Recipient {
            forward_path,
            esmtp: (after, after),
            code: Some(code),
            enhanced,
            text: Some(words),
            latency: millis(2),
            last: None,
        });
        self.recipients_total += 1;
    }

    pub(super) fn carries(&mut self, octets: &[u8]) {
        self.has_message = true;
        self.message.begin(true, 1 << 16);
        self.message.octets(octets);
        self.message.finish(true);
        self.wire_size = Some(octets.len() as u64 + 3);
    }
}

pub(super) const MAIL: &[u8] =
    b"Message-ID: <1@example.org>\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nhi\r\n";

/// A delivery with everything a delivery may have.
pub(super) fn delivery() -> Transaction {
    let mut t = transaction(TransactionKind::Delivery, TransactionOutcome::Partial);
    t.reverse_path = Some(t.store(b"ann@example.org"));
    t.source_route = vec![t.store(b"relay.example")];
    t.mail_param(b"SIZE", Some(b"1000"));
    t.mail_param(b"SMTPUTF8", None);
    t.recipient(b"bob@example.net", 250, enhanced(2, 1, 5));
    t.recipient(b"eve@example.net", 550, enhanced(5, 1, 1));
    let keyword = t.store(b"NOTIFY");
    let value = Some(t.store(b"NEVER"));
    t.params.push(Param { keyword, value });
    t.recipients[0].esmtp = (2, 3);
    t.recipients[0].last = Some(RecipientReply {
        code: 250,
        enhanced: enhanced(2, 0, 0),
        text: t.store(b"delivered"),
        latency: millis(5),
    });
    t.identity = text("ann@example.org");
    t.declared_size = Some(1000);
    t.carries(MAIL);
    t.timing =
        Timing { data_go: millis(1), data_idle: millis(2), transfer: millis(3), reply: millis(4), first_byte: None };
    t.data_mode = Some(DataMode::Bdat);
    t.chunks = 2;
    t.last = reply(Status::Code(250), enhanced(2, 0, 0), "queued as 4ABC");
    t.reply_undelivered = true;
    t.queue_id = text("4ABC");
    t.pipelined = true;
    t.parent = Some(1);
    t.number = 2;
    t.smuggled = true;
    t.reversed = true;
    t.probe = true;
    t.stage = Some(Stage::Bdat);
    t
}

pub(super) fn anomaly() -> Anomaly {
    Anomaly {
        id: anomaly::Id::LineBareLf,
        severity: Severity::Info,
        state: Some(AnomalyState::Attempt),
        variant: "lf_dot_lf",
        dir: Dir::ToServer,
        at: at(50),
        offset: 17,
        evidence: text([b'\n'; 70]),
        transaction: Some(2),
        tag: text("a1"),
        count: 3,
    }
}

/// The plainest session.
pub(super) fn summary(outcome: SessionOutcome) -> Summary {
    Summary {
        ended: at(1500),
        bytes: [120, 340],
        packets: Some([10, 12]),
        gaps: [0, 0],
        other: None,
        started: Protocol::Smtp,
        disorder: None,
        extensions: Extensions::default(),
        greeting: Greeting::default(),
        helo: Text::default(),
        capabilities: List::default(),
        tls: Tls::default(),
        auth: AuthSummary::default(),
        mailbox: Text::default(),
        counts: Counts::default(),
        close: Close { by: Some(Dir::ToServer), how: How::Fin, phase: Phase::Quit },
        close_reason: Text::default(),
        notices: Vec::new(),
        software: None,
        upstream: None,
        proxied_client: None,
        tunnel: None,
        ehlo_refused: false,
        reply_desync: 0,
        outcome,
        maildrop: None,
        untagged: Vec::new(),
        idle: None,
        incomplete: Incomplete::NONE,
    }
}

/// A session with everything a session may have.
pub(super) fn full_summary() -> Summary {
    let mut s = summary(SessionOutcome::Ok);
    s.greeting = Greeting { reply: reply(Status::Code(220), None, "mx.example ESMTP"), delay: millis(12) };
    s.helo = text("client.example");
    s.capabilities = list(&[b"PIPELINING", b"SIZE 10240000", b"AUTH PLAIN LOGIN"]);
    s.tls = Tls {
        mode: Some(TlsMode::StartTls),
        offered: Some(true),
        requested: Some(true),
        accepted: Some(false),
        handshake: Some(Handshake::Failed),
        took: millis(40),
        version: Some("TLSv1.3"),
        cipher: Some("TLS_AES_128_GCM_SHA256"),
        sni: text("mx.example"),
        decrypted: true,
        failure: Some(TlsFailure::UnknownCa),
        upstream_failure: Some(TlsFailure::NameMismatch),
    };
    s.auth = AuthSummary {
        method: Some(AuthMethod::Sasl),
        mechanism: Some(Mechanism::Plain),
        identity: text("ann@example.org"),
        outcome: Some(AuthOutcome::Success),
        attempts: 2,
    };
    s.mailbox = text("INBOX");
    s.counts = Counts {
        commands: 9,
        transactions: 2,
        errors_temporary: 1,
        errors_permanent: 2,
        unknown_commands: 3,
        anomalies: 4,
        omitted: 0,
    };
    s.upstream = Some(Upstream { address: Some("192.0.2.26:2525".parse().unwrap()), error: Some(Refusal::Refused) });
    s.proxied_client = Some("203.0.113.9:0".parse().unwrap());
    s.tunnel =
        Some(Box::new(Tunnel { kind: TunnelKind::Socks5, host: TunnelHost::Name(text("mail.example.com")), port: 25 }));
    s.ehlo_refused = true;
    s.reply_desync = 2;
    s.maildrop = Some(Maildrop { size: Some((3, 4500)), retrieved: (2, 3000), deleted: 2, committed: Some(false) });
    s.untagged = vec![(Untagged::Exists, 2)];
    s.idle = Some(Idle { count: 2, duration: Duration::from_millis(90_500), events: 5, keepalives: 0 });
    s.gaps = [0, 1448];
    s.incomplete.add(Missing::ServerGap);
    s
}
