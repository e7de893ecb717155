//! A conversation as a list of operations, in any order, with loss and time that runs backwards: no panic, no secret in any
//! event, and the same events however the bytes are cut. With data lost, no reply, address or queue id is stated of which the
//! bytes did not come. As a capture, with neighbours swapped or one side late, it gives the same facts as in order.

#![no_main]

mod operations;
mod oracle;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mailtap::event::{Context, Event, Sink};
use mailtap::pipeline::flow::FlowLimits;
use mailtap::time::Timestamp;
use operations::Played;
use oracle::Facts;

fuzz_target!(|input: &[u8]| {
    let [whole, again, single] = [usize::MAX, 7, 1].map(|cut| run(input, cut));
    assert_eq!(whole, again, "cut into sevens, other events");
    assert_eq!(whole, single, "octet by octet, other events");
    for lost in 0..4 {
        lossy(input, lost);
    }
    disordered(input);
});

/// With data lost, from the piece with number `lost` on: what is said must have been seen.
fn lossy(input: &[u8], lost: usize) {
    let mut said = Said::default();
    let played = operations::lossy(input, lost, &mut said);
    said.keeps_secrets(&played);
    let mut facts = Facts::default();
    operations::lossy(input, lost, &mut facts);
    // What DEFLATE carries is not seen as it is.
    if !played.has_seen(b"DEFLATE") {
        facts.are_of(&played.seen);
    }
}

/// The data as a capture whose packets come in another order: no difference.
fn disordered(input: &[u8]) {
    /// More would only take longer.
    const TURNS: usize = 64;
    let Some((&port, _)) = input.split_first() else { return };
    let turns = operations::turns(input);
    let pieces = oracle::capture(turns.iter().take(TURNS).map(|(client, data)| (*client, *data)));
    let play = |pieces: &[oracle::Piece]| oracle::facts(pieces, u16::from(port), FlowLimits::default());
    let ordered = play(&pieces);
    // One place that the input chooses.
    let at = input.iter().map(|byte| usize::from(*byte)).sum::<usize>() % pieces.len();
    assert_eq!(ordered, play(&oracle::swapped(&pieces, at)), "with {at} and the next swapped");
    for (client, late) in [(true, 11), (false, 100)] {
        let skewed = oracle::skewed(&pieces, client, Duration::from_millis(late));
        assert_eq!(ordered, play(&skewed), "with a side {late} ms late");
    }
}

/// What a run says, without the octets: their cut is the sender's.
#[derive(Debug, Default, PartialEq)]
struct Said {
    commands: Vec<String>,
    auths: Vec<String>,
    transactions: Vec<String>,
    anomalies: Vec<String>,
    body_octets: u64,
    ends: usize,
    /// Texts that the server said.
    texts: Vec<String>,
}

impl Sink for Said {
    fn event(&mut self, _: &Context, _: Timestamp, event: &Event<'_>) {
        match event {
            // Whether replies came in one piece is a fact of the cut.
            Event::Command(command) => {
                self.commands.push(format!("{command:?}").replace("coalesced: true", "coalesced: false"));
            }
            Event::Auth(auth) => {
                self.auths.push(format!("{auth:?}"));
                self.texts.push(format!("{:?} {:?}", auth.reply, auth.oauth_error));
            }
            Event::Transaction(transaction) => {
                let t = transaction;
                self.transactions.push(format!("{t:?}"));
                self.texts.push(format!("{:?} {:?} {:?} {:?}", t.last, t.queue_id, t.section, t.mailbox));
                let spans = t.recipients.iter().filter_map(|recipient| recipient.text);
                spans.for_each(|span| self.texts.push(t.text(span).escape_ascii().to_string()));
            }
            Event::Anomaly(anomaly) => self.anomalies.push(format!("{anomaly:?}")),
            Event::Body { octets, .. } => self.body_octets += octets.len() as u64,
            Event::End(summary) => {
                self.ends += 1;
                self.texts.push(format!("{:?} {:?} {:?}", summary.greeting, summary.notices, summary.close_reason));
                self.texts.extend(summary.capabilities.iter().map(|entry| entry.escape_ascii().to_string()));
            }
            _ => {}
        }
    }
}

impl Said {
    /// Law 6, for sessions that begin with a login.
    fn keeps_secrets(&self, played: &Played) {
        if !played.logged_in {
            return;
        }
        let mut all = self.texts.iter().chain(&self.commands).chain(&self.auths).chain(&self.anomalies);
        let leak = all.find(|text| operations::shows_password(text.as_bytes()));
        assert_eq!(leak, None, "the password is in an event");
    }
}

/// Runs the operations of `input`, data in pieces of at most `cut` bytes.
fn run(input: &[u8], cut: usize) -> Said {
    let mut said = Said::default();
    let played = operations::run(input, cut, &mut said);
    assert!(said.ends <= 1, "a session ends once");
    said.keeps_secrets(&played);
    said
}
