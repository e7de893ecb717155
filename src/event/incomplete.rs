//! What an observer did not see of the thing that a record tells.

use super::words::words;

words! {
    /// One thing that an observer did not see. A record lists those that apply to it.
    Missing {
        /// The capture began inside the connection.
        StartMissing = "start_missing",
        /// Octets of the client were lost.
        ClientGap = "client_gap",
        /// Octets of the server were lost.
        ServerGap = "server_gap",
        /// The client's direction was not captured at all.
        ClientUnseen = "client_unseen",
        /// The server's direction was not captured at all.
        ServerUnseen = "server_unseen",
        /// A cap of [`Limits`](crate::engine::Limits) cut something.
        Truncated = "truncated",
        /// More octets waited at a decision point than the cap allows: the usual answer was assumed.
        HoldOverflow = "hold_overflow",
        /// A direction could not be read for a while.
        Unparseable = "unparseable",
        /// Reading it took more work than its bytes are worth: nothing more was read.
        WorkLimit = "work_limit",
    }
}

/// A set of [`Missing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incomplete(u16);

impl Incomplete {
    /// Nothing is missing.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn add(&mut self, what: Missing) {
        self.0 |= 1 << what.index();
    }

    /// Adds all of `other`.
    pub const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether `what` is in the set.
    pub const fn has(self, what: Missing) -> bool {
        self.0 & (1 << what.index()) != 0
    }

    /// Whether nothing is missing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is said of the client is meant of the server, and the other way round.
    pub(crate) fn swap_directions(&mut self) {
        let pairs = [(Missing::ClientGap, Missing::ServerGap), (Missing::ClientUnseen, Missing::ServerUnseen)];
        let old = *self;
        for (a, b) in pairs {
            self.0 &= !(1 << a.index() | 1 << b.index());
            self.0 |= u16::from(old.has(b)) << a.index() | u16::from(old.has(a)) << b.index();
        }
    }

    /// The members in the order of the schema.
    pub fn iter(self) -> impl Iterator<Item = Missing> {
        Missing::ALL.iter().copied().filter(move |m| self.has(*m))
    }
}
