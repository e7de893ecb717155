//! The closed sets that labels take their values from. Nothing of the wire is ever one.

mod words;

use super::families::{Family, FamilyId};
use crate::event::Verb;
use crate::event::anomaly;
use crate::event::{
    AnomalyState, Auth, AuthMethod, AuthOutcome, Dir, Enhanced, Mechanism, Phase, Protocol, Reply, SessionOutcome,
    Status, TlsMode, TransactionKind, TransactionOutcome, words,
};

pub use crate::event::{Bypass, Refusal, Rejection, Termination};
pub use words::{
    Enforcement, Eviction, LineFault, LogLoss, NotUnderstood, PacketLoss, ParserError, StartTlsOutcome, Unobserved,
    UntaggedReason,
};

/// The greeting, as a command.
pub(super) const GREETING: &str = "greeting";
/// The end of the data, as a command.
pub(super) const END_OF_DATA: &str = "end_of_data";
/// A command or mechanism on no list.
pub(super) const OTHER: &str = "OTHER";

const SMTP: &[&str] = &[
    "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "STARTTLS",
    "AUTH", "ETRN", "BURL", "XCLIENT", "XFORWARD", OTHER,
];
const POP3: &[&str] = &[
    "USER", "PASS", "APOP", "AUTH", "CAPA", "STLS", "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "NOOP",
    "QUIT", "UTF8", "LANG", OTHER,
];
const IMAP: &[&str] = &[
    "CAPABILITY",
    "NOOP",
    "LOGOUT",
    "STARTTLS",
    "AUTHENTICATE",
    "LOGIN",
    "ENABLE",
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "NAMESPACE",
    "STATUS",
    "APPEND",
    "IDLE",
    "CHECK",
    "CLOSE",
    "UNSELECT",
    "EXPUNGE",
    "UID EXPUNGE",
    "SEARCH",
    "UID SEARCH",
    "FETCH",
    "UID FETCH",
    "STORE",
    "UID STORE",
    "COPY",
    "UID COPY",
    "MOVE",
    "UID MOVE",
    "SORT",
    "UID SORT",
    "THREAD",
    "UID THREAD",
    "ID",
    "COMPRESS",
    "GETQUOTA",
    "GETQUOTAROOT",
    "NOTIFY",
    "UNAUTHENTICATE",
    OTHER,
];

/// Commands of `protocol` that have their own value.
pub(super) fn commands(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Smtp | Protocol::Lmtp => SMTP,
        Protocol::Pop3 => POP3,
        Protocol::Imap => IMAP,
        Protocol::ManageSieve | Protocol::Unknown => &[OTHER],
    }
}

/// The value of `verb`.
pub(super) fn command(protocol: Protocol, verb: Verb) -> &'static str {
    let word = verb.as_str();
    if commands(protocol).contains(&word) { word } else { OTHER }
}

words! {
    /// Status of a reply.
    Answer {
        /// SMTP and LMTP.
        Two = "2xx",
        /// SMTP and LMTP.
        Three = "3xx",
        /// SMTP and LMTP.
        Four = "4xx",
        /// SMTP and LMTP.
        Five = "5xx",
        /// IMAP and POP3.
        Ok = "ok",
        /// IMAP.
        No = "no",
        /// IMAP.
        Bad = "bad",
        /// IMAP.
        Bye = "bye",
        /// IMAP.
        Preauth = "preauth",
        /// POP3.
        Err = "err",
        /// No reply was seen.
        None = "none",
        /// A reply that is none.
        Invalid = "invalid",
    }
}

impl Answer {
    pub(super) fn of(reply: &Reply) -> Self {
        match reply.status {
            Some(Status::Code(code)) => match code / 100 {
                2 => Self::Two,
                3 => Self::Three,
                4 => Self::Four,
                5 => Self::Five,
                _ => Self::Invalid,
            },
            Some(Status::PopOk | Status::Ok) => Self::Ok,
            Some(Status::PopErr) => Self::Err,
            Some(Status::No) => Self::No,
            Some(Status::Bad) => Self::Bad,
            Some(Status::Bye) => Self::Bye,
            Some(Status::Preauth) => Self::Preauth,
            None if reply.text.is_present() => Self::Invalid,
            None => Self::None,
        }
    }
}

const STATUS_SMTP: &[&str] = &["2xx", "3xx", "4xx", "5xx", "none", "invalid"];
const STATUS_POP3: &[&str] = &["ok", "err", "none", "invalid"];
const STATUS_IMAP: &[&str] = &["ok", "no", "bad", "bye", "none", "invalid"];

