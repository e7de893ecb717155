//! One direction of a conversation, cut into frames: lines, counted octets, dot-stuffed text, opaque octets.
//!
//! Three framings make three protocols: DATA and POP3 bodies are [`Mode::Dot`], BDAT chunks and IMAP literals are
//! [`Mode::Octets`], all else is [`Mode::Line`]. The framer knows no command; who does, sets its mode. It borrows
//! from its input wherever it can, keeps its place across calls, and cuts the same frames however the input is cut.

use std::sync::LazyLock;

use memchr::{memchr, memmem};

use crate::time::Timestamp;

/// A dot at the start of a line; built once, for it is searched in every segment of every message.
static DOT_LINE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\n."));

/// What the next octets of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines ended by CRLF or LF.
    Line,
    /// So many octets, whatever they are (RFC 3030, RFC 9051 section 4.3); then lines again.
    Octets(u64),
    /// Dot-stuffed text up to CRLF `.` CRLF (RFC 5321 section 4.5.2, RFC 1939 section 3); then lines again.
    Dot,
    /// Depends on what the other side answers: nothing is cut until then.
    Await,
    /// Nothing to be read any more: TLS, a SASL layer.
    Opaque,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// CRLF.
    Crlf,
    /// LF alone.
    Lf,
    /// More than one CR before the LF.
    MultiCr,
    /// The direction closed before a line end.
    None,
}

/// A complete line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The octets without the line end; cut at the cap.
    pub octets: &'a [u8],
    /// Octets it took on the wire, line end included.
    pub wire: u64,
    /// Stream offset of its first octet.
    pub start: u64,
    /// Time of its first octet.
    pub began: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// It was longer than the cap: `octets` is its head.
    pub truncated: bool,
}

impl Line<'_> {
    /// Stream offset just after its line end.
    pub fn end(&self) -> u64 {
        self.start + self.wire
    }
}

/// A piece of a direction.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// A line.
    Line(Line<'a>),
    /// Some of the counted octets; `last` with the final piece (which may be empty).
    Octets {
        /// The octets.
        octets: &'a [u8],
        /// Whether the count is reached.
        last: bool,
    },
    /// Some of the counted octets were lost.
    Lost {
        /// How many.
        octets: u64,
        /// Whether the count is reached.
        last: bool,
    },
    /// Some dot-stuffed text, the stuffing removed.
    Body(&'a [u8]),
    /// The end of dot-stuffed text.
    BodyEnd {
        /// Octets of text, stuffing and terminator on the wire.
        wire: u64,
    },
    /// Octets that cannot be read.
    Opaque(&'a [u8]),
}

/// Where dot-stuffed text stands (RFC 5321 section 4.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// After CRLF, or at the very start.
    LineStart,
    /// After a dot at the start of a line.
    Stuffed,
    /// After that dot and a CR.
    StuffedCr,
    /// After a CR elsewhere.
    Cr,
    /// Anywhere else.
    Text,
}

/// A dot line ended by something else than CRLF `.` CRLF: what a loose receiver might take for the end of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LooseEnd {
    /// Stream offset of the dot.
    pub offset: u64,
    /// Up to two octets before the dot and two after it, as far as they came in one piece.
    pub around: [u8; 4],
}

/// Cuts one direction.
#[derive(Debug)]
pub struct Framer {
    mode: Mode,
    /// Stream offset of the next octet.
    offset: u64,
    /// Head of a line that is not complete.
    partial: Vec<u8>,
    /// Octets of that line so far, those beyond the cap included.
    line_octets: u64,
    line_began: Timestamp,
    /// The last octet of the line so far is CR; kept apart since the cap may have cut it.
    line_cr: u8,
    /// `partial` was handed out and is to be emptied.
    spent: bool,
    /// Octets up to the next LF belong to a line whose start was lost.
    skip_line: bool,
    dot: Place,
    dot_wire: u64,
    loose: Option<LooseEnd>,
    loose_count: u32,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// At offset 0, in lines.
    pub fn new() -> Self {
        Self {
            mode: Mode::Line,
            offset: 0,
            partial: Vec::new(),
            line_octets: 0,
            line_began: Timestamp::default(),
            line_cr: 0,
            spent: false,
            skip_line: false,
            dot: Place::LineStart,
            dot_wire: 0,
            loose: None,
            loose_count: 0,
        }
    }

