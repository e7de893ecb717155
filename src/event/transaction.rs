//! One message moved, or an attempt to move one: a delivery, a retrieval or an append.

use std::time::Duration;

use super::command::{Enhanced, Reply};
use super::incomplete::Incomplete;
use super::text::{List, Span, Text};
use super::tls::TlsMode;
use super::verb::Verb;
use super::words::words;
use crate::message::Message;
use crate::time::Timestamp;

words! {
    /// What a transaction moved.
    TransactionKind {
        /// SMTP and LMTP: from MAIL on.
        Delivery = "delivery",
        /// POP3 RETR and TOP; IMAP FETCH of a body.
        Retrieval = "retrieval",
        /// IMAP APPEND and REPLACE, one per message; POP3 XTND XMIT.
        Append = "append",
    }
}

words! {
    /// How a transaction ended.
    TransactionOutcome {
        /// The server took responsibility: the final reply was 2yz, or OK.
        Accepted = "accepted",
        /// LMTP and PRDR: recipients differ.
        Partial = "partial",
        /// The ending reply was 4yz.
        RejectedTemporary = "rejected_temporary",
        /// The ending reply was 5yz.
        RejectedPermanent = "rejected_permanent",
        /// RSET, EHLO, STARTTLS, XCLIENT or QUIT came before the end of the data.
        Aborted = "aborted",
        /// 421 or BYE while it was open.
        ServerClosed = "server_closed",
        /// No progress, or the server said so.
        TimedOut = "timed_out",
        /// FIN or RST inside.
        ConnectionLost = "connection_lost",
        /// TLS cut it.
        Encrypted = "encrypted",
        /// A retrieval that reached its end.
        Complete = "complete",
        /// A retrieval or append that was refused.
        Error = "error",
        /// The capture hides the answer.
        Unknown = "unknown",
    }
}

words! {
    /// How far a delivery came.
    Stage {
        /// MAIL.
        Mail = "mail",
        /// RCPT.
        Rcpt = "rcpt",
        /// DATA.
        Data = "data",
        /// A final reply before the end of the data was sent.
        DataEarly = "data_early",
        /// End of data.
        Eod = "eod",
        /// End of data sent, never answered: the message may have been accepted.
        EodUnanswered = "eod_unanswered",
        /// BDAT.
        Bdat = "bdat",
    }
}

words! {
    /// How a delivery's message was sent.
    DataMode {
        /// DATA (RFC 5321).
        Data = "data",
        /// BDAT (RFC 3030).
        Bdat = "bdat",
        /// BURL (RFC 4468).
        Burl = "burl",
        /// BDAT and BURL.
        Mixed = "mixed",
    }
}

/// A recipient of a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recipient {
    /// Mailbox without brackets, in [`Transaction::arena`].
    pub forward_path: Span,
    /// RCPT parameters: a range of [`Transaction::params`].
    pub esmtp: (u32, u32),
    /// Code of the reply to RCPT.
    pub code: Option<u16>,
    /// Its enhanced status code.
    pub enhanced: Option<Enhanced>,
    /// Its text.
    pub text: Option<Span>,
    /// From RCPT to its reply.
    pub latency: Option<Duration>,
    /// Its own reply after the data (LMTP, PRDR).
    pub last: Option<RecipientReply>,
}

/// The reply that one recipient got after the data (RFC 2033 section 4.2; draft-hall-prdr).
#[derive(Clone, Copy, Debug)]
pub struct RecipientReply {
    /// Reply code.
    pub code: u16,
    /// Enhanced status code.
    pub enhanced: Option<Enhanced>,
    /// Text.
    pub text: Span,
    /// From the end of the data.
    pub latency: Option<Duration>,
}

/// An ESMTP parameter, in [`Transaction::arena`].
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Keyword, upper case.
    pub keyword: Span,
    /// Value, xtext decoded; `None` if there is no `=`.
    pub value: Option<Span>,
}

/// Where the time of a transfer went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From DATA to 354.
    pub data_go: Option<Duration>,
    /// From 354 to the first octet of the message.
    pub data_idle: Option<Duration>,
    /// From the first octet of the message to the last.
    pub transfer: Option<Duration>,
    /// From the end of the data to the final reply.
    pub reply: Option<Duration>,
    /// Retrievals: from the command to the first octet of its reply.
    pub first_byte: Option<Duration>,
}

/// One unit of mail moved, or tried to move.
#[derive(Debug)]
pub struct Transaction {
    /// What it moved; decides which fields are in use.
    pub kind: TransactionKind,
    /// 1, 2, … in the session.
    pub number: u32,
    /// Time of the first octet of the command that opened it.
    pub began: Timestamp,
    /// Time of what ended it.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: TransactionOutcome,
    /// How far it came, unless it came to its end.
    pub stage: Option<Stage>,
    /// Encryption at that time.
    pub tls: TlsMode,
    /// Authenticated as.
    pub identity: Text,
    /// Whether there was message data at all: only then `message` says something.
    pub has_message: bool,
    /// The message.
    pub message: Message,
    /// Octets on the wire: stuffing and terminator included.
    pub wire_size: Option<u64>,
    /// Size declared ahead: `SIZE=`, `+OK n octets`.
    pub declared_size: Option<u64>,
    /// Timing.
    pub timing: Timing,
    /// What was not seen of it.
    pub incomplete: Incomplete,