/// Reply codes that have their own value, `other` and `invalid` (RFC 5321 section 4.2.3 and the registered extensions).
pub(super) const CODES: &[&str] = &[
    "211", "214", "220", "221", "235", "250", "251", "252", "253", "334", "353", "354", "421", "422", "431", "432",
    "450", "451", "452", "453", "454", "455", "458", "459", "500", "501", "502", "503", "504", "521", "523", "525",
    "530", "533", "534", "535", "538", "541", "550", "551", "552", "553", "554", "555", "556", "other", "invalid",
];

/// Index in [`CODES`].
pub(super) fn code(status: Option<Status>) -> usize {
    let other = CODES.len() - 2;
    let Some(code) = status.and_then(Status::code) else { return other + 1 };
    let mut digits = [0; 3];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = b'0' + u8::try_from(code / [100, 10, 1].get(at).unwrap_or(&1) % 10).unwrap_or(0);
    }
    CODES.iter().position(|c| c.as_bytes() == digits).unwrap_or(other)
}

/// Enhanced status codes by class and subject (RFC 3463 sections 2 and 3, RFC 5248).
pub(super) const ENHANCED: &[&str] = &[
    "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "4.0", "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7",
    "5.0", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6", "5.7", "other",
];

/// Index in [`ENHANCED`].
pub(super) fn enhanced(code: Enhanced) -> usize {
    let class = match code.class {
        2 => Some(0),
        4 => Some(8),
        5 => Some(16),
        _ => None,
    };
    let subject = (code.subject <= 7).then_some(usize::from(code.subject));
    class.zip(subject).map_or(ENHANCED.len() - 1, |(class, subject)| class + subject)
}

words! {
    /// Encryption, as a label.
    Cover {
        /// In clear.
        None = "none",
        /// After STARTTLS or STLS.
        StartTls = "starttls",
        /// From the first octet.
        Implicit = "implicit",
        /// Picked up in the middle.
        Unknown = "unknown",
    }
}

impl Cover {
    pub(super) fn of(mode: TlsMode, certain: bool) -> Self {
        match mode {
            TlsMode::StartTls => Self::StartTls,
            TlsMode::Implicit => Self::Implicit,
            TlsMode::None if certain => Self::None,
            TlsMode::None => Self::Unknown,
        }
    }
}

/// Both directions, by [`Dir::index`].
pub(super) const DIRECTIONS: &[&str] = &["client_to_server", "server_to_client"];

/// The value of a direction.
pub(super) fn direction(dir: Dir) -> &'static str {
    match dir {
        Dir::ToServer => "client_to_server",
        Dir::ToClient => "server_to_client",
    }
}

/// Mechanisms that have their own value, and the methods without SASL.
pub(super) const MECHANISMS: &[&str] = &[
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "DIGEST-MD5",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "XOAUTH2",
    "OAUTHBEARER",
    "EXTERNAL",
    "GSSAPI",
    "NTLM",
    "ANONYMOUS",
    OTHER,
    "login",
    "user_pass",
    "apop",
];

/// Index in a grid of mechanisms, and the value.
pub(super) fn mechanism(auth: &Auth) -> (usize, &'static str) {
    match auth.method {
        AuthMethod::Sasl => {
            let mechanism = auth.mechanism.unwrap_or(Mechanism::Other);
            let word = mechanism.as_str();
            (mechanism.index(), if MECHANISMS.contains(&word) { word } else { OTHER })
        }
        method => (Mechanism::ALL.len() + method.index(), method.as_str()),
    }
}

/// EHLO keywords that have their own value.
pub(super) const EXTENSIONS: &[&str] = &[
    "8BITMIME",
    "AUTH",
    "BINARYMIME",
    "BURL",
    "CHUNKING",
    "DELIVERBY",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "ETRN",
    "EXPN",
    "FUTURERELEASE",
    "HELP",
    "LIMITS",
    "MT-PRIORITY",
    "PIPELINING",
    "PRDR",
    "REQUIRETLS",
    "SIZE",
    "SMTPUTF8",
    "STARTTLS",
    "VRFY",
    "XCLIENT",
    "XFORWARD",
    "other",
];

/// Index in [`EXTENSIONS`] of an entry of a capability list.
pub(super) fn extension(entry: &[u8]) -> usize {
    let keyword = entry.split(|o| matches!(o, b' ' | b'=')).next().unwrap_or_default();
    EXTENSIONS.iter().position(|e| e.as_bytes().eq_ignore_ascii_case(keyword)).unwrap_or(EXTENSIONS.len() - 1)
}

/// Extensions that a client has no means to show it uses.
const NEVER_USED: &[&str] = &["ENHANCEDSTATUSCODES", "LIMITS", "other"];

/// Commands whose reply comes when the client likes: see [`Unobserved::Excluded`].
const UNOBSERVED: &[&str] = &["AUTH", "AUTHENTICATE", "IDLE", "NOTIFY"];

