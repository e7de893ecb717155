//! The classic format (draft-ietf-opsawg-pcap): a file header, then records until the end.
//!
//! Read in both byte orders: times in microseconds or nanoseconds, and the longer record headers of the patched libpcap
//! of Linux 2.2 (A. Kuznetzov), which some embedded systems still write.

use super::window::Window;
use super::{BLOCK, CaptureFile, ErrorKind, SNAPLEN, WalkEnd, stated};
use crate::time::Timestamp;
use crate::wire::LinkType;

const HEADER: usize = 24;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const PATCHED: u32 = 0xa1b2_cd34;

/// Whether a classic capture begins like this.
pub(super) fn is_magic(data: &[u8]) -> bool {
    byte_order(data).is_some()
}

/// The magic number that begins `data`, and whether it is written with the high byte first.
fn byte_order(data: &[u8]) -> Option<(u32, bool)> {
    let magic = data.first_chunk::<4>()?;
    let is_known = |number: &u32| matches!(*number, MICROSECONDS | NANOSECONDS | PATCHED);
    let (little, big) = (u32::from_le_bytes(*magic), u32::from_be_bytes(*magic));
    Some(little).filter(is_known).map(|n| (n, false)).or_else(|| Some(big).filter(is_known).map(|n| (n, true)))
}

/// Whether a file header of any format stands here, where a record or block was due.
pub(super) fn is_another(data: &[u8]) -> bool {
    match data {
        [0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, bom @ ..] => {
            bom.starts_with(&[0x4d, 0x3c, 0x2b, 0x1a]) || bom.starts_with(&[0x1a, 0x2b, 0x3c, 0x4d])
        }
        [_, _, _, _, 2, 0, 4, 0, 0, 0, 0, 0, ..] | [_, _, _, _, 0, 2, 0, 4, 0, 0, 0, 0, ..] => is_magic(data),
        _ => false,
    }
}

/// What the file header says about every record.
struct Format {
    big_endian: bool,
    link: LinkType,
    snaplen: u32,
    /// Bytes of a record's header.
    head: usize,
    /// Nanoseconds in a unit of the second part of the time.
    unit: u64,
    /// The most that a record can have captured.
    limit: u32,
}

/// A record's header.
#[derive(Clone, Copy)]
struct RecordHeader {
    seconds: u32,
    fraction: u32,
    captured: u32,
    wire: u32,
}

impl RecordHeader {
    /// Zeros where a record is due: a packet of nothing, at no time. Tape blocks and preallocated files end so.
    fn is_padding(self) -> bool {
        matches!(self, Self { seconds: 0, fraction: 0, captured: 0, wire: 0 })
    }
}

/// Walks through the file from its header on.
pub(super) fn walk(file: &mut CaptureFile<'_>, window: &mut Window) -> Result<WalkEnd, ErrorKind> {
    let format = Format::read(window)?;
    if !format.link.is_known() && !format.fill_head(window)? {
        return Err(ErrorKind::Link(format.link.0.into()));
    }
    let mut beyond = false;
    let mut padding = None;
    loop {
        let data = window.data();
        if is_another(data) {
            return Ok(WalkEnd::Another);
        }
        let Some((record, data)) = format.record(data) else {
            match format.more(window)? {
                More::Whole => continue,
                More::Zeros => padding = padding.or_else(|| Some(window.offset())),
                More::End => {}
            }
            if padding.is_some() {
                file.tell(ErrorKind::Padding, padding);
            }
            return Ok(WalkEnd::End);
        };
        let RecordHeader { seconds, fraction, captured, wire } = record;
        if captured > format.limit {
            return Err(ErrorKind::Record { captured, limit: format.limit });
        }
        let used = format.head + data.len();
        if record.is_padding() {
            padding = padding.or_else(|| Some(window.offset()));
            window.consume(used);
            continue;
        }
        padding = None;
        if captured > format.snaplen && format.snaplen > 0 && !beyond {
            beyond = true;
            file.tell(ErrorKind::BeyondSnaplen { captured, snaplen: format.snaplen }, Some(window.offset()));
        }
        let at = Timestamp::from_parts(seconds.into(), u64::from(fraction) * format.unit);
        if file.deliver(stated(at), format.link, data, wire.max(captured)).is_break() {
            return Ok(WalkEnd::Stop);
        }
        window.consume(used);
    }
}

/// What stands where a record is due that is not in memory as a whole.
enum More {
    /// Now it is.
    Whole,
    /// A few zeros, then the end.
    Zeros,
    /// The end of the file.
    End,
}

impl Format {
    fn read(window: &mut Window) -> Result<Self, ErrorKind> {
        if !window.fill(HEADER)? {
            return Err(ErrorKind::HeaderCut { have: window.data().len(), need: HEADER });
        }
        let data = window.data();
        let Some((magic, big_endian)) = byte_order(data) else {
            return Err(ErrorKind::not_capture(data));
        };
        let [major, minor] = [4, 6].map(|at| half(data, at, big_endian));
        if major != 2 {
            return Err(ErrorKind::Version(major, minor));
        }
        let snaplen = number(data, 16, big_endian);
        // The upper six bits tell of frame check sequences (draft-ietf-opsawg-pcap section 4).
        let link = number(data, 20, big_endian) & 0x03ff_ffff;
        let link = u16::try_from(link).map(LinkType).map_err(|_| ErrorKind::Link(link))?;
        window.consume(HEADER);
        Ok(Self {
            big_endian,
            link,
            snaplen,
            // An interface, a protocol and a packet type follow in the patched format.
            head: if magic == PATCHED { 24 } else { 16 },
            unit: if magic == NANOSECONDS { 1 } else { 1000 },
            limit: snaplen.clamp(SNAPLEN, u32::try_from(BLOCK).unwrap_or(u32::MAX)),
        })
    }

    /// Whether the header of a record follows.
    fn fill_head(&self, window: &mut Window) -> Result<bool, ErrorKind> {
        Ok(window.data().len() >= self.head || window.fill(self.head)?)
    }

    /// The record at the head of `data`, if all of it is there, or if it cannot be.
    fn record<'a>(&self, data: &'a [u8]) -> Option<(RecordHeader, &'a [u8])> {
        let (head, rest) = data.split_at_checked(self.head)?;
        let record = self.header(head);
        if record.captured > self.limit {
            return Some((record, &[]));
        }
        Some((record, rest.get(..record.captured as usize)?))
    }

    fn header(&self, head: &[u8]) -> RecordHeader {
        let field = |at| number(head, at, self.big_endian);
        RecordHeader { seconds: field(0), fraction: field(4), captured: field(8), wire: field(12) }
    }

    /// Brings the whole record that begins here into memory.
    fn more(&self, window: &mut Window) -> Result<More, ErrorKind> {
        if !self.fill_head(window)? {
            return match window.data() {
                [] => Ok(More::End),
                rest if rest.iter().all(|byte| *byte == 0) => Ok(More::Zeros),
                rest => Err(ErrorKind::Cut { have: rest.len(), need: None }),
            };
        }
        let need = self.head + self.header(window.data()).captured as usize;
        if window.fill(need)? {
            return Ok(More::Whole);
        }
        Err(ErrorKind::Cut { have: window.data().len(), need: Some(need) })
    }
}

/// The number of 32 bits at `at`; 0 if there is none.
fn number(data: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// The same of 16 bits.
fn half(data: &[u8], at: usize, big_endian: bool) -> u16 {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<2>()).copied().unwrap_or_default();
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}
