//! The client's side: its lines, its chunks, its message.

use super::command;
use super::command::BdatArgs;
use super::delivery::Delivery;
use super::{Smtp, Want};
use crate::engine::Limits;
use crate::engine::frame::{FramingMode, Line, LineEnding};
use crate::engine::sasl::{AuthCommand, Exchange};
use crate::engine::session::state::EventContext;
use crate::event::{Command, Mechanism, Missing, Protocol, TransactionKind as Moved};
use crate::event::{Dir, Verb};

impl Smtp {
    pub(super) fn client(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if line.start < self.skip_until {
            return self.skip(line, cx);
        }
        if std::mem::take(&mut self.sasl_turn) {
            return self.response(line, cx);
        }
        self.sends_on(None, cx);
        let (mut verb, mut args) = command::verb(line.octets);
        let word = line.octets.trim_ascii();
        let closes = [&b"QUIT"[..], b"RSET", b"*"].iter().any(|w| word.eq_ignore_ascii_case(w));
        if std::mem::take(&mut self.stray_challenge) && !closes && command::is_base64(word) {
            self.stray_response(line, cx);
            (verb, args) = (Verb::Other, &[]);
        }
        if let Some(until) = self.armed {
            let in_answer = cx.stamp.peer < until && command::is_base64(word);
            if closes || (verb != Verb::Other && !in_answer) {
                self.armed = None;
            } else {
                cx.session.secrets.learn(line.octets);
                (verb, args) = (Verb::Other, &[]);
            }
        }
        let mut command = cx.session.command(line.began, cx.stamp.at);
        command.verb = verb;
        command.pipelined = self.pending.is_pipelined(cx.stamp);
        command.octets = [line.wire, 0];
        if line.truncated {
            command.incomplete.add(Missing::Truncated);
        }
        if let Some(delivery) = self.sending.and_then(|number| self.delivery(number)) {
            delivery.tx.pipelined |= command.pipelined;
        }
        let want = self.command(&mut command, args, line, cx);
        let tx = self.sending;
        if matches!(verb, Verb::Rset | Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Quit) {
            self.sending = None;
            self.unseen_envelope = false;
        }
        self.wait(command, want, tx, line.end(), cx);
    }

    /// A response of an authentication that was not seen.
    fn stray_response(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        if !std::mem::take(&mut self.name_asked) {
            cx.session.secrets.learn(line.octets);
        }
    }

    /// A SASL response. It is secret even if the AUTH that it belongs to was not seen.
    fn response(&mut self, line: &Line<'_>, cx: &mut EventContext<'_>) {
        let Some(exchange) = &mut self.exchange else { return self.stray_response(line, cx) };
        self.cancelled = !exchange.response(line, &mut cx.session.secrets);
        exchange.answered(cx.stamp.at);
        if let Some(waiting) = self.pending.back_mut() {
            let [client, _] = &mut waiting.command.octets;
            *client += line.wire;
            waiting.kind.end = line.end();
            waiting.kind.from = cx.stamp.peer;
        }
        cx.switch(Dir::ToServer, FramingMode::Await);
    }

