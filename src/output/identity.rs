//! Who authenticated, as far as the user wants it shown.
//!
//! An identity is personal data, no secret; but the identity of a failed attempt may be a password typed into the wrong
//! field, so it never leaves in clear unless the user asked for that, or the same session has shown it to be a name.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use data_encoding::HEXLOWER;

use crate::event::Names;
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
pub(super) enum ShownIdentity<'a> {
    /// As it is.
    Plain(&'a [u8]),
    /// Its HMAC-SHA-256.
    Hmac([u8; 32]),
    /// Not at all.
    Withheld,
}

impl ShownIdentity<'_> {
    /// What stands in its place; `None` if nothing does.
    pub(super) fn in_text(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(identity) => Some(identity.to_vec()),
            Self::Hmac(digest) => Some(format!("hmac:{}", HEXLOWER.encode_display(digest)).into_bytes()),
            Self::Withheld => None,
        }
    }
}

impl Identities {
    /// Keeps the policy; without `key` what would be an HMAC is withheld.
    pub(super) fn new(policy: IdentityPolicy, failed: FailedIdentity, key: Option<&[u8]>) -> Self {
        Self { policy, failed, mac: key.and_then(|k| Hmac::new_from_slice(k).ok()) }
    }

    /// `identity` as it may be shown; `proven`: the attempt, or an earlier one with the same identity, succeeded.
    pub(super) fn show<'a>(&self, identity: &'a [u8], proven: bool) -> ShownIdentity<'a> {
        match self.policy {
            IdentityPolicy::None => ShownIdentity::Withheld,
            IdentityPolicy::Full if proven || self.failed == FailedIdentity::Full => ShownIdentity::Plain(identity),
            IdentityPolicy::Full | IdentityPolicy::Hmac => {
                self.digest(identity).map_or(ShownIdentity::Withheld, ShownIdentity::Hmac)
            }
        }
    }

    /// Whether it is not shown as it is.
    pub(super) fn hides(&self, identity: &[u8], proven: bool) -> bool {
        !matches!(self.policy, IdentityPolicy::Full) || !matches!(self.show(identity, proven), ShownIdentity::Plain(_))
    }

    /// What stands in texts in place of one that is not shown.
    fn instead(&self, identity: &[u8]) -> Vec<u8> {
        self.show(identity, false).in_text().unwrap_or_else(|| b"[redacted]".to_vec())
    }

    fn digest(&self, identity: &[u8]) -> Option<[u8; 32]> {
        let mut mac = self.mac.clone()?;
        mac.update(identity);
        Some(mac.finalize().into_bytes().into())
    }
}

/// Keeps the texts of a record from showing what its identities do not.
pub(super) struct Redactor<'a> {
    identities: &'a Identities,
    names: &'a Names,
    /// The policy withholds one of them.
    needed: bool,
}

impl<'a> Redactor<'a> {
    pub(super) fn new(identities: &'a Identities, names: &'a Names) -> Self {
        let needed = names.iter().any(|(name, proven)| identities.hides(name, proven));
        Self { identities, names, needed }
    }

    /// `text` without the names that the policy withholds, in full or by their user part; `None` if there is none in it.
    pub(super) fn redact(&self, text: &[u8]) -> Option<Vec<u8>> {
        if !self.needed {
            return None;
        }
        let mut redacted = None;
        for (name, _) in self.names.iter().filter(|(name, proven)| self.identities.hides(name, *proven)) {
            let instead = self.identities.instead(name);
            for form in [name, user_part(name)] {
                let current = redacted.as_deref().unwrap_or(text);
                redacted = replace_word(current, form, &instead).or(redacted);
            }
        }
        redacted
    }

    /// The arguments of MAIL with the identity of `AUTH=` (RFC 4954 section 5) as the policy shows it.
    pub(super) fn redact_auth_parameter(&self, args: &[u8]) -> Option<Vec<u8>> {
        const KEY: &[u8] = b" AUTH=";
        if !self.identities.hides(b"", true) {
            return None;
        }
        let at = args.windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY))?;
        let (head, value) = args.split_at_checked(at + KEY.len())?;
        let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
        let (value, rest) = value.split_at_checked(end)?;
        (value != b"<>").then(|| [head, &self.identities.instead(value), rest].concat())
    }
}

/// The part of `name` that says who, not where: before `@`, or behind the domain of NTLM.
fn user_part(name: &[u8]) -> &[u8] {
    let behind = memchr::memchr(b'\\', name).and_then(|at| name.get(at + 1..)).unwrap_or(name);
    memchr::memrchr(b'@', behind).and_then(|at| behind.get(..at)).filter(|user| !user.is_empty()).unwrap_or(behind)
}

