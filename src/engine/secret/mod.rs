//! Secrets of a session: remembered only to find their echo, never to be shown.
//!
//! Servers repeat what they do not understand, and a client out of step sends its password where a command belongs. So a
//! text from the wire is shown only after two kinds of words were replaced in it: those that are secret for certain, in
//! any text, and every word of a client's line that was not understood, in the server's texts. What is remembered is
//! bounded and overwritten when the session is over; its `Debug` says how much there is, never what.

mod automaton;
mod echo;
mod filter;
mod ranges;
mod set;
mod words;

use std::sync::LazyLock;

use data_encoding::{BASE64, BASE64_NOPAD, Encoding};

use crate::event::{Dir, Mask, Names};
use ranges::{REDACTED, Ranges};
use set::WordSet;

/// From here on a part of a credential is looked for by itself.
const PART: usize = 4;

/// Base64 without padding, trailing bits not looked at.
static PERMISSIVE: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = BASE64_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.encoding().unwrap_or(BASE64_NOPAD)
});

/// The secrets that a session has shown so far.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Sessions are many, and most know none.
    known: Option<Box<KnownSecrets>>,
    /// The client's line that is being read was understood, or is known to be secret.
    settled: bool,
}

/// What there is to know.
#[derive(Default)]
struct KnownSecrets {
    /// Secret wherever they stand.
    certain: WordSet,
    /// Words of lines that were not understood: secret where the server says them.
    suspected: WordSet,
    /// Who the client said it was.
    names: Names,
    /// Words had to be forgotten before the server could repeat them: nothing of the server is shown any more.
    overrun: bool,
}

/// The names of a client that gave none.
static NOBODY: Names = Names::nobody();

impl Secrets {
    fn known(&mut self) -> &mut KnownSecrets {
        self.known.get_or_insert_default()
    }

    /// Remembers `secret` as sent and, if it is base64, what it stands for.
    pub(crate) fn learn(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        self.remember(secret);
        if let Some(mut decoded) = base64(secret) {
            self.learn_all(&decoded);
            wipe(&mut decoded);
        }
    }

    /// Remembers a password as it is and as base64: what a server makes of it.
    pub(crate) fn learn_password(&mut self, password: &[u8]) {
        self.learn_all(password);
        let mut encoded = BASE64.encode(password.get(..1 << 10).unwrap_or(password)).into_bytes();
        self.remember(&encoded);
        wipe(&mut encoded);
        // A server that cuts its lines at spaces repeats a part of it.
        if memchr::memchr2(b' ', b'\t', password.trim_ascii()).is_some() {
            self.suspect(password);
        }
    }

    /// Remembers a credential whose fields are not known, whole and in parts.
    pub(crate) fn learn_all(&mut self, credential: &[u8]) {
        self.remember(credential);
        if std::str::from_utf8(credential).is_ok() {
            words::parts(credential, |part| {
                if part.len() >= PART {
                    self.remember(part);
                }
            });
        }
    }

    /// Remembers `secret`, and nothing else.
    pub(crate) fn remember(&mut self, secret: &[u8]) {
        if !secret.is_empty() {
            let KnownSecrets { certain, overrun, .. } = self.known();
            *overrun |= !certain.add(secret);
        }
    }

    /// Remembers every word of `text`, which was not understood: a server may repeat any of them, and any may be secret.
    pub(crate) fn suspect(&mut self, text: &[u8]) {
        words::each(text, |word| {
            let KnownSecrets { suspected, overrun, .. } = self.known();
            *overrun |= !suspected.add(word);
        });
    }

    /// The same for a line whose verb is unknown. A verb of another protocol at its head, and a SASL mechanism behind AUTH,
    /// are no secret, if anything follows them.
    pub(crate) fn suspect_unknown(&mut self, line: &[u8]) {
        let (head, rest) = words::keywords(line.trim_ascii());
        self.suspect(head);
        self.suspect(rest);
    }

    /// A line was too long to be looked at.
    pub(crate) fn overrun(&mut self) {
        self.known().overrun = true;
    }

    /// The client's next line is read.
    pub(crate) fn begin_line(&mut self) {
        self.settled = false;
    }

    /// The line was understood, or what is secret in it was learned.
    pub(crate) fn settle_line(&mut self) {
        self.settled = true;
    }

    /// Whether [`Self::settle_line`] was called since the line began.
    pub(crate) fn is_line_settled(&self) -> bool {
        self.settled
    }

