//! Conditions on single values.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use regex_lite::Regex;
use serde_json::Value;

use super::read::{Object, Path, Reader};
use super::tree::{Data, Node};

/// Conditions on one value. All must hold.
#[derive(Clone, Debug)]
pub(crate) struct Predicate {
    tests: Vec<Test>,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(Value),
    In(Vec<Value>),
    Contains(Value),
    Matches(Regex),
    Less(f64),
    LessOrEqual(f64),
    Greater(f64),
    GreaterOrEqual(f64),
    Exists(bool),
    Not(Predicate),
}

pub(crate) const PREDICATE: Object = Object {
    name: "predicate",
    keys: &["equals", "in", "contains", "matches", "lt", "lte", "gt", "gte", "exists", "not"],
};

impl Predicate {
    /// A map of conditions, or a value that must be met. `is_text` reads values as texts, as in headers.
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        path: &Path<'_>,
        is_text: bool,
    ) -> Option<Self> {
        let value = |node: &Node| {
            let value = node.to_json();
            if is_text { text_of(value) } else { value }
        };
        if !matches!(node.data, Data::Map(_)) {
            return Some(Self { tests: vec![Test::Equals(value(node))] });
        }
        let before = reader.problems.len();
        let fields = reader.fields(node, path, &PREDICATE)?;
        if fields.iter().next().is_none() {
            reader.wrong(
                node.span,
                path,
                format!("give a condition: {}", PREDICATE.keys.join(", ")),
            );
            return None;
        }
        let mut tests = Vec::new();
        for (key, node) in fields.iter() {
            let path = path.key(&key.text);
            let test = match &*key.text {
                "equals" => Some(Test::Equals(value(node))),
                "contains" => Some(Test::Contains(value(node))),
                "in" => Some(Test::In(
                    reader.list(node, &path, VALUES_MAX, |_, node, _| Some(value(node))),
                )),
                "matches" => Self::regex(reader, node, &path).map(Test::Matches),
                "lt" => reader.number(node, &path).map(Test::Less),
                "lte" => reader.number(node, &path).map(Test::LessOrEqual),
                "gt" => reader.number(node, &path).map(Test::Greater),
                "gte" => reader.number(node, &path).map(Test::GreaterOrEqual),
                "exists" => reader.bool(node, &path).map(Test::Exists),
                "not" => Self::read(reader, node, &path, is_text).map(Test::Not),
                _ => None,
            };
            tests.extend(test);
        }
        (reader.problems.len() == before).then_some(Self { tests })
    }

    fn regex(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Regex> {
        let text = reader.text(node, path, "a regular expression")?;
        if text.len() > REGEX_BYTES_MAX {
            let message = format!("a regular expression is at most {REGEX_BYTES_MAX} bytes long");
            reader.wrong(node.span, path, message);
            return None;
        }
        match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                reader.wrong(node.span, path, format!("this is no regular expression: {error}"));
                None
            }
        }
    }

    /// Whether a value meets it; `None` stands for a value that is not there.
    pub(crate) fn fits(&self, value: Option<&Value>) -> bool {
        self.tests.iter().all(|test| test.fits(value))
    }
}

impl Test {
    fn fits(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), value) => value.is_some() == *wanted,
            (Self::Not(predicate), value) => !predicate.fits(value),
            (_, None) => false,
            (Self::Equals(wanted), Some(value)) => is_same(wanted, value),
            (Self::In(list), Some(value)) => list.iter().any(|wanted| is_same(wanted, value)),
            (Self::Contains(wanted), Some(value)) => contains(value, wanted),
            (Self::Matches(regex), Some(value)) => regex.is_match(&as_text(value)),
            (Self::Less(limit), Some(value)) => is_ordered(value, *limit, &[Ordering::Less]),
            (Self::Greater(limit), Some(value)) => is_ordered(value, *limit, &[Ordering::Greater]),
            (Self::LessOrEqual(limit), Some(value)) => {
                is_ordered(value, *limit, &[Ordering::Less, Ordering::Equal])
            }
            (Self::GreaterOrEqual(limit), Some(value)) => {
                is_ordered(value, *limit, &[Ordering::Greater, Ordering::Equal])
            }
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, test) in self.tests.iter().enumerate() {
            if at > 0 {
                f.write_str(" and ")?;
            }
            match test {
                Test::Equals(value) => f.write_str(&brief(value))?,
                Test::In(list) => {
                    write!(f, "one of {}", brief(&Value::Array(list.clone())))?;
                }
                Test::Contains(value) => write!(f, "something with {}", brief(value))?,
                Test::Matches(regex) => write!(f, "something like /{regex}/")?,
                Test::Less(limit) => write!(f, "less than {limit}")?,
                Test::LessOrEqual(limit) => write!(f, "at most {limit}")?,
                Test::Greater(limit) => write!(f, "more than {limit}")?,
                Test::GreaterOrEqual(limit) => write!(f, "at least {limit}")?,
                Test::Exists(true) => f.write_str("something")?,
                Test::Exists(false) => f.write_str("nothing")?,
                Test::Not(predicate) => write!(f, "not ({predicate})")?,
            }
        }
        Ok(())
    }
}

