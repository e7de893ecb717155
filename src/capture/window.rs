//! The piece of a capture that is in memory: grows for a large record, never beyond what its caller checked.

use std::io::{self, Read};

use super::compression::Compression;
use super::source::OpenedCapture;
use super::{BLOCK, ErrorKind};

/// A window that moves over a stream.
pub(super) struct Window {
    room: Vec<u8>,
    start: usize,
    end: usize,
    /// Octets of the stream before `start`.
    passed: u64,
    rest: Box<dyn Read>,
    compression: Option<Compression>,
    ended: bool,
    failed: Option<ErrorKind>,
}

impl Window {
    /// Holds `size` bytes at first.
    pub(super) fn new(opened: OpenedCapture, size: usize) -> Self {
        let OpenedCapture { head, rest, compression } = opened;
        let mut room = head;
        let end = room.len();
        room.resize(size.max(end), 0);
        Self { room, start: 0, end, passed: 0, rest, compression, ended: false, failed: None }
    }

    /// The octets from here on that are in memory.
    pub(super) fn data(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    /// Where in the uncompressed stream [`Self::data`] begins.
    pub(super) const fn offset(&self) -> u64 {
        self.passed
    }

    /// Goes on by `octets`, which are in memory.
    pub(super) fn consume(&mut self, octets: usize) {
        let octets = octets.min(self.end - self.start);
        self.start += octets;
        self.passed += octets as u64;
    }

    /// Sees to it that `need` octets are in memory; false if the stream ends before. An error of the stream comes only
    /// when the octets before it do not suffice.
    pub(super) fn fill(&mut self, need: usize) -> Result<bool, ErrorKind> {
        debug_assert!(need <= BLOCK + super::ROOM, "the caller bounds what it asks for");
        while self.end - self.start < need {
            if self.ended {
                return self.failed.take().map_or(Ok(false), Err);
            }
            self.make_room(need);
            self.read();
        }
        Ok(true)
    }

    /// Where `what` happened, if the reader of the format has not said otherwise: for the stream's own troubles that is
    /// the end of what could be read, else the record that begins here.
    pub(super) fn place_of(&self, what: &ErrorKind) -> Option<u64> {
        match what {
            ErrorKind::Read(_)
            | ErrorKind::CompressionCut
            | ErrorKind::CompressionDamaged(_)
            | ErrorKind::TrailingBytes
            | ErrorKind::Cut { .. }
            | ErrorKind::HeaderCut { .. } => Some(self.passed + (self.end - self.start) as u64),
            ErrorKind::Empty | ErrorKind::EmptyInside(_) | ErrorKind::NotCapture { .. } | ErrorKind::Link(_) => None,
            _ => Some(self.passed),
        }
    }

    fn make_room(&mut self, need: usize) {
        if self.start > 0 {
            self.room.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.room.len() < need {
            self.room.resize(need.next_power_of_two(), 0);
        }
    }

    fn read(&mut self) {
        let space = self.room.get_mut(self.end..).unwrap_or_default();
        match self.rest.read(space) {
            Ok(0) => self.ended = true,
            Ok(octets) => self.end = (self.end + octets).min(self.room.len()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                self.ended = true;
                self.failed = Some(ErrorKind::reading(e, self.compression));
            }
        }
    }
}
