//! Octets that are kept: reusable, so that a steady session allocates nothing.

use smallvec::SmallVec;

/// Octets of a text that need no room on the heap: tags, names, numbers. As many as a vector would take anyway.
const SHORT: usize = 16;

/// Bytes from the wire that may be absent. Clearing keeps the room.
#[derive(Clone, Default)]
pub struct Text {
    octets: SmallVec<[u8; SHORT]>,
    present: bool,
    /// They have passed the mask of their session: only then its `Debug` shows them.
    masked: bool,
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        (self.present, &self.octets) == (other.present, &other.octets)
    }
}

impl Eq for Text {}

impl Text {
    /// The octets, if there are any to speak of; present and empty is not absent.
    pub fn get(&self) -> Option<&[u8]> {
        self.present.then_some(self.octets.as_slice())
    }

    /// The octets, empty if absent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Whether there are any to speak of.
    pub const fn is_present(&self) -> bool {
        self.present
    }

    /// Makes it `octets`.
    pub fn set(&mut self, octets: &[u8]) {
        self.octets.clear();
        self.push(octets);
    }

    /// Adds `octets` at the end; makes it present.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        self.present = true;
        self.masked = false;
    }

    /// Makes it absent.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.present = false;
    }

    /// Makes it what `other` is.
    pub fn copy_from(&mut self, other: &Self) {
        self.octets.clear();
        self.octets.extend_from_slice(&other.octets);
        self.present = other.present;
        self.masked = other.masked;
    }

    /// Gives back what it does not need.
    pub(crate) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
    }

    /// Leaves off what is beyond `length`.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.octets.truncate(length);
    }

    /// Replaces the bytes by what `mask` makes of them, if it makes something else.
    pub(crate) fn pass(&mut self, mask: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
        self.masked = true;
        if self.octets.is_empty() {
            return;
        }
        if let Some(masked) = mask(&self.octets) {
            wipe(&mut self.octets);
            self.set(&masked);
            self.masked = true;
        }
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            Some(octets) if self.masked => write!(f, "\"{}\"", octets.escape_ascii()),
            Some(octets) => write!(f, "{} bytes", octets.len()),
            None => f.write_str("absent"),
        }
    }
}

/// A range of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Appends `octets` to `arena`; the span of the copy.
    pub fn store(arena: &mut Vec<u8>, octets: &[u8]) -> Self {
        let start = u32::try_from(arena.len()).unwrap_or(u32::MAX);
        arena.extend_from_slice(octets);
        let end = u32::try_from(arena.len()).unwrap_or(u32::MAX);
        Self { start, end }
    }

    /// What was appended to `arena` since its length was `start`.
    pub fn since(start: usize, arena: &[u8]) -> Self {
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: bound(start), end: bound(arena.len()) }
    }

    /// Replaces the bytes in `arena` by what `mask` makes of them, if it makes something else; what they were is wiped.
    pub(crate) fn pass(&mut self, arena: &mut Vec<u8>, mask: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
        let Some(masked) = mask(self.of(arena)) else { return };
        wipe(arena.get_mut(self.start as usize..self.end as usize).unwrap_or_default());
        *self = Self::store(arena, &masked);
    }

    /// The octets in `arena`.
    pub fn of(self, arena: &[u8]) -> &[u8] {
        arena.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A list of octet strings in one buffer.
#[derive(Clone, Debug, Default)]
pub struct List {
    arena: Vec<u8>,
    spans: Vec<Span>,
}

impl List {
    /// Adds one.
    pub fn push(&mut self, octets: &[u8]) {
        let span = Span::store(&mut self.arena, octets);
        self.spans.push(span);
    }

    /// Adds a capability: the first `keyword` octets in upper case.
    pub(crate) fn push_entry(&mut self, entry: &[u8], keyword: usize) {
        let start = self.arena.len();
        self.push(entry);
        if let Some(keyword) = self.arena.get_mut(start..start + keyword) {
            keyword.make_ascii_uppercase();
        }
    }

    /// Empties it; the room stays.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.spans.clear();
    }

    /// Gives back what it does not need.
    pub(crate) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
        self.spans.shrink_to_fit();
    }

    /// Replaces entries by what `mask` makes of them, where it makes something else.
    pub(crate) fn pass(&mut self, mask: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        let Self { arena, spans } = self;
        spans.iter_mut().for_each(|span| span.pass(arena, &mask));
    }

    /// Those in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.spans.iter().map(|s| s.of(&self.arena))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Octets held.
    pub fn octets(&self) -> usize {
        self.arena.len()
    }
}

/// Overwrites what is replaced.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}
