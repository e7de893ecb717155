//! The block format (draft-ietf-opsawg-pcapng): sections of either byte order, each with its own interfaces.
//!
//! Blocks that bring no packets are passed over, secrets for decryption among them.

use std::ops::ControlFlow;

use super::pcap::is_another;
use super::window::Window;
use super::{BLOCK, CaptureFile, ErrorKind, WalkEnd, stated};
use crate::time::Timestamp;
use crate::wire::LinkType;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length, length again.
const FRAME: usize = 12;

/// Type and length where zeros stand.
const PADDING: (u32, usize) = (0, 0);

/// Interfaces of one section: dumpcap knows tens, a damaged file any number.
const INTERFACES: usize = 1 << 16;

/// An interface of the section.
struct SectionInterface {
    link: LinkType,
    snaplen: u32,
    clock: InterfaceClock,
}

/// How an interface writes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InterfaceClock {
    scale: Scale,
    /// Seconds to add.
    offset: i64,
}

/// Units of time to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Times(u64),
    Over(u128),
    /// Units of 2^-n seconds.
    Binary(u32),
}

/// What stands in the section so far.
struct Section {
    big_endian: bool,
    interfaces: Vec<SectionInterface>,
    /// A snap length was exceeded and told.
    beyond: bool,
}

/// Walks through the file from a section header on.
pub(super) fn walk(file: &mut CaptureFile<'_>, window: &mut Window) -> Result<WalkEnd, ErrorKind> {
    let mut section = Section { big_endian: false, interfaces: Vec::new(), beyond: false };
    section.blocks(file, window)
}

impl Section {
    fn blocks(&mut self, file: &mut CaptureFile<'_>, window: &mut Window) -> Result<WalkEnd, ErrorKind> {
        loop {
            let Some((kind, length)) = self.next(window)? else {
                return Ok(WalkEnd::End);
            };
            if (kind, length) == PADDING {
                let offset = window.offset();
                zeros(window)?;
                file.tell(ErrorKind::Padding, Some(offset));
                return Ok(WalkEnd::End);
            }
            if kind != SECTION && is_another(window.data()) {
                return Ok(WalkEnd::Another);
            }
            let offset = window.offset();
            let block = whole(window, length)?;
            let (front, back) = block.split_at_checked(length - 4).unwrap_or_default();
            if self.number(back, 0) != Some(u32::try_from(length).unwrap_or_default()) {
                return Err(ErrorKind::Block(
                    "the length at the end of a block differs from the one at its beginning".into(),
                ));
            }
            let body = front.get(8..).unwrap_or_default();
            let step = match kind {
                SECTION => self.begin(body, block),
                INTERFACE => self.interface(body),
                ENHANCED_PACKET => self.enhanced(file, body, offset),
                OBSOLETE_PACKET => self.obsolete(file, body, offset),
                SIMPLE_PACKET => self.simple(file, body),
                _ => Ok(ControlFlow::Continue(())),
            };
            if step?.is_break() {
                return Ok(WalkEnd::Stop);
            }
            window.consume(length);
        }
    }

    /// Type and length of the block that begins here; `None` at the end of the file.
    fn next(&mut self, window: &mut Window) -> Result<Option<(u32, usize)>, ErrorKind> {
        if window.data().len() < FRAME && !window.fill(FRAME)? {
            return match window.data().len() {
                0 => Ok(None),
                _ if window.data().iter().all(|byte| *byte == 0) => Ok(Some(PADDING)),
                have if window.offset() == 0 => Err(ErrorKind::HeaderCut { have, need: 28 }),
                have => Err(ErrorKind::Cut { have, need: None }),
            };
        }
        // The byte order of a section stands in its header, and holds for the length before it.
        if let [0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, order @ ..] = window.data() {
            self.big_endian = match order {
                [0x4d, 0x3c, 0x2b, 0x1a, ..] => false,
                [0x1a, 0x2b, 0x3c, 0x4d, ..] => true,
                _ => {
                    return Err(ErrorKind::Block("a section header without its byte-order magic".into()));
                }
            };
        }
        let (kind, length) = (self.number(window.data(), 0), self.number(window.data(), 4));
        let (kind, length) = (kind.unwrap_or_default(), length.unwrap_or_default());
        match usize::try_from(length) {
            Ok(0) if kind == 0 && window.offset() > 0 => Ok(Some(PADDING)),
            Ok(size) if (FRAME..=BLOCK).contains(&size) && size.is_multiple_of(4) => Ok(Some((kind, size))),
            _ if is_another(window.data()) => Ok(Some((kind, FRAME))),
            _ => Err(ErrorKind::Block(format!(
                "a block of type {kind:#x} claims an impossible length of {length} octets"
            ))),
        }
    }

