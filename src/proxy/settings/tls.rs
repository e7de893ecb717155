//! Settings of TLS that is answered here.

use std::path::PathBuf;

use crate::event::words;

/// TLS that is answered here (RFC 8314, RFC 3207, RFC 2595).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// From the first octet, or on STARTTLS and STLS.
    pub listen: TlsListen,
    /// Certificate chains and their keys; the first is for clients that name none.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Towards the server.
    pub upstream: TlsUpstream,
    /// Authorities; those of the system if there is none.
    pub authorities: Option<PathBuf>,
    /// The name that the server's certificate must have; `None`: the target's host.
    pub name: Option<String>,
    /// What is agreed on with clients.
    pub bounds: TlsBounds,
    /// What is agreed on with the server.
    pub upstream_bounds: TlsBounds,
    /// Authorities of client certificates, and what a client without one gets; `None`: no certificate is asked for.
    pub clients: Option<(PathBuf, ClientCertificate)>,
    /// Certificate chain and key that the server is shown if it asks.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Which versions and cipher suites are agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsBounds {
    /// The oldest version.
    pub min: TlsVersion,
    /// Cipher suites, the best first; empty: all there are.
    pub ciphers: Vec<Cipher>,
}

words! {
    /// Who answers TLS.
    TlsListen {
        /// The server; mailtap sees that it is there.
        Passthrough = "passthrough",
        /// mailtap, from the first octet.
        Implicit = "implicit",
        /// mailtap, on STARTTLS or STLS.
        StartTls = "starttls",
    }
}

words! {
    /// How mailtap talks to a server for whose clients it answers TLS.
    TlsUpstream {
        /// In clear.
        None = "none",
        /// STARTTLS or STLS.
        StartTls = "starttls",
        /// TLS from the first octet.
        Implicit = "implicit",
    }
}

words! {
    /// Versions of TLS. Older ones are forbidden (RFC 8996).
    #[derive(Default)]
    TlsVersion {
        /// RFC 5246.
        #[default]
        Tls12 = "1.2",
        /// RFC 8446.
        Tls13 = "1.3",
    }
}

words! {
    /// Cipher suites, as rustls names them.
    Cipher {
        /// RFC 8446.
        Aes256 = "TLS13_AES_256_GCM_SHA384",
        /// RFC 8446.
        Aes128 = "TLS13_AES_128_GCM_SHA256",
        /// RFC 8446.
        ChaCha20 = "TLS13_CHACHA20_POLY1305_SHA256",
        /// RFC 5289.
        EcdsaAes256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        /// RFC 5289.
        EcdsaAes128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        /// RFC 7905.
        EcdsaChaCha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        /// RFC 5289.
        RsaAes256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        /// RFC 5289.
        RsaAes128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        /// RFC 7905.
        RsaChaCha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }
}

words! {
    /// What becomes of a client without a certificate that an authority vouches for.
    #[derive(Default)]
    ClientCertificate {
        /// Without any it is let in; one that is wrong ends the handshake.
        Optional = "optional",
        /// The handshake fails.
        #[default]
        Required = "required",
    }
}
