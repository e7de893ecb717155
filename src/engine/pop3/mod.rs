//! POP3 (RFC 1939, 2449, 2595, 5034): what the client asks, what the server answers, which mail went where.
//!
//! Replies carry no tag, so the queue of commands is everything: the command at its head decides whether `+OK` is
//! one line or the first of many. Where the commands do not tell, the line that follows does. The client side and the
//! session's life are here, the server side is in `server`. Must never take a line of a message for a reply.

mod body;
mod grammar;
mod server;
#[cfg(test)]
mod tests;

use super::frame::{Frame, Line, Mode};
use super::pending::{Arrival, Pending, Waiting};
use super::sasl::Exchange;
use super::session::state::EventContext;
use crate::event::Both;
use crate::event::{
    AuthMethod, AuthOutcome, Command, How, Incomplete, Kind, Mechanism, Missing, Outcome, Phase, Reply,
};
use crate::event::{Dir, End, Text, Verb};
use crate::event::{TlsMode, Transaction};
use crate::time::Timestamp;
use body::{Body, Content, Cut};

/// What is remembered with a command that waits.
#[derive(Debug)]
struct Entry {
    ask: Ask,
    /// Message number.
    number: Option<u64>,
    /// Octets of the server that the client had received when it sent the command.
    peer: u64,
    /// Commands before it were lost.
    after_gap: bool,
}

/// What the answer to a command will mean.
#[derive(Debug)]
enum Ask {
    /// One line, without further meaning.
    Single,
    User,
    /// PASS or APOP.
    Login(Box<Exchange>),
    /// AUTH with a mechanism; the exchange is [`Pop3::exchange`].
    Auth,
    Stls,
    Stat,
    Dele,
    Rset,
    Quit,
    /// RETR or TOP.
    Message,
    /// A list.
    List,
    /// One line or a list: the next line will tell.
    Maybe,
    /// XTND XMIT.
    Xmit,
}

/// What the client's next line is.
#[derive(Debug)]
enum Expects {
    Command,
    /// A SASL response.
    Response,
    /// NTLM was answered `+OK`: a response if that was a challenge (MS-OXPOP3 section 3.2.5.1), else a command.
    Ntlm(Arrival),
    /// What the server said in the exchange was lost: a response if it looks like one, else a command.
    Either,
    /// A SASL response of an exchange whose start was not seen.
    Stray,
}

/// A `+OK` that may or may not be the first line of a list.
#[derive(Debug)]
struct Doubt {
    entry: Option<Waiting<Entry>>,
    status: Arrival,
    loose: bool,
}

/// A message on its way by XTND XMIT.
#[derive(Debug)]
struct Xmit {
    transaction: Box<Transaction>,
    /// Time of its first octet.
    began: Option<Timestamp>,
    /// Time of its end.
    sent: Option<Timestamp>,
}

/// State of a session.
#[derive(Debug)]
pub(crate) struct Pop3 {
    certain: bool,
    greeted: bool,
    /// Lines of the client, and of either side, were seen.
    client_seen: bool,
    begun: bool,
    pending: Pending<Entry>,
    body: Option<Body>,
    doubt: Option<Doubt>,
    exchange: Option<Exchange>,
    expects: Expects,
    user: Text,
    xmit: Option<Xmit>,
    /// An attempt failed: what is no command now may be a secret that came too late.
    armed: bool,
    /// The server announced RESP-CODES.
    response_codes: bool,
    /// Stream offset after the server's last gap, while it is not known which replies were in it.
    server_gap: Option<u64>,
    /// The next command is the first after a gap.
    client_gap: bool,
    /// The next line may lack its head.
    broken: Both<bool>,
}

impl Pop3 {
    /// `certain`: the connection's start was seen.
    pub(crate) fn new(certain: bool) -> Self {
        Self {
            certain,
            greeted: !certain,
            client_seen: false,
            begun: false,
            pending: Pending::default(),
            body: None,
            doubt: None,
            exchange: None,
            expects: Expects::Command,
            user: Text::default(),
            xmit: None,
            armed: false,
            response_codes: false,
            server_gap: None,
            client_gap: false,
            broken: Both::default(),
        }
    }

    /// Gives back room that is not needed while the session stands still.
    pub(crate) fn shrink(&mut self) {
        self.pending.shrink();
        self.user.shrink();
    }

    /// What the session is doing.
    pub(crate) fn phase(&self) -> Phase {
        let message = self.body.as_ref().is_some_and(|b| matches!(b.content, Content::Message(_)));
        let login = |w: &Waiting<Entry>| matches!(w.kind.ask, Ask::User | Ask::Login(_) | Ask::Auth);
        if !self.greeted {
            Phase::Greeting
        } else if message || self.xmit.is_some() {
            Phase::Data
        } else if self.exchange.is_some() || self.pending.front().is_some_and(login) {
            Phase::Auth
        } else {
            Phase::Idle
        }
    }

