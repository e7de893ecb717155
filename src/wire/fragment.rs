//! Fragments of IP datagrams, put together in a table that is bounded in number, in octets and in capture time.
//!
//! The first octets of an overlap win. A datagram is given up when it is too old, when room is needed for a newer
//! one, or when it is in more pieces than any sender makes. Never holds more than [`FragmentLimits`] allows.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;

use crate::time::Timestamp;

/// Caps of the table.
#[derive(Clone, Copy, Debug)]
pub struct FragmentLimits {
    /// Datagrams that wait for their rest.
    pub datagrams: usize,
    /// Octets they hold together, the cost of each piece included.
    pub octets: usize,
    /// Pieces of one datagram that do not touch: 64 KiB in IPv6's smallest packets are 52.
    pub pieces: usize,
    /// How long a datagram waits for its rest: Linux waits as long (RFC 8200 section 4.5 says 60 s).
    pub age: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { datagrams: 1024, octets: 4 << 20, pieces: 256, age: Duration::from_secs(30) }
    }
}

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DatagramKey {
    from: IpAddr,
    to: IpAddr,
    id: u32,
    /// RFC 791 section 3.2; in IPv6 only the first fragment's counts.
    protocol: u8,
}

impl DatagramKey {
    pub(super) fn new(from: IpAddr, to: IpAddr, id: u32, protocol: u8) -> Self {
        Self { from, to, id, protocol: if from.is_ipv4() { protocol } else { 0 } }
    }
}

/// A fragment that is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable;

#[derive(Debug)]
pub(super) struct Fragments {
    limits: FragmentLimits,
    waiting: HashMap<DatagramKey, Datagram>,
    /// In order of their first fragment; entries of finished datagrams stay for a while.
    order: VecDeque<(DatagramKey, u64)>,
    octets: usize,
    serial: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Datagram {
    serial: u64,
    began: Timestamp,
    protocol: u8,
    /// By offset; they never overlap.
    pieces: BTreeMap<u32, Box<[u8]>>,
    held: u32,
    end: Option<u32>,
}

/// What a piece costs beside its octets.
const OVERHEAD: usize = 64;
/// RFC 791 section 3.1 and RFC 8200 section 4.5.
const LONGEST: u32 = 65535;

impl Fragments {
    pub(super) fn new(limits: FragmentLimits) -> Self {
        Self { limits, waiting: HashMap::new(), order: VecDeque::new(), octets: 0, serial: 0, dropped: 0 }
    }

    /// Datagrams given up so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Octets held, the cost of each piece included.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Takes a fragment; gives the datagram's protocol and payload if that was the last missing.
    pub(super) fn add(
        &mut self,
        at: Timestamp,
        key: DatagramKey,
        protocol: u8,
        offset: u32,
        more: bool,
        data: &[u8],
    ) -> Result<Option<(u8, Vec<u8>)>, Unusable> {
        self.expire(at);
        let length = u32::try_from(data.len()).map_err(|_| Unusable)?;
        let end = offset.checked_add(length).filter(|end| *end <= LONGEST).ok_or(Unusable)?;
        if length == 0 || (more && length % 8 != 0) {
            return Err(Unusable);
        }
        if !self.waiting.contains_key(&key) {
            self.begin(at, key, protocol);
        }
        let datagram = self.waiting.get_mut(&key).ok_or(Unusable)?;
        if !datagram.bounds(end, more) {
            return Err(Unusable);
        }
        if offset == 0 {
            datagram.protocol = protocol;
        }
        self.octets += datagram.insert(offset, end, data);
        if datagram.end == Some(datagram.held) {
            return Ok(self.remove(&key).map(|datagram| (datagram.protocol, datagram.join())));
        }
        if datagram.pieces.len() > self.limits.pieces {
            self.drop_datagram(&key);
            return Err(Unusable);
        }
        while self.octets > self.limits.octets && self.drop_oldest() {}
        Ok(None)
    }

    fn begin(&mut self, at: Timestamp, key: DatagramKey, protocol: u8) {
        while self.waiting.len() >= self.limits.datagrams.max(1) && self.drop_oldest() {}
        self.serial += 1;
        let datagram =
            Datagram { serial: self.serial, began: at, protocol, pieces: BTreeMap::new(), held: 0, end: None };
        self.waiting.insert(key, datagram);
        self.order.push_back((key, self.serial));
        if self.order.len() > 2 * self.limits.datagrams + 64 {
            let waiting = &self.waiting;
            self.order.retain(|(key, serial)| waiting.get(key).is_some_and(|d| d.serial == *serial));
        }
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((key, serial)) = self.order.front() {
            match self.waiting.get(key) {
                Some(datagram) if datagram.serial == *serial => {
                    if now.since(datagram.began).is_none_or(|age| age <= self.limits.age) {
                        return;
                    }
                    let key = *key;
                    self.drop_datagram(&key);
                }
                _ => {}
            }
            self.order.pop_front();
        }
    }

    /// Whether there was one.
    fn drop_oldest(&mut self) -> bool {
        while let Some((key, serial)) = self.order.pop_front() {
            if self.waiting.get(&key).is_some_and(|d| d.serial == serial) {
                self.drop_datagram(&key);
                return true;
            }
        }
        false
    }

    fn drop_datagram(&mut self, key: &DatagramKey) {
        if self.remove(key).is_some() {
            self.dropped += 1;
        }
    }

    fn remove(&mut self, key: &DatagramKey) -> Option<Datagram> {
        let datagram = self.waiting.remove(key)?;
        self.octets -= datagram.held as usize + datagram.pieces.len() * OVERHEAD;
        Some(datagram)
    }
}

impl Datagram {
    /// Notes where the datagram ends; false if that contradicts what is known.
    fn bounds(&mut self, end: u32, more: bool) -> bool {
        match self.end {
            Some(known) => end <= known && (more || end == known),
            None if more => true,
            None => {
                let reached = self.pieces.last_key_value().map_or(0, |(at, data)| at + data.len() as u32);
                if reached > end {
                    return false;
                }
                self.end = Some(end);
                true
            }
        }
    }

    /// Keeps the octets that are new; gives what they cost.
    fn insert(&mut self, offset: u32, end: u32, data: &[u8]) -> usize {
        let mut cost = 0;
        let mut from = offset;
        let before = self.pieces.range(..=offset).next_back();
        if let Some((at, piece)) = before {
            from = from.max(at + piece.len() as u32);
        }
        while from < end {
            let next = self.pieces.range(from..end).next().map(|(at, piece)| (*at, at + piece.len() as u32));
            let (to, then) = next.unwrap_or((end, end));
            let part = data.get((from - offset) as usize..(to - offset) as usize).unwrap_or_default();
            if !part.is_empty() {
                self.pieces.insert(from, part.into());
                self.held += part.len() as u32;
                cost += part.len() + OVERHEAD;
            }
            from = then;
        }
        cost
    }

    fn join(self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.held as usize);
        for piece in self.pieces.values() {
            whole.extend_from_slice(piece);
        }
        whole
    }
}