    /// What the next octets are.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Stream offset of the next octet.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Decides what the next octets are.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        if mode == Mode::Dot {
            self.dot = Place::LineStart;
            self.dot_wire = 0;
            self.loose = None;
            self.loose_count = 0;
        }
    }

    /// Whether a line has begun and not ended.
    pub fn inside_line(&self) -> bool {
        self.skip_line || (self.line_octets > 0 && !self.spent)
    }

    /// Whether [`Self::next`] has a frame to give without further input.
    pub fn is_ready(&self) -> bool {
        self.mode == Mode::Octets(0)
    }

    /// First loose end of the current or last dot-stuffed text, and how many there were.
    pub fn loose_ends(&self) -> (Option<LooseEnd>, u32) {
        (self.loose, self.loose_count)
    }

    /// Cuts the next frame from `input`, which came at `at`: how many octets it used, and the frame if one is complete.
    /// `cap` is how many octets of a line are kept. In [`Mode::Await`] nothing is used.
    pub fn next<'a>(&'a mut self, at: Timestamp, input: &'a [u8], cap: usize) -> (usize, Option<Frame<'a>>) {
        match self.mode {
            Mode::Line => self.line(at, input, cap),
            Mode::Octets(left) => self.octets(left, input),
            Mode::Dot => self.dot_text(input),
            Mode::Await => (0, None),
            Mode::Opaque => {
                self.offset += input.len() as u64;
                (input.len(), (!input.is_empty()).then_some(Frame::Opaque(input)))
            }
        }
    }

    /// `lost` octets of this direction are missing. Counted octets absorb the loss: the frame to report, and how many
    /// octets of it lie beyond the count. Otherwise all do, and a line that has begun is dropped up to its end.
    pub fn gap(&mut self, lost: u64) -> (Option<Frame<'static>>, u64) {
        self.offset += lost;
        match self.mode {
            Mode::Octets(left) => {
                let octets = lost.min(left);
                let last = octets == left;
                self.mode = if last { Mode::Line } else { Mode::Octets(left - octets) };
                (Some(Frame::Lost { octets, last }), lost - octets)
            }
            Mode::Dot => {
                self.dot = Place::Text;
                self.dot_wire += lost;
                (None, lost)
            }
            Mode::Line | Mode::Await | Mode::Opaque => {
                self.drop_line();
                self.skip_line = true;
                (None, lost)
            }
        }
    }

    /// What is there of a line whose end will not come.
    pub fn last_line(&mut self) -> Option<Line<'_>> {
        if self.mode != Mode::Line || !self.inside_line() || self.skip_line {
            return None;
        }
        self.spent = true;
        let wire = self.line_octets;
        Some(Line {
            octets: &self.partial,
            wire,
            start: self.offset - wire,
            began: self.line_began,
            ending: Ending::None,
            truncated: (self.partial.len() as u64) < wire,
        })
    }

    /// Octets up to the next line end are the rest of a line whose start was lost, or not.
    pub fn set_skip_line(&mut self, skip: bool) {
        self.skip_line = skip;
    }

    /// `octets` of this direction were taken by somebody else.
    pub fn advance_by(&mut self, octets: u64) {
        self.offset += octets;
    }

    /// Gives back what it does not need.
    pub fn shrink(&mut self) {
        if self.spent {
            self.drop_line();
        }
        self.partial.shrink_to_fit();
    }

    fn drop_line(&mut self) {
        self.partial.clear();
        self.line_octets = 0;
        self.line_cr = 0;
        self.spent = false;
    }

    fn line<'a>(&'a mut self, at: Timestamp, input: &'a [u8], cap: usize) -> (usize, Option<Frame<'a>>) {
        if self.spent {
            self.drop_line();
        }
        if input.is_empty() {
            return (0, None);
        }
        let end = memchr(b'\n', input);
        let used = end.map_or(input.len(), |i| i + 1);
        self.offset += used as u64;
        if self.skip_line {
            self.skip_line = end.is_none();
            return (used, None);
        }
        if self.line_octets == 0 {
            self.line_began = at;
        }
        let start = self.offset - used as u64 - self.line_octets;
        self.line_octets += used as u64;
        let piece = input.get(..used).unwrap_or_default();
        let Some(_) = end else {
            let room = cap.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(piece.get(..room.min(used)).unwrap_or_default());
            self.line_cr = trailing_cr(self.line_cr, piece);
            return (used, None);
        };
        let text = piece.strip_suffix(b"\n").unwrap_or(piece);
        let crs = trailing_cr(self.line_cr, text);
        let ending = match crs {
            0 => Ending::Lf,
            1 => Ending::Crlf,
            _ => Ending::MultiCr,
        };
        let wire = self.line_octets;
        let began = self.line_began;
        self.line_cr = 0;
        let content = wire - 1 - u64::from(crs > 0);
        let kept = usize::try_from(content).unwrap_or(usize::MAX).min(cap);
        if wire == used as u64 {
            self.line_octets = 0;
            let octets = text.get(..kept).unwrap_or_default();
            let line = Line { octets, wire, start, began, ending, truncated: (kept as u64) < content };
            return (used, Some(Frame::Line(line)));
        }
        let room = cap.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        self.partial.truncate(kept);
        self.spent = true;
        let line = Line { octets: &self.partial, wire, start, began, ending, truncated: (kept as u64) < content };
        (used, Some(Frame::Line(line)))
    }

    fn octets<'a>(&'a mut self, left: u64, input: &'a [u8]) -> (usize, Option<Frame<'a>>) {
        if input.is_empty() && left > 0 {
            return (0, None);
        }
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        self.offset += used as u64;
        let last = used as u64 == left;
        self.mode = if last { Mode::Line } else { Mode::Octets(left - used as u64) };
        (used, Some(Frame::Octets { octets: input.get(..used).unwrap_or_default(), last }))
    }

    fn dot_text<'a>(&'a mut self, input: &'a [u8]) -> (usize, Option<Frame<'a>>) {
        let Some((&first, rest)) = input.split_first() else { return (0, None) };
        match (self.dot, first) {
            (Place::LineStart, b'.') => {
                self.advance(1, Place::Stuffed);
                (1, None)
            }
            (Place::Stuffed, b'\r') => {
                if rest.first() == Some(&b'\n') {
                    self.advance(2, Place::Text);
                    return (2, Some(self.end_of_data()));
                }
                self.advance(1, Place::StuffedCr);
                (1, None)
            }
            (Place::StuffedCr, b'\n') => {
                self.advance(1, Place::Text);
                (1, Some(self.end_of_data()))
            }
            // The dot was stuffing, the CR was text.
            (Place::StuffedCr, _) => {
                self.dot = Place::Cr;
                (0, Some(Frame::Body(b"\r")))
            }
            (Place::Cr, b'\n') => {
                self.advance(1, Place::LineStart);
                (1, Some(Frame::Body(input.get(..1).unwrap_or_default())))
            }
            (_, _) => self.dot_run(input),
        }
    }

    /// Text from inside a line up to the next dot at the start of a line.
    fn dot_run<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Frame<'a>>) {
        let mut from = 0;
        while let Some(at) = input.get(from..).and_then(|rest| DOT_LINE.find(rest)) {
            let dot = from + at + 1;
            if dot >= 2 && input.get(dot - 2) == Some(&b'\r') {
                let text = input.get(..dot).unwrap_or_default();
                self.advance(dot + 1, Place::Stuffed);
                return (dot + 1, Some(Frame::Body(text)));
            }
            self.note_loose(input, dot);
            from = dot;
        }
        let after = match input {
            [.., b'\r', b'\n'] => Place::LineStart,
            [.., b'\r'] => Place::Cr,
            _ => Place::Text,
        };
        self.advance(input.len(), after);
        (input.len(), Some(Frame::Body(input)))
    }

    fn note_loose(&mut self, input: &[u8], dot: usize) {
        let octet = |i: Option<usize>| i.and_then(|i| input.get(i)).copied().unwrap_or(0);
        let around = [octet(dot.checked_sub(2)), octet(dot.checked_sub(1)), octet(Some(dot + 1)), octet(Some(dot + 2))];
        if matches!(around, [_, _, b'\n', _] | [_, _, b'\r', _]) {
            self.loose_count = self.loose_count.saturating_add(1);
            self.loose.get_or_insert(LooseEnd { offset: self.offset + dot as u64, around });
        }
    }

    fn advance(&mut self, used: usize, dot: Place) {
        self.offset += used as u64;
        self.dot_wire += used as u64;
        self.dot = dot;
    }

    fn end_of_data(&mut self) -> Frame<'static> {
        self.mode = Mode::Line;
        Frame::BodyEnd { wire: self.dot_wire }
    }
}

