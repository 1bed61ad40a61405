//! How long files live and who may read them: those that are uploaded, and those that a request makes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use crate::error::InputError;
use crate::headers;

/// Lifetime and readers of files. The default says nothing, and sends nothing.
///
/// ```
/// use fal_protocol::lifecycle::{Acl, Decision, Lifecycle};
///
/// let lifecycle = Lifecycle::default()
///     .expires("1d".parse()?)
///     .acl(Acl::new(Decision::Forbid).rule("acme", Decision::Allow));
/// assert_eq!(
///     lifecycle.header()?.unwrap(),
///     r#"{"expiration_duration_seconds":86400,"initial_acl":{"default":"forbid","rules":[{"decision":"allow","user":"acme"}]}}"#,
/// );
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
///
/// Source: docs.fal.ai, common parameters and storage pages (documented); `storage.ts` of `@fal-ai/client`
/// 1.10.1 (official client source).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifecycle {
    /// When files vanish. `None`: as the account says.
    pub expires: Option<Expires>,
    /// Who may read them. `None`: as the account says, else everybody.
    pub acl: Option<Acl>,
}

impl Lifecycle {
    /// Sets when files vanish.
    #[must_use]
    pub const fn expires(mut self, expires: Expires) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Sets who may read them.
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = Some(acl);
        self
    }

    /// The value that goes into a header, compact JSON; `None` when there is nothing to say.
    ///
    /// # Errors
    /// [`InputError::Option`] for an expiry of no time, for too many rules, and for a user that is empty,
    /// too long or not visible ASCII.
    pub fn header(&self) -> Result<Option<HeaderValue>, InputError> {
        let mut object = Map::new();
        match self.expires {
            None | Some(Expires::Never) => {}
            Some(Expires::Unlimited) => {
                object.insert(EXPIRATION.into(), Value::Null);
            }
            Some(Expires::AfterSecs(0)) => {
                return Err(InputError::option("expiry", "it must be at least one second"));
            }
            Some(Expires::AfterSecs(secs)) => {
                object.insert(EXPIRATION.into(), secs.into());
            }
        }
        if let Some(acl) = &self.acl {
            object.insert("initial_acl".into(), acl.json()?);
        }
        if object.is_empty() {
            return Ok(None);
        }
        let text = Value::Object(object).to_string();
        let value = HeaderValue::try_from(text).expect("users are visible ASCII, and so is JSON");
        Ok(Some(value))
    }

    /// The headers of an upload: the same value under both names, because sources disagree on which of
    /// them is read where, and the Python client sends both.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn upload_headers(&self) -> Result<HeaderMap, InputError> {
        let mut map = self.output_headers()?;
        if let Some(value) = map.get(headers::OBJECT_LIFECYCLE_PREFERENCE).cloned() {
            map.insert(headers::OBJECT_LIFECYCLE, value);
        }
        Ok(map)
    }

    /// The header of a run or submit: it governs the files that the model makes.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn output_headers(&self) -> Result<HeaderMap, InputError> {
        let mut map = HeaderMap::new();
        if let Some(value) = self.header()? {
            map.insert(headers::OBJECT_LIFECYCLE_PREFERENCE, value);
        }
        Ok(map)
    }
}

/// When a file vanishes.
///
/// As text: `immediate`, `1h`, `1d`, `7d`, `30d`, `1y`, `never`, or a number of seconds; `unlimited` is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expires {
    /// So many seconds after it was made, 1 or more.
    AfterSecs(u64),
    /// What the official clients call `never`: the field is left out, so **the account's default applies**.
    /// Alone it sends no header.
    Never,
    /// No expiry, whatever the account's default is: `null` on the wire.
    ///
    /// Source: docs.fal.ai, storage pages (documented); no official client sends it.
    Unlimited,
}

impl Expires {
    /// After this time; a started second counts whole.
    #[must_use]
    pub const fn after(time: Duration) -> Self {
        Self::AfterSecs(time.as_secs().saturating_add((time.subsec_nanos() > 0) as u64))
    }
}

impl FromStr for Expires {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let text = text.trim();
        if let Some((_, expires)) = SHORTHANDS.iter().find(|(name, _)| *name == text) {
            return Ok(*expires);
        }
        match text.parse() {
            Ok(secs @ 1..) => Ok(Self::AfterSecs(secs)),
            _ => Err(InputError::option(
                "expiry",
                "it is a number of seconds from 1, or one of immediate, 1h, 1d, 7d, 30d, 1y, never, unlimited",
            )),
        }
    }
}

impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (SHORTHANDS.iter().find(|(_, expires)| expires == self), self) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Self::AfterSecs(secs)) => write!(f, "{secs}"),
            (None, Self::Never | Self::Unlimited) => Ok(()),
        }
    }
}

/// Who may read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acl {
    /// For everybody whom no rule names.
    pub default: Decision,
    /// For single users, at most [`RULES_MAX`].
    pub rules: Vec<Rule>,
}

impl Acl {
    /// The same for everybody.
    #[must_use]
    pub const fn new(default: Decision) -> Self {
        Self { default, rules: Vec::new() }
    }

    /// Adds a rule for one user.
    #[must_use]
    pub fn rule(mut self, user: impl Into<String>, decision: Decision) -> Self {
        self.rules.push(Rule { user: user.into(), decision });
        self
    }

