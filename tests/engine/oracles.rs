//! The oracles of the fuzz targets can fail: each is shown the fault that it is there for.

#[path = "../../fuzz/fuzz_targets/oracle.rs"]
mod oracle;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mailtap::event::Input;
use mailtap::pipeline::flow::FlowLimits;
use mailtap::time::Timestamp;
use mailtap::wire::Side;
use mailtap::wire::stream::StreamDelivery;
use oracle::{Facts, Order};

/// Whether the oracle of `stream` passes these deliveries of one direction.
fn passes(inputs: &[Input<'_>]) -> bool {
    let mut order = Order::default();
    order.begin(Side::Lesser, 0);
    let take = || {
        for input in inputs {
            let delivery = StreamDelivery { at: Timestamp::default(), received: None, input: *input };
            order.take(Side::Lesser, &delivery);
        }
    };
    catch_unwind(AssertUnwindSafe(take)).is_ok()
}

#[test]
fn the_oracle_of_streams_sees_bytes_that_are_wrong() {
    let bytes: Vec<u8> = (0..20).map(oracle::byte).collect();
    let (head, rest) = bytes.split_at(8);
    let mut changed = rest.to_vec();
    changed[3] ^= 1;
    let data = |bytes| Input::Data(bytes);
    assert!(passes(&[data(head), data(rest), Input::Fin]));
    assert!(passes(&[data(head), Input::Gap(4), data(&rest[4..])]), "a hole is no fault");
    for (fault, inputs) in [
        ("a byte changed", vec![data(head), data(&changed)]),
        ("delivered twice", vec![data(head), data(head)]),
        ("out of order", vec![data(rest), data(head)]),
        ("a hole not told of", vec![data(head), data(&rest[4..])]),
        ("a hole too wide", vec![data(head), Input::Gap(5), data(&rest[4..])]),
        ("bytes behind the end", vec![Input::Fin, data(head)]),
    ] {
        assert!(!passes(&inputs), "{fault}");
    }
}

#[test]
fn the_oracle_of_sessions_sees_facts_that_nobody_sent() {
    let seen = [b"MAIL FROM:<ann@x.org>\0".to_vec(), b"250 queued as A7\0".to_vec()];
    let passes = |facts: &Facts| catch_unwind(AssertUnwindSafe(|| facts.are_of(&seen))).is_ok();
    let names = |name: &[u8]| Facts { names: vec![name.to_vec()], ..Facts::default() };
    let codes = |code| Facts { codes: vec![code], ..Facts::default() };
    assert!(
        passes(&names(b"ann@x.org")) && passes(&names(b"A7")) && passes(&codes(250)) && passes(&names(b"[redacted]@x"))
    );
    for facts in [names(b"bob@x.org"), names(b"A7\0MAIL"), names(b"ann@x.orgq"), codes(235)] {
        assert!(!passes(&facts), "{facts:?}");
    }
}

/// A delivery of mail as it is spoken.
const TURNS: [(bool, &[u8]); 13] = [
    (false, b"220 mx\r\n"),
    (true, b"EHLO a\r\n"),
    (false, b"250 mx\r\n"),
    (true, b"MAIL FROM:<ann@x.org>\r\n"),
    (false, b"250 ok\r\n"),
    (true, b"RCPT TO:<bob@y.org>\r\n"),
    (false, b"550 no\r\n"),
    (true, b"RCPT TO:<eve@y.org>\r\n"),
    (false, b"250 ok\r\n"),
    (true, b"DATA\r\n"),
    (false, b"354 go\r\n"),
    (true, b"Subject: x\r\n\r\nhi\r\n.\r\n"),
    (false, b"250 ok queued as A7\r\n"),
];

/// So many of the captures of [`TURNS`] in another order give other facts.
fn differences(limits: FlowLimits) -> usize {
    let pieces = oracle::capture(TURNS.into_iter());
    let ordered = oracle::facts(&pieces, 25, limits);
    assert!(ordered.told.iter().any(|fact| fact.contains("Accepted")), "{ordered:?}");
    let swapped = (0..pieces.len()).map(|at| oracle::swapped(&pieces, at));
    let skewed = [true, false]
        .into_iter()
        .flat_map(|client| [1, 11, 100].map(|late| oracle::skewed(&pieces, client, Duration::from_millis(late))));
    swapped.chain(skewed).filter(|pieces| oracle::facts(pieces, 25, limits) != ordered).count()
}

#[test]
fn the_oracle_of_order_sees_captures_that_are_read_as_they_come() {
    assert_eq!(differences(FlowLimits::default()), 0);
    let mut hasty = FlowLimits::default();
    (hasty.stream.window, hasty.stream.unconfirmed, hasty.stream.segments) = (Duration::ZERO, Duration::ZERO, 0);
    assert!(differences(hasty) > 0, "without waiting, the order of packets matters");
}
