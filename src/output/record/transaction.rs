//! The `transaction` record: one unit of mail moved, or meant to be.

use std::collections::BTreeSet;

use serde::ser::SerializeMap;

use super::super::identity::Identities;
use super::json::{Fields, Items, JsonMembers, Object};
use super::{Detail, Facts, View, enhanced};
use crate::event::Masked;
use crate::event::Verb;
use crate::event::{
    DataMode, Incomplete, Missing, Param, Recipient, RecipientReply, Reply, Stage, Status, Timing, Transaction,
    TransactionKind,
};
use crate::message::{Attachment, LineEnd, LineEndings};

impl Facts for Masked<'_, Transaction> {
    fn facts<M: SerializeMap>(&self, view: View<'_>, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("kind", self.kind.as_str())?;
        object.set("number", &self.number)?;
        object.time("end", view.shown(self.ended))?;
        object.seconds("duration", self.ended.since(self.began))?;
        object.set("outcome", self.outcome.as_str())?;
        object.known("stage", self.stage.map(Stage::as_str))?;
        object.set("tls", self.tls.as_str())?;
        if let Some(identity) = self.identity.get() {
            object.identity("identity", &view.identities.show(identity, true))?;
        }
        match self.kind {
            TransactionKind::Delivery => delivery(object, self, view.identities)?,
            TransactionKind::Retrieval => retrieval(object, self)?,
            TransactionKind::Append => append(object, self)?,
        }
        if self.has_message {
            object.object("message", MessageFacts { transaction: *self, detail: view.policy.detail })?;
        }
        if self.timing.is_known() {
            object.object("timing", self.timing)?;
        }
        Ok(())
    }
}

fn delivery<M: SerializeMap>(
    object: &mut JsonMembers<'_, M>,
    t: &Transaction,
    identities: &Identities,
) -> Result<(), M::Error> {
    object.name("reverse_path", t.reverse_path.map(|span| t.text(span)))?;
    object.texts("source_route", t.source_route.iter().map(|span| t.text(*span)))?;
    esmtp(object, t, t.mail_params(), identities)?;
    if !t.recipients.is_empty() {
        let redactor = object.redactor();
        let recipients =
            t.recipients.iter().map(|recipient| Object(To { transaction: t, recipient, identities }, redactor));
        object.set("recipients", &Items(recipients))?;
    }
    object.set("recipients_total", &t.recipients_total)?;
    object.known("data_mode", t.data_mode.map(DataMode::as_str))?;
    object.count("chunks", t.chunks)?;
    if t.last.status.is_some() {
        object.object("final", Final(&t.last))?;
    }
    object.flag("reply_undelivered", t.reply_undelivered)?;
    object.name("queue_id", t.queue_id.get())?;
    object.flag("pipelined", t.pipelined)?;
    object.flag("probe", t.probe)?;
    object.flag("smuggled", t.smuggled)?;
    object.known("parent", t.parent)?;
    object.known("direction", t.reversed.then_some("reversed"))
}

fn retrieval<M: SerializeMap>(object: &mut JsonMembers<'_, M>, t: &Transaction) -> Result<(), M::Error> {
    object.known("command", t.verb.map(Verb::as_str))?;
    object.text("mailbox", t.mailbox.get())?;
    object.known("uid", t.uid)?;
    object.known("message_number", t.message_number)?;
    object.text("section", t.section.get())?;
    object.known("origin", t.origin)
}

fn append<M: SerializeMap>(object: &mut JsonMembers<'_, M>, t: &Transaction) -> Result<(), M::Error> {
    object.known("command", t.verb.map(Verb::as_str))?;
    object.text("mailbox", t.mailbox.get())?;
    object.texts("flags", t.flags.iter())?;
    object.text("internal_date", t.internal_date.get())?;
    object.known("uid", t.uid)?;
    object.known("uid_validity", t.uid_validity)
}

/// `esmtp`, if there are parameters.
fn esmtp<M: SerializeMap>(
    object: &mut JsonMembers<'_, M>,
    t: &Transaction,
    params: &[Param],
    identities: &Identities,
) -> Result<(), M::Error> {
    if params.is_empty() { Ok(()) } else { object.object("esmtp", Esmtp { transaction: t, params, identities }) }
}

/// Parameters as an object. None may stand twice (RFC 5321 section 4.1.2); if one does, the first counts, as an object has
/// room for one, and the `command` record has the line.
struct Esmtp<'a> {
    transaction: &'a Transaction,
    params: &'a [Param],
    identities: &'a Identities,
}

impl Fields for Esmtp<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let mut seen = BTreeSet::new();
        for param in self.params {
            let keyword = self.transaction.text(param.keyword);
            if self.params.len() == 1 || seen.insert(keyword) {
                let value = param.value.map(|span| self.transaction.text(span));
                match value.filter(|value| keyword == b"AUTH" && *value != b"<>") {
                    // RFC 4954 section 5: who submitted the message.
                    Some(identity) => object.wire_identity(keyword, &self.identities.show(identity, true))?,
                    None => object.wire_member(keyword, value)?,
                }
            }
        }
        Ok(())
    }
}

