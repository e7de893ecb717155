//! The time of a capture: passes with its packets, except those whose time stamp cannot be true.
//!
//! A packet whose time lies far from that of the one before it waits for the next: if that one is back where time was, the
//! stamp is wild, and the packet counts as captured with the one before it. Otherwise there was a pause, or a file of another
//! time begins. Without this, one stamp in the far future would end every connection. Order and number of the packets
//! stay as they are.

use super::packet::Packet;
use crate::time::Timestamp;

/// Sets wild time stamps right and shows when a second has passed.
#[derive(Debug, Default)]
pub struct PacketClock {
    latest: Timestamp,
    /// Time of the last packet that was handed on.
    before: Option<Timestamp>,
    held: Option<Held>,
    /// The last packet's bytes, and room for the next.
    data: Vec<u8>,
    wild: u64,
}

/// A packet that waits for the next, without its bytes.
#[derive(Clone, Copy, Debug)]
struct Held(Packet<'static>);

/// How far apart the times of neighbours may lie before one of them is in doubt: more than queues and taps are skewed.
const APART: u64 = 1_000_000_000;
/// No connection of mail rests for so long: a last packet later than this is no pause.
const DAY: u64 = 24 * 3600 * 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

impl PacketClock {
    /// Hands packets on to `each`, `packet` or that which waited for it first.
    #[inline]
    pub fn take<T>(
        &mut self,
        packet: &Packet<'_>,
        mut each: impl FnMut(&mut Self, &Packet<'_>) -> Option<T>,
    ) -> Option<T> {
        if self.held.is_none() && self.before.is_some_and(|before| !apart(before, packet.at)) {
            self.before = Some(packet.at);
            return each(self, packet);
        }
        self.doubt(packet, &mut each)
    }

    /// No more will come.
    pub fn finish<T>(&mut self, mut each: impl FnMut(&mut Self, &Packet<'_>) -> Option<T>) -> Option<T> {
        let held = self.held?;
        let distance = self.before.map_or(0, |before| held.0.at.as_nanos().saturating_sub(before.as_nanos()));
        self.release(if distance > DAY { self.before } else { None }, &mut each)
    }

    /// The time, if `at` is in a later second than every packet before.
    pub fn passes(&mut self, at: Timestamp) -> Option<Timestamp> {
        let tick = at.as_nanos() / SECOND > self.latest.as_nanos() / SECOND;
        self.latest = self.latest.max(at);
        tick.then_some(at)
    }

    /// The latest time.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Packets whose time was set right.
    pub fn wild(&self) -> u64 {
        self.wild
    }

    /// Decides on the packet that waits, and whether `packet` must.
    #[cold]
    fn doubt<T>(
        &mut self,
        packet: &Packet<'_>,
        each: &mut impl FnMut(&mut Self, &Packet<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(Held(held)) = self.held {
            let right = match self.before {
                // Nothing before it: a first packet may only be too late.
                None => Some(packet.at).filter(|at| *at < held.at),
                before => before.filter(|before| !apart(*before, packet.at)),
            };
            if let Some(stop) = self.release(right.filter(|_| apart(held.at, packet.at)), each) {
                return Some(stop);
            }
        }
        if self.before.is_some_and(|before| !apart(before, packet.at)) {
            self.before = Some(packet.at);
            return each(self, packet);
        }
        self.held = Some(Held(Packet { data: &[], ..*packet }));
        self.data.clear();
        self.data.extend_from_slice(packet.data);
        None
    }

    /// Hands on the packet that waits, its time set to `right` if that is given.
    fn release<T>(
        &mut self,
        right: Option<Timestamp>,
        each: &mut impl FnMut(&mut Self, &Packet<'_>) -> Option<T>,
    ) -> Option<T> {
        let Held(held) = self.held.take()?;
        self.wild += u64::from(right.is_some());
        let at = right.unwrap_or(held.at);
        self.before = Some(at);
        let data = std::mem::take(&mut self.data);
        let stop = each(self, &Packet { at, data: &data, ..held });
        self.data = data;
        stop
    }
}

fn apart(one: Timestamp, other: Timestamp) -> bool {
    one.as_nanos().abs_diff(other.as_nanos()) > APART
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::LinkType;

    /// What becomes of the packets that come at these milliseconds; the number of wild ones.
    fn times(stamps: &[u64]) -> (Vec<u64>, u64) {
        let (mut clock, mut found) = (PacketClock::default(), Vec::new());
        let mut each = |_: &mut PacketClock, packet: &Packet<'_>| -> Option<()> {
            assert_eq!(packet.data, [found.len() as u8], "in order, each with its own bytes");
            found.push(packet.at.as_nanos() / 1_000_000);
            None
        };
        for (number, stamp) in stamps.iter().enumerate() {
            let (at, data) = (Timestamp::from_nanos(stamp * 1_000_000), [number as u8]);
            clock.take(&Packet { at, source: 0, link: LinkType::RAW, data: &data, wire_len: 1 }, &mut each);
        }
        clock.finish(&mut each);
        (found, clock.wild())
    }

    #[test]
    fn a_wild_stamp_is_that_of_the_packet_before() {
        let (far, day) = (50_000_000, 86_400_000);
        assert_eq!(times(&[10, 20, far, 30, 40]), (vec![10, 20, 20, 30, 40], 1));
        assert_eq!(times(&[5000, 5020, 0, 5030]), (vec![5000, 5020, 5020, 5030], 1));
        assert_eq!(times(&[far, 20, 30, 40]), (vec![20, 20, 30, 40], 1));
        assert_eq!(times(&[10, far, 20, far, 30]), (vec![10, 10, 20, 20, 30], 2));
        assert_eq!(times(&[10, 20, far + 2 * day]), (vec![10, 20, 20], 1));
    }

    #[test]
    fn a_pause_and_another_file_are_times_as_they_are() {
        for stamps in [
            &[10, 20, 5000, 5010][..],
            &[10, 20, 7_300_000],
            &[10, 5000, 10_000, 15_000],
            &[90_000, 90_010, 10, 20, 30],
            &[10],
            &[],
            &[10, 900, 20, 890, 30],
        ] {
            assert_eq!(times(stamps), (stamps.to_vec(), 0));
        }
    }
}
