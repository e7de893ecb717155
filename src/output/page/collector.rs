//! Gathers, in the thread where events happen, what the page will show.
//!
//! What an event changes is the thread's own: no lock, no clock. [`PageCollector::publish`] moves it into the
//! [`PageState`] when that is free, which it nearly always is, and else leaves it for the next time: it never waits. So
//! everything here has a cap, and what went over one is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::PageState;
use super::history::History;
use super::latency::Latencies;
use super::rates::Tick;
use super::refusals;
use super::refusals::RefusalCounts;
use super::row;
use super::row::{SessionRow, StepRow};
use super::step::ServerStep;
use crate::event::Masked;
use crate::event::{
    Anomaly, Command, Context, Dir, Event, Greeting, Protocol, Reply, Sink, Stage, Summary, TlsMode, Transaction,
    TransactionKind, TransactionOutcome,
};
use crate::output::shown_text::shown;
use crate::time::{Timestamp, WallClock};

/// Open sessions that a thread follows one by one: as many as the page lists in all. More are counted only.
const FOLLOWED: usize = super::LISTED;

/// Rows of each kind that may wait to be published: as many as the page lists.
const WAITING: usize = super::RECENT;

/// Events after which it publishes by itself.
const OFTEN: u32 = 4096;

/// What a thread has gathered and not published.
#[derive(Debug, Default)]
pub(super) struct PageBatch {
    pub(super) tick: Tick,
    pub(super) latencies: Latencies,
    /// Sessions that are open and have changed, with what they did since then.
    pub(super) changed: Vec<(SessionRow, History)>,
    pub(super) ended: VecDeque<(SessionRow, History)>,
    pub(super) messages: VecDeque<Arc<row::MessageRow>>,
    pub(super) anomalies: VecDeque<row::AnomalyRow>,
    pub(super) refusals: RefusalCounts,
    /// Open sessions by protocol.
    pub(super) open: [u64; Protocol::ALL.len()],
    /// Rows that found no room.
    pub(super) skipped: u64,
}

#[derive(Debug)]
struct Followed {
    session: SessionRow,
    is_changed: bool,
    /// What it did since that was published.
    history: History,
    /// When the first event came. What both sides had sent until then is told at once, the client's first: whose was the
    /// last is not known.
    told: Timestamp,
}

/// One for each thread. Events go in, and come out on the page.
#[derive(Debug)]
pub struct PageCollector {
    state: Arc<PageState>,
    number: usize,
    batch: PageBatch,
    followed: HashMap<u64, Followed>,
    changed: Vec<u64>,
    events: u32,
    clock: WallClock,
}

impl PageCollector {
    pub(super) fn new(state: Arc<PageState>, number: usize) -> Self {
        Self {
            state,
            number,
            batch: PageBatch::default(),
            followed: HashMap::default(),
            changed: Vec::new(),
            events: 0,
            clock: WallClock::default(),
        }
    }

    /// At the time `at` of events the host's clock was found to show `shown`.
    pub(in crate::output) fn clock_set(&mut self, at: Timestamp, shown: Timestamp) {
        self.clock.set(at, shown);
    }

    /// The session with times that the host's clock shows: both as it showed the later one, for the page tells ages.
    fn shown(&self, mut session: SessionRow) -> SessionRow {
        let latest = session.heard;
        session.began = self.clock.shown_from(latest, session.began);
        session.waits = session.waits.map(|since| self.clock.shown_from(latest, since));
        session.heard = self.clock.shown(latest);
        session
    }

    /// Lets the page have what has gathered. Never waits; call it every 100 ms or so.
    pub fn publish(&mut self) {
        if self.events == 0 {
            return;
        }
        let state = Arc::clone(&self.state);
        let Some(mut inner) = state.try_lock() else { return };
        self.gather();
        inner.take(state.second(), self.number, &mut self.batch);
        self.events = 0;
    }

    /// Puts the sessions that have changed into the batch.
    fn gather(&mut self) {
        let mut changed = std::mem::take(&mut self.changed);
        for id in changed.drain(..) {
            let Some(followed) = self.followed.get_mut(&id) else { continue };
            followed.is_changed = false;
            followed.settle();
            let (session, history) = (followed.session.clone(), std::mem::take(&mut followed.history));
            self.batch.changed.push((self.shown(session), history));
        }
        self.changed = changed;
    }

    /// The row of a session, if there is room for it; marks it as changed.
    fn session(&mut self, context: &Context, at: Timestamp) -> Option<&mut SessionRow> {
        self.followed(context, at).map(|followed| &mut followed.session)
    }

