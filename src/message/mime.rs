//! Walks through the parts of a MIME message (RFC 2045, 2046) as it passes, and keeps facts, never content.
//!
//! Delimiters are looked for at line starts only; a body between them costs one search for `\n--`, and a part
//! that is no attachment nothing more. The walker descends into multiparts and into embedded messages
//! (`message/rfc822` that is not encoded): their attachments are listed too. What follows lost octets is not
//! guessed: the walk ends there.

use std::sync::LazyLock;

use memchr::{memchr, memmem};

use super::header::{Field, Header};
use super::transfer::Transfer;
use super::{decode, parameter};

/// A part that has a file name or wants to be an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File name, decoded (RFC 2047, RFC 2231), as the sender wrote it: a path stays a path.
    pub filename: Option<String>,
    /// Media type in lower case, without parameters.
    pub content_type: String,
    /// Decoded octets.
    pub size: u64,
    /// Whether the part was seen to its end.
    pub complete: bool,
}

/// Attachments listed; more are counted. No sane message has as many.
const ATTACHMENTS: usize = 1000;
/// Room for attachments that a finished message keeps for the next.
const ROOM: usize = 32;
/// Octets of file names and types listed in all: 1000 long ones.
const TEXT: usize = 256 << 10;
/// Multiparts and embedded messages within each other: Postfix stops at 100, Suricata at 32.
const DEPTH: usize = 32;
/// Octets of the values kept of a part's header.
const PART_HEADER: usize = 64 << 10;
/// RFC 2046 section 5.1.1 allows 70.
const BOUNDARY: usize = 256;

static LINE_DASHES: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\n--"));

/// Where a message is in its parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Walker {
    state: MimeState,
    /// Offset in the message of the next octet.
    offset: u64,
    /// The next octet begins a line.
    line_start: bool,
    /// The line end before that line is CR LF.
    cr: bool,
    /// The last octet taken.
    last: u8,
    /// The beginning of a line that may be a delimiter, held because a piece ended within it.
    held: Vec<u8>,
    levels: Vec<PartLevel>,
    /// Boundaries of all open multiparts, one after the other.
    boundaries: Vec<u8>,
    longest: usize,
    header: Header,
    leaf: OpenPart,
    transfer: Transfer,
    attachments: Vec<Attachment>,
    text: usize,
    total: u64,
    parts: u32,
    truncated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum MimeState {
    /// Nothing more to find.
    #[default]
    Idle,
    Header,
    Body,
    /// Preamble or epilogue.
    Between,
    /// The rest of a delimiter line.
    Padding {
        closed: bool,
    },
}

/// An open part: where its content begins, and the attachment that it is.
#[derive(Clone, Copy, Debug, Default)]
struct OpenPart {
    attachment: Option<usize>,
    start: u64,
}

#[derive(Clone, Copy, Debug)]
enum PartLevel {
    Multipart { boundary: (usize, usize), digest: bool },
    Message(OpenPart),
}

enum DelimiterVerdict {
    Delimiter { level: usize, length: usize, closed: bool },
    Content,
    Undecided,
}

impl Walker {
    /// Starts over.
    pub(super) fn begin(&mut self) {
        self.state = MimeState::Idle;
        self.held.clear();
        self.levels.clear();
        self.boundaries.clear();
        self.boundaries.shrink_to(DEPTH * BOUNDARY);
        self.longest = 0;
        self.leaf = OpenPart::default();
        self.transfer = Transfer::default();
        self.attachments.clear();
        self.attachments.shrink_to(ROOM);
        self.text = 0;
        self.total = 0;
        self.parts = 0;
        self.truncated = false;
    }

    /// The message's own header ended; its body begins at `offset`.
    pub(super) fn body(&mut self, header: &Header, offset: u64) {
        self.offset = offset;
        self.cr = false;
        self.last = 0;
        if self.part(header) == MimeState::Header {
            self.expect_header();
        }
    }