    fn begin(&mut self, body: &[u8], block: &[u8]) -> Result<ControlFlow<()>, ErrorKind> {
        if block.len() < 28 {
            return Err(ErrorKind::Block("a section header that is too short".into()));
        }
        let version = self.number(body, 4).unwrap_or_default();
        let (major, minor) =
            if self.big_endian { (version >> 16, version & 0xffff) } else { (version & 0xffff, version >> 16) };
        // Minor version 2 is read alike (draft-ietf-opsawg-pcapng section 4.1).
        if major != 1 {
            return Err(ErrorKind::Version(
                u16::try_from(major).unwrap_or_default(),
                u16::try_from(minor).unwrap_or_default(),
            ));
        }
        self.interfaces.clear();
        Ok(ControlFlow::Continue(()))
    }

    /// Draft-ietf-opsawg-pcapng section 4.2.
    fn interface(&mut self, body: &[u8]) -> Result<ControlFlow<()>, ErrorKind> {
        let (Some(first), Some(snaplen), Some(options)) = (self.number(body, 0), self.number(body, 4), body.get(8..))
        else {
            return Err(ErrorKind::Block("an interface description that is too short".into()));
        };
        if self.interfaces.len() == INTERFACES {
            return Err(ErrorKind::Block(format!("more than {INTERFACES} interfaces in one section")));
        }
        let link = if self.big_endian { first >> 16 } else { first & 0xffff };
        let link = LinkType(u16::try_from(link).unwrap_or(u16::MAX));
        self.interfaces.push(SectionInterface { link, snaplen, clock: self.clock(options) });
        Ok(ControlFlow::Continue(()))
    }

