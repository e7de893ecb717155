//! Limits, each by itself, and the table against a model.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn close(limits: Limits) -> Admission {
    Admission::new(Limits { on_limit: OnLimit::Close, ..limits })
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + millis * 1_000_000)
}

/// The answer of a future that needs not wait.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn admit(admission: &Admission, millis: u64, client: IpAddr) -> Result<Ticket, Rejection> {
    now(admission.admit(at(millis), client)).expect("no waiting")
}

fn known(admission: &Admission) -> usize {
    admission.counts.shards.iter().map(|shard| shard.lock().unwrap()).map(|s| s.sources.len() + s.networks.len()).sum()
}

#[test]
fn without_limits_nothing_is_remembered() {
    let admission = close(Limits::default());
    let tickets: Vec<_> = (0..1000).map(|_| admit(&admission, 0, CLIENT).unwrap()).collect();
    assert_eq!((admission.open(), known(&admission)), (1000, 0));
    assert!(!admission.would_exceed_total());
    drop(tickets);
    assert_eq!(admission.open(), 0);
}

#[test]
fn too_many_of_all_are_turned_away_or_wait() {
    let admission = close(Limits { connections: 2, ..Limits::default() });
    let first = admit(&admission, 0, CLIENT).unwrap();
    let _second = admit(&admission, 0, CLIENT).unwrap();
    assert!(admission.would_exceed_total());
    assert_eq!(admit(&admission, 0, CLIENT).unwrap_err(), Rejection::MaxConnections);
    drop(first);
    assert!(admit(&admission, 0, CLIENT).is_ok());

    let admission = Admission::new(Limits { connections: 1, ..Limits::default() });
    let first = admit(&admission, 0, CLIENT).unwrap();
    let mut waiting = pin!(admission.admit(at(0), CLIENT));
    let mut room = pin!(admission.room());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending() && room.as_mut().poll(&mut cx).is_pending());
    drop(first);
    let Poll::Ready(Ok(second)) = waiting.as_mut().poll(&mut cx) else { panic!("there is room") };
    assert!(room.as_mut().poll(&mut cx).is_pending(), "it was taken");
    drop(second);
    assert!(room.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn one_source_and_one_network_have_their_part() {
    let v6 = |a: u16, b: u16, c: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, a, b, 0, 0, 0, c));
    let v4 = |c, d| IpAddr::V4(Ipv4Addr::new(192, 0, c, d));
    let admission = close(Limits { per_source: 1, ..Limits::default() });
    let _tickets = [v4(2, 1), v4(2, 2), v6(1, 1, 1), v6(1, 2, 1)].map(|ip| admit(&admission, 0, ip).unwrap());
    assert_eq!(admit(&admission, 0, v6(1, 1, 2)).unwrap_err(), Rejection::PerSource, "the same /64");
    assert_eq!(admit(&admission, 0, "::ffff:192.0.2.1".parse().unwrap()).unwrap_err(), Rejection::PerSource);
    let admission = close(Limits { per_prefix: 2, ..Limits::default() });
    let _tickets = [v4(2, 1), v4(2, 2), v6(1, 1, 1), v6(1, 2, 1)].map(|ip| admit(&admission, 0, ip).unwrap());
    assert_eq!(admit(&admission, 0, v4(2, 3)).unwrap_err(), Rejection::PerSource, "the same /24");
    assert_eq!(admit(&admission, 0, v6(1, 3, 1)).unwrap_err(), Rejection::PerSource, "the same /48");
    assert!(admit(&admission, 0, v4(3, 1)).is_ok() && admit(&admission, 0, v6(2, 1, 1)).is_ok());
}

#[test]
fn a_rate_allows_a_burst_and_then_its_pace() {
    let admission = close(Limits { rate: 4, ..Limits::default() });
    let ok = |millis| admit(&admission, millis, CLIENT).map(drop);
    assert_eq!((0..6).filter(|_| ok(0).is_ok()).count(), 4, "one second's worth at once");
    assert_eq!(ok(249), Err(Rejection::Rate));
    assert_eq!(ok(250), Ok(()));
    assert_eq!(ok(251), Err(Rejection::Rate));
    assert_eq!(ok(500), Ok(()));
    assert_eq!((0..6).filter(|_| ok(5000).is_ok()).count(), 4, "full again, and not fuller");
}

#[test]
fn a_clock_set_back_locks_nobody_out() {
    let admission = close(Limits { rate: 1, ..Limits::default() });
    assert!(admit(&admission, 3_600_000, CLIENT).is_ok());
    assert!(admit(&admission, 0, CLIENT).is_ok());
    assert_eq!(admit(&admission, 1, CLIENT).unwrap_err(), Rejection::Rate);
}

#[test]
fn a_full_table_lets_in_uncounted_and_empties_again() {
    let admission = close(Limits { rate: 1, per_source: 1, ..Limits::default() });
    let source = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
    for n in 0..200_000 {
        assert!(admit(&admission, 0, source(n)).is_ok());
    }
    let sources: usize = admission.counts.shards.iter().map(|s| s.lock().unwrap().sources.len()).sum();
    assert!(sources <= SHARDS * KNOWN && admission.uncounted() >= 200_000 - (SHARDS * KNOWN) as u64, "{sources}");
    let before = admission.uncounted();
    for n in 0..1000 {
        assert!(admit(&admission, 5000, source(1_000_000 + n)).is_ok());
    }
    assert_eq!(admission.uncounted(), before, "those of five seconds ago are forgotten");
}

#[test]
fn a_reload_keeps_who_is_in() {
    let admission = close(Limits { connections: 5, per_source: 2, ..Limits::default() });
    let tickets: Vec<_> = (0..2).map(|_| admit(&admission, 0, CLIENT).unwrap()).collect();
    let admission = admission.adapted(Limits { on_limit: OnLimit::Close, connections: 2, ..Limits::default() });
    assert_eq!(admit(&admission, 0, CLIENT).unwrap_err(), Rejection::MaxConnections);
    drop(tickets);
    assert!(admit(&admission, 0, CLIENT).is_ok());
    assert_eq!(known(&admission), 0);
}

proptest! {
    #[test]
    fn counts_are_those_of_a_model(
        per_source in 0_u32..4, per_prefix in 0_u32..6,
        steps in proptest::collection::vec((any::<bool>(), 0_u8..3, 0_u8..4, any::<prop::sample::Index>()), 1..200),
    ) {
        let admission = close(Limits { per_source, per_prefix, ..Limits::default() });
        let mut inside: Vec<(Ticket, [u8; 2])> = Vec::new();
        for (come, net, host, index) in steps {
            if !come && !inside.is_empty() {
                inside.swap_remove(index.index(inside.len()));
                continue;
            }
            let of_source = inside.iter().filter(|(_, who)| *who == [net, host]).count() as u32;
            let of_network = inside.iter().filter(|(_, who)| who[0] == net).count() as u32;
            let fits = (per_source == 0 || of_source < per_source) && (per_prefix == 0 || of_network < per_prefix);
            let ticket = admit(&admission, 0, IpAddr::V4(Ipv4Addr::new(198, 51, net, host)));
            prop_assert_eq!(ticket.is_ok(), fits);
            inside.extend(ticket.ok().map(|ticket| (ticket, [net, host])));
            prop_assert_eq!(admission.open() as usize, inside.len());
        }
        drop(inside);
        prop_assert_eq!(known(&admission), 0);
    }
}
