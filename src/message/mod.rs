//! Octets of one message become facts: size, digest, line ends, header, parts. Streaming and bounded.
//!
//! The engine hands over what the receiver stores, piece by piece; outputs ask for facts when the
//! transaction is complete. Nothing here knows which protocol carried the message. No octet of a body is
//! ever kept, and of the header only the values of a few fields. A fact that lost octets could change is absent.

mod address;
mod date;
mod decode;
mod digest;
mod header;
mod line_endings;
mod mime;
mod parameter;
mod transfer;

use digest::Digest;
use header::{Field, Header};
pub use line_endings::{LineEnd, LineEndings};
pub use mime::Attachment;
use mime::Walker;

/// A message as it passes.
///
/// One value serves many messages, one after the other: [`begin`](Self::begin), [`octets`](Self::octets)
/// and [`gap`](Self::gap) as they come, [`finish`](Self::finish), then the facts.
#[derive(Clone, Debug, Default)]
pub struct Message {
    size: u64,
    size_unknown: bool,
    /// Octets are missing, at the start or since.
    lossy: bool,
    ended: bool,
    digest: Digest,
    line_endings: LineEndings,
    header: Header,
    /// The body has begun, and nothing was lost before it.
    in_body: bool,
    walker: Walker,
    /// The same message as a receiver stores it that takes LF alone for a line end, once that differs.
    lf_reading: Option<Box<Self>>,
    /// The receiver is known not to.
    crlf_only: bool,
}

impl Message {
    /// Starts over for a new message; buffers keep their room. `hash`: compute SHA-256. `header`: octets of header values kept.
    pub fn begin(&mut self, hash: bool, header: usize) {
        self.size = 0;
        self.size_unknown = false;
        self.lossy = false;
        self.ended = false;
        self.digest.begin(hash);
        self.line_endings = LineEndings::default();
        self.header.begin(header);
        self.in_body = false;
        self.walker.begin();
        self.lf_reading = None;
        self.crlf_only = false;
    }

    /// Takes the next octets, as the receiver stores them.
    pub fn octets(&mut self, octets: &[u8]) {
        if let Some(other) = &mut self.lf_reading {
            other.octets(octets);
        }
        self.octets_of_one(octets);
    }

    /// Takes a dot behind LF alone: text, unless the receiver takes LF for a line end, for then it is stuffing. How it
    /// took it shows at the end of the message; until then both readings go on.
    pub fn loose_dot(&mut self) {
        if self.lf_reading.is_none() && !self.crlf_only {
            self.lf_reading = Some(Box::new(self.clone()));
        }
        self.octets_of_one(b".");
    }

    /// The receiver takes LF alone for a line end.
    pub fn take_lf_reading(&mut self) {
        if let Some(other) = self.lf_reading.take() {
            *self = *other;
        }
    }

    /// The receiver takes CRLF alone for a line end.
    pub fn drop_lf_reading(&mut self) {
        self.lf_reading = None;
        self.crlf_only = true;
    }

    fn octets_of_one(&mut self, octets: &[u8]) {
        let header_start = self.size;
        self.size += octets.len() as u64;
        self.digest.octets(octets);
        self.line_endings.octets(octets);
        if self.lossy {
            return;
        }
        let mut body = octets;
        if !self.in_body {
            let used = self.header.octets(octets);
            if !self.header.ended() {
                return;
            }
            self.open_body(header_start + used as u64);
            body = octets.get(used..).unwrap_or_default();
        }
        self.walker.octets(body);
    }

    /// `lost` octets were not seen.
    pub fn gap(&mut self, lost: u64) {
        if let Some(other) = &mut self.lf_reading {
            other.gap(lost);
        }
        self.size += lost;
        self.lost();
    }

    /// Octets were not seen, nobody knows how many.
    pub fn gap_unknown(&mut self) {
        if let Some(other) = &mut self.lf_reading {
            other.gap_unknown();
        }
        self.size_unknown = true;
        self.lost();
    }

