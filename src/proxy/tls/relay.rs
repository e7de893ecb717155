//! Clear text on its way between two sides, each with its own TLS or none.
//!
//! What was read goes through the dialogue, is written to the other side, and then observed: as the client sent it, and
//! as the client gets it. A side that does not drain is not read for; a direction that waits for an answer is not read.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::failure::failure;
use super::observer::{Observer, SessionStop};
use super::starttls::{Dialogue, StartTlsRequest};
use super::stream::{Departure, SideStream};
use crate::event::{Both, Dir};

/// Octets of one read: what a TLS record holds (RFC 8446 section 5.1).
const READ: usize = 16 << 10;

/// Rounds before other connections have their turn.
const TURNS: u32 = 8;

/// Why the relay stopped.
#[derive(Debug)]
pub(super) enum Pause {
    /// The client asks for TLS; all before it has been answered.
    Asked(StartTlsRequest),
    /// Both sides closed.
    Closed,
    /// The sender of this direction reset.
    Reset(Dir),
    /// The observer wants an end.
    Stopped(SessionStop),
}

/// One direction.
#[derive(Debug, Default)]
struct RelayedFlow {
    /// Octets for the receiver, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Written, but not flushed.
    dirty: bool,
    /// Octets of the client whose meaning waits.
    held: Vec<u8>,
    state: RelayedState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RelayedState {
    #[default]
    Open,
    /// The sender closed; the receiver is to be told.
    Ending,
    /// The receiver was told.
    Ended,
    /// The receiver is gone.
    Broken,
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) client: SideStream,
    pub(super) server: SideStream,
    /// `None`: nothing is to be changed.
    pub(super) dialogue: Option<Dialogue>,
    flows: Both<RelayedFlow>,
}

impl Relay {
    pub(super) fn new(client: SideStream, server: SideStream, dialogue: Option<Dialogue>) -> Self {
        Self { client, server, dialogue, flows: Both::default() }
    }

    /// Octets of the client that were observed already go first.
    pub(super) fn begin_with(&mut self, octets: &[u8]) {
        self.flows[Dir::ToServer].out.extend_from_slice(octets);
    }

    /// Forgets what the client sent in clear behind its STARTTLS.
    pub(super) fn forget(&mut self) {
        self.flows[Dir::ToServer].held = Vec::new();
    }

    /// Goes on with another connection to the server; nothing is on its way.
    pub(super) fn change_server(&mut self, server: SideStream) {
        self.server = server;
        self.flows = Both::default();
    }

    /// Forwards until something else is to be done.
    pub(super) async fn run(&mut self, observer: &mut dyn Observer) -> Pause {
        poll_fn(|cx| self.poll(observer, cx)).await
    }

