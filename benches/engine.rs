//! How fast the engine reads: a dialogue in memory through [`Session`], in pieces the size of a segment.
//!
//! `cargo bench --bench engine`. Throughput is octets of payload of both sides.
#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mailtap::engine::{Limits, Session};
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink};
use mailtap::time::Timestamp;
use support::stage::{Side, Stage};
use support::{Profile, World};

/// Octets of a full TCP segment.
const SEGMENT: usize = 1448;

/// Payload of a run, at the least: larger than a cache, small enough for many runs.
const OCTETS: usize = 16 << 20;

/// Counts events, so that nothing is optimised away.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        black_box(event);
        self.0 += 1;
    }
}

/// A dialogue, as its turns.
struct Recorded {
    turns: Vec<(Dir, Vec<u8>)>,
    port: u16,
}

/// Dialogues of `profile` with [`OCTETS`] of payload, all in clear.
fn record(profile: Profile) -> Vec<Recorded> {
    let mut world = World::new(1);
    let mut stage = Stage::default();
    let (mut all, mut octets) = (Vec::new(), 0);
    while octets < OCTETS {
        let mut dialogue = profile.dialogue(&mut world);
        let mut turns = Vec::new();
        while dialogue.act(false, &mut world, &mut stage) {
            octets += stage.octets();
            for (side, said) in (0..stage.len()).map(|n| stage.get(n)) {
                let dir = if side == Side::Client { Dir::ToServer } else { Dir::ToClient };
                turns.push((dir, said.to_vec()));
            }
            stage.clear();
        }
        all.push(Recorded { turns, port: dialogue.port() });
    }
    all
}

/// Runs one connection from its first octet to its last.
fn replay(recorded: &Recorded, limits: &Arc<Limits>, out: &mut Count) {
    let mut at = Timestamp::from_parts(1_768_204_800, 0);
    let peers = Peers {
        client: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 40_000)),
        server: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10), recorded.port)),
        established: Some(at),
        roles_certain: true,
        source: 0,
        ordinal: 0,
    };
    let mut session = Session::new(at, 1, peers, Arc::clone(limits));
    for (dir, octets) in &recorded.turns {
        for piece in octets.chunks(SEGMENT) {
            at = at.after(Duration::from_micros(2));
            session.handle(at, *dir, Input::Data(piece), out);
        }
    }
    session.handle(at, Dir::ToServer, Input::Fin, out);
    session.handle(at, Dir::ToClient, Input::Fin, out);
    session.finish(at, End::Closed, out);
}

fn engine(criterion: &mut Criterion) {
    for profile in [Profile::Smtp, Profile::Imap, Profile::Pop3] {
        let recorded = record(profile);
        let octets: usize = recorded.iter().flat_map(|r| &r.turns).map(|(_, said)| said.len()).sum();
        let mut group = criterion.benchmark_group(format!("session/{}", profile.as_str()));
        group.sample_size(20).throughput(Throughput::Bytes(octets as u64));
        for hash in [false, true] {
            let limits = Arc::new(Limits { hash, ..Limits::default() });
            group.bench_function(if hash { "sha256" } else { "no hash" }, |bencher| {
                bencher.iter(|| {
                    let mut count = Count::default();
                    recorded.iter().for_each(|r| replay(r, &limits, &mut count));
                    count.0
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
