//! DEFLATE that nobody was seen to agree on: the agreement was lost, or came before the capture.
//!
//! A line of IMAP that does not begin as text is kept until it inflates to a line of IMAP, or does not. The verdict hangs on
//! the bytes alone, not on how they came.

use super::state::Stamp;
use crate::engine::Session;
use crate::engine::frame::FramingMode;
use crate::engine::imap;
use crate::engine::inflate::{self, Inflate};
use crate::engine::protocol::ProtocolState;
use crate::event::{Dir, Missing, Sink};

/// Bytes after which it would have shown.
const ENOUGH: usize = 4 << 10;

/// Bytes that may be packed, those that are held besides.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// The head of the line, which had come before it looked like anything else than text.
    head: Vec<u8>,
    /// No more will come to help.
    last: bool,
}

impl Session {
    /// Whether the line that `rest` goes on with, or begins, does not begin as text although text is due: behind a loss.
    pub(super) fn may_be_packed(&self, dir: Dir, rest: &[u8]) -> bool {
        let missing = &self.state.incomplete;
        let lossy = [Missing::StartMissing, Missing::ClientGap, Missing::ServerGap].iter().any(|m| missing.has(*m));
        if !lossy || !matches!(self.protocol_state, ProtocolState::Imap(_)) {
            return false;
        }
        let direction = &self.directions[dir];
        let (start, before) = direction.framer.line_start();
        direction.unpacked != Some(start) && !inflate::begins_as_text(before, rest)
    }

    /// The bytes of `dir` from the start of the line on are kept until it shows whether they are packed.
    pub(super) fn begin_trial(&mut self, dir: Dir) {
        let direction = &mut self.directions[dir];
        let head = direction.framer.take_back();
        direction.framer.set_mode(FramingMode::Await);
        direction.trial = Some(Box::new(Trial { head, last: false }));
    }

    /// No more bytes of `dir` will come that could tell.
    pub(super) fn end_trial(&mut self, dir: Dir, out: &mut dyn Sink) {
        if let Some(trial) = &mut self.directions[dir].trial {
            trial.last = true;
            self.drain(dir, out);
        }
    }

    /// Decides whether the bytes are packed, if that is asked; false while they do not tell.
    pub(super) fn decide_trial(&mut self, dir: Dir, out: &mut dyn Sink) -> bool {
        let direction = &mut self.directions[dir];
        let Some(trial) = direction.trial.take() else { return true };
        let held = direction.held.octets(dir);
        let octets = [trial.head.as_slice(), held.get(..held.len().min(ENOUGH)).unwrap_or(held)].concat();
        let packed = match imap::is_packed(dir, &octets) {
            None if !trial.last && octets.len() < ENOUGH => {
                direction.trial = Some(trial);
                return false;
            }
            verdict => verdict == Some(true),
        };
        let stamp: Stamp = direction.held.stamp();
        direction.framer.set_mode(FramingMode::Line);
        if packed {
            direction.layer = Some(Box::new(Inflate::resumed()));
            // What is held goes through the layer behind the head, as if it came now.
            let held = std::mem::take(&mut direction.held);
            direction.draining = false;
            self.inflate(dir, stamp, &trial.head, out);
            held.replay(|dir, stamp, input| self.take(dir, stamp, input, out));
        } else {
            direction.unpacked = Some(direction.framer.line_start().0);
            self.pump(dir, stamp, &trial.head, out);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;
    use crate::engine::Limits;
    use crate::event::{Context, End, Event, Input, Peers};
    use crate::time::Timestamp;

    #[derive(Default)]
    struct Commands(Vec<String>);

    impl Sink for Commands {
        fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
            if let Event::Command(command) = event {
                let tag = command.tag.as_bytes().escape_ascii();
                self.0.push(format!("{tag} {:?} {:?}", command.verb, command.reply.status));
            }
        }
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
        stream.compress_vec(text, &mut out, flate2::FlushCompress::Sync).unwrap();
        out
    }

    /// The commands of a session whose agreement on DEFLATE is lost, in pieces of at most `size` bytes.
    fn commands(size: usize) -> Vec<String> {
        let host = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (client, server) = (host("192.0.2.1:50000"), host("192.0.2.2:143"));
        let at = Timestamp::default();
        let peers = Peers { client, server, established: Some(at), roles_certain: true, source: 0, ordinal: 0 };
        let mut session = Session::new(at, 1, peers, Arc::new(Limits::default()));
        let mut commands = Commands::default();
        let (asks, answers) = (packed(b"c SELECT INBOX\r\n"), packed(b"* 3 EXISTS\r\nc OK selected\r\n"));
        let turns: [(Dir, Option<&[u8]>); 6] = [
            (Dir::ToClient, Some(b"* OK hi\r\n")),
            (Dir::ToServer, Some(b"a NOOP\r\n")),
            (Dir::ToClient, Some(b"a OK\r\n")),
            (Dir::ToServer, None),
            (Dir::ToServer, Some(&asks)),
            (Dir::ToClient, Some(&answers)),
        ];
        for (dir, bytes) in turns {
            match bytes {
                Some(bytes) => {
                    for piece in bytes.chunks(size) {
                        session.handle(at, dir, Input::Data(piece), &mut commands);
                    }
                }
                None => session.handle(at, dir, Input::Gap(20), &mut commands),
            }
        }
        session.finish(at, End::CaptureEnd, &mut commands);
        commands.0
    }

    #[test]
    fn deflate_is_told_from_text_however_it_is_cut() {
        let whole = commands(usize::MAX);
        assert_eq!(whole, ["a Noop Some(Ok)", "c Select Some(Ok)"]);
        for size in 1..20 {
            assert_eq!(commands(size), whole, "in pieces of {size}");
        }
    }
}
