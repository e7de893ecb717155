//! The two ends of a connection, in an order that does not depend on who sends.

/// Which end of a pair of endpoints sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The lesser endpoint.
    Lesser,
    /// The greater endpoint.
    Greater,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::Lesser, Self::Greater];

    /// The receiver's end.
    pub const fn other(self) -> Self {
        match self {
            Self::Lesser => Self::Greater,
            Self::Greater => Self::Lesser,
        }
    }

    /// The sender's of a pair.
    pub const fn pick<T>(self, pair: &[T; 2]) -> &T {
        let [lesser, greater] = pair;
        match self {
            Self::Lesser => lesser,
            Self::Greater => greater,
        }
    }

    /// The sender's, then the receiver's.
    pub const fn split<T>(self, pair: &mut [T; 2]) -> (&mut T, &mut T) {
        let [lesser, greater] = pair;
        match self {
            Self::Lesser => (lesser, greater),
            Self::Greater => (greater, lesser),
        }
    }
}
