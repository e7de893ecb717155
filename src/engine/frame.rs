//! One direction of a conversation, cut into frames: lines, counted octets, dot-stuffed text, opaque octets.
//!
//! Three framings make three protocols: DATA and POP3 bodies are [`FramingMode::Dot`], BDAT chunks and IMAP literals are
//! [`FramingMode::Octets`], all else is [`FramingMode::Line`]. The framer knows no command; who does, sets its mode. It borrows
//! from its input wherever it can, keeps its place across calls, and cuts the same frames however the input is cut.

use std::sync::LazyLock;

use memchr::{memchr, memmem};

use crate::time::Timestamp;

/// A dot at the start of a line; built once, for it is searched in every segment of every message.
static DOT_LINE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\n."));

/// What the next octets of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingMode {
    /// Lines ended by CRLF or LF.
    Line,
    /// So many octets, whatever they are (RFC 3030, RFC 9051 section 4.3); then lines again.
    Octets(u64),
    /// Dot-stuffed text up to CRLF `.` CRLF (RFC 5321 section 4.5.2, RFC 1939 section 3); then lines again.
    Dot,
    /// The same, but it stops at a lone dot whose line ends are not CRLF, which many receivers take for the end of
    /// data: [`Frame::LooseEnd`], then [`FramingMode::Await`] until it is known how the receiver took it.
    DotLoose,
    /// [`FramingMode::DotLoose`] of a sender that ends its lines with LF alone, to a receiver that takes them: a dot behind LF is
    /// stuffing too.
    DotLf,
    /// [`FramingMode::DotLoose`] goes on: the loose end was text, or bytes were lost.
    DotResume,
    /// Depends on what the other side answers: nothing is cut until then.
    Await,
    /// Nothing to be read any more: TLS, a SASL layer.
    Opaque,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnding {
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
    pub ending: LineEnding,
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
    /// A dot of that text behind LF alone: text too, unless the receiver takes LF for a line end.
    LooseDot,
    /// The end of dot-stuffed text.
    BodyEnd {
        /// Octets of text, stuffing and terminator on the wire.
        wire: u64,
        /// Stream offset just after it.
        end: u64,
    },
    /// A line with nothing but a dot, before or behind which no CRLF stands: the end of data for some receivers
    /// (Postfix before 3.9, Exim before 4.97.1), text for others.
    LooseEnd {
        /// Bytes of text, stuffing and terminator on the wire, were it the end.
        wire: u64,
        /// Stream offset just after it.
        end: u64,
    },
    /// Octets that cannot be read.
    Opaque(&'a [u8]),
}

/// Where dot-stuffed text stands (RFC 5321 section 4.5.2). `strict`: behind CRLF, as the RFC has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DotState {
    /// After a line end (CRLF if `strict`, else LF alone, or lost bytes), or at the very start.
    LineStart { strict: bool },
    /// After a dot at the start of a line.
    Dot { strict: bool },
    /// After that dot and one CR, or two.
    DotCr { strict: bool, two: bool },
    /// After a CR elsewhere.
    Cr,
    /// Anywhere else.
    Text,
}

