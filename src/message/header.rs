//! Collects a header block (RFC 5322 section 2.2) as it passes: raw values of the wanted fields, nothing else.
//!
//! The block ends at the first empty line; lines may end in LF. A line that is no field is passed over, so
//! a message without a header is one whose first paragraph says nothing. Of repeated fields the first counts.

use memchr::{memchr, memchr2};

/// Fields worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    MessageId,
    Date,
    From,
    To,
    Cc,
    ReplyTo,
    Subject,
    Sender,
    ContentType,
    ContentTransferEncoding,
    ContentDisposition,
    MimeVersion,
}

const FIELDS: [(&[u8], Field); 12] = [
    (b"message-id", Field::MessageId),
    (b"date", Field::Date),
    (b"from", Field::From),
    (b"to", Field::To),
    (b"cc", Field::Cc),
    (b"reply-to", Field::ReplyTo),
    (b"subject", Field::Subject),
    (b"sender", Field::Sender),
    (b"content-type", Field::ContentType),
    (b"content-transfer-encoding", Field::ContentTransferEncoding),
    (b"content-disposition", Field::ContentDisposition),
    (b"mime-version", Field::MimeVersion),
];

/// Octets of one value as kept: longer than any a person writes, short enough to decode at once.
const VALUE: usize = 64 << 10;
/// Octets of a field name looked at: the longest wanted one, and blanks before the colon.
const NAME: usize = 32;
/// Room a finished header keeps for the next: more than nearly all need.
const ROOM: usize = 16 << 10;

/// One header block.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    kept: Vec<u8>,
    /// Where in `kept` each value stands.
    values: [Option<(usize, usize)>; FIELDS.len()],
    cap: usize,
    name: [u8; NAME],
    name_len: usize,
    /// The field whose value is being read.
    current: Option<Field>,
    state: HeaderState,
    begun: bool,
    truncated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HeaderState {
    #[default]
    LineStart,
    /// A CR began the line: it may be the empty one.
    Cr,
    Name,
    Value,
    Ended,
}

impl Header {
    /// Starts over. `cap`: octets of values kept.
    pub(super) fn begin(&mut self, cap: usize) {
        self.kept.clear();
        self.kept.shrink_to(ROOM);
        self.values = Default::default();
        self.cap = cap;
        self.current = None;
        self.state = HeaderState::LineStart;
        self.begun = false;
        self.truncated = false;
    }

    /// Takes octets up to the end of the block; returns how many belonged to it.
    pub(super) fn octets(&mut self, octets: &[u8]) -> usize {
        let mut rest = octets;
        self.begun |= !rest.is_empty() && self.state != HeaderState::Ended;
        while let Some((&octet, after)) = rest.split_first() {
            rest = match self.state {
                HeaderState::Ended => break,
                HeaderState::LineStart => self.line_start(octet, rest, after),
                HeaderState::Cr => match octet {
                    b'\n' => self.end(after),
                    b'\r' => after,
                    _ => self.no_field(rest),
                },
                HeaderState::Name => self.name(rest),
                HeaderState::Value => self.value(rest),
            };
        }
        octets.len() - rest.len()
    }

    /// Whether the empty line was seen.
    pub(super) fn ended(&self) -> bool {
        self.state == HeaderState::Ended
    }

    /// Whether there was an octet of it.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Whether a cap cut something off.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// No more will come. `lost`: octets are missing here, so the value being read is not known.
    pub(super) fn finish(&mut self, lost: bool) {
        if let (true, Some(slot)) = (lost, self.current.and_then(|field| self.slot(field))) {
            *slot = None;
        }
        self.current = None;
        self.state = HeaderState::Ended;
    }

    /// The raw value, folds included, without its last line end.
    pub(super) fn raw(&self, field: Field) -> Option<&[u8]> {
        let (start, end) = (*self.values.get(field as usize)?)?;
        let value = self.kept.get(start..end)?;
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        Some(value.strip_suffix(b"\r").unwrap_or(value))
    }

    fn slot(&mut self, field: Field) -> Option<&mut Option<(usize, usize)>> {
        self.values.get_mut(field as usize)
    }

    fn line_start<'a>(&mut self, octet: u8, rest: &'a [u8], after: &'a [u8]) -> &'a [u8] {
        match octet {
            b'\n' => return self.end(after),
            b'\r' => {
                self.state = HeaderState::Cr;
                return after;
            }
            b' ' | b'\t' => self.state = HeaderState::Value,
            _ => {
                self.current = None;
                self.name_len = 0;
                self.state = HeaderState::Name;
            }
        }
        rest
    }

    fn end<'a>(&mut self, after: &'a [u8]) -> &'a [u8] {
        self.current = None;
        self.state = HeaderState::Ended;
        after
    }

    fn no_field<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        self.current = None;
        self.state = HeaderState::Value;
        rest
    }

    fn name<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = memchr2(b':', b'\n', rest);
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        let room = self.name.get_mut(self.name_len..).unwrap_or_default();
        for (room, octet) in room.iter_mut().zip(piece) {
            *room = octet.to_ascii_lowercase();
        }
        self.name_len = self.name_len.saturating_add(piece.len());
        let Some((&octet, after)) = after.split_first() else {
            return after;
        };
        self.state = HeaderState::LineStart;
        if octet == b':' {
            self.state = HeaderState::Value;
            self.current = self.named().filter(|&field| self.open(field));
        }
        after
    }

    /// The wanted field of this name. Blanks before the colon are obsolete but read (RFC 5322 section 4.5).
    fn named(&self) -> Option<Field> {
        let name = self.name.get(..self.name_len)?.trim_ascii_end();
        FIELDS.iter().find(|(known, _)| *known == name).map(|&(_, field)| field)
    }

    /// Opens the value of a field; false: it had one already.
    fn open(&mut self, field: Field) -> bool {
        let at = self.kept.len();
        match self.slot(field) {
            Some(slot @ None) => {
                *slot = Some((at, at));
                true
            }
            _ => false,
        }
    }

    fn value<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', rest).map(|at| at + 1);
        if end.is_some() {
            self.state = HeaderState::LineStart;
        }
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        if let Some(field) = self.current {
            self.keep(field, piece);
        }
        after
    }

    fn keep(&mut self, field: Field, piece: &[u8]) {
        let Some(Some((start, end))) = self.values.get(field as usize).copied() else {
            return;
        };
        let room = VALUE.saturating_sub(end - start).min(self.cap.saturating_sub(self.kept.len()));
        let kept = piece.get(..room).unwrap_or(piece);
        self.truncated |= kept.len() < piece.len();
        self.kept.extend_from_slice(kept);
        let end = self.kept.len();
        if let Some(slot) = self.slot(field) {
            *slot = Some((start, end));
        }
    }
}
