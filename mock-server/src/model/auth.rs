//! Who may call.

use std::fmt;

use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::config::Config;
use super::exchange::Request;

/// Why a caller is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It carries no credentials.
    Missing,
    /// Its key has no colon, or its scheme is none that the service knows.
    Malformed,
    /// Its key is well formed and unknown.
    Unknown,
    /// Its token is none of this service, is for another app, or has run out.
    Token,
    /// Its account is locked, for this reason.
    Locked(Box<str>),
    /// The app is not for this account.
    Private,
}

impl Denied {
    /// 401, or 403 where it is known who calls.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Malformed | Self::Unknown | Self::Token => {
                StatusCode::UNAUTHORIZED
            }
            Self::Locked(_) | Self::Private => StatusCode::FORBIDDEN,
        }
    }

    /// The text under `detail`. `app` is named where a call is for one.
    ///
    /// Source: probes by third parties; clients that match texts match these words (observed).
    pub(crate) fn text(&self, app: Option<&str>) -> String {
        match (self, app) {
            (Self::Missing, Some(app)) => {
                format!("Cannot access application \"{app}\". Authentication is required.")
            }
            (Self::Missing, None) => "Authorization header is required".to_owned(),
            (Self::Malformed, _) => {
                "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."
                    .to_owned()
            }
            (Self::Token, _) => "Unauthorized".to_owned(),
            (Self::Unknown, _) => "No user found for Key ID and Secret".to_owned(),
            (Self::Locked(reason), _) => format!(
                "User is locked. Reason: {reason}. Top up your balance at fal.ai/dashboard/billing."
            ),
            (Self::Private, app) => {
                format!("Cannot access application \"{}\"", app.unwrap_or_default())
            }
        }
    }
}

/// Checks the credentials of a call.
///
/// Of several values, repeated or merged with commas, the first decides: JavaScript's `fetch` appends
/// a second spelling of a header's name to the first. Login tokens cannot be checked here, so any is
/// taken unless the accepted keys are listed. For calls that a token in the query allows as well, see
/// [`Model::admit`](super::Model::admit).
pub(crate) fn check(
    config: &Config,
    request: &Request<'_>,
    app: Option<&str>,
) -> Result<(), Denied> {
    let open = !config.require_key
        || app.is_some_and(|app| config.public_models.iter().any(|public| public == app));
    let Some(value) = request.headers.get(header::AUTHORIZATION) else {
        return if open { Ok(()) } else { Err(Denied::Missing) };
    };
    // A header's value has no control characters, so what is ASCII can be shown.
    let value = value.as_bytes();
    let value = std::str::from_utf8(value).ok().filter(|value| value.is_ascii());
    let value = value.ok_or(Denied::Malformed)?;
    let first = value.split(',').next().unwrap_or_default().trim();
    let (scheme, credential) = first.split_once(' ').ok_or(Denied::Malformed)?;
    let credential = credential.trim();
    if scheme.eq_ignore_ascii_case("Key") {
        match credential.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {}
            _ => return Err(Denied::Malformed),
        }
    } else if !scheme.eq_ignore_ascii_case("Bearer") || credential.is_empty() {
        return Err(Denied::Malformed);
    }
    known(config, credential)?;
    // Who is known may still not run anything: a lock is about models, not about files (inferred).
    match (app, &config.locked) {
        (Some(_), Some(reason)) => Err(Denied::Locked(reason.clone())),
        (Some(app), None) if config.private_models.iter().any(|private| private == app) => {
            Err(Denied::Private)
        }
        _ => Ok(()),
    }
}

fn known(config: &Config, credential: &str) -> Result<(), Denied> {
    let listed = config.keys.is_empty() || config.keys.iter().any(|key| key == credential);
    let is_own = || config.own_key.as_ref().is_some_and(|own| own.digest == digest(credential));
    if listed || is_own() { Ok(()) } else { Err(Denied::Unknown) }
}