    /// `if_tsresol` and `if_tsoffset` among the options of an interface.
    fn clock(&self, mut options: &[u8]) -> InterfaceClock {
        const END: u16 = 0;
        const RESOLUTION: u16 = 9;
        const OFFSET: u16 = 14;
        let (mut resolution, mut offset) = (6, 0);
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk::<4>() {
            let [code, length] = [[a, b], [c, d]].map(|field| self.half(field));
            let Some(value) = rest.get(..usize::from(length)).filter(|_| code != END) else { break };
            match (code, value) {
                (RESOLUTION, [units]) => resolution = *units,
                (OFFSET, value) => {
                    if let Ok(seconds) = <[u8; 8]>::try_from(value) {
                        offset =
                            if self.big_endian { i64::from_be_bytes(seconds) } else { i64::from_le_bytes(seconds) };
                    }
                }
                _ => {}
            }
            options = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
        InterfaceClock::new(resolution, offset)
    }

    fn enhanced(&mut self, file: &mut CaptureFile<'_>, body: &[u8], offset: u64) -> Result<ControlFlow<()>, ErrorKind> {
        let interface = self.number(body, 0).unwrap_or_default();
        self.timed(file, body, interface, offset)
    }

    fn obsolete(&mut self, file: &mut CaptureFile<'_>, body: &[u8], offset: u64) -> Result<ControlFlow<()>, ErrorKind> {
        let both = self.number(body, 0).unwrap_or_default();
        let interface = if self.big_endian { both >> 16 } else { both & 0xffff };
        self.timed(file, body, interface, offset)
    }

    /// The fields that enhanced and obsolete packet blocks share.
    fn timed(
        &mut self,
        file: &mut CaptureFile<'_>,
        body: &[u8],
        interface: u32,
        offset: u64,
    ) -> Result<ControlFlow<()>, ErrorKind> {
        let field =
            |at| self.number(body, at).ok_or_else(|| ErrorKind::Block("a packet block that is too short".into()));
        let (high, low, captured, wire) = (field(4)?, field(8)?, field(12)?, field(16)?);
        let data = body.get(20..).and_then(|d| d.get(..captured as usize)).ok_or_else(|| {
            ErrorKind::Block(format!(
                "a packet block of {} octets claims {captured} captured octets",
                body.len() + FRAME
            ))
        })?;
        let from = self.of(interface)?;
        let (link, snaplen) = (from.link, from.snaplen);
        let at = from.clock.time(u64::from(high) << 32 | u64::from(low));
        if captured > snaplen && snaplen > 0 && !self.beyond {
            self.beyond = true;
            file.tell(ErrorKind::BeyondSnaplen { captured, snaplen }, Some(offset));
        }
        Ok(deliver(file, stated(at), link, data, wire))
    }

    /// A packet of the first interface, as long as the snap length and the block allow. It has no time.
    fn simple(&mut self, file: &mut CaptureFile<'_>, body: &[u8]) -> Result<ControlFlow<()>, ErrorKind> {
        let wire =
            self.number(body, 0).ok_or_else(|| ErrorKind::Block("a simple packet block that is too short".into()))?;
        let from = self.of(0)?;
        let captured = if from.snaplen > 0 { wire.min(from.snaplen) } else { wire };
        let (link, data) = (from.link, body.get(4..).unwrap_or_default());
        let data = data.get(..captured as usize).unwrap_or(data);
        Ok(deliver(file, Timestamp::UNKNOWN, link, data, wire))
    }

    fn of(&self, interface: u32) -> Result<&SectionInterface, ErrorKind> {
        let found = usize::try_from(interface).ok().and_then(|i| self.interfaces.get(i));
        found.ok_or_else(|| {
            ErrorKind::Block(format!("a packet of interface {interface}, which the section does not describe"))
        })
    }

    fn number(&self, data: &[u8], at: usize) -> Option<u32> {
        let octets = *data.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }

    fn half(&self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }
}

fn deliver(file: &mut CaptureFile<'_>, at: Timestamp, link: LinkType, data: &[u8], wire: u32) -> ControlFlow<()> {
    file.deliver(at, link, data, wire.max(u32::try_from(data.len()).unwrap_or(u32::MAX)))
}

/// Passes over the zeros that stand from here to the end: tape blocks and preallocated files end so.
fn zeros(window: &mut Window) -> Result<(), ErrorKind> {
    loop {
        let data = window.data();
        if data.iter().any(|byte| *byte != 0) {
            return Err(ErrorKind::Block("zeros where a block is due".into()));
        }
        window.consume(data.len());
        if !window.fill(1)? {
            return Ok(());
        }
    }
}

fn whole(window: &mut Window, length: usize) -> Result<&[u8], ErrorKind> {
    if window.data().len() < length && !window.fill(length)? {
        let have = window.data().len();
        return Err(if window.offset() == 0 {
            ErrorKind::HeaderCut { have, need: length }
        } else {
            ErrorKind::Cut { have, need: Some(length) }
        });
    }
    Ok(window.data().get(..length).unwrap_or_default())
}

impl InterfaceClock {
    /// `if_tsresol` and `if_tsoffset` (draft-ietf-opsawg-pcapng section 4.2).
    fn new(resolution: u8, offset: i64) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let scale = match (resolution & 0x80 != 0, exponent) {
            (true, n) => Scale::Binary(n),
            (false, n @ 0..=9) => Scale::Times(10_u64.pow(9 - n)),
            // Beyond 38 the units of 64 bits are less than a nanosecond together.
            (false, n) => Scale::Over(10_u128.checked_pow(n - 9).unwrap_or(u128::MAX)),
        };
        Self { scale, offset }
    }

    fn time(self, units: u64) -> Timestamp {
        let nanos = match self.scale {
            Scale::Times(by) => u128::from(units) * u128::from(by),
            Scale::Over(by) => u128::from(units) / by,
            Scale::Binary(bits) => (u128::from(units) * 1_000_000_000) >> bits,
        };
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(i128::from(self.offset) * 1_000_000_000);
        Timestamp::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}
