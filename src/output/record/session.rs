//! The `session` record: a connection as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use serde::ser::SerializeMap;

use super::community::community_id;
use super::json::{Fields, Items, JsonCounts, JsonMembers, JsonSides, Object};
use super::{Facts, InputKind, JsonStatus, View};
use crate::event::Masked;
use crate::event::{
    AuthMethod, AuthOutcome, AuthSummary, Close, Counts, Dir, Greeting, Handshake, Idle, Maildrop, Mechanism, Notice,
    Other, Protocol, Refusal, Software, Summary, Tls, TlsFailure, TlsMode, Tunnel, TunnelHost, Upstream,
};

impl Facts for Masked<'_, Summary> {
    fn facts<M: SerializeMap>(&self, view: View<'_>, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let (context, peers) = (view.context, &view.context.peers);
        object.time("end", view.shown(self.ended))?;
        object.seconds("duration", self.ended.since(context.began))?;
        object.display("community_id", Some(community_id(peers.client, peers.server)))?;
        object.set("input", view.policy.input.as_str())?;
        object.known("source", view.policy.sources.get(peers.source as usize))?;
        object.object("bytes", JsonSides(self.bytes))?;
        if let Some(packets) = self.packets {
            object.object("packets", JsonSides(packets))?;
        }
        if view.policy.input != InputKind::Proxy {
            object.object("gaps", JsonSides(self.gaps))?;
        }
        object.known("other", self.other.filter(|_| context.protocol == Protocol::Unknown).map(Other::as_str))?;
        if self.greeting.reply.status.is_some() || self.greeting.reply.text.is_present() {
            object.object("greeting", &self.greeting)?;
        }
        object.name("helo", self.helo.get())?;
        object.texts("capabilities", self.capabilities.iter())?;
        if let Some(tls) = Encryption::of(&self.tls, context.protocol) {
            object.object("tls", tls)?;
        }
        if self.auth.attempts > 0 {
            object.object("auth", Authentication { auth: &self.auth, view })?;
        }
        object.text("mailbox", self.mailbox.get())?;
        object.object("counts", self.counts)?;
        object.object("close", Closed { close: self.close, reason: self.close_reason.get() })?;
        if !self.notices.is_empty() {
            let redactor = object.redactor();
            object.set("notices", &Items(self.notices.iter().map(|notice| Object(notice, redactor))))?;
        }
        if let Some(software) = &self.software {
            object.object("software", &**software)?;
        }
        if let Some(upstream) = self.upstream {
            object.object("upstream", Dialled { upstream, connect: context.connect })?;
        }
        if let Some(client) = self.proxied_client {
            object.object("proxied_client", Told(client))?;
        }
        if let Some(tunnel) = &self.tunnel {
            object.object("tunnel", tunnel.as_ref())?;
        }
        object.flag("ehlo_refused", self.ehlo_refused)?;
        object.count("reply_desync", self.reply_desync)?;
        object.set("outcome", self.outcome.as_str())?;
        if let Some(maildrop) = &self.maildrop {
            pop3(object, maildrop)?;
        }
        if !self.untagged.is_empty() {
            object.set("untagged", &JsonCounts(self.untagged.iter().map(|(kind, n)| (kind.as_str(), *n))))?;
        }
        if let Some(idle) = self.idle {
            object.object("idle", IdleFacts { idle, timed: self.ended.known().is_some() })?;
        }
        Ok(())
    }
}

fn pop3<M: SerializeMap>(object: &mut JsonMembers<'_, M>, maildrop: &Maildrop) -> Result<(), M::Error> {
    if let Some(size) = maildrop.size {
        object.object("maildrop", MessagesAndBytes(size))?;
    }
    object.object("retrieved", MessagesAndBytes(maildrop.retrieved))?;
    object.object("deleted", Deleted(maildrop))
}

impl Fields for Tunnel {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("kind", self.kind.as_str())?;
        match &self.host {
            TunnelHost::Ip(ip) => object.display("ip", Some(ip))?,
            TunnelHost::Name(name) => object.text("host", name.get())?,
        }
        object.set("port", &self.port)
    }
}

impl Fields for Greeting {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.known("status", self.reply.status.map(JsonStatus))?;
        object.text("text", self.reply.text.get())?;
        object.seconds("delay", self.delay)
    }
}

/// `tls`: in clear is a fact too, once there is a protocol that was read in clear.
struct Encryption<'a> {
    mode: Option<TlsMode>,
    tls: &'a Tls,
}

