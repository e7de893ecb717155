//! POP3's replies: what they say of the command that they answer.

use super::body::note_size;
use super::grammar;
use super::{Ask, Expects, Pop3, QueuedCommand, Xmit};
use crate::engine::frame::FramingMode;
use crate::engine::pending::{ReplyArrival, Waiting};
use crate::engine::sasl::{AuthCommand, Exchange};
use crate::engine::session::state::EventContext;
use crate::event::{
    AuthMethod, AuthOutcome, Command, Maildrop, Reply, Status, TlsMode, TransactionKind, TransactionOutcome,
};
use crate::event::{Dir, Verb};

impl Pop3 {
    /// A reply of one line is complete.
    pub(super) fn answered(
        &mut self,
        waiting: Waiting<QueuedCommand>,
        status: ReplyArrival,
        cx: &mut EventContext<'_>,
    ) {
        let Waiting { mut command, kind } = waiting;
        self.pending.answer(&mut command, status);
        let ok = command.reply.status == Some(Status::PopOk);
        // The server knows what this is, so it is no text.
        self.lost &= command.verb == Verb::Other;
        match kind.ask {
            Ask::User if !ok => self.user_refused(&command, cx),
            Ask::Login(exchange) => self.attempted(*exchange, &command.reply, cx),
            Ask::Auth => {
                cx.switch(Dir::ToServer, FramingMode::Line);
                self.expects = Expects::Command;
                if let Some(exchange) = self.exchange.take() {
                    self.attempted(exchange, &command.reply, cx);
                }
            }
            Ask::Stls => stls_answered(ok, cx),
            Ask::Stat if ok => {
                let size = grammar::two_numbers(command.reply.text.as_bytes());
                let maildrop = maildrop(cx);
                maildrop.size = size.or(maildrop.size);
            }
            Ask::Single if ok && command.verb == Verb::List => {
                if let Some((number, size)) = grammar::two_numbers(command.reply.text.as_bytes()) {
                    note_size(&mut self.listed, number, size, cx.limits.listed);
                }
            }
            Ask::Dele if ok => {
                let maildrop = maildrop(cx);
                maildrop.deleted = maildrop.deleted.saturating_add(1);
                maildrop.committed = Some(false);
            }
            Ask::Rset if ok => {
                if let Some(maildrop) = &mut cx.session.maildrop {
                    (maildrop.deleted, maildrop.committed) = (0, None);
                }
            }
            Ask::Quit if ok => {
                cx.session.quit_answered = true;
                if let Some(maildrop) = &mut cx.session.maildrop {
                    maildrop.committed = maildrop.committed.map(|_| true);
                }
            }
            Ask::Message => {
                let mut transaction = cx.session.transaction(TransactionKind::Retrieval, command.began);
                transaction.verb = Some(command.verb);
                transaction.message_number = kind.number;
                transaction.pipelined = command.pipelined;
                transaction.outcome = TransactionOutcome::Error;
                transaction.timing.first_byte = status.first.since(command.sent);
                transaction.last.copy_from(&command.reply);
                cx.transaction(transaction);
            }
            Ask::Xmit if ok => {
                self.xmit = Some(Xmit::begin(&command, cx));
                cx.switch(Dir::ToServer, self.xmit_mode());
            }
            Ask::Xmit => {
                let mut xmit = Xmit::begin(&command, cx);
                xmit.transaction.has_message = false;
                xmit.transaction.outcome = TransactionOutcome::Error;
                xmit.transaction.last.copy_from(&command.reply);
                cx.transaction(xmit.transaction);
                cx.switch(Dir::ToServer, FramingMode::Line);
            }
            _ => {}
        }
        cx.command(command);
    }

    /// USER was refused: that is the attempt, even if PASS was sent along.
    fn user_refused(&mut self, command: &Command, cx: &mut EventContext<'_>) {
        let secrets = &mut cx.session.secrets;
        let user = self.user.as_bytes();
        let opening = AuthCommand { began: command.began, sent: command.sent, octets: command.octets[0] };
        let exchange = Exchange::plain(AuthMethod::UserPass, user, b"", opening, secrets);
        if let Some(next) = self.pending.front_mut().filter(|w| w.command.verb == Verb::Pass) {
            next.kind.ask = Ask::Single;
        }
        self.attempted(exchange, &command.reply, cx);
    }

    /// An attempt is at its final reply.
    pub(super) fn attempted(&mut self, exchange: Exchange, reply: &Reply, cx: &mut EventContext<'_>) {
        let ok = reply.status == Some(Status::PopOk);
        let fresh = exchange.mechanism().is_some() && !exchange.is_challenged();
        let logged_in = cx.session.identity.is_present();
        let refusal_if = |logged_in| grammar::refusal(reply, exchange.is_cancelled(), fresh, logged_in);
        // The login before it may be among what was lost.
        let unsure = !logged_in && !cx.session.incomplete.is_empty() && refusal_if(false) != refusal_if(true);
        let refusal = if unsure { AuthOutcome::Incomplete } else { refusal_if(logged_in) };
        // Some of what the client said is lost: it may have been the `*` that cancels.
        let refusal = if exchange.is_torn() { AuthOutcome::Incomplete } else { refusal };
        let outcome = if ok { AuthOutcome::Success } else { refusal };
        self.armed = !ok;
        let tls = cx.session.tls_mode();
        cx.auth(exchange.finish(outcome, reply.clone(), Some(cx.stamp.at), tls));
    }

    /// The `+OK` to AUTH NTLM was no challenge: the client goes on with a command.
    pub(super) fn authenticated(&mut self, status: ReplyArrival, cx: &mut EventContext<'_>) {
        if let Some(waiting) = self.pending.pop() {
            self.answered(waiting, status, cx);
        }
    }
}

fn stls_answered(ok: bool, cx: &mut EventContext<'_>) {
    cx.session.tls_answered(ok);
    let mode = if ok { FramingMode::Opaque } else { FramingMode::Line };
    if ok {
        cx.session.tls.mode = Some(TlsMode::StartTls);
        cx.session.opaque = true;
        cx.switch(Dir::ToClient, mode);
    }
    cx.switch(Dir::ToServer, mode);
}

pub(super) fn maildrop<'a>(cx: &'a mut EventContext<'_>) -> &'a mut Maildrop {
    cx.session.maildrop.get_or_insert_default()
}
