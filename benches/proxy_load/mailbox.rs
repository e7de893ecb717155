//! The messages that are sent and fetched: made once, then only pointed at.

use std::rc::Rc;

use crate::support::World;
use crate::support::mail::base64;

/// Different messages, so that no two that follow each other are alike.
const MESSAGES: usize = 16;

/// Messages as they are stored, and as they go over SMTP.
pub(crate) struct Mailbox {
    stored: Vec<Rc<[u8]>>,
    sent: Vec<Rc<[u8]>>,
}

impl Mailbox {
    /// Messages of `size` octets each.
    pub(crate) fn new(size: usize) -> Self {
        let mut world = World::new(1);
        let stored: Vec<Rc<[u8]>> = (0..MESSAGES).map(|_| message(&mut world, size).into()).collect();
        let sent = stored.iter().map(|message| stuffed(message).into()).collect();
        Self { stored, sent }
    }

    /// The message of this number as an IMAP server has it.
    pub(crate) fn stored(&self, number: usize) -> &Rc<[u8]> {
        &self.stored[number % MESSAGES]
    }

    /// The message of this number with dots stuffed and the final dot (RFC 5321 section 4.5.2).
    pub(crate) fn sent(&self, number: usize) -> &Rc<[u8]> {
        &self.sent[number % MESSAGES]
    }
}

fn message(world: &mut World, size: usize) -> Vec<u8> {
    // The composer writes nothing smaller.
    if size >= 2048 {
        world.compose(size);
        return world.message.clone();
    }
    let mut message = Vec::with_capacity(size);
    world.composer.header(&mut world.random, size, &mut message);
    message.extend_from_slice(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    while message.len() + 2 < size {
        base64(&mut world.random, (size - message.len() - 2).min(76), &mut message);
        message.extend_from_slice(b"\r\n");
    }
    message
}

fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        sent.extend_from_slice(line);
    }
    sent.extend_from_slice(b".\r\n");
    sent
}
