//! What follows a `+OK` up to the terminator: a message, or a list (RFC 1939 section 3).

use super::Entry;
use super::grammar::two_numbers;
use crate::engine::pending::Waiting;
use crate::event::List;
use crate::event::Transaction;
use crate::time::Timestamp;

/// A multi-line reply that is going on.
#[derive(Debug)]
pub(super) struct Body {
    /// The command it answers, taken out of the queue; `None` if that was not seen.
    pub(super) entry: Option<Waiting<Entry>>,
    pub(super) content: Content,
    /// Time of the first octet of the status line.
    pub(super) first: Timestamp,
    /// Octets of the status line.
    pub(super) status: u64,
    /// Stream offset after the status line.
    pub(super) start: u64,
    /// Octets so far that were cut as lines.
    pub(super) wire: u64,
    /// Time of the first octet after the status line.
    pub(super) began: Option<Timestamp>,
    /// How the text is cut.
    pub(super) cut: Cut,
    /// Of lines: the last one ended with CRLF.
    pub(super) ended_by_crlf: bool,
}

/// How the text of a body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// By the framer, which sees a strict terminator only.
    Dot,
    /// As lines: octets of it were lost up to this offset, its end perhaps among them.
    Torn(u64),
    /// As lines: a list, in which no line can be a status line, so that a terminator left out is noticed.
    Listed,
    /// As lines: this server ends its lines with LF alone.
    Loose,
}

/// What is in a body.
#[derive(Debug)]
pub(super) enum Content {
    /// A message.
    Message(Box<Transaction>),
    /// Capabilities (RFC 2449 section 5).
    Capabilities(Lines),
    /// A scan listing: messages and octets.
    Sizes(Lines),
    /// Something that nobody asks for.
    Other,
}

/// Lines put together from pieces, bounded.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// Lines kept, if they are to be kept.
    pub(super) kept: List,
    /// Some line or list was longer than the cap.
    pub(super) truncated: bool,
    /// Lines that were `n m`, and the sum of their second numbers.
    pub(super) sizes: (u64, u64),
    /// Lines that were something else.
    pub(super) odd: u64,
}

impl Lines {
    /// Takes the next octets; keeps whole lines up to `cap` octets in all. 0 keeps none.
    pub(super) fn octets(&mut self, octets: &[u8], cap: usize) {
        for piece in octets.split_inclusive(|o| *o == b'\n') {
            let room = cap.max(LONGEST).saturating_sub(self.partial.len());
            self.truncated |= piece.len() > room;
            self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.line(cap);
            }
        }
    }

    fn line(&mut self, cap: usize) {
        let line = self.partial.trim_ascii();
        match two_numbers(line) {
            Some((_, size)) => {
                self.sizes.0 = self.sizes.0.saturating_add(1);
                self.sizes.1 = self.sizes.1.saturating_add(size);
            }
            None => self.odd = self.odd.saturating_add(1),
        }
        if self.kept.octets() + line.len() <= cap {
            if !line.is_empty() {
                self.kept.push(&with_upper_keyword(line));
            }
        } else {
            self.truncated |= cap > 0;
        }
        self.partial.clear();
    }
}

/// The longest line of a listing that is looked at: a unique id has 70 octets.
const LONGEST: usize = 128;

fn with_upper_keyword(line: &[u8]) -> Vec<u8> {
    let keyword = line.iter().position(|o| *o == b' ').unwrap_or(line.len());
    let mut entry = line.to_vec();
    if let Some(keyword) = entry.get_mut(..keyword) {
        keyword.make_ascii_uppercase();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_together_from_any_pieces() {
        for size in 1..20 {
            let mut lines = Lines::default();
            for piece in b"1 120\r\n2 200\r\nstls\r\nsasl plain x\r\n".chunks(size) {
                lines.octets(piece, 99);
            }
            assert_eq!((lines.sizes, lines.odd, lines.truncated), ((2, 320), 2, false));
            let kept: Vec<&[u8]> = lines.kept.iter().collect();
            assert_eq!(kept, [&b"1 120"[..], b"2 200", b"STLS", b"SASL plain x"]);
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.octets(&[b'x'; 1000], 50);
            lines.octets(b"\r\n", 50);
        }
        assert!(lines.truncated && lines.kept.octets() <= 50);
    }
}