    fn followed(&mut self, context: &Context, at: Timestamp) -> Option<&mut Followed> {
        if !self.followed.contains_key(&context.id) {
            if self.followed.len() >= FOLLOWED {
                return None;
            }
            let session = SessionRow::new(context, at);
            self.followed
                .insert(context.id, Followed { session, is_changed: false, history: History::default(), told: at });
        }
        let followed = self.followed.get_mut(&context.id)?;
        if !std::mem::replace(&mut followed.is_changed, true) {
            self.changed.push(context.id);
        }
        followed.session.heard = followed.session.heard.max(at);
        followed.session.protocol = context.protocol;
        followed.session.client = context.peers.client;
        followed.session.server = context.peers.server;
        Some(followed)
    }

    fn start(&mut self, context: &Context, at: Timestamp) {
        self.batch.tick.sessions += 1;
        if let Some(open) = self.batch.open.get_mut(context.protocol.index()) {
            *open += 1;
        }
        let _ = self.session(context, at);
    }

    fn octets(&mut self, context: &Context, at: Timestamp, dir: Dir, count: u64, tls: TlsMode) {
        let of = |octets: &mut [u64; 2]| {
            if let Some(octets) = octets.get_mut(dir.index()) {
                *octets += count;
            }
        };
        of(&mut self.batch.tick.octets);
        if let Some(Followed { session, told, .. }) = self.followed(context, at) {
            of(&mut session.octets);
            session.tls = tls;
            session.waits = match (dir, session.waits) {
                (Dir::ToServer, _) => Some(at),
                // The server's may have come before the client's, see below.
                (Dir::ToClient, waits) if at == *told => waits.filter(|since| *since == at),
                (Dir::ToClient, _) => None,
            };
        }
    }

    fn greeting(&mut self, context: &Context, at: Timestamp, greeting: &Greeting) {
        if let Some(delay) = greeting.delay {
            self.batch.latencies.add((context.protocol, ServerStep::Greeting), delay);
        }
        let refused = self.reply(context, ServerStep::Greeting, &greeting.reply);
        if let Some(followed) = self.followed(context, at) {
            followed.step(ServerStep::Greeting, &greeting.reply, Some(Duration::ZERO), greeting.delay);
            followed.session.refused += refused;
        }
    }

    fn command(&mut self, context: &Context, at: Timestamp, command: &Command) {
        let step = ServerStep::Command(command.verb);
        self.batch.tick.commands += 1;
        if let Some(taken) = command.service_latency.filter(|_| step.is_timed() && !command.coalesced) {
            self.batch.latencies.add((context.protocol, step), taken);
        }
        let refused = self.reply(context, step, &command.reply);
        if let Some(followed) = self.followed(context, at) {
            followed.session.commands += 1;
            followed.session.refused += refused;
            followed.step(step, &command.reply, command.began.since(context.began), command.latency);
        }
    }

    /// Counts a refusal; how many that was.
    fn reply(&mut self, context: &Context, step: ServerStep, reply: &Reply) -> u32 {
        let Some(status) = reply.status.filter(|status| !status.is_positive()) else { return 0 };
        self.batch.tick.refused += 1;
        refusals::count(&mut self.batch.refusals, (context.protocol, step, Some(status), reply.enhanced), 1);
        1
    }

    fn transaction(&mut self, context: &Context, at: Timestamp, transaction: Masked<'_, Transaction>) {
        let is_whole = matches!(
            transaction.outcome,
            TransactionOutcome::Accepted | TransactionOutcome::Partial | TransactionOutcome::Complete
        );
        self.batch.tick.messages += u64::from(is_whole);
        let is_delivery = transaction.kind == TransactionKind::Delivery;
        let taken = transaction.timing.reply.filter(|_| is_delivery);
        if let Some(taken) = taken {
            self.batch.latencies.add((context.protocol, ServerStep::EndOfData), taken);
        }
        // The reply to a last BDAT is that of a command.
        let is_final = matches!(transaction.stage, None | Some(Stage::Eod | Stage::DataEarly));
        let refused =
            if is_delivery && is_final { self.reply(context, ServerStep::EndOfData, &transaction.last) } else { 0 };
        let row = Arc::new(self.message(context, at, transaction));
        if let Some(followed) = self.followed(context, at) {
            followed.session.messages += u32::from(is_whole);
            followed.session.refused += refused;
            followed.session.transactions += 1;
            if let Some(taken) = taken {
                let ended = transaction.ended.since(context.began);
                let after = ended.map(|ended| ended.saturating_sub(taken));
                followed.step(ServerStep::EndOfData, &transaction.last, after, Some(taken));
            }
            followed.history.message(Arc::clone(&row));
        }
        self.batch.skipped += push(&mut self.batch.messages, row);
    }

