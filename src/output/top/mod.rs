//! Top lists: which client networks, servers, recipient domains and users had most in the last five to ten minutes.
//!
//! Each thread of the input has a [`TopCollector`]; the [`TopState`] holds what all of them have gathered, for the page and
//! for the [`TopFile`]. Room is fixed whatever comes: a sketch for each list. It must never hold up an input, nor show
//! who authenticated unless that was asked for and the log shows it too.

mod collector;
mod file;
mod lists;
mod ranking;
mod sketch;
mod state;
#[cfg(test)]
mod tests;

pub use collector::TopCollector;
pub use file::{TopFile, TopFileError};
pub(super) use lists::{network, network_of};
pub use state::TopState;
pub(super) use state::TopView;

use crate::event::words;

words! {
    /// What a list is of.
    TopKind {
        /// Networks of clients: /24 of IPv4, /64 of IPv6.
        ClientNetwork = "client_network",
        /// Servers, with their port.
        Server = "server",
        /// Domains of recipients.
        RecipientDomain = "recipient_domain",
        /// Who authenticated.
        User = "user",
    }
}
