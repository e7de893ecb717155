//! The shared vocabulary: what a [`Session`](super::Session) says, for every protocol and to every output.
//!
//! Three groups: small closed enums (`Copy`, safe as metric labels, each with the word the log uses), the
//! facts a session reports when a thing is complete ([`Command`], [`Auth`], [`Transaction`], [`Anomaly`],
//! [`Summary`]), and [`Event`] with its [`Sink`]. Facts are borrowed from the engine's own pools: they are good
//! until the sink returns. Whatever stands in one has passed the masking of secrets.

use std::net::SocketAddr;
use std::time::Duration;

use super::text::{List, Span, Text};
use super::verb::{Untagged, Verb};
use crate::message::Message;
use crate::time::Timestamp;

/// Declares a closed `Copy` enum whose variants each have the word that the log and the metrics use.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every variant, in the order of declaration; the position is [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of the log schema.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Position in [`Self::ALL`]: an array index for a metric's handles.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use words;

/// Which way octets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Sent by the client.
    ToServer,
    /// Sent by the server.
    ToClient,
}

impl Dir {
    /// Both, the client's octets first.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// The other way.
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 for the client's octets, 1 for the server's: index of every two-element array in the engine.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The side that sends this way, as the log names it.
    pub const fn sender(self) -> &'static str {
        match self {
            Self::ToServer => "client",
            Self::ToClient => "server",
        }
    }
}

words! {
    /// What is spoken on a connection.
    Protocol {
        /// Not, or not yet, identified.
        Unknown = "unknown",
        /// RFC 5321, submission (RFC 6409) included.
        Smtp = "smtp",
        /// RFC 2033.
        Lmtp = "lmtp",
        /// RFC 1939.
        Pop3 = "pop3",
        /// RFC 3501 and RFC 9051.
        Imap = "imap",
        /// RFC 5804: identified and masked, not modelled.
        ManageSieve = "managesieve",
    }
}

words! {
    /// A protocol that is no mail, told apart so that it is not mistaken for mail.
    Other {
        /// RFC 959.
        Ftp = "ftp",
        /// RFC 3977.
        Nntp = "nntp",
        /// The Redis serialization protocol.
        Redis = "redis",
        /// HTTP/1.x or HTTP/2.
        Http = "http",
        /// RFC 4253.
        Ssh = "ssh",
        /// The MySQL client/server protocol.
        Mysql = "mysql",
        /// TLS on a port that says nothing about the protocol inside.
        Tls = "tls",
        /// RFC 1928 or SOCKS 4: a tunnel.
        Socks = "socks",
        /// IRC, XMPP, RFB, MUPDATE, poppassd and others that announce themselves.
        Other = "other",
    }
}

words! {
    /// One thing that an observer did not see. A record lists those that apply to it.
    Missing {
        /// The capture began inside the connection.
        StartMissing = "start_missing",
        /// Octets of the client were lost.
        ClientGap = "client_gap",
        /// Octets of the server were lost.
        ServerGap = "server_gap",
        /// The client's direction was not captured at all.
        ClientUnseen = "client_unseen",
        /// The server's direction was not captured at all.
        ServerUnseen = "server_unseen",
        /// A cap of [`Limits`](super::Limits) cut something.
        Truncated = "truncated",
        /// More octets waited at a decision point than the cap allows: the usual answer was assumed.
        HoldOverflow = "hold_overflow",
        /// A direction could not be read for a while.
        Unparseable = "unparseable",
    }
}

/// A set of [`Missing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incomplete(u8);

impl Incomplete {
    /// Nothing is missing.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn add(&mut self, what: Missing) {
        self.0 |= 1 << what.index();
    }

    /// Adds all of `other`.
    pub const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether `what` is in the set.
    pub const fn has(self, what: Missing) -> bool {
        self.0 & (1 << what.index()) != 0
    }

    /// Whether nothing is missing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is said of the client is meant of the server, and the other way round.
    pub(crate) fn swap_directions(&mut self) {
        let pairs = [(Missing::ClientGap, Missing::ServerGap), (Missing::ClientUnseen, Missing::ServerUnseen)];
        let old = *self;
        for (a, b) in pairs {
            self.0 &= !(1 << a.index() | 1 << b.index());
            self.0 |= u8::from(old.has(b)) << a.index() | u8::from(old.has(a)) << b.index();
        }
    }

    /// The members in the order of the schema.
    pub fn iter(self) -> impl Iterator<Item = Missing> {
        Missing::ALL.iter().copied().filter(move |m| self.has(*m))
    }
}

