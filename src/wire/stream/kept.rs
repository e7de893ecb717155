//! The bytes of one direction that wait: behind a hole, or for bytes of the other side that their segment acknowledged.
//!
//! They lie in pieces that never overlap, each with the time and the acknowledgment of its segment. Where very many small
//! pieces wait, as only hostile senders cause it, neighbours are joined: walking over them then costs by their bytes, not
//! by their segments.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// Bytes that wait.
#[derive(Debug)]
pub(super) struct KeptBytes {
    /// When their segment came.
    pub(super) at: Timestamp,
    /// Bytes of the other direction that their segment acknowledged.
    pub(super) received: Option<u64>,
    /// The bytes.
    pub(super) data: Vec<u8>,
    /// How many bytes behind them the snap length cut off.
    pub(super) cut: u64,
}

/// Pieces by their offset in the stream.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pieces: BTreeMap<u64, KeptBytes>,
    cost: usize,
    /// Pieces looked at: what the work is measured by.
    #[cfg(test)]
    pub(super) steps: u64,
}

/// What was found where bytes were to be added.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// Bytes that were there already.
    pub(super) duplicate: u64,
    /// Offset of the first bytes that were there already, and differ.
    pub(super) conflict: Option<u64>,
    /// Whether any were new.
    pub(super) new: bool,
}

/// What a piece costs beside its bytes.
const OVERHEAD: usize = 96;
/// Pieces up to which none are joined: more than a window of loss and reordering makes.
const APART: usize = 256;
/// Pieces are joined up to this many bytes: moving them must cost less than reading a packet.
const JOINED: usize = 4096;

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes kept, with what keeping them costs.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// The first piece, and its offset.
    pub(super) fn first(&self) -> Option<(u64, &KeptBytes)> {
        self.pieces.first_key_value().map(|(start, piece)| (*start, piece))
    }

    /// Takes the first piece out.
    pub(super) fn pop(&mut self) -> Option<(u64, KeptBytes)> {
        let (start, piece) = self.pieces.pop_first()?;
        self.cost = self.cost.saturating_sub(OVERHEAD + piece.data.capacity());
        Some((start, piece))
    }

    /// The segment of the first piece acknowledged no more than `received`, whatever it said.
    pub(super) fn relent(&mut self, received: u64) {
        if let Some(mut first) = self.pieces.first_entry() {
            let piece = first.get_mut();
            piece.received = piece.received.map(|acked| acked.min(received));
        }
    }

    /// Whether all that waits are the bytes of one piece.
    pub(super) fn is_single(&self) -> bool {
        self.pieces.len() == 1
    }

    /// Forgets everything from `offset` on; how many pieces that were.
    pub(super) fn truncate(&mut self, offset: u64) -> usize {
        let beyond = self.pieces.split_off(&offset);
        let freed: usize = beyond.values().map(|piece| OVERHEAD + piece.data.capacity()).sum();
        self.cost = self.cost.saturating_sub(freed);
        beyond.len()
    }

    /// How far the bytes reach that follow each other from `edge` on.
    pub(super) fn reach(&mut self, mut edge: u64) -> u64 {
        if let Some((start, piece)) = self.pieces.range(..edge).next_back() {
            // What follows at the edge may have been joined to what lies before it.
            edge = edge.max(start + piece.data.len() as u64);
        }
        for (start, piece) in self.pieces.range(edge..) {
            if *start != edge {
                break;
            }
            #[cfg(test)]
            {
                self.steps += 1;
            }
            if piece.data.is_empty() {
                break;
            }
            edge += piece.data.len() as u64;
        }
        edge
    }

    /// Adds what of `data` is not there yet. The bytes that came first stay. Up to `reached`, what was acknowledged of the
    /// other direction is here.
    pub(super) fn add(
        &mut self,
        offset: u64,
        at: Timestamp,
        received: Option<u64>,
        data: &[u8],
        reached: u64,
    ) -> Added {
        let mut added = Added::default();
        let end = offset + data.len() as u64;
        let slice = |from: u64, to: u64| data.get((from - offset) as usize..(to - offset) as usize).unwrap_or_default();
        let mut from = offset;
        if let Some((start, before)) = self.pieces.range(..offset).next_back() {
            from = compare(*start, before, from, end, &slice, &mut added);
        }
        while from < end {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let covered = self.pieces.range(from..end).next();
            if let Some((&start, KeptBytes { data, .. })) = covered
                && data.is_empty()
            {
                // Bytes that were cut off there are here now.
                self.remove(start);
                continue;
            }
            let to = covered.map_or(end, |(start, _)| *start);
            let rest = covered.map(|(start, piece)| compare(*start, piece, to, end, &slice, &mut added));
            if to > from {
                added.new = true;
                self.insert(from, KeptBytes { at, received, data: slice(from, to).to_vec(), cut: 0 }, reached);
            }
            from = rest.unwrap_or(end);
        }
        added
    }

    /// `cut` bytes from `offset` on were cut off: nobody has them.
    pub(super) fn cut(&mut self, offset: u64, at: Timestamp, received: Option<u64>, cut: u64) {
        if let Some((start, piece)) = self.pieces.range_mut(..offset).next_back()
            && start + piece.data.len() as u64 == offset
        {
            piece.cut = piece.cut.max(cut);
        } else if !self.pieces.contains_key(&offset) {
            self.insert(offset, KeptBytes { at, received, data: Vec::new(), cut }, 0);
        }
    }

    fn remove(&mut self, start: u64) {
        if let Some(removed) = self.pieces.remove(&start) {
            self.cost = self.cost.saturating_sub(OVERHEAD + removed.data.capacity());
        }
    }

    fn insert(&mut self, start: u64, piece: KeptBytes, reached: u64) {
        self.cost += OVERHEAD + piece.data.capacity();
        self.pieces.insert(start, piece);
        if self.pieces.len() > APART {
            let before = self.pieces.range(..start).next_back().map(|(start, _)| *start);
            let joined = before.filter(|before| self.join(*before, reached)).unwrap_or(start);
            self.join(joined, reached);
        }
    }

    /// Joins the piece at `start` with the one that follows at once, if both are small and that one waits for nothing more.
    fn join(&mut self, start: u64, reached: u64) -> bool {
        let Some(piece) = self.pieces.get(&start) else { return false };
        let next = start + piece.data.len() as u64;
        let waits = piece.received.unwrap_or(0).max(reached);
        let joins =
            |other: &KeptBytes| piece.data.len() + other.data.len() <= JOINED && other.received.unwrap_or(0) <= waits;
        if piece.data.is_empty() || !self.pieces.get(&next).is_some_and(joins) {
            return false;
        }
        let (Some(behind), Some(piece)) = (self.pieces.remove(&next), self.pieces.get_mut(&start)) else {
            return false;
        };
        let before = piece.data.capacity();
        piece.data.extend_from_slice(&behind.data);
        piece.cut = piece.cut.saturating_sub(behind.data.len() as u64).max(behind.cut);
        piece.received = piece.received.max(behind.received);
        let freed = OVERHEAD + behind.data.capacity() + before;
        self.cost = (self.cost + piece.data.capacity()).saturating_sub(freed);
        true
    }
}

