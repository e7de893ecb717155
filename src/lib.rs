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

pub mod capture;
pub mod cli;
pub mod commands;
pub mod config;
pub mod console;
pub mod engine;
pub mod error;
pub mod event;
pub mod message;
pub mod output;
pub mod pipeline;
pub mod process;
pub mod proxy;
pub mod secret;
pub mod time;
pub mod tls;
pub mod wire;
