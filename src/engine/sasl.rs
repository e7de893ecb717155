//! Authentication of all three protocols: who, how, with what outcome; decides what is secret (RFC 4422).

use super::event::{Auth, AuthMethod, AuthOutcome, Mechanism, Reply, TlsMode};
use super::secret::Secrets;
use super::text::Text;
use crate::time::Timestamp;

/// One authentication attempt as it goes on.
#[derive(Debug)]
pub(crate) struct Exchange {
    method: AuthMethod,
    mechanism: Option<Mechanism>,
    identity: Text,
    initial_response: Option<bool>,
    steps: u32,
    began: Timestamp,
    sent: Timestamp,
}

impl Exchange {
    /// A SASL exchange: `mechanism` as sent, `initial` the response on the command line (`=` is the empty one).
    pub(crate) fn sasl(
        mechanism: &[u8],
        initial: Option<&[u8]>,
        began: Timestamp,
        sent: Timestamp,
        secrets: &mut Secrets,
    ) -> Self {
        let _ = (mechanism, secrets);
        Self {
            method: AuthMethod::Sasl,
            mechanism: Some(Mechanism::Other),
            identity: Text::default(),
            initial_response: Some(initial.is_some()),
            steps: 0,
            began,
            sent,
        }
    }

    /// An exchange without SASL: IMAP LOGIN, POP3 USER and PASS, APOP.
    pub(crate) fn plain(
        method: AuthMethod,
        identity: &[u8],
        secret: &[u8],
        began: Timestamp,
        sent: Timestamp,
        secrets: &mut Secrets,
    ) -> Self {
        secrets.learn(secret);
        let mut text = Text::default();
        text.set(identity);
        Self { method, mechanism: None, identity: text, initial_response: None, steps: 0, began, sent }
    }

    /// A line of the client inside the exchange, without its line end. Returns false for `*`, which cancels.
    pub(crate) fn response(&mut self, line: &[u8], secrets: &mut Secrets) -> bool {
        secrets.learn(line);
        self.steps = self.steps.saturating_add(1);
        line.trim_ascii_end() != b"*"
    }

    /// A challenge of the server, without `334` or `+`.
    pub(crate) fn challenge(&mut self, text: &[u8], secrets: &mut Secrets) {
        secrets.learn(text);
    }

    /// The attempt at its final reply, which came at `at`.
    pub(crate) fn finish(self, outcome: AuthOutcome, reply: Reply, at: Option<Timestamp>, tls: TlsMode) -> Auth {
        Auth {
            began: self.began,
            method: self.method,
            mechanism: self.mechanism,
            identity: self.identity,
            identity_proven: false,
            outcome,
            reply,
            initial_response: self.initial_response,
            steps: self.steps,
            tls,
            latency: at.and_then(|at| at.since(self.sent)),
            incomplete: Default::default(),
        }
    }
}
