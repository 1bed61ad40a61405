//! Request ids: minted from a seed, shaped like the service's.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

use fal_protocol::rand::SplitMix64;

use crate::render::HEX;

/// The id of a queued request: a version 4 UUID.
///
/// Source: documented examples are version 4 UUIDs; clients treat them as opaque.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// The next id of a generator, with version and variant set.
    pub(crate) fn mint(rng: &mut SplitMix64) -> Self {
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        Self(bits & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62)
    }

    /// The 36 characters of the id.
    #[must_use]
    pub(crate) fn to_text(self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1; // The dash that is there already.
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }

    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    /// Reads an id as it stands in an address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
        if [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
            return None;
        }
        let mut halves = [0u64; 2];
        for (half, digits) in [(0, 0..8), (0, 9..13), (0, 14..18), (1, 19..23), (1, 24..36)] {
            for byte in &text[digits] {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    b'A'..=b'F' => byte - b'A' + 10,
                    _ => return None,
                };
                halves[half] = halves[half] << 4 | u64::from(digit);
            }
        }
        Some(Self(u128::from(halves[0]) << 64 | u128::from(halves[1])))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_text()).expect("hexadecimal digits and dashes"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, ParseRequestIdError> {
        Self::parse(text).ok_or(ParseRequestIdError(()))
    }
}

/// The text is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseRequestIdError(());

impl fmt::Display for ParseRequestIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a request id has the form of a UUID: 36 characters, hexadecimal digits and dashes",
        )
    }
}

impl std::error::Error for ParseRequestIdError {}

/// Which tenant something belongs to. Each has a service of its own; files and tokens, which are used without a
/// key, say by themselves whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(u32);

impl TenantId {
    /// Whom all keys belong to that are nobody else's.
    pub const FIRST: Self = Self(0);

    /// The one after this; `None` once all numbers are used up.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).and_then(Self::new)
    }

    /// The one of that number, if one can have it.
    pub(crate) fn new(number: u32) -> Option<Self> {
        (number >> 31 == 0).then_some(Self(number))
    }

    /// The number in text that the model minted itself, in base 16.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::new(u32::from_str_radix(text, 16).ok()?)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// Writes this tenant into random bits. Those of the first one begin with 0 and say no more.
    pub(crate) const fn mark(self, bits: u128) -> u128 {
        match self.0 {
            0 => bits & !(1 << 127),
            number => 1 << 127 | (number as u128) << 96 | bits & ((1 << 96) - 1),
        }
    }

    /// Whom marked bits belong to.
    pub(crate) const fn of(bits: u128) -> Self {
        if bits >> 127 == 0 { Self::FIRST } else { Self((bits >> 96) as u32 & !(1 << 31)) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Hashes keys that the model minted itself: they are random already, so folding them is enough,
/// and the same on every run.
#[derive(Clone, Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        self.0 ^= (bits >> 64) as u64 ^ bits as u64;
    }
}

/// A map keyed by ids that the model minted. Nothing iterates over it where the order could show.
pub(crate) type IdMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Fold>>;