    /// Takes octets of the message's body.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() && self.state != MimeState::Idle {
            let used = match self.state {
                MimeState::Idle => return,
                MimeState::Padding { closed } => self.padding(rest, closed),
                _ if self.line_start && self.longest > 0 => self.candidate(rest),
                MimeState::Header => self.header(rest),
                MimeState::Body | MimeState::Between => self.content(rest),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// The message ends, or is lost from here: open parts end. `complete`: they end where they should.
    pub(super) fn finish(&mut self, complete: bool) {
        if complete && !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            match self.judge(&held, true) {
                DelimiterVerdict::Delimiter { level, closed, .. } => {
                    self.delimiter(level, closed);
                    self.state = MimeState::Idle;
                }
                _ => self.take(&held),
            }
            self.held = held;
        }
        self.held.clear();
        if self.state == MimeState::Header && self.header.begun() && complete {
            self.header_ended();
        }
        self.close_leaf(false, complete);
        self.close_levels(0, false, complete);
        self.state = MimeState::Idle;
    }

    /// Attachments, in order of their beginning.
    pub(super) fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Attachments, with those not listed.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bodies that are no container.
    pub(super) fn parts(&self) -> u32 {
        self.parts
    }

    /// Whether a cap hid something.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Takes what belongs to the current line and is known to be no delimiter.
    fn take(&mut self, octets: &[u8]) {
        match self.state {
            MimeState::Header => {
                self.header.octets(octets);
            }
            MimeState::Body => self.transfer.octets(octets),
            _ => {}
        }
        self.pass(octets);
    }

    fn pass(&mut self, octets: &[u8]) {
        self.offset += octets.len() as u64;
        if let Some(&last) = octets.last() {
            self.last = last;
        }
    }

    fn padding(&mut self, rest: &[u8], closed: bool) -> usize {
        let end = memchr(b'\n', rest).map(|at| at + 1);
        let used = end.unwrap_or(rest.len());
        self.pass(rest.get(..used).unwrap_or_default());
        if end.is_some() {
            self.line_start = true;
            match closed {
                true if self.levels.is_empty() => self.state = MimeState::Idle,
                true => self.state = MimeState::Between,
                false => self.expect_header(),
            }
        }
        used
    }

    /// Looks at a line start; 0 octets are used where the line is content.
    fn candidate(&mut self, rest: &[u8]) -> usize {
        let before = self.held.len();
        let window = rest.get(..(self.longest + 4).saturating_sub(before)).unwrap_or(rest);
        let end = memchr(b'\n', window);
        let window = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
        let mut held = std::mem::take(&mut self.held);
        let verdict = if before == 0 {
            self.judge(window, end.is_some())
        } else {
            held.extend_from_slice(window);
            self.judge(&held, end.is_some())
        };
        let mut used = 0;
        match verdict {
            DelimiterVerdict::Content => {
                held.truncate(before);
                self.line_start = false;
                self.take(&held);
                held.clear();
            }
            DelimiterVerdict::Undecided => {
                if before == 0 {
                    held.extend_from_slice(window);
                }
                used = window.len();
            }
            DelimiterVerdict::Delimiter { level, length, closed } => {
                self.delimiter(level, closed);
                self.state = MimeState::Padding { closed };
                // What was held may reach beyond the boundary, into its padding.
                used = length.saturating_sub(before);
                self.offset += length.max(before) as u64;
                held.clear();
            }
        }
        self.held = held;
        used
    }

