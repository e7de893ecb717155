//! TLS that is answered here: the operator's certificates towards clients, verified connections towards servers, and
//! the dialogue between them, passed on as it is but for what it says of STARTTLS.
//!
//! Clear text exists between the two sides of one session and nowhere else. What came in clear before TLS is not taken
//! for something said under it (RFC 3207 section 4.2). Keys never show themselves.

mod bounds;
mod certificates;
mod client_tls;
mod dialler;
mod error;
mod failure;
mod observer;
mod pinned;
mod relay;
mod server_reply;
mod session;
mod starttls;
mod stream;
mod terminate;
mod terminator;
#[cfg(test)]
mod tests;
mod upstream;
mod upstream_starttls;

pub use certificates::{Certificate, Certificates};
pub use client_tls::ClientTls;
pub use dialler::{Dialler, Dialling};
pub use error::{TlsError, TlsErrorKind};
pub use failure::failure;
pub use observer::{Observer, SessionStop, TlsEnd};
pub use terminate::{TerminatedClient, terminate};
pub use terminator::Terminator;
pub use upstream::Upstream;
