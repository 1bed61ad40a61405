//! Single changes of an input: for each value in it what its schemas make interesting, and values of every other kind.

use std::collections::BTreeSet;

use fal_protocol::rand::SplitMix64;
use serde_json::{Map, Value, json};

use super::generate::generate;

/// Every input that differs from this one by one change, each once.
pub(super) fn changes(document: &Value, schema: &Value, input: &Value) -> Vec<Value> {
    let mut made = Changes { document, seen: BTreeSet::new(), made: Vec::new() };
    made.seen.insert(input.to_string());
    made.below(&[schema], input, &|changed| changed, 0);
    made.made
}

struct Changes<'a> {
    document: &'a Value,
    seen: BTreeSet<String>,
    made: Vec<Value>,
}

impl<'a> Changes<'a> {
    /// Changes of one value; `around` puts it back into its place.
    fn below(
        &mut self,
        schemas: &[&'a Value],
        value: &Value,
        around: &dyn Fn(Value) -> Value,
        depth: usize,
    ) {
        if depth > DEPTH_MAX {
            return;
        }
        let mut all = Vec::new();
        schemas.iter().for_each(|schema| self.spread(schema, &mut all, 0));
        for changed in others().into_iter().chain(all.iter().flat_map(|s| at_limits(s))) {
            self.add(around(changed));
        }
        match value {
            Value::Object(fields) => self.fields(&all, fields, around, depth),
            Value::Array(items) => self.items(&all, items, around, depth),
            Value::Number(number) => {
                let float = number.as_f64().expect("every number has one");
                for changed in [float + 1.0, float - 1.0, float * 1000.0, -float, float + 0.5] {
                    self.add(around(changed.into()));
                }
                self.add(around(number.to_string().into()));
                self.add(around(float.into()));
            }
            Value::String(text) => {
                self.add(around(format!("{text}!").into()));
                self.add(around(text.to_uppercase().into()));
            }
            _ => {}
        }
        // Each alternative of a union, whole and with changes of its own.
        for schema in schemas {
            for alternative in Self::alternatives(schema) {
                let mut rng = SplitMix64::new(depth as u64);
                let other = generate(self.document, alternative, &mut rng, 0);
                if self.add(around(other.clone())) && !same_kind(&other, value) {
                    self.below(&[alternative], &other, around, depth + 1);
                }
            }
        }
    }

    fn fields(
        &mut self,
        schemas: &[&'a Value],
        fields: &Map<String, Value>,
        around: &dyn Fn(Value) -> Value,
        depth: usize,
    ) {
        let mut more = fields.clone();
        more.insert("no_such_field".into(), json!([1]));
        self.add(around(more.into()));
        for (name, value) in fields {
            let mut fewer = fields.clone();
            fewer.remove(name);
            self.add(around(fewer.into()));
            let inner: Vec<&Value> = schemas
                .iter()
                .filter_map(|schema| {
                    let named = schema["properties"].get(name);
                    named.or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()))
                })
                .collect();
            let around = |changed| {
                let mut fields = fields.clone();
                fields.insert(name.clone(), changed);
                around(fields.into())
            };
            self.below(&inner, value, &around, depth + 1);
        }
    }

    fn items(
        &mut self,
        schemas: &[&'a Value],
        items: &[Value],
        around: &dyn Fn(Value) -> Value,
        depth: usize,
    ) {
        if let Some((last, fewer)) = items.split_last() {
            self.add(around(fewer.into()));
            for count in [1, LIST_ITEMS] {
                let more = items.iter().cloned().chain(vec![last.clone(); count]);
                self.add(around(more.collect()));
            }
        }
        for (at, item) in items.iter().enumerate().take(2) {
            let inner: Vec<&Value> = schemas
                .iter()
                .filter_map(|schema| {
                    let tuple = schema["prefixItems"].get(at);
                    tuple
                        .or_else(|| schema["items"].get(at.to_string()))
                        .or_else(|| schema.get("items"))
                })
                .collect();
            let around = |changed| {
                let mut items = items.to_vec();
                items[at] = changed;
                around(items.into())
            };
            self.below(&inner, item, &around, depth + 1);
        }
    }

    /// A schema and all that it stands for: what it refers to, and its alternatives.
    fn spread(&self, schema: &'a Value, all: &mut Vec<&'a Value>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        if let Some(target) = self.target(schema) {
            self.spread(target, all, depth + 1);
        }
        for alternative in Self::alternatives(schema) {
            self.spread(alternative, all, depth + 1);
        }
        all.push(schema);
    }

    fn target(&self, schema: &Value) -> Option<&'a Value> {
        self.document.pointer(&schema["$ref"].as_str()?[1..])
    }

    fn alternatives(schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        let lists = ["anyOf", "oneOf", "allOf"].map(|keyword| schema[keyword].as_array());
        lists.into_iter().flatten().flatten()
    }

    fn add(&mut self, input: Value) -> bool {
        let is_new = self.seen.insert(input.to_string());
        if is_new {
            self.made.push(input);
        }
        is_new
    }
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// Values of every kind, and texts and numbers that some kinds take for their own.
fn others() -> Vec<Value> {
    let values = json!([
        null, true, false, 0, 1, 2, -1, 1.0, 0.5, 1e300, 9_223_372_036_854_775_807_i64,
        18_446_744_073_709_551_615_u64, "", "5", " 5 ", "1_0", "2.0", "0.5", "1e3", "inf", "true", "no",
        "it's", "data:,", "https://[", "1-2-3", "https://example.com/a.png", "HTTPS://example.com/A.png", [], ["a"], [1, 1.0], [[]], {}, {"url": "x"},
        {"a": 1}
    ]);
    values.as_array().expect("it is one").clone()
}

/// Values on both sides of each limit of a schema.
fn at_limits(schema: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for keyword in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "ge", "le"] {
        let Some(limit) = schema[keyword].as_f64() else { continue };
        found.extend([limit, limit + 1.0, limit - 1.0, limit + 0.001].map(Value::from));
        found.push(format!("{limit}").into());
        if limit.abs() < 1e15 {
            let limit = limit as i64;
            found.extend([limit, limit + 1, limit - 1].map(Value::from));
        }
    }
    if let Some(step) = schema["multipleOf"].as_f64() {
        found.extend([step * 3.0, step * 1.5, step * 2.0 + 1e-12].map(Value::from));
    }
    for keyword in ["minLength", "maxLength"] {
        let Some(length) = schema[keyword].as_u64() else { continue };
        for length in [length.saturating_sub(1), length, length + 1] {
            let length = usize::try_from(length).expect("lengths here are small");
            found.push("é".repeat(length.min(TEXT_CHARS)).into());
        }
    }
    let choices = schema["enum"].as_array().map_or(&[][..], Vec::as_slice);
    found.extend(choices.first().into_iter().chain(choices.last()).cloned());
    found.extend(choices.first().map(|choice| format!(" {choice}").into()));
    found
}

const DEPTH_MAX: usize = 10;

/// More elements than any list of the documents allows, with room in what an error repeats.
const LIST_ITEMS: usize = 60;

/// More characters would only be cut from what an error repeats.
const TEXT_CHARS: usize = 60_000;
