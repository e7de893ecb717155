//! TLS with a server that wants STARTTLS first: what is said to it in clear, and to nobody else.
//!
//! Not a word of what the server says in clear behind its go-ahead counts (RFC 3207 section 4.2).

use tokio::io::AsyncReadExt as _;

use super::failure::Refusal;
use super::observer::{Observer, TlsEnd, attended, watched};
use super::relay::Relay;
use super::server_reply::{LONGEST, agrees, greeting};
use super::session::TerminatedSession;
use super::starttls::{first_word, without_list};
use crate::event::{Dir, Protocol};

/// IMAP: the tag of what is asked here.
const TAG: &[u8] = b"mailtap";

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
