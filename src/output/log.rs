//! The log's file: records are appended whole, and a full disk or a closed pipe is told, never swallowed.
//!
//! `-` is standard output. A regular file may be limited in size: when the next record would exceed the limit, the file is
//! renamed to `PATH.N` with the next free N (the highest is the newest; nothing is ever overwritten or deleted) and a new one begun.
//! [`Log::reopen`] is for the SIGHUP of other people's log rotation.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::LogSettings;

/// Octets gathered before they are written: far above the cost of a system call, far below what anyone minds losing in a crash.
const BUFFER: usize = 64 << 10;

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Waits to be written: whole records.
    buffer: Vec<u8>,
    /// Octets of the file as it is now; `None` where rotation has no meaning (standard output, pipes, devices).
    size: Option<u64>,
    rotate: Option<u64>,
    /// The number in the name of the last file put away.
    last: u64,
    written: u64,
}

/// A log that could not be written.
#[derive(Debug)]
pub struct LogError {
    path: PathBuf,
    action: Action,
    written: u64,
    source: io::Error,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Open,
    Write,
    Rotate,
}

impl Log {
    /// Opens the file of `settings` to append to it, or standard output.
    pub fn open(settings: &LogSettings) -> Result<Self, LogError> {
        let path = settings.path.clone().unwrap_or_else(|| "-".into());
        let opened = if settings.is_on_stdout() { standard_output() } else { append_to(&path) };
        let (file, size) =
            opened.map_err(|source| LogError { path: path.clone(), action: Action::Open, written: 0, source })?;
        let buffer = Vec::with_capacity(BUFFER);
        Ok(Self { path, file, buffer, size, rotate: settings.rotate, last: 0, written: 0 })
    }

    /// Adds `records`: whole lines. What is not written yet is gathered in memory until [`Self::flush`].
    pub fn write(&mut self, records: &[u8]) -> Result<(), LogError> {
        let Some(limit) = self.rotate.filter(|_| self.size.is_some()) else {
            return self.append(records);
        };
        let mut rest = records;
        while !rest.is_empty() {
            let taken = fitting(rest, limit.saturating_sub(self.full_size()));
            if let Some((now, later)) = rest.split_at_checked(taken).filter(|(now, _)| !now.is_empty()) {
                self.append(now)?;
                rest = later;
            } else if self.full_size() > 0 {
                self.rotate()?;
            } else {
                let (now, later) = first_line(rest);
                self.append(now)?;
                rest = later;
            }
        }
        Ok(())
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), LogError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.put(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    /// Opens the path anew, after someone has renamed the file. Does nothing for standard output.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        self.flush()?;
        if self.path.as_os_str() != "-" {
            (self.file, self.size) = append_to(&self.path).map_err(|source| self.error(Action::Open, source))?;
        }
        Ok(())
    }

    /// Octets that this process has handed to the operating system, in all files together.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Where it goes; `-` is standard output.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, records: &[u8]) -> Result<(), LogError> {
        if self.buffer.len() + records.len() > BUFFER {
            self.flush()?;
        }
        if records.len() >= BUFFER {
            return self.put(records);
        }
        self.buffer.extend_from_slice(records);
        Ok(())
    }

    /// Writes at once. Counts what was taken even if the rest was not.
    fn put(&mut self, mut octets: &[u8]) -> Result<(), LogError> {
        while !octets.is_empty() {
            match self.file.write(octets) {
                Ok(0) => return Err(self.error(Action::Write, ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.written += n as u64;
                    self.size = self.size.map(|size| size + n as u64);
                    octets = octets.get(n..).unwrap_or_default();
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.error(Action::Write, e)),
            }
        }
        Ok(())
    }

    /// Size of the file once the buffer is in it.
    fn full_size(&self) -> u64 {
        self.size.unwrap_or(0) + self.buffer.len() as u64
    }

    /// Puts the file away under the next free number and begins a new one.
    fn rotate(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let away = loop {
            self.last += 1;
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{}", self.last));
            match fs::symlink_metadata(&name) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => break name,
                Err(e) => return Err(self.error(Action::Rotate, e)),
            }
        };
        match fs::rename(&self.path, away) {
            // Somebody else has already taken it away: all that is left is to begin anew.
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.error(Action::Rotate, e)),
            Ok(()) | Err(_) => self.reopen(),
        }
    }

    fn error(&self, action: Action, source: io::Error) -> LogError {
        LogError { path: self.path.clone(), action, written: self.written, source }
    }
}

