//! A made-up but true-to-life world of mail: dialogues of SMTP, LMTP, POP3 and IMAP, and the captures of them.
//!
//! The generator of large captures, the criterion benches and a test that counts what mailtap finds share it.
//! Everything follows from a seed: the same options give the same octets on every machine. It keeps its own
//! count of what it wrote ([`Totals`]), and must never use the engine it is there to measure.
#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "each program that shares this uses a part of it, and its input is its own"
)]

pub(crate) mod capture;
pub(crate) mod imap;
pub(crate) mod mail;
pub(crate) mod pop3;
pub(crate) mod random;
pub(crate) mod smtp;
pub(crate) mod stage;
pub(crate) mod tls;
pub(crate) mod totals;

use mail::Composer;
use random::Random;
use stage::Stage;
pub(crate) use totals::Totals;

/// Which mix of protocols a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// SMTP, a share of it LMTP and STARTTLS.
    Smtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// All of them.
    Mixed,
}

impl Profile {
    /// Every profile.
    pub(crate) const ALL: [Self; 4] = [Self::Smtp, Self::Imap, Self::Pop3, Self::Mixed];

    /// The word of the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Mixed => "mixed",
        }
    }

    /// A dialogue of this profile.
    pub(crate) fn dialogue(self, world: &mut World) -> Dialogue {
        let kind = match self {
            Self::Mixed => match world.random.below(100) {
                0..45 => Self::Smtp,
                45..85 => Self::Imap,
                _ => Self::Pop3,
            },
            one => one,
        };
        match kind {
            Self::Imap => Dialogue::Imap(imap::Imap::new(world)),
            Self::Pop3 => Dialogue::Pop3(pop3::Pop3::new(world)),
            _ => Dialogue::Smtp(smtp::Smtp::new(world)),
        }
    }
}

/// What all dialogues share: chance, text, the count of what was said.
pub(crate) struct World {
    /// Chance.
    pub(crate) random: Random,
    /// Writer of messages.
    pub(crate) composer: Composer,
    /// What was said so far.
    pub(crate) totals: Totals,
    /// Room for one message.
    pub(crate) message: Vec<u8>,
}

impl World {
    /// The world that follows from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), composer: Composer::new(), totals: Totals::default(), message: Vec::new() }
    }

    /// Composes a message of exactly `size` octets into [`Self::message`].
    pub(crate) fn compose(&mut self, size: usize) {
        self.message.clear();
        self.composer.compose(&mut self.random, size, &mut self.message);
    }
}

/// One connection's conversation, act by act.
pub(crate) enum Dialogue {
    /// SMTP, submission, LMTP.
    Smtp(smtp::Smtp),
    /// IMAP.
    Imap(imap::Imap),
    /// POP3.
    Pop3(pop3::Pop3),
}

impl Dialogue {
    /// Puts the next act on an empty `stage`; `last`: take leave now. False when all is said.
    pub(crate) fn act(&mut self, last: bool, world: &mut World, stage: &mut Stage) -> bool {
        match self {
            Self::Smtp(d) => d.act(last, world, stage),
            Self::Imap(d) => d.act(last, world, stage),
            Self::Pop3(d) => d.act(last, world, stage),
        }
    }

    /// The server's port.
    pub(crate) const fn port(&self) -> u16 {
        match self {
            Self::Smtp(d) => d.port(),
            Self::Imap(_) => 143,
            Self::Pop3(_) => 110,
        }
    }
}
