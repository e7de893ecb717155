//! A file, or standard input, as a stream of the uncompressed capture.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use flate2::bufread::GzDecoder;

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

    fn decoder(self, compressed: impl Read + 'static) -> Members<impl BufRead> {
        Members { how: self, state: State::Between(BufReader::with_capacity(CHUNK, compressed)), any: false }
    }
}

/// A compressed file: members (gzip) or frames (zstd) one behind the other, and what may stand between and behind them.
/// Zeros are passed over: tape blocks and copies that are rounded up end so, and gzip(1) accepts them too.
struct Members<R: BufRead> {
    how: Compression,
    state: State<R>,
    /// A member has been read.
    any: bool,
}

enum State<R: BufRead> {
    Between(R),
    Gzip(Box<GzDecoder<R>>),
    Zstd(Box<zstd::Decoder<'static, R>>),
    Ended,
}

/// What follows the last member is none. Everything before has been read.
#[derive(Debug)]
pub(super) struct TrailingBytes;

impl Error for TrailingBytes {}

impl fmt::Display for TrailingBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes behind the compressed data")
    }
}

impl<R: BufRead> Members<R> {
    /// Goes to the next member, if there is one.
    fn next(&mut self, mut rest: R) -> io::Result<State<R>> {
        loop {
            let waiting = rest.fill_buf()?;
            let zeros = waiting.iter().take_while(|byte| **byte == 0 && self.any).count();
            match waiting.get(zeros) {
                None if zeros == 0 => return Ok(State::Ended),
                None => rest.consume(zeros),
                Some(first) if self.any && !self.begins(*first) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, TrailingBytes));
                }
                Some(_) => {
                    rest.consume(zeros);
                    break;
                }
            }
        }
        self.any = true;
        Ok(match self.how {
            Compression::Gzip => State::Gzip(Box::new(GzDecoder::new(rest))),
            Compression::Zstd => State::Zstd(Box::new(zstd::Decoder::with_buffer(rest)?.single_frame())),
        })
    }

    /// Whether a member begins with this byte. Zstandard has frames to be skipped too (RFC 8878 section 3.1.2).
    const fn begins(&self, first: u8) -> bool {
        match self.how {
            Compression::Gzip => first == 0x1f,
            Compression::Zstd => matches!(first, 0x28 | 0x50..=0x5f),
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.state {
                State::Gzip(decoder) => decoder.read(into)?,
                State::Zstd(decoder) => decoder.read(into)?,
                State::Between(_) => 0,
                State::Ended => return Ok(0),
            };
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let rest = match std::mem::replace(&mut self.state, State::Ended) {
                State::Between(rest) => rest,
                State::Gzip(decoder) => decoder.into_inner(),
                State::Zstd(decoder) => decoder.finish(),
                State::Ended => return Ok(0),
            };
            self.state = self.next(rest)?;
        }
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
