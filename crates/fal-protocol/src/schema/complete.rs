//! Inputs as the service sees them: with defaults, and of the declared types.

use serde_json::{Map, Value};

use super::model::{ModelSchema, NodeId, Types};
use super::number::{Num, bool_of_num, bool_of_text, float_of_text, int_of_text};
use super::read::file_address;
use super::rules::FieldRule;
use super::validate::{DEPTH_MAX, Mode, WORK_MAX};

impl ModelSchema {
    /// The input with the defaults of the fields that it lacks, in the order of the fields, and with the
    /// coercions of [`Mode::AsFal`] done.
    ///
    /// Total: what does not fit stays as it is, and so do unknown fields, although the service drops them.
    /// For a union the first alternative counts that fits without coercion, else the first that fits at
    /// all. Do not send the outcome: the service knows its defaults better than a stored document.
    #[must_use]
    pub fn complete(&self, input: &Value) -> Value {
        Completer { model: self, work: WORK_MAX / COMPLETE_VISITS }.value(self.input, input, 0)
    }

    /// One value with the coercions done.
    pub(super) fn coerced(&self, id: NodeId, value: &Value) -> Value {
        Completer { model: self, work: WORK_MAX / COMPLETE_VISITS }.value(id, value, 0)
    }
}

struct Completer<'a> {
    model: &'a ModelSchema,
    work: u32,
}

impl Completer<'_> {
    fn value(&mut self, id: NodeId, value: &Value, depth: usize) -> Value {
        if depth >= DEPTH_MAX || self.work == 0 {
            return value.clone();
        }
        self.work -= 1;
        let node = self.model.node(id);
        if value.is_null() {
            return Value::Null;
        }
        let mut value = match (value, node.types) {
            (Value::String(text), types) if !types.has(Types::STRING) => self.text(id, text),
            (Value::Number(number), types) => number_of(types, Num::of(number), value),
            (Value::Bool(truth), Types::INTEGER | Types::NUMBER) => u8::from(*truth).into(),
            (Value::Array(items), _) => match &node.array {
                Some(rules) => (items.iter().enumerate())
                    .map(|(at, item)| match rules.element(at) {
                        Some(id) => self.value(id, item, depth + 1),
                        None => item.clone(),
                    })
                    .collect(),
                None => value.clone(),
            },
            (Value::Object(fields), _) => self.fields(id, fields, depth),
            _ => value.clone(),
        };
        if let Some(id) = node.reference {
            value = self.value(id, &value, depth + 1);
        }
        let Some(union) = &node.union else { return value };
        for id in &union.all_of {
            value = self.value(*id, &value, depth + 1);
        }
        for ids in [&union.any_of, &union.one_of] {
            if let Some(id) = self.alternative(ids, &value) {
                value = self.value(id, &value, depth + 1);
            }
        }
        value
    }

    fn alternative(&mut self, ids: &[NodeId], value: &Value) -> Option<NodeId> {
        let fitting = |mode: Mode| ids.iter().find(|id| self.model.fits(**id, value, mode));
        let found = fitting(Mode::Strict).or_else(|| fitting(Mode::AsFal));
        // Each look may cost a whole validation, so looks are rationed.
        self.work = self.work.saturating_sub(if ids.is_empty() { 0 } else { UNION_COST });
        found.copied()
    }

    fn fields(&mut self, id: NodeId, fields: &Map<String, Value>, depth: usize) -> Value {
        let model = self.model;
        let Some(rules) = &model.node(id).object else { return Value::Object(fields.clone()) };
        let mut completed = Map::new();
        for rule in &rules.fields {
            let name = model.text(rule.name);
            let value = match fields.get(name) {
                Some(given) => Some(self.value(rule.node, given, depth + 1)),
                None => self.default(rule),
            };
            if let Some(value) = value {
                completed.insert(name.to_owned(), value);
            }
        }
        for (name, value) in fields {
            if !completed.contains_key(name) {
                completed.insert(name.clone(), value.clone());
            }
        }
        Value::Object(completed)
    }

    /// The default beside a reference, else that of what it refers to.
    fn default(&self, rule: &FieldRule) -> Option<Value> {
        if rule.is_required {
            return None;
        }
        let schema = super::Schema { model: self.model, id: rule.node };
        schema.default().or_else(|| schema.resolved().default()).cloned()
    }

    fn text(&self, id: NodeId, text: &str) -> Value {
        let node = self.model.node(id);
        let is_file = node.object.as_ref().is_some_and(|object| object.is_file);
        let number = match node.types {
            // What JSON cannot hold stays a text.
            Types::NUMBER => float_of_text(text).filter(|num| num.as_f64().is_finite()),
            Types::INTEGER => int_of_text(text).ok(),
            Types::BOOLEAN => return bool_of_text(text).map_or_else(|| text.into(), Value::from),
            Types::OBJECT if is_file && file_address(text).is_ok() => {
                return Value::Object(Map::from_iter([("url".to_owned(), text.into())]));
            }
            _ => None,
        };
        number.map_or_else(|| text.into(), Num::to_value)
    }
}

fn number_of(types: Types, num: Num, value: &Value) -> Value {
    match types {
        Types::INTEGER => num.to_integer().map_or_else(|| value.clone(), Num::to_value),
        Types::BOOLEAN => bool_of_num(num).map_or_else(|_| value.clone(), Value::from),
        _ => value.clone(),
    }
}

/// A visit here costs this many of validation's.
const COMPLETE_VISITS: u32 = 10;

/// What one choice among alternatives costs, in visits.
const UNION_COST: u32 = 100;
