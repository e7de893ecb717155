//! New files beside the one whose place they will take: whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Names that are tried: others are left from runs that were killed, or were put there by somebody.
const NAMES: u32 = 100;

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
    use std::fs;

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
