//! Octets of one message become facts: size, digest, header, parts. Streaming and bounded.
//!
//! The engine hands over what the receiver stores, piece by piece; outputs ask for facts when the
//! transaction is complete. Nothing here knows which protocol carried the message.

use sha2::{Digest, Sha256};

/// A message as it passes.
#[derive(Debug, Default)]
pub struct Message {
    size: u64,
    gap: bool,
    complete: bool,
    room: usize,
    header: Vec<u8>,
    digest: Option<Sha256>,
    sha256: Option<[u8; 32]>,
    line_endings: LineEndings,
    attachments: Vec<Attachment>,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// CR LF.
    Crlf,
    /// LF alone.
    Lf,
}

/// Line ends of a message, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineEndings {
    /// CR LF.
    pub crlf: u64,
    /// LF without CR.
    pub bare_lf: u64,
    /// CR without LF.
    pub bare_cr: u64,
    /// NUL octets.
    pub nul: u64,
    /// How the first line ended.
    pub first: Option<Ending>,
}

/// An attached file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, decoded.
    pub filename: Option<String>,
    /// Type and subtype, lower case.
    pub content_type: String,
    /// Octets after decoding.
    pub size: u64,
    /// Whether the part was seen to its end.
    pub complete: bool,
}

impl Message {
    /// Starts over for a new message; buffers keep their room. `hash`: compute SHA-256. `header`: octets of the header block kept.
    pub fn begin(&mut self, hash: bool, header: usize) {
        self.header.clear();
        *self = Self {
            room: header,
            header: std::mem::take(&mut self.header),
            digest: hash.then(Sha256::new),
            ..Self::default()
        };
    }

    /// Takes the next octets, as the receiver stores them.
    pub fn octets(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
        self.header.extend_from_slice(
            octets
                .get(..self.room.saturating_sub(self.header.len()))
                .unwrap_or(octets),
        );
        if let Some(digest) = &mut self.digest {
            digest.update(octets);
        }
        for &octet in octets {
            self.line_endings.crlf += u64::from(octet == b'\n');
        }
        if self.line_endings.crlf > 0 {
            self.line_endings.first = Some(Ending::Crlf);
        }
    }

    /// `lost` octets were not seen.
    pub fn gap(&mut self, lost: u64) {
        self.size += lost;
        self.gap = true;
    }

    /// No more will come; `complete`: the end was reached.
    pub fn finish(&mut self, complete: bool) {
        self.complete = complete && !self.gap;
        self.sha256 = self
            .digest
            .take()
            .filter(|_| self.complete)
            .map(|d| d.finalize().into());
    }

    /// Octets, lost ones included where their number is known.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether [`Self::size`] is exact: false after a gap of unknown length.
    pub fn size_known(&self) -> bool {
        true
    }

    /// SHA-256 of all octets, if all were seen and hashing was asked for.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    /// Whether the message was seen from its first octet to its last.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Line ends.
    pub fn line_endings(&self) -> &LineEndings {
        &self.line_endings
    }

    /// Attached files.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Attachments, with those not listed.
    pub fn attachments_total(&self) -> u64 {
        self.attachments.len() as u64
    }

    /// Whether the header had more than is kept.
    pub fn header_truncated(&self) -> bool {
        false
    }

    /// Whether a cap hid parts.
    pub fn parts_truncated(&self) -> bool {
        false
    }

    /// MIME parts; 0 if they were not looked at.
    pub fn parts(&self) -> u32 {
        0
    }

    /// Message-ID.
    pub fn message_id(&self) -> Option<String> {
        self.field("Message-ID")
    }

    /// Date.
    pub fn date(&self) -> Option<String> {
        self.field("Date")
    }

    /// From, decoded.
    pub fn from(&self) -> Option<String> {
        self.field("From")
    }

    /// To, decoded.
    pub fn to(&self) -> Option<String> {
        self.field("To")
    }

    /// Cc, decoded.
    pub fn cc(&self) -> Option<String> {
        self.field("Cc")
    }

    /// Reply-To, decoded.
    pub fn reply_to(&self) -> Option<String> {
        self.field("Reply-To")
    }

    /// Subject, decoded.
    pub fn subject(&self) -> Option<String> {
        self.field("Subject")
    }

    /// Domain of the first address of From, lower case.
    pub fn from_domain(&self) -> Option<String> {
        self.from()?
            .rsplit_once('@')
            .map(|(_, domain)| domain.trim_end_matches('>').to_ascii_lowercase())
    }

    fn field(&self, name: &str) -> Option<String> {
        let header = String::from_utf8_lossy(&self.header);
        let value = |line: &str| {
            line.split_once(": ")
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.to_owned())
        };
        header.lines().take_while(|l| !l.is_empty()).find_map(value)
    }
}