const KINDS_SMTP: &[&str] = &["delivery"];
const KINDS_POP3: &[&str] = &["retrieval"];
const KINDS_IMAP: &[&str] = &["retrieval", "append"];

/// Outcomes of a kind of transaction.
pub(super) fn outcomes(kind: TransactionKind) -> &'static [TransactionOutcome] {
    use TransactionOutcome::{
        Aborted, Accepted, Complete, ConnectionLost, Encrypted, Error, Partial, RejectedPermanent, RejectedTemporary,
        ServerClosed, TimedOut, Unknown,
    };
    match kind {
        TransactionKind::Delivery => &[
            Accepted,
            Partial,
            RejectedTemporary,
            RejectedPermanent,
            Aborted,
            ServerClosed,
            TimedOut,
            ConnectionLost,
            Encrypted,
            Unknown,
        ],
        TransactionKind::Retrieval => &[Complete, Error, ServerClosed, TimedOut, ConnectionLost, Encrypted, Unknown],
        TransactionKind::Append => &[Accepted, Error, ServerClosed, TimedOut, ConnectionLost, Encrypted, Unknown],
    }
}

pub(super) const TLS_VERSIONS: &[&str] = &["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "unknown"];

/// Cipher suites that have their own value, as IANA has them: those of TLS 1.3, and what mail servers still take before it.
pub(super) const CIPHERS: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA256",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_RC4_128_SHA",
    "other",
    "unknown",
];

/// Index in [`TLS_VERSIONS`]; one that is not known is the last.
pub(super) fn tls_version(version: Option<&str>) -> usize {
    TLS_VERSIONS.iter().position(|v| Some(*v) == version).unwrap_or(TLS_VERSIONS.len() - 1)
}

/// Index in [`CIPHERS`].
pub(super) fn cipher(cipher: Option<&str>) -> usize {
    let named = |cipher| CIPHERS.iter().position(|c| *c == cipher).unwrap_or(CIPHERS.len() - 2);
    cipher.map_or(CIPHERS.len() - 1, named)
}

fn strings<T: Copy>(list: &[T], word: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    list.iter().map(|item| word(*item)).collect()
}

/// What `label` of `id` can be for `protocol`; `None` if its values come from the configuration.
pub(super) fn domain(id: FamilyId, label: &str, protocol: Protocol) -> Option<Vec<&'static str>> {
    let list = match (label, id) {
        ("command", FamilyId::Commands) => commands(protocol).to_vec(),
        ("command", FamilyId::CommandLatency) => {
            let observed = commands(protocol).iter().copied().filter(|command| !UNOBSERVED.contains(command));
            observed.chain([END_OF_DATA]).collect()
        }
        ("command", _) => commands(protocol).iter().copied().chain([GREETING, END_OF_DATA]).collect(),
        ("status", _) => match protocol {
            Protocol::Smtp | Protocol::Lmtp => STATUS_SMTP,
            Protocol::Pop3 => STATUS_POP3,
            _ => STATUS_IMAP,
        }
        .to_vec(),
        ("tls", FamilyId::TlsHandshakes) => vec!["starttls", "implicit"],
        // What was understood was in clear, or its TLS is known.
        ("tls", FamilyId::AuthAttempts | FamilyId::Transactions) => strings(TlsMode::ALL, TlsMode::as_str),
        ("tls", _) => strings(Cover::ALL, Cover::as_str),
        // Commands that cannot be matched, and bytes that wait for an answer, are the client's.
        ("direction", FamilyId::ParserErrors) => vec![direction(Dir::ToServer)],
        ("direction", _) => DIRECTIONS.to_vec(),
        ("mechanism", _) => MECHANISMS.to_vec(),
        ("kind", _) => match protocol {
            Protocol::Smtp | Protocol::Lmtp => KINDS_SMTP,
            Protocol::Pop3 => KINDS_POP3,
            _ => KINDS_IMAP,
        }
        .to_vec(),
        ("phase", _) => strings(Phase::ALL, Phase::as_str),
        ("code", _) => CODES.to_vec(),
        ("enhanced", _) => ENHANCED.to_vec(),
        ("extension", FamilyId::ExtensionsUsed) => {
            EXTENSIONS.iter().copied().filter(|extension| !NEVER_USED.contains(extension)).collect()
        }
        ("extension", _) => EXTENSIONS.to_vec(),
        ("version", FamilyId::TlsHandshakes) => TLS_VERSIONS.to_vec(),
        ("cipher", _) => CIPHERS.to_vec(),
        ("anomaly", _) => strings(anomaly::Id::ALL, anomaly::Id::as_str),
        ("outcome", FamilyId::SessionsEnded) => strings(SessionOutcome::ALL, SessionOutcome::as_str),
        ("outcome", FamilyId::Transactions) => strings(TransactionOutcome::ALL, TransactionOutcome::as_str),
        ("outcome", FamilyId::AuthAttempts) => strings(AuthOutcome::ALL, AuthOutcome::as_str),
        ("outcome", FamilyId::StartTls) => strings(StartTlsOutcome::ALL, StartTlsOutcome::as_str),
        ("outcome", FamilyId::TlsHandshakes) => vec!["ok", "failed", "unseen"],
        ("outcome", FamilyId::Anomalies) => {
            std::iter::once("seen").chain(AnomalyState::ALL.iter().map(|s| s.as_str())).collect()
        }
        ("reason", _) => return reasons(id),
        _ => return None,
    };
    Some(list)
}

