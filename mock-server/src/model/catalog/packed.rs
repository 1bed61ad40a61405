//! Texts that are kept for the rare case that somebody asks for them.

use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// A compressed text.
#[derive(Clone)]
pub(crate) struct Packed {
    bytes: Box<[u8]>,
    len: usize,
}

impl Packed {
    pub(crate) fn pack(text: &[u8]) -> Self {
        Self { bytes: compress_to_vec(text, LEVEL).into(), len: text.len() }
    }

    pub(crate) fn unpack(&self) -> Bytes {
        let text = decompress_to_vec_with_limit(&self.bytes, self.len);
        text.expect("what was packed here unpacks to its length").into()
    }
}

/// The fastest level: documents repeat themselves so much that better ones gain little.
const LEVEL: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for text in ["", "a", &"{\"title\":\"Prompt\"}".repeat(500)] {
            let packed = Packed::pack(text.as_bytes());
            assert_eq!(packed.unpack(), text.as_bytes());
            assert!(packed.bytes.len() <= text.len() / 10 + 16);
        }
    }
}