/// How many CRs (two stand for any more) `text` ends with, when `before` of them came just before it.
fn trailing_cr(before: u8, text: &[u8]) -> u8 {
    match text {
        [.., b'\r', b'\r'] => 2,
        [b'\r'] => (before + 1).min(2),
        [.., b'\r'] => 1,
        [] => before,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of `input` fed in `pieces`, with `mode` set first; adjacent body and octet pieces joined.
    fn cut(mode: Mode, pieces: &[&[u8]], cap: usize) -> Vec<String> {
        let mut framer = Framer::new();
        framer.set_mode(mode);
        let mut frames: Vec<String> = Vec::new();
        let (mut body, mut octets) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (used, frame) = framer.next(Timestamp::default(), rest, cap);
                let none = frame.is_none();
                match frame {
                    Some(Frame::Body(text)) => body.extend_from_slice(text),
                    Some(Frame::BodyEnd { wire }) => {
                        frames.push(format!("body {} wire {wire}", body.escape_ascii()));
                        body.clear();
                    }
                    Some(Frame::Octets { octets: o, last }) => {
                        octets.extend_from_slice(o);
                        if last {
                            frames.push(format!("octets {}", octets.escape_ascii()));
                        }
                    }
                    Some(Frame::Line(l)) => frames.push(format!(
                        "line {} {:?} {}+{}{}",
                        l.octets.escape_ascii(),
                        l.ending,
                        l.start,
                        l.wire,
                        if l.truncated { " cut" } else { "" }
                    )),
                    Some(other) => frames.push(format!("{other:?}")),
                    None => {}
                }
                rest = &rest[used..];
                if rest.is_empty() && none {
                    break;
                }
            }
        }
        if !body.is_empty() {
            frames.push(format!("open {}", body.escape_ascii()));
        }
        frames
    }

    fn check(mode: Mode, input: &[u8], cap: usize, expected: &[&str]) {
        assert_eq!(cut(mode, &[input], cap), expected, "whole");
        let octets: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(cut(mode, &octets, cap), expected, "octet by octet");
        for at in 0..=input.len() {
            let (a, b) = input.split_at(at);
            assert_eq!(cut(mode, &[a, b], cap), expected, "split at {at}");
        }
    }

    #[test]
    fn lines_end_at_lf_and_lose_one_cr() {
        check(
            Mode::Line,
            b"a\r\nb\n\r\n\nc\r\r\nd\re\r\n",
            99,
            &[
                "line a Crlf 0+3",
                "line b Lf 3+2",
                "line  Crlf 5+2",
                "line  Lf 7+1",
                "line c\\r MultiCr 8+4",
                "line d\\re Crlf 12+5",
            ],
        );
    }

    #[test]
    fn a_long_line_keeps_its_head_and_its_count() {
        check(
            Mode::Line,
            b"abcdef\r\nab\r\nabc\r\n",
            3,
            &["line abc Crlf 0+8 cut", "line ab Crlf 8+4", "line abc Crlf 12+5"],
        );
        check(Mode::Line, b"abc\r\r\n", 3, &["line abc MultiCr 0+6 cut"]);
    }

    #[test]
    fn counted_octets_are_not_looked_at() {
        check(Mode::Octets(4), b"\r\n.\r\nX\r\n", 99, &["octets \\r\\n.\\r", "line  Lf 4+1", "line X Crlf 5+3"]);
        check(Mode::Octets(0), b"X\r\n", 99, &["octets ", "line X Crlf 0+3"]);
    }

    #[test]
    fn dot_text_ends_strictly() {
        check(Mode::Dot, b".\r\nQ\r\n", 99, &["body  wire 3", "line Q Crlf 3+3"]);
        check(Mode::Dot, b"a\r\n.\r\n", 99, &["body a\\r\\n wire 6"]);
        check(Mode::Dot, b"..one\r\n...\r\n.x\r\n.\r\n", 99, &["body .one\\r\\n..\\r\\nx\\r\\n wire 19"]);
        check(
            Mode::Dot,
            b"a\n.\r\nb\r\n.\nc\r\n.\r\r\nd\r.\r\n.\r\n",
            99,
            &["body a\\n.\\r\\nb\\r\\n\\nc\\r\\n\\r\\r\\nd\\r.\\r\\n wire 25"],
        );
        check(Mode::Dot, b"a.\r\n.\r", 99, &["open a.\\r\\n"]);
    }

    #[test]
    fn a_loose_end_is_noted() {
        let mut framer = Framer::new();
        framer.set_mode(Mode::Dot);
        let _ = framer.next(Timestamp::default(), b"hi\n.\r\nMAIL", 99);
        let (first, count) = framer.loose_ends();
        assert_eq!((first, count), (Some(LooseEnd { offset: 3, around: *b"i\n\r\n" }), 1));
    }

    #[test]
    fn counted_octets_absorb_a_gap_and_lines_resume_after_it() {
        let mut framer = Framer::new();
        framer.set_mode(Mode::Octets(10));
        assert!(matches!(framer.gap(4), (Some(Frame::Lost { octets: 4, last: false }), 0)));
        assert!(matches!(framer.gap(9), (Some(Frame::Lost { octets: 6, last: true }), 3)));
        let _ = framer.gap(3);
        let (used, frame) = framer.next(Timestamp::default(), b"rest\r\nnext\r\n", 99);
        assert!((used, frame.is_none()) == (6, true));
        let (_, frame) = framer.next(Timestamp::default(), b"next\r\n", 99);
        assert!(matches!(frame, Some(Frame::Line(Line { octets: b"next", .. }))));
    }
}
