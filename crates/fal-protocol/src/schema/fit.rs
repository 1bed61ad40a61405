//! Whether a value fits, and nothing else: the walk that every valid input takes.
//!
//! What most values are is settled by the first lines of [`Checker::accepts`], from what `compile.rs` has worked
//! out when the document was loaded. Whatever they do not settle goes the long way, which knows every keyword.

use serde_json::{Map, Value};

use super::model::{ModelSchema, Node, NodeId, Types};
use super::number::{Num, order};
use super::problem::ProblemKind;
use super::read::{
    Reading, limit_problem, number_problem, read, size_problem, text_problem, twin_count,
};
use super::rules::{ArrayRules, ObjectRules, RestRule};
use super::validate::{DEPTH_MAX, Mode, WORK_MAX};

pub(super) struct Checker<'a> {
    pub(super) model: &'a ModelSchema,
    pub(super) mode: Mode,
    work: u32,
    /// A limit was met: whatever was said since is not the answer.
    pub(super) is_exhausted: bool,
}

impl<'a> Checker<'a> {
    pub(super) const fn new(model: &'a ModelSchema, mode: Mode) -> Self {
        Self { model, mode, work: WORK_MAX, is_exhausted: false }
    }

    pub(super) fn is_lax(&self) -> bool {
        self.mode != Mode::Strict
    }

    /// Pays for one visit. After the limit everything is accepted quickly, and the whole answer void.
    pub(super) fn pay(&mut self, depth: usize) -> bool {
        match self.work.checked_sub(1) {
            Some(rest) if depth < DEPTH_MAX => {
                self.work = rest;
                true
            }
            _ => {
                self.work = 0;
                self.is_exhausted = true;
                false
            }
        }
    }