words! {
    /// How, or whether, a session or transaction was encrypted.
    TlsMode {
        /// In clear.
        None = "none",
        /// After STARTTLS or STLS.
        StartTls = "starttls",
        /// From the first octet.
        Implicit = "implicit",
    }
}

words! {
    /// How the TLS handshake went, as far as its cleartext part shows.
    Handshake {
        /// Both sides went on to application data.
        Ok = "ok",
        /// An alert, a close, or plain text instead.
        Failed = "failed",
        /// Nothing of it was captured.
        Unseen = "unseen",
    }
}

/// The status of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// An SMTP or LMTP reply code, 200 to 599 (RFC 5321 section 4.2).
    Code(u16),
    /// POP3 `+OK`.
    PopOk,
    /// POP3 `-ERR`.
    PopErr,
    /// IMAP `OK`.
    Ok,
    /// IMAP `NO`.
    No,
    /// IMAP `BAD`.
    Bad,
    /// IMAP `BYE` in place of a completion.
    Bye,
    /// IMAP `PREAUTH`: a greeting only.
    Preauth,
}

impl Status {
    /// The reply code, for SMTP and LMTP.
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Code(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the reply says yes: 2yz, 3yz, `+OK`, `OK`.
    pub const fn is_positive(self) -> bool {
        match self {
            Self::Code(code) => code < 400,
            Self::PopOk | Self::Ok | Self::Preauth => true,
            Self::PopErr | Self::No | Self::Bad | Self::Bye => false,
        }
    }
}

/// An enhanced status code (RFC 3463), such as `5.7.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

/// Who opened a connection to whom, and how sure that is.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    /// The side that opened the connection.
    pub client: SocketAddr,
    /// The side that was connected to.
    pub server: SocketAddr,
    /// When the TCP handshake was complete; `None` for a connection picked up in the middle.
    pub established: Option<Timestamp>,
    /// Whether the handshake showed who is the client. If not, the engine may find the roles the other way round.
    pub roles_certain: bool,
    /// Which of the input's sources (files, interfaces, listeners; the output knows their names) the connection came from.
    pub source: u32,
    /// Position of the connection's first packet in the input: orders what completes at the same moment.
    pub ordinal: u64,
}

/// What every event of a session shares.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Id of the connection, a function of its start and its addresses alone.
    pub id: u64,
    /// When the connection began: its first packet or its accept.
    pub began: Timestamp,
    /// Addresses, the roles as now believed.
    pub peers: Peers,
    /// The protocol, as now believed.
    pub protocol: Protocol,
    /// From the client's SYN to the server's answer, or what the proxy's own connect took; `None` if not seen.
    pub connect: Option<Duration>,
}

/// Why a session is over, for [`Session::finish`](super::Session::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Both sides closed, or one reset: the engine has seen which.
    Closed,
    /// Nothing came for too long.
    Timeout,
    /// The proxy is going down.
    Drain,
    /// Room was needed for other connections.
    Evicted,
    /// The capture, or the program, stops here.
    CaptureEnd,
}

words! {
    /// How a connection ended.
    How {
        /// FIN.
        Fin = "fin",
        /// RST.
        Reset = "reset",
        /// The observer's idle limit.
        Timeout = "timeout",
        /// The proxy's shutdown.
        Drain = "drain",
        /// The observer needed the room.
        Evicted = "evicted",
        /// The capture stopped.
        CaptureEnd = "capture_end",
    }
}

words! {
    /// What a session was doing when it ended.
    Phase {
        /// No octet was sent.
        Connect = "connect",
        /// Before the greeting was complete.
        Greeting = "greeting",
        /// Between commands.
        Idle = "idle",
        /// Inside an authentication exchange.
        Auth = "auth",
        /// Inside a mail transaction, before its data.
        Transaction = "transaction",
        /// While message data was moving.
        Data = "data",
        /// Encrypted.
        Tls = "tls",
        /// After QUIT or LOGOUT.
        Quit = "quit",
    }
}

