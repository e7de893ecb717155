//! Packets to octets in order: captured frames become TCP segments, segments become the two streams of a
//! connection, and each mail connection gets its [`Session`](crate::engine::Session).
//!
//! No I/O, no clock, no thread, no logging: time comes with the packets. Nothing here trusts a length field,
//! and every table is bounded in number, in octets and in capture time.

mod clock;
pub mod flow;
pub mod fragment;
pub mod packet;
mod side;
pub mod stream;

pub use clock::PacketClock;
pub use flow::{FlowCounters, FlowLimits, FlowTable, MAIL_PORTS, connection_id};
pub use fragment::FragmentLimits;
pub use packet::{Counters, Decoder, DecoderLimits, LinkType, Packet, Segment};
pub use side::Side;
pub use stream::{Duplex, StreamCounters, StreamLimits};
