//! Whether an input fits, and every reason why it does not.

use serde_json::{Map, Value};

use super::model::{
    ArrayRules, ModelSchema, Node, NodeId, NumberRules, ObjectRules, RestRule, Schema, StringRules,
    Types,
};
use super::number::{Num, bool_of_num, bool_of_text, float_of_text, int_of_text, order};
use super::path::{Step, Trail};
use super::problem::{Problem, ProblemKind};

/// How closely an input must follow the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// JSON Schema 2020-12, with `nullable`, and without `format`.
    ///
    /// Refuses more than the service does.
    Strict,
    /// What the service does: pydantic with its coercions.
    ///
    /// Texts that hold a number, integers for numbers, `3.0` for integers, the words and numbers for truth
    /// values, and truth values for numbers are taken; `multipleOf` has a tolerance of a billionth; unknown fields are ignored; a file may be
    /// given as its bare URL; equal elements are no problem; more than one alternative may fit. In documents that
    /// [lost their nulls](super::Dialect::NullsFolded) null is taken for fields that are neither
    /// required nor have a default.
    ///
    /// Source: docs.pydantic.dev, conversion table (documented); the SDK's `File` (official SDK source).
    #[default]
    AsFal,
    /// As [`AsFal`](Self::AsFal), but what a newer version of the model may accept is a warning only: values outside
    /// of enums, bounds, lengths, patterns, and forbidden fields.
    Lenient,
}

impl ModelSchema {
    /// Whether the input fits. Allocates nothing.
    #[must_use]
    pub fn is_valid(&self, input: &Value, mode: Mode) -> bool {
        self.fits(self.input, input, mode)
    }

    /// Everything that is wrong with the input, in the order of the fields.
    #[must_use]
    pub fn validate<'a>(&'a self, input: &'a Value, mode: Mode) -> Report<'a> {
        self.report(self.input, "body", input, mode)
    }

    /// Everything that is wrong with an output. Real outputs are looser than their schema.
    #[must_use]
    pub fn validate_output<'a>(&'a self, output: &'a Value, mode: Mode) -> Report<'a> {
        self.report(self.output, "response", output, mode)
    }

    pub(super) fn fits(&self, id: NodeId, value: &Value, mode: Mode) -> bool {
        let mut checker = Checker::new(self, mode);
        checker.accepts(id, value, 0) && !checker.is_exhausted
    }

    fn report<'a>(&'a self, id: NodeId, root: &'a str, value: &'a Value, mode: Mode) -> Report<'a> {
        let mut report = Report::default();
        let pass = if mode == Mode::Lenient { Mode::AsFal } else { mode };
        if self.fits(id, value, pass) {
            return report;
        }
        let trail = Trail::root(root);
        let mut checker = Checker::new(self, mode);
        checker.explain(id, value, &trail, 0, &mut report);
        if checker.is_exhausted {
            let schema = Schema { model: self, id };
            report.push(&trail, ProblemKind::TooComplex, schema, value, mode);
        }
        report
    }
}

/// What validation found.
#[derive(Clone, Debug, Default)]
pub struct Report<'a> {
    problems: Vec<Problem<'a>>,
    warnings: Vec<Problem<'a>>,
}

impl<'a> Report<'a> {
    /// Whether the input can be sent.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    /// Why the input does not fit: at most [`PROBLEMS_MAX`].
    #[must_use]
    pub fn problems(&self) -> &[Problem<'a>] {
        &self.problems
    }

    /// What [`Mode::Lenient`] lets pass: at most [`PROBLEMS_MAX`].
    #[must_use]
    pub fn warnings(&self) -> &[Problem<'a>] {
        &self.warnings
    }

    /// The service's body for this: `{"detail": […]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let detail: Vec<Value> = self.problems.iter().map(Problem::to_json).collect();
        Value::Object(Map::from_iter([("detail".to_owned(), detail.into())]))
    }

    fn push(
        &mut self,
        trail: &Trail<'_, 'a>,
        kind: ProblemKind,
        schema: Schema<'a>,
        input: &'a Value,
        mode: Mode,
    ) {
        let list = match mode {
            Mode::Lenient if kind.is_soft() => &mut self.warnings,
            _ => &mut self.problems,
        };
        if list.len() < PROBLEMS_MAX {
            list.push(Problem { steps: trail.steps(), kind, schema, input });
        }
    }
}

