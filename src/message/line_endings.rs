//! How the lines of a message end: a profile over all its octets.
//!
//! Mail lines end in CRLF (RFC 5322 section 2.3); what else a message holds tells smugglers and broken
//! senders from the rest. The count runs over every octet, so the loop is written to be vectorised.

/// A line end that a message began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CR LF.
    Crlf,
    /// LF without CR before it.
    Lf,
}

/// Counts of line ends and NULs in the octets seen.
///
/// What stands at the edge of lost octets is counted only as far as it is certain: a CR before them
/// and an LF after them are neither bare nor a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEndings {
    /// CR LF pairs.
    pub crlf: u64,
    /// LF without CR before it.
    pub bare_lf: u64,
    /// CR without LF after it.
    pub bare_cr: u64,
    /// NUL octets.
    pub nul: u64,
    /// The first line end, unless it may be among lost octets.
    pub first: Option<LineEnd>,
    before: Before,
    lossy: bool,
}

/// What stands before the next octet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Other,
    Cr,
    Lost,
}

impl LineEndings {
    /// Takes the next octets.
    pub fn octets(&mut self, octets: &[u8]) {
        let (Some((&head, rest)), Some((&last, front))) = (octets.split_first(), octets.split_last()) else {
            return;
        };
        if self.first.is_none() && !self.lossy {
            self.first = self.first_in(octets);
        }
        self.nul += u64::from(head == 0);
        match (self.before, head == b'\n') {
            (Before::Cr, true) => self.crlf += 1,
            (Before::Cr, false) => self.bare_cr += 1,
            (Before::Other, true) => self.bare_lf += 1,
            (Before::Lost, true) | (_, false) => {}
        }
        let seen = pulp::Arch::new().dispatch(CountLineEnds { before: front, here: rest });
        self.nul += seen.nul;
        self.crlf += seen.crlf;
        self.bare_lf += seen.lf - seen.crlf;
        self.bare_cr += seen.cr - seen.crlf;
        self.before = if last == b'\r' { Before::Cr } else { Before::Other };
    }

    /// Octets were lost here.
    pub fn gap(&mut self) {
        self.before = Before::Lost;
        self.lossy = true;
    }

    /// Nothing follows: a CR at the very end is bare.
    pub fn finish(&mut self) {
        if self.before == Before::Cr {
            self.bare_cr += 1;
        }
        self.before = Before::Other;
    }

    fn first_in(&self, octets: &[u8]) -> Option<LineEnd> {
        let at = memchr::memchr(b'\n', octets)?;
        let before = match at.checked_sub(1).and_then(|at| octets.get(at)) {
            Some(b'\r') => Before::Cr,
            Some(_) => Before::Other,
            None => self.before,
        };
        Some(if before == Before::Cr { LineEnd::Crlf } else { LineEnd::Lf })
    }
}

#[derive(Default)]
struct LineEndCounts {
    lf: u64,
    cr: u64,
    crlf: u64,
    nul: u64,
}

/// Octets compared at once; the compiler makes vector registers of them.
const LANES: usize = 32;
/// Rounds before a lane of one octet could overflow.
const ROUNDS: usize = 255;

/// [`count`], as something to be compiled for wider registers too.
struct CountLineEnds<'a> {
    before: &'a [u8],
    here: &'a [u8],
}

impl pulp::NullaryFnOnce for CountLineEnds<'_> {
    type Output = LineEndCounts;

    #[inline(always)]
    fn call(self) -> LineEndCounts {
        count(self.before, self.here)
    }
}

/// Counts LF and NUL in `here`, CR in `before`, and the pairs; `here` is `before` one octet later.
#[inline(always)]
fn count(before: &[u8], here: &[u8]) -> LineEndCounts {
    let mut counts = LineEndCounts::default();
    for (before, here) in before.chunks(LANES * ROUNDS).zip(here.chunks(LANES * ROUNDS)) {
        let (before, before_rest) = before.as_chunks::<LANES>();
        let (here, here_rest) = here.as_chunks::<LANES>();
        count_lanes(before, here, &mut counts);
        for (&before, &here) in before_rest.iter().zip(here_rest) {
            let (cr, lf) = (before == b'\r', here == b'\n');
            counts.cr += u64::from(cr);
            counts.lf += u64::from(lf);
            counts.crlf += u64::from(cr & lf);
            counts.nul += u64::from(here == 0);
        }
    }
    counts
}

#[expect(clippy::indexing_slicing, reason = "every index is below LANES, the length of all arrays")]
#[inline(always)]
fn count_lanes(before: &[[u8; LANES]], here: &[[u8; LANES]], counts: &mut LineEndCounts) {
    let (mut lf, mut cr, mut crlf, mut nul) = ([0u8; LANES], [0u8; LANES], [0u8; LANES], [0u8; LANES]);
    for (before, here) in before.iter().zip(here) {
        for lane in 0..LANES {
            let is_cr = u8::from(before[lane] == b'\r');
            let is_lf = u8::from(here[lane] == b'\n');
            cr[lane] = cr[lane].wrapping_add(is_cr);
            lf[lane] = lf[lane].wrapping_add(is_lf);
            crlf[lane] = crlf[lane].wrapping_add(is_cr & is_lf);
            nul[lane] = nul[lane].wrapping_add(u8::from(here[lane] == 0));
        }
    }
    let sum = |lanes: [u8; LANES]| lanes.iter().map(|&lane| u64::from(lane)).sum::<u64>();
    counts.lf += sum(lf);
    counts.cr += sum(cr);
    counts.crlf += sum(crlf);
    counts.nul += sum(nul);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn profile(pieces: &[&[u8]]) -> LineEndings {
        let mut profile = LineEndings::default();
        for piece in pieces {
            profile.octets(piece);
        }
        profile.finish();
        profile
    }

    fn model(octets: &[u8]) -> LineEndings {
        let mut profile = LineEndings::default();
        for (at, &octet) in octets.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| octets[at]);
            match octet {
                b'\n' if before == Some(b'\r') => profile.crlf += 1,
                b'\n' => profile.bare_lf += 1,
                b'\r' if octets.get(at + 1) != Some(&b'\n') => profile.bare_cr += 1,
                0 => profile.nul += 1,
                _ => {}
            }
            if octet == b'\n' && profile.first.is_none() {
                profile.first = Some(if before == Some(b'\r') { LineEnd::Crlf } else { LineEnd::Lf });
            }
        }
        profile
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(octets in prop::collection::vec(prop::sample::select(b"\r\n\0a".to_vec()), 0..600), cut in 0usize..600) {
            let (front, back) = octets.split_at(cut.min(octets.len()));
            prop_assert_eq!(profile(&[front, back]), model(&octets));
        }
    }

    #[test]
    fn long_runs_do_not_overflow_a_lane() {
        let octets = vec![b'\n'; 1 << 20];
        assert_eq!(profile(&[&octets]).bare_lf, 1 << 20);
        let pairs = b"\r\n".repeat(1 << 20);
        assert_eq!(profile(&[&pairs]).crlf, 1 << 20);
    }

    #[test]
    fn the_edges_of_a_gap_are_not_guessed() {
        let mut profile = LineEndings::default();
        profile.octets(b"a\r");
        profile.gap();
        profile.octets(b"\nb\n");
        profile.finish();
        assert_eq!((profile.crlf, profile.bare_lf, profile.bare_cr), (0, 1, 0));
        assert_eq!(profile.first, None);
    }
}