    /// The next frame of `dir`.
    pub(crate) fn frame(&mut self, dir: Dir, frame: &Frame<'_>, cx: &mut EventContext<'_>) {
        match (dir, frame) {
            (Dir::ToServer, Frame::Line(line)) => self.client(line, cx),
            (Dir::ToClient, Frame::Line(line)) => self.server(line, cx),
            (Dir::ToClient, Frame::Body(octets)) => self.text(octets, cx),
            (Dir::ToClient, Frame::BodyEnd { wire, .. }) => self.body_end(*wire, cx),
            (Dir::ToServer, Frame::Body(octets)) => {
                if let Some(xmit) = &mut self.xmit {
                    xmit.began.get_or_insert(cx.stamp.at);
                    cx.body(&mut xmit.transaction, octets);
                }
            }
            (Dir::ToServer, Frame::BodyEnd { wire, .. }) => self.xmit_sent(*wire, cx),
            (_, Frame::Octets { .. } | Frame::Lost { .. } | Frame::LooseEnd { .. } | Frame::Opaque(_)) => {}
        }
        self.begun = true;
    }

    /// `lost` octets of `dir` are missing, up to `scope.offset`.
    pub(crate) fn gap(&mut self, dir: Dir, lost: u64, cx: &mut EventContext<'_>) {
        self.broken[dir] = true;
        match dir {
            Dir::ToServer => {
                self.client_gap = true;
                self.armed = true;
                if let Some(xmit) = self.xmit.as_mut().filter(|x| x.sent.is_none()) {
                    xmit.transaction.message.gap(lost);
                    xmit.transaction.incomplete.add(Missing::ClientGap);
                }
            }
            Dir::ToClient => self.server_lost(lost, cx),
        }
    }

    /// The client's octets `held` wait for an answer that will not come: decides their mode, if they tell enough.
    /// `surely`: no more octets will come to help.
    pub(crate) fn unanswered(&mut self, held: &[u8], surely: bool, cx: &mut EventContext<'_>) {
        let end = held.iter().position(|o| *o == b'\n');
        if end.is_none() && !surely && held.first() != Some(&0x16) {
            return;
        }
        let line = held.get(..end.unwrap_or(held.len())).unwrap_or_default().trim_ascii();
        let command = grammar::words(line).verb != Verb::Other;
        let mut mode = Mode::Line;
        match self.pending.back().map(|w| &w.kind.ask) {
            Some(Ask::Stls) if held.first() == Some(&0x16) => {
                cx.session.tls.mode = Some(TlsMode::StartTls);
                cx.session.opaque = true;
                cx.switch(Dir::ToClient, Mode::Opaque);
                mode = Mode::Opaque;
            }
            Some(Ask::Auth) if !command && end.is_some() && is_response(line) => self.expects = Expects::Response,
            Some(Ask::Auth) => self.give_up(cx),
            Some(Ask::Xmit) if !command && !line.is_empty() => {
                if let Some(Waiting { command, .. }) = self.pending.back() {
                    self.xmit = Some(Xmit::begin(command, cx));
                    mode = Mode::Dot;
                }
            }
            _ => {}
        }
        cx.switch(Dir::ToServer, mode);
    }

    /// The session is over: what is open is emitted. `closed`: how the first side closed, if one did.
    pub(crate) fn finish(&mut self, closed: Option<How>, why: End, cx: &mut EventContext<'_>) {
        self.settle(cx);
        let outcome = match (closed, why) {
            _ if self.server_gap.is_some() || self.is_torn() || cx.session.incomplete.has(Missing::ServerUnseen) => {
                Outcome::Unknown
            }
            (Some(_), _) => Outcome::ConnectionLost,
            (None, End::Timeout) => Outcome::TimedOut,
            _ => Outcome::Unknown,
        };
        if self.body.is_some() {
            self.end(None, outcome, cx);
        }
        if let Some(Xmit { mut transaction, .. }) = self.xmit.take() {
            transaction.message.finish(transaction.wire_size.is_some());
            transaction.outcome = outcome;
            cx.transaction(transaction);
        }
        while let Some(waiting) = self.pending.pop() {
            self.unmatched(waiting, outcome, cx);
        }
        self.give_up(cx);
    }

    /// Whether octets of the body that is going on were lost.
    fn is_torn(&self) -> bool {
        self.body.as_ref().is_some_and(|b| matches!(b.cut, Cut::Torn(_)))
    }

