//! From which networks logins fail, by protocol: how many from the one with most, and how many networks there are.
//!
//! Guessing from one network drowns in the failures of everybody, and guessing from sixty looks like sixty users. An address is
//! never a label, so only these two numbers leave: who it is, the log knows.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;

use crate::event::Protocol;

/// Minutes that are looked back.
const MINUTES: usize = 5;

/// Networks that a minute knows: 24 KiB. In one with more, the least known makes room (the space-saving algorithm): the busiest
/// network is never missed, and its count is too high by less than a thousandth of all failures.
const NETWORKS: usize = 1024;

/// Failed logins of the last minutes.
#[derive(Debug)]
pub(super) struct FailedLogins {
    start: Instant,
    protocols: [Mutex<RecentFailures>; Protocol::ALL.len()],
}

/// Those of a protocol.
#[derive(Debug, Default)]
struct RecentFailures {
    /// It is spoken at a listener.
    is_known: bool,
    minutes: [MinuteCounts; MINUTES],
}

/// One minute, by network.
#[derive(Debug, Default)]
struct MinuteCounts {
    minute: u64,
    networks: HashMap<u64, u32>,
}

impl Default for FailedLogins {
    fn default() -> Self {
        Self { start: Instant::now(), protocols: Default::default() }
    }
}

impl FailedLogins {
    /// A login from `client` failed at `now`.
    pub(super) fn add(&self, protocol: Protocol, client: IpAddr, now: Instant) {
        let minute = self.minute(now);
        let Some(mut recent) = self.of(protocol) else { return };
        recent.is_known = true;
        let Some(counts) = recent.minutes.get_mut((minute % MINUTES as u64) as usize) else { return };
        if counts.minute != minute {
            counts.minute = minute;
            counts.networks.clear();
        }
        counts.add(network(client));
    }

    /// `protocol` is spoken: its numbers are there before anything fails.
    pub(super) fn expect(&self, protocol: Protocol) {
        if let Some(mut recent) = self.of(protocol) {
            recent.is_known = true;
        }
    }

    /// The failures of the network that has most of them, and the number of networks, in the minutes before `now`; `None` where the
    /// protocol is not spoken.
    pub(super) fn peak(&self, protocol: Protocol, now: Instant) -> Option<(u32, u32)> {
        let first = (self.minute(now) + 1).saturating_sub(MINUTES as u64);
        let recent = self.of(protocol).filter(|recent| recent.is_known)?;
        let mut all = HashMap::<u64, u32>::new();
        for counts in recent.minutes.iter().filter(|one| one.minute >= first) {
            for (network, count) in &counts.networks {
                let sum = all.entry(*network).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let most = all.values().copied().max().unwrap_or_default();
        Some((most, u32::try_from(all.len()).unwrap_or(u32::MAX)))
    }

    fn of(&self, protocol: Protocol) -> Option<MutexGuard<'_, RecentFailures>> {
        Some(self.protocols.get(protocol.index())?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn minute(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / 60
    }
}

impl MinuteCounts {
    fn add(&mut self, network: u64) {
        let mut before = 0;
        if self.networks.len() >= NETWORKS && !self.networks.contains_key(&network) {
            let least =
                self.networks.iter().min_by_key(|(_, count)| **count).map(|(network, count)| (*network, *count));
            if let Some((least, count)) = least {
                self.networks.remove(&least);
                before = count;
            }
        }
        let count = self.networks.entry(network).or_insert(before);
        *count = count.saturating_add(1);
    }
}

/// The /24 of an IPv4 address, the /64 of an IPv6 address. No host that connects to others is in ::/64.
fn network(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_a_network_count_together_for_five_minutes() {
        let failed = FailedLogins::default();
        let at = |seconds| failed.start + Duration::from_secs(seconds);
        assert_eq!(failed.peak(Protocol::Imap, at(0)), None);
        failed.expect(Protocol::Imap);
        assert_eq!(failed.peak(Protocol::Imap, at(0)), Some((0, 0)));
        for host in 1..=60 {
            failed.add(Protocol::Imap, ip(&format!("192.0.2.{host}")), at(host));
        }
        failed.add(Protocol::Imap, ip("198.51.100.1"), at(61));
        for client in ["2001:db8::1", "2001:db8::ffff"] {
            failed.add(Protocol::Imap, ip(client), at(62));
        }
        assert_eq!(failed.peak(Protocol::Imap, at(63)), Some((60, 3)));
        assert_eq!(failed.peak(Protocol::Smtp, at(63)), None);
        assert_eq!(failed.peak(Protocol::Imap, at(299)), Some((60, 3)));
        assert_eq!(failed.peak(Protocol::Imap, at(301)), Some((2, 3)), "the first minute is over");
        assert_eq!(failed.peak(Protocol::Imap, at(361)), Some((0, 0)));
        // A minute takes the place of the one five before.
        failed.add(Protocol::Imap, ip("198.51.100.1"), at(305));
        assert_eq!(failed.peak(Protocol::Imap, at(305)), Some((2, 3)));
    }

    #[test]
    fn the_busiest_is_found_among_more_networks_than_are_known() {
        let failed = FailedLogins::default();
        let now = failed.start;
        for n in 0..20_000_u32 {
            failed.add(Protocol::Pop3, IpAddr::V4((0x0a00_0000 + (n << 8)).into()), now);
            if n % 20 == 0 {
                failed.add(Protocol::Pop3, ip("192.0.2.7"), now);
            }
        }
        let (most, networks) = failed.peak(Protocol::Pop3, now).unwrap();
        assert!((1000..1000 + 21_000 / NETWORKS as u32 + 1).contains(&most), "{most}");
        assert_eq!(networks, NETWORKS as u32);
    }
}
