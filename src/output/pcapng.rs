//! Packets of live interfaces kept as pcapng (draft-ietf-opsawg-pcapng), beside whatever is made of them.
//!
//! Who captures puts packets into a [`PcapWriter`] as ready blocks and never waits: a thread writes them, and what finds it
//! behind is dropped and counted. A file is put away as `mail.N.pcapng` (the highest is the newest) by size or age, when
//! asked, and when one is there at the start; nothing is ever overwritten, and only captures of this program are deleted. A
//! disk that is full costs packets: files stay, and end with a whole block. Passwords stand in packets: only the owner may
//! read it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::beside;
use super::numbered::Numbered;
use crate::console::{self, plain};
use crate::time::Timestamp;

/// Octets of blocks that are handed over together.
const BATCH: usize = 256 << 10;

/// Batches that may wait: 16 MiB.
const QUEUE: usize = 64;

/// How long packets may gather: so that a disk that stands still for long costs none on a calm link.
const GATHER: Duration = Duration::from_millis(500);

/// Room that a spent batch keeps.
const KEEP: usize = 1 << 20;

/// How long after a failure the next file is tried.
const RETRY: Duration = Duration::from_secs(1);

/// How often the thread looks at the age of the file.
const LOOK: Duration = Duration::from_millis(500);

/// An interface whose packets are kept.
#[derive(Clone, Debug)]
pub struct PacketSource {
    /// Its name.
    pub name: String,
    /// `LINKTYPE_` number of its packets.
    pub link: u16,
    /// Octets that are captured of a packet at most.
    pub snaplen: u32,
}

/// Where packets are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketFileSettings {
    /// The file that is written now.
    pub path: PathBuf,
    /// Octets after which the next begins.
    pub size: u64,
    /// Age at which the next begins.
    pub age: Option<Duration>,
    /// Files that are kept, this one included.
    pub files: Option<u32>,
}

/// What became of the packets.
#[derive(Debug, Default)]
pub struct PacketCounters {
    /// In a file.
    pub written: AtomicU64,
    /// Given up since the thread that writes was behind.
    pub queue_full: AtomicU64,
    /// Lost since the file could not be written.
    pub failed: AtomicU64,
}

enum ThreadMessage {
    Blocks(BlockBatch),
    Renew,
}

/// Whole blocks.
#[derive(Default)]
struct BlockBatch {
    octets: Vec<u8>,
    packets: u64,
}

