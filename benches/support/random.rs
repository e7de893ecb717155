//! Chance from a seed. Only integer and IEEE-exact operations, so that a seed means the same everywhere.

/// SplitMix64 (Steele, Lea and Flood 2014): small, quick, and good enough for traffic.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) const fn below(&mut self, n: u64) -> u64 {
        ((self.bits() as u128 * n as u128) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(crate) const fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a thousand.
    pub(crate) const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `items`.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A log-normal size around `median`, `sigma` doublings wide, kept within `low` and `high`.
    pub(crate) fn size(&mut self, median: f64, sigma: f64, low: usize, high: usize) -> usize {
        // Twelve uniforms less six are normal enough, and need no logarithm.
        let sum: u64 = (0..12).map(|_| self.bits() >> 40).sum();
        let doublings = (sum as f64 / (1u64 << 24) as f64 - 6.0) * sigma;
        let whole = doublings.floor();
        let factor = 1.0 + (doublings - whole);
        let power = if whole < 0.0 { 1.0 / (1u64 << (-whole) as u32) as f64 } else { (1u64 << whole as u32) as f64 };
        ((median * factor * power) as usize).clamp(low, high)
    }

    /// Appends `n` random octets.
    pub(crate) fn fill(&mut self, n: usize, out: &mut Vec<u8>) {
        let end = out.len() + n;
        while out.len() < end {
            out.extend_from_slice(&self.bits().to_le_bytes());
        }
        out.truncate(end);
    }
}
