//! Dialogues as packets: many TCP connections at once over Ethernet and IPv4, written as a pcap file.
//!
//! Sequence and acknowledgement numbers, options, checksums, delayed acknowledgements and closing are as a
//! sniffer beside the client sees them. A turn is sent only when the one before it has arrived.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use super::random::Random;
use super::stage::{Side, Stage};
use super::{Dialogue, Profile, Totals, World};

/// Payload of a full segment: 1500 less IPv4, TCP and the timestamps option.
const SEGMENT: usize = 1448;

/// Segments sent without waiting: the initial window of RFC 6928.
const BURST: usize = 10;

/// 2026-01-12T08:00:00Z, in microseconds.
const START: u64 = 1_768_204_800_000_000;

/// Octets gathered before a write.
const BUFFER: usize = 1 << 20;

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Mix of protocols.
    pub(crate) profile: Profile,
    /// Octets of the file; it gets somewhat larger, as every conversation comes to its end.
    pub(crate) size: u64,
    /// What chance follows from.
    pub(crate) seed: u64,
    /// Connections at the same time.
    pub(crate) flows: usize,
    /// Of a million segments, how many are sent twice or swapped with the next.
    pub(crate) disorder: u64,
}

impl Options {
    /// `size` octets of `profile`: 64 flows, one segment in a thousand out of order.
    pub(crate) const fn new(profile: Profile, size: u64) -> Self {
        Self { profile, size, seed: 1, flows: 64, disorder: 1000 }
    }
}

/// Writes a capture to `out`; what is in it.
pub(crate) fn generate(options: &Options, out: &mut dyn Write) -> io::Result<Totals> {
    let mut world = World::new(options.seed);
    let mut wire = Wire::new(options.seed, options.disorder, out);
    let mut due: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut flows = Vec::new();
    for i in 0..options.flows.max(1) {
        flows.push(Flow::new(options.profile, i as u64, &mut world));
        due.push(Reverse((world.random.below(50_000), i)));
    }
    let mut opened = flows.len() as u64;
    // What is staged will be written, with about six octets of headers and acknowledgements for a hundred.
    let mut staged = 0;
    while let Some(Reverse((at, i))) = due.pop() {
        wire.clock = wire.clock.max(at);
        let enough = staged + staged / 14 >= options.size;
        match flows[i].step(enough, &mut staged, &mut world, &mut wire)? {
            Some(pause) => due.push(Reverse((wire.clock + pause, i))),
            None if !enough => {
                flows[i] = Flow::new(options.profile, opened, &mut world);
                opened += 1;
                due.push(Reverse((wire.clock + world.random.range(1_000, 20_000), i)));
            }
            None => {}
        }
    }
    wire.flush()?;
    let mut totals = world.totals;
    (totals.packets, totals.file) = (wire.packets, wire.written);
    (totals.payload, totals.retransmitted, totals.reordered) = (wire.payload, wire.retransmitted, wire.reordered);
    Ok(totals)
}

/// The file under way.
struct Wire<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    /// Microseconds since [`START`].
    clock: u64,
    random: Random,
    disorder: u64,
    ident: u16,
    packets: u64,
    payload: u64,
    retransmitted: u64,
    reordered: u64,
    written: u64,
}

impl<'a> Wire<'a> {
    fn new(seed: u64, disorder: u64, out: &'a mut dyn Write) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER + 65536);
        for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1] {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
        Self {
            out,
            buffer,
            clock: 0,
            random: Random::new(!seed),
            disorder,
            ident: 0,
            packets: 0,
            payload: 0,
            retransmitted: 0,
            reordered: 0,
            written: 0,
        }
    }