/// Compares what of `from..end` lies in `piece`; where it goes on behind it.
fn compare<'a>(
    start: u64,
    piece: &KeptBytes,
    from: u64,
    end: u64,
    slice: &impl Fn(u64, u64) -> &'a [u8],
    added: &mut Added,
) -> u64 {
    let stop = start + piece.data.len() as u64;
    let (lower, upper) = (start.max(from), stop.min(end));
    if lower >= upper {
        return from;
    }
    let mine = slice(lower, upper);
    let theirs = piece.data.get((lower - start) as usize..(upper - start) as usize);
    if theirs != Some(mine) {
        added.conflict = added.conflict.or(Some(lower));
    }
    added.duplicate += mine.len() as u64;
    stop
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces looked at for `islands` single bytes with holes between, then `again` times all of them and the holes.
    fn steps(islands: u64, again: u64) -> u64 {
        let mut kept = Kept::default();
        for n in 0..islands {
            kept.add(1 + 2 * n, Timestamp::default(), Some(n % 7), b"A", 9);
        }
        let all = vec![b'A'; 2 * islands as usize];
        for _ in 0..again {
            kept.add(1, Timestamp::default(), Some(again % 5), &all, 9);
        }
        kept.steps
    }

    #[test]
    fn an_overlap_costs_by_what_is_new() {
        let (few, many) = (steps(1500, 100), steps(1500, 400));
        // A bounded number of pieces, whatever waits.
        assert!(many - few <= 300 * (APART as u64 + 10), "{few} steps, then {many}");
        let (small, large) = (steps(1500, 1), steps(6000, 1));
        assert!(large < 5 * small, "{small} steps, then {large}");
    }

    #[test]
    fn pieces_that_wait_for_more_are_not_joined_to_those_before() {
        let mut kept = Kept::default();
        for n in 0..1000 {
            kept.add(n, Timestamp::default(), Some(n), b"x", 500);
        }
        assert_eq!(kept.reach(0), 1000);
        let alone = kept.pieces.values().filter(|piece| piece.received > Some(500)).count();
        assert_eq!(alone, 499, "each may have to go before the other direction goes on");
    }

    #[test]
    fn joined_pieces_hold_the_same_bytes_and_count_what_they_cost() {
        let mut kept = Kept::default();
        let whole: Vec<u8> = (0..20_000).map(|n: u32| (n * 7 + n / 251) as u8).collect();
        for n in (0..whole.len()).rev() {
            kept.add(n as u64, Timestamp::default(), None, &whole[n..=n], 0);
        }
        assert!(kept.pieces.len() < 2 * APART && kept.cost() < 200_000, "{} pieces", kept.pieces.len());
        assert_eq!(kept.reach(0), 20_000);
        let mut found = Vec::new();
        while let Some((start, piece)) = kept.pop() {
            assert_eq!(start, found.len() as u64);
            found.extend(piece.data);
        }
        assert_eq!((found == whole, kept.cost()), (true, 0));
    }
}
