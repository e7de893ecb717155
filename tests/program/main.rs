//! The program from outside: files in and records out, a proxy between bare sockets, the page in a browser.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may be blunt; clippy knows only those inside #[test]"
)]

mod admission;
mod browser;
#[path = "../common/captures.rs"]
mod captures;
mod cli;
mod clock;
mod corpus;
mod generated;
#[path = "../common/leaks.rs"]
mod leaks;
mod listeners;
mod log;
mod metrics;
mod operator;
mod page;
mod proxy;
mod revision;
mod running;
mod samples;
#[path = "../common/schema.rs"]
mod schema;
mod scraped;
mod secrets;
mod stop;
#[path = "../../benches/support/mod.rs"]
mod support;
mod terminated;
mod tls;
mod traffic;
mod upstream;
mod waiting;
