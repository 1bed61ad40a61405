//! The keys with which fal signs: a JSON Web Key Set.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;

use crate::error::ProtocolError;

/// The Ed25519 keys of a JSON Web Key Set, at least one and at most [`KEYS_MAX`].
///
/// ```
/// use fal_protocol::webhook::KeySet;
///
/// let keys = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"oOAG42TdedR1oELGk-w4V9oR3QNhTx_Wi6coea_-qRg"}]}"#;
/// assert_eq!(KeySet::parse(keys)?.len(), 1);
/// # Ok::<(), fal_protocol::ProtocolError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// Reads a set. Entries of another kind, or that cannot be read, are passed over.
    ///
    /// Source: RFC 8037, section 2, and docs.fal.ai, webhooks page (documented).
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no set, or has no usable key.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        let refuse = |problem: &str| ProtocolError::body(EXPECTED, problem, body);
        let json: Value = serde_json::from_slice(body)
            .map_err(|error| ProtocolError::body(EXPECTED, error, body))?;
        let entries =
            json.get("keys").and_then(Value::as_array).ok_or_else(|| refuse("it has no `keys`"))?;
        let keys: Vec<VerifyingKey> = entries.iter().filter_map(read).take(KEYS_MAX).collect();
        if keys.is_empty() {
            return Err(refuse("none of its keys is a usable Ed25519 key"));
        }
        Ok(Self(keys))
    }

    /// How many keys there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of the keys has signed this. Strict: a signature has one form only.
    pub(super) fn have_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.0.iter().any(|key| key.verify_strict(message, &signature).is_ok())
    }
}

fn read(entry: &Value) -> Option<VerifyingKey> {
    let text = |name| entry.get(name).and_then(Value::as_str);
    if (text("kty"), text("crv")) != (Some("OKP"), Some("Ed25519")) {
        return None;
    }
    let bytes = BASE64_URL.decode(text("x")?).ok()?;
    VerifyingKey::from_bytes(bytes.as_slice().try_into().ok()?).ok()
}

/// Padding is not allowed there, but some write it, and it changes nothing.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const EXPECTED: &str = "a set of keys";

/// Keys of a set that are tried; further ones are passed over. A rotation needs two.
pub const KEYS_MAX: usize = 16;
