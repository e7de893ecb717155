//! A command with its reply.

use std::time::Duration;

use super::incomplete::Incomplete;
use super::text::Text;
use super::verb::{Untagged, Verb};
use crate::time::Timestamp;

/// The status of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// An SMTP or LMTP reply code, 200 to 599 (RFC 5321 section 4.2).
    Code(u16),
    /// POP3 `+OK`.
    PopOk,
    /// POP3 `-ERR`.
    PopErr,
    /// IMAP `OK`.
    Ok,
    /// IMAP `NO`.
    No,
    /// IMAP `BAD`.
    Bad,
    /// IMAP `BYE` in place of a completion.
    Bye,
    /// IMAP `PREAUTH`: a greeting only.
    Preauth,
}

impl Status {
    /// The reply code, for SMTP and LMTP.
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Code(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the reply says yes: 2yz, 3yz, `+OK`, `OK`.
    pub const fn is_positive(self) -> bool {
        match self {
            Self::Code(code) => code < 400,
            Self::PopOk | Self::Ok | Self::Preauth => true,
            Self::PopErr | Self::No | Self::Bad | Self::Bye => false,
        }
    }
}

/// An enhanced status code (RFC 3463), such as `5.7.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

/// A complete reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Code or status word.
    pub status: Option<Status>,
    /// Enhanced status code, if its class fits the reply's.
    pub enhanced: Option<Enhanced>,
    /// Response code in brackets (IMAP, POP3), without them; masked.
    pub response_code: Text,
    /// Text without codes, lines joined by LF; masked.
    pub text: Text,
}

impl Reply {
    /// Makes it what `other` is; buffers keep their room.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.status = other.status;
        self.enhanced = other.enhanced;
        self.response_code.copy_from(&other.response_code);
        self.text.copy_from(&other.text);
    }

    /// Empties it for reuse.
    pub fn clear(&mut self) {
        self.status = None;
        self.enhanced = None;
        self.response_code.clear();
        self.text.clear();
    }
}

/// One command with its reply.
#[derive(Debug, Default)]
pub struct Command {
    /// 1, 2, … in the session.
    pub number: u32,
    /// Which; `OTHER` if it is on no list.
    pub verb: Verb,
    /// IMAP tag.
    pub tag: Text,
    /// Arguments that are safe to show; never a secret, a search string or an argument of an unknown verb.
    pub args: Text,
    /// The reply, empty while there is none.
    pub reply: Reply,
    /// Time of its first octet.
    pub began: Timestamp,
    /// Time of its last octet.
    pub sent: Timestamp,
    /// From the last octet of the command to the last of its reply.
    pub latency: Option<Duration>,
    /// The same, from the reply before it if that came later than the command (pipelining).
    pub service_latency: Option<Duration>,
    /// The reply came in one piece with the reply before it: its latency says nothing about the server.
    pub coalesced: bool,
    /// It was sent before the reply to an earlier command could have reached the client.
    pub pipelined: bool,
    /// Octets of the command (literals and chunk included) and of its reply, line ends included.
    pub octets: [u64; 2],
    /// IMAP: untagged responses attributed to it, by type.
    pub untagged: Vec<(Untagged, u32)>,
    /// IMAP: the mailbox it names, decoded to UTF-8.
    pub mailbox: Text,
    /// IMAP: literals it carried.
    pub literals: u32,
    /// What was not seen of it.
    pub incomplete: Incomplete,
}

impl Command {
    /// Empties it for reuse; buffers keep their room.
    pub fn clear(&mut self) {
        let Self {
            number,
            verb,
            tag,
            args,
            reply,
            began,
            sent,
            latency,
            service_latency,
            coalesced,
            pipelined,
            octets,
            untagged,
            mailbox,
            literals,
            incomplete,
        } = self;
        (*number, *literals, *octets) = (0, 0, [0; 2]);
        (*began, *sent) = (Timestamp::default(), Timestamp::default());
        (*latency, *service_latency) = (None, None);
        (*coalesced, *pipelined) = (false, false);
        *verb = Verb::default();
        *incomplete = Incomplete::NONE;
        for text in [tag, args, mailbox] {
            text.clear();
        }
        reply.clear();
        untagged.clear();
    }

    /// Gives back room that is not needed.
    pub(crate) fn shrink(&mut self) {
        let Reply { response_code, text, .. } = &mut self.reply;
        for text in [&mut self.tag, &mut self.args, &mut self.mailbox, response_code, text] {
            text.shrink();
        }
        self.untagged.shrink_to_fit();
    }
}
