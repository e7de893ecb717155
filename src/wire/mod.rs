//! Packets to bytes in order: captured frames become TCP segments, segments become the two streams of a connection.
//!
//! No I/O, no clock, no thread, no logging: time comes with the packets. Nothing here trusts a length field,
//! and every table is bounded in number, in bytes and in capture time.

pub mod fragment;
pub mod key;
pub mod packet;
pub mod stream;

pub use fragment::FragmentLimits;
pub use key::connection_id;
pub use packet::{Counters, Decoder, DecoderLimits, LinkType, Packet, Segment};
pub use stream::{Stream, StreamCounters, StreamLimits};