    fn client(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        self.client_seen = true;
        let broken = std::mem::take(&mut self.broken.to_server);
        match std::mem::replace(&mut self.expects, Expects::Command) {
            Expects::Response => return self.respond(line, cx),
            Expects::Ntlm(_) if line.octets.starts_with(b"TlRMTVNT") || line.octets.trim_ascii() == b"*" => {
                return self.respond(line, cx);
            }
            Expects::Either if grammar::words(line.octets).verb == Verb::Other && is_response(line.octets) => {
                return self.respond(line, cx);
            }
            Expects::Either => self.give_up(cx),
            Expects::Ntlm(status) => self.authenticated(status, cx),
            Expects::Stray => return cx.session.secrets.learn(line.octets),
            Expects::Command => {}
        }
        let words = grammar::words(line.octets);
        if words.verb != Verb::Other {
            self.armed = false;
        } else {
            self.learn_unknown(line.octets, words.rest, cx);
            if broken {
                // The tail of a line whose head was lost.
                return;
            }
        }
        self.command(line, &words, cx);
    }

    /// What is no command may be a password in the wrong place.
    fn learn_unknown(&self, line: &[u8], rest: &[u8], cx: &mut EventContext<'_>) {
        if self.armed || grammar::is_base64(line) {
            cx.session.secrets.learn(line);
        }
        if !cx.session.identity.is_present() {
            cx.session.secrets.remember(rest);
        }
    }

