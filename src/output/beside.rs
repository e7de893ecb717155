//! New files beside the one whose place they will take: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Names that are tried: others are left from runs that were killed, or were put there by somebody.
const NAMES: u32 = 100;

/// Bytes at the beginning of a file by which it is judged whether it may be replaced.
const HEAD: u64 = 1024;

/// A file that is not there yet, but can be made; it appears whole, or not at all.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    file: File,
    /// What is written, and takes the place of `path` at the end; `None`: `path` is no ordinary file.
    temporary: Option<PathBuf>,
}

impl Replacement {
    /// Makes sure that `path` can be written, without touching what is there. What is there is replaced only if it is empty,
    /// or `is_ours` says so of its beginning; `what`: the word for what it should hold.
    pub(super) fn open(path: PathBuf, mode: u32, what: &str, is_ours: fn(&[u8]) -> bool) -> io::Result<Self> {
        let special = fs::metadata(&path).is_ok_and(|there| !there.is_file());
        if special {
            // A pipe or a device is not to be replaced.
            let file = File::options().write(true).open(&path)?;
            return Ok(Self { path, file, temporary: None });
        }
        may_be_replaced(&path, what, is_ours)?;
        let (file, temporary) = create(&path, mode)?;
        Ok(Self { path, file, temporary: Some(temporary) })
    }

    /// Writes `text`; only now is the file there.
    pub(super) fn finish(mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        if let Some(temporary) = &self.temporary {
            self.file.sync_all()?;
            fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is of no use to anybody; if it stays, its name says so.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// An error if there is a file at `path` that is not empty and does not begin as ours do: `--metrics-file *.pcap` must not
/// cost a capture.
pub(super) fn may_be_replaced(path: &Path, what: &str, is_ours: fn(&[u8]) -> bool) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    if head.is_empty() || is_ours(&head) {
        return Ok(());
    }
    Err(io::Error::other(format!("it holds something else than {what}, and is not replaced")))
}

/// Makes a new file beside `path`, which nobody else has: neither a file nor a link that is there already is opened.
pub(super) fn create(path: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut last = ErrorKind::AlreadyExists.into();
    for number in 0..NAMES {
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("m.prom"), dir.path().join("other"));
        let first = dir.path().join(format!("m.prom.{}-0.tmp", std::process::id()));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &first).unwrap();
        let (_, made) = create(&path, 0o600).unwrap();
        assert!(made != first && fs::symlink_metadata(&made).unwrap().is_file());
        assert_eq!(fs::read(&other).unwrap(), b"mine");
    }
}
