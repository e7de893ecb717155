//! All that a listener needs to answer TLS.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::certificates::{Certificate, Certificates};
use super::error::{TlsError, TlsErrorKind};
use super::stream::refuse_under_tls;
use super::upstream::Upstream;
use crate::proxy::settings::{Target, TlsListen, TlsSettings, TlsUpstream};

/// A listener's TLS, ready. A reload makes a new one; sessions keep theirs.
#[derive(Debug)]
pub struct Terminator {
    pub(super) listen: TlsListen,
    pub(super) upstream: TlsUpstream,
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Option<Upstream>,
    certificates: Arc<Certificates>,
}

impl Terminator {
    /// Reads what `tls` names; `None` if TLS is passed through. The server's name is `target`'s, if none is given.
    pub fn new(tls: &TlsSettings, target: &Target) -> Result<Option<Self>, TlsError> {
        if tls.listen == TlsListen::Passthrough {
            return Ok(None);
        }
        let certificates = Arc::new(Certificates::read(&tls.certificates)?);
        if certificates.known().is_empty() {
            return Err(TlsError::new("--tls-cert", TlsErrorKind::NoCertificate));
        }
        let host = match target {
            Target::Host { host, .. } => Some(host.as_str()),
            Target::Original(_) => None,
        };
        let client = match tls.upstream {
            TlsUpstream::None => None,
            TlsUpstream::StartTls | TlsUpstream::Implicit => Some(Upstream::new(tls, host)?),
        };
        let clients = tls.clients.as_ref().map(|(path, wanted)| (path.as_path(), *wanted));
        let server = certificates.config(&tls.bounds, clients)?;
        Ok(Some(Self { listen: tls.listen, upstream: tls.upstream, server, client, certificates }))
    }

    /// TLS with the server, where it begins with the first byte.
    pub(super) fn implicit_upstream(&self) -> Option<&Upstream> {
        self.client.as_ref().filter(|_| self.upstream == TlsUpstream::Implicit)
    }

    /// Whether clients begin TLS with their first byte.
    pub fn is_implicit(&self) -> bool {
        self.listen == TlsListen::Implicit
    }

    /// Turns a client away that begins TLS with its first byte; `early`: what was read of it already.
    pub async fn refuse(&self, client: &mut TcpStream, early: Vec<u8>, line: &[u8]) {
        refuse_under_tls(Arc::clone(&self.server), client, early, line).await;
    }

    /// The certificates, for what is told of them.
    pub fn certificates(&self) -> &[Certificate] {
        self.certificates.known()
    }
}
