//! Metrics in a file, for a collector that reads such files: it appears whole, or not at all.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::console::plain;
use crate::output::beside;

/// A file that is not there yet, but can be made.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: File,
    /// What is written, and takes the place of `path` at the end; `None`: `path` is no ordinary file.
    temporary: Option<PathBuf>,
}

impl MetricsFile {
    /// Makes sure that `path` can be written, without touching what is there.
    pub fn open(path: PathBuf) -> Result<Self, MetricsFileError> {
        let open = || {
            let special = fs::metadata(&path).is_ok_and(|there| !there.is_file());
            if special {
                // A pipe or a device is not to be replaced.
                return Ok((File::options().write(true).open(&path)?, None));
            }
            let (file, temporary) = beside::create(&path, 0o666)?;
            Ok((file, Some(temporary)))
        };
        match open() {
            Ok((file, temporary)) => Ok(Self { path, file, temporary }),
            Err(reason) => Err(MetricsFileError { path, reason }),
        }
    }

    /// Writes `text`; only now is the file there.
    pub fn finish(mut self, text: &[u8]) -> Result<(), MetricsFileError> {
        let mut write = || {
            self.file.write_all(text)?;
            if let Some(temporary) = &self.temporary {
                self.file.sync_all()?;
                fs::rename(temporary, &self.path)?;
                self.temporary = None;
            }
            Ok(())
        };
        let written: io::Result<()> = write();
        written.map_err(|reason| MetricsFileError { path: self.path.clone(), reason })
    }
}

/// The file of the metrics cannot be written.
#[derive(Debug)]
pub struct MetricsFileError {
    path: PathBuf,
    reason: io::Error,
}

impl fmt::Display for MetricsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the metrics cannot be written: {}; check the directory and its permissions, or choose another --metrics-file",
            self.path.display(),
            plain(&self.reason)
        )
    }
}

impl std::error::Error for MetricsFileError {}

impl Drop for MetricsFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is of no use to anybody; if it stays, its name says so.
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.prom");
        let names = || fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        let given_up = MetricsFile::open(path.clone()).unwrap();
        assert!(!path.exists());
        drop(given_up);
        assert!(names().is_empty());
        MetricsFile::open(path.clone()).unwrap().finish(b"a 1\n").unwrap();
        let open = MetricsFile::open(path.clone()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a 1\n");
        open.finish(b"a 2\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a 2\n");
        assert_eq!(names(), ["m.prom"]);
    }

    #[test]
    fn what_cannot_be_written_is_told_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none").join("m.prom");
        let told = MetricsFile::open(path).unwrap_err().to_string();
        assert!(
            told.contains("m.prom: the metrics cannot be written: ") && told.ends_with("choose another --metrics-file"),
            "{told}"
        );
        // A device is written to, not replaced.
        MetricsFile::open("/dev/null".into()).unwrap().finish(b"a 1\n").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
