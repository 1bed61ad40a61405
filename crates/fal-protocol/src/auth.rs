//! Credentials that cannot be printed.

#[cfg(feature = "login")]
pub mod login;

use std::fmt;

use http::HeaderValue;

use crate::error::InputError;
use crate::token::Token;

/// An API key, `{id}:{secret}`.
///
/// Prints as `***`, never serialises, and its header value is marked sensitive.
///
/// Source: docs.fal.ai, authentication pages (documented).
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Box<str>);

impl Key {
    /// Takes a key; white space around it is dropped.
    ///
    /// # Errors
    /// [`InputError`] when it is empty, has no `:` between two parts, or cannot stand in a header.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InputError::key("it is empty"));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InputError::key("it has a character that cannot stand in a header"));
        }
        match text.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(Self(text.into())),
            _ => Err(InputError::key("it must have the form <key id>:<secret>")),
        }
    }

    /// Joins the two halves that `FAL_KEY_ID` and `FAL_KEY_SECRET` carry.
    ///
    /// # Errors
    /// As [`Key::parse`].
    pub fn from_parts(id: &str, secret: &str) -> Result<Self, InputError> {
        Self::parse(&format!("{}:{}", id.trim(), secret.trim()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How requests to the configured hosts identify the caller.
///
/// Source: docs.fal.ai, authentication pages (documented); `auth.py` of `fal-client` 1.0.3 for tokens
/// (official client source).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// `Authorization: Key {id}:{secret}`.
    Key(Key),
    /// `Authorization: Bearer {token}`: somebody who has logged in.
    Bearer(Token),
    /// Credentials that only the driver can tell, such as a key that rotates. Every attempt asks anew: each
    /// [`Request`](crate::wire::Request) that may carry them has
    /// [`wants_credentials`](crate::wire::Request::wants_credentials) set.
    Deferred,
    /// No header: public models, or a proxy that adds the key.
    #[default]
    Anonymous,
}

impl Credentials {
    /// The value of the `Authorization` header, marked sensitive.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Key(Key(key)) => format!("Key {key}"),
            Self::Bearer(token) => format!("Bearer {}", token.as_str()),
            Self::Deferred | Self::Anonymous => return None,
        };
        let mut value = HeaderValue::try_from(text).expect("keys and tokens are visible ASCII");
        value.set_sensitive(true);
        Some(value)
    }
}

impl From<Key> for Credentials {
    fn from(key: Key) -> Self {
        Self::Key(key)
    }
}

impl From<Token> for Credentials {
    fn from(token: Token) -> Self {
        Self::Bearer(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_exact_and_sensitive() {
        let key = Key::parse(" a1b2:c3d4\n").unwrap();
        let header = Credentials::from(key.clone()).header().unwrap();
        assert_eq!(header.to_str().unwrap(), "Key a1b2:c3d4");
        assert!(header.is_sensitive());
        assert_eq!(Key::from_parts("a1b2", "c3d4").unwrap(), key);
        assert_eq!(Credentials::Anonymous.header(), None);
        assert_eq!(Credentials::Deferred.header(), None);
        let bearer = Credentials::from(Token::parse(" a.b.c\n").unwrap()).header().unwrap();
        assert_eq!(bearer.to_str().unwrap(), "Bearer a.b.c");
        assert!(bearer.is_sensitive());
    }

    #[test]
    fn key_never_prints() {
        let credentials = Credentials::from(Key::parse("id:topsecret").unwrap());
        let token = Token::parse("topsecret").unwrap();
        let bearer = Credentials::from(token.clone());
        let text = format!(
            "{credentials:?} {:?} {token} {bearer:?} {:?}",
            credentials.header(),
            bearer.header()
        );
        assert!(!text.contains("topsecret"), "{text}");
    }

    #[test]
    fn bad_keys_are_refused_without_showing_them() {
        for bad in ["", "  ", "nocolon", ":b", "a:", "a:b\nc", "ä:b"] {
            let error = Key::parse(bad).unwrap_err().to_string();
            assert!(bad.trim().is_empty() || !error.contains(bad.trim()), "{error}");
        }
    }
}
