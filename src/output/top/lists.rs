//! The lists, and what a thread gathers for them between two publications.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use hashbrown::{Equivalent, HashMap};

use super::TopKind;
use super::ranking::{First, Ranking};

/// Keys of a kind that a thread tells apart between two publications, which are at most 100 ms apart. What is beyond is
/// counted without a name.
const KEYS: usize = 896;

/// By what client networks are ranked, in the order of the counts.
pub(super) const BY_NETWORK: [&str; 4] = ["sessions", "bytes", "refused_replies", "failed_logins"];
/// By what servers are.
pub(super) const BY_SERVER: [&str; 3] = ["sessions", "bytes", "refused_replies"];
/// By what domains of recipients are.
pub(super) const BY_DOMAIN: [&str; 2] = ["recipients", "refused_recipients"];
/// By what users are.
pub(super) const BY_USER: [&str; 2] = ["logins", "failed_logins"];

/// What a thread has gathered of one kind.
#[derive(Debug)]
pub(super) struct Gathered<K, const N: usize> {
    counts: HashMap<K, [u64; N]>,
    unnamed: [u64; N],
}

impl<K, const N: usize> Default for Gathered<K, N> {
    fn default() -> Self {
        Self { counts: HashMap::default(), unnamed: [0; N] }
    }
}

impl<K: Eq + Hash, const N: usize> Gathered<K, N> {
    /// Counts `more` for `key`, of which `own` makes one to keep.
    pub(super) fn add<Q>(&mut self, key: &Q, more: [u64; N], own: impl FnOnce(&Q) -> K)
    where
        Q: Equivalent<K> + Hash + ?Sized,
    {
        if let Some(counts) = self.counts.get_mut(key) {
            sum(counts, more);
        } else if self.counts.len() < KEYS {
            self.counts.insert(own(key), more);
        } else {
            self.add_unnamed(more);
        }
    }

    pub(super) fn add_unnamed(&mut self, more: [u64; N]) {
        sum(&mut self.unnamed, more);
    }

    fn move_to(&mut self, second: u64, rankings: &mut [Ranking<K>; N])
    where
        K: Clone + Ord,
    {
        for (key, counts) in self.counts.drain() {
            for (ranking, count) in rankings.iter_mut().zip(counts) {
                if count > 0 {
                    ranking.add(second, key.clone(), count);
                }
            }
        }
        for (ranking, count) in rankings.iter_mut().zip(std::mem::replace(&mut self.unnamed, [0; N])) {
            if count > 0 {
                ranking.add_unnamed(second, count);
            }
        }
    }
}

fn sum<const N: usize>(counts: &mut [u64; N], more: [u64; N]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count = count.saturating_add(more);
    }
}

/// What a thread has gathered.
#[derive(Debug, Default)]
pub(super) struct TopBatch {
    pub(super) networks: Gathered<IpAddr, { BY_NETWORK.len() }>,
    pub(super) servers: Gathered<SocketAddr, { BY_SERVER.len() }>,
    pub(super) domains: Gathered<Box<str>, { BY_DOMAIN.len() }>,
    pub(super) users: Gathered<Box<str>, { BY_USER.len() }>,
}

/// All lists.
#[derive(Debug, Default)]
pub(super) struct TopLists {
    networks: [Ranking<IpAddr>; BY_NETWORK.len()],
    servers: [Ranking<SocketAddr>; BY_SERVER.len()],
    domains: [Ranking<Box<str>>; BY_DOMAIN.len()],
    users: [Ranking<Box<str>>; BY_USER.len()],
}

/// The first of a list, by name.
pub(super) type NamedFirst = First<String>;

impl TopLists {
    /// Moves what is gathered here, at `second` of the clock.
    pub(super) fn take(&mut self, second: u64, batch: &mut TopBatch) {
        batch.networks.move_to(second, &mut self.networks);
        batch.servers.move_to(second, &mut self.servers);
        batch.domains.move_to(second, &mut self.domains);
        batch.users.move_to(second, &mut self.users);
    }

    /// The `most` first of every list of `kind`, and by what they are ranked.
    pub(super) fn first(&mut self, second: u64, kind: TopKind, most: usize) -> Vec<(&'static str, NamedFirst)> {
        match kind {
            TopKind::ClientNetwork => named(&BY_NETWORK, &mut self.networks, second, most, network),
            TopKind::Server => named(&BY_SERVER, &mut self.servers, second, most, ToString::to_string),
            TopKind::RecipientDomain => named(&BY_DOMAIN, &mut self.domains, second, most, ToString::to_string),
            TopKind::User => named(&BY_USER, &mut self.users, second, most, ToString::to_string),
        }
    }
}

fn named<K: Clone + Eq + Hash + Ord>(
    by: &[&'static str],
    rankings: &mut [Ranking<K>],
    second: u64,
    most: usize,
    name: impl Fn(&K) -> String,
) -> Vec<(&'static str, NamedFirst)> {
    let firsts = rankings.iter_mut().map(|ranking| ranking.first(second, most).map(&name));
    by.iter().copied().zip(firsts).collect()
}

/// The network of a client: who has an address of IPv6 has all of its /64, and whoever floods from IPv4 has neighbours.
pub(in crate::output) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & (u32::MAX << 8)).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
    }
}

/// A network as it is written.
pub(in crate::output) fn network(of: &IpAddr) -> String {
    format!("{of}/{}", if of.is_ipv4() { 24 } else { 64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_to_networks() {
        for (address, expected) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:7:1::25", "2001:db8:7:1::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(network(&network_of(address.parse().unwrap())), expected);
        }
    }

    #[test]
    fn a_thread_tells_a_fixed_number_apart() {
        let mut batch = TopBatch::default();
        for number in 0..KEYS as u32 + 500 {
            batch.networks.add(&IpAddr::from(number.to_be_bytes()), [1, 10, 0, 0], |key| *key);
        }
        assert_eq!(batch.networks.counts.len(), KEYS);
        let mut lists = TopLists::default();
        lists.take(0, &mut batch);
        assert!(batch.networks.counts.is_empty());
        let firsts = lists.first(0, TopKind::ClientNetwork, 10);
        let totals: Vec<_> = firsts.iter().map(|(by, first)| (*by, first.total)).collect();
        assert_eq!(totals, [("sessions", 1396), ("bytes", 13_960), ("refused_replies", 0), ("failed_logins", 0)]);
        assert!(firsts[0].1.list.is_empty() && firsts[0].1.others >= 500, "any network may have those without a name");
    }
}