words! {
    /// How a session went.
    SessionOutcome {
        /// QUIT or LOGOUT was answered.
        Ok = "ok",
        /// The greeting refused.
        RefusedAtConnect = "refused_at_connect",
        /// 421 or BYE.
        ServerShutdown = "server_shutdown",
        /// The client closed without QUIT.
        ClientGone = "client_gone",
        /// The server closed without notice.
        ServerGone = "server_gone",
        /// An idle limit, the observer's or the server's.
        Timeout = "timeout",
        /// RST.
        Reset = "reset",
        /// Opaque to the end.
        Encrypted = "encrypted",
        /// Framing was lost and not found again.
        Unparseable = "unparseable",
        /// The capture stopped first.
        CaptureEnd = "capture_end",
    }
}

words! {
    /// What a transaction moved.
    Kind {
        /// SMTP and LMTP: from MAIL on.
        Delivery = "delivery",
        /// POP3 RETR and TOP; IMAP FETCH of a body.
        Retrieval = "retrieval",
        /// IMAP APPEND and REPLACE, one per message; POP3 XTND XMIT.
        Append = "append",
    }
}

words! {
    /// How a transaction ended.
    Outcome {
        /// The server took responsibility: the final reply was 2yz, or OK.
        Accepted = "accepted",
        /// LMTP and PRDR: recipients differ.
        Partial = "partial",
        /// The ending reply was 4yz.
        RejectedTemporary = "rejected_temporary",
        /// The ending reply was 5yz.
        RejectedPermanent = "rejected_permanent",
        /// RSET, EHLO, STARTTLS, XCLIENT or QUIT came before the end of the data.
        Aborted = "aborted",
        /// 421 or BYE while it was open.
        ServerClosed = "server_closed",
        /// No progress, or the server said so.
        TimedOut = "timed_out",
        /// FIN or RST inside.
        ConnectionLost = "connection_lost",
        /// TLS cut it.
        Encrypted = "encrypted",
        /// A retrieval that reached its end.
        Complete = "complete",
        /// A retrieval or append that was refused.
        Error = "error",
        /// The capture hides the answer.
        Unknown = "unknown",
    }
}

words! {
    /// How far a delivery came.
    Stage {
        /// MAIL.
        Mail = "mail",
        /// RCPT.
        Rcpt = "rcpt",
        /// DATA.
        Data = "data",
        /// A final reply before the end of the data was sent.
        DataEarly = "data_early",
        /// End of data.
        Eod = "eod",
        /// End of data sent, never answered: the message may have been accepted.
        EodUnanswered = "eod_unanswered",
        /// BDAT.
        Bdat = "bdat",
    }
}

words! {
    /// How a delivery's message was sent.
    DataMode {
        /// DATA (RFC 5321).
        Data = "data",
        /// BDAT (RFC 3030).
        Bdat = "bdat",
        /// BURL (RFC 4468).
        Burl = "burl",
        /// BDAT and BURL.
        Mixed = "mixed",
    }
}

/// A complete reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Code or status word.
    pub status: Option<Status>,
    /// Enhanced status code, if its class fits the reply's.
    pub enhanced: Option<Enhanced>,
    /// Response code in brackets (IMAP, POP3), without them; masked.
    pub response_code: Text,
    /// Text without codes, lines joined by LF; masked.
    pub text: Text,
}

impl Reply {
    /// Makes it what `other` is; buffers keep their room.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.status = other.status;
        self.enhanced = other.enhanced;
        self.response_code.copy_from(&other.response_code);
        self.text.copy_from(&other.text);
    }

    /// Empties it for reuse.
    pub fn clear(&mut self) {
        self.status = None;
        self.enhanced = None;
        self.response_code.clear();
        self.text.clear();
    }
}

/// One command with its reply.
#[derive(Debug, Default)]
pub struct Command {
    /// 1, 2, … in the session.
    pub number: u32,
    /// Which; `OTHER` if it is on no list.
    pub verb: Verb,
    /// IMAP tag.
    pub tag: Text,
    /// Arguments that are safe to show; never a secret, a search string or an argument of an unknown verb.
    pub args: Text,
    /// The reply, empty while there is none.
    pub reply: Reply,
    /// Time of its first octet.
    pub began: Timestamp,
    /// Time of its last octet.
    pub sent: Timestamp,
    /// From the last octet of the command to the last of its reply.
    pub latency: Option<Duration>,
    /// The same, from the reply before it if that came later than the command (pipelining).
    pub service_latency: Option<Duration>,
    /// The reply came in one piece with the reply before it: its latency says nothing about the server.
    pub coalesced: bool,
    /// It was sent before the reply to an earlier command could have reached the client.
    pub pipelined: bool,
    /// Octets of the command (literals and chunk included) and of its reply, line ends included.
    pub octets: [u64; 2],
    /// IMAP: untagged responses attributed to it, by type.
    pub untagged: Vec<(Untagged, u32)>,
    /// IMAP: the mailbox it names, decoded to UTF-8.
    pub mailbox: Text,
    /// IMAP: literals it carried.
    pub literals: u32,
    /// What was not seen of it.
    pub incomplete: Incomplete,
}

