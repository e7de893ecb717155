//! A file, or standard input, as a stream of the uncompressed capture.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compression::Compression;
use super::error::ErrorKind;

/// Compressions inside each other that are undone; more is a decompression bomb.
const LAYERS: usize = 4;

/// Octets looked at to tell a format.
const HEAD: usize = 16;

/// An opened capture.
pub(super) struct OpenedCapture {
    /// Its first octets, which `rest` will not give again.
    pub(super) head: Vec<u8>,
    /// What follows.
    pub(super) rest: Box<dyn Read>,
    /// The innermost compression.
    pub(super) compression: Option<Compression>,
}

/// Opens `path` and undoes its compression.
pub(super) fn open(path: &Path, progress: &Arc<AtomicU64>) -> Result<OpenedCapture, ErrorKind> {
    let mut rest: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(Counted { inner: io::stdin().lock(), read: Arc::clone(progress) })
    } else {
        let file = File::open(path).map_err(ErrorKind::Open)?;
        if file.metadata().map_err(ErrorKind::Open)?.is_dir() {
            return Err(ErrorKind::Directory);
        }
        Box::new(Counted { inner: file, read: Arc::clone(progress) })
    };
    let mut compression = None;
    for _ in 0..=LAYERS {
        let head = first_octets(&mut rest).map_err(|e| ErrorKind::reading(e, compression))?;
        let Some(found) = Compression::of(&head) else {
            return Ok(OpenedCapture { head, rest, compression });
        };
        compression = Some(found);
        rest = Box::new(found.decoder(Cursor::new(head).chain(rest)));
    }
    Err(ErrorKind::Layers(LAYERS))
}

fn first_octets(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    from.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let octets = self.inner.read(into)?;
        crate::capture::count(&self.read, octets);
        Ok(octets)
    }
}