    /// Sorting and hashing cost too: a visit for each element.
    fn pay_for(&mut self, count: usize) {
        self.work = self.work.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Whether the value fits. What is settled without a call costs no visit: there is one such value at most
    /// for each that is in the input.
    pub(super) fn accepts(&mut self, id: NodeId, value: &Value, depth: usize) -> bool {
        let node = self.model.followed(id);
        if node.free.has(kind_of(value)) {
            return true;
        }
        if !self.pay(depth) {
            return true;
        }
        if node.is_plain {
            match value {
                Value::Object(fields) if node.types.has(Types::OBJECT) => {
                    return match &node.object {
                        Some(rules) => self.accepts_fields(rules, fields, depth),
                        None => true,
                    };
                }
                Value::Number(number) => {
                    if let Some(rules) = &node.number
                        && rules.quick.holds(number, node.types)
                    {
                        return true;
                    }
                }
                Value::String(text) if node.types.has(Types::STRING) => {
                    return self.forgives(text_problem(node.string.as_deref(), text, self.mode));
                }
                _ => {}
            }
        } else if let (Value::String(text), Some(choices)) = (value, &node.choices)
            && node.is_choice
            && choices.has_text(text)
        {
            return true;
        }
        self.accepts_anyhow(node, value, depth)
    }

    #[inline(never)]
    fn accepts_anyhow(&mut self, node: &Node, value: &Value, depth: usize) -> bool {
        if node.is_nullable && value.is_null() {
            return true;
        }
        if self.mode != Mode::Lenient
            && node
                .choices(self.is_lax())
                .is_some_and(|choices| !choices.holds(value, self.is_lax()))
        {
            return false;
        }
        let Ok(reading) = read(node, value, self.is_lax()) else { return false };
        if node.reference.is_some_and(|id| !self.accepts(id, value, depth + 1)) {
            return false;
        }
        let fits = match reading {
            Reading::Plain => true,
            Reading::Number(num) => {
                self.forgives(number_problem(node.number.as_deref(), num, self.mode))
            }
            Reading::Text(text) => {
                self.forgives(text_problem(node.string.as_deref(), text, self.mode))
            }
            Reading::List(items) => match &node.array {
                Some(rules) => self.accepts_list(rules, items, depth),
                None => true,
            },
            Reading::Fields(fields) => match &node.object {
                Some(rules) => self.accepts_fields(rules, fields, depth),
                None => true,
            },
            Reading::FileUrl => match &node.object {
                Some(rules) => self.accepts_file_url(rules, value, depth),
                None => true,
            },
        };
        let Some(union) = &node.union else { return fits };
        fits && union.all_of.iter().all(|id| self.accepts(*id, value, depth + 1))
            && (union.any_of.is_empty()
                || union.any_of.iter().any(|id| self.accepts(*id, value, depth + 1)))
            && (union.one_of.is_empty() || self.one_of(&union.one_of, value, depth).is_ok())
            && (self.mode != Mode::AsFal || limit_problem(self.model, union, value).is_none())
    }

    fn forgives(&self, problem: Option<ProblemKind>) -> bool {
        problem.is_none_or(|kind| self.mode == Mode::Lenient && kind.is_soft())
    }

    fn accepts_list(&mut self, rules: &ArrayRules, items: &[Value], depth: usize) -> bool {
        if self.is_lax() && rules.is_unique {
            return self.accepts_set(rules, items, depth);
        }
        let is_sized = self.mode == Mode::Lenient || size_problem(rules, items.len()).is_none();
        if !is_sized || self.has_twins(rules, items) {
            return false;
        }
        if self.is_lax() && items.len() < rules.places() {
            return false;
        }
        items.iter().enumerate().all(|(at, item)| match rules.element(at) {
            Some(id) => self.accepts(id, item, depth + 1),
            None => true,
        })
    }

    /// A set of pydantic's: equal elements count once, and none can be a list or a map.
    fn accepts_set(&mut self, rules: &ArrayRules, items: &[Value], depth: usize) -> bool {
        let fit = items.iter().enumerate().all(|(at, item)| {
            !(item.is_array() || item.is_object())
                && rules.element(at).is_none_or(|id| self.accepts(id, item, depth + 1))
        });
        if !fit || self.mode == Mode::Lenient || rules.size == super::SizeBounds::default() {
            return fit;
        }
        self.pay_for(items.len());
        let count = items.len() - twin_count(self.model, rules, items);
        size_problem(rules, count).is_none()
    }

    fn accepts_fields(
        &mut self,
        rules: &ObjectRules,
        fields: &Map<String, Value>,
        depth: usize,
    ) -> bool {
        let (mut required, mut cursor) = (0, 0);
        for (name, value) in fields {
            let fits = match rules.field(self.model, name, &mut cursor) {
                Some(field) => {
                    required += u32::from(field.is_required);
                    field.free.has(kind_of(value))
                        || (field.is_null_absent && value.is_null() && self.is_lax())
                        || self.accepts(field.node, value, depth + 1)
                }
                None => match rules.rest {
                    RestRule::Anything => true,
                    RestRule::Nothing => self.mode == Mode::Lenient,
                    RestRule::Each(id) => self.accepts(id, value, depth + 1),
                },
            };
            if !fits {
                return false;
            }
        }
        required == rules.required_count
            && rules
                .required_elsewhere
                .iter()
                .all(|name| fields.contains_key(self.model.text(*name)))
    }

    /// A bare address stands for a file that has nothing but its address.
    fn accepts_file_url(&mut self, rules: &ObjectRules, value: &Value, depth: usize) -> bool {
        rules.fields.iter().all(|rule| match self.model.text(rule.name) {
            "url" => self.accepts(rule.node, value, depth + 1),
            _ => !rule.is_required,
        })
    }

    /// Whether one alternative fits, in strict mode no more than one.
    pub(super) fn one_of(
        &mut self,
        ids: &[NodeId],
        value: &Value,
        depth: usize,
    ) -> Result<(), ProblemKind> {
        let mut fitting = ids.iter().filter(|id| self.accepts(**id, value, depth + 1));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(ProblemKind::Missing),
            (Some(_), Some(_)) if self.mode == Mode::Strict => Err(ProblemKind::Ambiguous),
            _ => Ok(()),
        }
    }

    /// Only JSON Schema minds: pydantic drops the twins of a set.
    pub(super) fn has_twins(&mut self, rules: &ArrayRules, items: &[Value]) -> bool {
        if !rules.is_unique || self.is_lax() {
            return false;
        }
        self.pay_for(items.len());
        let mut sorted: Vec<&Value> = items.iter().collect();
        sorted.sort_by(|a, b| order(a, b));
        sorted.windows(2).any(|pair| order(pair[0], pair[1]).is_eq())
    }
}

/// The type of a value as its JSON text shows it: `3.0` is a number and no integer here.
#[inline]
fn kind_of(value: &Value) -> Types {
    match value {
        Value::Null => Types::NULL,
        Value::Bool(_) => Types::BOOLEAN,
        Value::Number(number) => match Num::of(number) {
            Num::Float(_) => Types::NUMBER,
            Num::Int(_) | Num::Big(_) => Types::INTEGER,
        },
        Value::String(_) => Types::STRING,
        Value::Array(_) => Types::ARRAY,
        Value::Object(_) => Types::OBJECT,
    }
}
