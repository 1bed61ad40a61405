//! Bytes that are appended at one end and forgotten at the other, without a place of their own for each piece.
//!
//! Thousands of short texts that come and go are dear as allocations: each is somewhere else, and is given back long
//! after it was last in the cache. Here they follow each other, and what is forgotten is written over next.

use std::collections::VecDeque;

/// Chunks that are full but for the last.
#[derive(Debug, Default)]
pub(super) struct Scroll {
    chunks: VecDeque<Vec<u8>>,
    /// The number of the first of them.
    first: u64,
    /// One that was forgotten, to be filled again.
    spare: Option<Vec<u8>>,
}

/// Where a piece stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    chunk: u64,
    start: usize,
    end: usize,
}

impl Place {
    pub(super) const fn len(self) -> usize {
        self.end - self.start
    }
}

impl Scroll {
    /// Appends what `write` appends: at most `len` bytes, or memory moves.
    pub(super) fn append(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Place {
        if self.chunks.back().is_none_or(|chunk| chunk.capacity() - chunk.len() < len) {
            self.add_chunk(len);
        }
        let number = self.first + self.chunks.len() as u64 - 1;
        let chunk = self.chunks.back_mut().expect("one was added if there was none");
        let start = chunk.len();
        write(chunk);
        Place { chunk: number, start, end: chunk.len() }
    }

    fn add_chunk(&mut self, len: usize) {
        let before = self.chunks.back().map_or(0, Vec::capacity);
        let chunk = match self.spare.take().filter(|spare| spare.capacity() >= len) {
            Some(spare) => spare,
            // Worlds of which little is asked have little.
            None => {
                Vec::with_capacity((before * 2).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).max(len))
            }
        };
        self.chunks.push_back(chunk);
    }

    /// A piece that is not forgotten.
    pub(super) fn read(&self, place: Place) -> &[u8] {
        let at = place.chunk.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let chunk = at.and_then(|at| self.chunks.get(at));
        chunk.and_then(|chunk| chunk.get(place.start..place.end)).unwrap_or_default()
    }

    /// Nothing before a piece is read again.
    pub(super) fn forget_before(&mut self, place: Place) {
        while self.first < place.chunk {
            let Some(mut chunk) = self.chunks.pop_front() else { return };
            self.first += 1;
            // One that is longer was for a piece that was.
            if chunk.capacity() <= CHUNK_BYTES_MAX {
                chunk.clear();
                self.spare = Some(chunk);
            }
        }
    }

    /// Nothing is read again.
    pub(super) fn clear(&mut self) {
        self.first += self.chunks.len() as u64;
        self.chunks.clear();
        self.spare = None;
    }
}

/// The first chunk.
const CHUNK_BYTES_MIN: usize = 4 << 10;

/// What chunks grow to. Longer pieces have one of their own.
const CHUNK_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_not_forgotten_reads_back(
            steps in proptest::collection::vec((0..100_000usize, 0..4usize), 1..200),
        ) {
            let mut scroll = Scroll::default();
            let mut pieces: VecDeque<(Place, Vec<u8>)> = VecDeque::new();
            for (number, (len, gone)) in steps.into_iter().enumerate() {
                // Mostly short ones.
                let len = if number % 7 == 0 { len } else { len % 900 };
                let piece = vec![number as u8; len];
                let place = scroll.append(len, |out| out.extend_from_slice(&piece));
                prop_assert_eq!(place.len(), len);
                pieces.push_back((place, piece));
                for _ in 0..gone.min(pieces.len() - 1) {
                    pieces.pop_front();
                }
                scroll.forget_before(pieces[0].0);
                for (place, piece) in &pieces {
                    prop_assert_eq!(scroll.read(*place), &piece[..]);
                }
                let held: usize = scroll.chunks.iter().map(Vec::capacity).sum();
                let used: usize = pieces.iter().map(|(place, _)| place.len()).sum();
                // The first and the last may be used little, and a long one ends the one before it early.
                prop_assert!(held <= 2 * used + 4 * CHUNK_BYTES_MAX, "{} for {}", held, used);
            }
            let last = pieces[0].0;
            scroll.clear();
            prop_assert_eq!(scroll.read(last), b"");
        }
    }

    #[test]
    fn what_is_forgotten_is_filled_again() {
        let mut scroll = Scroll::default();
        let append =
            |scroll: &mut Scroll| scroll.append(1000, |out| out.resize(out.len() + 1000, 1));
        let first = append(&mut scroll);
        assert_eq!(scroll.chunks[0].capacity(), CHUNK_BYTES_MIN);
        for _ in 0..1000 {
            let place = append(&mut scroll);
            scroll.forget_before(place);
            assert!(scroll.chunks.len() == 1);
        }
        assert_eq!(scroll.read(first), b"");
        assert!(scroll.spare.is_some());
    }
}
