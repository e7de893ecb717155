//! Capture files of both formats, plain or compressed: no panic, the totals are what was delivered, and a file that is cut
//! gives the first packets of the whole one, however damaged that is behind the cut.

#![no_main]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mailtap::capture::{Capture, FileOrder};

/// In memory, where the system has such a place. Each process has a file of its own.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("mailtap-fuzz-{}", std::process::id()))
});

/// Time, link type and length on the wire of every packet, and its bytes.
type Packets = Vec<(u64, u16, u32, Vec<u8>)>;

fn read(bytes: &[u8]) -> Packets {
    std::fs::write(&*FILE, bytes).expect("the file can be written");
    let mut packets = Packets::new();
    let totals = Capture::new(vec![FILE.clone()], FileOrder::Time).for_each(&mut |trouble| _ = trouble.to_string(), |packet| {
        assert!(packet.data.len() <= packet.wire_len as usize, "more captured than there was");
        packets.push((packet.at.as_nanos(), packet.link.0, packet.wire_len, packet.data.to_vec()));
        // What is inside a small compressed file may be large.
        if packets.len() < 10_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(totals.packets, packets.len() as u64);
    packets
}

fuzz_target!(|input: &[u8]| {
    let whole = read(input);
    let cut = read(&input[..input.len() / 2]);
    assert!(whole.starts_with(&cut), "a cut file has packets that the whole one has not");
});
