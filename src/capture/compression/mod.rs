//! Compressed captures: gzip and Zstandard, with any number of members, and what may stand between and behind them.

mod gzip;
#[cfg(test)]
mod tests;
mod zstandard;

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use gzip::GzipMember;
use zstandard::ZstdFrame;

/// Octets read at once below a decompressor.
const CHUNK: usize = 256 << 10;

/// How a capture is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

impl Compression {
    pub(super) fn of(head: &[u8]) -> Option<Self> {
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

    /// What undoes it.
    pub(super) fn decoder(self, compressed: impl Read + 'static) -> CompressedMembers<impl BufRead> {
        CompressedMembers {
            how: self,
            state: MemberState::Between(BufReader::with_capacity(CHUNK, compressed)),
            any: false,
        }
    }
}

/// A compressed file: members (gzip) or frames (zstd) one behind the other, and what may stand between and behind them.
/// Zeros are passed over: tape blocks and copies that are rounded up end so, and gzip(1) accepts them too.
pub(super) struct CompressedMembers<R: BufRead> {
    how: Compression,
    state: MemberState<R>,
    /// A member has been read.
    any: bool,
}

enum MemberState<R: BufRead> {
    Between(R),
    Gzip(Box<GzipMember<R>>),
    Zstd(Box<ZstdFrame<R>>),
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

impl<R: BufRead> CompressedMembers<R> {
    /// Goes to the next member, if there is one.
    fn next(&mut self, mut rest: R) -> io::Result<MemberState<R>> {
        loop {
            let waiting = rest.fill_buf()?;
            let zeros = waiting.iter().take_while(|byte| **byte == 0 && self.any).count();
            match waiting.get(zeros) {
                None if zeros == 0 => return Ok(MemberState::Ended),
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
            Compression::Gzip => MemberState::Gzip(Box::new(GzipMember::new(rest))),
            Compression::Zstd => MemberState::Zstd(Box::new(ZstdFrame::new(rest)?)),
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

impl<R: BufRead> Read for CompressedMembers<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.state {
                MemberState::Gzip(decoder) => decoder.read(into)?,
                MemberState::Zstd(decoder) => decoder.read(into)?,
                MemberState::Between(_) => 0,
                MemberState::Ended => return Ok(0),
            };
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let rest = match std::mem::replace(&mut self.state, MemberState::Ended) {
                MemberState::Between(rest) => rest,
                MemberState::Gzip(decoder) => decoder.into_inner(),
                MemberState::Zstd(decoder) => decoder.into_inner(),
                MemberState::Ended => return Ok(0),
            };
            self.state = self.next(rest)?;
        }
    }
}
