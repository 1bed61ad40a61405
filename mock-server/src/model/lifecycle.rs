//! How long files live and who may read them.

use std::time::Duration;

use http::HeaderName;
use serde_json::Value;

use super::exchange::Request;
use super::input::Problem;
use crate::render;

/// Whether somebody may read a file.
///
/// Source: docs.fal.ai, file ACL page, for the meaning (documented); the statuses are inferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    #[default]
    Allow,
    /// No: 403.
    Forbid,
    /// No, and the file is not to be seen either: 404.
    Hide,
}

impl Decision {
    const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Forbid => "forbid",
            Self::Hide => "hide",
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        [Self::Allow, Self::Forbid, Self::Hide].into_iter().find(|one| value == one.name())
    }
}

/// Who may read a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acl {
    /// For everybody without a rule.
    pub default: Decision,
    /// Users and what holds for them; the first rule of a user counts.
    pub rules: Vec<(String, Decision)>,
}

impl Acl {
    /// What holds for a reader; `None` is one who does not say who they are.
    #[must_use]
    pub fn decide(&self, user: Option<&str>) -> Decision {
        let rule = self.rules.iter().find(|(name, _)| Some(name.as_str()) == user);
        rule.map_or(self.default, |(_, decision)| *decision)
    }

    /// Everybody may read.
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `{"default":…,"rules":[{"user":…,"decision":…}]}`; `rules` may be absent.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let decision = |value: Option<&Value>, name: &str| {
            value
                .and_then(Decision::parse)
                .ok_or_else(|| format!("{name} must be allow, forbid or hide"))
        };
        let Value::Object(object) = value else { return Err("must be an object".to_owned()) };
        let mut rules = Vec::new();
        match object.get("rules") {
            None | Some(Value::Null) => {}
            Some(Value::Array(all)) if all.len() <= RULES_MAX => {
                for rule in all {
                    let user = rule.get("user").and_then(Value::as_str).filter(|u| !u.is_empty());
                    let user = user.ok_or("user of a rule must be a text that is not empty")?;
                    rules.push((user.to_owned(), decision(rule.get("decision"), "decision")?));
                }
            }
            Some(_) => return Err(format!("rules must be a list of at most {RULES_MAX}")),
        }
        Ok(Self { default: decision(object.get("default"), "default")?, rules })
    }

    /// Writes the same form, rules included.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"default\":\"");
        out.extend_from_slice(self.default.name().as_bytes());
        out.extend_from_slice(b"\",\"rules\":[");
        for (at, (user, decision)) in self.rules.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"user\":" } else { b",{\"user\":" });
            render::push_string(out, user);
            out.extend_from_slice(b",\"decision\":\"");
            out.extend_from_slice(decision.name().as_bytes());
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"]}");
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rules.iter().map(|(user, _)| user.len() + size_of::<(String, Decision)>()).sum()
    }
}

/// What a caller or an account wants for files, as far as they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    /// How long they live; `Some(None)` is for ever.
    pub(crate) lifetime: Option<Option<Duration>>,
    pub(crate) acl: Option<Acl>,
}

impl Lifecycle {
    /// Reads the value of a header, or the settings of an account.
    ///
    /// Zero and null mean no expiry.
    ///
    /// Source: docs.fal.ai, media expiration page, for null (documented); a comment in `client.py` of
    /// `fal-client` 1.0.3 for zero (official client source).
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let Value::Object(object) = value else { return Err("must be an object".to_owned()) };
        let lifetime = match object.get("expiration_duration_seconds") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(number) => {
                let seconds = number.as_u64().ok_or(
                    "expiration_duration_seconds must be a whole number that is not negative",
                )?;
                Some((seconds > 0).then(|| Duration::from_secs(seconds)))
            }
        };
        let acl = match object.get("initial_acl") {
            None | Some(Value::Null) => None,
            Some(acl) => Some(Acl::read(acl).map_err(|why| format!("initial_acl: {why}"))?),
        };
        Ok(Self { lifetime, acl })
    }

    /// The same with what it leaves open taken from the account.
    pub(crate) fn or(self, account: &Self) -> Self {
        Self {
            lifetime: self.lifetime.or(account.lifetime),
            acl: self.acl.or_else(|| account.acl.clone()),
        }
    }

    /// What a file gets, if that is anything but living for ever and being public.
    pub(crate) fn keep(self) -> Option<Box<Keep>> {
        let keep = Keep { lifetime: self.lifetime.flatten(), acl: self.acl.unwrap_or_default() };
        (keep != Keep::default()).then(|| Box::new(keep))
    }
}

