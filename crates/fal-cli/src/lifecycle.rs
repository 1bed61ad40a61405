//! Lifetime and readers of uploaded files, from flags.

use fal_client::{Acl, Decision, Expires, Lifecycle};
use serde_json::Value;

use crate::problem::Problem;

/// One `--acl`: for everybody, or for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    user: Option<String>,
    decision: Decision,
}

impl Reader {
    /// Reads `forbid` or `acme=allow`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, decision) = match text.rsplit_once('=') {
            Some((user, decision)) => (Some(user.to_owned()), decision),
            None => (None, text),
        };
        let decision =
            decision.parse().map_err(|error: fal_client::InputError| error.to_string())?;
        Ok(Self { user, decision })
    }
}

/// What the flags say; `None` if they say nothing.
pub(crate) fn read(
    json: Option<&str>,
    expires: Option<Expires>,
    readers: &[Reader],
) -> Result<Option<Lifecycle>, Problem> {
    let mut lifecycle = match json {
        None if expires.is_none() && readers.is_empty() => return Ok(None),
        None => Lifecycle::default(),
        Some(text) => {
            parse(text).map_err(|problem| Problem::usage(format!("--lifecycle: {problem}")))?
        }
    };
    if let Some(expires) = expires {
        lifecycle = lifecycle.expires(expires);
    }
    if !readers.is_empty() {
        lifecycle = lifecycle.acl(acl_of(readers)?);
    }
    // What cannot be sent is told before anything is.
    lifecycle.header().map_err(|error| Problem::usage(error.to_string()))?;
    Ok(Some(lifecycle))
}

fn acl_of(readers: &[Reader]) -> Result<Acl, Problem> {
    let mut defaults = readers.iter().filter(|reader| reader.user.is_none());
    // Rules alone are exceptions from what everybody may: nothing.
    let default = defaults.next().map_or(Decision::Forbid, |reader| reader.decision);
    if defaults.next().is_some() {
        return Err(Problem::usage("--acl for everybody is given twice"));
    }
    let users = readers.iter().filter_map(|reader| Some((reader.user.as_ref()?, reader.decision)));
    Ok(users.fold(Acl::new(default), |acl, (user, decision)| acl.rule(user, decision)))
}

/// Reads the JSON that fal documents.
fn parse(text: &str) -> Result<Lifecycle, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let object = json.as_object().ok_or("it is a JSON object")?;
    let mut lifecycle = Lifecycle::default();
    for (name, value) in object {
        lifecycle = match (name.as_str(), value) {
            ("expiration_duration_seconds", Value::Null) => lifecycle.expires(Expires::Unlimited),
            ("expiration_duration_seconds", value) => {
                let secs =
                    value.as_u64().ok_or("expiration_duration_seconds is a number or null")?;
                lifecycle.expires(Expires::AfterSecs(secs))
            }
            ("initial_acl", value) => lifecycle.acl(parse_acl(value)?),
            (other, _) => return Err(format!("{other:?} is not part of a lifecycle")),
        };
    }
    Ok(lifecycle)
}

fn parse_acl(json: &Value) -> Result<Acl, String> {
    let decision = |value: &Value| {
        let text = value.as_str().ok_or("a decision is a text")?;
        text.parse::<Decision>().map_err(|error| error.to_string())
    };
    let acl = Acl::new(decision(&json["default"])?);
    json["rules"].as_array().map_or(&[][..], Vec::as_slice).iter().try_fold(acl, |acl, rule| {
        let user = rule["user"].as_str().ok_or("a rule names its user")?;
        Ok(acl.rule(user, decision(&rule["decision"])?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: Option<&str>, expires: Option<&str>, readers: &[&str]) -> Option<String> {
        let readers: Vec<Reader> =
            readers.iter().map(|text| Reader::parse(text).unwrap()).collect();
        let expires = expires.map(|text| text.parse().unwrap());
        let lifecycle = read(json, expires, &readers).ok()??;
        Some(lifecycle.header().unwrap()?.to_str().unwrap().to_owned())
    }

    #[test]
    fn flags_and_json_say_the_same() {
        let json = r#"{"expiration_duration_seconds":3600,"initial_acl":{"default":"forbid","rules":[{"decision":"allow","user":"acme"}]}}"#;
        let found = check(Some(json), None, &[]);
        assert_eq!(found.as_deref(), Some(json));
        assert_eq!(check(None, Some("1h"), &["forbid", "acme=allow"]), found);
        assert_eq!(check(None, Some("1h"), &["acme=allow"]), found);
        let unlimited = r#"{"expiration_duration_seconds":null}"#;
        assert_eq!(check(Some(unlimited), None, &[]).as_deref(), Some(unlimited));
        assert_eq!(check(None, None, &[]), None);
        assert_eq!(check(None, Some("never"), &[]), None);
    }

    #[test]
    fn slips_are_told() {
        for json in [
            "",
            "5",
            r#"{"expires":5}"#,
            r#"{"initial_acl":{}}"#,
            r#"{"expiration_duration_seconds":0}"#,
        ] {
            read(Some(json), None, &[]).unwrap_err();
        }
        for text in ["", "maybe", "acme=", "=allow=x"] {
            Reader::parse(text).unwrap_err();
        }
        let twice = ["allow", "forbid"].map(|text| Reader::parse(text).unwrap());
        read(None, None, &twice).unwrap_err();
    }
}
