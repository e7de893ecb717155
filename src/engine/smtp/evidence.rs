//! Which command a reply answers: decided here, by evidence, and nowhere else.
//!
//! Order alone is not enough: a reply or a command may be missing from the capture, and servers exist that leave a command
//! unanswered, or answer several at once. Each waiting command is weighed against the reply by
//!
//! 1. what the server had received when it spoke, and what the client had received when it sent (ACK numbers in captures,
//!    bytes written in the proxy): these exclude causes, they never prove one;
//! 2. the reply's class: 354 answers DATA only, 235 AUTH only, and so on ([`fit`]);
//! 3. order: a command whose reply is still to come (it is *sure*) is not passed over for a later one that fits as well;
//! 4. where that leaves several, what the text shows ([`Hint`]);
//! 5. and if that does not decide either, what the client does next: it sends on when it has the replies that it waits
//!    for, so the last of them answers its last command. Until then the reply waits, *undecided*.
//!
//! Commands that turn out to be passed over stay unanswered. In a session where nothing is amiss no command is ever
//! unsure, and the first one waiting takes the reply at once.

use std::collections::VecDeque;
use std::time::Duration;

use super::reply;
use super::{CommandFacts, Smtp, Want};
use crate::engine::pending::{ReplyArrival, Waiting};
use crate::engine::session::state::{EventContext, Stamp};
use crate::event::Verb;
use crate::event::{Enhanced, Missing, Reply, Status};

/// A client that was silent for so long, with a reply outstanding, has given up waiting for it when it sends on. Longer
/// than the round trip of any path, shorter than the timeout of any client (RFC 5321 section 4.5.3.2: minutes). To take
/// a slow pipelining client for one that gave up does no harm: its replies are decided a little later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Undecided replies kept: more than a group of commands needs (RFC 5321 section 4.5.3.1.8 asks for 100 recipients).
const UNDECIDED: usize = 256;

/// What is known besides the queue itself.
#[derive(Debug, Default)]
pub(super) struct PairingEvidence {
    /// Some command of the queue is unsure, or a reply is undecided.
    doubt: bool,
    /// Replies that several commands may have caused, in their order.
    undecided: VecDeque<(Reply, ReplyArrival)>,
    /// Id of the last command put in the queue.
    last: u32,
}

impl PairingEvidence {
    /// An id for the next command to wait.
    pub(super) fn next_id(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// Whether something does not fit together: see the module's text.
    pub(super) fn in_doubt(&self) -> bool {
        self.doubt
    }

    /// Gives back room that is not needed.
    pub(super) fn shrink(&mut self) {
        self.undecided.shrink_to_fit();
    }
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// The waiting command with this id.
    Command(u32),
    /// None of those that wait.
    Nothing,
    /// One of several: it will show.
    Undecided,
}

/// How well a reply code suits a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodeFit {
    /// It cannot be its answer.
    Never,
    /// No RFC has it, but servers do such things.
    Odd,
    /// One of its usual answers.
    Fits,
    /// Of all commands, only this one is answered so.
    Only,
}

/// How well `code` suits what waits (RFC 5321 section 4.3.2 and the extensions' RFCs).
fn fit(kind: &CommandFacts, verb: Verb, code: u16) -> CodeFit {
    match (kind.want, code) {
        (Want::Unseen | Want::Dropped(_), _) | (_, 421) => CodeFit::Fits,
        (Want::Greeting, 220) | (Want::Eod { .. }, 353) | (Want::Xexch50(_), 354) => CodeFit::Only,
        (Want::Greeting, ..=399) => CodeFit::Odd,
        (Want::Eod { .. } | Want::Chunk { .. }, 250..=252) => CodeFit::Fits,
        (Want::Rcpt(_), 250..=252) => CodeFit::Fits,
        (Want::Command, _) => fit_of_verb(verb, code),
        (_, 400..) => CodeFit::Fits,
        (_, 220 | 221 | 235 | 300..=399) => CodeFit::Never,
        (Want::Doubtful(_) | Want::Xexch50(_), 250) => CodeFit::Fits,
        _ => CodeFit::Odd,
    }
}

