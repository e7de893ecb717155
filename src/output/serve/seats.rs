//! Places of those who look at the page. A page confirms its place every few seconds; when all are taken, the oldest that
//! nobody confirms goes to whoever comes. So clients that open the stream of events and do nothing more keep nobody out, and a
//! page that somebody looks at is not closed for another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a place that was confirmed is safe: `page.js` does it every 10 s.
const SAFE: Duration = Duration::from_secs(30);

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    places: usize,
    taken: Mutex<TakenSeats>,
}

#[derive(Debug, Default)]
struct TakenSeats {
    /// The oldest first.
    list: Vec<TakenSeat>,
    last: u64,
}

#[derive(Debug)]
struct TakenSeat {
    number: u64,
    confirmed: Option<Instant>,
    /// Whether its connection lasts: not any more once it is given to another.
    lasts: Arc<AtomicBool>,
}

impl TakenSeat {
    fn is_silent(&self, now: Instant) -> bool {
        self.confirmed.is_none_or(|at| now.saturating_duration_since(at) > SAFE)
    }
}

/// A place, until it is dropped or given to another.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    lasts: Arc<AtomicBool>,
}

impl Seats {
    pub(super) fn new(places: usize) -> Self {
        Self { places, taken: Mutex::default() }
    }

    /// One for a connection, which `lasts` as long as it has the place.
    pub(super) fn take(self: &Arc<Self>, lasts: Arc<AtomicBool>, now: Instant) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.list.len() >= self.places {
            let silent = taken.list.iter().position(|seat| seat.is_silent(now))?;
            taken.list.remove(silent).lasts.store(false, Ordering::Relaxed);
        }
        taken.last += 1;
        let number = taken.last;
        lasts.store(true, Ordering::Relaxed);
        taken.list.push(TakenSeat { number, confirmed: None, lasts: Arc::clone(&lasts) });
        Some(Seat { seats: Arc::clone(self), number, lasts })
    }

    /// Whether there would be one.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let taken = self.lock();
        taken.list.len() < self.places || taken.list.iter().any(|seat| seat.is_silent(now))
    }

    /// Somebody looks from place `number`; whether it is still taken.
    pub(super) fn confirm(&self, number: u64, now: Instant) -> bool {
        let mut taken = self.lock();
        let seat = taken.list.iter_mut().find(|seat| seat.number == number);
        seat.map(|seat| seat.confirmed = Some(now)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, TakenSeats> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether it was given to another.
    pub(super) fn is_lost(&self) -> bool {
        !self.lasts.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lasts.store(false, Ordering::Relaxed);
        self.seats.lock().list.retain(|seat| seat.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_makes_room_and_who_looks_stays() {
        let seats = Arc::new(Seats::new(3));
        let now = Instant::now();
        let take = |at| seats.take(Arc::default(), at);
        let [first, second, third] = [take(now), take(now), take(now)].map(Option::unwrap);
        assert!(seats.confirm(first.number(), now));
        let fourth = take(now).unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(Seat::is_lost), [false, true, false, false]);
        assert!(!seats.confirm(second.number(), now), "it is another's");
        drop(second);
        for seat in [&third, &fourth] {
            assert!(seats.has_room(now));
            assert!(seats.confirm(seat.number(), now));
        }
        assert!(!seats.has_room(now) && take(now).is_none());
        let later = now + SAFE + Duration::from_secs(1);
        assert!(seats.has_room(later));
        seats.confirm(first.number(), later);
        let _fifth = take(later).unwrap();
        assert!(!first.is_lost() && third.is_lost());
        drop(first);
        assert!(take(later).is_some(), "a place that was left is free");
    }
}
