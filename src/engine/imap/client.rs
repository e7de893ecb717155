//! The client's side: logical lines over literals, and what of them is an argument, a message or a secret.

use super::append::{Append, LiteralTarget};
use super::command::{self, Asked};
use super::lex::{self, Token, Tokens};
use super::sets::Set;
use super::{CommandTask, CommandWait, Flight, Imap, has_tag, suspect};
use crate::engine::frame::{FramingMode, Line};
use crate::engine::pending::Waiting;
use crate::engine::sasl::{AuthCommand, Exchange};
use crate::engine::session::state::EventContext;
use crate::event::Dir;
use crate::event::Verb;
use crate::event::{AuthMethod, Command, Missing, Status, TransactionOutcome};

/// What the client's next line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ExpectedLine {
    /// A command, or DONE.
    #[default]
    Command,
    /// More of the command that is being read.
    More,
    /// More of a command that is completed already.
    Discard,
    /// A response of a SASL exchange.
    Sasl,
    /// The same, or a command: the server's answer was not seen.
    SaslMaybe,
}

/// The client's side.
#[derive(Debug, Default)]
pub(super) struct ImapClient {
    pub(super) expect: ExpectedLine,
    /// The logical line so far, without tag and verb, literals in it as `lex` has them.
    line: Vec<u8>,
    /// Where in it the current literal begins.
    literal_at: usize,
    /// What the octets of the current literal are.
    pub(super) target: LiteralTarget,
    /// The last command in flight is not read to its end.
    pub(super) reading: bool,
    /// Nothing of the current literal came yet, and the go-ahead for it was not seen.
    pub(super) untouched: bool,
    /// The line so far ends with a whole literal.
    whole: bool,
    /// Whether the bytes that wait are a literal is in doubt: the client does not wait for the answer.
    pub(super) doubtful: bool,
    /// The mode waits for the server.
    pub(super) awaiting: bool,
    /// Authentication was refused: what is no command may still be a credential.
    pub(super) armed: bool,
    /// Octets were lost: a command is one when the server completes it.
    pub(super) lost: bool,
    /// The next line may lack its head.
    pub(super) broken: bool,
    /// Form of the last tag.
    pub(super) form: Option<(usize, bool)>,
    truncated: bool,
}

impl ImapClient {
    /// `certain`: the connection's start was seen.
    pub(super) fn new(certain: bool) -> Self {
        Self { lost: !certain, broken: !certain, ..Self::default() }
    }

    /// Whether message data is moving.
    pub(super) fn is_moving(&self) -> bool {
        self.reading && self.target == LiteralTarget::Message && self.expect == ExpectedLine::More && !self.awaiting
    }

    pub(super) fn shrink(&mut self) {
        if !self.reading && self.expect != ExpectedLine::Discard {
            self.line.clear();
        }
        self.line.shrink_to_fit();
    }

    /// The server confirmed a command: the client's place is known again.
    pub(super) fn found_again(&mut self) {
        self.lost = false;
    }

    /// The argument that a literal is bringing will not be known.
    pub(super) fn drop_argument(&mut self) {
        self.line.truncate(self.literal_at);
        lex::drop_literal(&mut self.line);
        self.target = LiteralTarget::Nothing;
    }

    /// What the next octets are depends on the server's answer.
    fn wait(&mut self, cx: &mut EventContext<'_>) {
        self.awaiting = true;
        cx.switch(Dir::ToServer, FramingMode::Await);
    }
}

