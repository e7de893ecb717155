//! What needs no privilege: filters and texts.

use super::*;
use crate::wire::LinkType;

fn compiles(filter: &str, link: LinkType) -> pcap::BpfProgram {
    let dead = pcap::Capture::dead(pcap::Linktype(link.0.into())).unwrap();
    dead.compile(filter, true).unwrap_or_else(|e| panic!("{filter}: {e}"))
}

/// A TCP segment over IPv4 over Ethernet with `tags`.
fn frame(tags: usize, from: u16, to: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x81, 0, 0, 7].repeat(tags));
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    frame
}

#[test]
fn mail_is_filtered_inside_vlans_too() {
    let program = compiles(&filter::mail(&[10_025], true), LinkType::ETHERNET);
    for tags in 0..3 {
        for port in [24, 25, 110, 143, 465, 587, 993, 995, 2525, 4190, 10_025] {
            assert!(program.filter(&frame(tags, 40_000, port)), "{tags} tags, to {port}");
            assert!(program.filter(&frame(tags, port, 40_000)), "{tags} tags, from {port}");
        }
        assert!(!program.filter(&frame(tags, 40_000, 443)), "{tags} tags");
    }
}

#[test]
fn fragments_are_taken() {
    let program = compiles(&filter::mail(&[], true), LinkType::ETHERNET);
    let mut second = frame(0, 40_000, 443);
    second[20..22].copy_from_slice(&[0x20, 0x10]);
    assert!(program.filter(&second));
}

#[test]
fn every_link_type_can_be_filtered() {
    for link in [LinkType::LINUX_SLL, LinkType::LINUX_SLL2, LinkType::DLT_RAW, LinkType::PPP, LinkType::NULL] {
        assert!(!compiles(&filter::mail(&[], false), link).get_instructions().is_empty());
    }
}

#[test]
fn a_stopped_switch_does_not_wait() {
    let switch = Switch::new().unwrap();
    assert!(!switch.is_stopped());
    switch.stop();
    assert!(switch.is_stopped());
    let before = std::time::Instant::now();
    switch.or_readable(None, Duration::from_secs(60));
    assert!(before.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_new_filter_is_seen_once() {
    let switch = Switch::new().unwrap();
    let mut seen = 0;
    assert_eq!(switch.new_filter(&mut seen), None);
    switch.set_filter(Some("tcp".into()));
    assert_eq!(switch.new_filter(&mut seen), Some(Some("tcp".into())));
    assert_eq!(switch.new_filter(&mut seen), None);
    switch.set_filter(None);
    assert_eq!(switch.new_filter(&mut seen), Some(None));
}

#[test]
fn every_text_says_what_to_do() {
    for what in [
        DeviceErrorKind::Unknown,
        DeviceErrorKind::Down,
        DeviceErrorKind::Denied,
        DeviceErrorKind::Link(147),
        DeviceErrorKind::Filter { filter: "port mail".into(), reason: "unknown port".into() },
        DeviceErrorKind::Other("out of luck".into()),
    ] {
        let text = DeviceError { interface: "eth0".into(), what }.to_string();
        assert!(text.starts_with("eth0: ") && text.contains("; ") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_told() {
    let options = Options {
        filter: None,
        ports: Vec::new(),
        snaplen: 262_144,
        buffer: 1 << 20,
        gather: Duration::from_millis(50),
        promiscuous: false,
    };
    let error = Device::open("no-such-if0", 0, &std::sync::Arc::new(options)).unwrap_err();
    assert!(matches!(error.what, DeviceErrorKind::Unknown | DeviceErrorKind::Denied), "{error:?}");
}