impl Command {
    /// Empties it for reuse; buffers keep their room.
    pub fn clear(&mut self) {
        let Self {
            number,
            verb,
            tag,
            args,
            reply,
            began,
            sent,
            latency,
            service_latency,
            coalesced,
            pipelined,
            octets,
            untagged,
            mailbox,
            literals,
            incomplete,
        } = self;
        (*number, *literals, *octets) = (0, 0, [0; 2]);
        (*began, *sent) = (Timestamp::default(), Timestamp::default());
        (*latency, *service_latency) = (None, None);
        (*coalesced, *pipelined) = (false, false);
        *verb = Verb::default();
        *incomplete = Incomplete::NONE;
        for text in [tag, args, mailbox] {
            text.clear();
        }
        reply.clear();
        untagged.clear();
    }

    /// Gives back room that is not needed.
    pub(crate) fn rest(&mut self) {
        let Reply { response_code, text, .. } = &mut self.reply;
        for text in [&mut self.tag, &mut self.args, &mut self.mailbox, response_code, text] {
            text.rest();
        }
        self.untagged.shrink_to_fit();
    }
}

words! {
    /// How a client tried to authenticate.
    AuthMethod {
        /// SASL (RFC 4422).
        Sasl = "sasl",
        /// IMAP LOGIN.
        Login = "login",
        /// POP3 USER and PASS.
        UserPass = "user_pass",
        /// POP3 APOP.
        Apop = "apop",
    }
}

words! {
    /// How an authentication attempt ended.
    AuthOutcome {
        /// Accepted.
        Success = "success",
        /// Refused for good.
        Failed = "failed",
        /// Refused for now.
        Temporary = "temporary",
        /// The client gave up with `*`.
        Cancelled = "cancelled",
        /// The mechanism is not on offer.
        RejectedMechanism = "rejected_mechanism",
        /// Encryption is demanded first.
        NeedsTls = "needs_tls",
        /// No final reply was seen.
        Incomplete = "incomplete",
    }
}

words! {
    /// SASL mechanisms of the IANA registry and of the field.
    Mechanism {
        /// RFC 4616.
        Plain = "PLAIN",
        /// draft-murchison-sasl-login.
        Login = "LOGIN",
        /// RFC 2195.
        CramMd5 = "CRAM-MD5",
        /// RFC 2831.
        DigestMd5 = "DIGEST-MD5",
        /// RFC 5802.
        ScramSha1 = "SCRAM-SHA-1",
        /// RFC 5802 with channel binding.
        ScramSha1Plus = "SCRAM-SHA-1-PLUS",
        /// RFC 7677.
        ScramSha256 = "SCRAM-SHA-256",
        /// RFC 7677 with channel binding.
        ScramSha256Plus = "SCRAM-SHA-256-PLUS",
        /// draft-melnikov-scram-sha-512.
        ScramSha512 = "SCRAM-SHA-512",
        /// The same with channel binding.
        ScramSha512Plus = "SCRAM-SHA-512-PLUS",
        /// draft-melnikov-scram-sha3-512.
        ScramSha3512 = "SCRAM-SHA3-512",
        /// The same with channel binding.
        ScramSha3512Plus = "SCRAM-SHA3-512-PLUS",
        /// Google's OAuth 2.0 mechanism.
        XOAuth2 = "XOAUTH2",
        /// RFC 7628.
        OAuthBearer = "OAUTHBEARER",
        /// RFC 7628.
        OAuth10a = "OAUTH10A",
        /// RFC 4752.
        Gssapi = "GSSAPI",
        /// RFC 4178 through SASL.
        GssSpnego = "GSS-SPNEGO",
        /// RFC 5801.
        Gs2Krb5 = "GS2-KRB5",
        /// RFC 5801 with channel binding.
        Gs2Krb5Plus = "GS2-KRB5-PLUS",
        /// RFC 2222.
        KerberosV4 = "KERBEROS_V4",
        /// MS-SMTPNTLM and kin.
        Ntlm = "NTLM",
        /// RFC 4422 appendix A.
        External = "EXTERNAL",
        /// RFC 4505.
        Anonymous = "ANONYMOUS",
        /// RFC 2444.
        Otp = "OTP",
        /// RFC 2222.
        Skey = "SKEY",
        /// RFC 2808.
        SecurId = "SECURID",
        /// draft-burdis-cat-srp-sasl.
        Srp = "SRP",
        /// draft-vanrein-diameter-sasl.
        SxOver = "SXOVER-PLUS",
        /// RFC 6595.
        Saml20 = "SAML20",
        /// RFC 6616.
        OpenId20 = "OPENID20",
        /// RFC 7055.
        Eap = "EAP-AES128",
        /// Registered by nobody.
        Other = "OTHER",
    }
}

