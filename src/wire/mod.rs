//! Packets to bytes in order: captured frames become TCP segments, segments become the two streams of a connection.
//!
//! No I/O, no clock, no thread, no logging: time comes with the packets. Nothing here trusts a length field,
//! and every table is bounded in number, in bytes and in capture time.

mod clock;
pub mod fragment;
pub mod key;
pub mod packet;
mod side;
pub mod stream;

pub use clock::PacketClock;
pub use fragment::FragmentLimits;
pub use key::connection_id;
pub use packet::{
    DecodeCounters, Decoder, DecoderLimits, LinkType, Packet, Segment, Unread, UnreadClass, UnreadCounts,
};
pub use side::Side;
pub use stream::{Duplex, StreamCounters, StreamLimits};
