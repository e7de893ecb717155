//! One session whose TLS is answered here, from the first octet to the last.
//!
//! With STARTTLS from the client, TLS towards the server follows the client's: the server sees TLS when the client has
//! it, so that what it allows in clear stays its own choice, and its refusal reaches the client in its own words.
//! With TLS from the first octet and STARTTLS towards the server, no command goes on before the server's side is under
//! TLS; in SMTP the client's own EHLO leads there, and is said again under TLS (RFC 3207 section 4.2).

use tokio::net::TcpStream;

use super::dialler::Dialler;
use super::failure::failure;
use super::observer::{Observer, TlsEnd};
use super::relay::{Pause, Relay};
use super::session::TerminatedSession;
use super::starttls::{Dialogue, Offer, StartTlsAnswer, StartTlsRequest};
use super::stream::SideStream;
use super::terminator::Terminator;
use super::upstream_starttls;
use crate::event::{Dir, Protocol, TlsMode};
use crate::proxy::settings::{TlsListen, TlsUpstream};

/// A client whose TLS is answered, and the way to its server.
pub struct TerminatedClient<'a> {
    /// The client's socket.
    pub client: TcpStream,
    /// What was read of it already.
    pub early: Vec<u8>,
    /// How the server is dialled.
    pub dialler: &'a mut dyn Dialler,
    /// What is most likely spoken.
    pub prior: Protocol,
    /// What a client is told whose server cannot be had; empty: nothing.
    pub refusal: &'static [u8],
}

/// Serves `client` until it ends; `terminator` says who has TLS.
pub async fn terminate(client: TerminatedClient<'_>, terminator: &Terminator, observer: &mut dyn Observer) -> TlsEnd {
    let TerminatedClient { client, early, dialler, prior, refusal } = client;
    let offer = if terminator.listen == TlsListen::StartTls { Offer::Show } else { Offer::Hide };
    let dialogue = Some(Dialogue::new(offer, prior));
    let relay = Relay::new(SideStream::new(client, early), SideStream::absent(), dialogue);
    let mut session = TerminatedSession { relay, terminator, dialler, refusal, client_tls: None };
    let ending = match run(&mut session, observer).await {
        Ok(ending) | Err(ending) => ending,
    };
    if let TlsEnd::Server(error) = &ending {
        observer.upstream_tls_failed(failure(error));
    }
    session.end(&ending).await;
    ending
}

/// Goes through the handshakes and forwards, until the end.
async fn run(session: &mut TerminatedSession<'_>, observer: &mut dyn Observer) -> Result<TlsEnd, TlsEnd> {
    session.open(observer).await?;
    if session.terminator.listen == TlsListen::Implicit && session.terminator.upstream == TlsUpstream::StartTls {
        upstream_starttls::run(session, observer).await?;
    }
    loop {
        if session.relay.client.is_tls() && session.relay.server.is_tls() {
            // A server under TLS offers it no more, and refuses it if asked.
            session.relay.dialogue = None;
        }
        match session.relay.run(observer).await {
            Pause::Asked(ask) => start_tls(session, &ask, observer).await?,
            Pause::Closed => return Ok(TlsEnd::Closed),
            Pause::Reset(dir) => return Ok(TlsEnd::Reset(dir)),
            Pause::Stopped(stop) => return Ok(TlsEnd::Stopped(stop)),
        }
    }
}

/// Serves STARTTLS: the client asks for TLS, and all before it is answered.
async fn start_tls(
    session: &mut TerminatedSession<'_>,
    ask: &StartTlsRequest,
    observer: &mut dyn Observer,
) -> Result<(), TlsEnd> {
    if let Some(refusal) = ask.refusal() {
        return answer(session, ask, refusal, observer).await;
    }
    if session.terminator.upstream == TlsUpstream::StartTls {
        let request = session.dialogue().request(ask);
        let protocol = session.dialogue().protocol();
        let reply = session.request(protocol, &request, observer).await?;
        if !reply.agrees {
            // Its own words, untouched: the client asked, and this is the answer.
            session.say(&reply.octets, observer).await?;
            session.dialogue().answered(false);
            return Ok(());
        }
        if let Err(ending) = session.connect(observer).await {
            answer(session, ask, StartTlsAnswer::NotNow, observer).await?;
            session.refusal = b"";
            return Err(ending);
        }
    }
    session.relay.forget();
    let discarded = session.relay.client.discard();
    if !discarded.is_empty() {
        observer.data(Dir::ToServer, &discarded);
    }
    let line = session.dialogue().answer(ask, StartTlsAnswer::Begin);
    session.say(&line, observer).await?;
    session.accept(TlsMode::StartTls, observer).await?;
    session.dialogue().answered(true);
    if session.begins_anew() {
        session.dial_anew(observer).await?;
    }
    Ok(())
}

/// Answers a STARTTLS that leads to no TLS.
async fn answer(
    session: &mut TerminatedSession<'_>,
    ask: &StartTlsRequest,
    answer: StartTlsAnswer,
    observer: &mut dyn Observer,
) -> Result<(), TlsEnd> {
    let line = session.dialogue().answer(ask, answer);
    session.dialogue().answered(false);
    session.say(&line, observer).await
}