    fn message(&self, context: &Context, at: Timestamp, transaction: Masked<'_, Transaction>) -> row::MessageRow {
        let show = self.state.show();
        let path = |span| Some(shown(transaction.text(span))).filter(|_| show.addresses);
        row::MessageRow {
            at: self.clock.shown(at),
            session: context.id,
            protocol: context.protocol,
            client: context.peers.client,
            kind: transaction.kind,
            outcome: transaction.outcome,
            tls: transaction.tls,
            size: (transaction.has_message && transaction.message.size_known()).then(|| transaction.message.size()),
            recipients: transaction.recipients_total,
            from: transaction.reverse_path.and_then(path),
            to: transaction.recipients.first().and_then(|recipient| path(recipient.forward_path)),
            subject: Some(transaction)
                .filter(|one| show.subjects && one.has_message)
                .and_then(|one| one.message.subject())
                .map(|subject| shown(transaction.decoded(subject).as_bytes())),
        }
    }

    fn anomaly(&mut self, context: &Context, at: Timestamp, anomaly: &Anomaly) {
        if let Some(session) = self.session(context, at) {
            session.anomalies = session.anomalies.saturating_add(anomaly.count);
        }
        let row = row::AnomalyRow {
            at: self.clock.shown(anomaly.at),
            session: context.id,
            protocol: context.protocol,
            client: context.peers.client,
            id: anomaly.id,
            severity: anomaly.severity,
            state: anomaly.state,
            variant: anomaly.variant,
            dir: anomaly.dir,
            count: anomaly.count,
        };
        self.batch.skipped += push(&mut self.batch.anomalies, row);
    }

    fn end(&mut self, context: &Context, summary: &Summary) {
        // One that was never heard of began with nothing: counts stay right whatever an input leaves out.
        if let Some(open) = self.batch.open.get_mut(summary.started.index()) {
            *open = open.saturating_sub(1);
        }
        let followed = self.followed.remove(&context.id);
        let (mut session, history) = match followed {
            Some(Followed { session, history, .. }) => (session, history),
            None => (SessionRow::new(context, summary.ended), History::default()),
        };
        session.octets = summary.bytes;
        session.protocol = context.protocol;
        session.tls = summary.tls.mode.unwrap_or(TlsMode::None);
        session.commands = summary.counts.commands;
        session.anomalies = summary.counts.anomalies;
        session.heard = summary.ended;
        session.end = Some((summary.outcome, summary.close.phase));
        let session = self.shown(session);
        self.batch.skipped += push(&mut self.batch.ended, (session, history));
    }
}

impl Followed {
    /// Of what was told at once the client's was the last only if the greeting is all that the server has said.
    fn settle(&mut self) {
        let [client, server] = self.session.octets;
        let is_greeted = matches!(self.session.last, Some((ServerStep::Greeting, _)));
        if self.session.waits == Some(self.told) && server > 0 && !(client > 0 && is_greeted) {
            self.session.waits = None;
        }
    }

    fn step(&mut self, step: ServerStep, reply: &Reply, after: Option<Duration>, taken: Option<Duration>) {
        self.session.last = Some((step, reply.status));
        self.history.step(StepRow { step, after, status: reply.status, enhanced: reply.enhanced, taken });
    }
}

impl Sink for PageCollector {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        match event {
            Event::Body { .. } | Event::Auth(_) => return,
            Event::Start => self.start(context, at),
            Event::Lost { .. } | Event::Idle | Event::IdleOver { .. } => {}
            Event::Octets { dir, count, tls } => self.octets(context, at, *dir, *count, *tls),
            Event::Greeting(greeting) => self.greeting(context, at, greeting),
            Event::Command(command) => self.command(context, at, command),
            Event::Transaction(transaction) => self.transaction(context, at, *transaction),
            Event::Anomaly(anomaly) => self.anomaly(context, at, anomaly),
            Event::End(summary) => self.end(context, summary),
        }
        self.events = self.events.wrapping_add(1).max(1);
        if self.events.is_multiple_of(OFTEN) {
            self.publish();
        }
    }
}

impl Drop for PageCollector {
    /// What it followed is not open any more, as far as anybody knows.
    fn drop(&mut self) {
        self.batch.open = Default::default();
        let mut inner = self.state.lock();
        inner.take(self.state.second(), self.number, &mut self.batch);
        inner.forget(self.followed.keys());
    }
}

/// Adds one, in the place of the oldest if there is no other; how many were given up.
fn push<T>(rows: &mut VecDeque<T>, row: T) -> u64 {
    let full = rows.len() >= WAITING;
    if full {
        rows.pop_front();
    }
    rows.push_back(row);
    u64::from(full)
}
