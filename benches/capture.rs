//! How fast a whole capture in memory is read: frames through the wire and the engine, no file and no log.
//!
//! `cargo bench --bench capture`. Throughput is octets of the capture, headers included.
#![allow(missing_docs, clippy::expect_used, reason = "a bench, and the functions that criterion's macros write")]

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mailtap::engine::Limits;
use mailtap::event::{Context, Event, Sink};
use mailtap::pipeline::flow::{FlowLimits, FlowTable};
use mailtap::time::Timestamp;
use mailtap::wire::{Decoder, DecoderLimits, LinkType, Packet};
use support::Profile;
use support::capture::{Options, generate};

/// Octets of a capture: larger than a cache, small enough for many runs.
const OCTETS: u64 = 32 << 20;

/// Octets of the pcap file header.
const FILE_HEADER: usize = 24;

/// Counts events, so that nothing is optimised away.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        black_box(event);
        self.0 += 1;
    }
}

/// The frames of a pcap file that the generator wrote: little-endian, microseconds.
struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = (Timestamp, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<16>()?;
        let (words, _) = head.as_chunks::<4>();
        let [seconds, micros, captured, _] = *words else {
            return None;
        };
        let (frame, rest) = rest.split_at_checked(u32::from_le_bytes(captured) as usize)?;
        self.0 = rest;
        let nanos = u64::from(u32::from_le_bytes(micros)) * 1000;
        Some((Timestamp::from_parts(u64::from(u32::from_le_bytes(seconds)), nanos), frame))
    }
}

fn read(capture: &[u8], limits: &Arc<Limits>) -> u64 {
    let mut decoder = Decoder::new(DecoderLimits::default());
    let mut flows = FlowTable::new(FlowLimits::default(), Arc::clone(limits));
    let mut count = Count::default();
    let mut last = Timestamp::default();
    for (number, (at, data)) in (0..).zip(Frames(capture.get(FILE_HEADER..).unwrap_or_default())) {
        last = at;
        let wire_len = data.len() as u32;
        let packet = Packet { at, source: 0, link: LinkType(1), data, wire_len };
        if let Some(segment) = decoder.decode(&packet) {
            flows.segment(number, &segment, &mut count);
        }
    }
    flows.finish(last, &mut count);
    count.0
}

fn capture(criterion: &mut Criterion) {
    for profile in [Profile::Smtp, Profile::Imap, Profile::Mixed] {
        let mut octets = Vec::new();
        generate(&Options::new(profile, OCTETS), &mut octets).expect("writing to memory");
        let mut group = criterion.benchmark_group(format!("capture/{}", profile.as_str()));
        group.sample_size(15).throughput(Throughput::Bytes(octets.len() as u64));
        for hash in [false, true] {
            let limits = Arc::new(Limits { hash, ..Limits::default() });
            group.bench_function(if hash { "sha256" } else { "no hash" }, |bencher| {
                bencher.iter(|| read(&octets, &limits));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, capture);
criterion_main!(benches);
