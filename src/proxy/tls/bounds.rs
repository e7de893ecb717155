//! Versions and cipher suites: of all that the cryptography has, those that the operator allows.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

use super::error::{TlsError, TlsErrorKind};
use crate::proxy::settings::{TlsBounds, TlsVersion};

/// The cryptography, given wherever it is used: the process has no default.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The cryptography and the versions within `bounds`; `about`: the flag to look at where nothing is left.
pub(super) fn within(
    bounds: &TlsBounds,
    about: &'static str,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    if !bounds.ciphers.is_empty() {
        let has = |name: &str| provider.cipher_suites.iter().find(|suite| suite.suite().as_str() == Some(name));
        provider.cipher_suites = bounds.ciphers.iter().filter_map(|cipher| has(cipher.as_str())).copied().collect();
    }
    let versions = match bounds.min {
        TlsVersion::Tls12 => vec![&TLS13, &TLS12],
        TlsVersion::Tls13 => vec![&TLS13],
    };
    let is_usable = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
    if !provider.cipher_suites.iter().any(is_usable) {
        return Err(TlsError::new(about, TlsErrorKind::NoCipher));
    }
    Ok((Arc::new(provider), versions))
}

/// The version's name in records.
pub(super) fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The name that IANA has for `suite`; the library marks those of TLS 1.3.
pub(super) fn cipher(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::Cipher;

    #[test]
    fn the_list_of_ciphers_is_that_of_the_library() {
        let theirs = provider().cipher_suites.iter().map(|suite| suite.suite().as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(theirs, Cipher::ALL.iter().map(|cipher| cipher.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn bounds_leave_what_is_named() {
        let bounds = |min, ciphers: &[Cipher]| TlsBounds { min, ciphers: ciphers.to_vec() };
        let (provider, versions) = within(&TlsBounds::default(), "").unwrap();
        assert_eq!((provider.cipher_suites.len(), versions.len()), (9, 2));
        let both = [Cipher::RsaAes128, Cipher::Aes128];
        let (provider, versions) = within(&bounds(TlsVersion::Tls13, &both), "").unwrap();
        assert_eq!((provider.cipher_suites.len(), versions.len()), (2, 1));
        let error = within(&bounds(TlsVersion::Tls13, &both[..1]), "--tls-ciphers").unwrap_err();
        assert!(error.to_string().starts_with("--tls-ciphers: "), "{error}");
    }
}
