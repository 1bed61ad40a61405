//! Reads a tree into types, and collects everything that is wrong on the way.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::problem::{Problem, Span};
use super::tree::{Data, Key, Node};
use crate::duration::parse_duration;
use crate::model::TIME_MAX;

/// The keys of one kind of map, under the name that it has in the published schema.
#[derive(Debug)]
pub(crate) struct Object {
    #[cfg_attr(not(test), allow(dead_code, reason = "the comparison with the schema reads it"))]
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static str],
}

/// The way from the root of a file to a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl<'a> Path<'a> {
    pub(crate) const fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) if key.contains(['/', '.']) => write!(f, "{parent}[{key:?}]"),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
}

/// A map whose keys are known to be right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'n> {
    pub(crate) span: Span,
    map: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key; `None` if it is absent or stands there without a value.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.map.iter().find(|(other, _)| &*other.text == key)?;
        (!matches!(node.data, Data::Null)).then_some(node)
    }

    /// Whether a key stands there, with or without a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.iter().any(|(other, _)| &*other.text == key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> {
        self.map.iter().map(|(key, node)| (key, node))
    }
}

impl Reader {
    pub(crate) fn wrong(&mut self, span: Span, path: &Path<'_>, message: impl Into<String>) {
        self.problems.push(Problem::new(span, path.to_string(), message.into()));
    }

    /// A value of the wrong type. Returns `None`, so that it can end a reader.
    fn mistyped<T>(&mut self, node: &Node, path: &Path<'_>, want: &str) -> Option<T> {
        let found = node.kind();
        self.wrong(node.span, path, format!("give {want}; this is {found}"));
        None
    }

    /// A map with these keys and no others.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        object: &Object,
    ) -> Option<Fields<'n>> {
        let Data::Map(map) = &node.data else {
            return self.mistyped(node, path, &format!("a map with {}", object.keys.join(", ")));
        };
        for (key, _) in map {
            if !object.keys.contains(&&*key.text) {
                let message = unknown("key", &key.text, object.keys);
                self.wrong(key.span, &path.key(&key.text), message);
            }
        }
        Some(Fields { span: node.span, map })
    }

    /// A map with any keys.
    pub(crate) fn map<'n>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        want: &str,
    ) -> Option<Fields<'n>> {
        match &node.data {
            Data::Map(map) => Some(Fields { span: node.span, map }),
            _ => self.mistyped(node, path, want),
        }
    }

    pub(crate) fn text<'n>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        want: &str,
    ) -> Option<&'n str> {
        match &node.data {
            Data::Text(text) => Some(text),
            _ => self.mistyped(node, path, want),
        }
    }

    pub(crate) fn bool(&mut self, node: &Node, path: &Path<'_>) -> Option<bool> {
        match node.data {
            Data::Bool(value) => Some(value),
            _ => self.mistyped(node, path, "true or false"),
        }
    }

    /// A whole number in a range.
    pub(crate) fn whole(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        let want = match max {
            u64::MAX => format!("a whole number from {min} on"),
            _ => format!("a whole number from {min} to {max}"),
        };
        let Data::Number(number) = &node.data else { return self.mistyped(node, path, &want) };
        // JSON has no whole numbers of their own: 3.0 is one.
        let whole = number.as_u64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0)?;
            // In range, because it is below the largest.
            (float < u64::MAX as f64).then_some(float as u64)
        });
        match whole.filter(|number| (min..=max).contains(number)) {
            Some(number) => Some(number),
            None => {
                self.wrong(node.span, path, format!("give {want}, not {number}"));
                None
            }
        }
    }

    pub(crate) fn number(&mut self, node: &Node, path: &Path<'_>) -> Option<f64> {
        match &node.data {
            Data::Number(number) => number.as_f64(),
            _ => self.mistyped(node, path, "a number"),
        }
    }

    /// A time such as `200ms`.
    pub(crate) fn time(&mut self, node: &Node, path: &Path<'_>) -> Option<Duration> {
        let want = "a time with its unit, such as 200ms, 1.5s, 2m or 1h";
        let text = match &node.data {
            Data::Text(text) => text,
            Data::Number(number) if number.as_u64() == Some(0) => return Some(Duration::ZERO),
            _ => return self.mistyped(node, path, want),
        };
        match parse_duration(text) {
            Ok(time) if time <= TIME_MAX => Some(time),
            Ok(_) => {
                self.wrong(node.span, path, "a time is at most a year, 8760h");
                None
            }
            Err(_) => {
                self.wrong(node.span, path, format!("{text:?} is no time: give {want}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let text = self.text(node, path, &format!("one of {}", names.join(", ")))?;
        let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong(node.span, path, unknown(what, text, &names));
        }
        found
    }

    /// A list of at most `max` values, each read by `read`; what cannot be read is left out.
    pub(crate) fn list<'n, T>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        max: usize,
        mut read: impl FnMut(&mut Self, &'n Node, &Path<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Data::List(list) = &node.data else {
            self.mistyped::<()>(node, path, "a list");
            return Vec::new();
        };
        if list.len() > max {
            self.wrong(node.span, path, format!("there are at most {max} of them"));
        }
        let items = list.iter().enumerate().take(max);
        items.filter_map(|(at, node)| read(self, node, &path.index(at))).collect()
    }

    /// A list, or a single value in place of a list of one.
    pub(crate) fn one_or_more<'n, T>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        max: usize,
        mut read: impl FnMut(&mut Self, &'n Node, &Path<'_>) -> Option<T>,
    ) -> Vec<T> {
        match &node.data {
            Data::List(list) if list.is_empty() => {
                self.wrong(node.span, path, "an empty list fits nothing: take the key out");
                Vec::new()
            }
            Data::List(_) => self.list(node, path, max, read),
            _ => read(self, node, path).into_iter().collect(),
        }
    }

    /// A text for a JSON pointer.
    pub(crate) fn pointer(&mut self, text: &str, span: Span, path: &Path<'_>) -> Option<Box<str>> {
        if text.is_empty() || text.starts_with('/') {
            return Some(text.into());
        }
        let right = text.replace('.', "/");
        self.wrong(span, path, format!("a JSON pointer begins with a slash: write /{right}"));
        None
    }

    /// A value that stays JSON.
    pub(crate) fn json(&mut self, node: &Node) -> Value {
        node.to_json()
    }
}

/// "unknown key "wen"; did you mean "when"?", or all that are known.
pub(crate) fn unknown(what: &str, text: &str, known: &[&str]) -> String {
    let distance = |other: &str| strsim::osa_distance(text, other);
    let nearest = known.iter().min_by_key(|other| distance(other)).copied().unwrap_or_default();
    // Words that share a third of their letters by chance are no help.
    let is_near = distance(nearest) <= 1.max(nearest.len().min(text.len()) / 2);
    let text: String = text.chars().take(60).collect();
    match is_near || known.len() > KNOWN_SHOWN_MAX {
        true => format!("unknown {what} {text:?}; did you mean {nearest:?}?"),
        false => format!("unknown {what} {text:?}; known are {}", known.join(", ")),
    }
}

/// Longest list of known words that a message shows.
const KNOWN_SHOWN_MAX: usize = 24;
