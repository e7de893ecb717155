//! Sequence and acknowledgment numbers: where they lie in a stream, and whether they can be believed.
//!
//! A number near what was seen is believed. One far off is believed when others follow it and nothing near comes between;
//! one alone belongs to nothing (RFC 9293 section 3.10.7.4).

use super::Stream;
use crate::wire::stream::BufferBudget;

/// How a reset's sequence number fits (RFC 5961 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire::stream) enum ResetFit {
    /// It is the next byte's.
    Exact,
    /// It lies in the window: the receiver asks back, and a real sender would repeat it with the next byte's.
    Near(u64),
    /// It lies elsewhere.
    Blind,
}

/// Numbers too far off: believed when several follow each other, and nothing that fits comes between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Far {
    last: u32,
    count: u8,
}

/// How far from what was seen a number is believed at once: no usual system has a larger window.
const REACH: i64 = 16 << 20;
/// RFC 7323 section 2.3: no window is larger.
const LARGEST_WINDOW: u32 = 1 << 30;
/// How close two numbers lie that are far off and agree, and how far beyond the last byte a reset may lie.
const AGREE: i32 = 1 << 20;
/// Numbers that must agree. Two are not enough: both sides of a firewall that renumbers show a segment and its
/// acknowledgment.
const AGREEING: u8 = 3;
impl Stream {
    /// The other side acknowledged everything before `ack`: as an offset, if that can be believed.
    pub(in crate::wire::stream) fn acknowledged(&mut self, ack: u32, budget: &mut BufferBudget) -> Option<u64> {
        let Some(base) = self.base else {
            self.base = Some(ack);
            self.acked = Some(0);
            return Some(0);
        };
        let distance = ack.wrapping_sub(base.wrapping_add(self.next as u32));
        let near = i64::from(distance.cast_signed());
        let reach = self.top.saturating_sub(self.next) as i64 + REACH;
        let offset = if (-REACH..=reach).contains(&near) {
            self.far = self.far.filter(|far| far.count == 0);
            self.next.checked_add_signed(near)?
        } else if self.agrees(ack) && distance <= LARGEST_WINDOW {
            self.next + u64::from(distance)
        } else {
            budget.counters.implausible += 1;
            return None;
        };
        self.confirmed = self.confirmed.max(offset.min(self.acked.unwrap_or(0)));
        self.acked = self.acked.max(Some(offset));
        self.acked_last = offset;
        if self.quiet {
            self.next = self.next.max(offset);
        }
        Some(offset)
    }

    /// How the sequence number of a reset fits.
    pub(in crate::wire::stream) fn fit(&self, seq: u32) -> ResetFit {
        let Some(base) = self.base else { return ResetFit::Exact };
        let near = i64::from(seq.wrapping_sub(base.wrapping_add(self.next as u32)).cast_signed());
        let lower = self.acked.map_or(-REACH, |acked| (acked as i64 - self.next as i64).min(0));
        let upper = self.top.max(self.acked.unwrap_or(0)).saturating_sub(self.next) as i64 + i64::from(AGREE);
        let Some(offset) = self.next.checked_add_signed(near).filter(|_| (lower..=upper).contains(&near)) else {
            return ResetFit::Blind;
        };
        // Bytes that were not captured lie before the next one that the receiver expects.
        let ahead = [Some(self.top), self.acked].contains(&Some(offset)) && offset > self.edge;
        let at_fin = self.fin.is_some_and(|fin| offset == fin.offset || offset == fin.offset + 1);
        if offset == self.edge || ahead || at_fin { ResetFit::Exact } else { ResetFit::Near(offset) }
    }

    /// Whether a segment with this sequence number may belong to the connection.
    pub fn is_plausible(&self, seq: u32) -> bool {
        let Some(base) = self.base else { return true };
        let near = i64::from(seq.wrapping_sub(base.wrapping_add(self.next as u32)).cast_signed());
        (-REACH..=self.top.saturating_sub(self.next) as i64 + REACH).contains(&near)
    }

    /// Whether it holds other numbers for the same bytes: both sides of a host that renumbers were captured, and this is
    /// one of the others.
    pub fn is_other_numbering(&self, seq: u32) -> bool {
        self.far.is_some_and(|far| seq.wrapping_sub(far.last).cast_signed().abs() <= AGREE)
    }

    /// Whether `length` bytes from `seq` on were all sent before its end.
    pub fn is_repeated(&self, seq: u32, length: usize) -> bool {
        let Some(base) = self.base else { return false };
        let near = i64::from(seq.wrapping_sub(base.wrapping_add(self.next as u32)).cast_signed());
        (-REACH..=0).contains(&near) && near + length as i64 <= 0
    }

    /// Offset of a segment without bytes, 0 if it is not near: its sender has sent everything before.
    pub(super) fn standing(&self, seq: u32) -> u64 {
        let Some(base) = self.base else { return 0 };
        let near = i64::from(seq.wrapping_sub(base.wrapping_add(self.next as u32)).cast_signed());
        if (0..=i64::from(AGREE)).contains(&near) { self.next + near as u64 } else { 0 }
    }

    /// Offset of a segment's first byte; negative if it lies before the first byte seen.
    pub(super) fn place(&mut self, seq: u32, budget: &mut BufferBudget) -> Option<i64> {
        let base = self.base?;
        let distance = seq.wrapping_sub(base.wrapping_add(self.next as u32));
        let near = i64::from(distance.cast_signed());
        let reach = (self.top.saturating_sub(self.next) as i64 + REACH).min(i64::from(LARGEST_WINDOW));
        if (-REACH..=reach).contains(&near) {
            if let Some(far) = &mut self.far {
                far.count = 0;
            }
            return Some(self.next as i64 + near);
        }
        if self.agrees(seq) && distance <= LARGEST_WINDOW {
            return Some(self.next as i64 + i64::from(distance));
        }
        budget.counters.implausible += 1;
        None
    }

    /// Whether a number far off is one of several that follow each other.
    fn agrees(&mut self, number: u32) -> bool {
        let far = self.far.get_or_insert(Far { last: number, count: 0 });
        let distance = number.wrapping_sub(far.last).cast_signed();
        if far.count == 0 || distance.abs() > AGREE {
            *far = Far { last: number, count: 1 };
        } else if distance != 0 {
            *far = Far { last: number, count: far.count.saturating_add(1) };
        }
        far.count >= AGREEING
    }
}
