//! What a server says in clear before TLS: its greeting, and its replies to what is asked here.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::failure::Refusal;
use super::starttls::first_word;
use super::stream::SideStream;
use crate::event::Protocol;

/// Octets of a greeting or a reply in clear; no server needs as many.
pub(super) const LONGEST: usize = 64 << 10;

/// A reply of the server.
pub(super) struct ServerReply {
    /// All of it.
    pub(super) octets: Vec<u8>,
    /// TLS may begin; or to EHLO: so it is.
    pub(super) agrees: bool,
}

/// Reads the server's greeting; what it says behind it is for whoever reads next.
pub(super) async fn greeting(server: &mut SideStream) -> io::Result<Vec<u8>> {
    let mut greeting = Vec::new();
    let end = read_reply(server, &mut greeting, greets).await?;
    server.unread(greeting.get(end..).unwrap_or_default());
    greeting.truncate(end);
    Ok(greeting)
}

/// Says `line` to the server and reads its reply; what it says behind the reply is thrown away.
pub(super) async fn request(server: &mut SideStream, protocol: Protocol, line: &[u8]) -> io::Result<ServerReply> {
    server.write_all(line).await?;
    server.flush().await?;
    let tag = first_word(line).to_vec();
    let mut octets = Vec::new();
    let end = read_reply(server, &mut octets, |line| match protocol {
        Protocol::Imap => first_word(line) == tag,
        _ => greets(line),
    });
    let end = end.await?;
    octets.truncate(end);
    if protocol == Protocol::Smtp && !line.eq_ignore_ascii_case(b"STARTTLS\r\n") {
        // Its word on EHLO: what it says next is awaited.
    } else {
        server.discard();
    }
    let agrees = agrees(protocol, &tag, &octets);
    Ok(ServerReply { octets, agrees })
}

/// Reads up to the line that `ends` the reply; where it ends.
async fn read_reply(server: &mut SideStream, octets: &mut Vec<u8>, ends: impl Fn(&[u8]) -> bool) -> io::Result<usize> {
    let mut from = 0;
    loop {
        while let Some(end) = memchr::memchr(b'\n', octets.get(from..).unwrap_or_default()) {
            let line = octets.get(from..from + end).unwrap_or_default();
            from += end + 1;
            if ends(line) {
                return Ok(from);
            }
        }
        if octets.len() >= LONGEST {
            return Err(Refusal::error("the server's reply is too long"));
        }
        if server.read_buf(octets).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether `line` is the last of a reply that comes in order.
fn greets(line: &[u8]) -> bool {
    match line.first() {
        Some(b'0'..=b'9') => line.get(3) != Some(&b'-'),
        _ => true,
    }
}

/// Whether the last line of `reply` says yes.
pub(super) fn agrees(protocol: Protocol, tag: &[u8], reply: &[u8]) -> bool {
    let mut lines = reply.split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
    let Some(last) = lines.next_back() else { return false };
    match protocol {
        Protocol::Imap => {
            let text = last.get(tag.len()..).unwrap_or_default().trim_ascii_start();
            first_word(text).eq_ignore_ascii_case(b"OK")
        }
        Protocol::Pop3 => first_word(last).eq_ignore_ascii_case(b"+OK"),
        _ => last.first() == Some(&b'2'),
    }
}
