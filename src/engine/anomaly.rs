//! The catalogue of what should not happen.

use super::event::words;

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
