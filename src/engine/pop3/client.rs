//! POP3's client side: commands, the responses of a SASL exchange, and what of them is secret.

use super::unseen;
use super::{Ask, Expects, Pop3, QueuedCommand, grammar};
use crate::engine::frame::{FramingMode, Line, LineEnding};
use crate::engine::pending::Waiting;
use crate::engine::sasl::{AuthCommand, Exchange};
use crate::engine::session::state::EventContext;
use crate::event::{AuthMethod, AuthOutcome, Missing, Reply, TransactionOutcome};
use crate::event::{Dir, Verb};

impl Pop3 {
    /// A line of the client.
    pub(super) fn client(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if line.ending == LineEnding::MultiCr {
            let octets = without_cr(line.octets);
            return self.client(&Line { octets, ending: LineEnding::Crlf, ..*line }, cx);
        }
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
        if words.verb == Verb::Other || self.in_text {
            self.learn_unknown(line.octets, cx);
            if broken || self.lost {
                // The tail of a line whose head was lost, or text of a message whose start was.
                self.in_text |= !broken;
                return;
            }
        } else {
            self.armed = false;
        }
        self.command(line, &words, cx);
    }

    /// What is no command may be a password in the wrong place.
    fn learn_unknown(&self, line: &[u8], cx: &mut EventContext<'_>) {
        if self.armed || grammar::is_base64(line) {
            cx.session.secrets.learn(line);
        }
    }

    fn respond(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.response(line, &mut cx.session.secrets);
            exchange.answered(cx.stamp.at);
        } else {
            cx.session.secrets.learn(line.octets);
        }
        if let Some(Waiting { command, .. }) = self.pending.front_mut() {
            let [client, _] = &mut command.octets;
            *client += line.wire;
        }
        cx.switch(Dir::ToServer, FramingMode::Await);
    }

    fn command(&mut self, line: &Line<'_>, words: &grammar::CommandLine<'_>, cx: &mut EventContext<'_>) {
        if self.pending.len() >= cx.limits.pending
            && let Some(mut oldest) = self.pending.pop()
        {
            oldest.command.incomplete.add(Missing::Truncated);
            self.unmatched(oldest, TransactionOutcome::Unknown, cx);
        }
        let mut command = cx.session.command(line.began, cx.stamp.at);
        command.verb = words.verb;
        // Behind a lone dot that may be the end, the client that goes on takes it for one.
        let unfinished = self.body.as_ref().is_some_and(|b| b.loose.is_none_or(|loose| cx.stamp.peer < loose.end));
        command.pipelined = unfinished || self.pending.is_pipelined(cx.stamp);
        command.octets = [line.wire, 0];
        if line.truncated {
            command.incomplete.add(Missing::Truncated);
        }
        if let Some(args) = grammar::safe_args(words) {
            command.args.set(args);
        }
        let after_gap = std::mem::take(&mut self.client_gap);
        let entry = QueuedCommand {
            ask: self.ask(line, words, cx),
            number: grammar::number(words.rest.trim_ascii_start()).map(|(n, _)| n),
            peer: cx.stamp.peer,
            after_gap,
            told: false,
            shadowed: after_gap && self.certain && cx.stamp.peer <= self.gap_peer,
        };
        self.pending.push(command, entry);
    }

    /// What the answer to this command will mean; what the command itself means happens here.
    fn ask(&mut self, line: &Line<'_>, words: &grammar::CommandLine<'_>, cx: &mut EventContext<'_>) -> Ask {
        let bare = words.rest.trim_ascii().is_empty();
        match words.verb {
            Verb::User => {
                // A second word is no part of a name, but perhaps a password.
                let name = words.rest.trim_ascii();
                let end = name.iter().position(|o| is_blank(*o)).unwrap_or(name.len());
                self.user.set(name.get(..end).unwrap_or(name));
                self.user_octets = line.wire;
                cx.session.secrets.name(self.user.as_bytes());
                Ask::User
            }
            Verb::Pass => {
                cx.session.secrets.remember(words.rest.trim_ascii());
                self.login(AuthMethod::UserPass, None, words.rest, line, cx)
            }
            Verb::Apop => {
                // The digest has no spaces (RFC 1939 section 7).
                let rest = words.rest.trim_ascii();
                let (name, digest) = match rest.iter().rposition(|o| is_blank(*o)) {
                    Some(at) => rest.split_at_checked(at).unwrap_or((&[], rest)),
                    None => (&[][..], rest),
                };
                self.login(AuthMethod::Apop, Some(name.trim_ascii()), digest.trim_ascii(), line, cx)
            }
            Verb::Auth if bare => Ask::Maybe,
            Verb::Auth => self.auth(line, words.rest.trim_ascii(), cx),
            Verb::Stls => {
                cx.session.tls.requested = Some(true);
                cx.switch(Dir::ToServer, FramingMode::Await);
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
                cx.switch(Dir::ToServer, FramingMode::Await);
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
        let mut opening = AuthCommand::of(line, cx.stamp.at);
        if method == AuthMethod::UserPass {
            opening.octets += self.user_octets;
        }
        Ask::Login(Box::new(Exchange::plain(method, name, secret, opening, &mut cx.session.secrets)))
    }

    fn auth(&mut self, line: &Line<'_>, args: &[u8], cx: &mut EventContext<'_>) -> Ask {
        self.give_up(cx);
        self.exchange = Some(Exchange::sasl(args, AuthCommand::of(line, cx.stamp.at), &mut cx.session.secrets));
        cx.switch(Dir::ToServer, FramingMode::Await);
        Ask::Auth
    }

    /// The exchange that is open never came to its end.
    pub(super) fn give_up(&mut self, cx: &mut EventContext<'_>) {
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
}

/// Whether `line` can be a SASL response: base64, empty, or one of the signs.
pub(super) fn is_response(line: &[u8]) -> bool {
    matches!(line, b"*" | b"") || line.iter().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'='))
}

/// `line` without the CRs at its end.
pub(super) fn without_cr(line: &[u8]) -> &[u8] {
    let crs = line.iter().rev().take_while(|o| **o == b'\r').count();
    line.get(..line.len() - crs).unwrap_or_default()
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}
