//! The block format (draft-ietf-opsawg-pcapng): sections of either byte order, each with its own interfaces.
//!
//! Blocks that bring no packets are passed over, secrets for decryption among them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use pcap_parser::{InterfaceDescriptionBlock, parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le};

use super::pcap::is_another;
use super::window::Window;
use super::{BLOCK, ErrorKind, File, Step};
use crate::time::Timestamp;
use crate::wire::LinkType;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length, length again.
const FRAME: usize = 12;

/// Interfaces of one section: dumpcap knows tens, a damaged file any number.
const INTERFACES: usize = 1 << 16;

/// An interface of the section.
struct Interface {
    link: LinkType,
    snaplen: u32,
    clock: Clock,
}

/// How an interface writes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
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
    interfaces: Vec<Interface>,
    /// Time of the latest packet: a simple packet has none of its own.
    latest: Timestamp,
    /// A snap length was exceeded and told.
    beyond: bool,
    /// Packets passed over by link type.
    skipped: BTreeMap<u16, u64>,
}

/// Walks through the file from a section header on.
pub(super) fn walk(file: &mut File<'_>, window: &mut Window) -> Result<Step, ErrorKind> {
    let before = file.totals.packets;
    let mut section = Section {
        big_endian: false,
        interfaces: Vec::new(),
        latest: Timestamp::default(),
        beyond: false,
        skipped: BTreeMap::new(),
    };
    let step = section.blocks(file, window);
    let all = file.totals.packets == before;
    for (link, packets) in section.skipped {
        file.tell(ErrorKind::LinkSkipped { link, packets, all }, None);
    }
    step
}

impl Section {
    fn blocks(&mut self, file: &mut File<'_>, window: &mut Window) -> Result<Step, ErrorKind> {
        loop {
            let Some((kind, length)) = self.next(window)? else {
                return Ok(Step::End);
            };
            if kind != SECTION && is_another(window.data()) {
                return Ok(Step::Another);
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
                INTERFACE => self.interface(block),
                ENHANCED_PACKET => self.enhanced(file, body, offset),
                OBSOLETE_PACKET => self.obsolete(file, body, offset),
                SIMPLE_PACKET => self.simple(file, body),
                _ => Ok(ControlFlow::Continue(())),
            };
            if step?.is_break() {
                return Ok(Step::Stop);
            }
            window.consume(length);
        }
    }

    /// Type and length of the block that begins here; `None` at the end of the file.
    fn next(&mut self, window: &mut Window) -> Result<Option<(u32, usize)>, ErrorKind> {
        if window.data().len() < FRAME && !window.fill(FRAME)? {
            return match window.data().len() {
                0 => Ok(None),
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

    fn interface(&mut self, block: &[u8]) -> Result<ControlFlow<()>, ErrorKind> {
        let parsed = if self.big_endian {
            parse_interfacedescriptionblock_be(block)
        } else {
            parse_interfacedescriptionblock_le(block)
        };
        let Ok((_, described)) = parsed else {
            return Err(ErrorKind::Block("an interface description that cannot be read".into()));
        };
        if self.interfaces.len() == INTERFACES {
            return Err(ErrorKind::Block(format!("more than {INTERFACES} interfaces in one section")));
        }
        let link = LinkType(u16::try_from(described.linktype.0).unwrap_or(u16::MAX));
        self.interfaces.push(Interface {
            link,
            snaplen: described.snaplen,
            clock: Clock::of(&described, self.big_endian),
        });
        Ok(ControlFlow::Continue(()))
    }

    fn enhanced(&mut self, file: &mut File<'_>, body: &[u8], offset: u64) -> Result<ControlFlow<()>, ErrorKind> {
        let interface = self.number(body, 0).unwrap_or_default();
        self.timed(file, body, interface, offset)
    }

    fn obsolete(&mut self, file: &mut File<'_>, body: &[u8], offset: u64) -> Result<ControlFlow<()>, ErrorKind> {
        let both = self.number(body, 0).unwrap_or_default();
        let interface = if self.big_endian { both >> 16 } else { both & 0xffff };
        self.timed(file, body, interface, offset)
    }

    /// The fields that enhanced and obsolete packet blocks share.
    fn timed(
        &mut self,
        file: &mut File<'_>,
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
        self.latest = at;
        if captured > snaplen && snaplen > 0 && !self.beyond {
            self.beyond = true;
            file.tell(ErrorKind::BeyondSnaplen { captured, snaplen }, Some(offset));
        }
        Ok(self.deliver(file, at, link, data, wire))
    }

    /// A packet of the first interface, as long as the snap length and the block allow.
    fn simple(&mut self, file: &mut File<'_>, body: &[u8]) -> Result<ControlFlow<()>, ErrorKind> {
        let wire =
            self.number(body, 0).ok_or_else(|| ErrorKind::Block("a simple packet block that is too short".into()))?;
        let from = self.of(0)?;
        let captured = if from.snaplen > 0 { wire.min(from.snaplen) } else { wire };
        let (link, data) = (from.link, body.get(4..).unwrap_or_default());
        let data = data.get(..captured as usize).unwrap_or(data);
        Ok(self.deliver(file, self.latest, link, data, wire))
    }

    fn deliver(
        &mut self,
        file: &mut File<'_>,
        at: Timestamp,
        link: LinkType,
        data: &[u8],
        wire: u32,
    ) -> ControlFlow<()> {
        if !link.is_known() {
            *self.skipped.entry(link.0).or_default() += 1;
            return ControlFlow::Continue(());
        }
        file.deliver(at, link, data, wire.max(u32::try_from(data.len()).unwrap_or(u32::MAX)))
    }

    fn of(&self, interface: u32) -> Result<&Interface, ErrorKind> {
        let found = usize::try_from(interface).ok().and_then(|i| self.interfaces.get(i));
        found.ok_or_else(|| {
            ErrorKind::Block(format!("a packet of interface {interface}, which the section does not describe"))
        })
    }

    fn number(&self, data: &[u8], at: usize) -> Option<u32> {
        let octets = *data.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
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

impl Clock {
    /// `if_tsresol` and `if_tsoffset` (draft-ietf-opsawg-pcapng section 4.2).
    fn of(interface: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        // pcap-parser reads the offset as little-endian in either case.
        let offset = if big_endian { interface.if_tsoffset.swap_bytes() } else { interface.if_tsoffset };
        let exponent = u32::from(interface.if_tsresol & 0x7f);
        let scale = match (interface.if_tsresol & 0x80 != 0, exponent) {
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
