//! What a TLS ClientHello says of the protocol inside: its ALPN list (RFC 7301).

use crate::event::{Other, Protocol};

/// What the client wants to speak inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// The ClientHello is not complete.
    Incomplete,
    /// It does not say, or names something unheard of.
    Unsaid,
    Mail(Protocol),
    Other(Other),
}

/// Whether `octets` may be the head of a TLS handshake record (RFC 8446 section 5.1).
pub(super) fn begins(octets: &[u8]) -> bool {
    matches!(octets, [0x16] | [0x16, 3] | [0x16, 3, 0..=4, ..])
}

/// Whether `octets` begin with a TLS record of any type.
pub(super) fn is_record(octets: &[u8]) -> bool {
    matches!(octets, [0x14..=0x17, 3, 0..=4, ..])
}

/// Reads the ClientHello at the head of `client`.
pub(super) fn inside(client: &[u8]) -> Inside {
    let Some(hello) = handshake(client) else { return Inside::Incomplete };
    let Some(list) = alpn(&hello) else { return Inside::Unsaid };
    let mut list = list;
    while let Some((name, rest)) = counted::<1>(list) {
        list = rest;
        match name {
            b"imap" => return Inside::Mail(Protocol::Imap),
            b"pop3" => return Inside::Mail(Protocol::Pop3),
            b"managesieve" => return Inside::Mail(Protocol::ManageSieve),
            b"smtp" => return Inside::Mail(Protocol::Smtp),
            b"h2" | b"http/1.1" | b"http/1.0" | b"http/0.9" => return Inside::Other(Other::Http),
            b"ftp" => return Inside::Other(Other::Ftp),
            b"nntp" | b"nnsp" => return Inside::Other(Other::Nntp),
            b"irc" | b"xmpp-client" | b"xmpp-server" | b"mqtt" | b"postgresql" | b"dot" => {
                return Inside::Other(Other::Other);
            }
            _ => {}
        }
    }
    Inside::Unsaid
}

/// The body of the first handshake message, records joined; `None` until it is complete. What is no ClientHello is empty.
fn handshake(mut octets: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let (head, rest) = octets.split_at_checked(3)?;
        if !begins(head) {
            return Some(Vec::new());
        }
        let (record, rest) = counted::<2>(rest)?;
        message.extend_from_slice(record);
        octets = rest;
        if message.first().is_some_and(|kind| *kind != 1) {
            return Some(Vec::new());
        }
        if let Some((body, _)) = message.get(1..).and_then(counted::<3>) {
            return Some(body.to_vec());
        }
    }
}

/// The protocol name list of the ALPN extension in the body of a ClientHello.
fn alpn(hello: &[u8]) -> Option<&[u8]> {
    let (_version_and_random, rest) = hello.split_at_checked(34)?;
    let (_session, rest) = counted::<1>(rest)?;
    let (_suites, rest) = counted::<2>(rest)?;
    let (_compressions, rest) = counted::<1>(rest)?;
    let (mut extensions, _) = counted::<2>(rest)?;
    loop {
        let (kind, rest) = extensions.split_at_checked(2)?;
        let (body, rest) = counted::<2>(rest)?;
        if kind == [0, 16] {
            return counted::<2>(body).map(|(list, _)| list);
        }
        extensions = rest;
    }
}

/// Splits a vector off that is preceded by its length in `N` octets.
fn counted<const N: usize>(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_at_checked(N)?;
    let length = length.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
    rest.split_at_checked(length)
}