    /// Text that the spans below point into.
    pub arena: Vec<u8>,
    /// Delivery: return path without brackets; set and empty for `<>`.
    pub reverse_path: Option<Span>,
    /// Delivery: hosts of a source route.
    pub source_route: Vec<Span>,
    /// Parameters of MAIL (the first `mail_params` of them) and of each RCPT.
    pub params: Vec<Param>,
    /// How many of `params` belong to MAIL.
    pub mail_params: u32,
    /// Recipients, up to the cap.
    pub recipients: Vec<Recipient>,
    /// How many there were.
    pub recipients_total: u32,
    /// How the message was sent.
    pub data_mode: Option<DataMode>,
    /// BDAT and BURL commands.
    pub chunks: u32,
    /// The reply that ended it.
    pub last: Reply,
    /// The client had closed before that reply came.
    pub reply_undelivered: bool,
    /// Queue id from that reply.
    pub queue_id: Text,
    /// Some command of it was pipelined.
    pub pipelined: bool,
    /// One recipient asked for, no data sent: a callout.
    pub probe: bool,
    /// Found inside another transaction's data.
    pub smuggled: bool,
    /// Number of that transaction.
    pub parent: Option<u32>,
    /// Roles were swapped by TURN or ATRN.
    pub reversed: bool,

    /// Retrieval, append: the command.
    pub verb: Option<Verb>,
    /// Retrieval, append: mailbox, decoded.
    pub mailbox: Text,
    /// Unique id.
    pub uid: Option<u64>,
    /// UIDVALIDITY.
    pub uid_validity: Option<u64>,
    /// Message number.
    pub message_number: Option<u64>,
    /// IMAP section, without brackets; set and empty for the whole message.
    pub section: Text,
    /// Offset of a partial fetch, in octets.
    pub origin: Option<u64>,
    /// Append: flags.
    pub flags: List,
    /// Append: internal date.
    pub internal_date: Text,
}

impl Transaction {
    /// Text of a span.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.arena)
    }

    /// Parameters of MAIL.
    pub fn mail_params(&self) -> &[Param] {
        self.params.get(..self.mail_params as usize).unwrap_or_default()
    }

    /// Parameters of one RCPT.
    pub fn rcpt_params(&self, recipient: &Recipient) -> &[Param] {
        let (start, end) = recipient.esmtp;
        self.params.get(start as usize..end as usize).unwrap_or_default()
    }

    pub(crate) fn blank() -> Self {
        Self {
            kind: TransactionKind::Delivery,
            number: 0,
            began: Timestamp::default(),
            ended: Timestamp::default(),
            outcome: TransactionOutcome::Unknown,
            stage: None,
            tls: TlsMode::None,
            identity: Text::default(),
            has_message: false,
            message: Message::default(),
            wire_size: None,
            declared_size: None,
            timing: Timing::default(),
            incomplete: Incomplete::NONE,
            arena: Vec::new(),
            reverse_path: None,
            source_route: Vec::new(),
            params: Vec::new(),
            mail_params: 0,
            recipients: Vec::new(),
            recipients_total: 0,
            data_mode: None,
            chunks: 0,
            last: Reply::default(),
            reply_undelivered: false,
            queue_id: Text::default(),
            pipelined: false,
            probe: false,
            smuggled: false,
            parent: None,
            reversed: false,
            verb: None,
            mailbox: Text::default(),
            uid: None,
            uid_validity: None,
            message_number: None,
            section: Text::default(),
            origin: None,
            flags: List::default(),
            internal_date: Text::default(),
        }
    }

    /// Empties a transaction in place; its buffers keep their room. Names every field, so that none is forgotten.
    pub(crate) fn reset(&mut self) {
        let Self {
            kind: _,
            number: _,
            began: _,
            ended: _,
            outcome,
            stage,
            tls: _,
            identity,
            has_message,
            // Begins anew with the next message.
            message: _,
            wire_size,
            declared_size,
            timing,
            incomplete,
            arena,
            reverse_path,
            source_route,
            params,
            mail_params,
            recipients,
            recipients_total,
            data_mode,
            chunks,
            last,
            reply_undelivered,
            queue_id,
            pipelined,
            probe,
            smuggled,
            parent,
            reversed,
            verb,
            mailbox,
            uid,
            uid_validity,
            message_number,
            section,
            origin,
            flags,
            internal_date,
        } = self;
        *outcome = TransactionOutcome::Unknown;
        *stage = None;
        *timing = Timing::default();
        *incomplete = Incomplete::NONE;
        (*reverse_path, *data_mode, *verb) = (None, None, None);
        (*wire_size, *declared_size, *parent) = (None, None, None);
        (*uid, *uid_validity, *message_number, *origin) = (None, None, None, None);
        (*mail_params, *recipients_total, *chunks) = (0, 0, 0);
        for flag in [has_message, reply_undelivered, pipelined, probe, smuggled, reversed] {
            *flag = false;
        }
        for text in [identity, queue_id, mailbox, section, internal_date] {
            text.clear();
        }
        arena.clear();
        source_route.clear();
        params.clear();
        recipients.clear();
        last.clear();
        flags.clear();
    }
}