    /// Judges the beginning of a line; `whole`: no more of it matters. RFC 2046 section 5.1.1: a boundary at the
    /// start of a line is a delimiter, whatever follows. The longest wins, for one may begin like another.
    fn judge(&self, line: &[u8], whole: bool) -> DelimiterVerdict {
        let Some(text) = line.strip_prefix(b"--") else {
            return if !whole && b"--".starts_with(line) {
                DelimiterVerdict::Undecided
            } else {
                DelimiterVerdict::Content
            };
        };
        let whole = whole || line.len() >= self.longest + 4;
        let mut best = None;
        let mut longer = false;
        for (level, boundary) in self.boundaries() {
            if text.starts_with(boundary) {
                best = best.max(Some((boundary.len(), level)));
            } else {
                longer |= boundary.starts_with(text);
            }
        }
        match best {
            _ if longer && !whole => DelimiterVerdict::Undecided,
            Some((length, _)) if !whole && text.len() < length + 2 => DelimiterVerdict::Undecided,
            Some((length, level)) => {
                let closed = text.get(length..).is_some_and(|rest| rest.starts_with(b"--"));
                DelimiterVerdict::Delimiter { level, length: length + 2, closed }
            }
            None => DelimiterVerdict::Content,
        }
    }

    fn boundaries(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.levels.iter().enumerate().filter_map(|(at, level)| match level {
            PartLevel::Multipart { boundary: (start, end), .. } => Some((at, self.boundaries.get(*start..*end)?)),
            PartLevel::Message(_) => None,
        })
    }

    /// A delimiter of `level` begins at the current offset: everything within ends before its line end.
    fn delimiter(&mut self, level: usize, closed: bool) {
        if self.state == MimeState::Header && self.header.begun() {
            self.header_ended();
        }
        self.close_leaf(true, true);
        self.close_levels(if closed { level } else { level + 1 }, true, true);
    }

    fn header(&mut self, rest: &[u8]) -> usize {
        let line = self.line_of(rest);
        let used = self.header.octets(line);
        self.pass(line.get(..used).unwrap_or_default());
        if self.header.ended() {
            self.line_start = true;
            self.header_ended();
        }
        used
    }