words! {
    /// SMTP service extensions of which it can be seen whether a client used them (RFC 5321 section 2.2).
    Extension {
        /// RFC 6152.
        EightBitMime = "8BITMIME",
        /// RFC 4954.
        Auth = "AUTH",
        /// RFC 3030.
        BinaryMime = "BINARYMIME",
        /// RFC 4468.
        Burl = "BURL",
        /// RFC 3030.
        Chunking = "CHUNKING",
        /// RFC 2852.
        DeliverBy = "DELIVERBY",
        /// RFC 3461.
        Dsn = "DSN",
        /// RFC 1985.
        Etrn = "ETRN",
        /// RFC 5321.
        Expn = "EXPN",
        /// RFC 4865.
        FutureRelease = "FUTURERELEASE",
        /// RFC 5321.
        Help = "HELP",
        /// RFC 6710.
        MtPriority = "MT-PRIORITY",
        /// RFC 2920.
        Pipelining = "PIPELINING",
        /// draft-hall-prdr.
        Prdr = "PRDR",
        /// RFC 8689.
        RequireTls = "REQUIRETLS",
        /// RFC 1870.
        Size = "SIZE",
        /// RFC 6531.
        SmtpUtf8 = "SMTPUTF8",
        /// RFC 3207.
        StartTls = "STARTTLS",
        /// RFC 5321.
        Vrfy = "VRFY",
        /// Postfix.
        Xclient = "XCLIENT",
        /// Postfix.
        Xforward = "XFORWARD",
    }
}

/// A set of [`Extension`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions(u32);

impl Extensions {
    /// Adds one.
    pub const fn add(&mut self, what: Extension) {
        self.0 |= 1 << what.index();
    }

    /// Whether `what` is in the set.
    pub const fn has(self, what: Extension) -> bool {
        self.0 & (1 << what.index()) != 0
    }

    /// The members.
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        Extension::ALL.iter().copied().filter(move |e| self.has(*e))
    }
}

/// One authentication attempt, at its final reply.
#[derive(Debug)]
pub struct Auth {
    /// Time of the command's first octet.
    pub began: Timestamp,
    /// How.
    pub method: AuthMethod,
    /// SASL mechanism.
    pub mechanism: Option<Mechanism>,
    /// Who claims to be, NTLM as `DOMAIN\user`. Personal data, not a secret; outputs apply their policy.
    pub identity: Text,
    /// Whether an earlier attempt of this session succeeded with the same identity: then a failed one is no mistyped password.
    pub identity_proven: bool,
    /// How it ended.
    pub outcome: AuthOutcome,
    /// The final reply; its text is masked.
    pub reply: Reply,
    /// SASL: the first response came with the command. `None` for methods without.
    pub initial_response: Option<bool>,
    /// Client responses sent after the command.
    pub steps: u32,
    /// Encryption at that time.
    pub tls: TlsMode,
    /// From the command's last octet to the final reply's.
    pub latency: Option<Duration>,
    /// Of that, what the server took: the time in which the client made up its responses is left out.
    pub server_latency: Option<Duration>,
    /// What was not seen of it.
    pub incomplete: Incomplete,
}

/// A recipient of a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recipient {
    /// Mailbox without brackets, in [`Transaction::arena`].
    pub forward_path: Span,
    /// RCPT parameters: a range of [`Transaction::params`].
    pub esmtp: (u32, u32),
    /// Code of the reply to RCPT.
    pub code: Option<u16>,
    /// Its enhanced status code.
    pub enhanced: Option<Enhanced>,
    /// Its text.
    pub text: Option<Span>,
    /// From RCPT to its reply.
    pub latency: Option<Duration>,
    /// Its own reply after the data (LMTP, PRDR).
    pub last: Option<RecipientReply>,
}

