//! The classic format (draft-ietf-opsawg-pcap): a file header, then records until the end.

use pcap_parser::nom::Err::Incomplete;
use pcap_parser::{PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header};

use super::window::Window;
use super::{BLOCK, ErrorKind, File, SNAPLEN, Step};
use crate::time::Timestamp;
use crate::wire::LinkType;

const HEADER: usize = 24;

/// Whether a classic capture begins like this.
pub(super) fn is_magic(data: &[u8]) -> bool {
    matches!(
        data,
        [0xd4 | 0x34, 0xc3 | 0xcd, 0xb2, 0xa1, ..]
            | [0x4d, 0x3c, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0xc3, 0xd4, ..]
            | [0xa1, 0xb2, 0x3c, 0x4d, ..]
    ) && !matches!(data, [0xd4, 0xcd, ..] | [0x34, 0xc3, ..])
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
    header: PcapHeader,
    link: LinkType,
    /// Octets of a record's header.
    head: usize,
    /// Nanoseconds in a unit of the second part of the time.
    unit: u64,
    /// The most that a record can have captured.
    limit: u32,
}

/// Walks through the file from its header on.
pub(super) fn walk(file: &mut File<'_>, window: &mut Window) -> Result<Step, ErrorKind> {
    let format = Format::read(window)?;
    let mut beyond = false;
    loop {
        let data = window.data();
        if is_another(data) {
            return Ok(Step::Another);
        }
        let frame = match (format.header.is_modified_format(), format.header.is_bigendian()) {
            (true, _) => parse_pcap_frame_modified(data),
            (false, true) => parse_pcap_frame_be(data),
            (false, false) => parse_pcap_frame(data),
        };
        let (rest, frame) = match frame {
            Ok(frame) => frame,
            Err(Incomplete(_)) => {
                if !format.more(window)? {
                    return Ok(Step::End);
                }
                continue;
            }
            Err(_) => return Err(ErrorKind::Block("a record that cannot be read".into())),
        };
        let (captured, snaplen) = (frame.caplen, format.header.snaplen);
        if captured > format.limit {
            return Err(ErrorKind::Record { captured, limit: format.limit });
        }
        if captured > snaplen && snaplen > 0 && !beyond {
            beyond = true;
            file.tell(ErrorKind::BeyondSnaplen { captured, snaplen }, Some(window.offset()));
        }
        let used = data.len() - rest.len();
        let at = Timestamp::from_parts(frame.ts_sec.into(), u64::from(frame.ts_usec) * format.unit);
        if file.deliver(at, format.link, frame.data, frame.origlen.max(captured)).is_break() {
            return Ok(Step::Stop);
        }
        window.consume(used);
    }
}

impl Format {
    fn read(window: &mut Window) -> Result<Self, ErrorKind> {
        if !window.fill(HEADER)? {
            return Err(ErrorKind::HeaderCut { have: window.data().len(), need: HEADER });
        }
        let Ok((_, header)) = parse_pcap_header(window.data()) else {
            return Err(ErrorKind::not_capture(window.data()));
        };
        if header.version_major != 2 {
            return Err(ErrorKind::Version(header.version_major, header.version_minor));
        }
        // The upper six bits tell of frame check sequences (draft-ietf-opsawg-pcap section 4).
        let link = header.network.0.cast_unsigned() & 0x03ff_ffff;
        let link = u16::try_from(link).map(LinkType).ok().filter(|l| l.is_known()).ok_or(ErrorKind::Link(link))?;
        window.consume(HEADER);
        let head = if header.is_modified_format() { 24 } else { 16 };
        let unit = if header.is_nanosecond_precision() { 1 } else { 1000 };
        let limit = header.snaplen.clamp(SNAPLEN, u32::try_from(BLOCK).unwrap_or(u32::MAX));
        Ok(Self { header, link, head, unit, limit })
    }

    /// Brings the whole record that begins here into memory; false at the end of the file.
    fn more(&self, window: &mut Window) -> Result<bool, ErrorKind> {
        if !window.fill(self.head)? {
            return match window.data().len() {
                0 => Ok(false),
                have => Err(ErrorKind::Cut { have, need: None }),
            };
        }
        let captured = match window.data() {
            [_, _, _, _, _, _, _, _, a, b, c, d, ..] if self.header.is_bigendian() => {
                u32::from_be_bytes([*a, *b, *c, *d])
            }
            [_, _, _, _, _, _, _, _, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        if captured > self.limit {
            return Err(ErrorKind::Record { captured, limit: self.limit });
        }
        let need = self.head + captured as usize;
        if window.fill(need)? {
            return Ok(true);
        }
        Err(ErrorKind::Cut { have: window.data().len(), need: Some(need) })
    }
}
