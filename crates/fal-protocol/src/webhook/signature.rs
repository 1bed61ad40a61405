//! The signature of a delivery: its headers, what is signed, and when that still counts.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};

use super::{Delivery, KeySet, WebhookError};
use crate::error::ProtocolError;

/// Checks that a delivery is from fal and of now.
///
/// `body` is what was received, byte for byte: the same JSON written anew has another signature.
///
/// # Errors
/// [`WebhookError`] names the first check that failed.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    keys: &KeySet,
    now: SystemTime,
) -> Result<Verified, WebhookError> {
    let signed = SignedHeaders::parse(headers)?;
    signed.check_age(now)?;
    signed.check_signature(body, keys)
}

/// The headers of a signature, well-formed but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeaders {
    request_id: Box<str>,
    user_id: Box<str>,
    /// As written: that is what is signed.
    timestamp: Box<str>,
    seconds: u64,
    signature: [u8; 64],
}

impl SignedHeaders {
    /// Reads the four headers.
    ///
    /// # Errors
    /// [`WebhookError::HeaderMissing`], [`WebhookError::HeaderRepeated`] and
    /// [`WebhookError::HeaderMalformed`].
    pub fn parse(headers: &HeaderMap) -> Result<Self, WebhookError> {
        let request_id = one(headers, &REQUEST_ID, "x-fal-webhook-request-id")?;
        let user_id = one(headers, &USER_ID, "x-fal-webhook-user-id")?;
        let name = "x-fal-webhook-timestamp";
        let timestamp = one(headers, &TIMESTAMP, name)?;
        let is_digits = timestamp.bytes().all(|b| b.is_ascii_digit());
        let seconds = timestamp.parse().ok().filter(|_| is_digits);
        let problem = "a whole number of seconds";
        let seconds = seconds.ok_or(WebhookError::HeaderMalformed { name, problem })?;
        let name = "x-fal-webhook-signature";
        let signature = one(headers, &SIGNATURE, name)?;
        let problem = "128 hexadecimal digits";
        let signature = hex(signature).ok_or(WebhookError::HeaderMalformed { name, problem })?;
        Ok(Self {
            request_id: request_id.into(),
            user_id: user_id.into(),
            timestamp: timestamp.into(),
            seconds,
            signature,
        })
    }

    /// Whether it was signed at most [`AGE_MAX`] before or after `now`.
    ///
    /// # Errors
    /// [`WebhookError::Stale`] and [`WebhookError::Future`].
    pub fn check_age(&self, now: SystemTime) -> Result<(), WebhookError> {
        // A fraction of a second does not count: the other side has dropped it too.
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let age = Duration::from_secs(now.saturating_sub(self.seconds));
        let ahead = Duration::from_secs(self.seconds.saturating_sub(now));
        if age > AGE_MAX {
            return Err(WebhookError::Stale { age });
        }
        if ahead > AGE_MAX {
            return Err(WebhookError::Future { ahead });
        }
        Ok(())
    }

    /// Whether one of the keys has signed these headers and this body. Does not look at the age.
    ///
    /// # Errors
    /// [`WebhookError::Signature`].
    pub fn check_signature(&self, body: &[u8], keys: &KeySet) -> Result<Verified, WebhookError> {
        if !keys.have_signed(&self.message(body), &self.signature) {
            return Err(WebhookError::Signature);
        }
        Ok(Verified {
            request_id: self.request_id.clone(),
            user_id: self.user_id.clone(),
            seconds: self.seconds,
        })
    }

    /// What is signed: request id, user id, time and the SHA-256 of the body in lower-case hexadecimal
    /// digits, one below the other, without a final line end.
    #[must_use]
    pub fn message(&self, body: &[u8]) -> Vec<u8> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut message = Vec::with_capacity(192);
        for part in [&self.request_id, &self.user_id, &self.timestamp] {
            message.extend_from_slice(part.as_bytes());
            message.push(b'\n');
        }
        for byte in Sha256::digest(body) {
            message.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        message
    }
}

/// What the signature of a delivery vouches for, beside its body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The request that it is about.
    pub request_id: Box<str>,
    /// The account whose request that was.
    pub user_id: Box<str>,
    /// When it was signed, in seconds since 1970. Each attempt to deliver has its own.
    pub seconds: u64,
}

impl Verified {
    /// Reads the body that was verified.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no delivery, or one about another request.
    pub fn delivery(&self, body: &Bytes) -> Result<Delivery, ProtocolError> {
        let delivery = Delivery::parse(body)?;
        if delivery.request_id != self.request_id {
            let problem = "its request id is not the one of its headers";
            return Err(ProtocolError::body("a webhook delivery", problem, body));
        }
        Ok(delivery)
    }
}

/// The only value of a header, which must be text and not empty.
fn one<'a>(
    headers: &'a HeaderMap,
    key: &HeaderName,
    name: &'static str,
) -> Result<&'a str, WebhookError> {
    let mut values = headers.get_all(key).iter();
    let value = values.next().filter(|value| !value.is_empty());
    let value = value.ok_or(WebhookError::HeaderMissing { name })?;
    if values.next().is_some() {
        return Err(WebhookError::HeaderRepeated { name });
    }
    // The value is signed as UTF-8.
    std::str::from_utf8(value.as_bytes())
        .map_err(|_| WebhookError::HeaderMalformed { name, problem: "text" })
}

/// 64 bytes from hexadecimal digits of either case.
fn hex(text: &str) -> Option<[u8; 64]> {
    let digits: &[u8; 128] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 64];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// Names the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-fal-webhook-request-id");
/// Names the account that made the request.
pub const USER_ID: HeaderName = HeaderName::from_static("x-fal-webhook-user-id");
/// When it was signed: seconds since 1970.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("x-fal-webhook-timestamp");
/// The Ed25519 signature in hexadecimal digits.
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-fal-webhook-signature");

/// How far the time of a signature may be from now, either way: 5 minutes, inclusive.
///
/// Source: docs.fal.ai, webhooks page (documented).
pub const AGE_MAX: Duration = Duration::from_secs(300);
