//! Which requests a rule, a fault or an expectation is about, and why another one is none of them.

use std::cell::OnceCell;
use std::fmt;

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::glob::Glob;
use super::operation::{self, Operation, Operations};
use super::predicate::{Predicate, brief};
use super::read::{Fields, Object, Path, Reader};
use super::tree::{Data, Node};
use crate::model::JobState;

/// What is known of a request, or of what the service does by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) operation: Operation,
    /// The endpoint id in its slash form; empty where there is none, as for uploads.
    pub(crate) endpoint: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// The input of the call; for what is asked of a job, that of its submit.
    pub(crate) input: &'a Input<'a>,
    /// Where the job stands that this is about.
    pub(crate) state: Option<JobState>,
}

/// An input that is read once somebody looks at it.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    value: OnceCell<Option<Value>>,
}

impl<'a> Input<'a> {
    /// JSON, or anything else, which has no values.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, value: OnceCell::new() }
    }

    /// What has been read already, as from a query.
    pub(crate) fn of(value: Value) -> Self {
        Self { bytes: &[], value: OnceCell::from(Some(value)) }
    }

    pub(crate) fn value(&self) -> Option<&Value> {
        self.value.get_or_init(|| serde_json::from_slice(self.bytes).ok()).as_ref()
    }

    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.value()?.pointer(pointer)
    }
}

/// Conditions on a request. All must hold; what is absent holds always.
#[derive(Clone, Debug, Default)]
pub(crate) struct When {
    endpoint: Vec<Glob>,
    operation: Option<Operations>,
    headers: Vec<(HeaderName, Predicate)>,
    input: Vec<(Box<str>, Predicate)>,
}

pub(crate) const WHEN: Object =
    Object { name: "when", keys: &["endpoint", "operation", "headers", "input"] };

/// Why a request is not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WhyNot {
    /// `endpoint`, `operation`, `headers.x-some` or `input /prompt`.
    pub(crate) field: Box<str>,
    pub(crate) wanted: Box<str>,
    pub(crate) found: Box<str>,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.field, self.found, self.wanted)
    }
}

impl When {
    /// A map of conditions, or the pattern of an endpoint. `allowed` are the operations that can be named.
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        path: &Path<'_>,
        allowed: Operations,
    ) -> Self {
        if let Data::Text(_) | Data::List(_) = node.data {
            return Self { endpoint: globs(reader, node, path), ..Self::default() };
        }
        match reader.fields(node, path, &WHEN) {
            Some(fields) => Self::from_fields(reader, &fields, path, allowed),
            None => Self::default(),
        }
    }

    /// The same where the keys stand among others.
    pub(crate) fn from_fields(
        reader: &mut Reader,
        fields: &Fields<'_>,
        path: &Path<'_>,
        allowed: Operations,
    ) -> Self {
        let mut when = Self::default();
        if let Some(node) = fields.get("endpoint") {
            when.endpoint = globs(reader, node, &path.key("endpoint"));
        }
        if let Some(node) = fields.get("operation") {
            when.operation = Some(operations(reader, node, &path.key("operation"), allowed));
        }
        if let Some(node) = fields.get("headers") {
            when.headers = headers(reader, node, &path.key("headers"));
        }
        if let Some(node) = fields.get("input") {
            when.input = input(reader, node, &path.key("input"));
        }
        when
    }

    /// Only the operations `operations`, where none are named.
    pub(crate) fn or_operations(mut self, operations: Operations) -> Self {
        self.operation.get_or_insert(operations);
        self
    }

    pub(crate) fn fits(&self, facts: &Facts<'_>) -> bool {
        self.operation.is_none_or(|operations| operations.has(facts.operation))
            && (self.endpoint.is_empty() || self.endpoint.iter().any(|g| g.fits(facts.endpoint)))
            && self.headers.iter().all(|(name, wanted)| wanted.fits(header(facts, name).as_ref()))
            && self.input.iter().all(|(pointer, wanted)| wanted.fits(facts.input.at(pointer)))
    }

    /// How many conditions there are.
    pub(crate) fn len(&self) -> usize {
        usize::from(!self.endpoint.is_empty())
            + usize::from(self.operation.is_some())
            + self.headers.len()
            + self.input.len()
    }

    /// Every condition that does not hold.
    pub(crate) fn why_not(&self, facts: &Facts<'_>) -> Vec<WhyNot> {
        let mut all = Vec::new();
        let mut add = |field: &str, wanted: String, found: String| {
            all.push(WhyNot { field: field.into(), wanted: wanted.into(), found: found.into() });
        };
        if let Some(operations) = self.operation.filter(|all| !all.has(facts.operation)) {
            add("operation", operations.to_string(), facts.operation.to_string());
        }
        if !self.endpoint.is_empty() && !self.endpoint.iter().any(|g| g.fits(facts.endpoint)) {
            let globs: Vec<String> = self.endpoint.iter().map(ToString::to_string).collect();
            add("endpoint", globs.join(" or "), facts.endpoint.to_owned());
        }
        for (name, wanted) in &self.headers {
            let value = header(facts, name);
            if !wanted.fits(value.as_ref()) {
                let found = value.as_ref().map_or_else(|| "absent".to_owned(), brief);
                add(&format!("headers.{name}"), wanted.to_string(), found);
            }
        }
        for (pointer, wanted) in &self.input {
            let value = facts.input.at(pointer);
            if !wanted.fits(value) {
                let found = match (value, facts.input.value()) {
                    (Some(value), _) => brief(value),
                    (None, Some(_)) => "absent".to_owned(),
                    (None, None) => "absent: the input is no JSON".to_owned(),
                };
                add(&format!("input {pointer}"), wanted.to_string(), found);
            }
        }
        all
    }
}