/// Where one thread leaves its packets.
pub struct PcapWriter {
    blocks: BlockBatch,
    flushed: Instant,
    queue: Sender<ThreadMessage>,
    spent: Receiver<Vec<u8>>,
    counters: Arc<PacketCounters>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct PcapThread {
    path: PathBuf,
    queue: Sender<ThreadMessage>,
    spent: Receiver<Vec<u8>>,
    renew: Arc<AtomicBool>,
    counters: Arc<PacketCounters>,
    thread: JoinHandle<Result<(), io::Error>>,
}

impl PcapThread {
    /// Starts the thread that writes `files`. `report` is told when writing begins to fail, and when it works again.
    pub fn start(files: Files, report: fn(PacketNews<'_>)) -> io::Result<Self> {
        let (queue, messages) = bounded(QUEUE);
        let (empty, spent) = bounded(QUEUE);
        let counters = Arc::new(PacketCounters::default());
        let counted = Arc::clone(&counters);
        let renew = Arc::<AtomicBool>::default();
        let of_thread = Arc::clone(&renew);
        let path = files.settings.path.clone();
        let thread = thread::Builder::new()
            .name("packets".into())
            .spawn(move || keep(files, &messages, &empty, &of_thread, &counted, report))?;
        Ok(Self { path, queue, spent, renew, counters, thread })
    }

    /// The file that is written now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A writer for one more thread.
    pub fn writer(&self) -> PcapWriter {
        PcapWriter {
            blocks: BlockBatch::default(),
            flushed: Instant::now(),
            queue: self.queue.clone(),
            spent: self.spent.clone(),
            counters: Arc::clone(&self.counters),
        }
    }

    /// Asks for the file to be put away and the next to be begun. Never waits.
    pub fn renew(&self) {
        self.renew.store(true, Ordering::Relaxed);
        // So that it comes in its turn; a full queue comes to it all the same.
        let _ = self.queue.try_send(ThreadMessage::Renew);
    }

    /// What became of the packets so far.
    pub fn counters(&self) -> &Arc<PacketCounters> {
        &self.counters
    }

    /// Waits until everything is written; every [`PcapWriter`] must be gone. The last failure, if it was not mended.
    pub fn finish(self) -> io::Result<()> {
        drop(self.queue);
        self.thread.join().unwrap_or(Ok(()))
    }
}

impl PcapWriter {
    /// Keeps a packet of the interface `source`, of which `data` was captured, or gives it up. Never waits.
    pub fn packet(&mut self, at: Timestamp, source: u32, data: &[u8], wire_len: u32) {
        if self.is_full(data.len()) {
            self.send();
            if self.is_full(data.len()) {
                self.counters.queue_full.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        block(&mut self.blocks.octets, at, source, data, wire_len);
        self.blocks.packets += 1;
    }

    /// Hands over what has gathered, if it was long enough. Call it every now and then. Never waits.
    pub fn flush(&mut self) {
        if self.flushed.elapsed() >= GATHER {
            self.send();
        }
    }

    /// Whether `more` octets would be too many. One packet always fits.
    fn is_full(&self, more: usize) -> bool {
        self.blocks.packets > 0 && self.blocks.octets.len().saturating_add(more) > BATCH
    }

    /// Hands over what has gathered; what the queue has no room for stays.
    fn send(&mut self) {
        self.flushed = Instant::now();
        if self.blocks.packets == 0 || self.queue.is_full() {
            return;
        }
        let octets = self.spent.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.blocks, BlockBatch { octets, packets: 0 });
        if let Err(refused) = self.queue.try_send(ThreadMessage::Blocks(full))
            && let ThreadMessage::Blocks(back) = refused.into_inner()
        {
            self.blocks = back;
        }
    }
}

impl Drop for PcapWriter {
    /// At the end the disk is waited for.
    fn drop(&mut self) {
        if self.blocks.packets > 0 {
            let _ = self.queue.send(ThreadMessage::Blocks(std::mem::take(&mut self.blocks)));
        }
    }
}

impl std::fmt::Debug for PcapWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcapWriter").field("counters", &self.counters).finish_non_exhaustive()
    }
}

fn keep(
    mut files: Files,
    messages: &Receiver<ThreadMessage>,
    spent: &Sender<Vec<u8>>,
    renew: &AtomicBool,
    counters: &PacketCounters,
    report: fn(PacketNews<'_>),
) -> io::Result<()> {
    let mut last = Ok(());
    let mut lost = 0;
    loop {
        let done = match messages.recv_timeout(LOOK) {
            Ok(ThreadMessage::Blocks(BlockBatch { mut octets, packets })) => {
                let Kept { packets: kept, failed } = files.write(&octets);
                counters.written.fetch_add(kept, Ordering::Relaxed);
                counters.failed.fetch_add(packets - kept, Ordering::Relaxed);
                lost += packets - kept;
                octets.clear();
                octets.shrink_to(KEEP);
                let _ = spent.try_send(octets);
                Some(failed.map_or(Ok(()), Err))
            }
            Ok(ThreadMessage::Renew) => None,
            Err(RecvTimeoutError::Timeout) => {
                files.look();
                None
            }
            Err(RecvTimeoutError::Disconnected) => return last,
        };
        if renew.swap(false, Ordering::Relaxed) {
            files.begin_or_go_on();
        }
        let Some(done) = done else { continue };
        let path = &files.settings.path;
        match (&done, &last) {
            (Err(reason), Ok(())) => report(PacketNews::Failed(path, reason)),
            (Ok(()), Err(_)) => report(PacketNews::Restored(path, std::mem::take(&mut lost))),
            _ => {}
        }
        last = done;
    }
}

/// How writing goes, as far as somebody should know.
#[derive(Debug)]
pub enum PacketNews<'a> {
    /// The first failure of a row.
    Failed(&'a Path, &'a io::Error),
    /// The end of such a row, and the packets that were lost meanwhile.
    Restored(&'a Path, u64),
}

/// What became of a batch.
struct Kept {
    packets: u64,
    failed: Option<io::Error>,
}

/// The file that is written, and those put away.
#[derive(Debug)]
pub struct Files {
    settings: PacketFileSettings,
    /// What each begins with.
    head: Vec<u8>,
    file: Option<File>,
    away: Numbered,
    /// Octets behind the head.
    written: u64,
    began: Instant,
    /// When the last attempt to begin one failed.
    failed: Option<Instant>,
}

impl Files {
    /// Begins a file; one that is there already is put away.
    pub fn open(settings: PacketFileSettings, sources: &[PacketSource]) -> io::Result<Self> {
        let mut files = Self::new(settings, sources);
        files.begin()?;
        Ok(files)
    }

    fn new(settings: PacketFileSettings, sources: &[PacketSource]) -> Self {
        let away = Numbered::before(".pcapng", &settings.path, is_ours);
        Self { head: head(sources), settings, file: None, away, written: 0, began: Instant::now(), failed: None }
    }

    /// Begins the next file and puts the one before away, if there is one. The next is there first: on a disk without room,
    /// everything stays as it was.
    fn begin(&mut self) -> io::Result<()> {
        let path = &self.settings.path;
        let is_file = fs::symlink_metadata(path).map(|about| about.is_file());
        if matches!(is_file, Ok(false)) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "is there already, and is no file"));
        }
        let (mut file, temporary) = beside::create(path, 0o600)?;
        let made = file.write_all(&self.head).and_then(|()| self.away.put_away(self.settings.files));
        if let Err(error) = made.and_then(|_| fs::rename(&temporary, path)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        self.written = 0;
        self.began = Instant::now();
        self.file = Some(file);
        Ok(())
    }

