//! Capture files become packets: pcap and pcapng, plain or compressed, several files as one capture.
//!
//! Files are read in the order of their first packets, so that flows go on across rotated captures. Packets are lent
//! from one buffer: nothing is copied, and nothing is allocated for a packet. Formats are told by their first bytes,
//! never by a name. Whatever stands before a damage is delivered; the damage is told with its place and reason
//! ([`CaptureError`]), and the next file is read. The formats are read here and not by a crate, because a damage must be
//! named by its offset and kind, and because the crates' readers drop I/O errors.

mod compression;
pub mod error;
pub mod live;
mod order;
mod pcap;
mod pcapng;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod window;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Timestamp;
use crate::wire::{LinkType, Packet};

pub use compression::Compression;
pub use error::{CaptureError, ErrorKind};
pub use order::FileOrder;

use window::Window;

/// The largest record or block that is held: legal packets of USB and D-Bus captures reach 128 MiB by name only.
const BLOCK: usize = 64 << 20;

/// libpcap's largest snapshot length for network links: a packet beyond it, and beyond what the header says, is none.
const SNAPLEN: u32 = 262_144;

/// Bytes of a file held at first: large enough that moving the rest of a record to the front costs nothing.
const ROOM: usize = 1 << 20;

/// How far the time may run backwards between two files without a word: capture programs that rotate their files write
/// packets of several queues, and the last of one file may be later than the first of the next.
const BACKWARDS: Duration = Duration::from_secs(1);

/// Several files as one capture.
#[derive(Debug)]
pub struct Capture {
    files: Vec<PathBuf>,
    order: FileOrder,
    read: Arc<AtomicU64>,
    size: Option<u64>,
}

/// What a capture held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets delivered.
    pub packets: u64,
    /// Octets captured of them.
    pub octets: u64,
    /// Packets passed over, since their link type cannot be read.
    pub skipped: u64,
    /// Time of the first packet that has one.
    pub first: Option<Timestamp>,
    /// The latest time of any packet.
    pub last: Option<Timestamp>,
}

impl Capture {
    /// The capture in `files`; `-` is standard input. A file's position is the [`source`](Packet::source) of its
    /// packets. Nothing is opened yet.
    pub fn new(files: Vec<PathBuf>, order: FileOrder) -> Self {
        let sizes = files.iter().map(|f| regular_size(f)).collect::<Option<Vec<_>>>();
        let size = sizes.map(|s| s.into_iter().fold(0, u64::saturating_add));
        Self { files, order, read: Arc::default(), size }
    }

    /// Octets on disk; `None` if some input has no size (a pipe).
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Octets read so far, as they are on disk: changes while [`Self::for_each`] runs.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Hands every packet to `packet` until that breaks off, and every trouble to `trouble` as it is met.
    pub fn for_each(
        &self,
        trouble: &mut dyn FnMut(CaptureError),
        mut packet: impl FnMut(&Packet<'_>) -> ControlFlow<()>,
    ) -> Totals {
        let order = match self.order {
            FileOrder::Time => order::by_time(&self.files, trouble),
            FileOrder::Given => (0..self.files.len()).collect(),
        };
        let mut totals = Totals::default();
        for index in order {
            let Some(path) = self.files.get(index) else { continue };
            let mut file = CaptureFile {
                path,
                source: u32::try_from(index).unwrap_or(u32::MAX),
                // Whoever insists on an order knows that the time runs backwards.
                seen: SeenInFile {
                    before: totals.last.filter(|_| self.order == FileOrder::Time),
                    ..SeenInFile::default()
                },
                totals: &mut totals,
                trouble: &mut *trouble,
                packet: &mut packet,
                compression: None,
            };
            if file.read(&self.read, ROOM).is_break() {
                break;
            }
        }
        totals
    }
}

fn regular_size(path: &Path) -> Option<u64> {
    if path.as_os_str() == "-" {
        return None;
    }
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() => Some(about.len()),
        Ok(about) if !about.is_dir() => None,
        _ => Some(0),
    }
}

/// One file while it is read.
struct CaptureFile<'a> {
    path: &'a Path,
    source: u32,
    totals: &'a mut Totals,
    trouble: &'a mut dyn FnMut(CaptureError),
    packet: &'a mut dyn FnMut(&Packet<'_>) -> ControlFlow<()>,
    compression: Option<Compression>,
    seen: SeenInFile,
}

