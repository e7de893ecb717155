//! What was said, counted by the speaker: the truth that an analyzer's log is held against.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Counts of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections.
    pub(crate) sessions: u64,
    /// Connections that went to TLS and stayed there.
    pub(crate) encrypted: u64,
    /// Commands in clear.
    pub(crate) commands: u64,
    /// Authentications that succeeded.
    pub(crate) authenticated: u64,
    /// Transactions by outcome; of IMAP retrievals only those of whole messages.
    pub(crate) transactions: BTreeMap<&'static str, u64>,
    /// Recipients of all deliveries.
    pub(crate) recipients: u64,
    /// Octets of the messages of these transactions, as the receiver stores them.
    pub(crate) message_octets: u64,
    /// Octets of IMAP partial fetches.
    pub(crate) partial_octets: u64,
}

/// Counts of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// By protocol, in the words of the log.
    pub(crate) protocols: BTreeMap<&'static str, Counts>,
    /// Packets written.
    pub(crate) packets: u64,
    /// Of these, sent a second time.
    pub(crate) retransmitted: u64,
    /// Of these, sent out of order.
    pub(crate) reordered: u64,
    /// Octets of TCP payload, each counted once.
    pub(crate) payload: u64,
    /// Octets of the file.
    pub(crate) file: u64,
}

impl Totals {
    /// Counts of `protocol`.
    pub(crate) fn of(&mut self, protocol: &'static str) -> &mut Counts {
        self.protocols.entry(protocol).or_default()
    }

    /// As JSON, one object.
    pub(crate) fn to_json(&self, profile: &str, seed: u64) -> String {
        let mut json = format!(
            "{{\"profile\": \"{profile}\", \"seed\": {seed}, \"file_octets\": {}, \"packets\": {}, \"retransmitted\": {}, \"reordered\": {}, \
             \"payload_octets\": {}, \"protocols\": {{",
            self.file, self.packets, self.retransmitted, self.reordered, self.payload
        );
        for (i, (protocol, counts)) in self.protocols.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let outcomes: Vec<String> = counts.transactions.iter().map(|(k, n)| format!("\"{k}\": {n}")).collect();
            let _ = write!(
                json,
                "{comma}\n  \"{protocol}\": {{\"sessions\": {}, \"encrypted\": {}, \"commands\": {}, \"authenticated\": {}, \"recipients\": {}, \
                 \"message_octets\": {}, \"partial_octets\": {}, \"transactions\": {{{}}}}}",
                counts.sessions,
                counts.encrypted,
                counts.commands,
                counts.authenticated,
                counts.recipients,
                counts.message_octets,
                counts.partial_octets,
                outcomes.join(", ")
            );
        }
        json.push_str("\n}}\n");
        json
    }
}

impl Counts {
    /// One transaction more.
    pub(crate) fn transaction(&mut self, outcome: &'static str, octets: usize) {
        *self.transactions.entry(outcome).or_default() += 1;
        self.message_octets += octets as u64;
    }
}
