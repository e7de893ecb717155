//! Facts whose texts have passed the masking of secrets: nothing else reaches a [`Sink`](super::Sink).
//!
//! A [`Masked`] fact cannot be made without masking it, and what masks it names every member of the fact, so that one that
//! is added later is not forgotten.

use std::ops::Deref;

use super::{
    Anomaly, Auth, AuthSummary, Command, Greeting, Notice, OauthError, Param, Recipient, Reply, Software, Span,
    Summary, Text, Tls, Transaction, Tunnel, TunnelHost, Verb,
};

/// Knows what must not be shown in the texts of a session.
pub trait Mask: std::fmt::Debug {
    /// `text`, which the server said, as it may be shown; `None` if it may be shown as it is.
    fn said(&self, text: &[u8]) -> Option<Vec<u8>>;

    /// The same for a text that the client sent where it belongs.
    fn sent(&self, text: &[u8]) -> Option<Vec<u8>>;

    /// Who the client said it was. Outputs decide whether texts show that.
    fn names(&self) -> &Names;
}

/// A fact that was masked.
#[derive(Debug)]
pub struct Masked<'a, T> {
    fact: &'a T,
    mask: &'a dyn Mask,
}

impl<'a, T: Texts> Masked<'a, T> {
    /// Masks `fact`.
    pub fn new(fact: &'a mut T, mask: &'a dyn Mask) -> Self {
        fact.mask(mask);
        Self { fact, mask }
    }
}

impl<'a, T> Masked<'a, T> {
    /// The fact.
    pub fn fact(self) -> &'a T {
        self.fact
    }

    /// A text that was made of the fact, such as a decoded header field, as it may be shown.
    pub fn decoded(self, text: String) -> String {
        match self.mask.sent(text.as_bytes()) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => text,
        }
    }

    /// For tests of outputs, whose facts are made by hand.
    #[cfg(test)]
    pub(crate) fn by_hand(fact: &'a T) -> Self {
        Self { fact, mask: &NOTHING }
    }

    /// Who the client said it was.
    pub fn names(self) -> &'a Names {
        self.mask.names()
    }
}

#[cfg(test)]
static NOTHING: tests::Nothing = tests::Nothing(Names { names: Vec::new() });

impl<T> Clone for Masked<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Masked<'_, T> {}

impl<T> Deref for Masked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.fact
    }
}

/// Something with texts from the wire.
pub trait Texts {
    /// Masks every one of them.
    fn mask(&mut self, mask: &dyn Mask);
}

fn said(text: &mut Text, mask: &dyn Mask) {
    text.pass(|text| mask.said(text));
}

fn sent(text: &mut Text, mask: &dyn Mask) {
    text.pass(|text| mask.sent(text));
}

impl Texts for Reply {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self { status: _, enhanced: _, response_code, text } = self;
        said(response_code, mask);
        said(text, mask);
    }
}

impl Texts for Greeting {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self { reply, delay: _ } = self;
        reply.mask(mask);
    }
}

impl Texts for Command {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self {
            number: _,
            verb,
            tag,
            args,
            reply,
            began: _,
            sent: _,
            latency: _,
            service_latency: _,
            coalesced: _,
            pipelined: _,
            octets: _,
            untagged: _,
            mailbox,
            literals: _,
            incomplete: _,
        } = self;
        [args, mailbox].into_iter().for_each(|text| sent(text, mask));
        if *verb == Verb::Other {
            // The server took it for a tag; the client may have meant anything.
            said(tag, mask);
        } else {
            sent(tag, mask);
        }
        reply.mask(mask);
    }
}

impl Texts for Auth {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self {
            began: _,
            method: _,
            mechanism: _,
            // Outputs decide whether it is shown.
            identity,
            identity_proven: _,
            outcome: _,
            reply,
            oauth_error,
            initial_response: _,
            steps: _,
            octets: _,
            tls: _,
            latency: _,
            server_latency: _,
            incomplete: _,
        } = self;
        identity.pass(|_| None);
        reply.mask(mask);
        if let Some(OauthError { status, scope }) = oauth_error.as_deref_mut() {
            said(status, mask);
            said(scope, mask);
        }
    }
}

impl Texts for Transaction {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self {
            kind: _,
            number: _,
            began: _,
            ended: _,
            outcome: _,
            stage: _,
            tls: _,
            identity,
            has_message: _,
            // What is shown of it passes `Masked::decoded`.
            message: _,
            wire_size: _,
            declared_size: _,
            timing: _,
            incomplete: _,
            arena,
            reverse_path,
            source_route,
            params,
            mail_params: _,
            recipients,
            recipients_total: _,
            data_mode: _,
            chunks: _,
            last,
            reply_undelivered: _,
            queue_id,
            pipelined: _,
            probe: _,
            smuggled: _,
            parent: _,
            reversed: _,
            verb: _,
            mailbox,
            uid: _,
            uid_validity: _,
            message_number: _,
            section,
            origin: _,
            flags,
            internal_date,
        } = self;
        identity.pass(|_| None);
        last.mask(mask);
        [queue_id, section].into_iter().for_each(|text| said(text, mask));
        [mailbox, internal_date].into_iter().for_each(|text| sent(text, mask));
        flags.pass(|text| mask.sent(text));
        let mut in_arena = |span: &mut Span, server| {
            span.pass(arena, |text| if server { mask.said(text) } else { mask.sent(text) });
        };
        reverse_path.iter_mut().chain(source_route).for_each(|span| in_arena(span, false));
        for Param { keyword, value } in params {
            in_arena(keyword, false);
            value.iter_mut().for_each(|value| in_arena(value, false));
        }
        for recipient in recipients {
            let Recipient { forward_path, esmtp: _, code: _, enhanced: _, text, latency: _, last } = recipient;
            in_arena(forward_path, false);
            text.iter_mut().chain(last.as_mut().map(|last| &mut last.text)).for_each(|text| in_arena(text, true));
        }
    }
}