/// `text` with `instead` for each `word` that stands alone in it, whatever its case.
fn replace_word(text: &[u8], word: &[u8], instead: &[u8]) -> Option<Vec<u8>> {
    let inside = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
    let first = *word.first()?;
    let (mut replaced, mut done, mut from) = (Vec::new(), 0, 0);
    let starts = |rest: &[u8]| memchr::memchr2(first.to_ascii_lowercase(), first.to_ascii_uppercase(), rest);
    while let Some(at) = text.get(from..).and_then(starts).map(|at| from + at) {
        from = at + 1;
        let end = at + word.len();
        let alone = !inside(at.checked_sub(1).and_then(|before| text.get(before))) && !inside(text.get(end));
        if alone && text.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            replaced.extend_from_slice(text.get(done..at).unwrap_or_default());
            replaced.extend_from_slice(instead);
            (done, from) = (end, end);
        }
    }
    (done > 0).then(|| [&replaced, text.get(done..).unwrap_or_default()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(
        policy: IdentityPolicy,
        failed: FailedIdentity,
        key: Option<&[u8]>,
        proven: bool,
    ) -> ShownIdentity<'static> {
        Identities::new(policy, failed, key).show(b"what do ya want for nothing?", proven)
    }

    fn redacted(policy: IdentityPolicy, key: Option<&[u8]>, text: &str) -> String {
        let identities = Identities::new(policy, FailedIdentity::Hmac, key);
        let mut names = Names::default();
        names.prove(b"Ann@x.org");
        names.add(b"DOM\\bob");
        let redactor = Redactor::new(&identities, &names);
        let redacted = redactor.redact(text.as_bytes()).unwrap_or_else(|| text.as_bytes().to_vec());
        String::from_utf8(redacted).unwrap()
    }

    #[test]
    fn names_in_texts_are_what_the_policy_makes_of_them() {
        use IdentityPolicy as Policy;
        let text = "ann@X.org in, ann, announce, bob; DOM\\BOB";
        assert_eq!(redacted(Policy::None, None, text), "[redacted] in, [redacted], announce, [redacted]; [redacted]");
        assert_eq!(redacted(Policy::Full, None, text), "ann@X.org in, ann, announce, [redacted]; [redacted]");
        let keyed = redacted(Policy::Hmac, Some(KEY), text);
        assert!(keyed.matches("hmac:").count() == 4 && !keyed.contains("bob"), "{keyed}");
    }

    #[test]
    fn the_parameter_auth_is_an_identity() {
        let names = Names::default();
        let args = |policy, args: &str| {
            let identities = Identities::new(policy, FailedIdentity::Full, None);
            let redactor = Redactor::new(&identities, &names);
            redactor.redact_auth_parameter(args.as_bytes()).map(|args| String::from_utf8(args).unwrap())
        };
        let none = IdentityPolicy::None;
        assert_eq!(args(none, "FROM:<a> auth=e+3Dmc SIZE=1").as_deref(), Some("FROM:<a> auth=[redacted] SIZE=1"));
        assert_eq!(args(none, "FROM:<a> AUTH=<>"), None);
        assert_eq!(args(IdentityPolicy::Full, "FROM:<a> AUTH=ann"), None);
    }

    // RFC 4231 section 4.3.
    const KEY: &[u8] = b"Jefe";
    const HMAC: [u8; 32] = [
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00,
        0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    ];
    const PLAIN: ShownIdentity<'_> = ShownIdentity::Plain(b"what do ya want for nothing?");

    #[test]
    fn every_policy_shows_what_it_says() {
        use {FailedIdentity as Failed, IdentityPolicy as Policy};
        for (policy, failed, key, proven, expected) in [
            (Policy::Full, Failed::Hmac, None, true, PLAIN),
            (Policy::Full, Failed::Hmac, None, false, ShownIdentity::Withheld),
            (Policy::Full, Failed::Hmac, Some(KEY), false, ShownIdentity::Hmac(HMAC)),
            (Policy::Full, Failed::Full, Some(KEY), false, PLAIN),
            (Policy::Hmac, Failed::Full, Some(KEY), true, ShownIdentity::Hmac(HMAC)),
            (Policy::Hmac, Failed::Full, Some(KEY), false, ShownIdentity::Hmac(HMAC)),
            (Policy::Hmac, Failed::Hmac, None, true, ShownIdentity::Withheld),
            (Policy::None, Failed::Full, Some(KEY), true, ShownIdentity::Withheld),
            (Policy::None, Failed::Full, Some(KEY), false, ShownIdentity::Withheld),
        ] {
            assert_eq!(shown(policy, failed, key, proven), expected, "{policy:?} {failed:?} {proven}");
        }
    }
}