    /// A line or what is there of it; all of `rest` where no delimiter can come.
    fn line_of<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        if self.longest == 0 {
            return rest;
        }
        let end = memchr(b'\n', rest);
        if let Some(at) = end {
            self.ended_line(rest, at);
        }
        end.and_then(|at| rest.get(..=at)).unwrap_or(rest)
    }

    fn content(&mut self, rest: &[u8]) -> usize {
        let mut used = rest.len();
        if self.longest > 0 {
            let end = LINE_DASHES.find(rest).or_else(|| match rest {
                [.., b'\n'] => Some(rest.len() - 1),
                [.., b'\n', b'-'] => Some(rest.len() - 2),
                _ => None,
            });
            if let Some(at) = end {
                self.ended_line(rest, at);
                used = at + 1;
            }
        }
        self.take(rest.get(..used).unwrap_or(rest));
        used
    }

    /// A line ends with the LF at `at`.
    fn ended_line(&mut self, rest: &[u8], at: usize) {
        let before = at.checked_sub(1).and_then(|at| rest.get(at)).copied().unwrap_or(self.last);
        self.cr = before == b'\r';
        self.line_start = true;
    }

    fn expect_header(&mut self) {
        self.header.begin(PART_HEADER);
        self.state = MimeState::Header;
    }

    fn header_ended(&mut self) {
        let mut header = std::mem::take(&mut self.header);
        header.finish(false);
        let next = self.part(&header);
        self.truncated |= header.truncated();
        self.header = header;
        if next == MimeState::Header {
            self.expect_header();
        }
    }

    /// A part's content begins at the current offset; what it is, its header says.
    fn part(&mut self, header: &Header) -> MimeState {
        self.line_start = true;
        self.transfer = header.raw(Field::ContentTransferEncoding).map(Transfer::named).unwrap_or_default();
        let in_digest = matches!(self.levels.last(), Some(PartLevel::Multipart { digest: true, .. }));
        let default: &[u8] = if in_digest { b"message/rfc822" } else { b"text/plain" };
        let value = header.raw(Field::ContentType).unwrap_or_default();
        let media_type = Some(parameter::token(value)).filter(|token| !token.is_empty()).unwrap_or(default);
        self.state = if is_multipart(media_type) && self.open_multipart(media_type, value) {
            MimeState::Between
        } else {
            self.leaf = OpenPart { attachment: self.attach(header, media_type), start: self.offset };
            if self.transfer.is_identity() && is_message(media_type) && self.room() {
                self.levels.push(PartLevel::Message(std::mem::take(&mut self.leaf)));
                MimeState::Header
            } else {
                // A size that nobody asks for is not counted.
                if self.leaf.attachment.is_none() {
                    self.transfer = Transfer::Identity;
                }
                self.parts = self.parts.saturating_add(1);
                MimeState::Body
            }
        };
        self.state
    }

    fn room(&mut self) -> bool {
        let room = self.levels.len() < DEPTH;
        self.truncated |= !room;
        room
    }

    /// Opens a multipart; false: it has no boundary, or none that fits, and is read as one body.
    fn open_multipart(&mut self, media_type: &[u8], value: &[u8]) -> bool {
        let start = self.boundaries.len();
        if !self.room() || !parameter::octets(value, b"boundary", &mut self.boundaries) {
            return false;
        }
        let length = self.boundaries.len() - start;
        if length == 0 || length > BOUNDARY {
            self.truncated |= length > BOUNDARY;
            self.boundaries.truncate(start);
            return false;
        }
        let boundary = (start, self.boundaries.len());
        self.longest = self.longest.max(length);
        self.levels
            .push(PartLevel::Multipart { boundary, digest: media_type.eq_ignore_ascii_case(b"multipart/digest") });
        true
    }

    /// Lists a part that is an attachment.
    fn attach(&mut self, header: &Header, media_type: &[u8]) -> Option<usize> {
        let disposition = header.raw(Field::ContentDisposition).unwrap_or_default();
        let content_type = header.raw(Field::ContentType).unwrap_or_default();
        let filename = parameter::text(disposition, b"filename").or_else(|| parameter::text(content_type, b"name"));
        if filename.is_none() && !parameter::token(disposition).eq_ignore_ascii_case(b"attachment") {
            return None;
        }
        self.total += 1;
        let content_type = decode::plain(media_type).to_lowercase();
        let text = self.text + content_type.len() + filename.as_ref().map_or(0, String::len);
        if self.attachments.len() >= ATTACHMENTS || text > TEXT {
            return None;
        }
        self.text = text;
        self.attachments.push(Attachment { filename, content_type, size: 0, complete: false });
        Some(self.attachments.len() - 1)
    }

    /// The body ends at the current offset, if one is open.
    fn close_leaf(&mut self, delimited: bool, complete: bool) {
        let leaf = std::mem::take(&mut self.leaf);
        let transfer = std::mem::take(&mut self.transfer);
        if self.state == MimeState::Body {
            self.settle(leaf, &transfer, delimited, complete);
        }
    }

    fn close_levels(&mut self, keep: usize, delimited: bool, complete: bool) {
        while self.levels.len() > keep {
            match self.levels.pop() {
                Some(PartLevel::Multipart { boundary: (start, _), .. }) => self.boundaries.truncate(start),
                Some(PartLevel::Message(open)) => {
                    self.settle(open, &Transfer::Identity, delimited, complete);
                }
                None => {}
            }
        }
        self.longest = self.boundaries().map(|(_, boundary)| boundary.len()).max().unwrap_or(0);
    }

    fn settle(&mut self, open: OpenPart, transfer: &Transfer, delimited: bool, complete: bool) {
        let Some(attachment) = open.attachment.and_then(|at| self.attachments.get_mut(at)) else {
            return;
        };
        let line_end = if delimited { 1 + u64::from(self.cr) } else { 0 };
        let octets = self.offset.saturating_sub(open.start).saturating_sub(line_end);
        attachment.size = transfer.size(octets, delimited);
        attachment.complete = complete;
    }
}

fn is_multipart(media_type: &[u8]) -> bool {
    media_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
}

/// RFC 2046 section 5.2.1, RFC 6532 section 3.7.
fn is_message(media_type: &[u8]) -> bool {
    media_type.eq_ignore_ascii_case(b"message/rfc822") || media_type.eq_ignore_ascii_case(b"message/global")
}
