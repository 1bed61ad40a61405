//! The keys that sign deliveries. They follow from the seed: for tests, and no secret.

use std::time::SystemTime;

use ed25519_dalek::{Signer as _, SigningKey};
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use super::id::TenantId;
use crate::render::HEX;

/// Signs with the latest key, and shows the one before it too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signer {
    /// The latest first. Made when first needed.
    keys: Vec<SigningKey>,
    rotations: u64,
}

impl Signer {
    /// Signs a delivery; returns the value of its timestamp, and the signature.
    pub(crate) fn sign(
        key: &SigningKey,
        request_id: &HeaderValue,
        user: &HeaderValue,
        wall: SystemTime,
        body: &[u8],
    ) -> (HeaderValue, Signature) {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let timestamp = HeaderValue::from(since.as_secs());
        let message = message(request_id.as_bytes(), user.as_bytes(), timestamp.as_bytes(), body);
        let signature = key.sign(&message);
        (timestamp, signature.to_bytes())
    }

    /// The key that signs now.
    pub(crate) fn key(&mut self, seed: u64) -> &SigningKey {
        &self.keys(seed)[0]
    }

    /// A key that is in no set of keys.
    pub(crate) fn stranger(seed: u64) -> SigningKey {
        derive(seed, u64::MAX)
    }

    /// One that has rotated so often before.
    pub(crate) fn rotated(seed: u64, tenant: TenantId, rotations: u64) -> Self {
        let mut signer = Self { keys: Vec::new(), rotations: rotations.saturating_sub(1) };
        if rotations > 0 {
            if rotations > 1 {
                signer.keys.push(derive(seed, number(tenant, rotations - 1)));
            }
            signer.rotate(seed, tenant);
        }
        signer
    }

    /// How often it has rotated.
    pub(crate) const fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Signs with a new key from now on. Keys of different tenants differ after the first.
    pub(crate) fn rotate(&mut self, seed: u64, tenant: TenantId) {
        self.keys(seed);
        self.rotations += 1;
        self.keys.insert(0, derive(seed, number(tenant, self.rotations)));
        self.keys.truncate(KEYS_SHOWN);
    }

    /// The public keys, the latest first.
    pub(crate) fn public_keys(&mut self, seed: u64) -> impl Iterator<Item = [u8; 32]> {
        self.keys(seed).iter().map(|key| key.verifying_key().to_bytes())
    }

    /// Whether one of the keys that are shown has signed a message.
    pub(crate) fn holds(&mut self, seed: u64, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        let holds =
            |key: &SigningKey| key.verifying_key().verify_strict(message, &signature).is_ok();
        self.keys(seed).iter().any(holds)
    }

    fn keys(&mut self, seed: u64) -> &[SigningKey] {
        if self.keys.is_empty() {
            self.keys.push(derive(seed, self.rotations));
        }
        &self.keys
    }
}

/// What is signed.
pub(crate) fn message(request_id: &[u8], user: &[u8], timestamp: &[u8], body: &[u8]) -> Vec<u8> {
    [request_id, user, timestamp, &push_hex(&Sha256::digest(body))].join(&b'\n')
}

/// Public keys as a JSON Web Key Set.
pub(crate) fn key_set(keys: &[[u8; 32]]) -> Vec<u8> {
    let mut out = b"{\"keys\":[".to_vec();
    for (at, key) in keys.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
        push_base64_url(&mut out, key);
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    out
}

/// A signature as its header has it.
pub(crate) fn signature_value(signature: &Signature) -> HeaderValue {
    HeaderValue::from_bytes(&push_hex(signature)).expect("hexadecimal digits are a header")
}

/// An Ed25519 signature.
pub(crate) type Signature = [u8; 64];

/// Names the key after so many rotations, if there were any.
fn number(tenant: TenantId, rotations: u64) -> u64 {
    u64::from(tenant.number()) << 32 | rotations
}

fn derive(seed: u64, rotations: u64) -> SigningKey {
    let mut hash = Sha256::new();
    hash.update(b"fal-mock webhook key");
    hash.update(seed.to_le_bytes());
    hash.update(rotations.to_le_bytes());
    SigningKey::from_bytes(&hash.finalize().into())
}

fn push_hex(bytes: &[u8]) -> Vec<u8> {
    let digits = |byte: &u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

/// Base64 with the alphabet of addresses and without padding (RFC 4648, section 5).
fn push_base64_url(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            let digit = bits >> (18 - 6 * place) & 63;
            out.push(DIGITS[usize::try_from(digit).expect("six bits")]);
        }
    }
}

/// The key that signs, and the one before it: what it has signed may still be on its way.
const KEYS_SHOWN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_addresses() {
        let text = |bytes: &[u8]| {
            let mut out = Vec::new();
            push_base64_url(&mut out, bytes);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|t| text(t.as_bytes())),
            ["", "Zg", "Zm8", "Zm9v", "Zm9vYg"]
        );
        assert_eq!(text(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn keys_follow_from_the_seed_and_rotate() {
        let set = |signer: &mut Signer, seed| {
            let keys: Vec<_> = signer.public_keys(seed).collect();
            String::from_utf8(key_set(&keys)).unwrap()
        };
        let (mut one, mut other) = (Signer::default(), Signer::default());
        let first = set(&mut one, 7);
        assert_eq!(first, set(&mut other, 7));
        assert_ne!(first, set(&mut Signer::default(), 8));
        one.rotate(7, TenantId::FIRST);
        let second = set(&mut one, 7);
        let old = first.strip_prefix("{\"keys\":[").unwrap();
        assert!(second.ends_with(old) && second.len() > first.len(), "{second}");
        one.rotate(7, TenantId::FIRST);
        assert!(!set(&mut one, 7).contains(old.trim_end_matches("]}")), "two are shown");
    }
}
