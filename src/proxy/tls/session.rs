//! A session whose TLS is terminated here: both sides, and the handshakes on each.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncWriteExt as _;

use super::client_tls::{self, ClientTls};
use super::dialler::Dialler;
use super::failure::failure;
use super::observer::{Observer, TlsEnd, attended, watched};
use super::relay::Relay;
use super::server_reply::{self, ServerReply};
use super::starttls::{Dialogue, Offer};
use super::stream::SideStream;
use super::terminator::Terminator;
use super::upstream::Upstream;

use crate::event::{Dir, Protocol, Refusal, TlsMode};
use crate::proxy::settings::{TlsListen, TlsUpstream};

/// One session.
pub(super) struct TerminatedSession<'a> {
    pub(super) relay: Relay,
    pub(super) terminator: &'a Terminator,
    pub(super) dialler: &'a mut dyn Dialler,
    /// What a client is told whose server cannot be had; empty: nothing.
    pub(super) refusal: &'static [u8],
    /// The client's TLS, once it has it.
    pub(super) client_tls: Option<ClientTls>,
}

impl TerminatedSession<'_> {
    /// Dials the server, and shakes hands with both where TLS begins with the first byte.
    pub(super) async fn open(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        match self.terminator.listen {
            TlsListen::Implicit if self.dialler.tells_tls() => {
                self.accept(TlsMode::Implicit, observer).await?;
                self.reach(observer).await
            }
            TlsListen::Implicit => self.accept_and_reach(observer).await,
            TlsListen::StartTls | TlsListen::Passthrough => self.reach(observer).await,
        }
    }

    /// Answers the client's handshake while the server is dialled: mail servers speak first.
    async fn accept_and_reach(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let (config, upstream) = (Arc::clone(&self.terminator.server), self.terminator.implicit_upstream());
        let is_told = !self.refusal.is_empty();
        let Self { relay: Relay { client, server, .. }, dialler, client_tls, .. } = self;
        let mut reaching = pin!(reach(server, &mut **dialler, upstream, None));
        let mut reached = None;
        let accepted = {
            let mut accepting = pin!(client.accept(config));
            let accepted = poll_fn(|cx| {
                if reached.is_none()
                    && let Poll::Ready(done) = reaching.as_mut().poll(cx)
                {
                    reached = Some(done);
                }
                // Even without a server the client is owed a handshake, if it is to be told, or to see a proper close.
                match &reached {
                    Some(Err(TlsEnd::Unreachable(_) | TlsEnd::TurnedAway)) if !is_told => Poll::Ready(None),
                    _ => accepting.as_mut().poll(cx).map(Some),
                }
            });
            watched(observer, accepted).await?
        };
        if let Some(accepted) = accepted {
            *client_tls = Some(established(client, TlsMode::Implicit, accepted, observer)?);
        }
        match reached {
            Some(reached) => reached,
            None => attended(observer, client, reaching).await?,
        }
    }

    /// Answers the client's handshake.
    pub(super) async fn accept(&mut self, mode: TlsMode, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let accepted = watched(observer, self.relay.client.accept(Arc::clone(&self.terminator.server))).await?;
        self.client_tls = Some(established(&self.relay.client, mode, accepted, observer)?);
        Ok(())
    }

    /// Dials the server.
    async fn reach(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let upstream = self.terminator.implicit_upstream();
        let Relay { client, server, .. } = &mut self.relay;
        attended(observer, client, reach(server, &mut *self.dialler, upstream, self.client_tls.as_ref())).await?
    }

    /// Whether the connection to the server may not be kept when the client begins TLS: what was said in clear counts for
    /// nothing then (RFC 3207 section 4.2), and a server that is told of the client's TLS was told that there is none.
    /// Under `upstream-tls = "starttls"` the server itself forgets.
    pub(super) fn begins_anew(&mut self) -> bool {
        let forgets = self.terminator.upstream == TlsUpstream::StartTls;
        !forgets && (self.dialler.tells_tls() || self.dialogue().has_changed_server())
    }

    /// Dials the server anew and takes its greeting, which the client has had already.
    pub(super) async fn dial_anew(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let (protocol, upstream) = (self.dialogue().protocol(), self.terminator.implicit_upstream());
        let mut server = SideStream::absent();
        let greeted = async {
            reach(&mut server, &mut *self.dialler, upstream, self.client_tls.as_ref()).await?;
            server_reply::greeting(&mut server).await.map_err(|error| TlsEnd::Unreachable(Refusal::from(&error)))
        };
        let greeting = attended(observer, &mut self.relay.client, greeted).await??;
        if !server_reply::agrees(protocol, b"*", &greeting) {
            return Err(TlsEnd::Unreachable(Refusal::Refused));
        }
        self.relay.change_server(server);
        self.dialogue().begin_anew();
        Ok(())
    }

    /// TLS towards the server.
    pub(super) async fn connect(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let Some(upstream) = &self.terminator.client else { return Ok(()) };
        let Relay { client, server, .. } = &mut self.relay;
        attended(observer, client, shake_hands(server, upstream)).await?.map_err(TlsEnd::Server)
    }

    /// Says `line` to the server; its reply.
    pub(super) async fn request(
        &mut self,
        protocol: Protocol,
        line: &[u8],
        observer: &mut dyn Observer,
    ) -> Result<ServerReply, TlsEnd> {
        let Relay { client, server, .. } = &mut self.relay;
        let reply = attended(observer, client, server_reply::request(server, protocol, line)).await?;
        reply.map_err(TlsEnd::Server)
    }

    /// What the relay changes of the conversation.
    pub(super) fn dialogue(&mut self) -> &mut Dialogue {
        self.relay.dialogue.get_or_insert_with(|| Dialogue::new(Offer::Hide, Protocol::Unknown))
    }

    /// Says `octets` to the client.
    pub(super) async fn say(&mut self, octets: &[u8], observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let client = &mut self.relay.client;
        let said = watched(observer, async {
            client.write_all(octets).await?;
            client.flush().await
        });
        said.await?.map_err(|_| TlsEnd::Reset(Dir::ToServer))?;
        observer.data(Dir::ToClient, octets);
        Ok(())
    }

    /// Closes both sides the way the session ended.
    pub(super) async fn end(mut self, ending: &TlsEnd) {
        // In clear it would be taken for a fault of TLS.
        let in_clear = self.terminator.listen == TlsListen::Implicit && !self.relay.client.is_tls();
        let said = |line| if in_clear { &b""[..] } else { line };
        let Relay { client, server, .. } = &mut self.relay;
        match ending {
            TlsEnd::Closed | TlsEnd::Client(_) => {}
            TlsEnd::Reset(Dir::ToServer) => server.abort(),
            TlsEnd::Reset(Dir::ToClient) => client.abort(),
            TlsEnd::Stopped(stop) if stop.abort => {
                client.abort();
                server.abort();
            }
            TlsEnd::Stopped(stop) => at_once(client, said(stop.goodbye)).await,
            TlsEnd::Unreachable(_) | TlsEnd::TurnedAway if self.refusal.is_empty() => client.abort(),
            TlsEnd::Server(_) | TlsEnd::Unreachable(_) | TlsEnd::TurnedAway => {
                at_once(client, said(self.refusal)).await
            }
        }
    }
}