/// A value as JSON, cut to what fits a line.
pub(crate) fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= BRIEF_CHARS_MAX {
        return text;
    }
    text.chars().take(BRIEF_CHARS_MAX).chain(['…']).collect()
}

/// Numbers are the same by value, not by form: 1 and 1.0.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, value): (&String, &Value)| {
                b.get(key).is_some_and(|other| is_same(value, other))
            };
            a.len() == b.len() && a.iter().all(same)
        }
        (left, right) => left == right,
    }
}

/// A part of a text, an element of a list, or a key of a map.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(list), wanted) => list.iter().any(|value| is_same(value, wanted)),
        (Value::Object(map), Value::String(key)) => map.contains_key(key),
        _ => false,
    }
}

fn as_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Texts count by the number that they say, as headers do.
fn is_ordered(value: &Value, limit: f64, wanted: &[Ordering]) -> bool {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .and_then(|number| number.partial_cmp(&limit))
        .is_some_and(|found| wanted.contains(&found))
}

fn text_of(value: Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
        other => other,
    }
}

/// Values of one `in`.
pub(crate) const VALUES_MAX: usize = 1000;

/// Longest regular expression.
pub(crate) const REGEX_BYTES_MAX: usize = 1000;

/// Characters shown of a value.
const BRIEF_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tree;
    use super::*;

    fn predicate(yaml: &str, is_text: bool) -> Result<Predicate, String> {
        let mut reader = Reader::default();
        let node = tree::parse(yaml).unwrap();
        let predicate = Predicate::read(&mut reader, &node, &Path::Root, is_text);
        match reader.problems.first() {
            Some(problem) => Err(problem.message.clone()),
            None => Ok(predicate.unwrap()),
        }
    }

    #[test]
    fn conditions_hold_or_not() {
        for (yaml, holds, fails) in [
            ("cat", json!(["cat"]), json!(["Cat", null, 1, ["cat"]])),
            ("1", json!([1, 1.0]), json!([2, "1", true])),
            ("{equals: {a: 1}}", json!([{"a": 1.0}]), json!([{}, {"a": 1, "b": 2}])),
            ("{in: [a, 2]}", json!(["a", 2.0]), json!(["b", []])),
            ("{contains: at}", json!(["cat", ["at"], {"at": 1}]), json!(["dog", 1, {"a": "at"}])),
            ("{contains: 2}", json!([[1, 2.0]]), json!(["2", [1]])),
            ("{matches: '^c.t$'}", json!(["cat"]), json!(["cats", 1])),
            ("{matches: '^[12]$'}", json!([1]), json!([11])),
            ("{gt: 1, lte: 3}", json!([2, 3, 1.5, "2"]), json!([1, 3.5, "x", null])),
            ("{gte: 1, lt: 3}", json!([1, 2.9]), json!([0, 3])),
            ("{exists: true}", json!([null, 1]), json!([])),
            ("{not: {contains: cat}}", json!(["dog", 1]), json!(["a cat"])),
            ("{not: cat}", json!(["dog"]), json!(["cat"])),
        ] {
            let predicate = predicate(yaml, false).unwrap();
            for value in holds.as_array().unwrap() {
                assert!(predicate.fits(Some(value)), "{yaml} {value}");
            }
            for value in fails.as_array().unwrap() {
                assert!(!predicate.fits(Some(value)), "{yaml} {value}");
            }
        }
        for (yaml, holds) in
            [("{exists: false}", true), ("{exists: true}", false), ("{not: x}", true), ("~", false)]
        {
            assert_eq!(predicate(yaml, false).unwrap().fits(None), holds, "{yaml}");
        }
        assert!(predicate("2", true).unwrap().fits(Some(&json!("2"))));
        assert!(predicate("{in: [true]}", true).unwrap().fits(Some(&json!("true"))));
    }

    #[test]
    fn conditions_read_as_sentences() {
        for (yaml, text) in [
            ("cat", "\"cat\""),
            ("{gt: 1, lte: 3}", "more than 1 and at most 3"),
            ("{not: {matches: x}}", "not (something like /x/)"),
            ("{in: [1, a]}", "one of [1,\"a\"]"),
        ] {
            assert_eq!(predicate(yaml, false).unwrap().to_string(), text);
        }
        let long = "x".repeat(100);
        assert_eq!(predicate(&long, false).unwrap().to_string().chars().count(), 61);
    }

    #[test]
    fn wrong_conditions_are_told() {
        for (yaml, what) in [
            ("{}", "give a condition"),
            ("{equal: 1}", "did you mean \"equals\""),
            ("{gt: x}", "give a number"),
            ("{matches: '('}", "no regular expression"),
            ("{exists: 1}", "true or false"),
            ("{in: 1}", "a list"),
            ("{not: {}}", "give a condition"),
        ] {
            assert!(predicate(yaml, false).unwrap_err().contains(what), "{yaml}");
        }
    }
}
