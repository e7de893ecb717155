//! What is remembered of octets that were delivered: enough to see them sent again with other octets.

use super::blocks::Blocks;

/// Digests of the last few short pieces delivered, commands and replies; once there was bulk, of its last blocks too.
#[derive(Debug, Default)]
pub(super) struct Recent {
    marks: [Mark; 4],
    turn: u8,
    blocks: Option<Box<Blocks>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    offset: u64,
    digest: u64,
    length: usize,
}

impl Recent {
    /// Octets of the longest piece that is seldom cut anew when it is sent again; longer ones are bulk.
    const LONGEST: usize = 512;

    #[inline]
    pub(super) fn note(&mut self, offset: u64, data: &[u8]) {
        if let Some(blocks) = &mut self.blocks {
            blocks.note(offset, data);
        }
        if data.len() > Self::LONGEST {
            return self.bulk(offset, data);
        }
        self.turn = self.turn.wrapping_add(1);
        if let Some(mark) = self.marks.get_mut(usize::from(self.turn % 4)) {
            *mark = Mark { offset, digest: digest(data), length: data.len() };
        }
    }

    /// Offset of the first piece or block remembered that lies within `data`, all of it delivered before, and differs.
    pub(super) fn differs(&mut self, offset: i64, data: &[u8]) -> Option<u64> {
        let block = self.blocks.as_mut().and_then(|blocks| blocks.differs(offset, data));
        self.marks
            .iter()
            .filter(|mark| mark.length > 0)
            .filter(|mark| {
                let again = usize::try_from(mark.offset as i64 - offset)
                    .ok()
                    .and_then(|from| data.get(from..from.checked_add(mark.length)?));
                again.is_some_and(|again| digest(again) != mark.digest)
            })
            .map(|mark| mark.offset)
            .chain(block)
            .min()
    }

    #[inline]
    fn bulk(&mut self, offset: u64, data: &[u8]) {
        if self.blocks.is_none() {
            self.blocks.insert(Box::new(Blocks::new(offset))).note(offset, data);
        }
    }
}

/// Folds octets to a number; not meant to withstand forgers.
fn digest(data: &[u8]) -> u64 {
    let (words, rest) = data.as_chunks::<8>();
    let mut tail = [0; 8];
    tail.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    words.iter().chain([&tail]).fold(data.len() as u64, |digest, word| fold(digest ^ u64::from_le_bytes(*word)))
}

fn fold(word: u64) -> u64 {
    let wide = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (wide as u64) ^ ((wide >> 64) as u64)
}
