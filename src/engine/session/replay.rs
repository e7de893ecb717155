//! Inputs that wait: for the protocol to be told, or for the server's answer at a decision point.

use std::collections::VecDeque;

use super::state::Stamp;
use crate::event::{Dir, Input};

/// One input that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeldInput {
    /// A range of the direction's buffer.
    Octets {
        from: usize,
        to: usize,
    },
    Gap(u64),
    Fin,
    Reset,
}

/// Inputs in their order. On the heap, for most sessions never hold anything; the room stays until [`Self::shrink`].
#[derive(Debug, Default)]
pub(crate) struct ReplayBuffer(Option<Box<Inputs>>);

#[derive(Debug, Default)]
struct Inputs {
    client: Vec<u8>,
    server: Vec<u8>,
    pieces: VecDeque<(Dir, Stamp, HeldInput)>,
    waiting: usize,
    gap: bool,
}

static NOTHING: Inputs =
    Inputs { client: Vec::new(), server: Vec::new(), pieces: VecDeque::new(), waiting: 0, gap: false };

impl ReplayBuffer {
    /// Whether anything waits.
    pub(crate) fn waits(&self) -> bool {
        self.0.as_ref().is_some_and(|inputs| !inputs.pieces.is_empty())
    }

    /// Octets that wait.
    pub(crate) fn len(&self) -> usize {
        self.inputs().waiting
    }

    /// Whether octets are missing among what waits.
    pub(crate) fn has_gap(&self) -> bool {
        self.inputs().gap
    }

    /// Gives the room back, if nothing waits.
    pub(crate) fn shrink(&mut self) {
        if !self.waits() && !self.has_gap() {
            self.0 = None;
        }
    }

    /// Adds an input.
    pub(crate) fn push(&mut self, dir: Dir, stamp: Stamp, input: &Input<'_>) {
        let inputs = self.0.get_or_insert_default();
        let piece = match input {
            Input::Data(octets) => {
                let buffer = inputs.buffer(dir);
                let from = buffer.len();
                buffer.extend_from_slice(octets);
                let end = from + octets.len();
                inputs.waiting += octets.len();
                if let Some((d, s, HeldInput::Octets { to, .. })) = inputs.pieces.back_mut()
                    && (*d, s.piece, *to) == (dir, stamp.piece, from)
                {
                    // More of the same input.
                    return *to = end;
                }
                HeldInput::Octets { from, to: end }
            }
            Input::Gap(lost) => {
                inputs.gap = true;
                if let Some((d, _, HeldInput::Gap(before))) = inputs.pieces.back_mut()
                    && *d == dir
                {
                    // One hole, however it was told of.
                    return *before = before.saturating_add(*lost);
                }
                HeldInput::Gap(*lost)
            }
            Input::Fin => HeldInput::Fin,
            Input::Reset => HeldInput::Reset,
        };
        inputs.pieces.push_back((dir, stamp, piece));
    }

    /// The octets of `dir` that wait, gaps passed over.
    pub(crate) fn octets(&self, dir: Dir) -> &[u8] {
        let inputs = self.inputs();
        let buffer = if dir == Dir::ToServer { &inputs.client } else { &inputs.server };
        inputs.start(dir).and_then(|from| buffer.get(from..)).unwrap_or_default()
    }

    /// When the first of them came.
    pub(crate) fn stamp(&self) -> Stamp {
        self.inputs().pieces.front().map(|(_, stamp, _)| *stamp).unwrap_or_default()
    }

    /// Takes the first `length` octets of `dir` out.
    pub(crate) fn consume(&mut self, dir: Dir, mut length: usize) {
        let Some(inputs) = &mut self.0 else { return };
        for (d, _, piece) in &mut inputs.pieces {
            if let HeldInput::Octets { from, to } = piece
                && *d == dir
            {
                let used = length.min(*to - *from);
                *from += used;
                inputs.waiting -= used;
                length -= used;
            }
        }
        inputs.pieces.retain(|(_, _, piece)| !matches!(piece, HeldInput::Octets { from, to } if from == to));
    }

    /// Hands every input on, in order.
    pub(crate) fn replay(self, mut take: impl FnMut(Dir, Stamp, Input<'_>)) {
        let Inputs { client, server, pieces, .. } = self.0.map(|inputs| *inputs).unwrap_or_default();
        for (dir, stamp, piece) in pieces {
            let buffer = if dir == Dir::ToServer { &client } else { &server };
            match piece {
                HeldInput::Octets { from, to } => {
                    take(dir, stamp, Input::Data(buffer.get(from..to).unwrap_or_default()));
                }
                HeldInput::Gap(lost) => take(dir, stamp, Input::Gap(lost)),
                HeldInput::Fin => take(dir, stamp, Input::Fin),
                HeldInput::Reset => take(dir, stamp, Input::Reset),
            }
        }
    }

    /// The first input, with the buffer it points into: to be given back with [`Self::used`].
    pub(crate) fn first(&mut self) -> Option<(Stamp, HeldInput, Vec<u8>)> {
        let inputs = self.0.as_mut()?;
        let &(dir, stamp, piece) = inputs.pieces.front()?;
        Some((stamp, piece, std::mem::take(inputs.buffer(dir))))
    }

    /// So many octets of the first input were used (any input but octets is used up); takes the buffer back.
    pub(crate) fn used(&mut self, used: usize, mut buffer: Vec<u8>) {
        let Some(inputs) = &mut self.0 else { return };
        let Some((dir, _, piece)) = inputs.pieces.front_mut() else { return };
        let dir = *dir;
        let spent = match piece {
            HeldInput::Octets { from, to } => {
                *from += used;
                inputs.waiting -= used;
                from >= to
            }
            HeldInput::Gap(_) | HeldInput::Fin | HeldInput::Reset => true,
        };
        if spent {
            inputs.pieces.pop_front();
        }
        if inputs.pieces.is_empty() {
            buffer.clear();
        }
        inputs.compact(dir, &mut buffer);
        *inputs.buffer(dir) = buffer;
    }

    fn inputs(&self) -> &Inputs {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl Inputs {
    /// Where in its buffer the first octet of `dir` that waits stands.
    fn start(&self, dir: Dir) -> Option<usize> {
        self.pieces.iter().find_map(|(d, _, piece)| match piece {
            HeldInput::Octets { from, .. } if *d == dir => Some(*from),
            _ => None,
        })
    }

    /// Drops used octets from the head of `buffer` once they are the greater part.
    fn compact(&mut self, dir: Dir, buffer: &mut Vec<u8>) {
        const WORTH: usize = 32 << 10;
        let Some(start) = self.start(dir).filter(|start| *start > WORTH && *start > buffer.len() / 2) else { return };
        buffer.drain(..start);
        for (d, _, piece) in &mut self.pieces {
            if let HeldInput::Octets { from, to } = piece
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
