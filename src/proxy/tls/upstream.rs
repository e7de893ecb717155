//! TLS towards the server: whom to trust, what to show, and which name the server's certificate must have.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::bounds;
use super::certificates::{authorities, certificates, certified};
use super::error::{TlsError, TlsErrorKind};
use super::pinned::PinnedVerifier;
use crate::proxy::settings::TlsSettings;

/// How to prove that the server is the right one.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Upstream {
    /// Trusts the authorities that `tls` names, or those of the system; `host`: the name or address that the certificate must
    /// have if `tls` names none, else the address that was dialled.
    pub fn new(tls: &TlsSettings, host: Option<&str>) -> Result<Self, TlsError> {
        let (provider, versions) = bounds::within(&tls.upstream_bounds, "--upstream-tls-ciphers")?;
        let (roots, named) = match &tls.authorities {
            Some(path) => (authorities(path)?, certificates(path)?),
            None => (of_system()?, Vec::new()),
        };
        let name = tls.name.as_deref().or(host);
        let name = name
            .map(|name| ServerName::try_from(name.to_owned()).map_err(|_| TlsError::new(name, TlsErrorKind::BadName)));
        let refused = |error| TlsError::new("--upstream-tls-ciphers", TlsErrorKind::Refused(error));
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chains = chains.build().map_err(|_| TlsError::new("--upstream-ca", TlsErrorKind::BadCertificate))?;
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).map_err(refused)?;
        // It does verify: what it takes beside chains is what the operator's own file holds.
        let verifier = Arc::new(PinnedVerifier { chains, named });
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match &tls.identity {
            Some((chain, key)) => {
                let own = certified(certificates(chain)?, chain, key)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), name: name.transpose()? })
    }

    /// The name that the certificate of a server at `address` must have.
    pub(super) fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

/// Authorities that cannot be used are left out, as every TLS client does: some systems carry such.
fn of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(TlsError::new("/etc/ssl", TlsErrorKind::NoAuthorities(reason)));
    }
    Ok(roots)
}