    fn respond(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.response(line.octets, &mut cx.session.secrets);
            exchange.answered(cx.stamp.at);
        } else {
            cx.session.secrets.learn(line.octets);
        }
        if let Some(Waiting { command, .. }) = self.pending.front_mut() {
            let [client, _] = &mut command.octets;
            *client += line.wire;
        }
        cx.switch(Dir::ToServer, Mode::Await);
    }

    fn command(&mut self, line: &Line<'_>, words: &grammar::Words<'_>, cx: &mut EventContext<'_>) {
        if self.pending.len() >= cx.limits.pending
            && let Some(mut oldest) = self.pending.pop()
        {
            oldest.command.incomplete.add(Missing::Truncated);
            self.unmatched(oldest, Outcome::Unknown, cx);
        }
        let mut command = cx.session.command(line.began, cx.stamp.at);
        command.verb = words.verb;
        command.pipelined = self.body.is_some() || self.pending.is_pipelined(cx.stamp);
        command.octets = [line.wire, 0];
        if line.truncated {
            command.incomplete.add(Missing::Truncated);
        }
        if let Some(args) = grammar::safe_args(words) {
            command.args.set(args);
        }
        let entry = Entry {
            ask: self.ask(line, words, cx),
            number: grammar::number(words.rest.trim_ascii_start()).map(|(n, _)| n),
            peer: cx.stamp.peer,
            after_gap: std::mem::take(&mut self.client_gap),
        };
        self.pending.push(command, entry);
    }

    /// What the answer to this command will mean; what the command itself means happens here.
    fn ask(&mut self, line: &Line<'_>, words: &grammar::Words<'_>, cx: &mut EventContext<'_>) -> Ask {
        let bare = words.rest.trim_ascii().is_empty();
        match words.verb {
            Verb::User => {
                self.user.set(words.rest.trim_ascii());
                Ask::User
            }
            Verb::Pass => {
                cx.session.secrets.remember(words.rest.trim_ascii());
                self.login(AuthMethod::UserPass, None, words.rest, line, cx)
            }
            Verb::Apop => {
                // The digest has no spaces (RFC 1939 section 7).
                let rest = words.rest.trim_ascii();
                let (name, digest) = match rest.iter().rposition(|o| *o == b' ') {
                    Some(at) => rest.split_at_checked(at).unwrap_or((&[], rest)),
                    None => (&[][..], rest),
                };
                self.login(AuthMethod::Apop, Some(name.trim_ascii()), digest.trim_ascii(), line, cx)
            }
            Verb::Auth if bare => Ask::Maybe,
            Verb::Auth => self.auth(line, words.rest.trim_ascii(), cx),
            Verb::Stls => {
                cx.session.tls.requested = Some(true);
                cx.switch(Dir::ToServer, Mode::Await);
                Ask::Stls
            }
            Verb::Quit => {
                cx.session.quit_sent = true;
                Ask::Quit
            }
            Verb::Stat => Ask::Stat,
            Verb::Dele => Ask::Dele,
            Verb::Rset => Ask::Rset,
            Verb::Retr | Verb::Top => Ask::Message,
            Verb::Capa => Ask::List,
            // Servers differ in whether a space makes an argument.
            Verb::List | Verb::Uidl if words.trailing_space => Ask::Maybe,
            Verb::List | Verb::Uidl if bare => Ask::List,
            Verb::Lang if bare => Ask::Maybe,
            Verb::Xtnd if words.rest.trim_ascii().eq_ignore_ascii_case(b"XMIT") => {
                cx.switch(Dir::ToServer, Mode::Await);
                Ask::Xmit
            }
            Verb::Xtnd | Verb::Other => Ask::Maybe,
            _ => Ask::Single,
        }
    }

    /// USER and PASS, or APOP. No `name`: the one that USER gave.
    fn login(
        &self,
        method: AuthMethod,
        name: Option<&[u8]>,
        secret: &[u8],
        line: &Line<'_>,
        cx: &mut EventContext<'_>,
    ) -> Ask {
        let name = name.unwrap_or(self.user.as_bytes());
        let (at, secrets) = (cx.stamp.at, &mut cx.session.secrets);
        Ask::Login(Box::new(Exchange::plain(method, name, secret, line.began, at, secrets)))
    }

    fn auth(&mut self, line: &Line<'_>, args: &[u8], cx: &mut EventContext<'_>) -> Ask {
        self.give_up(cx);
        let space = args.iter().position(|o| *o == b' ').unwrap_or(args.len());
        let (mechanism, initial) = args.split_at_checked(space).unwrap_or((args, &[]));
        let initial = Some(initial.trim_ascii()).filter(|i| !i.is_empty());
        let at = cx.stamp.at;
        self.exchange = Some(Exchange::sasl(mechanism, initial, line.began, at, &mut cx.session.secrets));
        cx.switch(Dir::ToServer, Mode::Await);
        Ask::Auth
    }

    /// The exchange that is open never came to its end.
    fn give_up(&mut self, cx: &mut EventContext<'_>) {
        let Some(exchange) = self.exchange.take() else { return };
        // Its command may still wait, but no longer for the end of an exchange.
        for waiting in self.pending.iter_mut().filter(|w| matches!(w.kind.ask, Ask::Auth)) {
            waiting.kind.ask = Ask::Single;
        }
        let tls = cx.session.tls_mode();
        let mut auth = exchange.finish(AuthOutcome::Incomplete, Reply::default(), None, tls);
        auth.incomplete = unseen(cx);
        self.armed = true;
        self.expects = Expects::Command;
        cx.auth(auth);
    }

    /// A command whose reply was not seen, or never came.
    fn unmatched(&mut self, waiting: Waiting<Entry>, outcome: Outcome, cx: &mut EventContext<'_>) {
        let Waiting { mut command, kind } = waiting;
        let missing = unseen(cx);
        command.incomplete.merge(missing);
        match kind.ask {
            Ask::Login(exchange) => {
                let tls = cx.session.tls_mode();
                let mut auth = exchange.finish(AuthOutcome::Incomplete, Reply::default(), None, tls);
                auth.incomplete = missing;
                cx.auth(auth);
            }
            Ask::Auth => self.give_up(cx),
            Ask::Message => {
                let mut transaction = cx.session.transaction(Kind::Retrieval, command.began);
                transaction.verb = Some(command.verb);
                transaction.message_number = kind.number;
                transaction.pipelined = command.pipelined;
                transaction.outcome = outcome;
                transaction.incomplete = missing;
                cx.transaction(transaction);
            }
            _ => {}
        }
        cx.command(command);
    }

    fn xmit_sent(&mut self, wire: u64, cx: &EventContext<'_>) {
        if let Some(Xmit { transaction, began, sent }) = &mut self.xmit {
            transaction.message.finish(true);
            transaction.wire_size = Some(wire);
            transaction.timing.transfer = cx.stamp.at.since(began.unwrap_or(cx.stamp.at));
            *sent = Some(cx.stamp.at);
        }
    }
}

impl Xmit {
    /// The message that follows `command`.
    fn begin(command: &Command, cx: &mut EventContext<'_>) -> Self {
        let mut transaction = cx.session.transaction(Kind::Append, command.began);
        transaction.verb = Some(command.verb);
        transaction.has_message = true;
        transaction.message.begin(cx.limits.hash, cx.limits.header);
        Self { transaction, began: None, sent: None }
    }
}

/// What may have hidden a reply.
fn unseen(cx: &EventContext<'_>) -> Incomplete {
    let mut missing = Incomplete::NONE;
    for what in [Missing::ServerGap, Missing::ServerUnseen] {
        if cx.session.incomplete.has(what) {
            missing.add(what);
        }
    }
    missing
}

/// Whether `line` can be a SASL response: base64, empty, or one of the signs.
fn is_response(line: &[u8]) -> bool {
    matches!(line, b"*" | b"") || line.iter().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'='))
}

/// Whether `+OK` in answer to this exchange may be a challenge.
fn may_be_ntlm(exchange: &Exchange) -> bool {
    exchange.mechanism() == Some(Mechanism::Ntlm) && exchange.data() == 0
}
