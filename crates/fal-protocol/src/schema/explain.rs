//! What is wrong with a value: the walk that only refused inputs take.

use serde_json::{Map, Value};

use super::fit::Checker;
use super::model::{NodeId, Schema};
use super::number::Num;
use super::path::{Step, Trail};
use super::problem::ProblemKind;
use super::read::{Reading, Set, limit_problem, number_problem, read, size_problem, text_problem};
use super::rules::{ArrayRules, ObjectRules, RestRule};
use super::validate::{Mode, Report};

/// A value on the way, with what is around it.
#[derive(Clone, Copy)]
pub(super) struct Place<'t, 'a> {
    pub(super) value: &'a Value,
    pub(super) trail: &'t Trail<'t, 'a>,
    pub(super) depth: usize,
}

impl<'a> Checker<'a> {
    /// Says what is wrong with the value; nothing exactly if [`accepts`](Self::accepts) holds.
    pub(super) fn explain(&mut self, id: NodeId, place: Place<'_, 'a>, report: &mut Report<'a>) {
        let Place { value, depth, .. } = place;
        if !self.pay(depth) {
            return;
        }
        let model = self.model;
        let (node, mode) = (model.node(id), self.mode);
        let schema = Schema { model, id };
        if node.is_nullable && value.is_null() {
            return;
        }
        if let Some(choices) = node.choices(self.is_lax())
            && !choices.holds(value, self.is_lax())
        {
            let is_large = mode == Mode::AsFal && is_large(value) && choices.has_integer();
            let kind = match schema.component() {
                _ if is_large => ProblemKind::IntParsingSize,
                Some(_) => ProblemKind::Enum,
                None => ProblemKind::Literal,
            };
            report.push(place, kind, schema, mode);
            if mode != Mode::Lenient {
                return;
            }
        }
        let reading = match read(node, value, self.is_lax()) {
            Ok(reading) => reading,
            Err(kind) => return report.push(place, kind, schema, mode),
        };
        if let Some(id) = node.reference {
            self.explain(id, Place { depth: depth + 1, ..place }, report);
        }
        match reading {
            Reading::Plain => {}
            Reading::Number(num) => {
                if let Some(kind) = number_problem(node.number.as_deref(), num, mode) {
                    report.push(place, kind, schema, mode);
                }
            }
            Reading::Text(text) => {
                if let Some(kind) = text_problem(node.string.as_deref(), text, mode) {
                    report.push(place, kind, schema, mode);
                }
            }
            Reading::List(items) => match &node.array {
                Some(rules) if self.is_lax() && rules.is_unique => {
                    self.explain_set(rules, schema, items, place, report);
                }
                Some(rules) => self.explain_list(rules, schema, items, place, report),
                None => {}
            },
            Reading::Fields(fields) => {
                if let Some(rules) = &node.object {
                    self.explain_fields(rules, schema, fields, place, report);
                }
            }
            Reading::FileUrl => {
                if let Some(rules) = &node.object {
                    self.explain_file_url(rules, place, report);
                }
            }
        }
        let Some(union) = &node.union else { return };
        let below = Place { depth: depth + 1, ..place };
        union.all_of.iter().for_each(|id| self.explain(*id, below, report));
        if !union.any_of.is_empty() {
            self.explain_union(&union.any_of, place, report);
        }
        match self.one_of(&union.one_of, value, depth) {
            Err(ProblemKind::Ambiguous) => {
                report.push(place, ProblemKind::Ambiguous, schema, mode);
            }
            _ if union.one_of.is_empty() => {}
            _ => self.explain_union(&union.one_of, place, report),
        }
        if self.is_lax()
            && let Some(kind) = limit_problem(model, union, value)
            && union.any_of.iter().any(|id| self.accepts(*id, value, depth + 1))
        {
            report.push(place, kind, schema, mode);
        }
    }

    fn explain_list(
        &mut self,
        rules: &'a ArrayRules,
        schema: Schema<'a>,
        items: &'a [Value],
        place: Place<'_, 'a>,
        report: &mut Report<'a>,
    ) {
        let size = size_problem(rules, items.len());
        if size == Some(ProblemKind::TooLong) && self.mode != Mode::Lenient {
            return report.push(place, ProblemKind::TooLong, schema, self.mode);
        }
        let before = report.problems.len();
        for (at, item) in items.iter().enumerate() {
            if let Some(id) = rules.element(at) {
                let trail = place.trail.then(Step::Index(at));
                let place = Place { value: item, trail: &trail, depth: place.depth + 1 };
                self.explain(id, place, report);
            }
        }
        if self.is_lax() {
            for at in items.len()..rules.places() {
                let schema = Schema { id: rules.tuple[at], ..schema };
                let trail = place.trail.then(Step::Index(at));
                report.push(
                    Place { trail: &trail, ..place },
                    ProblemKind::Missing,
                    schema,
                    self.mode,
                );
            }
        }
        // As pydantic does: it counts the elements that it could read.
        if report.problems.len() > before {
            return;
        }
        if let Some(kind) = size {
            report.push(place, kind, schema, self.mode);
        } else if self.has_twins(rules, items) {
            report.push(place, ProblemKind::NotUnique, schema, self.mode);
        }
    }

