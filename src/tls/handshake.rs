//! What can be told of TLS without keys: that it began, and whether its handshake came to application data.

use std::time::Duration;

use crate::event::Both;
use crate::event::Dir;
use crate::event::Handshake;
use crate::time::Timestamp;

const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
const APPLICATION_DATA: u8 = 0x17;

/// Whether `octet` can begin TLS: a handshake record, or an SSLv2 hello (RFC 5246 appendix E.2).
pub(crate) fn begins(octet: u8) -> bool {
    matches!(octet, HANDSHAKE | 0x80)
}

/// One direction, walked from record to record (RFC 8446 section 5.1).
#[derive(Clone, Copy, Debug, Default)]
struct Records {
    header: [u8; 5],
    have: u8,
    left: u16,
    hello: bool,
    alert: bool,
    data: bool,
    lost: bool,
}

impl Records {
    fn take(&mut self, mut octets: &[u8]) {
        while !self.lost {
            let skip = usize::from(self.left).min(octets.len());
            octets = octets.get(skip..).unwrap_or_default();
            self.left -= skip as u16;
            let Some((&octet, rest)) = octets.split_first() else { return };
            octets = rest;
            if let Some(slot) = self.header.get_mut(usize::from(self.have)) {
                *slot = octet;
            }
            self.have += 1;
            if usize::from(self.have) == self.header.len() {
                self.record();
            }
        }
    }

    fn record(&mut self) {
        let [kind, major, _, high, low] = self.header;
        self.have = 0;
        self.left = u16::from_be_bytes([high, low]);
        match kind {
            _ if major != 3 => self.lost = true,
            HANDSHAKE => self.hello = true,
            ALERT if !self.data => self.alert = true,
            APPLICATION_DATA => self.data = true,
            _ => {}
        }
    }
}

/// Both directions of an encrypted connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HandshakeObserver {
    records: Both<Records>,
    /// When the client's hello began.
    began: Option<Timestamp>,
    /// When both sides had sent application data.
    over: Option<Timestamp>,
}

impl HandshakeObserver {
    /// The next octets of `dir`, which came at `at`.
    pub(crate) fn octets(&mut self, at: Timestamp, dir: Dir, octets: &[u8]) {
        self.records[dir].take(octets);
        if self.began.is_none() && self.records.to_server.hello {
            self.began = Some(at);
        }
        if self.over.is_none() && self.handshake() == Some(Handshake::Ok) {
            self.over = Some(at);
        }
    }

    /// From the client's hello to application data of both sides.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.began.and_then(|began| self.over?.since(began))
    }

    /// Octets of `dir` were lost.
    pub(crate) fn gap(&mut self, dir: Dir) {
        self.records[dir].lost = true;
    }

    /// Whether the client's hello was begun.
    pub(crate) fn begun(&self) -> bool {
        let client = &self.records.to_server;
        client.hello || client.have > 0 || client.lost
    }

    /// How the handshake went; `None` while it goes on.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        let (client, server) = (&self.records.to_server, &self.records.to_client);
        if client.data && server.data {
            return Some(Handshake::Ok);
        }
        (client.alert || server.alert).then_some(Handshake::Failed)
    }
}
