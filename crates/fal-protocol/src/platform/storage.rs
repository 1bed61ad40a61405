//! Files of an account: who may read them, and for how long they are kept.

use std::fmt;

use serde_json::{Value, json};

use super::json;
use crate::error::{InputError, ProtocolError};
use crate::lifecycle::{Acl, Decision};

/// Reads who may read a file.
///
/// # Errors
/// [`ProtocolError::Body`] when it has no decision for everybody, or one that this version does not know: a
/// list that is read in part and written back would let in whom it kept out.
pub fn parse_acl(body: &[u8]) -> Result<Acl, ProtocolError> {
    read_acl(&json(ACL, body)?, body)
}

fn read_acl(value: &Value, body: &[u8]) -> Result<Acl, ProtocolError> {
    let wrong = |problem: &str| ProtocolError::body(ACL, problem, body);
    let decision = |value: &Value, name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.and_then(|text| text.parse::<Decision>().ok())
    };
    let default = decision(value, "default").ok_or_else(|| wrong("there is no known default"))?;
    let mut acl = Acl::new(default);
    for rule in value.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let user = rule.get("user").and_then(Value::as_str);
        match (user, decision(rule, "decision")) {
            (Some(user), Some(decision)) => acl = acl.rule(user, decision),
            _ => return Err(wrong("a rule has no user or no known decision")),
        }
    }
    Ok(acl)
}

/// An address by which whoever has it may read a file. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(Box<str>);

impl SignedUrl {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it has no address; the answer is not quoted.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "a signed address";
        const HIDDEN: &[u8] = b"(not shown: it may hold a signature)";
        let value: Value = serde_json::from_slice(body)
            .map_err(|_| ProtocolError::body(EXPECTED, "it is not JSON", HIDDEN))?;
        match value.get("signed_url").and_then(Value::as_str) {
            Some(url) => Ok(Self(url.into())),
            None => Err(ProtocolError::body(EXPECTED, "there is no signed_url", HIDDEN)),
        }
    }

    /// The address, for the one who is to read the file. Keep it out of logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedUrl(***)")
    }
}

/// What holds for files where a request says nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageSettings {
    /// Seconds after which files vanish, from 1. `None`: they stay.
    pub expiration_secs: Option<u64>,
    /// Who may read them. `None`: everybody.
    pub initial_acl: Option<Acl>,
}

impl StorageSettings {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no object, or [`parse_acl`] would refuse the readers in it.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "settings of the storage";
        let value = json(EXPECTED, body)?;
        if !value.is_object() {
            return Err(ProtocolError::body(EXPECTED, "it is not an object", body));
        }
        let acl = value.get("initial_acl").filter(|acl| !acl.is_null());
        Ok(Self {
            expiration_secs: value.get("expiration_duration_seconds").and_then(Value::as_u64),
            initial_acl: acl.map(|acl| read_acl(acl, body)).transpose()?,
        })
    }

    pub(super) fn json(&self) -> Result<Value, InputError> {
        if self.expiration_secs == Some(0) {
            return Err(InputError::option("expiry", "it must be at least one second"));
        }
        let acl = self.initial_acl.as_ref().map(Acl::json).transpose()?;
        Ok(json!({ "expiration_duration_seconds": self.expiration_secs, "initial_acl": acl }))
    }
}

const ACL: &str = "a list of readers";

/// Longest validity of a signed address: a week (documented).
pub const SIGNED_SECS_MAX: u64 = 604_800;