/// Mixes bytes into 128 bits that depend on every one of them. Not for secrets.
pub(crate) fn digest(seed: u64, parts: &[&[u8]]) -> u128 {
    let mut high = SplitMix64::new(seed).next_u64();
    let mut low = !high;
    let mut take = |word: u64| {
        high = (high ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        low = (low.rotate_left(17) ^ word).wrapping_mul(0xC2B2_AE3D_27D4_EB4F) ^ high;
    };
    for part in parts {
        take(part.len() as u64);
        let mut chunks = part.chunks_exact(8);
        for chunk in &mut chunks {
            take(u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
        }
        let mut last = [0; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        take(u64::from_le_bytes(last));
    }
    let mut first = SplitMix64::new(high);
    let mut second = SplitMix64::new(low ^ high.rotate_left(32));
    u128::from(first.next_u64()) << 64 | u128::from(second.next_u64())
}

/// Mixes a long body into 128 bits that depend on every byte, as fast as it arrives. Not for secrets.
///
/// Four lanes, so that multiplications do not wait for each other.
#[derive(Clone, Debug)]
pub(crate) struct Digest {
    lanes: [u64; 4],
    /// What has not filled a block yet.
    rest: [u8; DIGEST_BLOCK],
    len: u64,
}

impl Digest {
    pub(crate) const fn new() -> Self {
        Self { lanes: [1, 2, 3, 4], rest: [0; DIGEST_BLOCK], len: 0 }
    }

    pub(crate) fn of(bytes: &[u8]) -> u128 {
        let mut digest = Self::new();
        digest.update(bytes);
        digest.finish()
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let filled = (self.len % DIGEST_BLOCK as u64) as usize;
        self.len += bytes.len() as u64;
        if filled > 0 {
            let (head, tail) = bytes.split_at(bytes.len().min(DIGEST_BLOCK - filled));
            self.rest[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < DIGEST_BLOCK {
                return;
            }
            let block = self.rest;
            self.take(&block);
            bytes = tail;
        }
        let mut blocks = bytes.chunks_exact(DIGEST_BLOCK);
        for block in &mut blocks {
            self.take(block);
        }
        self.rest[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    }

    fn take(&mut self, block: &[u8]) {
        for (lane, word) in self.lanes.iter_mut().zip(block.chunks_exact(8)) {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            *lane = (*lane ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
    }

    pub(crate) fn finish(&self) -> u128 {
        let [a, b, c, d] = self.lanes.map(u64::to_le_bytes);
        let filled = (self.len % DIGEST_BLOCK as u64) as usize;
        digest(self.len, &[&a, &b, &c, &d, &self.rest[..filled]])
    }
}

const DIGEST_BLOCK: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4_uuids_and_read_back() {
        let mut rng = SplitMix64::new(7);
        for _ in 0..100 {
            let id = RequestId::mint(&mut rng);
            let text = id.to_string();
            assert_eq!(text.as_bytes()[14], b'4', "{text}");
            assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "x",
            "0123456789abcdef0123456789abcdef0123",
            "00000000-0000-4000-8000-00000000000g",
        ] {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
        assert!("é0000000-0000-4000-8000-0000000000".parse::<RequestId>().is_err());
    }

    #[test]
    fn bits_say_whose_they_are() {
        let last = TenantId(u32::MAX >> 1);
        for tenant in [TenantId::FIRST, TenantId(1), TenantId(0xabcdef), last] {
            for bits in [0, 1 << 127, u128::MAX, 0x0123_4567_89ab_cdef] {
                assert_eq!(TenantId::of(tenant.mark(bits)), tenant, "{bits:x}");
            }
            assert_eq!(TenantId::parse(&tenant.to_string()), Some(tenant));
        }
        assert_eq!(last.next(), None);
        assert_eq!(TenantId::parse("ffffffff"), None);
    }

    #[test]
    fn every_byte_counts() {
        let all = [
            digest(1, &[b"ab", b"c"]),
            digest(1, &[b"a", b"bc"]),
            digest(1, &[b"abc"]),
            digest(1, &[b"abc\0"]),
            digest(2, &[b"abc"]),
            digest(1, &[b"12345678", b""]),
            digest(1, &[b"12345678"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }

    #[test]
    fn bodies_have_one_digest_however_they_arrive() {
        let body: Vec<u8> = (0..200u8).collect();
        for len in [0, 1, 31, 32, 33, 64, 199, 200] {
            let whole = Digest::of(&body[..len]);
            for cut in 0..=len {
                let mut digest = Digest::new();
                digest.update(&body[..cut]);
                digest.update(&body[cut..len]);
                assert_eq!(digest.finish(), whole, "{len} {cut}");
            }
            for at in 0..len {
                let mut other = body[..len].to_vec();
                other[at] ^= 1;
                assert_ne!(Digest::of(&other), whole, "{len} {at}");
            }
        }
        assert_ne!(Digest::of(&[0; 32]), Digest::of(&[0; 64]));
    }
}
