//! What the log's path leads to: a file, a pipe or device, a socket, or a descriptor of this process.
//!
//! What a target has taken ends with a whole line, also when a disk is full in between. A pipe or socket that nobody reads is
//! found without waiting.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::Stop;
use crate::output::LogSettings;

/// How every log begins.
const BEGIN: &[u8] = br#"{"record":"#;

/// What a pipe takes at once if it takes anything, so that a write does not wait (PIPE_BUF, pipe(7)).
const PIPE: usize = 4096;

/// How often someone who waits for a reader looks whether the run ends.
const LOOK: Duration = Duration::from_millis(50);

/// How long a reader may take nothing while the run ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where records go.
#[derive(Debug)]
pub(super) enum Target {
    /// A regular file.
    File(RegularFile),
    /// A pipe, device or socket.
    Stream(Stream),
    /// A named pipe without a reader, or a socket at which nobody listens.
    Unread,
}

/// A regular file; only ours is cut or grows.
#[derive(Debug)]
pub(super) struct RegularFile {
    file: File,
    /// Bytes in it, if it may be rotated: a descriptor that was passed has no name.
    pub(super) size: Option<u64>,
    /// It ends inside a line that could not be taken back.
    is_torn: bool,
}

/// Something that passes bytes on.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    is_socket: bool,
    /// Since when it has taken nothing.
    blocked: Option<Instant>,
}

/// How much of a write was done.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Bytes of whole lines.
    pub(super) bytes: usize,
    /// Why the rest was not.
    pub(super) failed: Option<io::Error>,
}

impl Target {
    /// Opens the path of `settings` and waits for nothing.
    pub(super) fn open(settings: &LogSettings) -> io::Result<Self> {
        match settings.descriptor() {
            Some(number) => Self::adopt(duplicate(number)?),
            None => Self::at(settings.path.as_deref().unwrap_or_else(|| Path::new("-")), settings.mode),
        }
    }

    fn at(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        let file = match open(path, mode) {
            Ok(file) => file,
            // A pipe without a reader, or any socket (open(2)).
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                let is_socket = fs::metadata(path)?.file_type().is_socket();
                return if is_socket { connect(path) } else { Ok(Self::Unread) };
            }
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(Self::Stream(Stream { file, is_socket: false, blocked: None }));
        }
        let last = last_byte_of_log(path, &file.metadata()?)?;
        let size = file.metadata()?.len();
        // A crash has cut the last record: it must not spoil the first of ours too.
        let is_torn = last.is_some_and(|byte| byte != b'\n');
        Ok(Self::File(RegularFile { file, size: Some(size), is_torn }))
    }

    /// A descriptor that was passed to this process, as it is.
    fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let file = File::from(descriptor);
        let kind = file.metadata()?.file_type();
        if kind.is_file() {
            return Ok(Self::File(RegularFile { file, size: None, is_torn: false }));
        }
        Ok(Self::Stream(Stream { file, is_socket: kind.is_socket(), blocked: None }))
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8], stop: Option<&Stop>) -> Written {
        match self {
            Self::File(file) => file.write(lines),
            Self::Stream(stream) => stream.write(lines, stop),
            Self::Unread => Written { bytes: 0, failed: Some(unread()) },
        }
    }

    /// Size of a file that may be rotated.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::File(file) => file.size,
            Self::Stream(_) | Self::Unread => None,
        }
    }

    /// Whether it is a file that nobody can find any more.
    pub(super) fn is_deleted(&self) -> bool {
        match self {
            Self::File(file) => file.size.is_some() && file.file.metadata().is_ok_and(|about| about.nlink() == 0),
            Self::Stream(_) | Self::Unread => false,
        }
    }
}

/// Nobody reads.
pub(super) fn unread() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, "nobody reads it")
}

impl RegularFile {
    fn write(&mut self, lines: &[u8]) -> Written {
        if self.is_torn {
            if let Err(error) = self.file.write_all(b"\n") {
                return Written { bytes: 0, failed: Some(error) };
            }
            self.grow(1);
            self.is_torn = false;
        }
        let mut done = 0;
        let failed = loop {
            let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) else { break None };
            match self.file.write(rest) {
                Ok(0) => break Some(ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        self.grow(done as u64);
        let whole = lines.get(..done).and_then(|done| memchr::memrchr(b'\n', done)).map_or(0, |at| at + 1);
        let torn = (done - whole) as u64;
        if failed.is_some() && torn > 0 {
            match self.take_back(torn) {
                Ok(()) => self.size = self.size.map(|size| size.saturating_sub(torn)),
                Err(_) => self.is_torn = true,
            }
        }
        Written { bytes: if failed.is_some() { whole } else { done }, failed }
    }

    fn grow(&mut self, by: u64) {
        self.size = self.size.map(|size| size + by);
    }

    /// Cuts the last `bytes` off, unless somebody else has appended behind them.
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.file.stream_position()?;
        if self.file.metadata()?.len() != end {
            return Err(ErrorKind::InvalidData.into());
        }
        let end = end.saturating_sub(bytes);
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end)).map(|_| ())
    }
}