    fn poll(&mut self, observer: &mut dyn Observer, cx: &mut Context<'_>) -> Poll<Pause> {
        for _ in 0..TURNS {
            let mut moved = false;
            for dir in Dir::BOTH {
                if let Poll::Ready(Some(pause)) = self.flow(dir, observer, &mut moved, cx) {
                    return Poll::Ready(pause);
                }
            }
            match (self.flows.to_server.state, self.flows.to_client.state) {
                (RelayedState::Ended, RelayedState::Ended) => return Poll::Ready(Pause::Closed),
                (RelayedState::Broken, RelayedState::Ended | RelayedState::Broken) => {
                    return Poll::Ready(Pause::Reset(Dir::ToClient));
                }
                (RelayedState::Ended, RelayedState::Broken) => return Poll::Ready(Pause::Reset(Dir::ToServer)),
                _ => {}
            }
            let rests = Dir::BOTH.iter().all(|dir| self.flows[*dir].out.is_empty() && self.flows[*dir].held.is_empty());
            if let Poll::Ready(stop) = observer.poll_stop(rests, cx) {
                return Poll::Ready(Pause::Stopped(stop));
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves one direction by a read: `Ready(None)` if it is over or waits for the other.
    fn flow(
        &mut self,
        dir: Dir,
        observer: &mut dyn Observer,
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Pause>> {
        ready!(self.write(dir, cx));
        if dir == Dir::ToServer && !self.flows[dir].held.is_empty() {
            let held = std::mem::take(&mut self.flows[dir].held);
            self.pass(dir, &held);
            *moved |= self.flows[dir].held.len() < held.len();
            ready!(self.write(dir, cx));
        }
        if self.flows.to_client.out.is_empty()
            && let Some(ask) = self.dialogue.as_ref().and_then(Dialogue::asked)
        {
            return Poll::Ready(Some(Pause::Asked(ask)));
        }
        let asked = self.dialogue.as_ref().is_some_and(|dialogue| dir == Dir::ToServer && dialogue.waits());
        if asked || !self.flows[dir].held.is_empty() {
            return self.watch(asked, observer, moved, cx);
        }
        match self.flows[dir].state {
            RelayedState::Open => self.read(dir, observer, moved, cx),
            // A client that is gone may have left commands behind whose turn comes only when the server has answered.
            RelayedState::Broken if dir == Dir::ToClient && self.dialogue.is_some() => {
                self.read(dir, observer, moved, cx)
            }
            RelayedState::Ending => {
                let (_, to) = self.ends(dir);
                let _ = ready!(Pin::new(to).poll_shutdown(cx));
                self.flows[dir].state = RelayedState::Ended;
                *moved = true;
                Poll::Ready(None)
            }
            RelayedState::Ended | RelayedState::Broken => Poll::Ready(None),
        }
    }

    /// Looks whether the client leaves while it is not read from. `asked`: what waits is a STARTTLS.
    fn watch(
        &mut self,
        asked: bool,
        observer: &mut dyn Observer,
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Pause>> {
        match ready!(self.client.poll_left(cx)) {
            Departure::Reset => Poll::Ready(Some(Pause::Reset(Dir::ToServer))),
            Departure::Closed if asked && self.flows.to_server.state == RelayedState::Open => {
                // Without its side of the connection there is no TLS; what it asked before is answered still.
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.answered(false);
                }
                self.close(Dir::ToServer, observer);
                *moved = true;
                Poll::Ready(None)
            }
            Departure::Closed => Poll::Ready(None),
        }
    }

    fn read(
        &mut self,
        dir: Dir,
        observer: &mut dyn Observer,
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Pause>> {
        let mut buffer = [0; READ];
        let mut into = ReadBuf::new(&mut buffer);
        let (from, _) = self.ends(dir);
        let read = ready!(Pin::new(from).poll_read(cx, &mut into));
        *moved = true;
        if let Err(error) = read {
            // A server that refuses the certificate shown to it says so behind its handshake (RFC 8446 section 4.4.2.4).
            if dir == Dir::ToClient
                && error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync + 'static>::is::<rustls::Error>)
            {
                observer.upstream_tls_failed(failure(&error));
            }
            return Poll::Ready(Some(Pause::Reset(dir)));
        }
        if into.filled().is_empty() {
            self.close(dir, observer);
            return Poll::Ready(None);
        }
        let octets = into.filled();
        if self.dialogue.is_none() {
            let gone = self.write_octets(dir, octets, cx);
            self.flows[dir].out.extend_from_slice(octets.get(gone..).unwrap_or_default());
            observer.data(dir, octets);
        } else {
            self.pass(dir, octets);
            let length = self.flows[dir].out.len();
            let _ = self.write_some(dir, cx);
            match dir {
                Dir::ToServer => observer.data(dir, octets),
                Dir::ToClient => observer.data(dir, self.flows[dir].out.get(..length).unwrap_or_default()),
            }
        }
        let _ = self.write(dir, cx);
        Poll::Ready(None)
    }

    /// The sender of `dir` closed.
    fn close(&mut self, dir: Dir, observer: &mut dyn Observer) {
        let flow = &mut self.flows[dir];
        flow.state = RelayedState::Ending;
        if let Some(dialogue) = &mut self.dialogue {
            match dir {
                Dir::ToServer => dialogue.client_closed(&mut flow.out),
                Dir::ToClient => {
                    dialogue.server_closed(&mut flow.out);
                    observer.data(dir, &flow.out);
                }
            }
        }
        observer.fin(dir);
    }

    /// Octets of the sender become octets for the receiver.
    fn pass(&mut self, dir: Dir, octets: &[u8]) {
        let flow = &mut self.flows[dir];
        match (&mut self.dialogue, dir) {
            (None, _) => flow.out.extend_from_slice(octets),
            (Some(dialogue), Dir::ToClient) => dialogue.server(octets, &mut flow.out),
            (Some(dialogue), Dir::ToServer) => {
                let used = dialogue.client(octets, &mut flow.out);
                flow.held.extend_from_slice(octets.get(used..).unwrap_or_default());
            }
        }
    }

    /// Writes and flushes all there is for the receiver.
    fn write(&mut self, dir: Dir, cx: &mut Context<'_>) -> Poll<()> {
        while self.flows[dir].sent < self.flows[dir].out.len() {
            ready!(self.write_some(dir, cx));
        }
        let flow = &mut self.flows[dir];
        flow.sent = 0;
        flow.out = Vec::new();
        if flow.dirty {
            let (_, to) = self.ends(dir);
            let flushed = ready!(Pin::new(to).poll_flush(cx));
            self.flows[dir].dirty = false;
            if flushed.is_err() {
                self.flows[dir].state = RelayedState::Broken;
            }
        }
        Poll::Ready(())
    }

    fn write_some(&mut self, dir: Dir, cx: &mut Context<'_>) -> Poll<()> {
        let out = std::mem::take(&mut self.flows[dir].out);
        let rest = out.get(self.flows[dir].sent..).unwrap_or_default();
        let (gone, waits) = (self.write_octets(dir, rest, cx), rest.is_empty());
        let flow = &mut self.flows[dir];
        flow.sent += gone;
        flow.out = out;
        if gone > 0 || waits { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Writes what the receiver of `dir` takes of `octets`: how many are done with. 0: it takes none now.
    fn write_octets(&mut self, dir: Dir, octets: &[u8], cx: &mut Context<'_>) -> usize {
        if octets.is_empty() {
            return 0;
        }
        let (_, to) = self.ends(dir);
        let written = Pin::new(to).poll_write(cx, octets);
        let flow = &mut self.flows[dir];
        match written {
            Poll::Pending => 0,
            Poll::Ready(Ok(written @ 1..)) => {
                flow.dirty = true;
                written
            }
            Poll::Ready(_) => {
                // Nobody is there to take them.
                flow.state = RelayedState::Broken;
                octets.len()
            }
        }
    }

    /// Where octets of `dir` come from, and where they go.
    fn ends(&mut self, dir: Dir) -> (&mut SideStream, &mut SideStream) {
        match dir {
            Dir::ToServer => (&mut self.client, &mut self.server),
            Dir::ToClient => (&mut self.server, &mut self.client),
        }
    }
}
