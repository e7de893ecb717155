//! Lists and messages of a POP3 server: where they begin and end, and what is in them.

use super::answer::maildrop;
use super::body::{BodyContent, Cut, LineAssembler, LineEndEvidence, MultilineReply};
use super::client::without_cr;
use super::grammar::{self, Indicator};
use super::unseen;
use super::{Ask, Doubt, Pop3, QueuedCommand};
use crate::engine::frame::{FramingMode, Line, LineEnding};
use crate::engine::pending::{ReplyArrival, Waiting};
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Verb};
use crate::event::{Missing, TlsMode, Transaction, TransactionKind, TransactionOutcome};

/// Bytes that show a message although neither its beginning nor its end was seen: a header alone has more.
const FEW: u64 = 256;

impl Pop3 {
    /// Octets of a message or list, stuffing removed.
    pub(super) fn text(&mut self, octets: &[u8], cx: &mut EventContext<'_>) {
        let Some(body) = &mut self.body else { return };
        body.began.get_or_insert(cx.stamp.at);
        match &mut body.content {
            BodyContent::Message(transaction) => {
                body.ends.read(octets);
                cx.body(transaction, octets);
            }
            BodyContent::Capabilities(lines) => lines.octets(octets, cx.limits.capabilities, 0),
            BodyContent::Sizes(lines) => lines.octets(octets, 0, cx.limits.listed),
            BodyContent::Other => {}
        }
    }

    /// A dot of the text behind LF alone.
    pub(super) fn loose_dot(&mut self, cx: &mut EventContext<'_>) {
        match &mut self.body {
            Some(MultilineReply { content: BodyContent::Message(transaction), ends, .. }) => {
                ends.read(b".");
                cx.loose_dot(transaction);
            }
            _ => self.text(b".", cx),
        }
    }

    /// The terminator, as the framer saw it.
    pub(super) fn body_end(&mut self, wire: u64, cx: &mut EventContext<'_>) {
        let Some(body) = &self.body else { return };
        let wire = body.wire + wire;
        self.end(Some(wire), TransactionOutcome::Complete, cx);
    }

    /// The list or message of `entry` begins.
    pub(super) fn begin(
        &mut self,
        entry: Option<Waiting<QueuedCommand>>,
        mut content: BodyContent,
        status: ReplyArrival,
        ending: LineEnding,
        cx: &mut EventContext<'_>,
    ) {
        if let (BodyContent::Message(transaction), Some(waiting)) = (&mut content, &entry) {
            transaction.timing.first_byte = status.first.since(waiting.command.sent);
        }
        if entry.is_none() && matches!(content, BodyContent::Message(_)) {
            self.tell_message();
        }
        let cut = match content {
            // Its stuffing is behind LF, where the framer takes a dot for text.
            _ if ending == LineEnding::Lf => Cut::Loose,
            BodyContent::Message(_) => Cut::Dot,
            BodyContent::Capabilities(_) | BodyContent::Sizes(_) | BodyContent::Other => Cut::Listed,
        };
        if cut == Cut::Dot {
            cx.switch(Dir::ToClient, FramingMode::DotLoose);
        }
        self.body = Some(MultilineReply {
            entry,
            content,
            first: status.first,
            status: status.octets,
            start: status.end,
            wire: 0,
            began: None,
            cut,
            ended_by_crlf: true,
            // Who ends its status lines with LF alone will not end its text with CRLF `.` CRLF.
            ends: LineEndEvidence::behind(ending),
            loose: None,
        });
    }

