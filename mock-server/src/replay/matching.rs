//! Which recording answers a question, and how far others are from it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use crate::cassette::address;
use crate::model;

/// What a request asks beside its method and place, without what differs from run to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    query: BTreeMap<String, String>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Json(Value),
    Other(Bytes),
}

impl Question {
    /// Of a request whose secrets are hidden and whose addresses are real.
    pub(super) fn recorded(query: &str, body: &Bytes) -> Self {
        let all =
            model::parameters(query).map(|(name, value)| (name.into_owned(), value.into_owned()));
        let query = all.filter(|(name, _)| !PASSING.contains(&&**name)).collect();
        let body = match serde_json::from_slice(body) {
            Ok(mut value) => {
                normalise(&mut value);
                Body::Json(value)
            }
            Err(_) => Body::Other(body.clone()),
        };
        Self { query, body }
    }

    /// Everything in which another one differs, as sentences about this one; at most [`DIFFERENCES_MAX`] are counted.
    pub(super) fn differences(&self, recorded: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let names: BTreeSet<&String> = self.query.keys().chain(recorded.query.keys()).collect();
        for name in names {
            let (asked, known) = (self.query.get(name), recorded.query.get(name));
            if asked != known {
                let show = |value: Option<&String>| {
                    value.map_or_else(|| "nothing".to_owned(), |text| shown(&text.as_str().into()))
                };
                found.push(format!("?{name} is {}, recorded is {}", show(asked), show(known)));
            }
        }
        match (&self.body, &recorded.body) {
            (Body::Json(asked), Body::Json(known)) => {
                differ(&mut String::new(), asked, known, &mut found)
            }
            (asked, known) if asked == known => {}
            _ => found.push("the body differs".to_owned()),
        }
        found
    }
}

/// Replaces addresses of files by their endings.
fn normalise(value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_file = text.strip_prefix("https://").is_some_and(|rest| {
                address::is_file_host(rest.split('/').next().unwrap_or_default())
            });
            if is_file {
                let path = text.split(['?', '#']).next().unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or_default();
                let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
                *text = format!("a file .{ending}");
            }
        }
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Object(map) => map.values_mut().for_each(normalise),
        // `1.0` and `1` are the same number to a model.
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < WHOLE_MAX)
            {
                *value = Value::from(whole as i64);
            }
        }
        _ => {}
    }
}

fn differ(pointer: &mut String, asked: &Value, known: &Value, found: &mut Vec<String>) {
    if found.len() >= DIFFERENCES_MAX {
        return;
    }
    let len = pointer.len();
    match (asked, known) {
        (Value::Object(a), Value::Object(k)) => {
            let names: BTreeSet<&String> = a.keys().chain(k.keys()).collect();
            for name in names {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                one(pointer, a.get(name), k.get(name), found);
                pointer.truncate(len);
            }
        }
        (Value::Array(a), Value::Array(k)) => {
            for at in 0..a.len().max(k.len()) {
                pointer.push_str(&format!("/{at}"));
                one(pointer, a.get(at), k.get(at), found);
                pointer.truncate(len);
            }
        }
        _ if asked == known => {}
        _ => {
            let place = if pointer.is_empty() { "the body" } else { pointer };
            found.push(format!("{place} is {}, recorded is {}", shown(asked), shown(known)));
        }
    }
}

fn one(
    pointer: &mut String,
    asked: Option<&Value>,
    known: Option<&Value>,
    found: &mut Vec<String>,
) {
    match (asked, known) {
        (Some(asked), Some(known)) => differ(pointer, asked, known, found),
        (Some(asked), None) => found.push(format!("{pointer} is {}, not recorded", shown(asked))),
        (None, Some(known)) => {
            found.push(format!("{pointer} is missing, recorded is {}", shown(known)))
        }
        (None, None) => {}
    }
}

/// The start of a value.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Parameters that say how to answer, or who asks, and not what.
const PASSING: [&str; 4] = ["fal_webhook", "fal_jwt_token", "fal_max_queue_length", "logs"];

/// Differences that are counted: more are as far.
const DIFFERENCES_MAX: usize = 1000;

const SHOWN_CHARS_MAX: usize = 60;

/// Up to here every whole number has its own floating one.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn question(query: &str, body: &str) -> Question {
        Question::recorded(query, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn order_numbers_files_and_passing_parameters_do_not_count() {
        let one = question(
            "a=1&fal_webhook=x",
            r#"{"n":1.0,"u":"https://v3.fal.media/files/a/1.png","l":[1]}"#,
        );
        let two =
            question("a=1", r#"{"l":[1],"u":"https://v3b.fal.media/files/b/2_x.png?s=1", "n":1}"#);
        assert_eq!(one, two);
        assert!(one.differences(&two).is_empty());
        assert_ne!(question("", "x"), question("", "y"));
    }

    #[test]
    fn differences_are_told() {
        let asked = question(
            "a=1",
            r#"{"p":"dog","l":[1,2],"o":{"x/y":null},"u":"https://v3.fal.media/a.png"}"#,
        );
        let known =
            question("b=2", r#"{"p":"cat","l":[1],"o":{},"u":"https://v3.fal.media/a.jpg","s":7}"#);
        let want = [
            "?a is \"1\", recorded is nothing",
            "?b is nothing, recorded is \"2\"",
            "/l/1 is 2, not recorded",
            "/o/x~1y is null, not recorded",
            "/p is \"dog\", recorded is \"cat\"",
            "/s is missing, recorded is 7",
            "/u is \"a file .png\", recorded is \"a file .jpg\"",
        ];
        assert_eq!(asked.differences(&known), want);
        assert_eq!(question("", "x").differences(&known).len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn what_differs_in_nothing_is_equal(
            a in "\\{\"p\":[0-3],\"q\":\\[[0-2]?\\]\\}",
            b in "\\{\"p\":[0-3],\"q\":\\[[0-2]?\\]\\}",
        ) {
            let (a, b) = (question("", &a), question("", &b));
            proptest::prop_assert_eq!(a == b, a.differences(&b).is_empty());
            proptest::prop_assert_eq!(a.differences(&b).len(), b.differences(&a).len());
        }
    }
}
