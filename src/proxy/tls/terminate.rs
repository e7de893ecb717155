//! One session whose TLS is answered here, from the first octet to the last.
//!
//! With STARTTLS from the client, TLS towards the server follows the client's: the server sees TLS when the client has
//! it, so that what it allows in clear stays its own choice, and its refusal reaches the client in its own words.
//! With TLS from the first octet and STARTTLS towards the server, no command goes on before the server's side is under
//! TLS; in SMTP the client's own EHLO leads there, and is said again under TLS (RFC 3207 section 4.2).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::relay::{Pause, Relay};
use super::starttls::{Answer, Dialogue, Offer, StartTlsRequest};
use super::stream::Stream;
use super::terminator::Terminator;
use super::upstream_starttls as prelude;
use crate::config::proxy::{TlsListen, TlsUpstream};
use crate::event::Text;
use crate::event::{Dir, EstablishedTls, Handshake, Protocol, TlsMode};

/// Sees what passes, and may end it.
pub trait Observer {
    /// Clear text has gone on, or was kept for want of an answer: as the client sent it, as the client gets it.
    fn data(&mut self, dir: Dir, octets: &[u8]);

    /// From here on the client's octets are under TLS; or the handshake failed, and there are none.
    fn tls_established(&mut self, how: &EstablishedTls);

    /// The sender of `dir` closed.
    fn fin(&mut self, dir: Dir);

    /// Ready when the session is to end; `rests`: nothing is on its way. Keeps the waker.
    fn poll_stop(&mut self, rests: bool, cx: &mut Context<'_>) -> Poll<Stop>;
}

/// How a session is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// With resets: neither side shall take a message that was cut for a whole one.
    pub abort: bool,
    /// What the client is told, as far as it can be without waiting.
    pub goodbye: &'static [u8],
}

/// How a session ended.
#[derive(Debug)]
pub enum Ending {
    /// Both sides closed.
    Closed,
    /// The sender of this direction reset.
    Reset(Dir),
    /// The observer ended it.
    Stopped(Stop),
    /// The handshake with the client failed.
    Client(io::Error),
    /// TLS towards the server could not be had.
    Server(io::Error),
}

/// A connection with both its sides.
#[derive(Debug)]
pub struct Sides {
    /// The client's socket.
    pub client: TcpStream,
    /// What was read of it already.
    pub early: Vec<u8>,
    /// The server's socket.
    pub server: TcpStream,
    /// What is most likely spoken.
    pub prior: Protocol,
    /// What a client is told whose server cannot be had; empty: nothing.
    pub refusal: &'static [u8],
}

/// Forwards between `sides` until they end; `terminator` says who has TLS.
pub async fn terminate(sides: Sides, terminator: &Terminator, observer: &mut dyn Observer) -> Ending {
    let Sides { client, early, server, prior, refusal } = sides;
    let offer = if terminator.listen == TlsListen::StartTls { Offer::Show } else { Offer::Hide };
    let relay =
        Relay::new(Stream::new(client, early), Stream::new(server, Vec::new()), Some(Dialogue::new(offer, prior)));
    let mut session = Session { relay, terminator, refusal };
    let ending = match session.run(observer).await {
        Ok(ending) | Err(ending) => ending,
    };
    session.end(&ending).await;
    ending
}

pub(super) struct Session<'a> {
    pub(super) relay: Relay,
    pub(super) terminator: &'a Terminator,
    refusal: &'static [u8],
}

