//! The client's TLS, for records and for the server that is told of it.

use rustls::ServerConnection;

use super::bounds::{cipher, version};
use super::certificates::common_name;
use crate::event::{EstablishedTls, Handshake, Text, TlsFailure, TlsMode};

/// What was agreed on with a client, and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Version, such as `TLSv1.3`.
    pub version: Option<&'static str>,
    /// Cipher suite, as IANA has it.
    pub cipher: Option<&'static str>,
    /// The server name that it asked for.
    pub sni: Option<String>,
    /// It has shown a certificate that an authority vouches for.
    pub certified: bool,
    /// The common name in that certificate.
    pub common_name: Option<String>,
}

impl ClientTls {
    /// Read from a connection whose handshake is over.
    pub(super) fn of(tls: &ServerConnection) -> Self {
        let certificate = tls.peer_certificates().and_then(<[_]>::first);
        Self {
            version: tls.protocol_version().and_then(version),
            cipher: tls.negotiated_cipher_suite().and_then(|suite| cipher(suite.suite())),
            sni: tls.server_name().map(str::to_owned),
            certified: certificate.is_some(),
            common_name: certificate.and_then(common_name),
        }
    }

    /// What the observer is told of it.
    pub(super) fn established(&self, mode: TlsMode) -> EstablishedTls {
        let mut sni = Text::default();
        sni.set(self.sni.as_deref().unwrap_or_default().as_bytes());
        let (version, cipher) = (self.version, self.cipher);
        EstablishedTls { mode, handshake: Handshake::Ok, version, cipher, sni, failure: None }
    }
}

/// What the observer is told of a handshake that failed.
pub(super) fn failed(mode: TlsMode, failure: TlsFailure) -> EstablishedTls {
    let sni = Text::default();
    EstablishedTls { mode, handshake: Handshake::Failed, version: None, cipher: None, sni, failure: Some(failure) }
}
