//! Certificate chain and key of the server, from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::ServeError;

/// Reads both.
pub(super) fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, ServeError> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(chain, error, "certificate"))?;
    if certificates.is_empty() {
        return Err(ServeError::Certificate { path: chain.into(), reason: "holds no certificate".into() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error, "private key"))?;
    let unusable = |error: rustls::Error| ServeError::Certificate {
        path: key.into(),
        reason: format!("does not go with the certificate, or cannot be used: {error}"),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn failed(path: &Path, error: Error, what: &str) -> ServeError {
    match error {
        Error::Io(source) => ServeError::Read { path: path.into(), source },
        Error::NoItemsFound => ServeError::Certificate { path: path.into(), reason: format!("holds no {what}") },
        _ => ServeError::Certificate { path: path.into(), reason: "is no PEM".into() },
    }
}