/// The reply that one recipient got after the data (RFC 2033 section 4.2; draft-hall-prdr).
#[derive(Clone, Copy, Debug)]
pub struct RecipientReply {
    /// Reply code.
    pub code: u16,
    /// Enhanced status code.
    pub enhanced: Option<Enhanced>,
    /// Text.
    pub text: Span,
    /// From the end of the data.
    pub latency: Option<Duration>,
}

/// An ESMTP parameter, in [`Transaction::arena`].
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Keyword, upper case.
    pub keyword: Span,
    /// Value, xtext decoded; `None` if there is no `=`.
    pub value: Option<Span>,
}

/// Where the time of a transfer went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From DATA to 354.
    pub data_go: Option<Duration>,
    /// From 354 to the first octet of the message.
    pub data_idle: Option<Duration>,
    /// From the first octet of the message to the last.
    pub transfer: Option<Duration>,
    /// From the end of the data to the final reply.
    pub reply: Option<Duration>,
    /// Retrievals: from the command to the first octet of its reply.
    pub first_byte: Option<Duration>,
}

/// One unit of mail moved, or tried to move.
#[derive(Debug)]
pub struct Transaction {
    /// What it moved; decides which fields are in use.
    pub kind: Kind,
    /// 1, 2, … in the session.
    pub number: u32,
    /// Time of the first octet of the command that opened it.
    pub began: Timestamp,
    /// Time of what ended it.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// How far it came, unless it came to its end.
    pub stage: Option<Stage>,
    /// Encryption at that time.
    pub tls: TlsMode,
    /// Authenticated as.
    pub identity: Text,
    /// Whether there was message data at all: only then `message` says something.
    pub has_message: bool,
    /// The message.
    pub message: Message,
    /// Octets on the wire: stuffing and terminator included.
    pub wire_size: Option<u64>,
    /// Size declared ahead: `SIZE=`, `+OK n octets`.
    pub declared_size: Option<u64>,
    /// Timing.
    pub timing: Timing,
    /// What was not seen of it.
    pub incomplete: Incomplete,

    /// Text that the spans below point into.
    pub arena: Vec<u8>,
    /// Delivery: return path without brackets; set and empty for `<>`.
    pub reverse_path: Option<Span>,
    /// Delivery: hosts of a source route.
    pub source_route: Vec<Span>,
    /// Parameters of MAIL (the first `mail_params` of them) and of each RCPT.
    pub params: Vec<Param>,
    /// How many of `params` belong to MAIL.
    pub mail_params: u32,
    /// Recipients, up to the cap.
    pub recipients: Vec<Recipient>,
    /// How many there were.
    pub recipients_total: u32,
    /// How the message was sent.
    pub data_mode: Option<DataMode>,
    /// BDAT and BURL commands.
    pub chunks: u32,
    /// The reply that ended it.
    pub last: Reply,
    /// Queue id from that reply.
    pub queue_id: Text,
    /// Some command of it was pipelined.
    pub pipelined: bool,
    /// One recipient asked for, no data sent: a callout.
    pub probe: bool,
    /// Found inside another transaction's data.
    pub smuggled: bool,
    /// Number of that transaction.
    pub parent: Option<u32>,
    /// Roles were swapped by TURN or ATRN.
    pub reversed: bool,

    /// Retrieval, append: the command.
    pub verb: Option<Verb>,
    /// Retrieval, append: mailbox, decoded.
    pub mailbox: Text,
    /// Unique id.
    pub uid: Option<u64>,
    /// UIDVALIDITY.
    pub uid_validity: Option<u64>,
    /// Message number.
    pub message_number: Option<u64>,
    /// IMAP section, without brackets; set and empty for the whole message.
    pub section: Text,
    /// Offset of a partial fetch, in octets.
    pub origin: Option<u64>,
    /// Append: flags.
    pub flags: List,
    /// Append: internal date.
    pub internal_date: Text,
}

impl Transaction {
    /// Text of a span.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.arena)
    }

    /// Parameters of MAIL.
    pub fn mail_params(&self) -> &[Param] {
        self.params.get(..self.mail_params as usize).unwrap_or_default()
    }

    /// Parameters of one RCPT.
    pub fn rcpt_params(&self, recipient: &Recipient) -> &[Param] {
        let (start, end) = recipient.esmtp;
        self.params.get(start as usize..end as usize).unwrap_or_default()
    }
}

