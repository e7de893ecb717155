//! Facts of one message: `cargo bench --bench message`.
#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mailtap::message::Message;

/// A full segment over Ethernet, with timestamps.
const PIECE: usize = 1448;
const HEADER: usize = 256 << 10;

fn multipart(encoding: &str, line: &str) -> String {
    let part = format!("Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: {encoding}");
    let body = line.repeat((4 << 20) / line.len());
    format!(
        "From: a@example.org\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n{part}\r\n\r\n{body}--=_b--\r\n"
    )
}

fn messages(criterion: &mut Criterion) {
    let text = "The quick brown fox - jumps over the lazy dog, http://example.org/a-b-c\r\n";
    let quoted = "The quick brown fox =3D jumps over the lazy dog, =\r\nhttp://example.org/a-b-c\r\n";
    let base64 = format!("{}\r\n", "QmFzZTY0/+".repeat(8).get(..76).unwrap_or_default());
    let plain = format!("From: a@example.org\r\nSubject: plain\r\n\r\n{}", text.repeat(60_000));
    let short = format!("From: a@example.org\r\nTo: b@example.org\r\nSubject: short\r\n\r\n{text}");
    let cases = [
        ("plain", plain),
        ("short", short),
        ("base64", multipart("base64", &base64)),
        ("quoted-printable", multipart("quoted-printable", quoted)),
    ];
    for hash in [false, true] {
        let mut group = criterion.benchmark_group(if hash { "message, hashed" } else { "message" });
        for (name, octets) in &cases {
            let mut message = Message::default();
            group.throughput(Throughput::Bytes(octets.len() as u64));
            group.bench_function(*name, |bencher| {
                bencher.iter(|| {
                    message.begin(hash, HEADER);
                    for piece in octets.as_bytes().chunks(PIECE) {
                        message.octets(black_box(piece));
                    }
                    message.finish(true);
                    message.attachments_total()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
