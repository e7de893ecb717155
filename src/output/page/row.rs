//! What the page lists: sessions, messages, anomalies, refusals, each of a fixed size but for texts that are cut short.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::anomaly::Id;
use crate::event::{
    AnomalyState, Context, Dir, Enhanced, Phase, Protocol, SessionOutcome, Severity, Status, TlsMode, TransactionKind,
    TransactionOutcome,
};
use crate::time::Timestamp;

use super::step::ServerStep;

/// A session, as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct SessionRow {
    pub(super) id: u64,
    pub(super) protocol: Protocol,
    pub(super) source: u32,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) began: Timestamp,
    /// When anything was last heard of it.
    pub(super) heard: Timestamp,
    pub(super) tls: TlsMode,
    /// What was answered last, and how.
    pub(super) last: Option<(ServerStep, Option<Status>)>,
    /// Of client and server.
    pub(super) octets: [u64; 2],
    pub(super) commands: u32,
    pub(super) messages: u32,
    pub(super) refused: u32,
    pub(super) anomalies: u32,
    /// Transactions that are over.
    pub(super) transactions: u32,
    /// Since when the server has sent nothing, after what the client sent.
    pub(super) waits: Option<Timestamp>,
    pub(super) end: Option<(SessionOutcome, Phase)>,
}

impl SessionRow {
    pub(super) const fn new(context: &Context, at: Timestamp) -> Self {
        Self {
            id: context.id,
            protocol: context.protocol,
            source: context.peers.source,
            client: context.peers.client,
            server: context.peers.server,
            began: context.began,
            heard: at,
            tls: TlsMode::None,
            last: None,
            octets: [0; 2],
            commands: 0,
            messages: 0,
            refused: 0,
            anomalies: 0,
            transactions: 0,
            waits: Some(context.began),
            end: None,
        }
    }
}

/// A reply, and what it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepRow {
    pub(super) step: ServerStep,
    /// From the session's beginning to that of the step.
    pub(super) after: Option<Duration>,
    pub(super) status: Option<Status>,
    pub(super) enhanced: Option<Enhanced>,
    /// From the command to the reply, as the client saw it.
    pub(super) taken: Option<Duration>,
}

/// A transaction that is over.
#[derive(Clone, Debug)]
pub(super) struct MessageRow {
    pub(super) at: Timestamp,
    pub(super) session: u64,
    pub(super) protocol: Protocol,
    pub(super) client: SocketAddr,
    pub(super) kind: TransactionKind,
    pub(super) outcome: TransactionOutcome,
    pub(super) tls: TlsMode,
    pub(super) size: Option<u64>,
    pub(super) recipients: u32,
    pub(super) from: Option<Box<str>>,
    /// The first recipient.
    pub(super) to: Option<Box<str>>,
    pub(super) subject: Option<Box<str>>,
}

/// An anomaly.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnomalyRow {
    pub(super) at: Timestamp,
    pub(super) session: u64,
    pub(super) protocol: Protocol,
    pub(super) client: SocketAddr,
    pub(super) id: Id,
    pub(super) severity: Severity,
    pub(super) state: Option<AnomalyState>,
    pub(super) variant: &'static str,
    pub(super) dir: Dir,
    pub(super) count: u32,
}

/// A kind of refusal.
pub(super) type RefusalKind = (Protocol, ServerStep, Option<Status>, Option<Enhanced>);
