//! TLS 1.3 as an observer sees it: a true ClientHello and ServerHello, then records of random octets.

use super::random::Random;
use super::stage::{Side, Stage};

/// Says a handshake for `host` and then `volume` octets or so in both directions.
pub(crate) fn conversation(random: &mut Random, host: &str, volume: usize, stage: &mut Stage) {
    client_hello(random, host, stage.voice(Side::Client));
    let server = stage.voice(Side::Server);
    server_hello(random, server);
    record(20, &[1], server);
    for octets in [42, 2200, 286, 74] {
        application_data(random, octets, server);
    }
    let client = stage.voice(Side::Client);
    record(20, &[1], client);
    application_data(random, 74, client);
    let mut left = volume;
    while left > 0 {
        let octets = (random.size(900.0, 2.0, 40, 200_000)).min(left);
        left -= octets;
        for piece in Pieces(octets) {
            application_data(random, piece, stage.voice(Side::Client));
        }
        let answer = random.range(40, 120) as usize;
        application_data(random, answer, stage.voice(Side::Server));
    }
}

/// A length in records of 2^14 octets and a rest (RFC 8446 section 5.1).
struct Pieces(usize);

impl Iterator for Pieces {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let piece = self.0.min(1 << 14);
        self.0 -= piece;
        (piece > 0).then_some(piece)
    }
}

fn record(kind: u8, octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 3, 3]);
    vector(octets, out);
}

fn application_data(random: &mut Random, octets: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[23, 3, 3]);
    out.extend_from_slice(&(octets as u16).to_be_bytes());
    random.fill(octets, out);
}

/// Length in two octets, then the octets.
fn vector(octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(octets.len() as u16).to_be_bytes());
    out.extend_from_slice(octets);
}

fn extension(kind: u16, octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&kind.to_be_bytes());
    vector(octets, out);
}

fn key_share(random: &mut Random) -> Vec<u8> {
    let mut share = vec![0x00, 0x1d, 0x00, 0x20];
    random.fill(32, &mut share);
    share
}

fn client_hello(random: &mut Random, host: &str, out: &mut Vec<u8>) {
    let mut name = vec![0];
    vector(host.as_bytes(), &mut name);
    let (mut names, mut shares, mut extensions) = (Vec::new(), Vec::new(), Vec::new());
    vector(&name, &mut names);
    vector(&key_share(random), &mut shares);
    extension(0, &names, &mut extensions);
    extension(10, &[0, 4, 0, 0x1d, 0, 0x17], &mut extensions);
    extension(13, &[0, 6, 4, 3, 8, 4, 4, 1], &mut extensions);
    extension(43, &[4, 3, 4, 3, 3], &mut extensions);
    extension(51, &shares, &mut extensions);
    let mut hello = vec![3, 3];
    random.fill(32, &mut hello);
    hello.push(32);
    random.fill(32, &mut hello);
    vector(&[0x13, 0x02, 0x13, 0x03, 0x13, 0x01, 0xc0, 0x2c], &mut hello);
    hello.extend_from_slice(&[1, 0]);
    vector(&extensions, &mut hello);
    handshake(1, &hello, out);
}

fn server_hello(random: &mut Random, out: &mut Vec<u8>) {
    let mut extensions = Vec::new();
    extension(43, &[3, 4], &mut extensions);
    extension(51, &key_share(random), &mut extensions);
    let mut hello = vec![3, 3];
    random.fill(32, &mut hello);
    hello.push(32);
    random.fill(32, &mut hello);
    hello.extend_from_slice(&[0x13, 0x02, 0]);
    vector(&extensions, &mut hello);
    handshake(2, &hello, out);
}

fn handshake(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    let mut message = vec![kind, 0];
    vector(body, &mut message);
    record(22, &message, out);
}