/// What was met in a file so far.
#[derive(Debug, Default)]
struct SeenInFile {
    /// The latest time in the files before it, until its first packet with a time is met.
    before: Option<Timestamp>,
    /// Packets passed over by link type. A section names fewer than 65,536 interfaces, and a link type has 16 bits.
    skipped: BTreeMap<u16, u64>,
}

/// How the walk through a file goes on.
enum WalkEnd {
    /// The file is at its end, clean or not.
    End,
    /// The caller wants no more.
    Stop,
    /// Another file's header stands where a record was due.
    Another,
}

impl CaptureFile<'_> {
    fn read(&mut self, progress: &Arc<AtomicU64>, room: usize) -> ControlFlow<()> {
        tracing::debug!(file = %self.path.display(), "opening");
        let before = self.totals.packets;
        let opened = match source::open(self.path, progress) {
            Ok(opened) => opened,
            Err(what) => {
                self.tell(what, None);
                return ControlFlow::Continue(());
            }
        };
        self.compression = opened.compression;
        let mut window = Window::new(opened, room);
        let walked = self.walk(&mut window);
        self.tell_skipped(before);
        let step = match walked {
            Ok(WalkEnd::Stop) => return ControlFlow::Break(()),
            Ok(WalkEnd::End | WalkEnd::Another) => "end",
            Err(what) => {
                let offset = window.place_of(&what);
                self.tell(what, offset);
                "trouble"
            }
        };
        let packets = self.totals.packets.saturating_sub(before);
        tracing::debug!(file = %self.path.display(), packets, octets = window.offset(), step, "read");
        ControlFlow::Continue(())
    }

    fn walk(&mut self, window: &mut Window) -> Result<WalkEnd, ErrorKind> {
        let mut step = self.begin(window)?;
        while matches!(step, WalkEnd::Another) {
            self.tell(ErrorKind::Concatenated, Some(window.offset()));
            step = self.begin(window)?;
        }
        Ok(step)
    }

    fn begin(&mut self, window: &mut Window) -> Result<WalkEnd, ErrorKind> {
        window.fill(4)?;
        match window.data() {
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => pcapng::walk(self, window),
            data if pcap::is_magic(data) => pcap::walk(self, window),
            [] => Err(self.compression.map_or(ErrorKind::Empty, ErrorKind::EmptyInside)),
            data => Err(ErrorKind::not_capture(data)),
        }
    }

    fn deliver(&mut self, at: Timestamp, link: LinkType, data: &[u8], wire_len: u32) -> ControlFlow<()> {
        if !link.is_known() {
            *self.seen.skipped.entry(link.0).or_default() += 1;
            self.totals.skipped += 1;
            return ControlFlow::Continue(());
        }
        if let Some(at) = at.known() {
            self.compare(at);
            self.totals.first.get_or_insert(at);
            self.totals.last = self.totals.last.max(Some(at));
        }
        self.totals.packets += 1;
        self.totals.octets += data.len() as u64;
        (self.packet)(&Packet { at, source: self.source, link, data, wire_len })
    }

    fn tell_skipped(&mut self, before: u64) {
        let all = self.totals.packets == before;
        for (link, packets) in std::mem::take(&mut self.seen.skipped) {
            self.tell(ErrorKind::LinkSkipped { link: LinkType(link), packets, all }, None);
        }
    }

    /// The file's first time, against the last one of the files before.
    fn compare(&mut self, at: Timestamp) {
        if let Some(before) = self.seen.before.take()
            && let Some(by) = before.since(at).filter(|by| *by > BACKWARDS)
        {
            self.tell(ErrorKind::Backwards { by }, None);
        }
    }

    fn tell(&mut self, what: ErrorKind, offset: Option<u64>) {
        let (path, compression) = (self.path.to_owned(), self.compression);
        (self.trouble)(CaptureError { path, what, offset, compression });
    }
}

/// A time that stands in a file. Zero is a time there (some captures count from their first packet), but here it is none:
/// it becomes the nanosecond after.
fn stated(at: Timestamp) -> Timestamp {
    at.known().unwrap_or(Timestamp::from_nanos(1))
}

/// Adds to what has been read.
fn count(progress: &AtomicU64, octets: usize) {
    progress.fetch_add(octets as u64, Ordering::Relaxed);
}
