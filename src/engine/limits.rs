//! Every cap of the engine, with its reason. A hit is counted and marked on the record.

use crate::event::Protocol;

/// Caps on what a session may hold. All sizes are octets.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A line of SMTP, LMTP or POP3 as kept; the rest is scanned over. Postfix takes 2048, Dovecot 8192.
    pub line: usize,
    /// A line of IMAP as kept: Dovecot's `imap_max_line_length`.
    pub line_imap: usize,
    /// Octets that may wait at a decision point: more than one full TCP window of most senders.
    pub hold: usize,
    /// Replies waited for, as Zeek has it.
    pub pending: usize,
    /// IMAP commands in flight: beyond any client's habit.
    pub in_flight: usize,
    /// Recipients kept per transaction; more are counted. Postfix allows 1000.
    pub recipients: usize,
    /// Text of one reply as kept: some servers send pages.
    pub reply_text: usize,
    /// Bytes of open envelopes kept per connection (paths, parameters, replies to RCPT, and what holds them): 1000
    /// recipients with long paths, ORCPT and texts.
    pub envelopes: usize,
    /// A capability list as kept.
    pub capabilities: usize,
    /// The header block of a message as kept.
    pub header: usize,
    /// An IMAP tag as kept.
    pub tag: usize,
    /// A literal that is kept as an argument (mailbox names, LOGIN).
    pub literal_argument: usize,
    /// Work for one input beside what its bytes pay for. What was held, at most [`Self::hold`] bytes, costs less.
    pub work: u64,
    /// Messages of a maildrop whose sizes are kept as LIST told them: enough for most, 4 KiB.
    pub listed: usize,
    /// Octets inflated without a line end before a DEFLATE layer is given up.
    pub inflate_line: usize,
    /// Client lines looked at before an unknown protocol is given up.
    pub detect: usize,
    /// Hash messages with SHA-256.
    pub hash: bool,
    /// What the operator says of ports, before the well-known ones: a prior, never proof.
    pub ports: Vec<(u16, Protocol)>,
    /// Tests only: the session panics once it has seen so many octets, to prove that whoever feeds it survives that.
    #[doc(hidden)]
    pub fault_at: Option<u64>,
}

impl Limits {
    /// What the server's port suggests.
    pub fn prior(&self, port: u16) -> Option<Protocol> {
        let told = self.ports.iter().find(|(p, _)| *p == port).map(|(_, protocol)| *protocol);
        told.or_else(|| super::detect::prior(port))
    }

    /// Work that an input of `bytes` may take: only what unpacks or repeats itself takes more than its bytes pay for, since
    /// no frame is shorter than one byte.
    pub(super) fn work_of(&self, bytes: usize) -> u64 {
        self.work + 65 * bytes as u64
    }

    /// How many octets of a line are kept.
    pub fn line_of(&self, protocol: Protocol) -> usize {
        if protocol == Protocol::Imap { self.line_imap } else { self.line }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 8 << 10,
            line_imap: 64 << 10,
            hold: 64 << 10,
            pending: 1000,
            in_flight: 256,
            recipients: 1000,
            reply_text: 1 << 10,
            envelopes: 768 << 10,
            capabilities: 8 << 10,
            header: 256 << 10,
            tag: 64,
            literal_argument: 4 << 10,
            work: 8 << 20,
            listed: 1024,
            inflate_line: 64 << 20,
            detect: 4 << 10,
            hash: true,
            ports: Vec::new(),
            fault_at: None,
        }
    }
}
