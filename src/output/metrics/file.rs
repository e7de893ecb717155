//! Metrics in a file, for a collector that reads such files: it appears whole, or not at all.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::console::plain;
use crate::output::beside::Replacement;

/// A file that is not there yet, but can be made.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    replacement: Replacement,
}

impl MetricsFile {
    /// Makes sure that `path` can be written, without touching what is there.
    pub fn open(path: PathBuf) -> Result<Self, MetricsFileError> {
        match Replacement::open(path.clone(), 0o666, "metrics", is_metrics) {
            Ok(replacement) => Ok(Self { path, replacement }),
            Err(reason) => Err(MetricsFileError { path, reason }),
        }
    }

    /// Writes `text`; only now is the file there.
    pub fn finish(self, text: &[u8]) -> Result<(), MetricsFileError> {
        let Self { path, replacement } = self;
        replacement.finish(text).map_err(|reason| MetricsFileError { path, reason })
    }
}

/// Whether a file begins as metrics do: with a comment, or a name and a value.
fn is_metrics(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let value = line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok());
    line.starts_with('#') || value && line.contains(' ')
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        let capture = dir.path().join("mail.pcap");
        for (content, is_replaced) in [
            (&b"\xd4\xc3\xb2\xa1\x02\0\x04\0"[..], false),
            (b"\x0a\x0d\x0d\x0a\x1c\0\0\0", false),
            (b"{\"record\":\"session\"}\n", false),
            (b"log = 'a'\n", false),
            (b"", true),
            (b"# HELP a b\n", true),
            (b"a{b=\"c d\"} 1e3\n", true),
        ] {
            fs::write(&capture, content).unwrap();
            let opened = MetricsFile::open(capture.clone());
            assert_eq!(opened.is_ok(), is_replaced, "{}", content.escape_ascii());
            drop(opened);
            assert_eq!(fs::read(&capture).unwrap(), content);
        }
        // A device is written to, not replaced.
        MetricsFile::open("/dev/null".into()).unwrap().finish(b"a 1\n").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
