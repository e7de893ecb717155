//! A session whose TLS is terminated here: both sides, and the handshakes on each.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ProtocolVersion};
use tokio::io::AsyncWriteExt as _;

use super::observer::{Observer, TlsEnd, watched};
use super::relay::Relay;
use super::starttls::{Dialogue, Offer};
use super::stream::SideStream;
use super::terminator::Terminator;
use crate::event::{Dir, EstablishedTls, Handshake, Protocol, Text, TlsMode};

/// One session.
pub(super) struct TerminatedSession<'a> {
    pub(super) relay: Relay,
    pub(super) terminator: &'a Terminator,
    /// What a client is told whose server cannot be had; empty: nothing.
    pub(super) refusal: &'static [u8],
}

impl TerminatedSession<'_> {
    /// Both handshakes at once.
    pub(super) async fn both(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let Some((config, name)) = self.upstream() else { return Ok(()) };
        let done = {
            let Relay { client, server, .. } = &mut self.relay;
            let mut accepted = pin!(client.accept(Arc::clone(&self.terminator.server)));
            let mut connected = pin!(server.connect(config, name));
            let handshakes = async {
                tokio::select! {
                    done = &mut accepted => {
                        done.map_err(TlsEnd::Client)?;
                        connected.await.map_err(TlsEnd::Server)
                    }
                    done = &mut connected => {
                        // Even without a server, the client is owed a close that it can tell from an attack.
                        accepted.await.map_err(TlsEnd::Client)?;
                        done.map_err(TlsEnd::Server)
                    }
                }
            };
            watched(observer, handshakes).await?
        };
        self.tell(TlsMode::Implicit, observer);
        done
    }

    /// Answers the client's handshake.
    pub(super) async fn accept(&mut self, mode: TlsMode, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let accepted = watched(observer, self.relay.client.accept(Arc::clone(&self.terminator.server))).await?;
        self.tell(mode, observer);
        accepted.map_err(TlsEnd::Client)
    }

    /// TLS towards the server.
    pub(super) async fn connect(&mut self, observer: &mut dyn Observer) -> Result<(), TlsEnd> {
        let Some((config, name)) = self.upstream() else { return Ok(()) };
        let connected = watched(observer, self.relay.server.connect(config, name)).await?;
        connected.map_err(TlsEnd::Server)
    }

    fn upstream(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let upstream = self.terminator.client.as_ref()?;
        let peer = self.relay.server.peer()?;
        Some((Arc::clone(&upstream.config), upstream.name(peer)))
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

    /// Tells the observer how the client's handshake went.
    fn tell(&self, mode: TlsMode, observer: &mut dyn Observer) {
        let mut how = EstablishedTls {
            mode,
            handshake: Handshake::Failed,
            version: None,
            cipher: None,
            sni: Text::default(),
            failure: None,
        };
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
    pub(super) async fn end(mut self, ending: &TlsEnd) {
        let Relay { client, server, .. } = &mut self.relay;
        match ending {
            TlsEnd::Closed | TlsEnd::Client(_) => {}
            TlsEnd::Reset(Dir::ToServer) => server.abort(),
            TlsEnd::Reset(Dir::ToClient) => client.abort(),
            TlsEnd::Stopped(stop) if stop.abort => {
                client.abort();
                server.abort();
            }
            TlsEnd::Stopped(stop) => at_once(client, stop.goodbye).await,
            TlsEnd::Server(_) => at_once(client, self.refusal).await,
        }
    }
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