fn reasons(id: FamilyId) -> Option<Vec<&'static str>> {
    Some(match id {
        FamilyId::ConnectErrors => {
            let of_servers = Refusal::ALL.iter().filter(|refusal| refusal.rejection().is_none());
            of_servers.map(|refusal| refusal.as_str()).collect()
        }
        FamilyId::LatencyUnobserved => strings(Unobserved::ALL, Unobserved::as_str),
        FamilyId::LineAnomalies => strings(LineFault::ALL, LineFault::as_str),
        FamilyId::ImapUntagged => strings(UntaggedReason::ALL, UntaggedReason::as_str),
        FamilyId::ParserErrors => strings(ParserError::ALL, ParserError::as_str),
        FamilyId::SessionsBypassed => strings(Bypass::ALL, Bypass::as_str),
        FamilyId::SessionsRejected => strings(Rejection::ALL, Rejection::as_str),
        FamilyId::SessionsTerminated => strings(Termination::ALL, Termination::as_str),
        FamilyId::Enforcements => strings(Enforcement::ALL, Enforcement::as_str),
        FamilyId::CaptureDropped => strings(PacketLoss::ALL, PacketLoss::as_str),
        FamilyId::CaptureNotUnderstood => strings(NotUnderstood::ALL, NotUnderstood::as_str),
        FamilyId::FlowsEvicted => strings(Eviction::ALL, Eviction::as_str),
        FamilyId::LogDropped => strings(LogLoss::ALL, LogLoss::as_str),
        _ => return None,
    })
}

/// Whether `protocol` has series of `id` at all.
pub(super) fn concerns(id: FamilyId, protocol: Protocol) -> bool {
    use Protocol::{Imap, Lmtp, ManageSieve, Pop3, Smtp, Unknown};
    match id {
        FamilyId::SmtpReplies
        | FamilyId::SmtpEnhanced
        | FamilyId::SmtpReplyReasons
        | FamilyId::ExtensionsOffered
        | FamilyId::ExtensionsUsed
        | FamilyId::Recipients
        | FamilyId::AcceptedRecipients => matches!(protocol, Smtp | Lmtp),
        FamilyId::ImapUntagged | FamilyId::IdleActive | FamilyId::IdleSeconds => protocol == Imap,
        FamilyId::Commands
        | FamilyId::LatencyUnobserved
        | FamilyId::Pipelined
        | FamilyId::Transactions
        | FamilyId::AuthAttempts
        | FamilyId::StartTls
        | FamilyId::Anomalies
        | FamilyId::LineAnomalies
        | FamilyId::ParserErrors
        | FamilyId::Enforcements => matches!(protocol, Smtp | Lmtp | Pop3 | Imap),
        FamilyId::TlsHandshakes | FamilyId::TlsCiphers => !matches!(protocol, Unknown),
        _ => matches!(protocol, Smtp | Lmtp | Pop3 | Imap | ManageSieve | Unknown),
    }
}

/// Every label set of `family` for `protocol` without `listener` and `protocol`, if its lists are closed.
pub(super) fn combinations(id: FamilyId, family: &Family, protocol: Protocol) -> Option<Vec<Vec<&'static str>>> {
    let mut sets = vec![Vec::new()];
    for label in family.labels.iter().filter(|l| !matches!(**l, "listener" | "protocol")) {
        let values = domain(id, label, protocol)?;
        sets = sets
            .iter()
            .flat_map(|set: &Vec<&str>| values.iter().map(move |v| [set.as_slice(), &[*v]].concat()))
            .collect();
    }
    sets.retain(|set| is_sensible(id, set));
    Some(sets)
}

fn is_sensible(id: FamilyId, set: &[&str]) -> bool {
    let kind_of = |word: &str| TransactionKind::ALL.iter().copied().find(|k| k.as_str() == word);
    match (id, set) {
        (FamilyId::Transactions, [kind, outcome, _]) => {
            kind_of(kind).is_some_and(|kind| outcomes(kind).iter().any(|o| o.as_str() == *outcome))
        }
        _ => true,
    }
}