    /// Begins the next file; if that cannot be, the one before grows on.
    fn begin_or_go_on(&mut self) {
        self.failed = None;
        if let Err(error) = self.begin() {
            self.failed = Some(Instant::now());
            let path = self.settings.path.display();
            let text = format_args!(
                "{path}: the next capture file cannot be begun: {}; make room, and check the directory and its permissions",
                plain(&error)
            );
            console::warn("capture_file", &path.to_string(), &text);
        }
    }

    fn write(&mut self, blocks: &[u8]) -> Kept {
        let is_due = self.file.is_none() || self.is_old() || self.is_full(blocks.len());
        if is_due && self.failed.is_none_or(|at| at.elapsed() >= RETRY) {
            self.begin_or_go_on();
        }
        let Some(file) = &mut self.file else {
            return Kept { packets: 0, failed: Some(io::Error::other("it cannot be begun")) };
        };
        let (done, failed) = put(file, blocks);
        let (whole, packets) = whole_blocks(blocks.get(..done).unwrap_or(blocks));
        self.written += whole as u64;
        if failed.is_some() && take_back(file, (done - whole) as u64).is_err() {
            // It ends somewhere: the next one begins.
            self.file = None;
        }
        Kept { packets, failed }
    }

    /// Begins the next file if this one is old, also when there is nothing to write, or if it was deleted.
    fn look(&mut self) {
        let is_gone = self.file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|about| about.nlink() == 0));
        if (is_gone || self.is_old()) && self.failed.is_none_or(|at| at.elapsed() >= RETRY) {
            self.begin_or_go_on();
        }
    }

    fn is_full(&self, more: usize) -> bool {
        let all = [self.head.len(), more].iter().fold(self.written, |sum, n| sum.saturating_add(*n as u64));
        self.written > 0 && all > self.settings.size
    }

    /// One without a packet does not grow old.
    fn is_old(&self) -> bool {
        self.written > 0 && self.settings.age.is_some_and(|age| self.began.elapsed() >= age)
    }
}