/// Cuts one direction.
#[derive(Debug)]
pub struct Framer {
    mode: FramingMode,
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
    dot: DotState,
    dot_wire: u64,
    /// A dot behind LF alone is stuffing.
    stuffs_lf: bool,
    /// The lone dot's line of a loose end, which is text if [`FramingMode::DotResume`] follows.
    loose: &'static [u8],
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
            mode: FramingMode::Line,
            offset: 0,
            partial: Vec::new(),
            line_octets: 0,
            line_began: Timestamp::default(),
            line_cr: 0,
            spent: false,
            skip_line: false,
            dot: DotState::LineStart { strict: true },
            dot_wire: 0,
            stuffs_lf: false,
            loose: b"",
        }
    }

    /// What the next octets are.
    pub fn mode(&self) -> FramingMode {
        self.mode
    }

    /// Stream offset of the next octet.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Decides what the next octets are.
    pub fn set_mode(&mut self, mode: FramingMode) {
        match mode {
            FramingMode::DotResume => return self.mode = FramingMode::DotLoose,
            FramingMode::Dot | FramingMode::DotLoose | FramingMode::DotLf => {
                self.dot = DotState::LineStart { strict: true };
                self.dot_wire = 0;
                self.stuffs_lf = mode == FramingMode::DotLf;
            }
            // Nothing is decided by it.
            FramingMode::Await => return self.mode = mode,
            FramingMode::Line | FramingMode::Octets(_) | FramingMode::Opaque => {}
        }
        self.mode = if mode == FramingMode::DotLf { FramingMode::DotLoose } else { mode };
        self.loose = b"";
    }

    /// Whether a line has begun and not ended.
    pub fn inside_line(&self) -> bool {
        self.skip_line || (self.line_octets > 0 && !self.spent)
    }

    /// Where the line begins that the next octet belongs to, and how many octets of it came.
    pub fn line_start(&self) -> (u64, u64) {
        let came = if self.spent { 0 } else { self.line_octets };
        (self.offset - came, came)
    }

    /// Gives back the head of a line that has begun, as far as it was kept.
    pub fn take_back(&mut self) -> Vec<u8> {
        let (start, _) = self.line_start();
        let head = if self.spent { Vec::new() } else { std::mem::take(&mut self.partial) };
        self.offset = start;
        self.drop_line();
        head
    }

    /// Whether [`Self::next`] has a frame to give without further input.
    pub fn is_ready(&self) -> bool {
        self.mode == FramingMode::Octets(0) || (self.mode == FramingMode::DotLoose && !self.loose.is_empty())
    }

    /// Cuts the next frame from `input`, which came at `at`: how many octets it used, and the frame if one is complete.
    /// `cap` is how many octets of a line are kept. In [`FramingMode::Await`] nothing is used.
    pub fn next<'a>(&'a mut self, at: Timestamp, input: &'a [u8], cap: usize) -> (usize, Option<Frame<'a>>) {
        match self.mode {
            FramingMode::Line => self.line(at, input, cap),
            FramingMode::Octets(left) => self.octets(left, input),
            FramingMode::Dot => self.dot_text(input, false),
            FramingMode::DotLoose | FramingMode::DotLf | FramingMode::DotResume if !self.loose.is_empty() => {
                (0, Some(Frame::Body(std::mem::take(&mut self.loose))))
            }
            FramingMode::DotLoose | FramingMode::DotLf | FramingMode::DotResume => self.dot_text(input, true),
            FramingMode::Await => (0, None),
            FramingMode::Opaque => {
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
            FramingMode::Octets(left) => {
                let octets = lost.min(left);
                let last = octets == left;
                self.mode = if last { FramingMode::Line } else { FramingMode::Octets(left - octets) };
                (Some(Frame::Lost { octets, last }), lost - octets)
            }
            FramingMode::Dot | FramingMode::DotLoose | FramingMode::DotLf | FramingMode::DotResume => {
                // Segments often end where lines do: a lone dot behind the loss may be the end.
                self.dot = DotState::LineStart { strict: false };
                self.dot_wire += lost;
                (None, lost)
            }
            FramingMode::Line | FramingMode::Await | FramingMode::Opaque => {
                self.drop_line();
                self.skip_line = true;
                (None, lost)
            }
        }
    }

    /// What is there of a line whose end will not come.
    pub fn last_line(&mut self) -> Option<Line<'_>> {
        if self.mode != FramingMode::Line || !self.inside_line() || self.skip_line {
            return None;
        }
        self.spent = true;
        let wire = self.line_octets;
        Some(Line {
            octets: &self.partial,
            wire,
            start: self.offset - wire,
            began: self.line_began,
            ending: LineEnding::None,
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
            0 => LineEnding::Lf,
            1 => LineEnding::Crlf,
            _ => LineEnding::MultiCr,
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
        self.mode = if last { FramingMode::Line } else { FramingMode::Octets(left - used as u64) };
        (used, Some(Frame::Octets { octets: input.get(..used).unwrap_or_default(), last }))
    }

    /// `loose`: stops at a lone dot that is no strict end of data.
    fn dot_text<'a>(&'a mut self, input: &'a [u8], loose: bool) -> (usize, Option<Frame<'a>>) {
        let Some((&first, rest)) = input.split_first() else { return (0, None) };
        match (self.dot, first) {
            (DotState::LineStart { strict }, b'.') if strict || loose => {
                self.advance(1, DotState::Dot { strict });
                (1, None)
            }
            (DotState::Dot { strict: true }, b'\r') if rest.first() == Some(&b'\n') => {
                self.advance(2, DotState::Text);
                (2, Some(self.end_of_data()))
            }
            (DotState::Dot { strict }, b'\r') => {
                self.advance(1, DotState::DotCr { strict, two: false });
                (1, None)
            }
            (DotState::DotCr { strict: true, two: false }, b'\n') => {
                self.advance(1, DotState::Text);
                (1, Some(self.end_of_data()))
            }
            (DotState::Dot { strict }, b'\n') if loose => {
                self.advance(1, DotState::LineStart { strict: false });
                (1, Some(self.loose_end(if strict { b"\n" } else { b".\n" })))
            }
            (DotState::DotCr { two: false, .. }, b'\n') => {
                self.advance(1, DotState::LineStart { strict: true });
                (1, Some(self.loose_end(b".\r\n")))
            }
            (DotState::DotCr { strict, two: true }, b'\n') => {
                self.advance(1, DotState::LineStart { strict: true });
                (1, Some(self.loose_end(if strict { b"\r\r\n" } else { b".\r\r\n" })))
            }
            (DotState::DotCr { strict, two: false }, b'\r') if loose => {
                self.advance(1, DotState::DotCr { strict, two: true });
                (1, None)
            }
            // The line goes on, so the CRs are text; the dot was stuffing only behind CRLF.
            (DotState::DotCr { strict: false, two }, _) if !self.stuffs_lf => {
                self.dot = DotState::DotCr { strict: true, two };
                (0, Some(Frame::LooseDot))
            }
            (DotState::DotCr { two, .. }, _) => {
                self.dot = DotState::Cr;
                (0, Some(Frame::Body(if two { b"\r\r" } else { b"\r" })))
            }
            (DotState::Dot { strict: false }, _) if !self.stuffs_lf => {
                self.dot = DotState::Text;
                (0, Some(Frame::LooseDot))
            }
            (DotState::Cr, b'\n') => {
                self.advance(1, DotState::LineStart { strict: true });
                (1, Some(Frame::Body(input.get(..1).unwrap_or_default())))
            }
            (_, _) => self.dot_run(input, loose),
        }
    }

    /// Text from inside a line up to the next dot at the start of a line.
    fn dot_run<'a>(&mut self, input: &'a [u8], loose: bool) -> (usize, Option<Frame<'a>>) {
        let mut from = 0;
        while let Some(at) = input.get(from..).and_then(|rest| DOT_LINE.find(rest)) {
            let dot = from + at + 1;
            let strict = dot >= 2 && input.get(dot - 2) == Some(&b'\r');
            if strict || loose {
                let text = input.get(..dot).unwrap_or_default();
                self.advance(dot + 1, DotState::Dot { strict });
                return (dot + 1, Some(Frame::Body(text)));
            }
            from = dot;
        }
        let after = match input {
            [.., b'\r', b'\n'] => DotState::LineStart { strict: true },
            [.., b'\n'] => DotState::LineStart { strict: false },
            [.., b'\r'] => DotState::Cr,
            _ => DotState::Text,
        };
        self.advance(input.len(), after);
        (input.len(), Some(Frame::Body(input)))
    }

    fn advance(&mut self, used: usize, dot: DotState) {
        self.offset += used as u64;
        self.dot_wire += used as u64;
        self.dot = dot;
    }

    fn end_of_data(&mut self) -> Frame<'static> {
        self.mode = FramingMode::Line;
        Frame::BodyEnd { wire: self.dot_wire, end: self.offset }
    }

    /// `line` is the line of the lone dot as it reads if it is text.
    fn loose_end(&mut self, line: &'static [u8]) -> Frame<'static> {
        self.mode = FramingMode::Await;
        self.loose = line;
        Frame::LooseEnd { wire: self.dot_wire, end: self.offset }
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
    fn cut(mode: FramingMode, pieces: &[&[u8]], cap: usize) -> Vec<String> {
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
                    Some(Frame::LooseDot) => body.push(b'.'),
                    Some(Frame::BodyEnd { wire, .. }) => {
                        frames.push(format!("body {} wire {wire}", body.escape_ascii()));
                        body.clear();
                    }
                    Some(Frame::LooseEnd { wire, .. }) => {
                        frames.push(format!("loose {} wire {wire}", body.escape_ascii()));
                        return frames;
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

    fn check(mode: FramingMode, input: &[u8], cap: usize, expected: &[&str]) {
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
            FramingMode::Line,
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
            FramingMode::Line,
            b"abcdef\r\nab\r\nabc\r\n",
            3,
            &["line abc Crlf 0+8 cut", "line ab Crlf 8+4", "line abc Crlf 12+5"],
        );
        check(FramingMode::Line, b"abc\r\r\n", 3, &["line abc MultiCr 0+6 cut"]);
    }

    #[test]
    fn counted_octets_are_not_looked_at() {
        check(FramingMode::Octets(4), b"\r\n.\r\nX\r\n", 99, &["octets \\r\\n.\\r", "line  Lf 4+1", "line X Crlf 5+3"]);
        check(FramingMode::Octets(0), b"X\r\n", 99, &["octets ", "line X Crlf 0+3"]);
    }

    #[test]
    fn dot_text_ends_strictly() {
        check(FramingMode::Dot, b".\r\nQ\r\n", 99, &["body  wire 3", "line Q Crlf 3+3"]);
        check(FramingMode::Dot, b"a\r\n.\r\n", 99, &["body a\\r\\n wire 6"]);
        check(FramingMode::Dot, b"..one\r\n...\r\n.x\r\n.\r\n", 99, &["body .one\\r\\n..\\r\\nx\\r\\n wire 19"]);
        check(
            FramingMode::Dot,
            b"a\n.\r\nb\r\n.\nc\r\n.\r\r\nd\r.\r\n.\r\n",
            99,
            &["body a\\n.\\r\\nb\\r\\n\\nc\\r\\n\\r\\r\\nd\\r.\\r\\n wire 25"],
        );
        check(FramingMode::Dot, b"a.\r\n.\r", 99, &["open a.\\r\\n"]);
    }

    #[test]
    fn a_loose_end_stops_the_text_and_is_text_if_it_goes_on() {
        for (input, text, wire) in [
            (&b"hi\n.\nX"[..], "hi\\n", 5),
            (b"hi\n.\r\nX", "hi\\n", 6),
            (b"hi\r\n.\nX", "hi\\r\\n", 6),
            (b"hi\r\r\n.\r\r\nX", "hi\\r\\r\\n", 9),
            (b"hi\n.\r\r\nX", "hi\\n", 7),
            (b".\nX", "", 2),
        ] {
            check(FramingMode::DotLoose, input, 99, &[&format!("loose {text} wire {wire}")]);
        }
        check(FramingMode::DotLoose, b"a\n.b\n..\r\n.\rc\r\n.\r\n", 99, &["body a\\n.b\\n..\\r\\n\\rc\\r\\n wire 17"]);
        check(FramingMode::DotLoose, b"a\r\n.\r\n", 99, &["body a\\r\\n wire 6"]);
        check(FramingMode::DotLf, b"a\n..b\n.c\n..\n.\rd\n.\n", 99, &["loose a\\n.b\\nc\\n.\\n\\rd\\n wire 18"]);
    }

    #[test]
    fn text_goes_on_behind_a_loose_end() {
        for (input, text) in [
            (&b"a\n.\nb\r\n.\r\n"[..], &b"a\n.\nb\r\n"[..]),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),
            (b"a\n.\r\n.b\r\n.\r\n", b"a\n.\r\nb\r\n"),
        ] {
            let (mut framer, mut rest, mut got) = (Framer::new(), input, Vec::new());
            framer.set_mode(FramingMode::DotLoose);
            while !rest.is_empty() || framer.is_ready() {
                let (used, frame) = framer.next(Timestamp::default(), rest, 99);
                match frame {
                    Some(Frame::Body(octets)) => got.extend_from_slice(octets),
                    Some(Frame::LooseDot) => got.push(b'.'),
                    Some(Frame::LooseEnd { .. }) => framer.set_mode(FramingMode::DotResume),
                    Some(Frame::BodyEnd { wire, .. }) => assert_eq!(wire, input.len() as u64),
                    _ => {}
                }
                rest = &rest[used..];
            }
            assert_eq!(got, text);
        }
    }

    #[test]
    fn counted_octets_absorb_a_gap_and_lines_resume_after_it() {
        let mut framer = Framer::new();
        framer.set_mode(FramingMode::Octets(10));
        assert!(matches!(framer.gap(4), (Some(Frame::Lost { octets: 4, last: false }), 0)));
        assert!(matches!(framer.gap(9), (Some(Frame::Lost { octets: 6, last: true }), 3)));
        let _ = framer.gap(3);
        let (used, frame) = framer.next(Timestamp::default(), b"rest\r\nnext\r\n", 99);
        assert!((used, frame.is_none()) == (6, true));
        let (_, frame) = framer.next(Timestamp::default(), b"next\r\n", 99);
        assert!(matches!(frame, Some(Frame::Line(Line { octets: b"next", .. }))));
    }
}