/// A value as its schema sees it.
enum Reading<'v> {
    Plain,
    Number(Num),
    Text(&'v str),
    List(&'v [Value]),
    Fields(&'v Map<String, Value>),
    /// A bare URL in place of a file: nothing is left to check.
    FileUrl,
}

pub(super) struct Checker<'a> {
    model: &'a ModelSchema,
    mode: Mode,
    work: u32,
    /// A limit was met: whatever was said since is not the answer.
    pub(super) is_exhausted: bool,
}

impl<'a> Checker<'a> {
    pub(super) const fn new(model: &'a ModelSchema, mode: Mode) -> Self {
        Self { model, mode, work: WORK_MAX, is_exhausted: false }
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

    pub(super) fn accepts(&mut self, id: NodeId, value: &Value, depth: usize) -> bool {
        if !self.pay(depth) {
            return true;
        }
        let node = self.model.node(id);
        if node.is_nullable && value.is_null() {
            return true;
        }
        if self.mode != Mode::Lenient
            && node.choices.as_ref().is_some_and(|choices| !choices.holds(value))
        {
            return false;
        }
        let Ok(reading) = self.read(node, value) else { return false };
        if node.reference.is_some_and(|id| !self.accepts(id, value, depth + 1)) {
            return false;
        }
        let fits = match reading {
            Reading::Plain | Reading::FileUrl => true,
            Reading::Number(num) => {
                self.mode == Mode::Lenient
                    || number_problem(node.number.as_deref(), num, self.mode).is_none()
            }
            Reading::Text(text) => {
                self.mode == Mode::Lenient
                    || text_problem(node.string.as_deref(), text, self.mode).is_none()
            }
            Reading::List(items) => match &node.array {
                Some(rules) => self.accepts_list(rules, items, depth),
                None => true,
            },
            Reading::Fields(fields) => match &node.object {
                Some(rules) => self.accepts_fields(rules, fields, depth),
                None => true,
            },
        };
        let Some(union) = &node.union else { return fits };
        fits && union.all_of.iter().all(|id| self.accepts(*id, value, depth + 1))
            && (union.any_of.is_empty()
                || union.any_of.iter().any(|id| self.accepts(*id, value, depth + 1)))
            && (union.one_of.is_empty() || self.one_of(&union.one_of, value, depth).is_ok())
    }

    fn accepts_list(&mut self, rules: &ArrayRules, items: &[Value], depth: usize) -> bool {
        let is_sized = self.mode == Mode::Lenient || size_problem(rules, items).is_none();
        if !is_sized || self.has_twins(rules, items) {
            return false;
        }
        items.iter().enumerate().all(|(at, item)| match rules.element(at) {
            Some(id) => self.accepts(id, item, depth + 1),
            None => true,
        })
    }

    fn accepts_fields(
        &mut self,
        rules: &ObjectRules,
        fields: &Map<String, Value>,
        depth: usize,
    ) -> bool {
        let (mut required, mut cursor) = (0, 0);
        for (name, value) in fields {
            let fits = match (rules.field(self.model, name, &mut cursor), rules.rest) {
                (Some(rule), _) => {
                    required += u32::from(rule.is_required);
                    (rule.is_null_absent && value.is_null() && self.is_lax())
                        || self.accepts(rule.node, value, depth + 1)
                }
                (None, RestRule::Anything) => true,
                (None, RestRule::Nothing) => self.mode == Mode::Lenient,
                (None, RestRule::Each(id)) => self.accepts(id, value, depth + 1),
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

    /// Whether one alternative fits, in strict mode no more than one.
    fn one_of(&mut self, ids: &[NodeId], value: &Value, depth: usize) -> Result<(), ProblemKind> {
        let mut fitting = ids.iter().filter(|id| self.accepts(**id, value, depth + 1));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(ProblemKind::Missing),
            (Some(_), Some(_)) if self.mode == Mode::Strict => Err(ProblemKind::Ambiguous),
            _ => Ok(()),
        }
    }

    /// Says what is wrong with the value; nothing exactly if [`accepts`](Self::accepts) holds.
    fn explain(
        &mut self,
        id: NodeId,
        value: &'a Value,
        trail: &Trail<'_, 'a>,
        depth: usize,
        report: &mut Report<'a>,
    ) {
        if !self.pay(depth) {
            return;
        }
        let model = self.model;
        let (node, mode) = (model.node(id), self.mode);
        let schema = Schema { model, id };
        if node.is_nullable && value.is_null() {
            return;
        }
        if node.choices.as_ref().is_some_and(|choices| !choices.holds(value)) {
            let is_component = schema.component().is_some();
            let kind = if is_component { ProblemKind::Enum } else { ProblemKind::Literal };
            report.push(trail, kind, schema, value, mode);
            if mode != Mode::Lenient {
                return;
            }
        }
        let reading = match self.read(node, value) {
            Ok(reading) => reading,
            Err(kind) => return report.push(trail, kind, schema, value, mode),
        };
        if let Some(id) = node.reference {
            self.explain(id, value, trail, depth + 1, report);
        }
        match reading {
            Reading::Plain | Reading::FileUrl => {}
            Reading::Number(num) => {
                if let Some(kind) = number_problem(node.number.as_deref(), num, mode) {
                    report.push(trail, kind, schema, value, mode);
                }
            }
            Reading::Text(text) => {
                if let Some(kind) = text_problem(node.string.as_deref(), text, mode) {
                    report.push(trail, kind, schema, value, mode);
                }
            }
            Reading::List(items) => {
                if let Some(rules) = &node.array {
                    self.explain_list(rules, schema, value, items, trail, depth, report);
                }
            }
            Reading::Fields(fields) => {
                if let Some(rules) = &node.object {
                    self.explain_fields(rules, schema, value, fields, trail, depth, report);
                }
            }
        }
        let Some(union) = &node.union else { return };
        for id in &union.all_of {
            self.explain(*id, value, trail, depth + 1, report);
        }
        if !union.any_of.is_empty() {
            self.explain_union(&union.any_of, value, trail, depth, report);
        }
        match self.one_of(&union.one_of, value, depth) {
            Err(ProblemKind::Ambiguous) => {
                report.push(trail, ProblemKind::Ambiguous, schema, value, mode);
            }
            _ if union.one_of.is_empty() => {}
            _ => self.explain_union(&union.one_of, value, trail, depth, report),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one walk, taken apart for borrowing"
    )]
    fn explain_list(
        &mut self,
        rules: &'a ArrayRules,
        schema: Schema<'a>,
        value: &'a Value,
        items: &'a [Value],
        trail: &Trail<'_, 'a>,
        depth: usize,
        report: &mut Report<'a>,
    ) {
        let size = size_problem(rules, items);
        if size == Some(ProblemKind::TooLong) && self.mode != Mode::Lenient {
            return report.push(trail, ProblemKind::TooLong, schema, value, self.mode);
        }
        let before = report.problems.len();
        for (at, item) in items.iter().enumerate() {
            if let Some(id) = rules.element(at) {
                self.explain(id, item, &trail.then(Step::Index(at)), depth + 1, report);
            }
        }
        // As pydantic does: it counts the elements that it could read.
        if report.problems.len() > before {
            return;
        }
        if let Some(kind) = size {
            report.push(trail, kind, schema, value, self.mode);
        } else if self.has_twins(rules, items) {
            report.push(trail, ProblemKind::NotUnique, schema, value, self.mode);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one walk, taken apart for borrowing"
    )]
    fn explain_fields(
        &mut self,
        rules: &'a ObjectRules,
        schema: Schema<'a>,
        value: &'a Value,
        fields: &'a Map<String, Value>,
        trail: &Trail<'_, 'a>,
        depth: usize,
        report: &mut Report<'a>,
    ) {
        let model = self.model;
        for rule in &rules.fields {
            let name = model.text(rule.name);
            let trail = trail.then(Step::Name(name));
            match fields.get(name) {
                Some(given) if rule.is_null_absent && given.is_null() && self.is_lax() => {}
                Some(given) => self.explain(rule.node, given, &trail, depth + 1, report),
                None if rule.is_required => {
                    let schema = Schema { model, id: rule.node };
                    report.push(&trail, ProblemKind::Missing, schema, value, self.mode);
                }
                None => {}
            }
        }
        for name in &rules.required_elsewhere {
            let name = model.text(*name);
            if !fields.contains_key(name) {
                let trail = trail.then(Step::Name(name));
                report.push(&trail, ProblemKind::Missing, schema, value, self.mode);
            }
        }
        if matches!(rules.rest, RestRule::Anything) {
            return;
        }
        let mut cursor = 0;
        for (name, given) in fields {
            if rules.field(model, name, &mut cursor).is_some() {
                continue;
            }
            let trail = trail.then(Step::Name(name));
            match rules.rest {
                RestRule::Each(id) => self.explain(id, given, &trail, depth + 1, report),
                _ => report.push(&trail, ProblemKind::ExtraForbidden, schema, given, self.mode),
            }
        }
    }

    /// One list of problems for each alternative but null, each under the alternative's tag; a single
    /// alternative beside null is no union to pydantic, and has no tag.
    fn explain_union(
        &mut self,
        ids: &'a [NodeId],
        value: &'a Value,
        trail: &Trail<'_, 'a>,
        depth: usize,
        report: &mut Report<'a>,
    ) {
        if let Some(fitting) = ids.iter().find(|id| self.accepts(**id, value, depth + 1)) {
            if self.mode == Mode::Lenient {
                self.explain(*fitting, value, trail, depth + 1, report);
            }
            return;
        }
        let model = self.model;
        let mut others = ids.iter().filter(|id| !model.node(**id).is_null());
        match (others.next(), others.next()) {
            (None, _) => self.explain(ids[0], value, trail, depth + 1, report),
            (Some(only), None) => self.explain(*only, value, trail, depth + 1, report),
            (Some(first), Some(second)) => {
                for id in [first, second].into_iter().chain(others) {
                    let trail = trail.then(Step::Branch(Schema { model, id: *id }));
                    self.explain(*id, value, &trail, depth + 1, report);
                }
            }
        }
    }

    /// Reads the value as one of the node's types, with coercion unless strict.
    fn read<'v>(&self, node: &Node, value: &'v Value) -> Result<Reading<'v>, ProblemKind> {
        let types = node.types;
        match value {
            Value::Null if types.has(Types::NULL) => Ok(Reading::Plain),
            Value::Bool(_) if types.has(Types::BOOLEAN) => Ok(Reading::Plain),
            Value::Number(number) => {
                let num = Num::of(number);
                if types.has(Types::NUMBER) || (types.has(Types::INTEGER) && num.is_integral()) {
                    return Ok(Reading::Number(num));
                }
                if types.has(Types::INTEGER) {
                    return Err(ProblemKind::IntFromFloat);
                }
                if self.is_lax() && types.has(Types::BOOLEAN) {
                    return match bool_of_num(num) {
                        Some(_) => Ok(Reading::Plain),
                        None => Err(ProblemKind::BoolParsing),
                    };
                }
                Err(wanted(node))
            }
            Value::String(text) if types.has(Types::STRING) => Ok(Reading::Text(text)),
            Value::Array(items) if types.has(Types::ARRAY) => Ok(Reading::List(items)),
            Value::Object(fields) if types.has(Types::OBJECT) => Ok(Reading::Fields(fields)),
            Value::String(text) if self.is_lax() => read_text(node, text),
            Value::Bool(truth) if self.is_lax() && holds_number(types) => {
                Ok(Reading::Number(Num::Int((*truth).into())))
            }
            _ => Err(wanted(node)),
        }
    }

    fn is_lax(&self) -> bool {
        self.mode != Mode::Strict
    }

    /// Only JSON Schema minds: pydantic drops the twins of a set.
    fn has_twins(&mut self, rules: &ArrayRules, items: &[Value]) -> bool {
        if !rules.is_unique || self.is_lax() {
            return false;
        }
        self.pay_for(items.len());
        let mut sorted: Vec<&Value> = items.iter().collect();
        sorted.sort_by(|a, b| order(a, b));
        sorted.windows(2).any(|pair| order(pair[0], pair[1]).is_eq())
    }
}

impl ArrayRules {
    pub(super) fn element(&self, at: usize) -> Option<NodeId> {
        self.tuple.get(at).copied().or(self.items)
    }
}

/// A text in place of something else, as pydantic reads it.
fn read_text<'v>(node: &Node, text: &'v str) -> Result<Reading<'v>, ProblemKind> {
    let types = node.types;
    if types.has(Types::OBJECT) {
        let takes_url = node.object.as_ref().is_some_and(|object| object.is_file);
        if takes_url && FILE_URL_STARTS.iter().any(|start| text.starts_with(start)) {
            return Ok(Reading::FileUrl);
        }
    }
    let number = match (types.has(Types::NUMBER), types.has(Types::INTEGER)) {
        (true, _) => float_of_text(text),
        (false, true) => int_of_text(text),
        (false, false) => None,
    };
    match number {
        Some(num) => Ok(Reading::Number(num)),
        None if types.has(Types::BOOLEAN) && bool_of_text(text).is_some() => Ok(Reading::Plain),
        None if types.has(Types::NUMBER) => Err(ProblemKind::FloatParsing),
        None if types.has(Types::INTEGER) => Err(ProblemKind::IntParsing),
        None if types.has(Types::BOOLEAN) => Err(ProblemKind::BoolParsing),
        None => Err(wanted(node)),
    }
}

