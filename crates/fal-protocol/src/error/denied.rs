//! Why the service will not serve this caller, where the answer tells.

use std::fmt;

use super::ApiError;

/// What is wrong with who calls, or with what they may call.
///
/// The service has no names for these, so they are read from the status first and from known words of the
/// message then. A word that changes turns [`Missing`](Self::Missing) into [`Invalid`](Self::Invalid) and
/// [`Locked`](Self::Locked) into [`Forbidden`](Self::Forbidden), and nothing else.
///
/// Source: answers recorded by users and third-party probes (incident); docs.fal.ai for the scopes of keys
/// (documented).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// 401: no credentials arrived.
    Missing,
    /// 401: the credentials are malformed, unknown or expired.
    Invalid,
    /// 403: known, and not allowed to do this.
    Forbidden,
    /// 402, 403: the account is locked, mostly because its balance is exhausted.
    Locked,
    /// 404: there is no such app.
    UnknownApp,
}

impl Denied {
    pub(super) fn of(error: &ApiError) -> Option<Self> {
        let message = error.message.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
        match error.status?.as_u16() {
            401 if has(&[
                "header is required",
                "missing authorization",
                "cannot access application",
            ]) =>
            {
                Some(Self::Missing)
            }
            401 => Some(Self::Invalid),
            402 => Some(Self::Locked),
            403 if has(&["is locked", "balance"]) => Some(Self::Locked),
            403 => Some(Self::Forbidden),
            404 if message.starts_with("application ") && has(&["not found"]) => {
                Some(Self::UnknownApp)
            }
            _ => None,
        }
    }

    /// What to do about it, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Missing => "give a key: https://fal.ai/dashboard/keys",
            Self::Invalid => "check the key, or make a new one: https://fal.ai/dashboard/keys",
            Self::Forbidden => {
                "use a key with the scope that this needs, or ask the owner of the app"
            }
            Self::Locked => "look at the balance: https://fal.ai/dashboard/billing",
            Self::UnknownApp => "check the endpoint id: https://fal.ai/models",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no credentials",
            Self::Invalid => "credentials that the service does not accept",
            Self::Forbidden => "not allowed with these credentials",
            Self::Locked => "the account is locked",
            Self::UnknownApp => "no such app",
        })
    }
}