impl Drop for Log {
    /// A last attempt; who wants to know how it went calls [`Log::flush`] before.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl LogError {
    /// Whether the reader has gone away (`| head -1`): a reason to end, none to complain.
    pub fn is_broken_pipe(&self) -> bool {
        self.source.kind() == ErrorKind::BrokenPipe
    }

    /// Octets that had been written before.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The log it is about; `-` is standard output.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = fmt::from_fn(|f| match self.path.to_str() {
            Some("-") => f.write_str("standard output"),
            _ => write!(f, "{}", self.path.display()),
        });
        match self.action {
            Action::Open => write!(f, "cannot open the log {name}: {}", self.source),
            Action::Write => write!(f, "cannot write the log {name} after {} octets: {}", self.written, self.source),
            Action::Rotate => write!(f, "cannot rotate the log {name} after {} octets: {}", self.written, self.source),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Standard output without the line buffer that the standard library puts before it.
fn standard_output() -> io::Result<(File, Option<u64>)> {
    Ok((File::from(io::stdout().as_fd().try_clone_to_owned()?), None))
}

/// The file, and its size if it is a regular one.
fn append_to(path: &Path) -> io::Result<(File, Option<u64>)> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((file, None));
    }
    let mut size = metadata.len();
    if !may_be_log(path) {
        return Err(io::Error::other(
            "it holds something else than records, and nothing is appended to that; choose another file",
        ));
    }
    if size > 0 && ends_torn(path) {
        // A crash has cut the last record: it shall not spoil the first of ours too.
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok((file, Some(size)))
}

/// Whether a file begins as every log does, or is empty. `--log one.pcap two.pcap` must not spoil a capture. A file that
/// may not be read is given the benefit of the doubt.
fn may_be_log(path: &Path) -> bool {
    const BEGIN: &[u8] = br#"{"record":"#;
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BEGIN.len() as u64).read_to_end(&mut head));
    // A crash may have left a part of the first record.
    read.is_err() || head.iter().zip(BEGIN).all(|(a, b)| a == b)
}

/// Whether the last octet is no line feed. A file that may not be read is given the benefit of the doubt.
fn ends_torn(path: &Path) -> bool {
    let last = || -> io::Result<[u8; 1]> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut octet = [0];
        file.read_exact(&mut octet)?;
        Ok(octet)
    };
    last().is_ok_and(|octet| octet != *b"\n")
}

/// Octets of the whole lines of `records` that fit into `room`.
fn fitting(records: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let within = records.get(..room).unwrap_or(records);
    memchr::memrchr(b'\n', within).map_or(0, |at| at + 1)
}