    /// A line of a body that is cut as lines. Returns true if it is a reply after all, and the body is over.
    pub(super) fn body_line(&mut self, line: &Line<'_>, broken: bool, cx: &mut EventContext<'_>) -> bool {
        let Some(body) = &mut self.body else { return true };
        let bare = without_cr(line.octets);
        let head = grammar::head(bare);
        let status = matches!(head, Some(Indicator::Ok(_) | Indicator::Err(_)));
        let (start, cut) = (body.start, body.cut);
        let waits = |after| self.pending.front().is_some_and(|w| w.kind.peer >= after);
        let asks = |w: &Waiting<QueuedCommand>| matches!(w.kind.ask, Ask::Auth);
        let challenge = matches!(head, Some(Indicator::Challenge(_))) && self.pending.front().is_some_and(asks);
        if (status || challenge) && matches!(cut, Cut::Torn(_)) && waits(start) {
            // The end was among what is lost, and a command waits for exactly this.
            self.end(None, TransactionOutcome::Unknown, cx);
            return true;
        }
        if status && cut == Cut::Listed && waits(0) {
            self.end(Some(line.start.saturating_sub(start)), TransactionOutcome::Complete, cx);
            return true;
        }
        let listed = matches!(cut, Cut::Loose | Cut::Listed) || body.ends.loose_server;
        if bare == b"." && !broken && (listed || body.ended_by_crlf) {
            self.end(Some(line.end().saturating_sub(start)), TransactionOutcome::Complete, cx);
            return false;
        }
        body.ended_by_crlf = line.ending != LineEnding::Lf;
        self.text_line(line, !broken, cx);
        false
    }

    /// Hands on a line of text; `whole`: its head is there, so that stuffing can be removed.
    fn text_line(&mut self, line: &Line<'_>, whole: bool, cx: &mut EventContext<'_>) {
        let text = if whole { line.octets.strip_prefix(b".").unwrap_or(line.octets) } else { line.octets };
        self.text(text, cx);
        let end: &[u8] = match line.ending {
            LineEnding::Crlf | LineEnding::MultiCr => b"\r\n",
            LineEnding::Lf => b"\n",
            LineEnding::None => b"",
        };
        let kept = line.octets.len() as u64 + end.len() as u64;
        if line.truncated
            && let Some(MultilineReply { content: BodyContent::Message(transaction), .. }) = &mut self.body
        {
            transaction.message.gap(line.wire.saturating_sub(kept));
            transaction.incomplete.add(Missing::Truncated);
        }
        self.text(end, cx);
    }

    /// The body is over: `wire` octets of it with the terminator, `None` if that was not seen.
    pub(super) fn end(&mut self, wire: Option<u64>, outcome: TransactionOutcome, cx: &mut EventContext<'_>) {
        let Some(body) = self.body.take() else { return };
        let MultilineReply { entry, content, first, status, start, began, cut, .. } = body;
        if let Cut::Torn(gap) = cut
            && self.pending.front().is_some_and(|w| w.kind.peer < start)
        {
            // Its end, and replies to what was sent along, may be among what is lost.
            self.lose_replies(gap);
        }
        let octets = wire.unwrap_or(0);
        let arrival = ReplyArrival { first, last: cx.stamp, octets: status + octets, end: start + octets };
        // Lines of an unseen beginning and without an end may be anything, unless they are many.
        let doubtful = entry.is_none() && wire.is_none();
        let retr = entry.as_ref().is_some_and(|w| w.command.verb == Verb::Retr);
        match entry {
            Some(Waiting { mut command, .. }) => {
                if wire.is_some() {
                    self.pending.answer(&mut command, arrival);
                }
                self.lost = false;
                if wire.is_none() || command.reply.status.is_none() {
                    command.incomplete.merge(unseen(cx));
                }
                cx.command(command);
            }
            None => self.pending.note(arrival),
        }
        match content {
            BodyContent::Message(transaction) if doubtful && transaction.message.size() < FEW => {
                cx.session.forget(transaction);
            }
            BodyContent::Message(mut transaction) => {
                transaction.message.finish(wire.is_some());
                transaction.wire_size = wire.filter(|_| transaction.message.size_known());
                transaction.timing.transfer = cx.stamp.at.since(began.unwrap_or(cx.stamp.at));
                transaction.outcome = outcome;
                if retr && wire.is_some() {
                    let (messages, octets) = &mut maildrop(cx).retrieved;
                    *messages = messages.saturating_add(1);
                    *octets = octets.saturating_add(transaction.message.size());
                }
                cx.transaction(transaction);
            }
            BodyContent::Capabilities(lines) if wire.is_some() => self.capabilities(lines, cx),
            BodyContent::Sizes(lines) if wire.is_some() && lines.odd == 0 => {
                maildrop(cx).size.get_or_insert(lines.sizes);
                self.listed = lines.listed;
            }
            BodyContent::Capabilities(_) | BodyContent::Sizes(_) | BodyContent::Other => {}
        }
    }

