//! TLS towards the server: whom to trust, and which name the server's certificate must have.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::certificates::{certificates, provider};
use super::error::{TlsError, TlsErrorKind};

/// How to prove that the server is the right one.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Upstream {
    /// Trusts the authorities in the PEM file `authorities`, or those of the system; `name`: a DNS name or an address that
    /// the certificate must have, else the address that was dialled.
    pub fn new(authorities: Option<&Path>, name: Option<&str>) -> Result<Self, TlsError> {
        let roots = match authorities {
            Some(path) => of_file(path)?,
            None => of_system()?,
        };
        let name = name
            .map(|name| ServerName::try_from(name.to_owned()).map_err(|_| TlsError::new(name, TlsErrorKind::BadName)));
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::new("", TlsErrorKind::Refused(error)))?;
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { config, name: name.transpose()? })
    }

    /// The name that the certificate of a server at `address` must have.
    pub(super) fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| TlsError::new(path, TlsErrorKind::BadCertificate))?;
    }
    if roots.is_empty() {
        return Err(TlsError::new(path, TlsErrorKind::NoCertificate));
    }
    Ok(roots)
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
