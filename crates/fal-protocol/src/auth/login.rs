//! The tokens that `fal auth login` leaves on disk, as values. Reading the file is the caller's.
//!
//! | Line of the file | What it is |
//! |---|---|
//! | 1 | a refresh token, which buys access tokens and is **replaced each time** |
//! | 2, if there is one | an access token, a JWT that requests carry |
//!
//! Nothing here refreshes. The service invalidates a refresh token as soon as it is used, so whoever uses it
//! must write its successor back, under the lock that fal's own programs take; else the next of them finds
//! its user logged out. The file belongs to those programs, so it is read and nothing more.
//!
//! Source: `auth.py` of `fal-client` 1.0.3 and `auth/` of fal's serverless SDK (official client source).

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::token::Token;

/// What a token file holds that requests can carry: the access token.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use fal_protocol::auth::login::{LoginError, access_token};
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// assert_eq!(access_token(b"refresh\n", now), Err(LoginError::NoAccessToken));
/// ```
///
/// White space around a line and blank lines do not count, as in the Python client. A token that expires
/// within [`EXPIRY_MARGIN`], or that does not tell when, counts as expired.
///
/// # Errors
/// [`LoginError`].
pub fn access_token(file: &[u8], now: SystemTime) -> Result<Token, LoginError> {
    if file.len() > TOKEN_FILE_BYTES_MAX {
        return Err(LoginError::Unreadable { problem: "it is too long" });
    }
    let text = std::str::from_utf8(file)
        .map_err(|_| LoginError::Unreadable { problem: "it is no text" })?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next().ok_or(LoginError::Empty)?;
    let access = lines.next().ok_or(LoginError::NoAccessToken)?;
    let token = Token::parse(access)
        .map_err(|_| LoginError::Unreadable { problem: "its second line is no token" })?;
    match expires_at(&token) {
        None => Err(LoginError::Expired { ago: None }),
        Some(at) => match at.duration_since(now) {
            Ok(left) if left > EXPIRY_MARGIN => Ok(token),
            left => Err(LoginError::Expired {
                ago: Some(left.err().map_or(Duration::ZERO, |e| e.duration())),
            }),
        },
    }
}

/// When a token expires: the member `exp` of a JWT. Its signature is not verified, which is the service's
/// business. `None` if it is no JWT or says nothing.
#[must_use]
pub fn expires_at(token: &Token) -> Option<SystemTime> {
    let mut parts = token.as_str().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&LENIENT.decode(claims).ok()?).ok()?;
    let exp = claims.get("exp")?;
    let seconds = exp.as_u64().or_else(|| {
        let seconds = exp.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
        Some(seconds as u64)
    })?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Why a token file is of no use. Never shows what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginError {
    /// There is nothing in it.
    Empty,
    /// It holds a refresh token alone, as right after `fal auth login`: the first command of fal's own
    /// program that calls the service adds the access token.
    NoAccessToken,
    /// Its access token has expired, or does so within [`EXPIRY_MARGIN`].
    Expired {
        /// How long ago; zero if it is about to. `None` if the token does not tell.
        ago: Option<Duration>,
    },
    /// It is no token file.
    Unreadable {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::NoAccessToken => {
                f.write_str("it holds no access token yet: fal's own program adds one when it calls the service")
            }
            Self::Expired { ago: Some(ago) } if !ago.is_zero() => {
                write!(f, "its access token expired {} s ago", ago.as_secs())
            }
            Self::Expired { ago: Some(_) } => f.write_str("its access token expires within 5 minutes"),
            Self::Expired { ago: None } => f.write_str("its access token does not tell when it expires"),
            Self::Unreadable { problem } => f.write_str(problem),
        }
    }
}

impl std::error::Error for LoginError {}

/// JWTs have no padding; writers that pad exist.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A token that expires within this time counts as expired: 5 minutes, as in the Python client (fal's SDK
/// takes 30).
pub const EXPIRY_MARGIN: Duration = Duration::from_secs(300);
/// Longest token file that is read: 64 KiB.
pub const TOKEN_FILE_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn good() -> String {
        jwt(&format!(r#"{{"exp":{}}}"#, NOW + 3600))
    }

    #[track_caller]
    fn check(file: &str) -> Result<String, LoginError> {
        access_token(file.as_bytes(), at(NOW)).map(|token| token.as_str().to_owned())
    }

    #[test]
    fn two_lines_in_any_layout_give_the_second() {
        let good = good();
        for file in [
            format!("refresh\n{good}"),
            format!("refresh\r\n{good}\r\n"),
            format!("\n\n  refresh \n\n {good}\t\n\n"),
            format!("refresh\n{good}\nmore"),
        ] {
            assert_eq!(check(&file).as_ref(), Ok(&good), "{file:?}");
        }
    }

    #[test]
    fn files_of_no_use_say_why() {
        assert_eq!(check(""), Err(LoginError::Empty));
        assert_eq!(check("\r\n \n"), Err(LoginError::Empty));
        assert_eq!(check("refresh"), Err(LoginError::NoAccessToken));
        assert_eq!(check("refresh\n\r\n"), Err(LoginError::NoAccessToken));
        let unreadable = |file: &[u8]| {
            let error = access_token(file, at(NOW)).unwrap_err();
            assert!(matches!(error, LoginError::Unreadable { .. }), "{error}");
        };
        unreadable(b"\xff\n\xff");
        unreadable(b"refresh\nto ken");
        unreadable(&vec![b'x'; TOKEN_FILE_BYTES_MAX + 1]);
        assert_eq!(check(&"x".repeat(TOKEN_FILE_BYTES_MAX)), Err(LoginError::NoAccessToken));
    }

    #[test]
    fn expiry_has_a_margin() {
        let of = |exp: u64| check(&format!("refresh\n{}", jwt(&format!(r#"{{"exp":{exp}}}"#))));
        assert!(of(NOW + 301).is_ok());
        assert_eq!(of(NOW + 300), Err(LoginError::Expired { ago: Some(Duration::ZERO) }));
        assert_eq!(of(NOW - 7), Err(LoginError::Expired { ago: Some(Duration::from_secs(7)) }));
        for unknown in [
            "opaque".to_owned(),
            jwt("{}"),
            jwt("[]"),
            jwt(r#"{"exp":"soon"}"#),
            jwt(r#"{"exp":-1}"#),
            jwt(r#"{"exp":1e300}"#),
            "a.!.c".to_owned(),
        ] {
            let found = check(&format!("refresh\n{unknown}"));
            assert_eq!(found, Err(LoginError::Expired { ago: None }), "{unknown}");
        }
        let fraction = jwt(&format!(r#"{{"exp":{}.5}}"#, NOW + 400));
        assert_eq!(expires_at(&Token::parse(&fraction).unwrap()), Some(at(NOW + 400)));
    }

    #[test]
    fn errors_show_no_token() {
        for file in ["secret", "secret\nsec ret", "secret\nsecret.secret.secret"] {
            let error = access_token(file.as_bytes(), at(NOW)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_judged(file in proptest::collection::vec(any::<u8>(), 0..200), now: u32) {
            let _ = access_token(&file, at(u64::from(now)));
        }

        #[test]
        fn any_claims_are_judged(claims in "\\PC{0,40}|\\{\"exp\":[-+.e0-9]{0,12}\\}") {
            let _ = check(&format!("refresh\n{}", jwt(&claims)));
        }
    }
}