    /// Writes one packet, some microseconds after the last.
    fn packet(&mut self, from: &End, to: &End, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> io::Result<()> {
        self.clock += self.random.range(1, 3);
        self.packets += 1;
        self.ident = self.ident.wrapping_add(1);
        let options = self.options(from, to, flags);
        let ip_len = 20 + 20 + options.len() + payload.len();
        let at = START + self.clock;
        for word in [(at / 1_000_000) as u32, (at % 1_000_000) as u32, ip_len as u32 + 14, ip_len as u32 + 14] {
            self.buffer.extend_from_slice(&word.to_le_bytes());
        }
        self.buffer.extend_from_slice(&to.mac);
        self.buffer.extend_from_slice(&from.mac);
        self.buffer.extend_from_slice(&[8, 0]);
        let ip = self.ip_header(from, to, ip_len as u16);
        self.buffer.extend_from_slice(&ip);
        let tcp = self.buffer.len();
        self.buffer.extend_from_slice(&from.port.to_be_bytes());
        self.buffer.extend_from_slice(&to.port.to_be_bytes());
        self.buffer.extend_from_slice(&seq.to_be_bytes());
        self.buffer.extend_from_slice(&ack.to_be_bytes());
        let words = 5 + options.len() as u8 / 4;
        self.buffer.extend_from_slice(&[words << 4, flags, 0x01, 0xf5, 0, 0, 0, 0]);
        self.buffer.extend_from_slice(&options);
        self.buffer.extend_from_slice(payload);
        let pseudo = sum(&ip[12..20]) + 6 + (ip_len - 20) as u64;
        let check = fold(pseudo + sum(&self.buffer[tcp..]));
        self.buffer[tcp + 16..tcp + 18].copy_from_slice(&check.to_be_bytes());
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn ip_header(&self, from: &End, to: &End, len: u16) -> [u8; 20] {
        let mut ip = [0u8; 20];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip[4..6].copy_from_slice(&self.ident.to_be_bytes());
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = 6;
        ip[12..16].copy_from_slice(&from.ip);
        ip[16..20].copy_from_slice(&to.ip);
        let check = fold(sum(&ip));
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        ip
    }

    /// Timestamps (RFC 7323) always; a SYN has segment size, SACK and window scale too.
    fn options(&self, from: &End, to: &End, flags: u8) -> Vec<u8> {
        let mut options = Vec::with_capacity(20);
        let value = from.boot.wrapping_add((self.clock / 1000) as u32);
        let echo = if flags & ACK == 0 { 0 } else { to.boot.wrapping_add((self.clock / 1000) as u32) };
        if flags & SYN != 0 {
            options.extend_from_slice(&[2, 4, 0x05, 0xb4, 4, 2, 8, 10]);
        } else {
            options.extend_from_slice(&[1, 1, 8, 10]);
        }
        options.extend_from_slice(&value.to_be_bytes());
        options.extend_from_slice(&echo.to_be_bytes());
        if flags & SYN != 0 {
            options.extend_from_slice(&[1, 3, 3, 7]);
        }
        options
    }

    fn disorderly(&mut self) -> bool {
        self.disorder > 0 && self.random.below(1_000_000) < self.disorder
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// One's complement sum of big-endian 16-bit words (RFC 1071); four octets at a time, folded at the end.
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let total: u64 = words.iter().map(|w| u64::from(u32::from_be_bytes(*w))).sum();
    let mut last = [0u8; 4];
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_be_bytes(last))
}

const fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// One side of a connection.
struct End {
    mac: [u8; 6],
    ip: [u8; 4],
    port: u16,
    /// Where its timestamps began.
    boot: u32,
    /// Sequence number of the next octet it sends.
    next: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connect,
    Talk,
    Close,
}

/// One TCP connection.
struct Flow {
    dialogue: Dialogue,
    stage: Stage,
    ends: [End; 2],
    state: State,
    turn: usize,
    sent: usize,
}

impl Flow {
    /// Connection `number` of the capture.
    fn new(profile: Profile, number: u64, world: &mut World) -> Self {
        let dialogue = profile.dialogue(world);
        let [_, _, _, _, _, high, mid, low] = number.to_be_bytes();
        let random = &mut world.random;
        let client = End {
            mac: [2, 0, 10, high, mid, low],
            ip: [10, high, mid, low],
            port: random.range(32_768, 60_999) as u16,
            boot: random.bits() as u32,
            next: random.bits() as u32,
        };
        let server = End {
            mac: [2, 0, 0, 0, 0, 1],
            ip: [192, 0, 2, random.range(10, 13) as u8],
            port: dialogue.port(),
            boot: random.bits() as u32,
            next: random.bits() as u32,
        };
        Self { dialogue, stage: Stage::default(), ends: [client, server], state: State::Connect, turn: 0, sent: 0 }
    }

    /// Sends what can be sent now; microseconds until it has more, or `None` after the end.
    fn step(
        &mut self,
        last: bool,
        staged: &mut u64,
        world: &mut World,
        wire: &mut Wire<'_>,
    ) -> io::Result<Option<u64>> {
        match self.state {
            State::Connect => {
                self.connect(wire)?;
                self.state = State::Talk;
            }
            State::Talk => {
                if self.turn == self.stage.len() {
                    self.stage.clear();
                    (self.turn, self.sent) = (0, 0);
                    if self.dialogue.act(last, world, &mut self.stage) {
                        *staged += self.stage.octets() as u64;
                    } else {
                        self.state = State::Close;
                        return Ok(Some(500));
                    }
                }
                if !self.burst(wire)? {
                    return Ok(Some(wire.random.range(20, 200)));
                }
            }
            State::Close => {
                self.close(wire)?;
                return Ok(None);
            }
        }
        Ok(Some(wire.random.range(200, 4_000)))
    }

    /// A packet of `side` that acknowledges all that the other side has sent.
    fn send(&mut self, side: Side, flags: u8, wire: &mut Wire<'_>) -> io::Result<()> {
        let (from, to) = (&self.ends[side.index()], &self.ends[side.peer().index()]);
        let ack = if flags & ACK == 0 { 0 } else { to.next };
        wire.packet(from, to, from.next, ack, flags, &[])?;
        let end = &mut self.ends[side.index()];
        end.next = end.next.wrapping_add(u32::from(flags & (SYN | FIN) != 0));
        Ok(())
    }

    fn connect(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        self.send(Side::Client, SYN, wire)?;
        self.send(Side::Server, SYN | ACK, wire)?;
        self.send(Side::Client, ACK, wire)
    }

    fn close(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        let first = if wire.random.chance(500) { Side::Client } else { Side::Server };
        self.send(first, FIN | ACK, wire)?;
        self.send(first.peer(), FIN | ACK, wire)?;
        self.send(first, ACK, wire)
    }

    /// Sends up to [`BURST`] segments of the turn under way; true when it is out.
    fn burst(&mut self, wire: &mut Wire<'_>) -> io::Result<bool> {
        let (side, octets) = self.stage.get(self.turn);
        let mut burst = Segments { next_seq: self.ends[side.index()].next, octets, from: self.sent, left: BURST };
        let from = &self.ends[side.index()];
        let to = &self.ends[side.peer().index()];
        let begun = self.sent;
        let mut since_ack = 0;
        while let Some(segment) = burst.next() {
            let mut pair = [Some(segment), None];
            if wire.disorderly() {
                if wire.random.chance(500) {
                    pair = [Some(segment), Some(segment)];
                    wire.retransmitted += 1;
                } else if let Some(next) = burst.next() {
                    pair = [Some(next), Some(segment)];
                    wire.reordered += 1;
                }
            }
            for Segment { seq, payload, last } in pair.into_iter().flatten() {
                wire.packet(from, to, seq, to.next, if last { PSH | ACK } else { ACK }, payload)?;
                since_ack += 1;
            }
            if since_ack >= 2 && burst.from < octets.len() {
                wire.packet(to, from, to.next, burst.next_seq, ACK, &[])?;
                since_ack = 0;
            }
        }
        let sent = burst.from - begun;
        let done = burst.from == octets.len();
        wire.payload += sent as u64;
        self.ends[side.index()].next = burst.next_seq;
        (self.turn, self.sent) = if done { (self.turn + 1, 0) } else { (self.turn, burst.from) };
        Ok(done)
    }
}

#[derive(Clone, Copy)]
struct Segment<'a> {
    seq: u32,
    payload: &'a [u8],
    /// The turn ends with it.
    last: bool,
}

/// Cuts a turn into segments, a burst of them.
struct Segments<'a> {
    /// Sequence number of the segment after the last one cut.
    next_seq: u32,
    octets: &'a [u8],
    from: usize,
    left: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let rest = &self.octets[self.from..];
        if rest.is_empty() || self.left == 0 {
            return None;
        }
        let payload = &rest[..rest.len().min(SEGMENT)];
        let segment = Segment { seq: self.next_seq, payload, last: payload.len() == rest.len() };
        self.left -= 1;
        self.next_seq = self.next_seq.wrapping_add(payload.len() as u32);
        self.from += payload.len();
        Some(segment)
    }
}