fn fit_of_verb(verb: Verb, code: u16) -> CodeFit {
    match (verb, code) {
        (Verb::Data, 354)
        | (Verb::Auth | Verb::XExps, 235 | 334 | 535)
        | (Verb::StartTls | Verb::XAnonymousTls | Verb::Xclient, 220)
        | (Verb::Quit, 221)
        | (Verb::Help, 211 | 214) => CodeFit::Only,
        (_, 353 | 354 | 334 | 235) => CodeFit::Never,
        // Some servers ask for a login so; else it is the end of an AUTH that was not seen.
        (_, 535) => CodeFit::Odd,
        (_, 400..) => CodeFit::Fits,
        // A goodbye to anything, as Postfix says to HTTP.
        (_, 221) => CodeFit::Odd,
        (Verb::Data | Verb::Auth | Verb::XExps | Verb::StartTls | Verb::XAnonymousTls | Verb::Quit, _) => CodeFit::Odd,
        (Verb::Vrfy | Verb::Expn, 250..=252) | (Verb::Etrn, 250..=253) => CodeFit::Fits,
        (Verb::Other, 200..=299) => CodeFit::Fits,
        (_, 250) => CodeFit::Fits,
        _ => CodeFit::Odd,
    }
}

/// What the text of a reply shows of the command that it answers. Weighed only where the rest does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    Mail,
    Rcpt,
    Message,
    Hello,
}

fn hint(code: u16, reply: &Reply) -> Option<Hint> {
    let text = reply.text.as_bytes();
    let several = memchr::memchr(b'\n', text).is_some();
    match reply.enhanced {
        // RFC 3463 section 3.2: X.1.0 and X.1.5 are what servers add to a 250 to MAIL and to RCPT.
        Some(Enhanced { class: 2, subject: 1, detail: 0 }) => Some(Hint::Mail),
        Some(Enhanced { class: 2, subject: 1, detail: 5 }) => Some(Hint::Rcpt),
        Some(Enhanced { class: 4 | 5, subject: 1, detail: 1..=6 }) => Some(Hint::Rcpt),
        Some(Enhanced { class: 4 | 5, subject: 1, detail: 7 | 8 }) => Some(Hint::Mail),
        None if code == 250 && several && reply::lines(text).skip(1).any(reply::is_capability) => Some(Hint::Hello),
        _ if code == 250 && reply::queue_id(text).is_some() => Some(Hint::Message),
        _ => None,
    }
}

/// `lmtp`: final replies are for a recipient too.
fn hinted(waiting: &Waiting<CommandFacts>, hint: Hint, lmtp: bool) -> bool {
    let message = matches!(waiting.kind.want, Want::Eod { .. } | Want::Chunk { last: true });
    match hint {
        Hint::Mail => matches!(waiting.command.verb, Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml),
        Hint::Rcpt => {
            let rcpt = matches!(waiting.kind.want, Want::Rcpt(_));
            rcpt || matches!(waiting.command.verb, Verb::Vrfy | Verb::Expn) || (lmtp && message)
        }
        Hint::Message => message,
        Hint::Hello => matches!(waiting.command.verb, Verb::Ehlo | Verb::Lhlo),
    }
}

/// Whether `kind` takes more than one reply.
fn takes_more(kind: &CommandFacts) -> bool {
    matches!(kind.want, Want::Unseen | Want::Dropped(2..) | Want::Eod { .. })
}