words! {
    /// How much an anomaly matters.
    Severity {
        /// Worth knowing.
        Info = "info",
        /// Unusual.
        Low = "low",
        /// Suspicious.
        Medium = "medium",
        /// An attack, or a hole.
        High = "high",
    }
}

words! {
    /// How far an attack came, as its evidence shows.
    AnomalyState {
        /// The pattern is there.
        Candidate = "candidate",
        /// It is followed by commands.
        Attempt = "attempt",
        /// The server took it.
        Accepted = "accepted",
        /// The server did not.
        Refused = "refused",
        /// The sender made it harmless.
        Neutralised = "neutralised",
        /// The replies do not tell.
        Unresolved = "unresolved",
    }
}

/// Something that should not happen: once per (session, id, variant).
#[derive(Debug)]
pub struct Anomaly {
    /// Catalogue id, such as `line.bare_lf`.
    pub id: super::anomaly::Id,
    /// How much it matters.
    pub severity: Severity,
    /// Where that applies.
    pub state: Option<AnomalyState>,
    /// Which form of it; empty if there is one only.
    pub variant: &'static str,
    /// Who sent it.
    pub dir: Dir,
    /// When.
    pub at: Timestamp,
    /// Octet in that direction's stream.
    pub offset: u64,
    /// At most 64 octets, masked.
    pub evidence: Text,
    /// Number of the transaction it is in.
    pub transaction: Option<u32>,
    /// IMAP tag it belongs to.
    pub tag: Text,
    /// How often.
    pub count: u32,
}

/// The greeting.
#[derive(Debug, Default)]
pub struct Greeting {
    /// Status and text.
    pub reply: Reply,
    /// From the handshake's end to its first octet.
    pub delay: Option<Duration>,
}

/// What was seen of TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// How it began; `None` until it did.
    pub mode: Option<TlsMode>,
    /// The last capability list before it offered it; `None` if there was no list.
    pub offered: Option<bool>,
    /// The client asked for it.
    pub requested: Option<bool>,
    /// The server agreed.
    pub accepted: Option<bool>,
    /// The handshake.
    pub handshake: Option<Handshake>,
    /// From the client's hello to application data of both sides, where they were seen on the wire.
    pub took: Option<Duration>,
    /// Version, such as `TLSv1.3`.
    pub version: Option<&'static str>,
    /// Cipher suite, as IANA has it.
    pub cipher: Option<&'static str>,
    /// Server name that the client asked for (RFC 6066 section 3).
    pub sni: Text,
    /// What was inside was read.
    pub decrypted: bool,
}

/// TLS that was answered by whoever feeds the session.
#[derive(Clone, Debug)]
pub struct Secured {
    /// How it began.
    pub mode: TlsMode,
    /// How the handshake went; if it failed, nothing can be read from here on.
    pub handshake: Handshake,
    /// Version, such as `TLSv1.3`.
    pub version: Option<&'static str>,
    /// Cipher suite, as IANA has it.
    pub cipher: Option<&'static str>,
    /// Server name that the client asked for.
    pub sni: Text,
}

/// The authentication of a session in short.
#[derive(Debug, Default)]
pub struct AuthSummary {
    /// Method of the last attempt, or of the successful one.
    pub method: Option<AuthMethod>,
    /// Its mechanism.
    pub mechanism: Option<Mechanism>,
    /// Its identity.
    pub identity: Text,
    /// Its outcome.
    pub outcome: Option<AuthOutcome>,
    /// How many there were.
    pub attempts: u32,
}

/// Counts of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Commands sent.
    pub commands: u32,
    /// Transactions.
    pub transactions: u32,
    /// Replies 4yz.
    pub errors_temporary: u32,
    /// Replies 5yz, `-ERR`, `NO`, `BAD`.
    pub errors_permanent: u32,
    /// Verbs on no list.
    pub unknown_commands: u32,
    /// Anomalies, repetitions included.
    pub anomalies: u32,
}

/// How a connection closed.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// Who closed first; `None` if nobody did.
    pub by: Option<Dir>,
    /// How.
    pub how: How,
    /// During what.
    pub phase: Phase,
}

