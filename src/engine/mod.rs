//! Mail protocols as state machines: octets in, events out. No I/O, no clock, no thread, no logging.
//!
//! A [`Session`] is one connection. Octets of a direction pass through a layer (DEFLATE, if agreed on), are cut into
//! frames, and the frames mean something to the machine of the protocol that was found spoken. Where the meaning of the
//! client's next octets depends on the server's answer, they are held back, bounded, until the answer is in.
//! The engine has no errors: hostile octets cost at most one command, lost octets are a gap.

mod detect;
pub mod frame;
mod imap;
mod inflate;
mod json;
mod limits;
mod pending;
mod pop3;
mod protocol;
pub mod proxy_header;
mod sasl;
mod secret;
mod session;
mod smtp;
mod software;

pub use limits::Limits;
pub use session::Session;
