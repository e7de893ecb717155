//! The live page: what is going on now, for a person with a browser.
//!
//! Each thread of the input has a [`PageCollector`] that gathers what its events say; the [`PageState`] holds what all of
//! them have gathered, and tells it to viewers through [`serve`](super::serve). It keeps minutes, not history, in room
//! fixed from the start: the log has every session, the metrics have the long run. It must never hold up an input, nor
//! show more of a message than [`Show`] allows; who authenticated shows in the [top list](super::top) of users alone.

mod collector;
mod history;
mod latency;
mod message;
mod rates;
mod refusals;
mod row;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use collector::PageCollector;
pub use message::session_id;
pub use state::{Cursor, PageState, Show};

/// Open sessions listed: more than anybody reads, and few enough for a browser.
const LISTED: usize = 500;

/// Sessions that are over, messages and anomalies listed, of each.
const RECENT: usize = 200;

/// Lines of each list that is told as a whole.
const LINES: usize = 20;

/// A file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// Its content type.
    pub kind: &'static str,
    /// Its content.
    pub octets: &'static [u8],
}

/// All of them.
pub const ASSETS: [Asset; 4] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", octets: include_bytes!("page.html") },
    Asset { path: "/page.css", kind: "text/css; charset=utf-8", octets: include_bytes!("page.css") },
    Asset { path: "/page.js", kind: "text/javascript; charset=utf-8", octets: include_bytes!("page.js") },
    Asset { path: "/icon.svg", kind: "image/svg+xml", octets: include_bytes!("icon.svg") },
];
