//! The catalogue of what should not happen.

use super::direction::Dir;
use super::text::Text;
use super::words::words;
use crate::time::Timestamp;

words! {
    /// Catalogue id of an anomaly.
    Id {
        /// A command line ended by LF alone.
        LineBareLf = "line.bare_lf",
        /// A line longer than any extension explains.
        LineOverlong = "line.overlong",
        /// A NUL in a command or reply line.
        LineNul = "line.nul",
        /// TCP segments that overlap with different octets; the first were taken. Of those delivered before, whole short
        /// segments and blocks of 64 octets are compared, 16 KiB back: the offset may be where the block begins.
        TcpOverlap = "tcp.overlap_conflict",
    }
}

words! {
    /// How much an anomaly matters.
    Severity {
        /// Worth knowing.
        Info = "info",
        /// Unusual.
        Low = "low",
        /// Suspicious.
        Medium = "medium",
        /// An attack, or a hole.
        High = "high",
    }
}

words! {
    /// How far an attack came, as its evidence shows.
    AnomalyState {
        /// The pattern is there.
        Candidate = "candidate",
        /// It is followed by commands.
        Attempt = "attempt",
        /// The server took it.
        Accepted = "accepted",
        /// The server did not.
        Refused = "refused",
        /// The sender made it harmless.
        Neutralised = "neutralised",
        /// The replies do not tell.
        Unresolved = "unresolved",
    }
}

/// Something that should not happen: once per (session, id, variant).
#[derive(Debug)]
pub struct Anomaly {
    /// Catalogue id, such as `line.bare_lf`.
    pub id: Id,
    /// How much it matters.
    pub severity: Severity,
    /// Where that applies.
    pub state: Option<AnomalyState>,
    /// Which form of it; empty if there is one only.
    pub variant: &'static str,
    /// Who sent it.
    pub dir: Dir,
    /// When.
    pub at: Timestamp,
    /// Octet in that direction's stream.
    pub offset: u64,
    /// At most 64 octets, masked.
    pub evidence: Text,
    /// Number of the transaction it is in.
    pub transaction: Option<u32>,
    /// IMAP tag it belongs to.
    pub tag: Text,
    /// How often.
    pub count: u32,
}
