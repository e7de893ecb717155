//! One frame of a Zstandard file (RFC 8878).
//!
//! The library forgets what it unpacked in a call that meets a damage, so each call gets one block and has room for it.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// The most that one block unpacks to (RFC 8878 section 3.1.1.2.3).
const BLOCK: usize = 128 << 10;

/// A block's header.
const BLOCK_HEADER: usize = 3;

/// What tells how long the header of a frame is.
const FRAME_PREFIX: usize = 5;

/// A frame while it is unpacked.
pub(super) struct ZstdFrame<R: BufRead> {
    rest: R,
    decoder: Decoder<'static>,
    /// How much the decoder wants: the current block and the next one's header.
    wanted: usize,
    block: Vec<u8>,
    /// What of `block` was handed out, and where it ends.
    read: usize,
    end: usize,
    ended: bool,
}

impl<R: BufRead> ZstdFrame<R> {
    pub(super) fn new(rest: R) -> io::Result<Self> {
        let (decoder, block) = (Decoder::new()?, vec![0; BLOCK]);
        Ok(Self { rest, decoder, wanted: FRAME_PREFIX, block, read: 0, end: 0, ended: false })
    }

    /// What follows the frame, once it has been read to its end.
    pub(super) fn into_inner(self) -> R {
        self.rest
    }

    /// Unpacks the next block.
    fn next(&mut self) -> io::Result<()> {
        let waiting = self.rest.fill_buf()?;
        if waiting.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The header behind the block may be damaged: it comes in a call of its own.
        let bytes = if self.wanted > BLOCK_HEADER { self.wanted - BLOCK_HEADER } else { self.wanted.max(1) };
        let mut from = InBuffer::around(waiting.get(..bytes.min(waiting.len())).unwrap_or_default());
        let mut to = OutBuffer::around(self.block.as_mut_slice());
        self.wanted = self.decoder.run(&mut from, &mut to)?;
        let (taken, made) = (from.pos(), to.pos());
        self.rest.consume(taken);
        (self.read, self.end, self.ended) = (0, made, self.wanted == 0);
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrame<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.end {
            if self.ended || into.is_empty() {
                return Ok(0);
            }
            self.next()?;
        }
        let mut ready = self.block.get(self.read..self.end).unwrap_or_default();
        let bytes = ready.read(into)?;
        self.read += bytes;
        Ok(bytes)
    }
}
