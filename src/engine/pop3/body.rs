//! What follows a `+OK` up to the terminator: a message, or a list (RFC 1939 section 3).

use super::QueuedCommand;
use super::grammar::two_numbers;
use crate::engine::frame::LineEnding;
use crate::engine::pending::Waiting;
use crate::engine::session::state::Stamp;
use crate::event::List;
use crate::event::Transaction;
use crate::time::Timestamp;

/// A multi-line reply that is going on.
#[derive(Debug)]
pub(super) struct MultilineReply {
    /// The command it answers, taken out of the queue; `None` if that was not seen.
    pub(super) entry: Option<Waiting<QueuedCommand>>,
    pub(super) content: BodyContent,
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
    /// Line ends of the text so far.
    pub(super) ends: LineEndEvidence,
    /// A lone dot whose line ends are not CRLF: the end, or text.
    pub(super) loose: Option<Loose>,
}

/// What the line ends of a text show of its sender.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineEndEvidence {
    /// The status line, or a line of the text, ended with something else than CRLF: so do all lines of this server.
    pub(super) loose_server: bool,
    /// Some line ended with CRLF.
    crlf: bool,
    /// The last two octets.
    tail: [u8; 2],
}

impl LineEndEvidence {
    /// Of a text behind a status line that ended so.
    pub(super) fn behind(status: LineEnding) -> Self {
        Self { loose_server: status != LineEnding::Crlf, ..Self::default() }
    }

    /// Takes the next octets of the text.
    pub(super) fn read(&mut self, octets: &[u8]) {
        if !self.crlf {
            let over = self.tail.last() == Some(&b'\r') && octets.first() == Some(&b'\n');
            self.crlf = over || memchr::memmem::find(octets, b"\r\n").is_some();
        }
        self.tail = match octets {
            [.., a, b] => [*a, *b],
            [b] => [self.tail[1], *b],
            [] => self.tail,
        };
    }

    /// Whether a lone dot that is no strict end can hardly be text: a sender that ends its lines with CRLF writes two
    /// dots for one behind CRLF, and one that ends none with CRLF means its own line ends.
    pub(super) fn show_an_end(&self) -> bool {
        self.loose_server || !self.crlf || self.tail == *b"\r\n"
    }
}

/// A lone dot that may be the end of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loose {
    /// Octets of the body up to it.
    pub(super) wire: u64,
    /// Stream offset behind it.
    pub(super) end: u64,
    /// When it came.
    pub(super) stamp: Stamp,
}

/// How the text of a body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// By the framer, which tells a strict terminator from a loose one.
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
pub(super) enum BodyContent {
    /// A message.
    Message(Box<Transaction>),
    /// Capabilities (RFC 2449 section 5).
    Capabilities(LineAssembler),
    /// A scan listing: messages and octets.
    Sizes(LineAssembler),
    /// Something that nobody asks for.
    Other,
}

/// Lines put together from pieces, bounded.
#[derive(Debug, Default)]
pub(super) struct LineAssembler {
    partial: Vec<u8>,
    /// Lines kept, if they are to be kept.
    pub(super) kept: List,
    /// Some line or list was longer than the cap.
    pub(super) truncated: bool,
    /// Lines that were `n m`, and the sum of their second numbers.
    pub(super) sizes: (u64, u64),
    /// Lines that were something else.
    pub(super) odd: u64,
    /// The second numbers by the first, from 1.
    pub(super) listed: Vec<u32>,
}

/// Notes in `listed` that message `number` has `size` octets; `cap` messages at most.
pub(super) fn note_size(listed: &mut Vec<u32>, number: u64, size: u64, cap: usize) {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    let (Some(at), Ok(size)) = (at.checked_sub(1).filter(|at| *at < cap), u32::try_from(size)) else { return };
    if at >= listed.len() {
        listed.resize(at + 1, 0);
    }
    if let Some(noted) = listed.get_mut(at) {
        *noted = size;
    }
}

impl LineAssembler {
    /// Takes the next octets; keeps whole lines up to `cap` octets in all (0 keeps none), and the sizes of `listed` messages.
    pub(super) fn octets(&mut self, octets: &[u8], cap: usize, listed: usize) {
        for piece in octets.split_inclusive(|o| *o == b'\n') {
            let room = cap.max(LONGEST).saturating_sub(self.partial.len());
            self.truncated |= piece.len() > room;
            self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.line(cap, listed);
            }
        }
    }

    fn line(&mut self, cap: usize, listed: usize) {
        let line = self.partial.trim_ascii();
        match two_numbers(line) {
            Some((number, size)) => {
                note_size(&mut self.listed, number, size, listed);
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
            let mut lines = LineAssembler::default();
            for piece in b"1 120\r\n2 200\r\nstls\r\nsasl plain x\r\n".chunks(size) {
                lines.octets(piece, 99, 9);
            }
            assert_eq!((lines.sizes, lines.odd, lines.truncated), ((2, 320), 2, false));
            assert_eq!(lines.listed, [120, 200]);
            let kept: Vec<&[u8]> = lines.kept.iter().collect();
            assert_eq!(kept, [&b"1 120"[..], b"2 200", b"STLS", b"SASL plain x"]);
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let mut lines = LineAssembler::default();
        for _ in 0..1000 {
            lines.octets(&[b'x'; 1000], 50, 0);
            lines.octets(b"\r\n", 50, 0);
        }
        assert!(lines.truncated && lines.kept.octets() <= 50);
    }
}