/// The first line and the rest.
fn first_line(records: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', records).map_or(records.len(), |at| at + 1);
    records.split_at_checked(end).unwrap_or((records, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, rotate: Option<u64>) -> Result<Log, LogError> {
        Log::open(&LogSettings { path: Some(path.to_owned()), rotate })
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn it_appends_and_closes_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "{\"record\":1}\n{\"b\"").unwrap();
        let mut log = open(&path, None).unwrap();
        log.write(b"{\"c\":3}\n").unwrap();
        assert_eq!(read(&path), "{\"record\":1}\n{\"b\"\n", "buffered");
        log.flush().unwrap();
        assert_eq!(read(&path), "{\"record\":1}\n{\"b\"\n{\"c\":3}\n");
        assert_eq!(log.written(), 8);
    }

    #[test]
    fn what_is_no_log_is_not_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.pcap");
        for content in [&b"\xd4\xc3\xb2\xa1\x02\0\x04\0"[..], b"{\"name\":1}\n", b"a text\n", b"\n", &[0; 100]] {
            fs::write(&path, content).unwrap();
            let error = open(&path, None).unwrap_err().to_string();
            assert!(error.contains("mail.pcap: it holds something else than records"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        for content in ["", "{\"rec", "{\"record\":\"session\"}\n"] {
            fs::write(&path, content).unwrap();
            assert!(open(&path, None).is_ok(), "{content}");
        }
    }

    #[test]
    fn dropping_writes_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&path, None).unwrap();
        log.write(b"{}\n").unwrap();
        drop(log);
        assert_eq!(read(&path), "{}\n");
    }

    #[test]
    fn large_blocks_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&path, None).unwrap();
        let large = [vec![b'x'; 3 * BUFFER], vec![b'\n']].concat();
        log.write(b"1\n").unwrap();
        log.write(&large).unwrap();
        log.write(b"2\n").unwrap();
        log.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), [b"1\n", large.as_slice(), b"2\n"].concat());
        assert_eq!(log.written(), large.len() as u64 + 4);
    }

    #[test]
    fn rotation_cuts_between_records_and_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(dir.path().join("log.2"), "mine").unwrap();
        let mut log = open(&path, Some(10)).unwrap();
        log.write(b"aaaa\nbbbb\ncccc\n").unwrap();
        log.write(b"dddd\nlonger than ten\ne\n").unwrap();
        log.flush().unwrap();
        let named = |n: &str| read(&dir.path().join(n));
        assert_eq!(named("log.1"), "aaaa\nbbbb\n");
        assert_eq!(named("log.2"), "mine");
        assert_eq!(named("log.3"), "cccc\ndddd\n");
        assert_eq!(named("log.4"), "longer than ten\n");
        assert_eq!(named("log"), "e\n");
        assert_eq!(log.written(), 38);
    }

    #[test]
    fn reopen_follows_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("old"));
        let mut log = open(&path, None).unwrap();
        log.write(b"1\n").unwrap();
        fs::rename(&path, &old).unwrap();
        log.reopen().unwrap();
        log.write(b"2\n").unwrap();
        log.flush().unwrap();
        assert_eq!((read(&old), read(&path)), ("1\n".to_owned(), "2\n".to_owned()));
    }

    #[test]
    fn errors_name_the_log_and_how_far_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let error = open(dir.path(), None).unwrap_err();
        assert_eq!(error.path(), dir.path());
        assert!(error.to_string().starts_with(&format!("cannot open the log {}: ", dir.path().display())), "{error}");
        let mut full = open(Path::new("/dev/full"), Some(1)).unwrap();
        full.write(b"{}\n").unwrap();
        let error = full.flush().unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write the log /dev/full after 0 octets: No space left on device (os error 28)"
        );
        assert!(!error.is_broken_pipe());
    }

    #[test]
    fn a_reader_that_left_is_told_apart() {
        let (reader, writer) = io::pipe().unwrap();
        let path = PathBuf::from("-");
        let mut log = Log {
            path,
            file: File::from(std::os::fd::OwnedFd::from(writer)),
            buffer: Vec::new(),
            size: None,
            rotate: None,
            last: 0,
            written: 0,
        };
        log.write(b"{}\n").unwrap();
        log.flush().unwrap();
        drop(reader);
        log.write(b"{}\n").unwrap();
        let error = log.flush().unwrap_err();
        assert!(error.is_broken_pipe());
        assert_eq!(error.written(), 3);
        assert_eq!(error.to_string(), "cannot write the log standard output after 3 octets: Broken pipe (os error 32)");
    }
}
