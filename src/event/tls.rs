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

/// What was seen of TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// How it began; `None` until it did.
    pub mode: Option<TlsMode>,
    /// The last capability list before it offered it; `None` if there was no list.
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
}
