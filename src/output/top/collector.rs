//! Counts, in the thread where events happen, for the top lists.
//!
//! What it has gathered it moves into the [`TopState`] when that is free, and else keeps for the next time: it never waits.

use std::net::SocketAddr;
use std::sync::Arc;

use super::TopState;
use super::lists::{TopBatch, network_of};
use crate::event::{
    Auth, AuthOutcome, Context, Event, Masked, Recipient, Reply, Sink, Stage, Transaction, TransactionKind,
};
use crate::output::Policy;
use crate::output::identity::{Identities, ShownIdentity};
use crate::output::shown_text::shown;
use crate::time::Timestamp;

/// Events after which it publishes by itself.
const OFTEN: u32 = 4096;

/// Bytes of a name that is kept: as many as a domain's has (RFC 1035 section 2.3.4).
const NAME: usize = 255;

/// One for each thread.
pub struct TopCollector {
    state: Arc<TopState>,
    batch: TopBatch,
    /// If users are counted.
    identities: Option<Identities>,
    events: u32,
}

impl std::fmt::Debug for TopCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopCollector").field("events", &self.events).finish_non_exhaustive()
    }
}

impl TopCollector {
    /// One that counts for `state`. Users are known by what `policy` lets the log show of them in full.
    pub fn new(state: Arc<TopState>, policy: &Policy) -> Self {
        let identities = || Identities::new(policy.identity, policy.identity_failed, policy.key.as_deref());
        let identities = state.users().then(identities);
        Self { state, batch: TopBatch::default(), identities, events: 0 }
    }

    /// Lets the lists have what has gathered. Never waits; call it every 100 ms or so.
    pub fn publish(&mut self) {
        if self.events > 0 && self.state.take(&mut self.batch) {
            self.events = 0;
        }
    }

    /// Counts sessions, bytes, refused replies and failed logins of the session's two ends.
    fn ends(&mut self, context: &Context, [sessions, bytes, refused, failed]: [u64; 4]) {
        let network = network_of(context.peers.client.ip());
        self.batch.networks.add(&network, [sessions, bytes, refused, failed], |key| *key);
        if failed == 0 {
            let server = context.peers.server;
            let server = SocketAddr::new(server.ip().to_canonical(), server.port());
            self.batch.servers.add(&server, [sessions, bytes, refused], |key| *key);
        }
    }

    fn reply(&mut self, context: &Context, reply: &Reply) {
        if reply.status.is_some_and(|status| !status.is_positive()) {
            self.ends(context, [0, 0, 1, 0]);
        }
    }

    fn auth(&mut self, context: &Context, auth: &Auth) {
        let counts = match auth.outcome {
            AuthOutcome::Success => [1, 0],
            AuthOutcome::Failed => [0, 1],
            _ => return,
        };
        if auth.outcome == AuthOutcome::Failed {
            self.ends(context, [0, 0, 0, 1]);
        }
        let Some((identities, identity)) = self.identities.as_ref().zip(auth.identity.get()) else { return };
        let proven = auth.outcome == AuthOutcome::Success || auth.identity_proven;
        if let ShownIdentity::Plain(identity) = identities.show(identity, proven) {
            self.batch.users.add(&*kept(identity), counts, |name: &str| name.into());
        }
    }

    fn transaction(&mut self, context: &Context, transaction: Masked<'_, Transaction>) {
        if transaction.kind != TransactionKind::Delivery {
            return;
        }
        // The reply to a last BDAT is that of a command.
        if matches!(transaction.stage, None | Some(Stage::Eod | Stage::DataEarly)) {
            self.reply(context, &transaction.last);
        }
        for recipient in &transaction.recipients {
            let counts = [1, u64::from(is_refused(recipient))];
            match domain(transaction.text(recipient.forward_path)) {
                Some(domain) => self.batch.domains.add(&*domain, counts, |name: &str| name.into()),
                None => self.batch.domains.add_unnamed(counts),
            }
        }
        // Those beyond the cap of a transaction.
        let rest = u64::from(transaction.recipients_total).saturating_sub(transaction.recipients.len() as u64);
        if rest > 0 {
            self.batch.domains.add_unnamed([rest, 0]);
        }
    }
}

/// A name as it is kept and shown.
fn kept(name: &[u8]) -> Box<str> {
    let mut text = String::from(shown(name));
    text.truncate(text.floor_char_boundary(NAME));
    text.into()
}

fn is_refused(recipient: &Recipient) -> bool {
    recipient.code.is_some_and(|code| code >= 400) || recipient.last.is_some_and(|last| last.code >= 400)
}

/// The domain of a path, in lower case; `None` if it has none, such as `postmaster` (RFC 5321 section 4.5.1).
fn domain(path: &[u8]) -> Option<Box<str>> {
    let at = memchr::memrchr(b'@', path)?;
    let name = path.get(at + 1..)?;
    let name = name.strip_suffix(b".").unwrap_or(name);
    (1..=NAME).contains(&name.len()).then(|| kept(&name.to_ascii_lowercase()))
}

impl Sink for TopCollector {
    fn event(&mut self, context: &Context, _: Timestamp, event: &Event<'_>) {
        match event {
            Event::Start => self.ends(context, [1, 0, 0, 0]),
            Event::Octets { count, .. } => self.ends(context, [0, *count, 0, 0]),
            Event::Greeting(greeting) => self.reply(context, &greeting.reply),
            Event::Command(command) => self.reply(context, &command.reply),
            Event::Auth(auth) => self.auth(context, auth),
            Event::Transaction(transaction) => self.transaction(context, *transaction),
            _ => return,
        }
        self.events = self.events.wrapping_add(1).max(1);
        if self.events.is_multiple_of(OFTEN) {
            self.publish();
        }
    }
}

impl Drop for TopCollector {
    /// What it has counted is not lost.
    fn drop(&mut self) {
        self.state.take_all(&mut self.batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_stands_behind_the_last_at() {
        for (path, expected) in [
            ("ann@Example.ORG", Some("example.org")),
            ("\"a@b\"@example.org.", Some("example.org")),
            ("ann@[192.0.2.1]", Some("[192.0.2.1]")),
            ("postmaster", None),
            ("ann@", None),
            ("a@b\u{202e}c", Some("b\\u{202e}c")),
        ] {
            assert_eq!(domain(path.as_bytes()).as_deref(), expected, "{path}");
        }
        assert_eq!(domain(format!("a@{}", "x".repeat(256)).as_bytes()), None);
        assert_eq!(kept(&[0; 200]).len(), 255);
    }
}