/// The problem of a value of another type; of several types the one listed first speaks.
fn wanted(node: &Node) -> ProblemKind {
    let is_model = node.object.as_ref().is_some_and(|object| !object.fields.is_empty());
    let kinds = [
        (Types::OBJECT, if is_model { ProblemKind::ModelType } else { ProblemKind::DictType }),
        (Types::ARRAY, ProblemKind::ListType),
        (Types::STRING, ProblemKind::StringType),
        (Types::NUMBER, ProblemKind::FloatType),
        (Types::INTEGER, ProblemKind::IntType),
        (Types::BOOLEAN, ProblemKind::BoolType),
        (Types::NULL, ProblemKind::NullType),
    ];
    let found = kinds.iter().find(|(types, _)| node.types.has(*types));
    found.map_or(ProblemKind::Nothing, |(_, kind)| *kind)
}

const fn holds_number(types: Types) -> bool {
    types.has(Types::NUMBER) || types.has(Types::INTEGER)
}

/// The first bound that the number breaks, in the order in which pydantic looks.
fn number_problem(rules: Option<&NumberRules>, num: Num, mode: Mode) -> Option<ProblemKind> {
    let rules = rules?;
    let breaks = |bound: Option<Num>, is_fine: fn(std::cmp::Ordering) -> bool| {
        bound.is_some_and(|bound| !num.compare(bound).is_some_and(is_fine))
    };
    let divides = |divisor: Num| match mode {
        Mode::Strict => num.is_multiple_of(divisor),
        _ => num.is_nearly_multiple_of(divisor),
    };
    if rules.multiple_of.is_some_and(|divisor| !divides(divisor)) {
        Some(ProblemKind::MultipleOf)
    } else if breaks(rules.maximum, std::cmp::Ordering::is_le) {
        Some(ProblemKind::LessThanEqual)
    } else if breaks(rules.below, std::cmp::Ordering::is_lt) {
        Some(ProblemKind::LessThan)
    } else if breaks(rules.minimum, std::cmp::Ordering::is_ge) {
        Some(ProblemKind::GreaterThanEqual)
    } else if breaks(rules.above, std::cmp::Ordering::is_gt) {
        Some(ProblemKind::GreaterThan)
    } else {
        None
    }
}

