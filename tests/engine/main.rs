//! The engine, the wire and the records, called as a library: dialogues, laws that hold for any input, and what they allocate.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::or_fun_call,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may be blunt; clippy knows only those inside #[test]"
)]

mod allocations;
#[path = "../common/captures.rs"]
mod captures;
mod credentials;
mod dialogue;
mod dialogues;
mod hostile;
mod identity;
mod laws;
#[path = "../common/leaks.rs"]
mod leaks;
mod memory;
mod message_allocations;
mod oracles;
mod promises;
#[path = "../common/schema.rs"]
mod schema;
mod session;
