//! Packets that were not understood: what stands in the way of their TCP segment, in words for people, with numbers.
//!
//! ARP, ICMP or a name query carry no mail and are not counted here. A protocol that nobody here knows might.

use std::fmt;

/// What was not understood, and so was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unread {
    /// A link type (the number of a `LINKTYPE_`).
    LinkType(u16),
    /// An EtherType.
    EtherType(u16),
    /// A service access point of IEEE 802.2.
    Llc(u8),
    /// A protocol of PPP.
    Ppp(u16),
    /// A protocol of IP.
    Ip(u8),
    /// What is inside is encrypted, by this.
    Encrypted(&'static str),
    /// A tunnel of this kind whose content cannot be told.
    Tunnel(&'static str),
}

/// Groups of [`Unread`], for counters with a fixed set of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadClass {
    /// Link types.
    Link,
    /// What a link carries.
    Network,
    /// What IP carries.
    Transport,
    /// Encrypted packets.
    Encrypted,
    /// Tunnels.
    Tunnel,
}

impl UnreadClass {
    /// All of them, by [`Self::index`].
    pub const ALL: [Self; 5] = [Self::Link, Self::Network, Self::Transport, Self::Encrypted, Self::Tunnel];

    /// Its place in a table.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Unread {
    /// Its group.
    pub const fn class(self) -> UnreadClass {
        match self {
            Self::LinkType(_) => UnreadClass::Link,
            Self::EtherType(_) | Self::Llc(_) | Self::Ppp(_) => UnreadClass::Network,
            Self::Ip(_) => UnreadClass::Transport,
            Self::Encrypted(_) => UnreadClass::Encrypted,
            Self::Tunnel(_) => UnreadClass::Tunnel,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkType(link) => write!(f, "with link type {link}"),
            Self::EtherType(number) => write!(f, "with EtherType 0x{number:04x}"),
            Self::Llc(point) => write!(f, "with LLC service access point 0x{point:02x}"),
            Self::Ppp(protocol) => write!(f, "with PPP protocol 0x{protocol:04x}"),
            Self::Ip(protocol) => write!(f, "with IP protocol {protocol}"),
            Self::Encrypted(by) => write!(f, "encrypted by {by}"),
            Self::Tunnel(kind) => write!(f, "in a {kind} tunnel of a form that is not known"),
        }
    }
}

/// Kinds that are told apart. Real links have a handful; hostile ones have 65,536.
const KINDS: usize = 64;

/// How many packets of each kind were not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadCounts {
    kinds: Vec<(Unread, u64)>,
    /// Of further kinds.
    others: u64,
}

impl UnreadCounts {
    /// One more.
    pub(super) fn add(&mut self, kind: Unread) {
        if let Some((_, count)) = self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            *count += 1;
        } else if self.kinds.len() < KINDS {
            self.kinds.push((kind, 1));
        } else {
            self.others += 1;
        }
    }

    /// Those that are told apart, the most frequent first.
    pub fn kinds(&self) -> Vec<(Unread, u64)> {
        let mut kinds = self.kinds.clone();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        kinds
    }

    /// Packets of further kinds.
    pub const fn others(&self) -> u64 {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_kinds_cost_no_more_than_the_cap() {
        let mut counts = UnreadCounts::default();
        for number in 0..5000 {
            counts.add(Unread::EtherType(number));
        }
        counts.add(Unread::EtherType(3));
        assert_eq!((counts.kinds().len(), counts.others()), (KINDS, 5000 - KINDS as u64));
        assert_eq!(counts.kinds()[0], (Unread::EtherType(3), 2));
    }
}