/// How long one file lives after it is there, and who may read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) lifetime: Option<Duration>,
    pub(crate) acl: Acl,
}

/// Reads the two lifecycle headers of a call; the one that counts there is named first.
///
/// Clients disagree on which one the service reads where, so either is taken. If both are there, the one
/// without `-Preference` counts for uploads and the one with it for calls of models (inferred).
pub(crate) fn read_headers(
    request: &Request<'_>,
    names: &'static [HeaderName; 2],
) -> Result<Lifecycle, Problem> {
    let Some((name, text)) =
        names.iter().find_map(|name| Some((name, request.headers.get(name)?.to_str().ok()?)))
    else {
        return Ok(Lifecycle::default());
    };
    serde_json::from_str(text)
        .map_err(|_| "must be JSON".to_owned())
        .and_then(|value| Lifecycle::read(&value))
        .map_err(|why| {
            let value = Value::String(text.to_owned());
            Problem::new(
                &["header", name.as_str()],
                "value_error",
                format!("Value error, {why}"),
                &value,
            )
        })
}

/// The order of the lifecycle headers on uploads.
pub(crate) static OF_UPLOADS: [HeaderName; 2] = [LIFECYCLE, PREFERENCE];

/// Their order on calls of models.
pub(crate) static OF_CALLS: [HeaderName; 2] = [PREFERENCE, LIFECYCLE];

const LIFECYCLE: HeaderName = HeaderName::from_static("x-fal-object-lifecycle");
const PREFERENCE: HeaderName = HeaderName::from_static("x-fal-object-lifecycle-preference");

/// Rules in one list.
pub(crate) const RULES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_read_back_and_decide() {
        let value = json!({ "default": "hide", "rules": [
            { "user": "acme", "decision": "allow" },
            { "user": "eve \"x\"", "decision": "forbid" },
        ] });
        let acl = Acl::read(&value).unwrap();
        let mut out = Vec::new();
        acl.push(&mut out);
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), value);
        assert_eq!(
            [Some("acme"), Some("eve \"x\""), Some("bob"), None].map(|user| acl.decide(user)),
            [Decision::Allow, Decision::Forbid, Decision::Hide, Decision::Hide]
        );
        let rules = vec![json!({ "user": "a", "decision": "allow" }); RULES_MAX];
        assert!(Acl::read(&json!({ "default": "allow", "rules": rules })).is_ok());
        let rules = vec![json!({ "user": "a", "decision": "allow" }); RULES_MAX + 1];
        assert!(Acl::read(&json!({ "default": "allow", "rules": rules })).is_err());
    }

    #[test]
    fn lifecycles_are_read() {
        let lifetime = |value| Lifecycle::read(&value).map(|one| one.lifetime);
        let seconds = |n| Ok(Some(Some(Duration::from_secs(n))));
        assert_eq!(lifetime(json!({})), Ok(None));
        assert_eq!(lifetime(json!({ "expiration_duration_seconds": 60 })), seconds(60));
        assert_eq!(lifetime(json!({ "expiration_duration_seconds": null })), Ok(Some(None)));
        assert_eq!(lifetime(json!({ "expiration_duration_seconds": 0 })), Ok(Some(None)));
        for bad in [
            json!([]),
            json!({ "expiration_duration_seconds": -1 }),
            json!({ "expiration_duration_seconds": 1.5 }),
            json!({ "expiration_duration_seconds": true }),
            json!({ "initial_acl": {} }),
            json!({ "initial_acl": { "default": "maybe" } }),
            json!({ "initial_acl": { "default": "allow", "rules": [{ "user": "" }] } }),
            json!({ "initial_acl": { "default": "allow", "rules": [{ "user": "a" }] } }),
        ] {
            assert!(Lifecycle::read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_left_open_is_the_account_s() {
        let account = Lifecycle {
            lifetime: Some(Some(Duration::from_secs(9))),
            acl: Some(Acl { default: Decision::Hide, rules: Vec::new() }),
        };
        let keep = Lifecycle::default().or(&account).keep().unwrap();
        assert_eq!(
            (keep.lifetime, keep.acl.default),
            (Some(Duration::from_secs(9)), Decision::Hide)
        );
        let never = Lifecycle { lifetime: Some(None), acl: Some(Acl::default()) };
        assert_eq!(never.or(&account).keep(), None);
    }
}