/// Writes as much as can be; how much that was.
fn put(file: &mut File, blocks: &[u8]) -> (usize, Option<io::Error>) {
    let mut done = 0;
    while let Some(rest) = blocks.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (done, Some(ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// Cuts the last `octets` off.
fn take_back(file: &mut File, octets: u64) -> io::Result<()> {
    let end = file.stream_position()?.saturating_sub(octets);
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(|_| ())
}

/// Octets of the whole blocks at the beginning of `written`, and how many those are.
fn whole_blocks(written: &[u8]) -> (usize, u64) {
    let (mut at, mut blocks) = (0, 0);
    while let Some(length) = written.get(at + 4..at + 8).and_then(|length| length.try_into().ok()) {
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 || written.len() - at < length {
            break;
        }
        at += length;
        blocks += 1;
    }
    (at, blocks)
}

/// Whether a file that begins with `head` is a capture of this program: [`head`] puts its name there.
fn is_ours(head: &[u8]) -> bool {
    head.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) && head.get(28..36) == Some(b"mailtap ")
}

/// The section header and a description of every interface; times in nanoseconds.
fn head(sources: &[PacketSource]) -> Vec<u8> {
    let mut out = Vec::new();
    let program = format!("mailtap {}", env!("CARGO_PKG_VERSION"));
    wrap(&mut out, 0x0a0d_0d0a, |body| {
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        option(body, 4, program.as_bytes());
        option(body, 0, &[]);
    });
    for PacketSource { name, link, snaplen } in sources {
        wrap(&mut out, 1, |body| {
            body.extend(link.to_le_bytes());
            body.extend([0, 0]);
            body.extend(snaplen.to_le_bytes());
            option(body, 2, name.as_bytes());
            option(body, 9, &[9]);
            option(body, 0, &[]);
        });
    }
    out
}

/// An enhanced packet block (section 4.3).
fn block(out: &mut Vec<u8>, at: Timestamp, source: u32, data: &[u8], wire_len: u32) {
    let nanos = at.as_nanos();
    let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
    wrap(out, 6, |body| {
        body.extend(source.to_le_bytes());
        body.extend(u32::try_from(nanos >> 32).unwrap_or_default().to_le_bytes());
        body.extend(u32::try_from(nanos & 0xffff_ffff).unwrap_or_default().to_le_bytes());
        body.extend(captured.to_le_bytes());
        body.extend(wire_len.max(captured).to_le_bytes());
        body.extend_from_slice(data);
        pad(body);
    });
}

/// A block of `kind`: its length stands before and behind the body.
fn wrap(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX).to_le_bytes();
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&length);
    }
    out.extend(length);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(value.iter().take(length.into()));
    pad(out);
}

