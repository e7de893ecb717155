//! COMPRESS=DEFLATE (RFC 4978): raw DEFLATE between TCP and the protocol, inflated piece by piece, bounded.
//!
//! Where bytes were lost, reading goes on with an empty window: at once, for segments mostly end where a sender flushes, or
//! behind the next flush. What refers back to bytes from before the loss fails then, and what begins inside a block is
//! noise, so nothing wrong comes out: either bytes as they were sent, or an error and the next attempt.

use flate2::{Decompress, FlushDecompress};
use memchr::{memchr, memmem};

/// What a sender's flush ends with: the tail of an empty stored block (RFC 1951 section 3.2.4).
const FLUSH: &[u8] = &[0, 0, 0xFF, 0xFF];

/// Room for one step's output: a DEFLATE window.
const STEP: usize = 32 << 10;

/// One direction's DEFLATE layer.
#[derive(Debug)]
pub(crate) struct Inflate {
    stream: Decompress,
    output: Vec<u8>,
    /// The last octets taken in, to see a flush that comes in pieces.
    tail: [u8; 4],
    /// Inflated octets since the last line end.
    without_line: usize,
    /// After a loss: bytes that came out so far with the window that was empty then.
    resumed: Option<u64>,
    /// What comes in is dropped up to the next flush.
    seeking: bool,
}

/// What one step of inflating brought.
pub(crate) struct Inflated<'a> {
    /// Octets of input used.
    pub(crate) used: usize,
    /// Octets that came out.
    pub(crate) octets: &'a [u8],
    /// The input is no DEFLATE stream, or a bomb: nothing more can be had.
    pub(crate) broken: bool,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            stream: Decompress::new(false),
            output: Vec::new(),
            tail: [1; 4],
            without_line: 0,
            resumed: None,
            seeking: false,
        }
    }

    /// A layer whose beginning was not seen.
    pub(crate) fn resumed() -> Self {
        Self { resumed: Some(0), ..Self::new() }
    }

    /// Bytes were lost: tries to go on with those that come next.
    pub(crate) fn resume(&mut self) {
        self.stream.reset(false);
        (self.tail, self.without_line) = ([1; 4], 0);
        (self.resumed, self.seeking) = (Some(0), false);
    }

    /// What was tried after a loss is no beginning: tries again behind the next flush. Not for a stream of which nothing
    /// was lost: then its sender is at fault, and there is no telling what it means.
    pub(crate) fn seek(&mut self) -> bool {
        let lossy = self.resumed.is_some();
        if lossy {
            self.resume();
            self.seeking = true;
        }
        lossy
    }

    /// Whether what comes in cannot be read for now.
    pub(crate) fn is_seeking(&self) -> bool {
        self.seeking
    }

    /// Inflates the head of `input`, at most up to a flush, so that what follows the layer's end is left alone.
    /// `cap`: octets that may come out without a line end.
    pub(crate) fn step(&mut self, input: &[u8], cap: usize) -> Inflated<'_> {
        let flush = flush_end(self.tail, input);
        let upto = flush.unwrap_or(input.len());
        let piece = input.get(..upto).unwrap_or(input);
        if self.seeking {
            self.remember(piece);
            self.seeking = flush.is_none();
            return Inflated { used: upto, octets: &[], broken: false };
        }
        self.output.resize(STEP, 0);
        let (taken, made) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(piece, &mut self.output, FlushDecompress::Sync);
        let used = usize::try_from(self.stream.total_in() - taken).unwrap_or(usize::MAX);
        let out = usize::try_from(self.stream.total_out() - made).unwrap_or(usize::MAX);
        self.remember(piece.get(..used).unwrap_or(piece));
        let octets = self.output.get(..out).unwrap_or_default();
        if self.resumed.as_mut().is_some_and(|before| is_noise(before, octets)) {
            return Inflated { used, octets: &[], broken: true };
        }
        self.without_line = if memchr(b'\n', octets).is_some() { 0 } else { self.without_line.saturating_add(out) };
        let stuck = used == 0 && out == 0 && !piece.is_empty();
        let bomb = self.without_line > cap;
        if bomb {
            // Not to be tried again.
            self.resumed = None;
        }
        let broken = stuck || bomb || status.is_err();
        Inflated { used, octets, broken }
    }

    /// Keeps the last bytes of what was taken in.
    fn remember(&mut self, taken: &[u8]) {
        for octet in taken.get(taken.len().saturating_sub(4)..).unwrap_or(taken) {
            self.tail.rotate_left(1);
            if let Some(last) = self.tail.last_mut() {
                *last = *octet;
            }
        }
    }

    /// Gives back what it does not need.
    pub(crate) fn shrink(&mut self) {
        self.output = Vec::new();
    }

    /// Whether the last octets taken in were a flush: where the layer may end.
    pub(crate) fn is_flushed(&self) -> bool {
        self.tail == FLUSH
    }
}

