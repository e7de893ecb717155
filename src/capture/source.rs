//! A file, or standard input, as a stream of the uncompressed capture.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::ErrorKind;

/// Compressions inside each other that are undone; more is a decompression bomb.
const LAYERS: usize = 4;

/// Octets read at once below a decompressor.
const CHUNK: usize = 256 << 10;

/// Octets looked at to tell a format.
const HEAD: usize = 16;

/// How a capture is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name people use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn decoder(self, compressed: impl Read + 'static) -> io::Result<Box<dyn Read>> {
        let compressed = BufReader::with_capacity(CHUNK, compressed);
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?),
        })
    }
}

/// An opened capture.
pub(super) struct Opened {
    /// Its first octets, which `rest` will not give again.
    pub(super) head: Vec<u8>,
    /// What follows.
    pub(super) rest: Box<dyn Read>,
    /// The innermost compression.
    pub(super) compression: Option<Compression>,
}

/// Opens `path` and undoes its compression.
pub(super) fn open(path: &Path, progress: &Arc<AtomicU64>) -> Result<Opened, ErrorKind> {
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
            return Ok(Opened { head, rest, compression });
        };
        compression = Some(found);
        rest = found.decoder(Cursor::new(head).chain(rest)).map_err(ErrorKind::Open)?;
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
