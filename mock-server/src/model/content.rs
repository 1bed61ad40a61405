//! What files consist of: bytes in memory, and bytes that the shell keeps elsewhere.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::id::Digest;

/// A body that the shell keeps outside of memory. The model sees its length and digest only, and drops the
/// handle when it is no longer wanted.
#[derive(Clone)]
pub struct Spooled {
    len: u64,
    digest: u128,
    keeper: Arc<dyn Any + Send + Sync>,
}

impl Spooled {
    /// A body of `len` bytes. Equal bodies have equal digests. `keeper` is the shell's own: when its last
    /// clone is dropped, the bytes may go.
    #[must_use]
    pub fn new(len: u64, digest: u128, keeper: Arc<dyn Any + Send + Sync>) -> Self {
        Self { len, digest, keeper }
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Depends on every byte.
    pub(crate) const fn digest(&self) -> u128 {
        self.digest
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the shell gave.
    #[must_use]
    pub fn keeper(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.keeper
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spooled").field("len", &self.len).finish_non_exhaustive()
    }
}

/// One stretch of the body of an answer.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums, reason = "a shell must handle every shape")]
pub enum Piece {
    /// Bytes that are at hand.
    Memory(Bytes),
    /// Bytes that the shell keeps.
    Spooled {
        /// The whole body.
        body: Spooled,
        /// The first byte that is wanted.
        from: u64,
        /// The byte after the last one that is wanted.
        to: u64,
    },
}

impl Piece {
    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled { from, to, .. } => *to - *from,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One body that was uploaded.
#[derive(Clone, Debug)]
pub(crate) enum Blob {
    Memory { bytes: Bytes, digest: u128 },
    Spooled(Spooled),
}

impl Blob {
    pub(crate) fn memory(bytes: Bytes) -> Self {
        let digest = Digest::of(&bytes);
        Self::Memory { bytes, digest }
    }

    pub(crate) const fn len(&self) -> u64 {
        match self {
            Self::Memory { bytes, .. } => bytes.len() as u64,
            Self::Spooled(body) => body.len,
        }
    }

    /// Depends on every byte; equal bodies have equal ones, since length decides where a body is kept.
    pub(crate) const fn digest(&self) -> u128 {
        match self {
            Self::Memory { digest, .. } => *digest,
            Self::Spooled(body) => body.digest,
        }
    }

    /// What it costs in memory and outside of it.
    pub(crate) const fn cost(&self) -> (usize, u64) {
        match self {
            Self::Memory { bytes, .. } => (bytes.len() + BLOB_BYTES, 0),
            Self::Spooled(body) => (BLOB_BYTES, body.len),
        }
    }

    fn slice(&self, from: u64, to: u64) -> Piece {
        match self {
            Self::Memory { bytes, .. } => {
                let at = |n: u64| usize::try_from(n).expect("within bytes that are in memory");
                Piece::Memory(bytes.slice(at(from)..at(to)))
            }
            Self::Spooled(body) => Piece::Spooled { body: body.clone(), from, to },
        }
    }
}

/// The stretch `from..to` of bodies that follow each other.
pub(crate) fn slice(blobs: &[Blob], from: u64, to: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for blob in blobs {
        let end = start + blob.len();
        let (first, last) = (from.max(start), to.min(end));
        if first < last {
            pieces.push(blob.slice(first - start, last - start));
        }
        start = end;
    }
    pieces
}

/// What a body costs beside its bytes, about: entries of the tables, and the list of its places on disk.
const BLOB_BYTES: usize = 150;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_are_those_of_the_whole(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..6),
            from in 0usize..40,
            len in 0usize..40,
        ) {
            let whole: Vec<u8> = parts.concat();
            let from = from.min(whole.len());
            let to = (from + len).min(whole.len());
            let blobs: Vec<Blob> = parts.into_iter().map(|part| Blob::memory(part.into())).collect();
            let mut found = Vec::new();
            for piece in slice(&blobs, from as u64, to as u64) {
                prop_assert!(!piece.is_empty());
                let Piece::Memory(bytes) = piece else { panic!("all is in memory") };
                found.extend_from_slice(&bytes);
            }
            prop_assert_eq!(found, &whole[from..to]);
        }
    }
}
