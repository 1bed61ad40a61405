//! Webhooks: whether a delivery is from fal, and what it says.
//!
//! [`verify`] needs the request's headers, its raw body, fal's keys and the time of day, and has no
//! other input. The [`Verify`] machine does the same and asks for the keys where they are missing,
//! too old or do not match. What is verified is then read by [`Verified::delivery`].
//!
//! | Check, in this order | [`WebhookError`] |
//! |---|---|
//! | four headers, each once and not empty | `HeaderMissing`, `HeaderRepeated` |
//! | the time is digits, the signature 128 hexadecimal ones | `HeaderMalformed` |
//! | the time is at most [`AGE_MAX`] away from now | `Stale`, `Future` |
//! | one of the keys has signed it | `Signature` |
//!
//! A delivery arrives at least once and in no order: whoever acts on it remembers the request id.
//!
//! Source: docs.fal.ai, webhooks page (documented).

mod delivery;
mod error;
mod keys;
mod machine;
mod signature;
#[cfg(test)]
mod tests;

pub use delivery::{Delivery, Payload};
pub use error::WebhookError;
pub use keys::{KEYS_MAX, KeySet};
pub use machine::{
    CachedKeys, Checked, KEYS_AGE_MAX, KEYS_BYTES_MAX, KEYS_REFRESH_MIN, Verify, VerifyConfig,
};
pub use signature::{
    AGE_MAX, REQUEST_ID, SIGNATURE, SignedHeaders, TIMESTAMP, USER_ID, Verified, verify,
};