impl<'a> Encryption<'a> {
    fn of(tls: &'a Tls, protocol: Protocol) -> Option<Self> {
        let mode = tls.mode.or_else(|| (protocol != Protocol::Unknown).then_some(TlsMode::None));
        let known =
            mode.is_some() || tls.offered.or(tls.requested).or(tls.accepted).is_some() || tls.handshake.is_some();
        let known = known || tls.upstream_failure.is_some();
        known.then_some(Self { mode, tls })
    }
}

impl Fields for Encryption<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.known("mode", self.mode.map(TlsMode::as_str))?;
        object.known("offered", self.tls.offered)?;
        object.known("requested", self.tls.requested)?;
        object.known("accepted", self.tls.accepted)?;
        object.known("handshake", self.tls.handshake.map(Handshake::as_str))?;
        object.known("version", self.tls.version)?;
        object.known("cipher", self.tls.cipher)?;
        object.text("sni", self.tls.sni.get())?;
        object.known("decrypted", self.tls.decrypted.then_some(true))?;
        object.known("failure", self.tls.failure.map(TlsFailure::as_str))?;
        object.known("upstream_failure", self.tls.upstream_failure.map(TlsFailure::as_str))
    }
}

/// `auth`. Its outcome is that of a success if there was one, so any other outcome says that its identity is not proven.
struct Authentication<'a> {
    auth: &'a AuthSummary,
    view: View<'a>,
}

impl Fields for Authentication<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.known("method", self.auth.method.map(AuthMethod::as_str))?;
        object.known("mechanism", self.auth.mechanism.map(Mechanism::as_str))?;
        if let Some(identity) = self.auth.identity.get() {
            let proven = self.auth.outcome == Some(AuthOutcome::Success);
            object.identity("identity", &self.view.identities.show(identity, proven))?;
        }
        object.known("outcome", self.auth.outcome.map(AuthOutcome::as_str))?;
        object.set("attempts", &self.auth.attempts)
    }
}

impl Fields for Counts {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let Self { commands, transactions, errors_temporary, errors_permanent, unknown_commands, anomalies, omitted } =
            self;
        object.set("commands", commands)?;
        object.set("transactions", transactions)?;
        object.set("errors_temporary", errors_temporary)?;
        object.set("errors_permanent", errors_permanent)?;
        object.set("unknown_commands", unknown_commands)?;
        object.set("anomalies", anomalies)?;
        object.count("omitted", *omitted)
    }
}

/// `close`.
struct Closed<'a> {
    close: Close,
    reason: Option<&'a [u8]>,
}

impl Fields for Closed<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("by", self.close.by.map_or("none", Dir::sender))?;
        object.set("how", self.close.how.as_str())?;
        object.set("phase", self.close.phase.as_str())?;
        object.text("reason", self.reason.filter(|reason| !reason.is_empty()))
    }
}

impl Fields for Notice {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.known("status", self.status.map(JsonStatus))?;
        object.text("response_code", self.response_code.get())?;
        object.text("text", self.text.get())
    }
}

impl Fields for Software {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.name("server", self.server.get())?;
        object.name("client", self.client.get())
    }
}

/// `upstream`.
struct Dialled {
    upstream: Upstream,
    connect: Option<Duration>,
}

impl Fields for Dialled {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        if let Some(address) = self.upstream.address {
            object.set("ip", &address.ip().to_canonical())?;
            object.set("port", &address.port())?;
        }
        object.seconds("connect", self.connect)?;
        object.known("error", self.upstream.error.map(Refusal::as_str))
    }
}

/// An address that somebody told; port 0 was not told.
struct Told(SocketAddr);

impl Fields for Told {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("ip", &self.0.ip().to_canonical())?;
        object.known("port", Some(self.0.port()).filter(|port| *port > 0))
    }
}

/// Messages and their octets.
struct MessagesAndBytes((u64, u64));

impl Fields for MessagesAndBytes {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        let (messages, octets) = self.0;
        object.set("messages", &messages)?;
        object.set("octets", &octets)
    }
}

struct Deleted<'a>(&'a Maildrop);

impl Fields for Deleted<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("requested", &self.0.deleted)?;
        object.known("committed", self.0.committed)
    }
}

/// `idle`; how long is not known where packets have no time.
struct IdleFacts {
    idle: Idle,
    timed: bool,
}

impl Fields for IdleFacts {
    fn fields<M: SerializeMap>(&self, object: &mut JsonMembers<'_, M>) -> Result<(), M::Error> {
        object.set("count", &self.idle.count)?;
        object.seconds("duration", Some(self.idle.duration).filter(|_| self.timed))?;
        object.set("events", &self.idle.events)?;
        object.count("keepalives", self.idle.keepalives)
    }
}