/// Lengths count code points.
fn text_problem(rules: Option<&StringRules>, text: &str, mode: Mode) -> Option<ProblemKind> {
    let rules = rules?;
    let (min, max) = (rules.size.min, rules.size.max);
    // A code point has 1 to 4 bytes, so most texts need no counting.
    let bytes = text.len() as u64;
    let is_clear = bytes.div_ceil(4) >= min && max.is_none_or(|max| bytes <= max);
    if !is_clear {
        let length = text.chars().count() as u64;
        if max.is_some_and(|max| length > max) {
            return Some(ProblemKind::StringTooLong);
        }
        if length < min {
            return Some(ProblemKind::StringTooShort);
        }
    }
    match &rules.pattern {
        Some((_, Some(pattern))) if pattern.matches(text, mode != Mode::Strict) == Some(false) => {
            Some(ProblemKind::StringPatternMismatch)
        }
        _ => None,
    }
}

fn size_problem(rules: &ArrayRules, items: &[Value]) -> Option<ProblemKind> {
    let count = items.len() as u64;
    if rules.size.max.is_some_and(|max| count > max) {
        return Some(ProblemKind::TooLong);
    }
    (count < rules.size.min).then_some(ProblemKind::TooShort)
}

/// What the service's file type takes for a file.
///
/// Source: `File` of the serverless SDK (official SDK source).
pub(super) const FILE_URL_STARTS: [&str; 3] = ["https://", "http://", "data:"];

/// Deepest nesting of schemas met by one value: 128, as deep as the JSON parser goes.
pub const DEPTH_MAX: usize = 128;

/// Most visits of a value by a schema in one validation: a million.
pub const WORK_MAX: u32 = 1_000_000;

/// Most problems reported of one input, and most warnings.
pub const PROBLEMS_MAX: usize = 100;
