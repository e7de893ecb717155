//! TLS as seen from outside, without keys.

pub mod handshake;
