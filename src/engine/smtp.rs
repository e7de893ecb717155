//! stub

use super::event::{How, Phase};
use super::frame::Frame;
use super::ledger::Scope;
use super::{Dir, End};

/// State of a session.
#[derive(Debug)]
pub(crate) struct Smtp {
    #[allow(dead_code)]
    certain: bool,
}

impl Smtp {
    /// `certain`: the connection's start was seen.
    pub(crate) fn new(certain: bool) -> Self {
        Self { certain }
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        Phase::Idle
    }

    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, scope: &mut Scope<'_>) {
        let _ = (dir, frame, scope);
    }

    /// `lost` octets of `dir` are missing, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, scope: &mut Scope<'_>) {
        let _ = (dir, lost, scope);
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, scope: &mut Scope<'_>) {
        let _ = (held, surely, scope);
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, scope: &mut Scope<'_>) {
        let _ = (closed, why, scope);
    }
}
