//! Digests of the last octets delivered, in blocks that stand where the stream's offsets say, however it was cut.
//!
//! They show that bulk was sent again with other octets, without a copy of it. The digest is linear: what parts of a
//! block add up to does not depend on the parts. It tells octets apart by chance, and is not meant to withstand forgers.

/// Octets of a block.
const BLOCK: usize = 64;
/// Blocks remembered: with their digests of 4 octets, 1 KiB for the last 16 KiB of a direction.
const BLOCKS: usize = 256;

/// The last blocks of one direction, and what was sent again of them.
#[derive(Debug)]
pub(super) struct Blocks {
    /// By number, modulo their count; 0 where octets were lost.
    ring: [u32; BLOCKS],
    sent: Fold,
    again: Fold,
}

/// Adds up octets to blocks.
#[derive(Clone, Copy, Debug)]
struct Fold {
    /// Offset of the next octet.
    at: u64,
    /// What the octets of its block before it add up to.
    sum: u64,
    /// Whether none of them is missing.
    whole: bool,
}

impl Blocks {
    /// Begins with the octet at `offset`.
    pub(super) fn new(offset: u64) -> Self {
        Self { ring: [0; BLOCKS], sent: Fold::new(offset), again: Fold::new(offset) }
    }

    /// `data` was delivered.
    pub(super) fn note(&mut self, offset: u64, data: &[u8]) {
        // What the ring has no room for would be written over.
        let skipped = data.len().saturating_sub(BLOCK * (BLOCKS + 1));
        let (offset, data) = (offset + skipped as u64, data.get(skipped..).unwrap_or_default());
        if offset != self.sent.at {
            let lost = self.sent.number()..offset / BLOCK as u64;
            lost.take(BLOCKS).for_each(|number| put(&mut self.ring, number, 0));
        }
        let ring = &mut self.ring;
        self.sent.take(offset, data, |number, digest| put(ring, number, digest));
    }

    /// `data`, all of it delivered before, was sent again: offset of the first block that now differs. A block counts
    /// once it was sent again as a whole, be it in pieces that follow each other; of the last one, what was delivered.
    pub(super) fn differs(&mut self, offset: i64, data: &[u8]) -> Option<u64> {
        let before = usize::try_from(offset.checked_neg()?).unwrap_or(0);
        let (mut from, mut data) = (u64::try_from(offset).unwrap_or(0), data.get(before..)?);
        // One octet alone may be a probe, whose octet means nothing.
        if data.len() < 2 {
            return None;
        }
        if let Some(rest) = self.again.follows(from).and_then(|known| data.get(known..)) {
            (from, data) = (self.again.at, rest);
        }
        let (ring, current) = (&self.ring, self.sent.number());
        let mut first = None;
        self.again.take(from, data, |number, digest| {
            let known = if (number..=number + BLOCKS as u64).contains(&current) && number != current {
                ring.get(number as usize % BLOCKS).copied().unwrap_or(0)
            } else {
                0
            };
            if known != 0 && digest != 0 && known != digest {
                first.get_or_insert(number * BLOCK as u64);
            }
        });
        let both = self.again.whole && self.sent.whole && self.again.at == self.sent.at;
        first.or_else(|| (both && self.again.sum != self.sent.sum).then_some(current * BLOCK as u64))
    }
}

impl Fold {
    fn new(offset: u64) -> Self {
        Self { at: offset, sum: 0, whole: offset.is_multiple_of(BLOCK as u64) }
    }

    fn number(&self) -> u64 {
        self.at / BLOCK as u64
    }

    /// Octets, of those from `offset` on, that are in the sum of the block under way, which began before them.
    fn follows(&self, offset: u64) -> Option<usize> {
        let began = self.number() * BLOCK as u64;
        (self.whole && began < offset && offset <= self.at).then(|| (self.at - offset) as usize)
    }

    /// Adds `data`; each block that ends is given with its number and digest, 0 if octets of it are missing.
    #[inline]
    fn take(&mut self, offset: u64, data: &[u8], mut each: impl FnMut(u64, u32)) {
        if offset != self.at {
            *self = Self::new(offset);
        }
        let inside = self.at as usize % BLOCK;
        let (head, rest) = match inside {
            0 => (&[][..], data),
            _ => data.split_at_checked(BLOCK - inside).unwrap_or((data, &[])),
        };
        if !head.is_empty() {
            let number = self.number();
            self.sum = self.sum.wrapping_add(part(inside, head));
            self.at += head.len() as u64;
            if inside + head.len() < BLOCK {
                return;
            }
            each(number, if self.whole { seal(self.sum) } else { 0 });
            (self.sum, self.whole) = (0, true);
        }
        let (blocks, tail) = rest.as_chunks::<BLOCK>();
        (self.number()..).zip(blocks).for_each(|(number, block)| each(number, seal(sum(block))));
        if !tail.is_empty() {
            self.sum = part(0, tail);
        }
        self.at += rest.len() as u64;
    }
}