/// To a multiple of four octets: all that was written so far has such a length.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn settings(path: PathBuf) -> PacketFileSettings {
        PacketFileSettings { path, size: 4096, age: None, files: None }
    }

    fn sources() -> [PacketSource; 2] {
        let source = |name: &str, link| PacketSource { name: name.into(), link, snaplen: 262_144 };
        [source("eth0", 1), source("any", 276)]
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Packets of a file: interface, time, octets, length on the wire.
    fn packets(path: &Path) -> Vec<(u32, u64, Vec<u8>, u32)> {
        let mut out = Vec::new();
        let file = fs::read(path).unwrap();
        let mut rest = file.as_slice();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let length = word(4) as usize;
            assert_eq!(word(length - 4) as usize, length);
            if word(0) == 6 {
                let captured = word(20) as usize;
                let nanos = u64::from(word(12)) << 32 | u64::from(word(16));
                out.push((word(8), nanos, rest[28..28 + captured].to_vec(), word(24)));
            }
            rest = &rest[length..];
        }
        out
    }

    #[test]
    fn packets_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        let archive =
            PcapThread::start(Files::open(settings(path.clone()), &sources()).unwrap(), |news| panic!("{news:?}"))
                .unwrap();
        let mut writer = archive.writer();
        let at = Timestamp::from_nanos(1_700_000_000_123_456_789);
        for (source, data, len) in [(0, "1", 1), (1, "22", 2), (0, "333", 1500), (1, "", 0)] {
            writer.packet(at, source, data.as_bytes(), len);
        }
        drop(writer);
        let counters = Arc::clone(archive.counters());
        archive.finish().unwrap();
        let expected = [(0, "1", 1), (1, "22", 2), (0, "333", 1500), (1, "", 0)];
        assert_eq!(packets(&path), expected.map(|(s, d, l)| (s, at.as_nanos(), d.as_bytes().to_vec(), l)));
        assert_eq!(counters.written.load(Ordering::Relaxed), 4);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn files_are_put_away_and_the_oldest_of_ours_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        fs::write(&path, "of another program").unwrap();
        for name in ["mail.pcapng.1", "mail.07.pcapng", "mail.20261101.pcapng", "mail.bak"] {
            fs::write(dir.path().join(name), "mine").unwrap();
        }
        let others = names(dir.path()).into_iter().filter(|name| name != "mail.pcapng").collect::<Vec<_>>();
        let mut files = Files::new(PacketFileSettings { files: Some(3), ..settings(path.clone()) }, &sources());
        files.begin().unwrap();
        assert_eq!(fs::read(dir.path().join("mail.1.pcapng")).unwrap(), b"of another program");
        let ours = || {
            let is_other = |name: &String| others.contains(name);
            names(dir.path()).into_iter().filter(|name| !is_other(name)).collect::<Vec<_>>()
        };
        for n in 0_u8..4 {
            let mut blocks = Vec::new();
            block(&mut blocks, Timestamp::default(), 0, &[n; 3000], 3000);
            assert!(files.write(&blocks).failed.is_none());
        }
        assert_eq!(ours(), ["mail.1.pcapng", "mail.3.pcapng", "mail.4.pcapng", "mail.pcapng"]);
        assert_eq!(packets(&path)[0].2[0], 3);
        assert_eq!(packets(&dir.path().join("mail.4.pcapng"))[0].2[0], 2);
        // One that was moved by others is left where it is.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        files.begin().unwrap();
        assert_eq!(ours().len(), 5);
        assert!(packets(&path).is_empty());
    }

    #[test]
    fn a_file_grows_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        let age = Some(Duration::ZERO);
        let mut files = Files::new(PacketFileSettings { age, ..settings(path.clone()) }, &sources());
        files.begin().unwrap();
        files.look();
        assert_eq!(names(dir.path()), ["mail.pcapng"], "nothing is in it");
        let mut blocks = Vec::new();
        block(&mut blocks, Timestamp::default(), 0, b"1", 1);
        assert_eq!(files.write(&blocks).packets, 1);
        files.look();
        assert_eq!(names(dir.path()), ["mail.1.pcapng", "mail.pcapng"]);
        // One that was deleted is begun anew.
        fs::remove_file(&path).unwrap();
        files.look();
        assert!(packets(&path).is_empty());
    }

    #[test]
    fn what_was_written_is_known_by_whole_blocks() {
        let mut blocks = Vec::new();
        for data in [&b"1"[..], b"22222", b""] {
            block(&mut blocks, Timestamp::default(), 0, data, 9);
        }
        assert_eq!(whole_blocks(&blocks), (blocks.len(), 3));
        assert_eq!(whole_blocks(&blocks[..blocks.len() - 1]), (36 + 40, 2));
        for end in 0..36 {
            assert_eq!(whole_blocks(&blocks[..end]), (0, 0));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        let mut files = Files::open(settings(path.clone()), &sources()).unwrap();
        let file = files.file.as_mut().unwrap();
        file.write_all(&blocks[..50]).unwrap();
        take_back(file, 50 - 36).unwrap();
        assert_eq!(files.write(&blocks).packets, 3);
        assert_eq!(packets(&path).len(), 4, "the file goes on behind the first block");
        assert!(is_ours(&fs::read(&path).unwrap()[..64]));
    }

    #[test]
    fn a_file_that_cannot_be_begun_leaves_all_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        let mut files = Files::open(PacketFileSettings { size: 100, ..settings(path.clone()) }, &sources()).unwrap();
        let mut blocks = Vec::new();
        block(&mut blocks, Timestamp::default(), 0, &[7; 80], 80);
        files.write(&blocks);
        // No other name is free to begin one with.
        for number in 0..100 {
            fs::write(dir.path().join(format!("mail.pcapng.{}-{number}.tmp", std::process::id())), "").unwrap();
        }
        for _ in 0..3 {
            assert_eq!(files.write(&blocks).packets, 1, "the file grows on");
        }
        assert_eq!((names(dir.path()).len(), packets(&path).len()), (101, 4));
    }

    #[test]
    fn only_a_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let error = Files::open(settings(dir.path().to_owned()), &sources()).unwrap_err();
        assert!(error.to_string().contains("is no file"), "{error}");
        let path = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(Files::open(settings(path), &sources()).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_writer_that_is_behind_costs_packets_and_no_time() {
        let (queue, messages) = bounded(1);
        let (_empty, spent) = bounded(1);
        let counters = Arc::new(PacketCounters::default());
        let counted = Arc::clone(&counters);
        let mut writer =
            PcapWriter { blocks: BlockBatch::default(), flushed: Instant::now(), queue, spent, counters: counted };
        let large = vec![0; BATCH / 2 + 1];
        for _ in 0..5 {
            writer.packet(Timestamp::default(), 0, &large, 1);
        }
        assert_eq!(counters.queue_full.load(Ordering::Relaxed), 3, "one is queued, one waits");
        let ThreadMessage::Blocks(first) = messages.recv().unwrap() else { panic!("no blocks") };
        assert_eq!(first.packets, 1);
        writer.packet(Timestamp::default(), 0, &large, 1);
        assert_eq!(counters.queue_full.load(Ordering::Relaxed), 3);
        drop(messages);
    }
}
