//! Who knows what the frames mean: a closed choice of protocols.

use super::frame::Frame;
use super::secret::Secrets;
use super::session::replay::ReplayBuffer;
use super::session::state::EventContext;
use super::{imap, pop3, smtp};
use crate::event::{Dir, End};
use crate::event::{How, Other, Phase};

/// What became of the question which protocol is spoken.
#[derive(Debug)]
pub(crate) enum ProtocolState {
    /// Not decided yet: the inputs so far.
    Undecided(ReplayBuffer),
    Smtp(Box<smtp::Smtp>),
    Pop3(Box<pop3::Pop3>),
    Imap(Box<imap::Imap>),
    /// Identified, or encrypted from the start: counted only.
    Counted,
    /// No mail.
    Ignored(Option<Other>),
}

impl ProtocolState {
    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, cx: &mut EventContext<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.frame(dir, frame, cx),
            Self::Pop3(pop3) => pop3.frame(dir, frame, cx),
            Self::Imap(imap) => imap.frame(dir, frame, cx),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// Gives the words of a client's line that was not understood to `secrets`.
    pub(crate) fn suspect(&self, line: &[u8], secrets: &mut Secrets) {
        match self {
            Self::Smtp(_) => smtp::suspect(line, secrets),
            Self::Pop3(_) => pop3::suspect(line, secrets),
            Self::Imap(_) => imap::suspect(line, secrets),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// `lost` octets of `dir` are missing up to `scope.offset`, beyond those that counted octets absorbed.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, cx: &mut EventContext<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.gap(dir, lost, cx),
            Self::Pop3(pop3) => pop3.gap(dir, lost, cx),
            Self::Imap(imap) => imap.gap(dir, cx),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.unanswered(held, surely, cx),
            Self::Pop3(pop3) => pop3.unanswered(held, surely, cx),
            Self::Imap(imap) => imap.unanswered(held, surely, cx),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// Whether held octets of the client may tell by themselves how to read them.
    pub(crate) fn watches_held(&self) -> bool {
        matches!(self, Self::Smtp(smtp) if smtp.watches_held())
    }

    /// Whether the client's octets are held because some were lost just before them.
    pub(crate) fn is_behind_gap(&self) -> bool {
        matches!(self, Self::Smtp(smtp) if smtp.is_behind_gap())
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, cx: &mut EventContext<'_>) {
        match self {
            Self::Smtp(smtp) => smtp.finish(closed, why, cx),
            Self::Pop3(pop3) => pop3.finish(closed, why, cx),
            Self::Imap(imap) => imap.finish(closed, why, cx),
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
        }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn shrink(&mut self) {
        match self {
            Self::Undecided(_) | Self::Counted | Self::Ignored(_) => {}
            Self::Smtp(smtp) => smtp.shrink(),
            Self::Pop3(pop3) => pop3.shrink(),
            Self::Imap(imap) => imap.shrink(),
        }
    }

    /// Whether no command waits for its reply.
    pub(crate) fn is_at_rest(&self) -> bool {
        match self {
            Self::Undecided(held) => held.octets(Dir::ToServer).is_empty(),
            Self::Smtp(smtp) => smtp.is_at_rest(),
            Self::Pop3(pop3) => pop3.is_at_rest(),
            Self::Imap(imap) => imap.is_at_rest(),
            Self::Counted | Self::Ignored(_) => false,
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