impl Smtp {
    /// What the reply just assembled, which came with `arrival`, answers.
    pub(super) fn answers(&self, code: u16, arrival: ReplyArrival) -> Answers {
        let received = arrival.last.peer;
        let begins = arrival.end.saturating_sub(arrival.octets);
        let doubt = self.evidence.doubt;
        if code == 421 && !self.evidence.undecided.is_empty() {
            // A goodbye needs no command, and a reply before it may answer the one that waits.
            return Answers::Nothing;
        }
        let (mut first, mut several, mut open, mut odd, mut unseen) = (None, false, true, None, false);
        for waiting in self.pending.iter() {
            let kind = &waiting.kind;
            if kind.end > received || (doubt && kind.from > begins) {
                break;
            }
            if code == 421 && kind.over.is_some() {
                // Its own reply may be lost, and a goodbye needs no command.
                continue;
            }
            match fit(kind, waiting.command.verb, code) {
                CodeFit::Only => return Answers::Command(kind.id),
                CodeFit::Fits if open => {
                    several |= first.is_some();
                    first.get_or_insert(kind.id);
                    unseen = kind.want == Want::Unseen;
                    open = kind.over.is_some();
                    if !open && !is_anchor(code) {
                        break;
                    }
                }
                // Nothing was lost: the server has its own idea of what to say to the first one.
                CodeFit::Odd if !doubt && first.is_none() && !is_anchor(code) => return Answers::Command(kind.id),
                CodeFit::Odd if kind.over.is_none() && open => odd = odd.or(Some(kind.id)),
                CodeFit::Fits | CodeFit::Odd | CodeFit::Never => {}
            }
        }
        match first.or(odd) {
            None => Answers::Nothing,
            // Either a command that was not seen, or the server has its own idea again.
            Some(_) if unseen && !several && odd.is_some() => Answers::Undecided,
            Some(id) if !several => Answers::Command(id),
            Some(_) => self.by_hint(code, received),
        }
    }

    /// Whether the reply just assembled shows that it answers MAIL.
    pub(super) fn is_mail_reply(&self) -> bool {
        hint(self.code(), &self.replies.reply) == Some(Hint::Mail)
    }

    /// Several fit: what the text shows.
    fn by_hint(&self, code: u16, received: u64) -> Answers {
        let Some(hint) = hint(code, &self.replies.reply) else { return Answers::Undecided };
        let candidates = || self.pending.iter().take_while(|w| w.kind.end <= received);
        let mut matching = candidates().filter(|w| hinted(w, hint, self.is_lmtp));
        match (matching.next(), matching.next()) {
            (Some(only), None) => Answers::Command(only.kind.id),
            (None, _) => {
                let unseen = candidates().find(|w| w.kind.want == Want::Unseen);
                unseen.map_or(Answers::Undecided, |w| Answers::Command(w.kind.id))
            }
            (Some(_), Some(_)) => Answers::Undecided,
        }
    }

    /// Whether an undecided reply was sent when the server had the client's bytes up to `end`, and is one of those that the
    /// client had with `received` bytes.
    pub(super) fn has_undecided_behind(&self, end: u64, received: u64) -> bool {
        self.evidence.undecided.back().is_some_and(|(_, a)| a.end <= received && a.last.peer >= end)
    }

    /// Keeps the reply just assembled until it shows what it answers.
    pub(super) fn wait_and_see(&mut self, arrival: ReplyArrival, cx: &mut EventContext<'_>) {
        let reply = std::mem::take(&mut self.replies.reply);
        if self.evidence.undecided.len() >= UNDECIDED {
            cx.missing(Missing::Unparseable);
            self.evidence.undecided.pop_front();
        }
        self.evidence.undecided.push_back((reply, arrival));
        self.evidence.doubt = true;
        // As many replies as commands: each has its own.
        let heard = || self.pending.iter().take_while(|w| w.kind.end <= arrival.last.peer);
        let each = heard().count() == self.evidence.undecided.len() && !heard().any(|w| takes_more(&w.kind));
        if each {
            self.settle(None, cx);
        }
    }