impl Session<'_> {
    async fn run(&mut self, observer: &mut dyn Observer) -> Result<Ending, Ending> {
        match (self.terminator.listen, self.terminator.upstream) {
            (TlsListen::Implicit, TlsUpstream::Implicit) => self.both(observer).await?,
            (TlsListen::Implicit, _) => self.accept(TlsMode::Implicit, observer).await?,
            (_, TlsUpstream::Implicit) => self.connect(observer).await?,
            _ => {}
        }
        if self.terminator.listen == TlsListen::Implicit && self.terminator.upstream == TlsUpstream::StartTls {
            prelude::run(self, observer).await?;
        }
        loop {
            if self.relay.client.is_tls() && self.relay.server.is_tls() {
                // A server under TLS offers it no more, and refuses it if asked.
                self.relay.dialogue = None;
            }
            match self.relay.run(observer).await {
                Pause::Asked(ask) => self.start(&ask, observer).await?,
                Pause::Closed => return Ok(Ending::Closed),
                Pause::Reset(dir) => return Ok(Ending::Reset(dir)),
                Pause::Stopped(stop) => return Ok(Ending::Stopped(stop)),
            }
        }
    }

    /// Both handshakes at once.
    async fn both(&mut self, observer: &mut dyn Observer) -> Result<(), Ending> {
        let Some((config, name)) = self.upstream() else { return Ok(()) };
        let done = {
            let Relay { client, server, .. } = &mut self.relay;
            let mut accepted = pin!(client.accept(Arc::clone(&self.terminator.server)));
            let mut connected = pin!(server.connect(config, name));
            let handshakes = async {
                tokio::select! {
                    done = &mut accepted => {
                        done.map_err(Ending::Client)?;
                        connected.await.map_err(Ending::Server)
                    }
                    done = &mut connected => {
                        // Even without a server, the client is owed a close that it can tell from an attack.
                        accepted.await.map_err(Ending::Client)?;
                        done.map_err(Ending::Server)
                    }
                }
            };
            watched(observer, handshakes).await?
        };
        self.tell(TlsMode::Implicit, observer);
        done
    }

    /// Answers the client's handshake.
    async fn accept(&mut self, mode: TlsMode, observer: &mut dyn Observer) -> Result<(), Ending> {
        let accepted = watched(observer, self.relay.client.accept(Arc::clone(&self.terminator.server))).await?;
        self.tell(mode, observer);
        accepted.map_err(Ending::Client)
    }

    /// TLS towards the server.
    pub(super) async fn connect(&mut self, observer: &mut dyn Observer) -> Result<(), Ending> {
        let Some((config, name)) = self.upstream() else { return Ok(()) };
        let connected = watched(observer, self.relay.server.connect(config, name)).await?;
        connected.map_err(Ending::Server)
    }

    fn upstream(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let upstream = self.terminator.client.as_ref()?;
        let peer = self.relay.server.peer()?;
        Some((Arc::clone(&upstream.config), upstream.name(peer)))
    }

    /// The client asks for TLS, and all before it is answered.
    async fn start(&mut self, ask: &StartTlsRequest, observer: &mut dyn Observer) -> Result<(), Ending> {
        if let Some(refusal) = ask.refusal() {
            return self.answer(ask, refusal, observer).await;
        }
        if self.terminator.upstream == TlsUpstream::StartTls {
            let request = self.dialogue().request(ask);
            let protocol = self.dialogue().protocol();
            let reply = watched(observer, prelude::request(&mut self.relay.server, protocol, &request)).await?;
            let reply = reply.map_err(Ending::Server)?;
            if !reply.agrees {
                // Its own words, untouched: the client asked, and this is the answer.
                self.say(&reply.octets, observer).await?;
                self.dialogue().answered(false);
                return Ok(());
            }
            if let Err(ending) = self.connect(observer).await {
                self.answer(ask, Answer::NotNow, observer).await?;
                self.refusal = b"";
                return Err(ending);
            }
        }
        self.relay.forget();
        let discarded = self.relay.client.discard();
        if !discarded.is_empty() {
            observer.data(Dir::ToServer, &discarded);
        }
        let line = self.dialogue().answer(ask, Answer::Begin);
        self.say(&line, observer).await?;
        self.accept(TlsMode::StartTls, observer).await?;
        self.dialogue().answered(true);
        Ok(())
    }

    async fn answer(
        &mut self,
        ask: &StartTlsRequest,
        answer: Answer,
        observer: &mut dyn Observer,
    ) -> Result<(), Ending> {
        let line = self.dialogue().answer(ask, answer);
        self.dialogue().answered(false);
        self.say(&line, observer).await
    }

    fn dialogue(&mut self) -> &mut Dialogue {
        self.relay.dialogue.get_or_insert_with(|| Dialogue::new(Offer::Hide, Protocol::Unknown))
    }

    /// Says `octets` to the client.
    pub(super) async fn say(&mut self, octets: &[u8], observer: &mut dyn Observer) -> Result<(), Ending> {
        let client = &mut self.relay.client;
        let said = watched(observer, async {
            client.write_all(octets).await?;
            client.flush().await
        });
        said.await?.map_err(|_| Ending::Reset(Dir::ToServer))?;
        observer.data(Dir::ToClient, octets);
        Ok(())
    }

    /// Tells the observer how the client's handshake went.
    fn tell(&self, mode: TlsMode, observer: &mut dyn Observer) {
        let mut how =
            EstablishedTls { mode, handshake: Handshake::Failed, version: None, cipher: None, sni: Text::default() };
        if let Some(tls) = self.relay.client.tls() {
            let (_, common) = tls.get_ref();
            how.handshake = Handshake::Ok;
            how.version = common.protocol_version().and_then(version);
            how.cipher = common.negotiated_cipher_suite().and_then(|suite| cipher(suite.suite()));
            if let tokio_rustls::TlsStream::Server(tls) = tls {
                how.sni.set(tls.get_ref().1.server_name().unwrap_or_default().as_bytes());
            }
        }
        observer.tls_established(&how);
    }

    /// Closes both sides the way the session ended.
    async fn end(mut self, ending: &Ending) {
        let Relay { client, server, .. } = &mut self.relay;
        match ending {
            Ending::Closed | Ending::Client(_) => {}
            Ending::Reset(Dir::ToServer) => server.abort(),
            Ending::Reset(Dir::ToClient) => client.abort(),
            Ending::Stopped(stop) if stop.abort => {
                client.abort();
                server.abort();
            }
            Ending::Stopped(stop) => at_once(client, stop.goodbye).await,
            Ending::Server(_) => at_once(client, self.refusal).await,
        }
    }
}

/// Says `octets` and closes, as far as the socket takes it without waiting.
async fn at_once(client: &mut Stream, octets: &[u8]) {
    let mut last = pin!(async {
        if !octets.is_empty() {
            client.write_all(octets).await?;
        }
        client.shutdown().await
    });
    poll_fn(|cx| {
        let _ = last.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

/// `work`, unless the observer ends the session.
pub(super) async fn watched<T>(observer: &mut dyn Observer, work: impl Future<Output = T>) -> Result<T, Ending> {
    let mut work = pin!(work);
    poll_fn(|cx| match Pin::as_mut(&mut work).poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => observer.poll_stop(false, cx).map(|stop| Err(Ending::Stopped(stop))),
    })
    .await
}

fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The name that IANA has for `suite`; the library marks those of TLS 1.3.
fn cipher(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}