    /// The client says that it is `name`.
    pub(crate) fn name(&mut self, name: &[u8]) {
        if !name.is_empty() {
            self.known().names.add(name);
        }
    }

    /// The server believed that the client is `name`.
    pub(crate) fn proved(&mut self, name: &[u8]) {
        if !name.is_empty() {
            self.known().names.prove(name);
        }
    }

    /// To be called before texts are masked.
    pub(crate) fn prepare(&mut self) -> &Self {
        if let Some(known) = &mut self.known {
            known.certain.prepare();
            known.suspected.prepare();
        }
        self
    }

    /// Texts were masked.
    pub(crate) fn used(&mut self) {
        if let Some(known) = &mut self.known {
            known.certain.used();
            known.suspected.used();
        }
    }

    /// Bytes of words that were looked at since this was asked, to remember others and to find them.
    pub(crate) fn take_looked_at(&mut self) -> u64 {
        let known = self.known.as_deref_mut();
        known.map_or(0, |known| known.certain.take_looked_at() + known.suspected.take_looked_at())
    }

    /// Gives back what it does not need.
    pub(crate) fn shrink(&mut self) {
        if let Some(known) = &mut self.known {
            known.certain.shrink();
            known.suspected.shrink();
            known.names.shrink();
        }
    }
}

impl Mask for Secrets {
    fn said(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self.known.as_deref() {
            Some(KnownSecrets { overrun: true, .. }) if !text.is_empty() => Some(REDACTED.to_vec()),
            Some(KnownSecrets { certain, suspected, names, .. }) => {
                masked(text, &[certain, suspected], names, Dir::ToClient)
            }
            None => masked(text, &[], &NOBODY, Dir::ToClient),
        }
    }

    fn sent(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self.known.as_deref() {
            Some(KnownSecrets { certain, names, .. }) => masked(text, &[certain], names, Dir::ToServer),
            None => masked(text, &[], &NOBODY, Dir::ToServer),
        }
    }

    fn names(&self) -> &Names {
        self.known.as_deref().map_or(&NOBODY, |known| &known.names)
    }
}

/// Whether `secret` stands in other words too, by chance: it is short, or a number.
fn is_common(secret: &[u8]) -> bool {
    secret.len() < 8 || secret.iter().all(u8::is_ascii_digit)
}

/// `text`, which went in `dir`, without the words of `sets`; `None` if it has none of them.
fn masked(text: &[u8], sets: &[&WordSet], names: &Names, dir: Dir) -> Option<Vec<u8>> {
    let has_words = sets.iter().any(|set| !set.is_empty());
    if !has_words && !echo::may_have_url(text) {
        return None;
    }
    let mut found = Ranges::default();
    if has_words {
        match dir {
            // Servers cut what they repeat.
            Dir::ToClient => sets.iter().for_each(|set| set.find_cut(text, &mut found)),
            // Where the client puts it together itself, a longer word that a short secret is part of is another word: the
            // sender 1234567899@example.com, whose password is 1234567.
            Dir::ToServer => {
                sets.iter().for_each(|set| set.find(text, &mut found));
                found.retain(|(from, to)| {
                    words::is_whole(text, from, to) || !is_common(text.get(from..to).unwrap_or_default())
                });
            }
        }
        // A name is shown as such, with the password that it begins with or ends with: without it, it would tell it.
        if !found.is_empty() {
            names.iter().for_each(|(name, _)| found.spare(text, name));
        }
        echo::encoded(text, |decoded, ranges| sets.iter().for_each(|set| set.find(decoded, ranges)), &mut found);
    }
    echo::urls(text, &mut found);
    (!found.is_empty()).then(|| found.replace(text))
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (certain, suspected) = self.known.as_deref().map_or((0, 0), |k| (k.certain.len(), k.suspected.len()));
        write!(f, "{certain} secrets, {suspected} suspects")
    }
}

/// Decodes base64; padding and spaces around may be there or not. `None` if it is none, or empty.
pub(crate) fn base64(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let padding = line.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = line.get(..line.len() - padding)?;
    if padding > 2 || text.is_empty() {
        return None;
    }
    PERMISSIVE.decode(text).ok()
}

/// Best effort without unsafe code: the bytes are overwritten and the compiler is asked not to know better.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

#[cfg(test)]
mod tests;