    /// The client sends on: what that shows of the replies that it waited for. The command with id `keep` goes on waiting.
    pub(super) fn sends_on(&mut self, keep: Option<u32>, cx: &mut EventContext<'_>) {
        let Stamp { at, peer, .. } = cx.stamp;
        let Some(back) = self.pending.back() else { return };
        let spoke = self.pending.last().map(|last| last.last.at);
        let since = spoke.filter(|spoke| *spoke > back.command.sent).unwrap_or(back.command.sent);
        let gave_up = at.since(since).is_some_and(|silence| silence >= PATIENCE);
        let served = self.pending.front().is_some_and(|front| self.has_finals(front))
            && self.pending.last().is_some_and(|last| last.end <= peer);
        if gave_up {
            self.doubt_all(u64::MAX);
        } else if served && let Some(front) = self.pending.front_mut() {
            front.kind.over.get_or_insert(u64::MAX);
            self.evidence.doubt = true;
        }
        if !self.evidence.doubt {
            return;
        }
        if self.evidence.undecided.back().is_some_and(|(_, arrival)| arrival.end <= peer) {
            self.settle(None, cx);
        }
        // In a capture of the client alone nothing is ever answered: then the end of the session says so.
        let is_over = |kind: &CommandFacts| Some(kind.id) != keep && kind.over.is_some_and(|over| over <= peer);
        while self.heard && self.pending.front().is_some_and(|w| is_over(&w.kind)) {
            self.drop_oldest(cx);
        }
        self.weigh();
    }

    /// Replies may be missing: any command that waits may be one whose reply will not come. It is over once the client
    /// sends on and has received the server's bytes up to `over`.
    pub(super) fn doubt_all(&mut self, over: u64) {
        for waiting in self.pending.iter_mut() {
            let known = waiting.kind.over.get_or_insert(over);
            *known = (*known).min(over);
        }
        self.weigh();
    }

    /// Whether anything is still in doubt.
    pub(super) fn weigh(&mut self) {
        self.evidence.doubt = !self.evidence.undecided.is_empty() || self.pending.iter().any(|w| w.kind.over.is_some());
    }

    /// Decides the undecided replies from the last to the first: each answers the last command that it can, before the one
    /// with id `before` if that is given. What is passed over stays unanswered.
    pub(super) fn settle(&mut self, before: Option<u32>, cx: &mut EventContext<'_>) {
        if !self.evidence.undecided.is_empty() {
            let undecided = std::mem::take(&mut self.evidence.undecided);
            let targets = self.targets(&undecided, before);
            self.doubt_odd(&undecided, &targets);
            let (stamp, reply) = (cx.stamp, std::mem::take(&mut self.replies.reply));
            for ((reply, arrival), target) in undecided.into_iter().zip(targets) {
                if let Some(id) = target
                    && self.drop_up_to(id, cx)
                {
                    self.replies.reply = reply;
                    cx.stamp = arrival.last;
                    self.take(arrival, cx);
                }
            }
            cx.stamp = stamp;
            self.replies.reply = reply;
        }
        if let Some(id) = before {
            self.drop_up_to(id, cx);
        }
        self.weigh();
    }

    /// A reply that is taken for one to an unseen command may as well be an odd one to a command that was seen: that is not
    /// sure to have another.
    fn doubt_odd(&mut self, undecided: &VecDeque<(Reply, ReplyArrival)>, targets: &[Option<u32>]) {
        let unseen = self.pending.iter().find(|w| w.kind.want == Want::Unseen).map(|w| w.kind.id);
        for ((reply, arrival), _) in
            undecided.iter().zip(targets).filter(|(_, target)| target.is_some() && **target == unseen)
        {
            let code = reply.status.and_then(Status::code).unwrap_or(0);
            let heard = |w: &&mut Waiting<CommandFacts>| w.kind.end <= arrival.last.peer;
            let odd = |w: &Waiting<CommandFacts>| fit(&w.kind, w.command.verb, code) == CodeFit::Odd;
            if let Some(waiting) = self.pending.iter_mut().take_while(heard).filter(|w| odd(w)).last() {
                waiting.kind.over.get_or_insert(u64::MAX);
            }
        }
    }

