//! The records of one epoch, put in order.

/// Room that a spent chunk keeps; what the end of a long capture took beyond it is given back.
const KEEP: usize = 1 << 20;

/// One worker's records of one epoch, in order.
#[derive(Debug, Default)]
pub(super) struct RecordChunk {
    lines: Vec<u8>,
    entries: Vec<ChunkEntry>,
    /// The lines stand in `lines` as they are ordered in `entries`.
    straight: bool,
}

/// A record in a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkEntry {
    /// Twice the number of the packet that caused it; one more if the packet itself did, not the time it showed.
    pub(super) cause: u64,
    /// First packet of its connection.
    pub(super) ordinal: u64,
    /// Where its line is.
    pub(super) start: usize,
    /// Where that ends.
    pub(super) end: usize,
}

impl ChunkEntry {
    const fn key(&self) -> (u64, u64) {
        (self.cause, self.ordinal)
    }
}

impl RecordChunk {
    /// Makes it `lines`, ordered; empties `entries`.
    pub(super) fn fill(&mut self, lines: &[u8], entries: &mut Vec<ChunkEntry>) {
        self.lines.clear();
        self.lines.shrink_to(KEEP);
        self.lines.extend_from_slice(lines);
        self.entries.clear();
        self.entries.append(entries);
        self.straight = self.entries.is_sorted_by_key(ChunkEntry::key);
        if !self.straight {
            // Stable: the records of one connection stay as they were made.
            self.entries.sort_by_key(ChunkEntry::key);
        }
    }

    fn line(&self, entry: &ChunkEntry) -> &[u8] {
        self.lines.get(entry.start..entry.end).unwrap_or_default()
    }
}

/// Writes epochs.
#[derive(Debug, Default)]
pub(super) struct Merger {
    ordered: Vec<u8>,
    next: Vec<usize>,
}

impl Merger {
    /// Writes the lines of all `chunks` in order. No key is in two chunks, as a connection is in one shard.
    pub(super) fn write<E>(
        &mut self,
        chunks: &[RecordChunk],
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut filled = chunks.iter().filter(|c| !c.entries.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => return Ok(()),
            (Some(only), None) if only.straight => return write(&only.lines),
            _ => {}
        }
        self.ordered.clear();
        self.next.clear();
        self.next.resize(chunks.len(), 0);
        while let Some((at, entry)) = self.least(chunks) {
            if let Some((chunk, next)) = chunks.get(at).zip(self.next.get_mut(at)) {
                self.ordered.extend_from_slice(chunk.line(&entry));
                *next += 1;
            }
            if self.ordered.len() > KEEP {
                write(&self.ordered)?;
                self.ordered.clear();
            }
        }
        write(&self.ordered)
    }

    fn least(&self, chunks: &[RecordChunk]) -> Option<(usize, ChunkEntry)> {
        let heads = chunks.iter().zip(&self.next).enumerate();
        let heads = heads.filter_map(|(at, (chunk, next))| Some((at, *chunk.entries.get(*next)?)));
        heads.min_by_key(|(_, entry)| entry.key())
    }
}
