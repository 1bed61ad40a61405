//! Why a delivery was refused.

use std::fmt;
use std::time::Duration;

/// The check that a delivery failed. Nothing in it may be trusted then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookError {
    /// A header of the signature is absent or empty.
    HeaderMissing {
        /// Its name in lower case.
        name: &'static str,
    },
    /// A header of the signature is there more than once, so its meaning is open.
    HeaderRepeated {
        /// Its name in lower case.
        name: &'static str,
    },
    /// A header of the signature has not the form that it must have.
    HeaderMalformed {
        /// Its name in lower case.
        name: &'static str,
        /// What it must be.
        problem: &'static str,
    },
    /// It was signed too long ago: perhaps an old delivery that somebody sends again.
    Stale {
        /// The time since then.
        age: Duration,
    },
    /// It was signed in what is the future here: one of the two clocks is wrong.
    Future {
        /// The time until then.
        ahead: Duration,
    },
    /// None of the keys has made this signature for these headers and this body.
    Signature,
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderMissing { name } => write!(f, "the header {name} is missing or empty"),
            Self::HeaderRepeated { name } => write!(f, "the header {name} occurs more than once"),
            Self::HeaderMalformed { name, problem } => {
                write!(f, "the header {name} must be {problem}")
            }
            Self::Stale { age } => {
                write!(f, "it was signed {} s ago, which is too long", age.as_secs())
            }
            Self::Future { ahead } => {
                write!(f, "it was signed {} s in the future: check the clock", ahead.as_secs())
            }
            Self::Signature => f.write_str("no key has made its signature"),
        }
    }
}

impl std::error::Error for WebhookError {}