    /// What each of the `undecided` replies answers.
    fn targets(&self, undecided: &VecDeque<(Reply, ReplyArrival)>, before: Option<u32>) -> Vec<Option<u32>> {
        let mut targets = vec![None; undecided.len()];
        let all = self.pending.iter().position(|w| Some(w.kind.id) == before).unwrap_or(self.pending.len());
        // A sure command takes the first reply that it can; so many of them may be passed before reply number `n`.
        let reach = |n: usize| {
            let mut sure = 0;
            let past = self.pending.iter().take_while(|w| {
                let within = sure <= n;
                sure += usize::from(w.kind.over.is_none());
                within
            });
            past.count()
        };
        let mut limit = all;
        for (n, (reply, arrival)) in undecided.iter().enumerate().rev() {
            let code = reply.status.and_then(Status::code).unwrap_or(0);
            let suits = |w: &Waiting<CommandFacts>, last: bool| {
                let fit = fit(&w.kind, w.command.verb, code);
                let fits = matches!(fit, CodeFit::Fits | CodeFit::Only) || last && fit == CodeFit::Odd;
                fits && w.kind.end <= arrival.last.peer
            };
            let until = limit.min(reach(n));
            // A command that was not seen may be answered by anything.
            let unseen = self.pending.iter().any(|w| w.kind.want == Want::Unseen);
            let last = |index: usize| before.is_none() && !unseen && index + 1 == self.pending.len();
            let candidates = self.pending.iter().take(until).enumerate();
            let found = candidates.filter(|(index, w)| suits(w, last(*index))).last();
            let Some((index, waiting)) = found else { continue };
            limit = index + usize::from(takes_more(&waiting.kind));
            if let Some(target) = targets.get_mut(n) {
                *target = Some(waiting.kind.id);
            }
        }
        targets
    }

    /// Drops what waits before the command with `id`, unanswered; whether there is one.
    fn drop_up_to(&mut self, id: u32, cx: &mut EventContext<'_>) -> bool {
        if !self.pending.iter().any(|w| w.kind.id == id) {
            return false;
        }
        while self.pending.front().is_some_and(|w| w.kind.id != id) {
            self.drop_oldest(cx);
        }
        true
    }
}

/// Whether the code alone tells the command: then later ones are looked at too.
fn is_anchor(code: u16) -> bool {
    matches!(code, 211 | 214 | 220 | 221 | 235 | 334 | 353 | 354 | 535)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(verb: Verb, code: u16) -> CodeFit {
        fit(&CommandFacts { want: Want::Command, tx: None, end: 0, from: 0, id: 0, over: None }, verb, code)
    }

    #[test]
    fn some_codes_answer_one_command_only() {
        for (verb, code) in
            [(Verb::Data, 354), (Verb::Auth, 235), (Verb::Auth, 334), (Verb::StartTls, 220), (Verb::Quit, 221)]
        {
            assert_eq!(command(verb, code), CodeFit::Only, "{verb:?} {code}");
        }
        for (verb, code) in
            [(Verb::Mail, 354), (Verb::Noop, 235), (Verb::Quit, 334), (Verb::Data, 235), (Verb::Auth, 354)]
        {
            assert_eq!(command(verb, code), CodeFit::Never, "{verb:?} {code}");
        }
        for (verb, code) in
            [(Verb::Data, 250), (Verb::Auth, 250), (Verb::StartTls, 250), (Verb::Quit, 250), (Verb::Mail, 221)]
        {
            assert_eq!(command(verb, code), CodeFit::Odd, "{verb:?} {code}");
        }
        for (verb, code) in [(Verb::Data, 554), (Verb::Auth, 504), (Verb::Noop, 250), (Verb::Other, 502)] {
            assert_eq!(command(verb, code), CodeFit::Fits, "{verb:?} {code}");
        }
    }
}
