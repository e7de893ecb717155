//! TLS with a server that wants STARTTLS first: what is said to it in clear, and to nobody else.
//!
//! Not a word of what the server says in clear behind its go-ahead counts (RFC 3207 section 4.2).

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::failure::Refusal;
use super::observer::{Observer, TlsEnd, attended, watched};
use super::relay::Relay;
use super::session::TerminatedSession;
use super::starttls::{first_word, without_list};
use super::stream::SideStream;
use crate::event::{Dir, Protocol};

/// Octets of a greeting or a reply in clear; no server needs as many.
const LONGEST: usize = 64 << 10;

/// IMAP: the tag of what is asked here.
const TAG: &[u8] = b"mailtap";

/// A reply of the server.
pub(super) struct ServerReply {
    /// All of it.
    pub(super) octets: Vec<u8>,
    /// TLS may begin; or to EHLO: so it is.
    pub(super) agrees: bool,
}

/// Takes the server's greeting on to the client and brings the server's side under TLS.
pub(super) async fn run(session: &mut TerminatedSession<'_>, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
    let Relay { client, server, .. } = &mut session.relay;
    let greeting = attended(observer, client, greeting(server)).await?.map_err(TlsEnd::Server)?;
    let protocol = match greeting.first() {
        Some(b'+' | b'-') => Protocol::Pop3,
        Some(b'*') => Protocol::Imap,
        Some(b'0'..=b'9') => Protocol::Smtp,
        _ => return Err(TlsEnd::Server(Refusal::error("the server's greeting is not understood"))),
    };
    // The capabilities in clear are not those under TLS: the client is to ask for them.
    let shown = if protocol == Protocol::Imap { without_list(&greeting) } else { greeting.clone() };
    session.say(&shown, observer).await?;
    if !agrees(protocol, b"*", &greeting) {
        return Err(TlsEnd::Server(Refusal::error("the server's greeting leaves no way to TLS")));
    }
    let mut first = Vec::new();
    let request = match protocol {
        Protocol::Imap => [TAG, b" STARTTLS\r\n"].concat(),
        Protocol::Pop3 => b"STLS\r\n".to_vec(),
        _ => {
            hello(session, &mut first, observer).await?;
            b"STARTTLS\r\n".to_vec()
        }
    };
    if !session.request(protocol, &request, observer).await?.agrees {
        return Err(TlsEnd::Server(Refusal::error("the server refuses STARTTLS")));
    }
    session.connect(observer).await?;
    session.relay.begin_with(&first);
    Ok(())
}

/// Says the client's EHLO to the server in clear; `first`: what the client has sent by then.
async fn hello(
    session: &mut TerminatedSession<'_>,
    first: &mut Vec<u8>,
    observer: &mut dyn Observer,
) -> Result<(), TlsEnd> {
    loop {
        line(session, first, observer).await?;
        let end = memchr::memchr(b'\n', first).map_or(first.len(), |at| at + 1);
        let said = first.get(..end).unwrap_or_default();
        let own = [&b"EHLO"[..], b"LHLO"].iter().any(|verb| first_word(said).eq_ignore_ascii_case(verb));
        let line = if own { said.to_vec() } else { greeting_of(session) };
        let reply = session.request(Protocol::Smtp, &line, observer).await?;
        if reply.agrees {
            return Ok(());
        }
        if !own {
            return Err(TlsEnd::Server(Refusal::error("the server refuses EHLO")));
        }
        session.say(&reply.octets, observer).await?;
        first.drain(..end);
    }
}

/// Reads the client's first line. Whatever the server says meanwhile is its goodbye.
async fn line(
    session: &mut TerminatedSession<'_>,
    first: &mut Vec<u8>,
    observer: &mut dyn Observer,
) -> Result<(), TlsEnd> {
    while memchr::memchr(b'\n', first).is_none() && first.len() < LONGEST {
        let before = first.len();
        let mut server_said = Vec::new();
        let (client, server) = (&mut session.relay.client, &mut session.relay.server);
        let read = watched(observer, async {
            tokio::select! {
                read = client.read_buf(first) => (Dir::ToServer, read),
                read = server.read_buf(&mut server_said) => (Dir::ToClient, read),
            }
        });
        let (dir, read) = read.await?;
        match (dir, read) {
            (dir, Err(_)) => return Err(TlsEnd::Reset(dir)),
            (dir, Ok(0)) => {
                observer.fin(dir);
                return Err(TlsEnd::Closed);
            }
            (Dir::ToServer, Ok(_)) => observer.data(dir, first.get(before..).unwrap_or_default()),
            (Dir::ToClient, Ok(_)) => session.say(&server_said, observer).await?,
        }
    }
    Ok(())
}

/// An EHLO for a client that says none first (RFC 5321 section 4.1.3).
fn greeting_of(session: &TerminatedSession<'_>) -> Vec<u8> {
    match session.relay.server.local() {
        Some(std::net::IpAddr::V6(address)) => format!("EHLO [IPv6:{address}]\r\n").into_bytes(),
        Some(address) => format!("EHLO [{address}]\r\n").into_bytes(),
        None => b"EHLO localhost\r\n".to_vec(),
    }
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
