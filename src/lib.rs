//! mailtap watches mail protocols: one sans-I/O engine turns the octets of a mail conversation into events,
//! three inputs feed it, several outputs listen.
//!
//! ```text
//!    pcap file ─┐                    ┌────────────────────┐
//!    live NIC ──┼─▶ wire ───────────▶│ engine::Session    │  Event<'_>    ┌─▶ output: log, report
//!               │   packets→segments │  frame → protocol  │ ─────────────▶┤
//!    proxy ─────┴───────────────────▶│  → message facts   │               └─▶ …
//!       input/      segments→octets  └────────────────────┘
//! ```
//!
//! Nothing but [`engine`] understands mail; nothing in the engine knows where octets come from.

#![forbid(unsafe_code)]

pub mod analyze;
mod check;
pub mod cli;
pub mod config;
pub mod engine;
pub mod error;
pub mod input;
pub mod message;
pub mod output;
pub mod process;
pub mod proxy;
pub mod secret;
pub mod sniff;
pub mod time;
pub mod wire;
