//! The records of what happens inside a session: `command`, `auth` and `anomaly`.

use serde::ser::SerializeMap;

use super::json::{Fields, JsonCounts, JsonMembers, JsonSides};
use super::{Facts, JsonStatus, View, enhanced};
use crate::event::Masked;
use crate::event::{Anomaly, AnomalyState, Auth, AuthMethod, AuthOutcome, Command, Mechanism, OauthError, Reply};

/// Octets of evidence in an anomaly record, at most.
const EVIDENCE: usize = 64;

impl Facts for Masked<'_, Command> {
    fn facts<M: SerializeMap>(&self, _: View<'_>, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("number", &self.number)?;
        object.set("name", self.verb.as_str())?;
        object.text("tag", self.tag.get())?;
        let args = self.args.get();
        match args.and_then(|args| object.redactor().redact_auth_parameter(args)) {
            Some(redacted) => object.text("args", Some(&redacted))?,
            None => object.text("args", args)?,
        }
        codes(object, &self.reply)?;
        object.text("text", self.reply.text.get())?;
        object.seconds("latency", self.latency)?;
        object.seconds("service_latency", self.service_latency)?;
        object.flag("coalesced", self.coalesced)?;
        object.flag("pipelined", self.pipelined)?;
        object.object("octets", JsonSides(self.octets))?;
        if !self.untagged.is_empty() {
            object.set("untagged", &JsonCounts(self.untagged.iter().map(|(kind, n)| (kind.as_str(), *n))))?;
        }
        object.text("mailbox", self.mailbox.get())?;
        object.count("literals", self.literals)
    }
}

impl Facts for Masked<'_, Auth> {
    fn facts<M: SerializeMap>(&self, view: View<'_>, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("method", self.method.as_str())?;
        object.known("mechanism", self.mechanism.map(Mechanism::as_str))?;
        if let Some(identity) = self.identity.get() {
            let proven = self.identity_proven || self.outcome == AuthOutcome::Success;
            object.identity("identity", &view.identities.show(identity, proven))?;
        }
        object.set("outcome", self.outcome.as_str())?;
        codes(object, &self.reply)?;
        object.text("reason", self.reply.text.get())?;
        object.flag("initial_response", self.initial_response == Some(true))?;
        object.known("steps", Some(self.steps).filter(|_| self.method == AuthMethod::Sasl))?;
        object.known("octets", Some(self.octets).filter(|octets| *octets > 0))?;
        if let Some(error) = &self.oauth_error {
            object.object("oauth_error", &**error)?;
        }
        object.set("tls", self.tls.as_str())?;
        object.seconds("latency", self.latency)
    }
}

impl Fields for OauthError {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.text("status", self.status.get())?;
        object.text("scope", self.scope.get())
    }
}

impl Facts for Masked<'_, Anomaly> {
    fn facts<M: SerializeMap>(&self, _: View<'_>, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("id", self.id.as_str())?;
        object.set("severity", self.severity.as_str())?;
        object.known("state", self.state.map(AnomalyState::as_str))?;
        object.known("variant", Some(self.variant).filter(|v| !v.is_empty()))?;
        object.set("direction", self.dir.sender())?;
        object.set("offset", &self.offset)?;
        let evidence = self.evidence.as_bytes();
        object.hex("evidence", self.evidence.get().map(|_| evidence.get(..EVIDENCE).unwrap_or(evidence)))?;
        object.known("transaction", self.transaction)?;
        object.text("tag", self.tag.get())?;
        object.count("count", self.count)
    }
}

/// What a reply says before its text.
fn codes<M: SerializeMap>(object: &mut JsonMembers<'_, M>, reply: &Reply) -> Result<(), M::Error> {
    object.known("status", reply.status.map(JsonStatus))?;
    object.display("enhanced", reply.enhanced.map(enhanced))?;
    object.text("response_code", reply.response_code.get())
}