/// POP3: what the session did to the maildrop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Maildrop {
    /// Messages and octets by STAT or LIST.
    pub size: Option<(u64, u64)>,
    /// Messages and octets retrieved.
    pub retrieved: (u64, u64),
    /// DELE answered `+OK`.
    pub deleted: u32,
    /// QUIT was answered `+OK` after them; `None` without any.
    pub committed: Option<bool>,
}

/// IMAP IDLE over the session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    /// How many.
    pub count: u32,
    /// Together, from `+` to DONE.
    pub duration: Duration,
    /// Untagged responses inside that tell of something.
    pub events: u32,
    /// Those that only keep the connection open: `* OK Still here`.
    pub keepalives: u32,
}

/// How the segments of a direction came (captures only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disorder {
    /// Segments that carried octets seen before.
    pub retransmitted: u32,
    /// Segments that came before their turn.
    pub early: u32,
}

/// A session, when it is over.
#[derive(Debug)]
pub struct Summary {
    /// When it ended.
    pub ended: Timestamp,
    /// Payload octets sent by client and server, lost ones not counted.
    pub bytes: [u64; 2],
    /// Packets of client and server; `None` for the proxy.
    pub packets: Option<[u64; 2]>,
    /// Octets lost of client and server.
    pub gaps: [u64; 2],
    /// How the packets of client and server came; `None` for the proxy.
    pub disorder: Option<[Disorder; 2]>,
    /// What the protocol is, if it is no mail.
    pub other: Option<Other>,
    /// The protocol as it was believed to be at [`Event::Start`]: LHLO may have turned SMTP into LMTP since.
    pub started: Protocol,
    /// Greeting.
    pub greeting: Greeting,
    /// Name given with EHLO, HELO or LHLO.
    pub helo: Text,
    /// Last capability list before TLS: whole entries, keyword in upper case.
    pub capabilities: List,
    /// SMTP and LMTP: extensions that the client used in clear.
    pub extensions: Extensions,
    /// TLS.
    pub tls: Tls,
    /// Authentication.
    pub auth: AuthSummary,
    /// IMAP: last selected mailbox, decoded.
    pub mailbox: Text,
    /// Counts.
    pub counts: Counts,
    /// How it closed.
    pub close: Close,
    /// Client as told by PROXY or XCLIENT; port 0 if not told.
    pub proxied_client: Option<SocketAddr>,
    /// By how many replies the client is behind (smuggling).
    pub reply_desync: u32,
    /// How it went.
    pub outcome: SessionOutcome,
    /// POP3.
    pub maildrop: Option<Maildrop>,
    /// IMAP: untagged responses that belong to no command.
    pub untagged: Vec<(Untagged, u32)>,
    /// IMAP IDLE; `None` if there was none.
    pub idle: Option<Idle>,
    /// What was not seen.
    pub incomplete: Incomplete,
}

/// What a session says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The session's protocol is told: the first event of every session, and there is one of each session that
    /// [ends](Self::End). For what is no mail on a mail port the protocol is [`Protocol::Unknown`].
    Start,
    /// Octets of payload were seen: after each input, those that waited for the protocol to be told together. How an
    /// input is cut shows in how many of these there are, not in their sum, which is that of [`Summary::bytes`].
    Octets {
        /// Which way they travelled.
        dir: Dir,
        /// How many.
        count: u64,
        /// Encryption when they came in.
        tls: TlsMode,
    },
    /// Octets of payload were lost, as [`Self::Octets`] were seen: their sum is that of [`Summary::gaps`].
    Lost {
        /// Which way they travelled.
        dir: Dir,
        /// How many.
        count: u64,
    },
    /// IMAP IDLE (RFC 2177) began: the server waits for the client's DONE.
    Idle,
    /// It is over.
    IdleOver {
        /// From the server's `+` to DONE.
        lasted: Duration,
    },
    /// The server's first reply is complete.
    Greeting(&'a Greeting),
    /// A command is complete, or will never be.
    Command(&'a Command),
    /// An authentication attempt is complete.
    Auth(&'a Auth),
    /// A piece of the message of transaction `number`, as the receiver stores it.
    Body {
        /// Number of the transaction.
        number: u32,
        /// The octets.
        octets: &'a [u8],
    },
    /// A transaction is complete.
    Transaction(&'a Transaction),
    /// An anomaly is settled.
    Anomaly(&'a Anomaly),
    /// The session is over.
    End(&'a Summary),
}

/// Takes events in.
pub trait Sink {
    /// `event` happened in session `context` at `at`. Everything in it is borrowed until this returns.
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>);
}
