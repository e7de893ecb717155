//! A conversation, as `session` reads it, written as records under each policy: every line is a JSON object, and no secret
//! is in any of them.

#![no_main]

#[allow(dead_code, reason = "`session` uses all of it")]
mod operations;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mailtap::output::{Detail, FailedIdentity, IdentityPolicy, Policy, RecordWriter};

fuzz_target!(|input: &[u8]| {
    for identity in [IdentityPolicy::None, IdentityPolicy::Hmac, IdentityPolicy::Full] {
        let policy = Policy {
            identity,
            identity_failed: FailedIdentity::Hmac,
            detail: Detail::Headers,
            key: (identity == IdentityPolicy::Hmac).then(|| b"key".to_vec()),
            ..Policy::default()
        };
        let mut writer = RecordWriter::new(Arc::new(policy));
        let played = operations::run(input, usize::MAX, &mut writer);
        for line in writer.bytes().split_inclusive(|octet| *octet == b'\n') {
            assert!(line.ends_with(b"\n"), "a torn line");
            let record: serde_json::Value = serde_json::from_slice(line).expect("a line is JSON");
            assert!(record.is_object());
        }
        // A name that was believed is shown, whatever it is.
        if played.logged_in && identity != IdentityPolicy::Full {
            assert!(!operations::shows_password(writer.bytes()), "the password is in a record");
        }
    }
});