/// The client's handshake is over: what came of it.
fn established(
    client: &SideStream,
    mode: TlsMode,
    accepted: io::Result<()>,
    observer: &mut dyn Observer,
) -> Result<ClientTls, TlsEnd> {
    if let Err(error) = accepted {
        observer.tls_established(&client_tls::failed(mode, failure(&error)));
        return Err(TlsEnd::Client(error));
    }
    let tls = client.answered_tls().map(ClientTls::of).unwrap_or_default();
    observer.tls_established(&tls.established(mode));
    Ok(tls)
}

/// Dials, and shakes hands where TLS with the server begins with the first byte.
async fn reach(
    server: &mut SideStream,
    dialler: &mut dyn Dialler,
    upstream: Option<&Upstream>,
    tls: Option<&ClientTls>,
) -> Result<(), TlsEnd> {
    let tcp = dialler.dial(tls).await.map_err(|why| why.map_or(TlsEnd::TurnedAway, TlsEnd::Unreachable))?;
    *server = SideStream::new(tcp, Vec::new());
    match upstream {
        Some(upstream) => shake_hands(server, upstream).await.map_err(TlsEnd::Server),
        None => Ok(()),
    }
}

/// TLS with the server.
async fn shake_hands(server: &mut SideStream, upstream: &Upstream) -> io::Result<()> {
    let address = server.peer().ok_or(io::ErrorKind::NotConnected)?;
    server.connect(Arc::clone(&upstream.config), upstream.name(address)).await
}

/// Says `octets` and closes, as far as the socket takes it without waiting.
async fn at_once(client: &mut SideStream, octets: &[u8]) {
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
