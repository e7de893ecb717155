//! What a session knows about its encryption.

use std::time::Duration;

use super::text::Text;
use super::words::words;

words! {
    /// How, or whether, a session or transaction was encrypted.
    TlsMode {
        /// In clear.
        None = "none",
        /// After STARTTLS or STLS.
        StartTls = "starttls",
        /// From the first octet.
        Implicit = "implicit",
    }
}

words! {
    /// How the TLS handshake went, as far as its cleartext part shows.
    Handshake {
        /// Both sides went on to application data.
        Ok = "ok",
        /// An alert, a close, or plain text instead.
        Failed = "failed",
        /// Nothing of it was captured.
        Unseen = "unseen",
    }
}

words! {
    /// Why TLS that was answered, or begun, here came to nothing.
    TlsFailure {
        /// Nobody that is trusted vouches for the certificate.
        UnknownCa = "unknown_ca",
        /// The certificate's time is over.
        Expired = "expired",
        /// The certificate's time has not begun.
        NotYetValid = "not_yet_valid",
        /// The certificate is not one of that name.
        NameMismatch = "name_mismatch",
        /// The certificate is wrong, or was refused, in another way.
        BadCertificate = "bad_certificate",
        /// A certificate was wanted of the client, and there was none.
        CertificateRequired = "certificate_required",
        /// No version that both sides take.
        ProtocolVersion = "protocol_version",
        /// No cipher suite, group or signature that both sides take.
        NoCommonCipher = "no_common_cipher",
        /// What came was no TLS.
        NotTls = "not_tls",
        /// The other side closed or reset in the middle.
        Closed = "closed",
        /// The other side did not go on.
        Timeout = "timeout",
        /// The server does not agree to STARTTLS.
        Refused = "refused",
        /// Anything else.
        Other = "other",
    }
}

/// What was seen of TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// How it began; `None` until it did.
    pub mode: Option<TlsMode>,
    /// Any capability list before it offered it; `None` if there was no list.
    pub offered: Option<bool>,
    /// The client asked for it.
    pub requested: Option<bool>,
    /// The server agreed.
    pub accepted: Option<bool>,
    /// The handshake.
    pub handshake: Option<Handshake>,
    /// From the client's hello to application data of both sides, where they were seen on the wire.
    pub took: Option<Duration>,
    /// Version, such as `TLSv1.3`.
    pub version: Option<&'static str>,
    /// Cipher suite, as IANA has it.
    pub cipher: Option<&'static str>,
    /// Server name that the client asked for (RFC 6066 section 3).
    pub sni: Text,
    /// What was inside was read.
    pub decrypted: bool,
    /// Why TLS with the client, which the proxy answers, came to nothing.
    pub failure: Option<TlsFailure>,
    /// Why the proxy's TLS with the server came to nothing.
    pub upstream_failure: Option<TlsFailure>,
}

/// TLS that was answered by whoever feeds the session.
#[derive(Clone, Debug)]
pub struct EstablishedTls {
    /// How it began.
    pub mode: TlsMode,
    /// How the handshake went; if it failed, nothing can be read from here on.
    pub handshake: Handshake,
    /// Version, such as `TLSv1.3`.
    pub version: Option<&'static str>,
    /// Cipher suite, as IANA has it.
    pub cipher: Option<&'static str>,
    /// Server name that the client asked for.
    pub sni: Text,
    /// Why it failed.
    pub failure: Option<TlsFailure>,
}
