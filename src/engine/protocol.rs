//! Who knows what the frames mean: a closed choice of protocols.

use super::frame::Frame;
use super::session::replay::Held;
use super::session::state::Scope;
use super::{imap, pop3, smtp};
use crate::event::{Dir, End};
use crate::event::{How, Other, Phase};

/// What became of the question which protocol is spoken.
#[derive(Debug)]
pub(crate) enum Machine {
    /// Not decided yet: the inputs so far.
    Undecided(Held),
    Smtp(Box<smtp::Smtp>),
    Pop3(Box<pop3::Pop3>),
    Imap(Box<imap::Imap>),
    /// Identified, or encrypted from the start: counted only.
    Counted,
    /// No mail.
    Ignored(Option<Other>),
}

impl Machine {
    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, scope: &mut Scope<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.frame(dir, frame, scope),
            Self::Pop3(pop3) => pop3.frame(dir, frame, scope),
            Self::Imap(imap) => imap.frame(dir, frame, scope),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// `lost` octets of `dir` are missing up to `scope.offset`, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, scope: &mut Scope<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.gap(dir, lost, scope),
            Self::Pop3(pop3) => pop3.gap(dir, lost, scope),
            Self::Imap(imap) => imap.gap(dir, lost, scope),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, scope: &mut Scope<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.unanswered(held, surely, scope),
            Self::Pop3(pop3) => pop3.unanswered(held, surely, scope),
            Self::Imap(imap) => imap.unanswered(held, surely, scope),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// Whether held octets of the client may tell by themselves how to read them.
    pub(crate) fn watches_held(&self) -> bool {
        matches!(self, Self::Smtp(smtp) if smtp.watches_held())
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, scope: &mut Scope<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.finish(closed, why, scope),
            Self::Pop3(pop3) => pop3.finish(closed, why, scope),
            Self::Imap(imap) => imap.finish(closed, why, scope),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn rest(&mut self) {
        match self {
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
            Self::Smtp(smtp) => smtp.rest(),
            Self::Pop3(pop3) => pop3.rest(),
            Self::Imap(imap) => imap.rest(),
        }
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Smtp(smtp) => smtp.phase(),
            Self::Pop3(pop3) => pop3.phase(),
            Self::Imap(imap) => imap.phase(),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => Phase::Greeting,
        }
    }
}