    /// What `command` waits for, and what the client's next octets are.
    pub(super) fn command(
        &mut self,
        command: &mut Command,
        args: &[u8],
        line: &Line<'_>,
        cx: &mut EventContext<'_>,
    ) -> Want {
        match command.verb {
            Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml => {
                if command::path(args, b"FROM").is_some() {
                    command.args.set(args);
                }
                self.mail(args, command, cx);
            }
            Verb::Rcpt => {
                let limits = cx.limits;
                let path = command::path(args, b"TO");
                if path.is_some() {
                    command.args.set(args);
                }
                let room = self.room(limits);
                let delivery = self.envelope(cx).and_then(|number| self.delivery(number));
                let index = delivery.zip(path).and_then(|(delivery, path)| delivery.recipient(&path, limits, room));
                return Want::Rcpt(index);
            }
            Verb::Data => {
                if let Some(delivery) = self.envelope(cx).and_then(|number| self.delivery(number)) {
                    delivery.data_sent = true;
                    delivery.ends_lf = line.ending == LineEnding::Lf;
                }
                cx.switch(Dir::ToServer, FramingMode::Await);
            }
            Verb::Bdat => {
                if command::bdat(args).is_some_and(|chunk| chunk.clean) {
                    command.args.set(args);
                }
                return self.bdat(args, cx);
            }
            Verb::Burl => {
                let last = args.trim_ascii_end().to_ascii_uppercase().ends_with(b" LAST");
                let limits = cx.limits;
                if let Some(delivery) = self.envelope(cx).and_then(|number| self.delivery(number)) {
                    delivery.data_sent = true;
                    delivery.tx.chunks = delivery.tx.chunks.saturating_add(1);
                    delivery.data(Verb::Burl, limits);
                    delivery.tx.message.gap_unknown();
                    if last {
                        delivery.end_of_data(cx.stamp.at);
                    }
                }
                return Want::Chunk { last };
            }
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
                command.args.set(args);
                self.asked_smtp = self.is_lmtp && command.verb != Verb::Lhlo;
                if command.verb == Verb::Lhlo {
                    self.is_lmtp = true;
                    cx.context.protocol = Protocol::Lmtp;
                }
                if !cx.session.helo.is_present() && !args.is_empty() {
                    cx.session.helo.set(args);
                }
            }
            Verb::Quit => cx.session.quit_sent = true,
            Verb::Auth | Verb::XExps => self.auth(command, args, line, cx),
            Verb::StartTls | Verb::XAnonymousTls => {
                cx.session.tls.requested = Some(true);
                cx.switch(Dir::ToServer, FramingMode::Await);
            }
            Verb::Turn | Verb::Atrn | Verb::Xclient => {
                if command.verb == Verb::Xclient {
                    self.xclient(args, cx);
                }
                cx.switch(Dir::ToServer, FramingMode::Await);
            }
            Verb::Xexch50 => {
                let octets = args.split(|o| *o == b' ').find_map(command::number).unwrap_or(0);
                cx.switch(Dir::ToServer, FramingMode::Await);
                return Want::Xexch50(octets);
            }
            Verb::Vrfy | Verb::Expn | Verb::Etrn => command.args.set(args),
            _ => {}
        }
        Want::Command
    }

    pub(super) fn mail(&mut self, args: &[u8], command: &Command, cx: &mut EventContext<'_>) {
        if self.asked_smtp {
            // Its hello was not refused, as far as was seen, and the client goes on.
            self.is_smtp(cx);
        }
        let mut tx = cx.session.transaction(Moved::Delivery, command.began);
        tx.pipelined = command.pipelined;
        let mut delivery = Delivery::new(tx);
        delivery.after_quit = cx.session.quit_sent;
        if let Some(path) = command::path(args, b"FROM") {
            delivery.sender(&path, self.room(cx.limits));
        }
        self.unseen_envelope = false;
        if cx.session.incomplete.has(Missing::ServerUnseen) {
            delivery.tx.incomplete.add(Missing::ServerUnseen);
        }
        self.sending = Some(delivery.tx.number);
        self.deliveries.push_back(delivery);
    }

    /// SMTP is spoken, whatever was expected.
    pub(super) fn is_smtp(&mut self, cx: &mut EventContext<'_>) {
        (self.is_lmtp, self.asked_smtp) = (false, false);
        cx.context.protocol = Protocol::Smtp;
    }

    /// Bytes that open envelopes may still take.
    fn room(&self, limits: &Limits) -> usize {
        self.pending.look_at(self.deliveries.len());
        limits.envelopes.saturating_sub(self.deliveries.iter().map(Delivery::weight).sum())
    }

    pub(super) fn bdat(&mut self, args: &[u8], cx: &mut EventContext<'_>) -> Want {
        let Some(BdatArgs { size, last, clean }) = command::bdat(args) else { return Want::Command };
        let limits = cx.limits;
        let capabilities = &cx.session.capabilities;
        let sure = clean && (capabilities.is_empty() || capabilities.iter().any(|c| c == b"CHUNKING"));
        if let Some(delivery) = self.envelope(cx).and_then(|number| self.delivery(number)) {
            delivery.data_sent = true;
            delivery.tx.chunks = delivery.tx.chunks.saturating_add(1);
            if sure {
                delivery.data(Verb::Bdat, limits);
            }
        }
        if !sure {
            cx.switch(Dir::ToServer, FramingMode::Await);
            return Want::Doubtful(size);
        }
        self.moving = self.sending;
        cx.switch(Dir::ToServer, FramingMode::Octets(size));
        Want::Chunk { last }
    }

    /// Some octets of a chunk passed; `last`: its end.
    pub(super) fn chunk(&mut self, octets: u64, last: bool, cx: &mut EventContext<'_>) {
        if let Some(waiting) = self.pending.back_mut()
            && let Want::Chunk { .. } = waiting.kind.want
        {
            let [client, _] = &mut waiting.command.octets;
            *client += octets;
            waiting.command.sent = cx.stamp.at;
        }
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            *delivery.tx.wire_size.get_or_insert(0) += octets;
        }
        if !last {
            return;
        }
        let ends = self.pending.back().is_none_or(|w| w.kind.want == Want::Chunk { last: true });
        let at = cx.stamp.at;
        if let Some(delivery) = self.moving.take().and_then(|number| self.delivery(number))
            && ends
        {
            delivery.end_of_data(at);
        }
        if ends {
            self.sending = None;
        }
    }

    pub(super) fn body(&mut self, octets: &[u8], cx: &mut EventContext<'_>) {
        if let Some(delivery) = self.moving.and_then(|number| self.delivery(number)) {
            delivery.octets(octets, cx);
        }
    }

    /// The message was sent to its end, which the client's stream reaches at `end`.
    pub(super) fn end_of_data(&mut self, wire: u64, end: u64, cx: &mut EventContext<'_>) {
        let number = self.moving.take();
        self.sending = None;
        if std::mem::take(&mut self.answered_early) {
            return;
        }
        if let Some(delivery) = number.and_then(|number| self.delivery(number)) {
            delivery.end_of_data(cx.stamp.at);
            let whole =
                !delivery.tx.incomplete.has(Missing::ClientGap) && !delivery.tx.incomplete.has(Missing::StartMissing);
            delivery.tx.wire_size = whole.then_some(wire);
        }
        let waiting = cx.session.unasked(cx.stamp.at);
        self.wait(waiting, Want::Eod { prdr: false }, number, end, cx);
    }

    pub(super) fn auth(&mut self, command: &mut Command, args: &[u8], line: &Line<'_>, cx: &mut EventContext<'_>) {
        let opening = AuthCommand::of(line, cx.stamp.at);
        if args.trim_ascii().is_empty() {
            return;
        }
        let exchange = Exchange::sasl(args, opening, &mut cx.session.secrets);
        if let Some(known) = exchange.mechanism().filter(|mechanism| *mechanism != Mechanism::Other) {
            command.args.set(known.as_str().as_bytes());
        }
        self.cancelled = false;
        self.exchange = Some(exchange);
        cx.switch(Dir::ToServer, FramingMode::Await);
    }

    /// `ADDR=` and `PORT=` of XCLIENT: who the client really is.
    pub(super) fn xclient(&mut self, args: &[u8], cx: &mut EventContext<'_>) {
        let value = |wanted: &[u8]| {
            command::params(args)
                .find(|(k, _)| k.eq_ignore_ascii_case(wanted))
                .and_then(|(_, v)| v)
                .and_then(|v| std::str::from_utf8(v).ok())
        };
        let address = value(b"ADDR").map(|a| a.strip_prefix("IPV6:").or_else(|| a.strip_prefix("IPv6:")).unwrap_or(a));
        if let Some(ip) = address.and_then(|a| a.parse().ok()) {
            let port = value(b"PORT").and_then(|p| p.parse().ok()).unwrap_or(0);
            cx.context.proxied_client = Some(std::net::SocketAddr::new(ip, port));
        }
    }
}
