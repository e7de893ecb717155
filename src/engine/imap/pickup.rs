//! What is still told by the rest of something that was lost: a command by the head of its line, a message by what the
//! server says of it, DEFLATE by its bytes.

use super::append::{self, Append};
use super::client::ExpectedLine;
use super::response::Response;
use super::server::Headless;
use super::{CommandTask, CommandWait, Flight, Imap, command, lex, response};
use crate::engine::frame::Line;
use crate::engine::inflate;
use crate::engine::session::state::EventContext;
use crate::event::{Dir, Missing, Reply, Status, TransactionKind, TransactionOutcome, Untagged, Verb};

/// Whether `octets` of `dir`, at the start of a line, are DEFLATE with IMAP inside.
pub(in crate::engine) fn is_deflated(dir: Dir, octets: &[u8]) -> bool {
    let Some(text) = inflate::text_of(octets) else { return false };
    let mut lines = text.split_inclusive(|o| *o == b'\n').filter_map(|line| line.strip_suffix(b"\r\n"));
    match dir {
        Dir::ToServer => lines.any(|line| {
            let (tag, rest) = lex::word(line);
            lex::is_tag(tag) && command::verb(rest).0 != Verb::Other
        }),
        Dir::ToClient => lines.any(|line| match response::parse(line) {
            Response::Untagged(_, kind, _) => kind != Untagged::Other,
            Response::Tagged(..) => true,
            Response::Continuation(_) | Response::Other => false,
        }),
    }
}

impl Imap {
    /// The end of `line` is lost. Its tag and its verb are a command all the same, if the server completes it.
    pub(crate) fn cut_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if self.client.expect != ExpectedLine::Command || self.client.broken {
            return;
        }
        let (tag, rest) = lex::word(line.octets);
        let (verb, args) = command::verb(rest);
        if !lex::is_tag(tag) || !self.has_usual_form(tag) || !is_whole(verb, rest, args) {
            return;
        }
        let mut command = cx.session.command(line.began, cx.stamp.at);
        command.verb = verb;
        command.octets = [line.wire, 0];
        command.pipelined = self.pending.is_pipelined(cx.stamp);
        command.tag.set(tag.get(..cx.limits.tag.min(tag.len())).unwrap_or_default());
        command.incomplete.add(Missing::ClientGap);
        let task = match verb {
            Verb::Append | Verb::Replace | Verb::UidReplace => {
                let mut append = Append::new(verb, line.began);
                append.text(whole_words(args), cx);
                append.cut(Some(Missing::ClientGap), cx);
                CommandTask::Append(Box::new(append))
            }
            _ => CommandTask::Plain,
        };
        self.make_room(cx);
        self.pending.push(command, Flight { unsure: true, task, ..Flight::new(tag, cx.stamp.peer) });
    }

    /// A completion of a command that was not seen. `[APPENDUID` says that it was an APPEND, and which messages it brought
    /// (RFC 4315 section 3).
    pub(super) fn completed_unseen(&mut self, tag: &[u8], status: Status, text: &[u8], cx: &mut EventContext<'_>) {
        if !self.client.lost || self.server.doubt > 0 || status != Status::Ok || !self.has_usual_form(tag) {
            return;
        }
        let mut reply = Reply { status: Some(status), ..Reply::default() };
        response::texts(text, cx.limits.reply_text, &mut reply.response_code, &mut reply.text);
        if append::names_messages(&reply) {
            let mut append = Append::new(Verb::Append, cx.stamp.at);
            let missing = if self.certain { Missing::ClientGap } else { Missing::StartMissing };
            append.cut(Some(missing), cx);
            append.finish(TransactionOutcome::Accepted, &reply, true, cx);
        }
    }

    /// A line that is no response came behind a gap: behind the first, which may be the rest of any line, such are text of
    /// a message.
    pub(super) fn rest_of_message(&mut self) {
        self.server.headless = match self.server.headless {
            Headless::No => Headless::No,
            Headless::Gap => Headless::Line,
            Headless::Line | Headless::Message => Headless::Message,
        };
    }

    /// A response begins: what came before it, behind a gap, was the rest of a message that a FETCH had asked for.
    pub(super) fn end_headless(&mut self, cx: &mut EventContext<'_>) {
        if std::mem::take(&mut self.server.headless) != Headless::Message {
            return;
        }
        for waiting in self.pending.iter_mut().filter(|w| w.command.incomplete.has(Missing::ServerGap)) {
            let CommandTask::Fetch(asked, bodies) = &mut waiting.kind.task else { continue };
            if !asked.body {
                continue;
            }
            *bodies = bodies.saturating_add(1);
            let command = &waiting.command;
            let mut transaction = cx.session.transaction(TransactionKind::Retrieval, command.began);
            transaction.verb = Some(command.verb);
            transaction.mailbox.copy_from(&self.selected);
            let number = waiting.kind.set.single();
            match command.verb {
                Verb::UidFetch => transaction.uid = number,
                _ => transaction.message_number = number,
            }
            transaction.incomplete.add(Missing::ServerGap);
            transaction.has_message = true;
            transaction.message.begin(cx.limits.hash, cx.limits.header);
            transaction.message.headless();
            transaction.message.finish(false);
            transaction.outcome = TransactionOutcome::Unknown;
            return cx.transaction(transaction);
        }
    }
}

/// Whether `verb`, with `args` behind it in `rest`, is all of the word that the client sent.
fn is_whole(verb: Verb, rest: &[u8], args: &[u8]) -> bool {
    match verb {
        // What is left of a credential is no credential.
        Verb::Other | Verb::Login | Verb::Authenticate => false,
        Verb::Noop | Verb::Check | Verb::Close | Verb::Unselect | Verb::Expunge | Verb::Logout | Verb::Capability => {
            true
        }
        Verb::StartTls => true,
        _ => !args.is_empty() || rest.last().is_some_and(|o| lex::is_blank(*o)),
    }
}

/// The words of `args` behind which a blank stands: the last one may be cut.
fn whole_words(args: &[u8]) -> &[u8] {
    let end = args.iter().rposition(|o| lex::is_blank(*o)).unwrap_or(0);
    args.get(..end).unwrap_or_default()
}

impl Flight {
    /// A command with `tag` that nothing more is known of yet; the client had received the server's bytes up to `peer`.
    pub(super) fn new(tag: &[u8], peer: u64) -> Self {
        Self {
            tag: tag.len(),
            hidden: false,
            unsure: false,
            peer,
            wait: CommandWait::Nothing,
            set: super::Set::anything(),
            task: CommandTask::Plain,
        }
    }
}