/// What is remembered of a key: enough to know it again, and not the key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyPrint {
    /// The part before the colon, which is no secret.
    pub(crate) id: Box<str>,
    pub(crate) digest: KeyDigest,
}

/// SHA-256 of a key.
pub(crate) type KeyDigest = [u8; 32];

impl KeyPrint {
    pub(crate) fn of(key: &str) -> Self {
        let id = key.split(':').next().unwrap_or_default();
        Self { id: id.into(), digest: digest(key) }
    }
}

impl fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPrint").field("id", &self.id).finish_non_exhaustive()
    }
}

/// By what a key is known again.
pub(crate) fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::super::exchange::Host;
    use super::*;

    #[track_caller]
    fn outcome(config: &Config, values: &[&str]) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        check(config, &Request::new(&Method::GET, Host::Queue, "/", &headers), Some("acme/app"))
    }

    #[test]
    fn forms_are_judged() {
        let config = Config::default();
        for good in
            ["Key a:b", "key a:b", "KEY  a:b:c", "Bearer x", "bearer x.y.z", "Key a:b, Bearer x"]
        {
            assert_eq!(outcome(&config, &[good]), Ok(()), "{good}");
        }
        for bad in
            ["Key", "Key ab", "Key :b", "Key a:", "Bearer ", "Basic a:b", "a:b", "Basic x, Key a:b"]
        {
            assert_eq!(outcome(&config, &[bad]), Err(Denied::Malformed), "{bad}");
        }
        assert_eq!(outcome(&config, &[]), Err(Denied::Missing));
        assert_eq!(outcome(&config, &["Key a:b", "junk"]), Ok(()));
        assert_eq!(outcome(&config, &["junk", "Key a:b"]), Err(Denied::Malformed));
    }

    #[test]
    fn open_services_refuse_bad_keys_only() {
        let open = Config { require_key: false, ..Config::default() };
        assert_eq!(outcome(&open, &[]), Ok(()));
        assert_eq!(outcome(&open, &["Key x"]), Err(Denied::Malformed));
        let public = Config { public_models: vec!["acme/app".to_owned()], ..Config::default() };
        assert_eq!(outcome(&public, &[]), Ok(()));
    }

    #[test]
    fn listed_keys_are_the_only_ones() {
        let config = Config { keys: vec!["a:b".to_owned()], ..Config::default() };
        assert_eq!(outcome(&config, &["Key a:b"]), Ok(()));
        assert_eq!(outcome(&config, &["Bearer a:b"]), Ok(()));
        assert_eq!(outcome(&config, &["Key a:c"]), Err(Denied::Unknown));
        let own = Config { own_key: Some(KeyPrint::of("t:own")), ..config };
        assert_eq!(outcome(&own, &["Key t:own"]), Ok(()));
        assert_eq!(outcome(&own, &["Key a:b"]), Ok(()));
        assert_eq!(outcome(&own, &["Key t:other"]), Err(Denied::Unknown));
        assert!(!format!("{own:?}").contains("t:own"));
    }

    #[test]
    fn locks_and_private_apps_are_for_those_who_are_known() {
        let locked = Config { locked: Some("Exhausted balance".into()), ..Config::default() };
        let denied = outcome(&locked, &["Key a:b"]).unwrap_err();
        assert_eq!(denied.status(), StatusCode::FORBIDDEN);
        let text = denied.text(Some("acme/app"));
        assert!(text.starts_with("User is locked. Reason: Exhausted balance. "), "{text}");
        assert_eq!(outcome(&locked, &["Key ab"]), Err(Denied::Malformed));
        assert_eq!(outcome(&locked, &[]), Err(Denied::Missing));

        let private = Config { private_models: vec!["acme/app".to_owned()], ..Config::default() };
        let denied = outcome(&private, &["Bearer x"]).unwrap_err();
        assert_eq!((denied.status(), &denied), (StatusCode::FORBIDDEN, &Denied::Private));
        assert_eq!(denied.text(Some("acme/app")), "Cannot access application \"acme/app\"");
        assert_eq!(outcome(&private, &[]), Err(Denied::Missing));
    }
}