    pub(crate) fn json(&self) -> Result<Value, InputError> {
        if self.rules.len() > RULES_MAX {
            let problem = format_args!("there may be at most {RULES_MAX} rules");
            return Err(InputError::option("acl", problem));
        }
        let mut rules = Vec::with_capacity(self.rules.len());
        for Rule { user, decision } in &self.rules {
            let is_plain = user.bytes().all(|byte| byte.is_ascii_graphic());
            if user.is_empty() || user.len() > USER_BYTES_MAX || !is_plain {
                let problem =
                    format_args!("a user is 1 to {USER_BYTES_MAX} visible ASCII characters");
                return Err(InputError::option("acl", problem));
            }
            rules.push(json!({ "decision": decision.as_str(), "user": user }));
        }
        Ok(json!({ "default": self.default.as_str(), "rules": rules }))
    }
}

/// What one user may.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// The account's name. fal drops rules for accounts that it does not know (third-party reports).
    pub user: String,
    /// What it may.
    pub decision: Decision,
}

/// What a reader gets.
///
/// Source: docs.fal.ai, storage pages (documented); the status codes are inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The file.
    Allow,
    /// A refusal: 403.
    Forbid,
    /// The answer for a file that does not exist: 404.
    Hide,
}

impl Decision {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Forbid => "forbid",
            Self::Hide => "hide",
        }
    }
}

impl FromStr for Decision {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        [Self::Allow, Self::Forbid, Self::Hide]
            .into_iter()
            .find(|decision| decision.as_str() == text)
            .ok_or_else(|| InputError::option("acl", "a decision is allow, forbid or hide"))
    }
}

/// The words of the official clients, and ours for `null`.
const SHORTHANDS: [(&str, Expires); 8] = [
    ("immediate", Expires::AfterSecs(60)),
    ("1h", Expires::AfterSecs(3600)),
    ("1d", Expires::AfterSecs(86_400)),
    ("7d", Expires::AfterSecs(604_800)),
    ("30d", Expires::AfterSecs(2_592_000)),
    ("1y", Expires::AfterSecs(31_536_000)),
    ("never", Expires::Never),
    ("unlimited", Expires::Unlimited),
];

const EXPIRATION: &str = "expiration_duration_seconds";

/// Most rules of one [`Acl`]. Ours: fal publishes none, and a header of all of them stays below 8 KiB.
pub const RULES_MAX: usize = 64;
/// Longest user name of a [`Rule`], in bytes. Ours, as [`RULES_MAX`].
pub const USER_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn text(lifecycle: &Lifecycle) -> Option<String> {
        lifecycle.header().unwrap().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_shorthand_has_its_seconds() {
        for (word, json) in [
            ("immediate", Some(r#"{"expiration_duration_seconds":60}"#)),
            ("1h", Some(r#"{"expiration_duration_seconds":3600}"#)),
            ("1d", Some(r#"{"expiration_duration_seconds":86400}"#)),
            ("7d", Some(r#"{"expiration_duration_seconds":604800}"#)),
            ("30d", Some(r#"{"expiration_duration_seconds":2592000}"#)),
            ("1y", Some(r#"{"expiration_duration_seconds":31536000}"#)),
            ("never", None),
            ("unlimited", Some(r#"{"expiration_duration_seconds":null}"#)),
            ("7", Some(r#"{"expiration_duration_seconds":7}"#)),
        ] {
            let expires: Expires = word.parse().unwrap();
            assert_eq!(text(&Lifecycle::default().expires(expires)).as_deref(), json, "{word}");
            assert_eq!(expires.to_string(), word);
        }
        for bad in ["", "0", "-1", "1.5", "2h", "true", "Never"] {
            bad.parse::<Expires>().unwrap_err();
        }
        assert_eq!(Expires::after(Duration::from_millis(1500)), Expires::AfterSecs(2));
    }

    #[test]
    fn nothing_to_say_sends_nothing() {
        assert_eq!(text(&Lifecycle::default()), None);
        assert!(Lifecycle::default().upload_headers().unwrap().is_empty());
        Lifecycle::default().expires(Expires::AfterSecs(0)).header().unwrap_err();
    }

    #[test]
    fn uploads_send_both_names_and_runs_one() {
        let lifecycle = Lifecycle::default().acl(Acl::new(Decision::Hide));
        let upload = lifecycle.upload_headers().unwrap();
        assert_eq!(upload[headers::OBJECT_LIFECYCLE], upload[headers::OBJECT_LIFECYCLE_PREFERENCE]);
        let output = lifecycle.output_headers().unwrap();
        assert_eq!(output.len(), 1);
        assert_eq!(
            output[headers::OBJECT_LIFECYCLE_PREFERENCE],
            r#"{"initial_acl":{"default":"hide","rules":[]}}"#
        );
    }

    #[test]
    fn rules_are_bounded() {
        let of = |count: usize, user: &str| {
            let acl = (0..count)
                .fold(Acl::new(Decision::Forbid), |acl, _| acl.rule(user, Decision::Allow));
            Lifecycle::default().acl(acl).header()
        };
        let longest = "u".repeat(USER_BYTES_MAX);
        assert!(of(RULES_MAX, &longest).unwrap().unwrap().len() < 8 << 10);
        of(RULES_MAX + 1, "u").unwrap_err();
        for bad in ["", "ü", "a b", "a\nb", &format!("{longest}u")] {
            of(1, bad).unwrap_err();
        }
        of(1, r#"github|1"2"#).unwrap();
    }
}
