//! What the page is told: server-sent events (WHATWG HTML section 9.2), one at once, then one a second.
//!
//! Each viewer has its own place in the page's state, so one that takes slowly gets what has changed since, later and
//! in one piece: nothing piles up for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::seats::Seat;
use crate::output::page::{Cursor, PageState};

const PERIOD: Duration = Duration::from_secs(1);

/// A body that ends when its place is given to another.
pub(super) struct Events {
    page: Arc<PageState>,
    cursor: Cursor,
    tick: Interval,
    seat: Seat,
    is_greeted: bool,
}

impl Events {
    pub(super) fn new(page: Arc<PageState>, seat: Seat) -> Self {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { page, cursor: Cursor::default(), tick, seat, is_greeted: false }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.tick.poll_tick(cx));
        let Self { page, cursor, seat, is_greeted, .. } = &mut *self;
        if seat.is_lost() {
            return Poll::Ready(None);
        }
        let mut event = Vec::new();
        if !std::mem::replace(is_greeted, true) {
            // What it is confirmed by.
            event.extend_from_slice(format!("event: seat\ndata: {}\n\n", seat.number()).as_bytes());
        }
        // JSON as it is written here has no line ends of its own.
        event.extend_from_slice(b"data: ");
        page.tell(cursor, &mut event);
        event.extend_from_slice(b"\n\n");
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
