//! mailtap observes mail protocols: one sans-I/O engine turns the bytes of a mail conversation into events,
//! three inputs feed it, several outputs consume them.
//!
//! ```text
//!    capture files ─┐                    ┌──────────────────────┐              ┌─▶ log, metrics, page
//!    live device  ──┼─▶ wire ───────────▶│ engine::Session      │  Event<'_>   │
//!                   │   packets→segments │  frame → protocol    │ ────────────▶┼─▶ report
//!    proxy ─────────┴───────────────────▶│  → message facts     │              └─▶ pcapng
//!    capture/ proxy/     segments→bytes  └──────────────────────┘
//! ```
//!
//! [`commands`] put the parts together: [`config`] merges flags and file into settings, [`pipeline`] spreads the flows
//! of a capture over threads. Only [`engine`] interprets mail; nothing in the engine knows where bytes come from.

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