/// The text that `input`, or what comes behind one of the first flushes in it, inflates to: none if it is text as it
/// stands, or nothing sensible comes of it.
pub(crate) fn text_of(input: &[u8]) -> Option<Vec<u8>> {
    /// Bytes that tell text from DEFLATE: a block of a command has some that are no text among so few.
    const HEAD: usize = 24;
    /// Flushes behind which it is tried.
    const TRIES: usize = 4;
    let head = input.get(..HEAD).unwrap_or(input);
    if head.iter().take_while(|o| **o != b'\n').all(|o| is_text(*o)) {
        return None;
    }
    let mut rest = input;
    for _ in 0..TRIES {
        let text = tried(rest);
        if !text.is_empty() {
            return Some(text);
        }
        rest = rest.get(flush_end([1; 4], rest)?..)?;
    }
    None
}

/// What comes of `input` with an empty window, up to an error; not much is needed.
fn tried(mut input: &[u8]) -> Vec<u8> {
    const ENOUGH: usize = 4 << 10;
    let (mut layer, mut text) = (Inflate::resumed(), Vec::new());
    while !input.is_empty() && text.len() < ENOUGH {
        let step = layer.step(input, ENOUGH);
        text.extend_from_slice(step.octets);
        if step.broken {
            break;
        }
        input = input.get(step.used..).unwrap_or_default();
    }
    text
}

fn is_text(octet: u8) -> bool {
    !octet.is_ascii_control() && octet.is_ascii() || matches!(octet, b'\t' | b'\n' | b'\r')
}

/// Whether the first bytes that came out after a loss are no text: the attempt began inside a block. `before` of them came
/// already.
fn is_noise(before: &mut u64, octets: &[u8]) -> bool {
    /// Mail and responses have no control characters, and noise does not do without them for so long.
    const HEAD: u64 = 256;
    let left = usize::try_from(HEAD.saturating_sub(*before)).unwrap_or(0);
    *before += octets.len() as u64;
    octets.iter().take(left).any(|o| o.is_ascii_control() && !matches!(o, b'\t' | b'\n' | b'\r' | 0x1B))
}

/// Offset just after the first flush in `input`, which may have begun in `tail`.
fn flush_end(tail: [u8; 4], input: &[u8]) -> Option<usize> {
    for head in 1..=3.min(input.len()) {
        let (before, after) = (tail.get(head..), input.get(..head));
        if before.zip(after).is_some_and(|(b, a)| FLUSH.strip_prefix(b) == Some(a)) {
            return Some(head);
        }
    }
    memmem::find(input, FLUSH).map(|at| at + FLUSH.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that comes out of `input`, cut into pieces of `size`.
    fn inflate(input: &[u8], size: usize) -> Vec<u8> {
        let mut layer = Inflate::new();
        let mut out = Vec::new();
        for piece in input.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let step = layer.step(rest, 1 << 20);
                assert!(!step.broken);
                out.extend_from_slice(step.octets);
                rest = &rest[step.used..];
            }
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_octets() {
        // `c NOOP` and then `d LOGOUT`, each flushed.
        let input = b"\x4a\x56\xf0\xf3\xf7\x0f\xe0\xe5\x02\x00\x00\x00\xff\xff\x4a\x51\xf0\x11\x77\xf7\x0f\x0d\xe1\xe5\x02\x00\x00\x00\xff\xff";
        for size in 1..=input.len() {
            assert_eq!(inflate(input, size).len(), inflate(input, 1).len());
        }
        assert!(inflate(input, 3).starts_with(b"c NOOP\r\n"));
    }

    #[test]
    fn the_layer_ends_at_a_flush() {
        let mut layer = Inflate::new();
        let input = b"\x4a\x56\xf0\xf3\xf7\x0f\xe0\xe5\x02\x00\x00\x00\xff\xffplain";
        let step = layer.step(input, 99);
        assert_eq!((step.used, step.octets), (14, &b"c NOOP\r\n"[..]));
        assert!(layer.is_flushed());
    }

    #[test]
    fn a_stream_that_is_finished_is_whole() {
        let mut packed = Vec::with_capacity(64);
        let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
        stream.compress_vec(b"* BYE\r\n", &mut packed, flate2::FlushCompress::Finish).unwrap();
        let mut layer = Inflate::new();
        let step = layer.step(&packed, 99);
        assert_eq!((step.used, step.octets, step.broken), (packed.len(), &b"* BYE\r\n"[..], false));
        assert!(layer.step(b"more", 99).broken);
    }

    #[test]
    fn a_bomb_and_garbage_are_given_up() {
        let mut layer = Inflate::new();
        assert!(layer.step(&[0xFF; 40], 99).broken);
        let mut bomb = flate2::Compress::new(flate2::Compression::best(), false);
        let mut packed = Vec::with_capacity(4096);
        bomb.compress_vec(&[b'x'; 100_000], &mut packed, flate2::FlushCompress::Sync).unwrap();
        let mut layer = Inflate::new();
        let mut rest = packed.as_slice();
        let mut broken = false;
        while !rest.is_empty() && !broken {
            let step = layer.step(rest, 50_000);
            broken = step.broken;
            rest = &rest[step.used..];
        }
        assert!(broken);
    }
}
