//! Inputs that wait: for the protocol to be told, or for the server's answer at a decision point.

use std::collections::VecDeque;

use super::ledger::Stamp;
use super::{Dir, Input};

/// One input that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    /// A range of the direction's buffer.
    Octets {
        from: usize,
        to: usize,
    },
    Gap(u64),
    Fin,
    Reset,
}

/// Inputs in their order.
#[derive(Debug, Default)]
pub(crate) struct Held {
    client: Vec<u8>,
    server: Vec<u8>,
    pieces: VecDeque<(Dir, Stamp, Piece)>,
    waiting: usize,
    gap: bool,
}

impl Held {
    /// Whether anything waits.
    pub(crate) fn waits(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Octets that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether octets are missing among what waits.
    pub(crate) fn has_gap(&self) -> bool {
        self.gap
    }

    /// Adds an input.
    pub(crate) fn push(&mut self, dir: Dir, stamp: Stamp, input: &Input<'_>) {
        let piece = match input {
            Input::Data(octets) => {
                let buffer = self.buffer(dir);
                let from = buffer.len();
                buffer.extend_from_slice(octets);
                self.waiting += octets.len();
                Piece::Octets { from, to: from + octets.len() }
            }
            Input::Gap(lost) => {
                self.gap = true;
                Piece::Gap(*lost)
            }
            Input::Fin => Piece::Fin,
            Input::Reset => Piece::Reset,
        };
        self.pieces.push_back((dir, stamp, piece));
    }

    /// The octets of `dir` that wait, gaps passed over.
    pub(crate) fn octets(&self, dir: Dir) -> &[u8] {
        let buffer = if dir == Dir::ToServer { &self.client } else { &self.server };
        let from = self.pieces.iter().find_map(|(d, _, piece)| match piece {
            Piece::Octets { from, .. } if *d == dir => Some(*from),
            _ => None,
        });
        from.and_then(|from| buffer.get(from..)).unwrap_or_default()
    }

    /// When the first of them came.
    pub(crate) fn stamp(&self) -> Stamp {
        self.pieces.front().map(|(_, stamp, _)| *stamp).unwrap_or_default()
    }

    /// Takes the first `length` octets of `dir` out.
    pub(crate) fn consume(&mut self, dir: Dir, mut length: usize) {
        for (d, _, piece) in &mut self.pieces {
            if let Piece::Octets { from, to } = piece
                && *d == dir
            {
                let used = length.min(*to - *from);
                *from += used;
                self.waiting -= used;
                length -= used;
            }
        }
        self.pieces.retain(|(_, _, piece)| !matches!(piece, Piece::Octets { from, to } if from == to));
    }

    /// Hands every input on, in order.
    pub(crate) fn replay(self, mut take: impl FnMut(Dir, Stamp, Input<'_>)) {
        for (dir, stamp, piece) in self.pieces {
            let buffer = if dir == Dir::ToServer { &self.client } else { &self.server };
            match piece {
                Piece::Octets { from, to } => take(dir, stamp, Input::Data(buffer.get(from..to).unwrap_or_default())),
                Piece::Gap(lost) => take(dir, stamp, Input::Gap(lost)),
                Piece::Fin => take(dir, stamp, Input::Fin),
                Piece::Reset => take(dir, stamp, Input::Reset),
            }
        }
    }

    /// The first input, with the buffer it points into: to be given back with [`Self::used`].
    pub(crate) fn first(&mut self) -> Option<(Stamp, Piece, Vec<u8>)> {
        let &(dir, stamp, piece) = self.pieces.front()?;
        Some((stamp, piece, std::mem::take(self.buffer(dir))))
    }

    /// So many octets of the first input were used (any input but octets is used up); takes the buffer back.
    pub(crate) fn used(&mut self, used: usize, mut buffer: Vec<u8>) {
        let Some((dir, _, piece)) = self.pieces.front_mut() else { return };
        let dir = *dir;
        let spent = match piece {
            Piece::Octets { from, to } => {
                *from += used;
                self.waiting -= used;
                from >= to
            }
            Piece::Gap(_) | Piece::Fin | Piece::Reset => true,
        };
        if spent {
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            buffer.clear();
        }
        self.compact(dir, &mut buffer);
        *self.buffer(dir) = buffer;
    }

    /// Drops used octets from the head of `buffer` once they are the greater part.
    fn compact(&mut self, dir: Dir, buffer: &mut Vec<u8>) {
        const WORTH: usize = 32 << 10;
        let start = self.pieces.iter().find_map(|(d, _, piece)| match piece {
            Piece::Octets { from, .. } if *d == dir => Some(*from),
            _ => None,
        });
        let Some(start) = start.filter(|start| *start > WORTH && *start > buffer.len() / 2) else { return };
        buffer.drain(..start);
        for (d, _, piece) in &mut self.pieces {
            if let Piece::Octets { from, to } = piece
                && *d == dir
            {
                *from -= start;
                *to -= start;
            }
        }
    }

    fn buffer(&mut self, dir: Dir) -> &mut Vec<u8> {
        match dir {
            Dir::ToServer => &mut self.client,
            Dir::ToClient => &mut self.server,
        }
    }
}