impl Imap {
    pub(super) fn client_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        self.believe(cx);
        self.trust(cx.stamp.peer, cx);
        let broken = std::mem::take(&mut self.client.broken);
        match self.client.expect {
            ExpectedLine::Command => self.command_line(line, broken, cx),
            ExpectedLine::More => {
                // `suspect_read` looks at the whole of it.
                cx.session.secrets.settle_line();
                self.count_client(line.wire, cx);
                self.text(line.octets, line.truncated, cx);
            }
            ExpectedLine::Discard => match lex::client_literal(line.octets) {
                Some(header) if !header.sync => cx.switch(Dir::ToServer, FramingMode::Octets(header.octets)),
                _ => self.client.expect = ExpectedLine::Command,
            },
            ExpectedLine::Sasl => self.sasl_line(line, cx),
            ExpectedLine::SaslMaybe => {
                if broken || is_base64(line.octets) {
                    self.sasl_line(line, cx);
                } else {
                    self.exchange_left();
                    self.command_line(line, broken, cx);
                }
            }
        }
    }

    pub(super) fn client_octets(&mut self, octets: &[u8], last: bool, cx: &mut EventContext<'_>) {
        self.client.untouched = false;
        self.count_client(octets.len() as u64, cx);
        match self.client.target {
            LiteralTarget::Argument => {
                self.client.line.extend_from_slice(octets);
                self.client.whole = last;
            }
            LiteralTarget::Message => {
                if let Some(append) = self.append() {
                    append.octets(octets, last, cx);
                }
            }
            LiteralTarget::Nothing if self.client.expect == ExpectedLine::Discard => {
                let room = cx.limits.literal_argument.saturating_sub(self.client.line.len());
                self.client.line.extend_from_slice(octets.get(..room.min(octets.len())).unwrap_or_default());
                if last {
                    cx.session.secrets.suspect(&self.client.line);
                    self.client.line.clear();
                }
            }
            LiteralTarget::Nothing => {}
        }
    }

    /// The client's octets go on as `mode`, if they waited.
    pub(super) fn resume(&mut self, mode: FramingMode, cx: &mut EventContext<'_>) {
        if std::mem::take(&mut self.client.awaiting) {
            cx.switch(Dir::ToServer, mode);
        }
    }

    /// The go-ahead for a literal of `octets` came.
    pub(super) fn literal_wanted(&mut self, octets: u64, cx: &mut EventContext<'_>) {
        self.client.untouched = false;
        if let Some(waiting) = self.pending.back_mut().filter(|_| self.client.doubtful) {
            waiting.kind.wait = CommandWait::Nothing;
        }
        if let Some(append) = self.append() {
            append.go_ahead(cx.stamp.at);
        }
        self.resume(FramingMode::Octets(octets), cx);
    }

    /// Whether an answer with `tag` and `status` shows that the server took the bytes that wait for a literal: it did not
    /// refuse the line for its quotes.
    pub(super) fn took_literal(&self, tag: &[u8], status: Status, kept: usize) -> Option<u64> {
        let waiting = self.pending.back().filter(|_| self.client.doubtful && self.client.awaiting)?;
        match waiting.kind.wait {
            CommandWait::Literal(octets) if status != Status::Bad => {
                has_tag(&waiting.command, &waiting.kind, tag, kept).then_some(octets)
            }
            _ => None,
        }
    }

    /// A challenge came.
    pub(super) fn response_wanted(&mut self, cx: &mut EventContext<'_>) {
        self.client.expect = ExpectedLine::Sasl;
        self.resume(FramingMode::Line, cx);
    }

    /// The exchange of the last command is over.
    pub(super) fn exchange_over(&mut self, cx: &mut EventContext<'_>) {
        if matches!(self.client.expect, ExpectedLine::Sasl | ExpectedLine::SaslMaybe) {
            self.client.expect = ExpectedLine::Command;
        }
        self.resume(FramingMode::Line, cx);
    }

    /// The client goes on with a command: the exchange is over, and how is not known.
    fn exchange_left(&mut self) {
        self.client.expect = ExpectedLine::Command;
        if let Some(waiting) = self.pending.iter_mut().rfind(|w| matches!(w.kind.task, CommandTask::Auth(..))) {
            waiting.kind.wait = CommandWait::Nothing;
        }
    }

    /// The command that is being read was completed before its end.
    pub(super) fn reading_refused(&mut self, cx: &mut EventContext<'_>) {
        self.client.reading = false;
        self.client.target = LiteralTarget::Nothing;
        self.client.expect = ExpectedLine::Discard;
        if self.client.awaiting || std::mem::take(&mut self.client.untouched) {
            // The literal was refused: the client goes on with a command.
            self.client.awaiting = false;
            self.client.expect = ExpectedLine::Command;
            cx.switch(Dir::ToServer, FramingMode::Line);
        }
    }

    pub(super) fn append(&mut self) -> Option<&mut Append> {
        let waiting = if self.client.reading { self.pending.back_mut() } else { None };
        match &mut waiting?.kind.task {
            CommandTask::Append(append) => Some(append),
            _ => None,
        }
    }

    pub(super) fn count_client(&mut self, octets: u64, cx: &EventContext<'_>) {
        if self.client.reading
            && let Some(waiting) = self.pending.back_mut()
        {
            let [client, _] = &mut waiting.command.octets;
            *client = client.saturating_add(octets);
            waiting.command.sent = cx.stamp.at;
        }
    }

    fn sasl_line(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let sure = self.client.expect == ExpectedLine::Sasl;
        let found = self.pending.iter_mut().rfind(|w| matches!(w.kind.task, CommandTask::Auth(..)));
        let Some(waiting) = found else {
            cx.session.secrets.learn(line.octets);
            self.client.expect = ExpectedLine::Command;
            return;
        };
        let [client, _] = &mut waiting.command.octets;
        *client += line.wire;
        waiting.command.sent = cx.stamp.at;
        waiting.kind.wait = CommandWait::Challenge;
        if let CommandTask::Auth(exchange, cancelled) = &mut waiting.kind.task {
            *cancelled = !exchange.response(line, &mut cx.session.secrets);
            exchange.answered(cx.stamp.at);
        }
        if sure {
            self.client.wait(cx);
        }
    }

    /// A line that should be a command. `broken`: its head may be missing.
    fn command_line(&mut self, line: &Line<'_>, broken: bool, cx: &mut EventContext<'_>) {
        let octets = line.octets;
        if octets.trim_ascii().eq_ignore_ascii_case(b"DONE") {
            cx.session.secrets.settle_line();
            return self.done(line, cx);
        }
        let (tag, rest) = lex::word(octets);
        let (verb, args) = command::verb(rest);
        let is_tag = lex::is_tag(tag);
        let may_log_in = self.client.armed || self.client.lost && !self.authenticated;
        if may_log_in && (verb == Verb::Other || !is_tag) {
            // What is no command here may be the rest of a failed login.
            cx.session.secrets.learn(octets);
        }
        if verb != Verb::Other && is_tag {
            self.client.armed = false;
        } else if self.client.lost || octets.trim_ascii().is_empty() {
            return;
        }
        if broken && (tag.eq_ignore_ascii_case(b"UID") || !self.has_usual_form(tag)) {
            // The end of a line whose head is lost.
            return;
        }
        let mut command = cx.session.command(line.began, cx.stamp.at);
        command.verb = if is_tag { verb } else { Verb::Other };
        command.octets = [line.wire, 0];
        command.pipelined = self.pending.is_pipelined(cx.stamp);
        if !is_tag || rest.is_empty() {
            // Nothing can answer it.
            cx.command(command);
            return;
        }
        cx.session.secrets.settle_line();
        if verb == Verb::Other {
            cx.session.secrets.suspect(lex::word(rest).0);
            if !suspect::is_plain_tag(tag) {
                cx.session.secrets.suspect(tag);
            }
        }
        command.tag.set(tag.get(..cx.limits.tag.min(tag.len())).unwrap_or_default());
        let task = match verb {
            Verb::Append | Verb::Replace | Verb::UidReplace => {
                CommandTask::Append(Box::new(Append::new(verb, line.began)))
            }
            Verb::Fetch | Verb::UidFetch => CommandTask::Fetch(Asked::default(), 0),
            Verb::Idle => CommandTask::Idle(None, None),
            _ => CommandTask::Plain,
        };
        self.make_room(cx);
        self.stop_waiting_for_idle();
        self.client.form = Some(lex::form(tag));
        let (hidden, unsure) = (verb == Verb::Other, self.client.lost);
        let flight = Flight { hidden, unsure, task, ..Flight::new(tag, cx.stamp.peer) };
        self.pending.push(command, flight);
        self.client.reading = true;
        self.client.truncated = false;
        self.client.line.clear();
        self.text(args, line.truncated, cx);
    }

    /// One more command will be in flight: the oldest makes room, if there are too many.
    pub(super) fn make_room(&mut self, cx: &mut EventContext<'_>) {
        if self.pending.len() >= cx.limits.in_flight
            && let Some(mut oldest) = self.pending.pop()
        {
            oldest.command.incomplete.add(Missing::Truncated);
            self.abandon(oldest, TransactionOutcome::Unknown, cx);
        }
    }

    /// A client that sends a command where it would have to send DONE does not wait for IDLE any more.
    fn stop_waiting_for_idle(&mut self) {
        for waiting in self.pending.iter_mut() {
            if waiting.kind.wait == CommandWait::Idle && matches!(waiting.kind.task, CommandTask::Idle(_, None)) {
                waiting.kind.wait = CommandWait::Nothing;
            }
        }
    }

    /// Text of the command that is being read: up to a literal, or to its end.
    fn text(&mut self, text: &[u8], truncated: bool, cx: &mut EventContext<'_>) {
        let Some(waiting) = self.pending.back_mut() else { return };
        self.client.truncated |= truncated;
        self.client.whole = false;
        // RFC 4422: a SASL response is base64, whatever it ends with.
        let header = if waiting.command.verb == Verb::Authenticate { None } else { lex::literal(text) };
        let text = text.get(..header.map_or(text.len(), |h| h.start)).unwrap_or_default();
        let line = &mut self.client.line;
        let room = cx.limits.line_imap.saturating_sub(line.len());
        self.client.truncated |= text.len() > room;
        line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        let Some(header) = header else { return self.command_read(cx) };
        waiting.command.literals = waiting.command.literals.saturating_add(1);
        let mut target = LiteralTarget::Argument;
        if let CommandTask::Append(append) = &mut waiting.kind.task {
            append.text(line, cx);
            line.clear();
            target = append.literal(header.octets, cx);
        }
        let kept = header.octets <= cx.limits.literal_argument as u64 && line.len() < cx.limits.line_imap;
        if target == LiteralTarget::Argument && !kept {
            target = LiteralTarget::Nothing;
        }
        self.client.literal_at = line.len();
        match target {
            LiteralTarget::Argument => lex::keep_literal(line, header.octets),
            LiteralTarget::Nothing => lex::drop_literal(line),
            LiteralTarget::Message => {}
        }
        self.client.target = target;
        self.client.expect = ExpectedLine::More;
        // Behind a quote that is open, some servers count the bytes and some refuse the line, and read what follows as
        // commands: the answer tells.
        self.client.doubtful = !header.sync && lex::ends_quoted(text);
        if header.sync || self.client.doubtful {
            waiting.kind.wait = CommandWait::Literal(header.octets);
            self.client.wait(cx);
        } else {
            cx.switch(Dir::ToServer, FramingMode::Octets(header.octets));
        }
    }

    /// The last command is read to its end.
    fn command_read(&mut self, cx: &mut EventContext<'_>) {
        self.client.expect = ExpectedLine::Command;
        self.client.reading = false;
        let Some(waiting) = self.pending.back_mut() else { return };
        let command = &mut waiting.command;
        command.sent = cx.stamp.at;
        if self.client.truncated {
            command.incomplete.add(Missing::Truncated);
        }
        let line = &self.client.line;
        match command.verb {
            Verb::Login => {
                let exchange = login(line, command, cx);
                waiting.kind.task = CommandTask::Auth(Box::new(exchange), false);
            }
            Verb::Authenticate => {
                let exchange = Exchange::sasl(line, opening(command), &mut cx.session.secrets);
                waiting.kind.task = CommandTask::Auth(Box::new(exchange), false);
                waiting.kind.wait = CommandWait::Challenge;
                self.client.wait(cx);
            }
            Verb::StartTls => {
                cx.session.tls.requested = Some(true);
                self.client.wait(cx);
            }
            Verb::Compress | Verb::Unauthenticate => {
                command.args.set(line.get(..line.len().min(64)).unwrap_or_default());
                self.client.wait(cx);
            }
            Verb::Idle => waiting.kind.wait = CommandWait::Idle,
            Verb::Logout => cx.session.quit_sent = true,
            Verb::Append | Verb::Replace | Verb::UidReplace => {
                if let CommandTask::Append(append) = &mut waiting.kind.task {
                    append.text(line, cx);
                    append.cut(None, cx);
                    super::append::name_of_append(append, command);
                }
            }
            verb => {
                if verb == Verb::Id
                    && let Some(name) = command::software(line)
                {
                    cx.session.software.get_or_insert_default().client.set(&name);
                }
                suspect::arguments(verb, line, command::shown(verb, line), &mut cx.session.secrets);
                arguments(command, &mut waiting.kind, line, cx);
            }
        }
    }

    /// The server has answered `command` before it was read to its end: what there is of it may be repeated.
    pub(super) fn suspect_read(&self, command: &Command, cx: &mut EventContext<'_>) {
        let (verb, line) = (command.verb, &self.client.line);
        if !matches!(verb, Verb::Append | Verb::Replace | Verb::UidReplace) {
            suspect::arguments(verb, line, command::shown(verb, line), &mut cx.session.secrets);
        }
    }

    /// The arguments of a command that was answered before the end of its line: a server that has the last literal need
    /// not wait for what is behind it, and Dovecot does not.
    pub(super) fn arguments_cut(&self, waiting: &mut Waiting<Flight>, cx: &EventContext<'_>) {
        let Waiting { command, kind: flight } = waiting;
        let plain =
            matches!(flight.task, CommandTask::Plain | CommandTask::Fetch(..)) && command.verb != Verb::Authenticate;
        if plain && self.client.whole {
            arguments(command, flight, &self.client.line, cx);
        }
    }

    /// DONE ends the oldest IDLE that has not ended (RFC 2177); it may come before the server's `+` is seen.
    fn done(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        for waiting in self.pending.iter_mut() {
            if let CommandTask::Idle(_, until @ None) = &mut waiting.kind.task {
                *until = Some(cx.stamp.at);
                let [client, _] = &mut waiting.command.octets;
                *client += line.wire;
                return;
            }
        }
    }

    /// LOGIN that was refused before its end: what there is of it is secret.
    pub(super) fn login_cut(&mut self, command: &Command, cx: &mut EventContext<'_>) -> Box<Exchange> {
        let line = std::mem::take(&mut self.client.line);
        let exchange = login(&line, command, cx);
        self.client.line = line;
        Box::new(exchange)
    }
}

