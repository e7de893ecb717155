//! Where octets come from: the only I/O that reads.
//!
//! [`capture`] turns files into packets, [`shard`] spreads the flows in them over threads. Nothing here understands
//! mail but for what [`tls`] has to know of STARTTLS, and nothing here knows what becomes of events.

pub mod capture;
pub mod proxy;
pub mod shard;
pub mod tls;
pub mod upstream;