    /// The start was not seen: what comes is the middle of a message.
    pub fn headless(&mut self) {
        self.gap_unknown();
    }

    /// No more will come; `complete`: the end was reached.
    pub fn finish(&mut self, complete: bool) {
        self.lf_reading = None;
        if !complete {
            self.lost();
        }
        if !self.lossy {
            if !self.in_body {
                self.header.finish(false);
                self.open_body(self.size);
            }
            self.walker.finish(true);
            self.digest.finish();
        }
        self.line_endings.finish();
        self.ended = complete;
    }

    /// Octets, lost ones included where their number is known.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether [`size`](Self::size) is the size of the message as far as it went, nothing of unknown number lost.
    pub fn size_known(&self) -> bool {
        !self.size_unknown
    }

    /// SHA-256 of all octets, if all were seen and hashing was asked for.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.digest.sha256()
    }

    /// Whether the message was seen from its first octet to its last.
    pub fn complete(&self) -> bool {
        self.ended && !self.lossy
    }

    /// How its lines end, over the octets seen.
    pub fn line_endings(&self) -> &LineEndings {
        &self.line_endings
    }

    /// Whether the header had more than is kept.
    pub fn header_truncated(&self) -> bool {
        self.header.truncated()
    }

    /// Message-ID, with its angle brackets.
    pub fn message_id(&self) -> Option<String> {
        self.text(Field::MessageId)
    }

    /// Date as RFC 3339 with the sender's own offset (`-00:00`: unknown); absent if it is no RFC 5322 date.
    pub fn date(&self) -> Option<String> {
        date::rfc3339(self.header.raw(Field::Date)?)
    }

    /// From: names and addresses as one text, decoded.
    pub fn from(&self) -> Option<String> {
        self.text(Field::From)
    }

    /// Sender, decoded.
    pub fn sender(&self) -> Option<String> {
        self.text(Field::Sender)
    }

    /// To, decoded.
    pub fn to(&self) -> Option<String> {
        self.text(Field::To)
    }

    /// Cc, decoded.
    pub fn cc(&self) -> Option<String> {
        self.text(Field::Cc)
    }

    /// Reply-To, decoded.
    pub fn reply_to(&self) -> Option<String> {
        self.text(Field::ReplyTo)
    }

    /// Subject, decoded (RFC 2047).
    pub fn subject(&self) -> Option<String> {
        self.text(Field::Subject)
    }

    /// Domain of the first From address that has one, in lower case; A-labels stay.
    pub fn from_domain(&self) -> Option<String> {
        address::first_domain(self.header.raw(Field::From)?)
    }

    /// Attachments in order of their beginning, also of embedded messages; at most 1000 are listed.
    pub fn attachments(&self) -> &[Attachment] {
        self.walker.attachments()
    }

    /// Attachments, with those not listed.
    pub fn attachments_total(&self) -> u64 {
        self.walker.total()
    }

    /// MIME parts that hold content (no multipart, no embedded message): 1 for a plain message; 0: its body was not seen.
    pub fn parts(&self) -> u32 {
        self.walker.parts()
    }

    /// Whether a cap hid parts: nesting deeper than 32, a boundary over 256 octets, a part's header over 64 KiB.
    pub fn parts_truncated(&self) -> bool {
        self.walker.truncated()
    }

    fn text(&self, field: Field) -> Option<String> {
        self.header.raw(field).map(decode::text)
    }

    fn open_body(&mut self, offset: u64) {
        self.in_body = true;
        self.walker.body(&self.header, offset);
    }

    /// From here on nothing is certain but what is complete.
    fn lost(&mut self) {
        self.digest.void();
        self.line_endings.gap();
        if !self.lossy {
            self.lossy = true;
            self.header.finish(!self.header.ended());
            self.walker.finish(false);
        }
    }
}

#[cfg(test)]
mod tests;