    /// A set of pydantic's. Once it is too long, nothing else is said.
    fn explain_set(
        &mut self,
        rules: &'a ArrayRules,
        schema: Schema<'a>,
        items: &'a [Value],
        place: Place<'_, 'a>,
        report: &mut Report<'a>,
    ) {
        let before = report.problems.len();
        let mut set = Set::default();
        for (at, item) in items.iter().enumerate() {
            let trail = place.trail.then(Step::Index(at));
            let inner = Place { value: item, trail: &trail, depth: place.depth + 1 };
            let found = report.problems.len();
            if let Some(id) = rules.element(at) {
                self.explain(id, inner, report);
            }
            if report.problems.len() > found {
                continue;
            }
            if item.is_array() || item.is_object() {
                report.push(inner, ProblemKind::NotHashable, schema, self.mode);
            } else if rules.size.max.is_some() || rules.size.min > 0 {
                set.add(self.model, rules, at, item);
            }
            let is_too_long = size_problem(rules, set.len()) == Some(ProblemKind::TooLong);
            if is_too_long && self.mode != Mode::Lenient {
                report.problems.truncate(before);
                return report.push(place, ProblemKind::TooLong, schema, self.mode);
            }
        }
        if report.problems.len() == before
            && let Some(kind) = size_problem(rules, set.len())
        {
            report.push(place, kind, schema, self.mode);
        }
    }

    fn explain_fields(
        &mut self,
        rules: &'a ObjectRules,
        schema: Schema<'a>,
        fields: &'a Map<String, Value>,
        place: Place<'_, 'a>,
        report: &mut Report<'a>,
    ) {
        let model = self.model;
        let depth = place.depth + 1;
        for rule in &rules.fields {
            let name = model.text(rule.name);
            let trail = &place.trail.then(Step::Name(name));
            match fields.get(name) {
                Some(given) if rule.is_null_absent && given.is_null() && self.is_lax() => {}
                Some(value) => self.explain(rule.node, Place { value, trail, depth }, report),
                None if rule.is_required => {
                    let schema = Schema { model, id: rule.node };
                    report.push(Place { trail, ..place }, ProblemKind::Missing, schema, self.mode);
                }
                None => {}
            }
        }
        for name in &rules.required_elsewhere {
            let name = model.text(*name);
            if !fields.contains_key(name) {
                let trail = &place.trail.then(Step::Name(name));
                report.push(Place { trail, ..place }, ProblemKind::Missing, schema, self.mode);
            }
        }
        if matches!(rules.rest, RestRule::Anything) {
            return;
        }
        let mut cursor = 0;
        for (name, value) in fields {
            if rules.field(model, name, &mut cursor).is_some() {
                continue;
            }
            let trail = &place.trail.then(Step::Name(name));
            let place = Place { value, trail, depth };
            match rules.rest {
                RestRule::Each(id) => self.explain(id, place, report),
                _ => report.push(place, ProblemKind::ExtraForbidden, schema, self.mode),
            }
        }
    }

    /// The address becomes a file without anything else.
    fn explain_file_url(
        &mut self,
        rules: &'a ObjectRules,
        place: Place<'_, 'a>,
        report: &mut Report<'a>,
    ) {
        let model = self.model;
        for rule in &rules.fields {
            let name = model.text(rule.name);
            let trail = &place.trail.then(Step::Name(name));
            let place = Place { trail, ..place };
            if name == "url" {
                self.explain(rule.node, Place { depth: place.depth + 1, ..place }, report);
            } else if rule.is_required {
                let schema = Schema { model, id: rule.node };
                report.push(place, ProblemKind::MissingInFile, schema, self.mode);
            }
        }
    }

    /// One list of problems for each alternative but null, each under the alternative's tag; a single
    /// alternative beside null is no union to pydantic, and has no tag.
    fn explain_union(&mut self, ids: &'a [NodeId], place: Place<'_, 'a>, report: &mut Report<'a>) {
        let below = Place { depth: place.depth + 1, ..place };
        if let Some(fitting) = ids.iter().find(|id| self.accepts(**id, place.value, below.depth)) {
            if self.mode == Mode::Lenient {
                self.explain(*fitting, below, report);
            }
            return;
        }
        let model = self.model;
        let mut others = ids.iter().filter(|id| !model.node(**id).is_null());
        match (others.next(), others.next()) {
            (None, _) => self.explain(ids[0], below, report),
            (Some(only), None) => self.explain(*only, below, report),
            (Some(first), Some(second)) => {
                for id in [first, second].into_iter().chain(others) {
                    let trail = &place.trail.then(Step::Branch(Schema { model, id: *id }));
                    self.explain(*id, Place { trail, ..below }, report);
                }
            }
        }
    }
}

/// An integer beyond 64 bits with a sign, which pydantic does not look for among integers.
fn is_large(value: &Value) -> bool {
    matches!(value, Value::Number(number) if matches!(Num::of(number), Num::Big(_)))
}
