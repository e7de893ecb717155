//! What may be wrong with certificates, keys and names: each text names the file and says what to do.

use crate::console::plain;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// TLS cannot be set up.
#[derive(Debug)]
pub struct TlsError {
    /// The file it is about, or the name of a server.
    pub about: PathBuf,
    /// What is wrong with it.
    pub wrong: TlsErrorKind,
}

/// What is wrong with a file, or a name.
#[derive(Debug)]
pub enum TlsErrorKind {
    /// It cannot be read.
    Unread(io::Error),
    /// It is damaged PEM.
    NotPem,
    /// It holds no certificate.
    NoCertificate,
    /// It holds no private key, or an encrypted one.
    NoKey,
    /// A certificate in it cannot be understood.
    BadCertificate,
    /// It is of a version that has no extensions, so no names (RFC 5280 section 4.1.2.1).
    OldCertificate,
    /// No cipher suite is left that one of the versions has.
    NoCipher,
    /// The key is of a kind that cannot sign TLS handshakes here.
    BadKey,
    /// The key does not belong to the certificate in that file.
    KeyDoesNotFit(PathBuf),
    /// The system has no authorities, or they cannot be read.
    NoAuthorities(String),
    /// It can be no name in a certificate.
    BadName,
    /// The library refuses the set-up.
    Refused(rustls::Error),
}

impl TlsError {
    pub(super) fn new(about: impl Into<PathBuf>, wrong: TlsErrorKind) -> Self {
        Self { about: about.into(), wrong }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.about.display())?;
        match &self.wrong {
            TlsErrorKind::Unread(reason) => {
                write!(f, "cannot be read: {}; check the path and its permissions", plain(reason))
            }
            TlsErrorKind::NotPem => f.write_str("is damaged, or no PEM; convert it with openssl"),
            TlsErrorKind::NoCertificate => f.write_str(
                "holds no certificate; it must begin with the server's own, then those between it and the root",
            ),
            TlsErrorKind::NoKey => {
                f.write_str("holds no private key that can be read; it must be PEM without a passphrase")
            }
            TlsErrorKind::BadCertificate => f.write_str("holds a certificate that cannot be understood; make it anew"),
            TlsErrorKind::OldCertificate => f.write_str(
                "holds an X.509 certificate of version 1 or 2; make it anew in version 3, with subjectAltName",
            ),
            TlsErrorKind::NoCipher => {
                f.write_str("none of these cipher suites can be used with the versions allowed; name others")
            }
            TlsErrorKind::BadKey => f.write_str(
                "holds a key that cannot be used; use RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519",
            ),
            TlsErrorKind::KeyDoesNotFit(chain) => {
                write!(
                    f,
                    "is not the key of the certificate in {}; give keys in the order of their certificates",
                    chain.display()
                )
            }
            TlsErrorKind::NoAuthorities(reason) => {
                write!(
                    f,
                    "the system's authorities cannot be had: {reason}; install ca-certificates, or give --upstream-ca"
                )
            }
            TlsErrorKind::BadName => f.write_str("can be no name in a certificate; give --upstream-name"),
            TlsErrorKind::Refused(reason) => write!(f, "TLS cannot be set up: {reason}; check the certificate"),
        }
    }
}

impl std::error::Error for TlsError {}
