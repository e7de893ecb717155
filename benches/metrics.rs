//! What counting costs a session, and what a scrape takes while sessions are counted.
//!
//! `cargo bench --bench metrics`. A scrape is to take less than 50 ms under load.
#![allow(missing_docs, clippy::expect_used, reason = "a bench, and the functions that criterion's macros write")]

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mailtap::engine::{Limits, Session};
use mailtap::event::{Context, Dir, End, Event, Input, Peers, Sink};
use mailtap::output::InputKind;
use mailtap::output::metrics::{Metrics, MetricsSetup};
use mailtap::time::Timestamp;
use support::stage::{Side, Stage};
use support::{Profile, World};

/// Octets of a full TCP segment.
const SEGMENT: usize = 1448;

/// Payload of a run, at the least.
const OCTETS: usize = 4 << 20;

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

fn replay(recorded: &Recorded, source: u32, limits: &Arc<Limits>, out: &mut dyn Sink) {
    let mut at = Timestamp::from_parts(1_768_204_800, 0);
    let peers = Peers {
        client: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 40_000)),
        server: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10), recorded.port)),
        established: Some(at),
        roles_certain: true,
        source,
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

fn made() -> Metrics {
    let names = ["mx", "submission", "lmtp", "pop3", "imap", "imaps"];
    Metrics::new(MetricsSetup::new(InputKind::Proxy, names)).expect("metrics")
}

fn counting(criterion: &mut Criterion) {
    let limits = Arc::new(Limits { hash: false, ..Limits::default() });
    for profile in [Profile::Smtp, Profile::Imap, Profile::Pop3] {
        let recorded = record(profile);
        let octets: usize = recorded.iter().flat_map(|r| &r.turns).map(|(_, said)| said.len()).sum();
        let mut group = criterion.benchmark_group(format!("counting/{}", profile.as_str()));
        group.sample_size(20).throughput(Throughput::Bytes(octets as u64));
        group.bench_function("nothing", |bencher| {
            let mut count = Count::default();
            bencher.iter(|| recorded.iter().for_each(|r| replay(r, 0, &limits, &mut count)));
        });
        group.bench_function("everything", |bencher| {
            let mut recorder = made().recorder();
            bencher.iter(|| recorded.iter().for_each(|r| replay(r, 0, &limits, &mut recorder)));
        });
        group.finish();
    }
}

fn scrape(criterion: &mut Criterion) {
    let limits = Arc::new(Limits { hash: false, ..Limits::default() });
    let recorded: Vec<Recorded> = [Profile::Smtp, Profile::Imap, Profile::Pop3].into_iter().flat_map(record).collect();
    let metrics = made();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut recorder = metrics.recorder();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    recorded.iter().for_each(|r| replay(r, n % 6, &limits, &mut recorder));
                }
            });
        }
        // Until every series is there.
        std::thread::sleep(Duration::from_secs(2));
        println!("a scrape has {} octets", metrics.render().len());
        criterion.bench_function("scrape/under load", |bencher| bencher.iter(|| black_box(metrics.render())));
        stop.store(true, Ordering::Relaxed);
    });
    criterion.bench_function("scrape/at rest", |bencher| bencher.iter(|| black_box(metrics.render())));
}

criterion_group!(benches, counting, scrape);
criterion_main!(benches);