fn put(ring: &mut [u32; BLOCKS], number: u64, digest: u32) {
    if let Some(place) = ring.get_mut(number as usize % BLOCKS) {
        *place = digest;
    }
}

/// What a block adds up to: each word times a number of its own, so that no octet changes unnoticed. Two lanes, for
/// processors that add them at once.
#[inline]
fn sum(block: &[u8; BLOCK]) -> u64 {
    let (mut plain, mut weighed) = ([0_u64; 2], [0_u64; 2]);
    let (pairs, _) = block.as_chunks::<16>();
    for pair in pairs {
        let (words, _) = pair.as_chunks::<8>();
        for ((plain, weighed), word) in plain.iter_mut().zip(&mut weighed).zip(words) {
            *plain = plain.wrapping_add(u64::from_le_bytes(*word));
            *weighed = weighed.wrapping_add(*plain);
        }
    }
    let ([even, odd], [even_weighed, odd_weighed]) = (plain, weighed);
    (even.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(odd.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(even_weighed.wrapping_mul(0xd6e8_feb8_6659_fd92))
        .wrapping_add(odd_weighed.wrapping_mul(0x94d0_49bb_1331_11ea))
}

/// What the octets of a block from `inside` on add up to.
fn part(inside: usize, data: &[u8]) -> u64 {
    let mut block = [0; BLOCK];
    if let Some(room) = block.get_mut(inside..).and_then(|room| room.get_mut(..data.len())) {
        room.copy_from_slice(data);
    }
    sum(&block)
}

/// The digest of a whole block, never 0.
#[inline]
fn seal(sum: u64) -> u32 {
    (((sum ^ (sum >> 32)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 32) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_octet_changes_unnoticed() {
        let block: [u8; BLOCK] = std::array::from_fn(|n| (n * 37) as u8);
        for place in 0..BLOCK {
            for change in 1..=255 {
                let mut other = block;
                other[place] ^= change;
                assert_ne!(seal(sum(&block)), seal(sum(&other)), "{place} {change}");
            }
        }
    }

    #[test]
    fn parts_add_up() {
        let block: [u8; BLOCK] = std::array::from_fn(|n| 255 - n as u8);
        for cut in 0..=BLOCK {
            let (head, tail) = block.split_at(cut);
            assert_eq!(part(0, head).wrapping_add(part(cut, tail)), sum(&block));
        }
    }

    #[test]
    fn what_fell_out_of_the_window_or_was_lost_is_not_compared() {
        let span = BLOCK * BLOCKS;
        let mut blocks = Blocks::new(0);
        blocks.note(0, &vec![b'a'; span + 130]);
        assert_eq!(blocks.differs(0, &[b'b'; 128]), None);
        assert_eq!(blocks.differs(128, &[b'b'; 64]), Some(128));
        blocks.note(span as u64 + 1000, b"after a gap");
        assert_eq!(blocks.differs(span as i64 + 128, &[b'b'; 800]), None);
        assert_eq!(blocks.differs(span as i64 + 64, &[b'b'; 64]), Some(span as u64 + 64));
    }

    #[test]
    fn small_pieces_sent_again_add_up_to_a_block() {
        let mut blocks = Blocks::new(0);
        blocks.note(0, &[b'a'; 1000]);
        assert_eq!(blocks.differs(60, &[b'b'; 30]), None);
        assert_eq!(blocks.differs(90, &[b'b'; 30]), None);
        assert_eq!(blocks.differs(100, &[b'b'; 60]), Some(64), "the one that began at 60 cannot be known");
        assert_eq!(blocks.differs(160, &[b'b'; 40]), Some(128));
        assert_eq!(blocks.differs(990, b"aaaaaaaaaa"), None);
        assert_eq!(blocks.differs(950, &[b'a'; 50]), None);
        assert_eq!(blocks.differs(950, &[b'b'; 50]), Some(960));
        assert_eq!(blocks.differs(-10, &[b'a'; 200]), None);
    }
}
