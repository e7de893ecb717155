//! The operator's certificates: read from PEM files, chosen by the name that the client asks for.
//!
//! A set is read as a whole and never changes: a reload reads another one, and sessions keep the one they began with.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::{TlsError, TlsErrorKind};
use crate::time::Timestamp;

/// A certificate as the operator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file of its chain.
    pub path: PathBuf,
    /// Its DNS names, in lower case; `*.` begins those that stand for all names below.
    pub names: Vec<String>,
    /// When it ends (RFC 5280 section 4.1.2.5).
    pub not_after: Timestamp,
}

/// Certificates and their keys. Never shows a key.
pub struct Certificates {
    known: Vec<Certificate>,
    keys: Vec<Arc<CertifiedKey>>,
    /// Who may answer to a name, in the order given.
    names: HashMap<String, Vec<usize>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.known).finish()
    }
}

impl Certificates {
    /// Reads `files`, each a chain and its key. The first is for clients that ask for no name, or for one that nobody has.
    pub fn read(files: &[(PathBuf, PathBuf)]) -> Result<Self, TlsError> {
        let mut read = Self { known: Vec::new(), keys: Vec::new(), names: HashMap::new() };
        for (chain, key) in files {
            read.add(chain, key)?;
        }
        Ok(read)
    }

    /// What there is, in the order given.
    pub fn known(&self) -> &[Certificate] {
        &self.known
    }

    /// The configuration of a server that has them: TLS 1.2 and 1.3.
    pub(super) fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>)))
    }

    fn add(&mut self, chain: &Path, key: &Path) -> Result<(), TlsError> {
        let certificates = certificates(chain)?;
        let first = certificates.first().ok_or_else(|| TlsError::new(chain, TlsErrorKind::NoCertificate))?;
        let known = describe(chain, first)?;
        let private = private_key(key)?;
        let certified = CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsError::new(key, TlsErrorKind::KeyDoesNotFit(chain.to_owned())),
            _ => TlsError::new(key, TlsErrorKind::BadKey),
        })?;
        for name in &known.names {
            self.names.entry(name.clone()).or_default().push(self.keys.len());
        }
        self.known.push(known);
        self.keys.push(Arc::new(certified));
        Ok(())
    }

    /// Those for `name`, the exact ones before wildcards (RFC 6125 section 6.4.3), then all others: the best first.
    pub(super) fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let above = name.as_deref().and_then(|name| name.split_once('.')).map(|(_, rest)| format!("*.{rest}"));
        let named = [name, above].into_iter().flatten();
        let indices = named.filter_map(|name| self.names.get(&name)).flatten().copied();
        indices.chain(0..self.keys.len()).filter_map(|index| self.keys.get(index))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.candidates(hello.server_name()).find(usable).or_else(|| self.keys.first()).cloned()
    }
}

/// The cryptography, given wherever it is used: the process has no default.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// All certificates in `path`, in order.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = std::fs::read(path).map_err(|reason| TlsError::new(path, TlsErrorKind::Unread(reason)))?;
    let is_pem = memchr::memmem::find(&text, b"-----BEGIN ").is_some();
    if !is_pem {
        return Err(TlsError::new(path, TlsErrorKind::NotPem));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.map_err(|_| TlsError::new(path, TlsErrorKind::NotPem))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let wrong = match error {
            pem::Error::Io(reason) => TlsErrorKind::Unread(reason),
            pem::Error::NoItemsFound => TlsErrorKind::NoKey,
            _ => TlsErrorKind::NotPem,
        };
        TlsError::new(path, wrong)
    })
}

/// What is in a certificate's DNS names; the subject's common name counts only without them (RFC 6125 section 6.4.4).
fn describe(path: &Path, der: &CertificateDer<'_>) -> Result<Certificate, TlsError> {
    let bad = |_| TlsError::new(path, TlsErrorKind::BadCertificate);
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| bad(io::Error::other(e)))?;
    let alternative = certificate.subject_alternative_name().map_err(|e| bad(io::Error::other(e)))?;
    let mut names: Vec<String> = Vec::new();
    if let Some(alternative) = alternative {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        }));
    } else {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    let not_after = Timestamp::default().after(std::time::Duration::from_secs(seconds));
    Ok(Certificate { path: path.to_owned(), names, not_after })
}
