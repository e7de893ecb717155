//! Facts about a whole session: who talks to whom, which protocol, how it ended, and what was not seen of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::auth::AuthSummary;
use super::command::{Reply, Status};
use super::direction::Dir;
use super::incomplete::Incomplete;
use super::outcomes::Refusal;
use super::text::{List, Text};
use super::tls::Tls;
use super::verb::Untagged;
use super::words::words;
use crate::time::Timestamp;

/// The ports of SMTP, submission, POP3, IMAP and ManageSieve, the unofficial ones in use included.
pub const MAIL_PORTS: [u16; 10] = [25, 587, 465, 2525, 24, 110, 995, 143, 993, 4190];

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
    /// The client itself, where a PROXY header or XCLIENT names it: then [`Peers::client`] is whoever stands before the server.
    pub proxied_client: Option<SocketAddr>,
    /// The protocol, as now believed.
    pub protocol: Protocol,
    /// From the client's SYN to the server's answer, or what the proxy's own connect took; `None` if not seen.
    pub connect: Option<Duration>,
    /// The connection is a health check's: it is counted as that only, and recorded only if that is asked for.
    pub health_check: bool,
    /// The event goes into no record: the session has had more of them than its bytes are worth. It is counted.
    pub omitted: bool,
}

impl Context {
    /// The address of the client itself, as far as is known.
    pub fn client(&self) -> IpAddr {
        self.proxied_client.unwrap_or(self.peers.client).ip().to_canonical()
    }
}

/// Why a session is over, for [`Session::finish`](crate::engine::Session::finish).
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
        /// TLS that the proxy answers, or begins with the server, came to nothing.
        TlsFailed = "tls_failed",
        /// Framing was lost and not found again.
        Unparseable = "unparseable",
        /// The capture stopped first.
        CaptureEnd = "capture_end",
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

/// The greeting.
#[derive(Debug, Default)]
pub struct Greeting {
    /// Status and text.
    pub reply: Reply,
    /// From the handshake's end to its first octet.
    pub delay: Option<Duration>,
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
    /// Records left out, since they were too many for the bytes that caused them.
    pub omitted: u32,
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

words! {
    /// How a client asks for a tunnel.
    TunnelKind {
        /// RFC 9110 section 9.3.6.
        HttpConnect = "http_connect",
        /// SOCKS 4, or 4a with a name.
        Socks4 = "socks4",
        /// RFC 1928.
        Socks5 = "socks5",
    }
}

/// A tunnel that carries the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// How it was asked for.
    pub kind: TunnelKind,
    /// Where it leads.
    pub host: TunnelHost,
    /// The port there.
    pub port: u16,
}

/// The destination of a tunnel as the client named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelHost {
    /// An address.
    Ip(IpAddr),
    /// A name, at most 255 bytes; absent if it has bytes that no name has.
    Name(Text),
}

/// Where the proxy went on to for a session. How long that took is the context's [`connect`](Context::connect).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The address that took the connection, or the last one that did not; `None` where none was dialled.
    pub address: Option<SocketAddr>,
    /// Why there is no connection.
    pub error: Option<Refusal>,
}

/// How the segments of a direction came (captures only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disorder {
    /// Segments that carried octets seen before.
    pub retransmitted: u32,
    /// Segments that came before their turn.
    pub early: u32,
}

/// Something that the server said without being asked: BYE, 421, `-ERR`, `* NO`, `* BAD`, or an alert.
#[derive(Debug, Default)]
pub struct Notice {
    /// Its status.
    pub status: Option<Status>,
    /// Response code in brackets.
    pub response_code: Text,
    /// Text.
    pub text: Text,
}

/// Which programs spoke, as far as they said so.
#[derive(Debug, Default)]
pub struct Software {
    /// By the server's greeting, its ID response or its IMPLEMENTATION capability.
    pub server: Text,
    /// By the client's ID command.
    pub client: Text,
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
    /// The protocol as it was believed to be at [`Event::Start`](super::Event::Start): LHLO may have turned SMTP into LMTP since.
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
    /// What the server said about that.
    pub close_reason: Text,
    /// What the server said without being asked, the first few.
    pub notices: Vec<Notice>,
    /// Which programs spoke.
    pub software: Option<Box<Software>>,
    /// Where the proxy went on to; `None` for captures.
    pub upstream: Option<Upstream>,
    /// Client as told by PROXY or XCLIENT; port 0 if not told.
    pub proxied_client: Option<SocketAddr>,
    /// Where the tunnel leads that the session is in.
    pub tunnel: Option<Box<Tunnel>>,
    /// EHLO was refused and HELO taken.
    pub ehlo_refused: bool,
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