impl Stream {
    fn write(&mut self, lines: &[u8], stop: Option<&Stop>) -> Written {
        let mut done = 0;
        let failed = loop {
            let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) else { break None };
            match self.put(rest, stop.is_some()) {
                Ok(Some(n)) => {
                    done += n;
                    self.blocked = None;
                }
                Ok(None) => {
                    let since = *self.blocked.get_or_insert_with(Instant::now);
                    if stop.is_some_and(Stop::is_asked) && since.elapsed() >= PATIENCE {
                        break Some(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => break Some(error),
            }
        };
        let whole = lines.get(..done).and_then(|done| memchr::memrchr(b'\n', done)).map_or(0, |at| at + 1);
        Written { bytes: if failed.is_some() { whole } else { done }, failed }
    }

    /// Writes a part of `rest`; `None` if nothing was taken for now. Waits as long as it takes unless `is_watched`.
    fn put(&mut self, rest: &[u8], is_watched: bool) -> io::Result<Option<usize>> {
        if is_watched {
            let wait = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
            let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
            if poll(&mut asked, Some(&wait)).or_else(|error| if error == Errno::INTR { Ok(0) } else { Err(error) })?
                == 0
            {
                return Ok(None);
            }
        }
        let written = if self.is_socket {
            let flags = if is_watched { SendFlags::NOSIGNAL | SendFlags::DONTWAIT } else { SendFlags::NOSIGNAL };
            send(&self.file, rest, flags).map_err(io::Error::from)
        } else {
            let piece = if is_watched { piece(rest) } else { rest };
            self.file.write(piece)
        };
        match written {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !is_watched {
                    // Somebody else who has the descriptor does not want to wait at it; we do.
                    let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
                    let _ = poll(&mut asked, None);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// As many whole lines as a pipe takes at once, or a part of a longer one.
fn piece(rest: &[u8]) -> &[u8] {
    let within = rest.get(..PIPE).unwrap_or(rest);
    let end = memchr::memrchr(b'\n', within).map_or(within.len(), |at| at + 1);
    within.get(..end).unwrap_or(within)
}

/// Opens the file to append to it, or makes it.
fn open(path: &Path, mode: Option<u32>) -> io::Result<File> {
    // Without a reader the open of a pipe would wait for one. A terminal must not become ours.
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if rustix::process::geteuid().is_root() {
        // Whoever may write into the folder could otherwise lead root to any file.
        flags |= OFlags::NOFOLLOW;
    }
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(flags);
    let explained = |error: io::Error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => linked(),
        _ => error,
    };
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened.map_err(explained),
    }
    match options.create_new(true).mode(mode.unwrap_or(LogSettings::MODE)).open(path) {
        Ok(file) => {
            if let Some(mode) = mode {
                // As it was asked for, whatever the umask is.
                file.set_permissions(Permissions::from_mode(mode))?;
            }
            Ok(file)
        }
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            options.create_new(false).open(path).map_err(explained)
        }
        Err(error) => Err(error),
    }
}

/// Connects to the socket at `path`.
fn connect(path: &Path) -> io::Result<Target> {
    match UnixStream::connect(path) {
        Ok(stream) => {
            Ok(Target::Stream(Stream { file: File::from(OwnedFd::from(stream)), is_socket: true, blocked: None }))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(Target::Unread),
        Err(error) => Err(error),
    }
}

/// What would prevent [`Target::open`] at `path`.
pub(super) fn check(path: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() && fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink()) {
        return Err(linked());
    }
    match fs::metadata(path) {
        Ok(about) if about.is_file() => last_byte_of_log(path, &about).map(|_| ()),
        _ => Ok(()),
    }
}

/// Whether a file that begins with `head` is a log.
pub(super) fn is_log(head: &[u8]) -> bool {
    head.starts_with(BEGIN)
}

/// The last byte of the file `about`, if it has any, which must be a log: `--log one.pcap two.pcap` must not spoil a capture.
/// A file that may not be read cannot be known to be one.
fn last_byte_of_log(path: &Path, about: &fs::Metadata) -> io::Result<Option<u8>> {
    if about.len() == 0 {
        return Ok(None);
    }
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            "it cannot be read to see whether it holds records; allow that, or choose another file",
        )
    })?;
    let same = file.metadata()?;
    if (same.dev(), same.ino()) != (about.dev(), about.ino()) {
        return Err(io::Error::other("it was replaced in this very moment; try again"));
    }
    let mut head = Vec::new();
    (&file).take(BEGIN.len() as u64).read_to_end(&mut head)?;
    // A crash may have left a part of the first record.
    if !BEGIN.starts_with(&head) {
        return Err(io::Error::other(
            "it holds something else than records, and nothing is appended to that; choose another file",
        ));
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last.first().copied())
}

/// Why root does not write there.
fn linked() -> io::Error {
    io::Error::other("it is a symbolic link, which root does not follow; give the path that it leads to")
}

/// Another descriptor for the same open file.
fn duplicate(number: u32) -> io::Result<OwnedFd> {
    match number {
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        other => {
            let own = pidfd_open(getpid(), PidfdFlags::empty())?;
            let other = i32::try_from(other).map_err(|_| ErrorKind::NotFound)?;
            Ok(pidfd_getfd(own, other, PidfdGetfdFlags::empty())?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_pipe_end_with_a_line_where_they_can() {
        let long = [vec![b'x'; PIPE], b"\n".to_vec()].concat();
        for (text, length) in [
            (b"1\n2\n".to_vec(), 4),
            ([b"1\n".to_vec(), long.clone()].concat(), 2),
            (long, PIPE),
            ([vec![b'x'; PIPE - 1], b"\n2\n".to_vec()].concat(), PIPE),
        ] {
            assert_eq!(piece(&text).len(), length);
        }
    }
}
