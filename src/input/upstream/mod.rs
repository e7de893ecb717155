//! What a proxy needs of the network around it: listening sockets, the address a client meant, connections to servers,
//! PROXY headers, and how many are let in.
//!
//! Everything that depends on Linux sits here. Nothing here reads or writes an octet of a conversation.

mod admission;
mod destination;
mod dial;
mod ends;
mod header;
mod listen;

pub use admission::{Admission, Ticket};
pub use destination::{NoWay, destination};
pub use dial::dial;
pub use ends::{End, Ends, Role};
pub use header::{Header, LONGEST_HEADER, header, health_header, parse};
pub use listen::{ListenError, listen, prepare, tune};