    fn capabilities(&mut self, lines: LineAssembler, cx: &mut EventContext<'_>) {
        if lines.truncated {
            cx.missing(Missing::Truncated);
        }
        let has = |word: &[u8]| lines.kept.iter().any(|line| line == word);
        self.response_codes = has(b"RESP-CODES");
        if cx.session.tls_mode() == TlsMode::StartTls {
            return;
        }
        if cx.session.tls.mode.is_none() {
            cx.session.starttls_listed(has(b"STLS"));
        }
        cx.session.capabilities = lines.kept;
    }

    /// After `+OK` in doubt came `line`, which is no reply: a list.
    pub(super) fn list_after_all(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(Doubt { mut entry, status, loose }) = self.doubt.take() else { return };
        if let Some(Waiting { command, .. }) = &mut entry {
            // What the status line added comes again with the whole.
            let [_, octets] = &mut command.octets;
            *octets = octets.saturating_sub(status.octets);
        }
        let message = entry.is_none() && is_header(line.octets);
        let content = match &entry {
            Some(_) => content(entry.as_ref(), Indicator::Ok(b""), &self.listed, cx),
            None if message => unknown_message(line, false, cx),
            None => BodyContent::Other,
        };
        let ending = if loose { LineEnding::Lf } else { line.ending };
        self.begin(entry, content, status, ending, cx);
        self.first_line(line, cx);
    }

    /// The first line of a body, which came before it was known for one.
    pub(super) fn first_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(body) = &mut self.body else { return };
        body.wire = line.wire;
        if without_cr(line.octets) == b"." {
            cx.switch(Dir::ToClient, FramingMode::Line);
            return self.end(Some(line.wire), TransactionOutcome::Complete, cx);
        }
        self.text_line(line, true, cx);
    }
}

/// Whether `line` can be the first of a message: a field name and a colon.
fn is_header(line: &[u8]) -> bool {
    let name = line.iter().take_while(|o| o.is_ascii_graphic() && **o != b':').count();
    name > 0 && line.get(name) == Some(&b':')
}

/// What follows the `+OK` to this command.
pub(super) fn content(
    waiting: Option<&Waiting<QueuedCommand>>,
    head: Indicator<'_>,
    listed: &[u32],
    cx: &mut EventContext<'_>,
) -> BodyContent {
    let Some(Waiting { command, kind }) = waiting else { return BodyContent::Other };
    match command.verb {
        Verb::Capa => BodyContent::Capabilities(LineAssembler::default()),
        Verb::List => BodyContent::Sizes(LineAssembler::default()),
        Verb::Retr | Verb::Top => {
            let mut transaction = cx.session.transaction(TransactionKind::Retrieval, command.began);
            transaction.verb = Some(command.verb);
            transaction.message_number = kind.number;
            transaction.pipelined = command.pipelined;
            transaction.has_message = true;
            transaction.message.begin(cx.limits.hash, cx.limits.header);
            if let (Verb::Retr, Indicator::Ok(text)) = (command.verb, head) {
                let number = kind.number.and_then(|n| usize::try_from(n).ok()?.checked_sub(1));
                let listed = number.and_then(|at| listed.get(at)).filter(|size| **size > 0);
                transaction.declared_size = grammar::announced(text).or_else(|| listed.map(|size| u64::from(*size)));
            }
            transaction.last.copy_from(&command.reply);
            BodyContent::Message(transaction)
        }
        _ => BodyContent::Other,
    }
}

/// A message whose command was not seen; `headless`: nor was its start.
pub(super) fn unknown_message(line: &Line<'_>, headless: bool, cx: &mut EventContext<'_>) -> BodyContent {
    let mut transaction: Box<Transaction> = cx.session.transaction(TransactionKind::Retrieval, line.began);
    transaction.has_message = true;
    transaction.message.begin(cx.limits.hash, cx.limits.header);
    if headless {
        transaction.message.headless();
    }
    transaction.incomplete.add(Missing::StartMissing);
    BodyContent::Message(transaction)
}
