//! Packets of live interfaces kept as pcapng (draft-ietf-opsawg-pcapng), beside whatever is made of them.
//!
//! Who captures puts packets into a [`PcapWriter`] as ready blocks and never waits: a thread writes them, and what finds it
//! behind is dropped and counted. A file is put away as PATH.N (the highest is the newest) by size or age, when asked, and
//! when one is there at the start; nothing is ever overwritten. Passwords stand in packets: only the owner may read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

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
    counters: Arc<PacketCounters>,
    thread: JoinHandle<Result<(), io::Error>>,
}

impl PcapThread {
    /// Starts the thread that writes `files`. `complain` is told of the first failure of a row.
    pub fn start(files: Files, complain: fn(&Path, &io::Error)) -> io::Result<Self> {
        let (queue, messages) = bounded(QUEUE);
        let (empty, spent) = bounded(QUEUE);
        let counters = Arc::new(PacketCounters::default());
        let counted = Arc::clone(&counters);
        let path = files.settings.path.clone();
        let thread = thread::Builder::new()
            .name("packets".into())
            .spawn(move || keep(files, &messages, &empty, &counted, complain))?;
        Ok(Self { path, queue, spent, counters, thread })
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

    /// Asks for the file to be put away and the next to be begun.
    pub fn renew(&self) {
        let _ = self.queue.send(ThreadMessage::Renew);
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
    counters: &PacketCounters,
    complain: fn(&Path, &io::Error),
) -> io::Result<()> {
    let mut last = Ok(());
    loop {
        let done = match messages.recv_timeout(LOOK) {
            Ok(ThreadMessage::Blocks(BlockBatch { mut octets, packets })) => {
                let done = files.write(&octets);
                let of = if done.is_ok() { &counters.written } else { &counters.failed };
                of.fetch_add(packets, Ordering::Relaxed);
                octets.clear();
                octets.shrink_to(KEEP);
                let _ = spent.try_send(octets);
                done
            }
            Ok(ThreadMessage::Renew) => files.begin(),
            Err(RecvTimeoutError::Timeout) => files.look(),
            Err(RecvTimeoutError::Disconnected) => return last,
        };
        if let (Err(reason), Ok(())) = (&done, &last) {
            complain(&files.settings.path, reason);
        }
        last = done;
    }
}

/// The file that is written, and those put away.
#[derive(Debug)]
pub struct Files {
    settings: PacketFileSettings,
    /// What each begins with.
    head: Vec<u8>,
    file: Option<File>,
    /// Octets behind the head.
    written: u64,
    began: Instant,
    tried: Option<Instant>,
}

impl Files {
    /// Begins a file; one that is there already is put away.
    pub fn open(settings: PacketFileSettings, sources: &[PacketSource]) -> io::Result<Self> {
        let mut files = Self::new(settings, sources);
        files.begin()?;
        Ok(files)
    }

    fn new(settings: PacketFileSettings, sources: &[PacketSource]) -> Self {
        Self { head: head(sources), settings, file: None, written: 0, began: Instant::now(), tried: None }
    }

    /// Puts the file away, if there is one, and begins the next.
    fn begin(&mut self) -> io::Result<()> {
        self.file = None;
        self.tried = Some(Instant::now());
        let path = &self.settings.path;
        match fs::symlink_metadata(path) {
            Ok(about) if !about.is_file() => {
                return Err(io::Error::new(ErrorKind::AlreadyExists, "is there already, and is no file"));
            }
            Ok(_) => put_away(path, self.settings.files)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&self.head)?;
        self.written = 0;
        self.began = Instant::now();
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            // A file that could not be written ends somewhere: another one is begun.
            if self.tried.is_some_and(|at| at.elapsed() < RETRY) {
                return Err(io::Error::other("it could not be written a moment ago"));
            }
            self.begin()?;
        } else if self.is_old() || self.is_full(blocks.len()) {
            self.begin()?;
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        self.written += blocks.len() as u64;
        file.write_all(blocks).inspect_err(|_| self.file = None)
    }

    /// Begins the next file if this one is old: also when there is nothing to write.
    fn look(&mut self) -> io::Result<()> {
        if self.file.is_some() && self.is_old() { self.begin() } else { Ok(()) }
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

/// Renames `path` to the number behind the highest, and deletes the lowest beyond `keep` files, the next one included.
fn put_away(path: &Path, keep: Option<u32>) -> io::Result<()> {
    let mut numbers = numbers(path)?;
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    fs::rename(path, numbered(path, next))?;
    numbers.push(next);
    let Some(keep) = keep else {
        return Ok(());
    };
    let beyond = (numbers.len() + 1).saturating_sub(keep.max(1) as usize);
    for old in numbers.into_iter().take(beyond) {
        fs::remove_file(numbered(path, old))?;
    }
    Ok(())
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

/// The numbers N of all PATH.N.
fn numbers(path: &Path) -> io::Result<Vec<u64>> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let Some(name) = path.file_name() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let other = entry?.file_name();
        let number = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let number = number.and_then(|rest| std::str::from_utf8(rest.strip_prefix(b".")?).ok());
        found.extend(number.and_then(|text| text.parse::<u64>().ok().filter(|n| n.to_string() == text)));
    }
    Ok(found)
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
            PcapThread::start(Files::open(settings(path.clone()), &sources()).unwrap(), |_, e| panic!("{e}")).unwrap();
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
    fn files_are_put_away_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        fs::write(&path, "of an earlier run").unwrap();
        fs::write(dir.path().join("mail.pcapng.07"), "mine").unwrap();
        let mut files = Files::new(PacketFileSettings { files: Some(3), ..settings(path.clone()) }, &sources());
        files.begin().unwrap();
        assert_eq!(fs::read(dir.path().join("mail.pcapng.1")).unwrap(), b"of an earlier run");
        for n in 0_u8..4 {
            let mut blocks = Vec::new();
            block(&mut blocks, Timestamp::default(), 0, &[n; 3000], 3000);
            files.write(&blocks).unwrap();
        }
        assert_eq!(names(dir.path()), ["mail.pcapng", "mail.pcapng.07", "mail.pcapng.3", "mail.pcapng.4"]);
        assert_eq!(packets(&path)[0].2[0], 3);
        assert_eq!(packets(&dir.path().join("mail.pcapng.4"))[0].2[0], 2);
        // One that was moved by others is left where it is.
        fs::rename(&path, dir.path().join("moved")).unwrap();
        files.begin().unwrap();
        assert_eq!(names(dir.path()).len(), 5);
        assert!(packets(&path).is_empty());
    }

    #[test]
    fn a_file_grows_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcapng");
        let age = Some(Duration::ZERO);
        let mut files = Files::new(PacketFileSettings { age, ..settings(path) }, &sources());
        files.begin().unwrap();
        files.look().unwrap();
        assert_eq!(names(dir.path()), ["mail.pcapng"], "nothing is in it");
        files.write(&[0; 4]).unwrap();
        files.look().unwrap();
        assert_eq!(names(dir.path()), ["mail.pcapng", "mail.pcapng.1"]);
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
