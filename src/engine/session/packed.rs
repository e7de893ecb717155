//! DEFLATE that nobody was seen to agree on: the agreement was lost, or came before the capture.
//!
//! A line of IMAP that does not begin as text is kept until it inflates to a line of IMAP, or does not. The verdict hangs on
//! the bytes alone, not on how they came.

use super::state::Stamp;
use crate::engine::Session;
use crate::engine::frame::FramingMode;
use crate::engine::imap;
use crate::engine::inflate::{self, Inflate};
use crate::engine::protocol::ProtocolState;
use crate::event::{Dir, Missing, Sink};

/// Bytes after which it would have shown.
const ENOUGH: usize = 4 << 10;

/// Bytes that may be packed, those that are held besides.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// The head of the line, which had come before it looked like anything else than text.
    head: Vec<u8>,
    /// No more will come to help.
    last: bool,
}

impl Session {
    /// Whether the line that `rest` goes on with, or begins, does not begin as text although text is due: behind a loss.
    pub(super) fn may_be_packed(&self, dir: Dir, rest: &[u8]) -> bool {
        let missing = &self.state.incomplete;
        let lossy = [Missing::StartMissing, Missing::ClientGap, Missing::ServerGap].iter().any(|m| missing.has(*m));
        if !lossy || !matches!(self.protocol_state, ProtocolState::Imap(_)) {
            return false;
        }
        let direction = &self.directions[dir];
        let (start, before) = direction.framer.line_start();
        direction.unpacked != Some(start) && !inflate::begins_as_text(before, rest)
    }

    /// The bytes of `dir` from the start of the line on are kept until it shows whether they are packed.
    pub(super) fn begin_trial(&mut self, dir: Dir) {
        let direction = &mut self.directions[dir];
        let head = direction.framer.take_back();
        direction.framer.set_mode(FramingMode::Await);
        direction.trial = Some(Box::new(Trial { head, last: false }));
    }

    /// No more bytes of `dir` will come that could tell.
    pub(super) fn end_trial(&mut self, dir: Dir, out: &mut dyn Sink) {
        if let Some(trial) = &mut self.directions[dir].trial {
            trial.last = true;
            self.drain(dir, out);
        }
    }

    /// Decides whether the bytes are packed, if that is asked; false while they do not tell.
    pub(super) fn decide_trial(&mut self, dir: Dir, out: &mut dyn Sink) -> bool {
        let direction = &mut self.directions[dir];
        let Some(trial) = direction.trial.take() else { return true };
        let held = direction.held.octets(dir);
        let octets = [trial.head.as_slice(), held.get(..held.len().min(ENOUGH)).unwrap_or(held)].concat();
        let packed = match imap::is_packed(dir, &octets) {
            None if !trial.last && octets.len() < ENOUGH => {
                direction.trial = Some(trial);
                return false;
            }
            verdict => verdict == Some(true),
        };
        let stamp: Stamp = direction.held.stamp();
        direction.framer.set_mode(FramingMode::Line);
        if packed {
            direction.layer = Some(Box::new(Inflate::resumed()));
            self.inflate(dir, stamp, &trial.head, out);
            self.directions[dir].inflated = false;
        } else {
            direction.unpacked = Some(direction.framer.line_start().0);
            self.pump(dir, stamp, &trial.head, out);
        }
        true
    }
}
