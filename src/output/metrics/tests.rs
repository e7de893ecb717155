//! The families as they are promised, and what events make of them.

use super::*;
use crate::engine::event::{Event, Sink as _};
use crate::output::samples::*;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).unwrap()
}

/// The value of a series, as it is written.
fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[test]
fn events_are_counted() {
    let metrics = Metrics::new(Setup::new(InputKind::Live, ["eth0"])).unwrap();
    let mut recorder = metrics.recorder();
    let context = context(Protocol::Smtp);
    for event in [Event::Start, Event::Transaction(&delivery()), Event::End(&full_summary())] {
        recorder.event(&context, at(0), &event);
    }
    let text = text(&metrics);
    assert_eq!(value(&text, "mailtap_sessions_total{listener=\"eth0\",protocol=\"smtp\"}"), Some("1"));
    assert_eq!(value(&text, "mailtap_sessions_active{listener=\"eth0\",protocol=\"smtp\"}"), Some("0"));
}