/// What `line` tells of a command without a secret.
fn arguments(command: &mut Command, flight: &mut Flight, line: &[u8], cx: &EventContext<'_>) {
    let Command { verb, args, mailbox, incomplete, .. } = command;
    if !command::arguments(*verb, line, cx.limits.line, args, mailbox) && !incomplete.has(Missing::ClientGap) {
        incomplete.add(Missing::Truncated);
    }
    if let CommandTask::Fetch(asked, _) = &mut flight.task {
        *asked = command::asked(line);
    }
    if matches!(verb, Verb::Fetch | Verb::UidFetch | Verb::Store | Verb::UidStore) {
        flight.set = Set::read(line);
    }
}

/// LOGIN's user and password, in any form; if they are not two strings, all is secret.
fn login(line: &[u8], command: &Command, cx: &mut EventContext<'_>) -> Exchange {
    let mut tokens = Tokens::new(line);
    let (mut user, mut password) = (Vec::new(), Vec::new());
    let first = tokens.next();
    let has_user = first.is_some_and(|t| t.string(&mut user));
    let rest = tokens.rest();
    let has_password = tokens.next().is_some_and(|t| t.string(&mut password));
    let secrets = &mut cx.session.secrets;
    let whole = has_password && tokens.next().is_none();
    if !whole {
        secrets.learn(rest.trim_ascii());
        let strings = Tokens::new(rest).filter(|t| !matches!(t, Token::Open | Token::Close)).take(8);
        let mut string = Vec::new();
        for token in strings {
            if token.string(&mut string) {
                secrets.learn(&string);
            }
        }
        password.clear();
        if !has_user {
            user.clear();
        }
    }
    let opening = AuthCommand { sent: cx.stamp.at, ..opening(command) };
    Exchange::plain(AuthMethod::Login, &user, &password, opening, secrets)
}

fn opening(command: &Command) -> AuthCommand {
    let [octets, _] = command.octets;
    AuthCommand { began: command.began, sent: command.sent, octets }
}

/// Whether a client's line can be a response of a SASL exchange.
fn is_base64(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line == b"*" || line.iter().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'='))
}
