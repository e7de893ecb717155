//! One member of a gzip file (RFC 1952).
//!
//! The header and the checksum are read here, since the decoder of the crate loses what it had unpacked in the call that meets
//! a damage: up to a whole buffer of packets.

use std::io::{self, BufRead, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Bits of the header's flags (RFC 1952 section 2.3.1).
const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// A member while it is unpacked.
pub(super) struct GzipMember<R: BufRead> {
    rest: R,
    stage: Stage,
    inflate: Decompress,
    checksum: Crc,
}

/// What comes next.
enum Stage {
    Header,
    Body,
    /// The body is damaged; everything before the damage was handed out.
    Damaged,
    Trailer,
    Ended,
}

impl<R: BufRead> GzipMember<R> {
    pub(super) fn new(rest: R) -> Self {
        Self { rest, stage: Stage::Header, inflate: Decompress::new(false), checksum: Crc::new() }
    }

    /// What follows the member, once it has been read to its end.
    pub(super) fn into_inner(self) -> R {
        self.rest
    }

    fn header(&mut self) -> io::Result<()> {
        let mut fixed = [0; 10];
        self.rest.read_exact(&mut fixed)?;
        let [0x1f, 0x8b, 8, flags, ..] = fixed else { return Err(damaged("invalid gzip header")) };
        if flags & RESERVED != 0 {
            return Err(damaged("invalid gzip header"));
        }
        if flags & EXTRA != 0 {
            let mut length = [0; 2];
            self.rest.read_exact(&mut length)?;
            self.skip(u64::from(u16::from_le_bytes(length)))?;
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                self.skip_text()?;
            }
        }
        if flags & HEADER_CHECKSUM != 0 {
            self.skip(2)?;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.rest.by_ref().take(bytes), &mut io::sink())?;
        if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// A text of any length, which a NUL ends.
    fn skip_text(&mut self) -> io::Result<()> {
        loop {
            let waiting = self.rest.fill_buf()?;
            let (bytes, ended) = match memchr::memchr(0, waiting) {
                Some(at) => (at + 1, true),
                None => (waiting.len(), false),
            };
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.rest.consume(bytes);
            if ended {
                return Ok(());
            }
        }
    }

    /// Unpacks some of the body; 0 once its stage is over.
    fn body(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let waiting = self.rest.fill_buf()?;
            let at_end = waiting.is_empty();
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(waiting, into, FlushDecompress::None);
            // A damage counts too what was unpacked before it.
            let taken = usize::try_from(self.inflate.total_in() - before.0).unwrap_or_default();
            let made = usize::try_from(self.inflate.total_out() - before.1).unwrap_or_default();
            self.rest.consume(taken);
            self.checksum.update(into.get(..made).unwrap_or_default());
            match status {
                Ok(Status::StreamEnd) => self.stage = Stage::Trailer,
                Ok(_) if made > 0 => {}
                Ok(_) if at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if taken > 0 => continue,
                Ok(_) | Err(_) => self.stage = Stage::Damaged,
            }
            return Ok(made);
        }
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        self.rest.read_exact(&mut trailer)?;
        let [a, b, c, d, e, f, g, h] = trailer;
        let (sum, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if (sum, length) == (self.checksum.sum(), self.checksum.amount()) {
            Ok(())
        } else {
            Err(damaged("the checksum does not match"))
        }
    }
}

impl<R: BufRead> Read for GzipMember<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.stage {
                Stage::Header => {
                    self.header()?;
                    self.stage = Stage::Body;
                }
                Stage::Body => {
                    let made = self.body(into)?;
                    if made > 0 {
                        return Ok(made);
                    }
                }
                Stage::Damaged => return Err(damaged("corrupt deflate stream")),
                Stage::Trailer => {
                    self.trailer()?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Ok(0),
            }
        }
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
