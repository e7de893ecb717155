//! The program beside real servers and clients, and the tools that read what `deploy/` and `dashboards/` hold.
//!
//! Most need root and the packages of `samples/servers install`. Without them a test says so and passes, unless
//! `MAILTAP_REQUIRE_SERVERS` is set: then that is a failure.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may be blunt; clippy knows only those inside #[test]"
)]

mod balancer;
mod captured;
mod clients;
mod dashboards;
mod deploy;
mod relay;
mod rules;
mod same;
mod scripts;
mod sniff;
mod terminate;
mod told;
mod transparent;
mod upstream;
