//! Who authenticated, as far as the user wants it shown.
//!
//! An identity is personal data, no secret; but the identity of a failed attempt may be a password typed into the wrong
//! field, so it never leaves in clear unless the user asked for that, or the same session has shown it to be a name.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::event::words;

words! {
    /// How identities are written.
    IdentityPolicy {
        /// As they are.
        Full = "full",
        /// As HMAC-SHA-256 under the user's key: equal ones stay equal.
        Hmac = "hmac",
        /// Not at all.
        None = "none",
    }
}

words! {
    /// How the identity of a failed attempt is written, where [`IdentityPolicy::Full`] applies.
    FailedIdentity {
        /// As HMAC-SHA-256 under the user's key; not at all without a key.
        Hmac = "hmac",
        /// As it is.
        Full = "full",
    }
}

/// Applies the policy.
pub(super) struct Identities {
    policy: IdentityPolicy,
    failed: FailedIdentity,
    mac: Option<Hmac<Sha256>>,
}

/// An identity as the log may show it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// As it is.
    Plain(&'a [u8]),
    /// Its HMAC-SHA-256.
    Hmac([u8; 32]),
    /// Not at all.
    Withheld,
}

impl Identities {
    /// Keeps the policy; without `key` what would be an HMAC is withheld.
    pub(super) fn new(policy: IdentityPolicy, failed: FailedIdentity, key: Option<&[u8]>) -> Self {
        Self { policy, failed, mac: key.and_then(|k| Hmac::new_from_slice(k).ok()) }
    }

    /// `identity` as it may be shown; `proven`: the attempt, or an earlier one with the same identity, succeeded.
    pub(super) fn show<'a>(&self, identity: &'a [u8], proven: bool) -> Shown<'a> {
        match self.policy {
            IdentityPolicy::None => Shown::Withheld,
            IdentityPolicy::Full if proven || self.failed == FailedIdentity::Full => Shown::Plain(identity),
            IdentityPolicy::Full | IdentityPolicy::Hmac => self.digest(identity).map_or(Shown::Withheld, Shown::Hmac),
        }
    }

    fn digest(&self, identity: &[u8]) -> Option<[u8; 32]> {
        let mut mac = self.mac.clone()?;
        mac.update(identity);
        Some(mac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(policy: IdentityPolicy, failed: FailedIdentity, key: Option<&[u8]>, proven: bool) -> Shown<'static> {
        Identities::new(policy, failed, key).show(b"what do ya want for nothing?", proven)
    }

    // RFC 4231 section 4.3.
    const KEY: &[u8] = b"Jefe";
    const HMAC: [u8; 32] = [
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00,
        0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    ];
    const PLAIN: Shown<'_> = Shown::Plain(b"what do ya want for nothing?");

    #[test]
    fn every_policy_shows_what_it_says() {
        use {FailedIdentity as Failed, IdentityPolicy as Policy};
        for (policy, failed, key, proven, expected) in [
            (Policy::Full, Failed::Hmac, None, true, PLAIN),
            (Policy::Full, Failed::Hmac, None, false, Shown::Withheld),
            (Policy::Full, Failed::Hmac, Some(KEY), false, Shown::Hmac(HMAC)),
            (Policy::Full, Failed::Full, Some(KEY), false, PLAIN),
            (Policy::Hmac, Failed::Full, Some(KEY), true, Shown::Hmac(HMAC)),
            (Policy::Hmac, Failed::Full, Some(KEY), false, Shown::Hmac(HMAC)),
            (Policy::Hmac, Failed::Hmac, None, true, Shown::Withheld),
            (Policy::None, Failed::Full, Some(KEY), true, Shown::Withheld),
            (Policy::None, Failed::Full, Some(KEY), false, Shown::Withheld),
        ] {
            assert_eq!(shown(policy, failed, key, proven), expected, "{policy:?} {failed:?} {proven}");
        }
    }
}
