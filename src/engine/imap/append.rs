//! APPEND and REPLACE: groups of flags, date and message, as they pass (RFC 9051, 3502, 4469, 3516, 6855, 8508).

use super::command;
use super::lex::{Token, Tokens};
use crate::engine::session::state::EventContext;
use crate::event::Text;
use crate::event::Verb;
use crate::event::{Command, Missing, Reply, Status, Transaction, TransactionKind, TransactionOutcome};
use crate::time::Timestamp;

/// Messages of one command that wait for its reply; those beyond are told without it.
const WAITING: usize = 64;

/// What the octets of a literal are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LiteralTarget {
    /// An argument.
    Argument,
    /// A message.
    Message,
    /// Nothing that is looked at.
    #[default]
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppendPosition {
    /// Before the number of the message to replace.
    Number,
    Mailbox,
    /// Between messages: flags, date, data.
    Group,
    Flags,
    Catenate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppendWord {
    None,
    Catenate,
    Text,
    Url,
}

/// One command.
#[derive(Debug)]
pub(super) struct Append {
    verb: Verb,
    began: Timestamp,
    place: AppendPosition,
    word: AppendWord,
    pub(super) mailbox: Text,
    /// The message that flags, date or data are coming in of.
    current: Option<Box<Transaction>>,
    #[expect(clippy::vec_box, reason = "the pool of the session hands out boxes")]
    waiting: Vec<Box<Transaction>>,
    /// Response code of an untagged OK: REPLACE tells its UID there (RFC 8508 section 3.3).
    code: Text,
    /// When the literal header came, and the `+` that answered it.
    header: Option<Timestamp>,
    go: Option<Timestamp>,
    /// When the first octet of the current message came.
    first: Option<Timestamp>,
    /// Why messages of it may not have been seen.
    torn: Option<Missing>,
}

impl Append {
    pub(super) fn new(verb: Verb, began: Timestamp) -> Self {
        Self {
            verb,
            began,
            place: if verb == Verb::Append { AppendPosition::Mailbox } else { AppendPosition::Number },
            word: AppendWord::None,
            mailbox: Text::default(),
            current: None,
            waiting: Vec::new(),
            code: Text::default(),
            header: None,
            go: None,
            first: None,
            torn: None,
        }
    }

    /// The text between two literals, or before the end of the line.
    pub(super) fn text(&mut self, text: &[u8], cx: &mut EventContext<'_>) {
        for token in Tokens::new(text) {
            match (self.place, token) {
                (AppendPosition::Number, _) => self.place = AppendPosition::Mailbox,
                (AppendPosition::Mailbox, token) => {
                    command::name(&token, &mut self.mailbox);
                    self.place = AppendPosition::Group;
                }
                (AppendPosition::Group, Token::Open) if self.word == AppendWord::Catenate => {
                    self.place = AppendPosition::Catenate;
                }
                (AppendPosition::Group, Token::Open) => {
                    let flags = self.word == AppendWord::None;
                    self.place = if flags { AppendPosition::Flags } else { AppendPosition::Group };
                    self.word = AppendWord::None;
                }
                (AppendPosition::Group, Token::Quoted(date)) => self.current(cx).internal_date.set(date),
                (AppendPosition::Group, token @ Token::Atom(_)) => {
                    self.word = if token.is(b"CATENATE") { AppendWord::Catenate } else { AppendWord::Text };
                }
                (AppendPosition::Flags, Token::Atom(flag)) => {
                    let transaction = self.current(cx);
                    if transaction.flags.octets() + flag.len() <= cx.limits.line {
                        transaction.flags.push(flag);
                    } else {
                        transaction.incomplete.add(Missing::Truncated);
                    }
                }
                (AppendPosition::Flags, Token::Close) => self.place = AppendPosition::Group,
                (AppendPosition::Catenate, Token::Close) => {
                    self.place = AppendPosition::Group;
                    self.word = AppendWord::None;
                    self.end_message(true, cx);
                }
                (AppendPosition::Catenate, token @ Token::Atom(_)) => {
                    self.word = if token.is(b"URL") { AppendWord::Url } else { AppendWord::Text };
                }
                (AppendPosition::Catenate, Token::Quoted(_) | Token::Literal(_) | Token::Dropped)
                    if self.word == AppendWord::Url =>
                {
                    // What the URL stands for is in the message, but not on the wire.
                    self.begin_message(cx);
                    self.current(cx).message.gap_unknown();
                }
                _ => {}
            }
        }
    }

    /// A literal of `octets` is announced: what it will be.
    pub(super) fn literal(&mut self, octets: u64, cx: &mut EventContext<'_>) -> LiteralTarget {
        match (self.place, self.word) {
            (AppendPosition::Number | AppendPosition::Mailbox, _) | (AppendPosition::Catenate, AppendWord::Url) => {
                LiteralTarget::Argument
            }
            (AppendPosition::Flags, _) => LiteralTarget::Nothing,
            (AppendPosition::Group | AppendPosition::Catenate, _) => {
                let whole = self.place == AppendPosition::Group;
                self.header = Some(cx.stamp.at);
                self.go = None;
                let transaction = self.current(cx);
                if whole {
                    transaction.declared_size = Some(octets);
                }
                LiteralTarget::Message
            }
        }
    }

    /// The server wants the literal.
    pub(super) fn go_ahead(&mut self, at: Timestamp) {
        self.go = Some(at);
        let header = self.header;
        if let Some(transaction) = &mut self.current {
            transaction.timing.data_go = header.and_then(|header| at.since(header));
        }
    }

    /// Octets of a message literal.
    pub(super) fn octets(&mut self, octets: &[u8], last: bool, cx: &mut EventContext<'_>) {
        self.begin_message(cx);
        let Some(transaction) = &mut self.current else { return };
        if !octets.is_empty() {
            cx.body(transaction, octets);
        }
        self.moved(last, cx);
    }

    /// Octets of a message literal that were not seen.
    pub(super) fn lost(&mut self, octets: u64, last: bool, cx: &mut EventContext<'_>) {
        self.begin_message(cx);
        let Some(transaction) = &mut self.current else { return };
        transaction.message.gap(octets);
        transaction.incomplete.add(Missing::ClientGap);
        self.moved(last, cx);
    }

    fn moved(&mut self, last: bool, cx: &mut EventContext<'_>) {
        if let Some(transaction) = &mut self.current {
            transaction.ended = cx.stamp.at;
        }
        if last && self.place == AppendPosition::Group {
            self.end_message(true, cx);
        }
    }

    /// An untagged OK had the response code `code`.
    pub(super) fn told(&mut self, code: &[u8], cap: usize) {
        if Ids::of(code).is_some() {
            self.code.set(code.get(..cap.min(code.len())).unwrap_or_default());
        }
    }

    /// The command is over, or the client's place in it was lost: an open message ends here.
    pub(super) fn cut(&mut self, missing: Option<Missing>, cx: &mut EventContext<'_>) {
        if let Some(missing) = missing {
            self.torn.get_or_insert(missing);
            for transaction in self.waiting.iter_mut().chain(&mut self.current) {
                transaction.incomplete.add(missing);
            }
        }
        if self.current.is_some() {
            self.end_message(false, cx);
        }
    }

    /// The reply is in, or will not come: every message of the command is told.
    pub(super) fn finish(
        mut self,
        outcome: TransactionOutcome,
        reply: &Reply,
        answered: bool,
        cx: &mut EventContext<'_>,
    ) {
        self.cut(None, cx);
        if let Some(missing) = self.torn.filter(|_| answered) {
            let named = self.ids(reply).map_or(1, |mut ids| std::iter::from_fn(|| ids.next()).take(WAITING).count());
            self.unseen(named, missing, cx);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut ids = self.ids(reply);
        for mut transaction in waiting.drain(..) {
            transaction.outcome = outcome;
            if answered && transaction.has_message {
                transaction.timing.reply = cx.stamp.at.since(transaction.ended);
            }
            if outcome == TransactionOutcome::Accepted
                && let Some(ids) = &mut ids
            {
                transaction.uid_validity = Some(ids.validity);
                transaction.uid = ids.next();
            }
            transaction.last.status = reply.status;
            transaction.last.response_code.copy_from(&reply.response_code);
            transaction.last.text.copy_from(&reply.text);
            cx.transaction(transaction);
        }
    }

    /// The UIDs that `reply`, or an untagged OK before it, names.
    fn ids<'a>(&'a self, reply: &'a Reply) -> Option<Ids<'a>> {
        Ids::of(reply.response_code.as_bytes()).or_else(|| Ids::of(self.code.as_bytes()))
    }

    /// Lets go of what will not be told.
    pub(super) fn forget(self, cx: &mut EventContext<'_>) {
        for transaction in self.waiting.into_iter().chain(self.current).rev() {
            cx.session.forget(transaction);
        }
    }

    /// Messages of the command that were lost, for it brought `count` in all: the server says so.
    fn unseen(&mut self, count: usize, missing: Missing, cx: &mut EventContext<'_>) {
        while self.waiting.len() < count {
            let transaction = self.current(cx);
            transaction.incomplete.add(missing);
            transaction.ended = cx.stamp.at;
            self.waiting.extend(self.current.take());
        }
    }

    fn current(&mut self, cx: &mut EventContext<'_>) -> &mut Transaction {
        let Self { current, mailbox, verb, began, .. } = self;
        current.get_or_insert_with(|| {
            let mut transaction = cx.session.transaction(TransactionKind::Append, *began);
            transaction.verb = Some(*verb);
            transaction.mailbox.copy_from(mailbox);
            transaction
        })
    }

    fn begin_message(&mut self, cx: &mut EventContext<'_>) {
        let go = self.go.take();
        let at = cx.stamp.at;
        let (hash, header) = (cx.limits.hash, cx.limits.header);
        let transaction = self.current(cx);
        if transaction.has_message {
            return;
        }
        transaction.has_message = true;
        transaction.message.begin(hash, header);
        transaction.timing.data_idle = go.and_then(|go| at.since(go));
        self.first = Some(at);
    }

    fn end_message(&mut self, complete: bool, cx: &mut EventContext<'_>) {
        let Some(mut transaction) = self.current.take() else { return };
        if transaction.has_message {
            transaction.message.finish(complete);
            transaction.timing.transfer = self.first.take().and_then(|first| transaction.ended.since(first));
        }
        self.waiting.push(transaction);
        if self.waiting.len() > WAITING {
            let mut oldest = self.waiting.remove(0);
            oldest.outcome = TransactionOutcome::Unknown;
            oldest.incomplete.add(Missing::Truncated);
            cx.transaction(oldest);
        }
    }
}

/// What a tagged reply with `status` says of an append.
pub(super) fn outcome(status: Status) -> TransactionOutcome {
    if status == Status::Ok { TransactionOutcome::Accepted } else { TransactionOutcome::Error }
}

/// Whether `reply` names the messages that an append brought.
pub(super) fn names_messages(reply: &Reply) -> bool {
    Ids::of(reply.response_code.as_bytes()).is_some()
}

/// UIDVALIDITY and UIDs of a response code (RFC 4315 section 3).
struct Ids<'a> {
    validity: u64,
    set: std::slice::Split<'a, u8, fn(&u8) -> bool>,
    range: (u64, u64),
}

impl<'a> Ids<'a> {
    fn of(code: &'a [u8]) -> Option<Self> {
        let (name, rest) = super::lex::word(code);
        if !name.eq_ignore_ascii_case(b"APPENDUID") {
            return None;
        }
        let (validity, set) = super::lex::word(rest);
        let comma: fn(&u8) -> bool = |o| *o == b',';
        Some(Self { validity: super::lex::number(validity)?, set: set.split(comma), range: (1, 0) })
    }

    fn next(&mut self) -> Option<u64> {
        if self.range.0 > self.range.1 {
            let mut ends = self.set.next()?.splitn(2, |o| *o == b':');
            let first = super::lex::number(ends.next()?)?;
            let last = ends.next().map_or(Some(first), super::lex::number)?;
            self.range = (first.min(last), first.max(last));
        }
        let uid = self.range.0;
        self.range.0 = uid.checked_add(1)?;
        Some(uid)
    }
}

/// Mailbox and flags of an append as arguments.
pub(super) fn name_of_append(append: &Append, command: &mut Command) {
    if append.mailbox.is_present() {
        command.mailbox.copy_from(&append.mailbox);
        command.args.copy_from(&append.mailbox);
    }
}