fn header(facts: &Facts<'_>, name: &HeaderName) -> Option<Value> {
    let value = facts.headers.get(name)?;
    Some(Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

/// One pattern or several.
pub(crate) fn globs(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Vec<Glob> {
    reader.one_or_more(node, path, GLOBS_MAX, |reader, node, path| {
        let text = reader.text(node, path, "the pattern of an endpoint, such as fal-ai/flux/**")?;
        Glob::parse(text).map_err(|why| reader.wrong(node.span, path, why)).ok()
    })
}

/// One operation or several.
pub(crate) fn operations(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    allowed: Operations,
) -> Operations {
    let mut words = operation::words();
    words.retain(|(_, operations)| operations.is_within(allowed));
    let count = words.len();
    let list = reader.one_or_more(node, path, count, |reader, node, path| {
        if let Data::Text(text) = &node.data
            && operation::words().iter().any(|(name, _)| **name == **text)
            && !words.iter().any(|(name, _)| **name == **text)
        {
            let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
            let message = format!("{text} cannot stand here; these can: {}", names.join(", "));
            reader.wrong(node.span, path, message);
            return None;
        }
        reader.word(node, path, "operation", &words)
    });
    list.into_iter().fold(Operations::NONE, Operations::and)
}

fn headers(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Vec<(HeaderName, Predicate)> {
    let Some(map) = reader.map(node, path, "a map of header names and what they must be") else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (key, node) in map.iter() {
        let path = path.key(&key.text);
        let Ok(name) = HeaderName::try_from(&*key.text) else {
            reader.wrong(key.span, &path, format!("{:?} is no name of a header", key.text));
            continue;
        };
        if SECRET.contains(&name.as_str()) {
            let message = "keys are not for files: the key of a request selects its world already";
            reader.wrong(key.span, &path, message);
            continue;
        }
        all.extend(Predicate::read(reader, node, &path, true).map(|predicate| (name, predicate)));
    }
    all
}

fn input(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Vec<(Box<str>, Predicate)> {
    let Some(map) = reader.map(node, path, "a map of JSON pointers and what they must point at")
    else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (key, node) in map.iter() {
        let path = path.key(&key.text);
        let pointer = reader.pointer(&key.text, key.span, &path);
        let predicate = Predicate::read(reader, node, &path, false);
        all.extend(pointer.zip(predicate));
    }
    all
}

/// Headers that carry keys.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Patterns of one `endpoint`.
const GLOBS_MAX: usize = 100;