impl Texts for Anomaly {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self {
            id: _,
            severity: _,
            state: _,
            variant: _,
            dir: _,
            at: _,
            offset: _,
            evidence,
            transaction: _,
            tag,
            count: _,
        } = self;
        said(evidence, mask);
        sent(tag, mask);
    }
}

impl Texts for Summary {
    fn mask(&mut self, mask: &dyn Mask) {
        let Self {
            ended: _,
            bytes: _,
            packets: _,
            gaps: _,
            disorder: _,
            other: _,
            started: _,
            greeting,
            helo,
            capabilities,
            extensions: _,
            tls,
            auth,
            mailbox,
            counts: _,
            close: _,
            close_reason,
            notices,
            software,
            upstream: _,
            proxied_client: _,
            tunnel,
            ehlo_refused: _,
            reply_desync: _,
            outcome: _,
            maildrop: _,
            untagged: _,
            idle: _,
            incomplete: _,
        } = self;
        greeting.mask(mask);
        capabilities.pass(|text| mask.said(text));
        [helo, mailbox].into_iter().for_each(|text| sent(text, mask));
        let Tls {
            mode: _,
            offered: _,
            requested: _,
            accepted: _,
            handshake: _,
            took: _,
            version: _,
            cipher: _,
            sni,
            decrypted: _,
            failure: _,
            upstream_failure: _,
        } = tls;
        sent(sni, mask);
        let AuthSummary { method: _, mechanism: _, identity, outcome: _, attempts: _ } = auth;
        identity.pass(|_| None);
        if let Some(Tunnel { kind: _, host: TunnelHost::Name(name), port: _ }) = tunnel.as_deref_mut() {
            sent(name, mask);
        }
        said(close_reason, mask);
        for Notice { status: _, response_code, text } in notices {
            said(response_code, mask);
            said(text, mask);
        }
        if let Some(Software { server, client }) = software.as_deref_mut() {
            said(server, mask);
            sent(client, mask);
        }
    }
}

/// Names that a client gave for itself, the last few.
#[derive(Default)]
pub struct Names {
    names: Vec<Name>,
}

struct Name {
    name: Box<[u8]>,
    proven: bool,
}

impl Names {
    /// Names kept: beyond any honest client's number of accounts, and the words of a greeting.
    const MOST: usize = 16;

    /// Bytes kept of one: as many as a mailbox has (RFC 5321 section 4.5.3.1.3).
    const LONGEST: usize = 256;

    /// No name.
    pub const fn nobody() -> Self {
        Self { names: Vec::new() }
    }

    /// Each name, and whether the server believed it.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.names.iter().map(|name| (&*name.name, name.proven))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Gives back room that is not needed.
    pub fn shrink(&mut self) {
        self.names.shrink_to_fit();
    }

    /// Adds a name; the oldest that was not believed makes room.
    pub fn add(&mut self, name: &[u8]) {
        let name = name.get(..Self::LONGEST).unwrap_or(name);
        if name.is_empty() || self.names.iter().any(|known| *known.name == *name) {
            return;
        }
        if self.names.len() >= Self::MOST {
            let oldest = self.names.iter().position(|known| !known.proven).unwrap_or_default();
            self.names.remove(oldest);
        }
        self.names.push(Name { name: name.into(), proven: false });
    }

    /// The server believed `name`.
    pub fn prove(&mut self, name: &[u8]) {
        self.add(name);
        let name = name.get(..Self::LONGEST).unwrap_or(name);
        self.names.iter_mut().filter(|known| *known.name == *name).for_each(|known| known.proven = true);
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} names", self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hides nothing.
    #[derive(Debug)]
    pub(super) struct Nothing(pub(super) Names);

    impl Mask for Nothing {
        fn said(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn sent(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn names(&self) -> &Names {
            &self.0
        }
    }

    #[test]
    fn names_are_few_and_those_believed_stay() {
        let mut names = Names::default();
        names.prove(b"ann");
        for n in 0..100 {
            names.add(format!("guess{n}").as_bytes());
        }
        names.add(b"");
        let all: Vec<_> = names.iter().collect();
        assert_eq!((all.len(), all[0], all[15]), (16, (&b"ann"[..], true), (&b"guess99"[..], false)));
        assert_eq!(format!("{names:?}"), "16 names");
    }
}
