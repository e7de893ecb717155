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
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::bounds::{self, provider};
use super::error::{TlsError, TlsErrorKind};
use crate::proxy::settings::{ClientCertificate, TlsBounds};
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

impl Certificate {
    /// Whether its time is over at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after < now
    }
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

    /// The configuration of a server that has them, agrees on what is within `bounds`, and asks for certificates that
    /// `clients` vouch for.
    pub(super) fn config(
        self: &Arc<Self>,
        bounds: &TlsBounds,
        clients: Option<(&Path, ClientCertificate)>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let (provider, versions) = bounds::within(bounds, "--tls-ciphers")?;
        let refused = |error| TlsError::new("--tls-ciphers", TlsErrorKind::Refused(error));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions);
        let builder = builder.map_err(refused)?;
        let builder = match clients {
            Some((path, wanted)) => builder.with_client_cert_verifier(client_verifier(provider, path, wanted)?),
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(builder.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>)))
    }

    fn add(&mut self, chain: &Path, key: &Path) -> Result<(), TlsError> {
        let certificates = certificates(chain)?;
        let first = certificates.first().ok_or_else(|| TlsError::new(chain, TlsErrorKind::NoCertificate))?;
        let known = describe(chain, first)?;
        let certified = certified(certificates, chain, key)?;
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

/// Verifies certificates of clients against the authorities in the PEM file `path`.
fn client_verifier(
    provider: Arc<CryptoProvider>,
    path: &Path,
    wanted: ClientCertificate,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider);
    let verifier = match wanted {
        ClientCertificate::Optional => verifier.allow_unauthenticated(),
        ClientCertificate::Required => verifier,
    };
    verifier.build().map_err(|_| TlsError::new(path, TlsErrorKind::BadCertificate))
}

/// The authorities in the PEM file `path`.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| TlsError::new(path, TlsErrorKind::BadCertificate))?;
    }
    if roots.is_empty() {
        return Err(TlsError::new(path, TlsErrorKind::NoCertificate));
    }
    Ok(roots)
}

/// The chain `certificates` of the file `chain` with the key in the file `key`, ready to sign.
pub(super) fn certified(
    certificates: Vec<CertificateDer<'static>>,
    chain: &Path,
    key: &Path,
) -> Result<CertifiedKey, TlsError> {
    if certificates.is_empty() {
        return Err(TlsError::new(chain, TlsErrorKind::NoCertificate));
    }
    let private = private_key(key)?;
    CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => TlsError::new(key, TlsErrorKind::KeyDoesNotFit(chain.to_owned())),
        Error::InvalidCertificate(_) => TlsError::new(chain, TlsErrorKind::BadCertificate),
        _ => TlsError::new(key, TlsErrorKind::BadKey),
    })
}

/// The common name of a certificate's subject.
pub(super) fn common_name(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    names.find_map(|name| name.as_str().ok()).map(str::to_owned)
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
    if certificate.version() != X509Version::V3 {
        return Err(TlsError::new(path, TlsErrorKind::OldCertificate));
    }
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