/// One recipient.
struct To<'a> {
    transaction: &'a Transaction,
    identities: &'a Identities,
    recipient: &'a Recipient,
}

impl Fields for To<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let (t, recipient) = (self.transaction, self.recipient);
        object.name("forward_path", Some(t.text(recipient.forward_path)))?;
        esmtp(object, t, t.rcpt_params(recipient), self.identities)?;
        object.known("code", recipient.code)?;
        object.display("enhanced", recipient.enhanced.map(enhanced))?;
        object.text("text", recipient.text.map(|span| t.text(span)))?;
        object.seconds("latency", recipient.latency)?;
        match &recipient.last {
            Some(last) => object.object("final", RecipientDataReply { transaction: t, last }),
            None => Ok(()),
        }
    }
}

/// The reply of one recipient after the data.
struct RecipientDataReply<'a> {
    transaction: &'a Transaction,
    last: &'a RecipientReply,
}

impl Fields for RecipientDataReply<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("code", &self.last.code)?;
        object.display("enhanced", self.last.enhanced.map(enhanced))?;
        object.text("text", Some(self.transaction.text(self.last.text)).filter(|t| !t.is_empty()))?;
        object.seconds("latency", self.last.latency)
    }
}

/// The reply that ended a delivery.
struct Final<'a>(&'a Reply);

impl Fields for Final<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.known("code", self.0.status.and_then(Status::code))?;
        object.display("enhanced", self.0.enhanced.map(enhanced))?;
        object.text("text", self.0.text.get())
    }
}

impl Timing {
    fn is_known(&self) -> bool {
        let Self { data_go, data_idle, transfer, reply, first_byte } = self;
        data_go.or(*data_idle).or(*transfer).or(*reply).or(*first_byte).is_some()
    }
}

impl Fields for Timing {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.seconds("data_go", self.data_go)?;
        object.seconds("data_idle", self.data_idle)?;
        object.seconds("transfer", self.transfer)?;
        object.seconds("reply", self.reply)?;
        object.seconds("first_byte", self.first_byte)
    }
}

/// `message`.
struct MessageFacts<'a> {
    transaction: Masked<'a, Transaction>,
    detail: Detail,
}

impl Fields for MessageFacts<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let (t, message) = (self.transaction, &self.transaction.fact().message);
        object.known("size", message.size_known().then(|| message.size()))?;
        object.known("wire_size", t.wire_size)?;
        object.known("declared_size", t.declared_size)?;
        object.hex("sha256", message.sha256().as_ref().map(<[u8; 32]>::as_slice))?;
        object.set("complete", &message.complete())?;
        header(object, t, self.detail)?;
        if !message.attachments().is_empty() {
            let redactor = object.redactor();
            let attached = |file| Object(Attached { transaction: t, file, detail: self.detail }, redactor);
            let attachments = message.attachments().iter().map(attached);
            object.set("attachments", &Items(attachments))?;
        }
        object.count("parts", message.parts())?;
        let LineEndings { crlf, bare_lf, bare_cr, nul, .. } = message.line_endings();
        if [crlf, bare_lf, bare_cr, nul].iter().any(|count| **count > 0) {
            object.object("line_endings", message.line_endings())?;
        }
        Ok(())
    }
}

/// What is missing of a transaction: what the engine says, and what a cap hides of its message.
pub(super) fn incomplete(t: &Transaction) -> Incomplete {
    let (mut incomplete, message) = (t.incomplete, &t.message);
    let unlisted = message.attachments_total() > message.attachments().len() as u64;
    if t.has_message && (unlisted || message.header_truncated() || message.parts_truncated()) {
        incomplete.add(Missing::Truncated);
    }
    incomplete
}

fn header<M: SerializeMap>(
    object: &mut JsonMembers<'_, M>,
    transaction: Masked<'_, Transaction>,
    detail: Detail,
) -> Result<(), M::Error> {
    let message = &transaction.message;
    let mut text = |name, text: Option<String>| object.known(name, text.map(|text| transaction.decoded(text)));
    text("message_id", message.message_id())?;
    text("date", message.date())?;
    if detail == Detail::Headers {
        text("from", message.from())?;
        text("to", message.to())?;
        text("cc", message.cc())?;
        text("reply_to", message.reply_to())?;
        text("subject", message.subject())?;
    }
    text("from_domain", message.from_domain())
}

struct Attached<'a> {
    transaction: Masked<'a, Transaction>,
    file: &'a Attachment,
    detail: Detail,
}

impl Fields for Attached<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let shown = |text: &String| self.transaction.decoded(text.clone());
        object.known("filename", self.file.filename.as_ref().filter(|_| self.detail == Detail::Headers).map(shown))?;
        object.set("content_type", &shown(&self.file.content_type))?;
        object.known("size", Some(self.file.size).filter(|_| self.file.complete))
    }
}

impl Fields for LineEndings {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("crlf", &self.crlf)?;
        object.set("bare_lf", &self.bare_lf)?;
        object.set("bare_cr", &self.bare_cr)?;
        object.set("nul", &self.nul)?;
        let first = |line| match line {
            LineEnd::Crlf => "crlf",
            LineEnd::Lf => "lf",
        };
        object.known("first", self.first.map(first))
    }
}
