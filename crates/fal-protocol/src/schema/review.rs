//! What is wrong with an input, in words for whoever wrote it.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::fit::Checker;
use super::model::{ModelSchema, NodeId, Schema, Types};
use super::nearest::{nearest_choice, nearest_name};
use super::path::Step;
use super::problem::{Problem, ProblemKind, start_of_char};
use super::rules::{ObjectRules, RestRule};
use super::validate::{Mode, PROBLEMS_MAX};
use super::words::own_limits;

impl ModelSchema {
    /// Everything that is wrong with the input, each with what is allowed and what may have been meant.
    ///
    /// As [`validate`](Self::validate), but of the alternatives of a union only the one is told that was meant,
    /// and fields that the document does not have are warnings: the service ignores them, and the caller thinks
    /// that they work. In [`Mode::Strict`] they are problems. A document that states that it takes other fields
    /// (`additionalProperties: true`) has no unknown ones.
    #[must_use]
    pub fn review(&self, input: &Value, mode: Mode) -> Review {
        let report = self.validate(input, mode);
        let mut review = Review::default();
        tell_all(&report.problems().iter().collect::<Vec<_>>(), 1, input, &mut review.problems);
        tell_all(&report.warnings().iter().collect::<Vec<_>>(), 1, input, &mut review.warnings);
        let mut walk = Walk::new(self);
        walk.visit(&[self.input()], input, 0);
        let mut unknown = walk.unknown;
        // A field that is missing and one that is nearly it are one slip.
        for problem in review.problems.iter_mut().filter(|p| p.kind == ProblemKind::Missing) {
            let is_it = |other: &Finding| {
                let (missing, slip) = (problem.path.rsplit_once('.'), other.path.rsplit_once('.'));
                let name = missing.map_or(&*problem.path, |(_, name)| name);
                missing.map(|(parent, _)| parent) == slip.map(|(parent, _)| parent)
                    && other.suggestion.as_deref() == Some(name)
            };
            if let Some(at) = unknown.iter().position(is_it) {
                let slip = unknown.remove(at);
                let name = slip.path.rsplit_once('.').map_or(&*slip.path, |(_, name)| name);
                problem.suggestion = Some(name.into());
            }
        }
        let list = if mode == Mode::Strict { &mut review.problems } else { &mut review.warnings };
        list.extend(unknown);
        list.truncate(PROBLEMS_MAX);
        review
    }
}

/// What [`ModelSchema::review`] found. Printed, each finding is a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Review {
    /// Why the input will be refused, in the order of the fields; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Finding>,
    /// What will be accepted and is probably not what the caller wants; at most [`PROBLEMS_MAX`].
    pub warnings: Vec<Finding>,
}

impl Review {
    /// Whether the input can be sent.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.problems.iter().map(|finding| ("", finding));
        let all = all.chain(self.warnings.iter().map(|finding| ("warning: ", finding)));
        for (at, (mark, finding)) in all.enumerate() {
            write!(f, "{}{mark}{finding}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// One thing about an input, for people. Printed, it is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where: `loras[0].scale`; empty for the input itself.
    pub path: Box<str>,
    /// What is wrong.
    pub kind: ProblemKind,
    /// The same in words, without the place: `99 is not allowed`.
    pub message: Box<str>,
    /// What is allowed there, if the document limits it: `1 to 50`, `jpeg, png`.
    pub allowed: Option<Box<str>>,
    /// What may have been meant: the name of a field; for a value that is none of the choices a choice, as
    /// JSON; for a field that is missing the name that was given in its place.
    pub suggestion: Option<Box<str>>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the input" } else { &*self.path };
        write!(f, "{path}: {}", self.message)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        match (&self.suggestion, self.kind) {
            (None, _) => Ok(()),
            (Some(given), ProblemKind::Missing) => write!(f, "; did you mean it by `{given}`?"),
            (Some(meant), _) => write!(f, "; did you mean `{meant}`?"),
        }
    }
}

/// Tells problems that agree in their first `done` steps.
fn tell_all(problems: &[&Problem<'_>], done: usize, input: &Value, findings: &mut Vec<Finding>) {
    let mut rest = problems;
    while let Some(first) = rest.first() {
        let branch =
            (done..first.steps.len()).find(|at| matches!(first.steps[*at], Step::Branch(_)));
        let Some(branch) = branch else {
            findings.push(tell(first));
            rest = &rest[1..];
            continue;
        };
        let is_same = |other: &&&Problem<'_>| {
            other.steps.len() > branch
                && matches!(other.steps[branch], Step::Branch(_))
                && (done..branch).all(|at| is_same_step(&first.steps[at], &other.steps[at]))
        };
        let count = rest.iter().take_while(is_same).count();
        let (group, others) = rest.split_at(count.max(1));
        tell_union(group, branch, input, findings);
        rest = others;
    }
}

fn is_same_step(a: &Step<'_>, b: &Step<'_>) -> bool {
    match (a, b) {
        (Step::Name(a), Step::Name(b)) => a == b,
        (Step::Index(a), Step::Index(b)) => a == b,
        (Step::Branch(a), Step::Branch(b)) => a.id == b.id,
        _ => false,
    }
}

/// The problems of a value that fits no alternative: those of the alternative that was meant, by the value's
/// type and then by the number of problems.
fn tell_union(group: &[&Problem<'_>], branch: usize, input: &Value, findings: &mut Vec<Finding>) {
    let mut alternatives: Vec<(Schema<'_>, Vec<&Problem<'_>>)> = Vec::new();
    for problem in group {
        let Step::Branch(schema) = problem.steps[branch] else { continue };
        match alternatives.iter_mut().find(|(known, _)| known.id == schema.id) {
            Some((_, problems)) => problems.push(problem),
            None => alternatives.push((schema, vec![problem])),
        }
    }
    let is_of_type = |problems: &[&Problem<'_>]| {
        !problems.iter().any(|problem| problem.kind.is_type() && problem.steps.len() == branch + 1)
    };
    let meant = alternatives.iter().filter(|(_, problems)| is_of_type(problems));
    let meant = meant.min_by_key(|(_, problems)| problems.len());
    let from = findings.len();
    match meant {
        Some((_, problems)) => tell_all(problems, branch + 1, input, findings),
        None => {
            let first = group[0];
            let value = value_at(input, &first.steps[1..branch]).unwrap_or(first.input);
            let types: Vec<String> =
                alternatives.iter().map(|(schema, _)| schema.types_in_words()).collect();
            findings.push(Finding {
                path: path_of(&first.steps[..branch]),
                kind: first.kind,
                message: format!("must be {}, and is {}", types.join(" | "), shown(value)).into(),
                allowed: None,
                suggestion: None,
            });
            return;
        }
    }
    // Whoever sees one way to write it should know that there are others.
    if let [only] = &mut findings[from..]
        && let Some((meant, _)) = meant
    {
        let others = alternatives.iter().filter(|(schema, _)| schema.id != meant.id);
        let others = others.map(|(schema, _)| match schema.resolved().choices() {
            Some(_) => schema.limits_in_words(),
            None => schema.types_in_words(),
        });
        let others: Vec<String> = others.collect();
        if let Some(allowed) = &mut only.allowed {
            *allowed = format!("{allowed}; or {}", others.join(" | ")).into();
        }
    }
}

fn tell(problem: &Problem<'_>) -> Finding {
    let (schema, kind) = (problem.schema, problem.kind);
    let given = || shown(problem.input);
    let mut allowed = None;
    let mut suggestion = None;
    let message = match kind {
        ProblemKind::Missing | ProblemKind::MissingInFile => {
            let types = schema.types_in_words();
            let limits = own_limits(schema.resolved()).join("; ");
            allowed = (types != "anything")
                .then(|| if limits.is_empty() { types } else { format!("{types}, {limits}") });
            "is required".to_owned()
        }
        ProblemKind::Literal | ProblemKind::Enum => {
            let choices = schema.choices().unwrap_or_default();
            suggestion = nearest_choice(problem.input, choices).map(quoted);
            format!("{} is not allowed", given())
        }
        ProblemKind::StringTooShort | ProblemKind::StringTooLong => {
            let length = problem.input.as_str().map_or(0, |text| text.chars().count());
            format!("has {length} {}", if length == 1 { "character" } else { "characters" })
        }
        ProblemKind::TooShort | ProblemKind::TooLong => {
            let count = problem.input.as_array().map_or(0, Vec::len);
            format!("has {count} {}", if count == 1 { "element" } else { "elements" })
        }
        ProblemKind::ExtraForbidden => {
            let names = schema.fields().map(|field| field.name);
            let name = match problem.steps.last() {
                Some(Step::Name(name)) => *name,
                _ => "",
            };
            suggestion = nearest_name(name, names).map(str::to_owned);
            "the model takes no such field".to_owned()
        }
        ProblemKind::NotUnique => "has the same element twice".to_owned(),
        ProblemKind::Ambiguous => "fits more than one alternative".to_owned(),
        ProblemKind::Nothing => "no value is allowed here".to_owned(),
        ProblemKind::TooComplex => "is too deep or too large to be checked".to_owned(),
        ProblemKind::UrlType | ProblemKind::UrlParsing | ProblemKind::UrlScheme => {
            format!("must be an http or https URL, and is {}", given())
        }
        ProblemKind::UrlTooLong => "is too long for a URL".to_owned(),
        ProblemKind::UuidType | ProblemKind::UuidParsing | ProblemKind::UuidVersion => {
            format!("must be a UUID of version 4, and is {}", given())
        }
        ProblemKind::NotAUrl => format!("must be a file or its URL, and is {}", given()),
        ProblemKind::IntParsingSize => format!("{} is too large", given()),
        kind if kind.is_type() => {
            format!("must be {}, and is {}", schema.types_in_words(), given())
        }
        _ => format!("{} is not allowed", given()),
    };
    if allowed.is_none() && kind != ProblemKind::ExtraForbidden {
        let limits = own_limits(schema);
        allowed = (!limits.is_empty()).then(|| limits.join("; "));
    }
    Finding {
        path: path_of(&problem.steps),
        kind,
        message: message.into(),
        allowed: allowed.map(Into::into),
        suggestion: suggestion.map(Into::into),
    }
}

impl ProblemKind {
    /// Whether the value is of a type that does not fit, whatever it holds.
    const fn is_type(self) -> bool {
        matches!(
            self,
            Self::StringType
                | Self::IntType
                | Self::IntParsing
                | Self::IntFromFloat
                | Self::FloatType
                | Self::FloatParsing
                | Self::BoolType
                | Self::BoolParsing
                | Self::ListType
                | Self::TupleType
                | Self::SetType
                | Self::DictType
                | Self::ModelType
                | Self::NullType
        )
    }
}

/// `loras[0].scale`, without the root and the tags of alternatives.
fn path_of(steps: &[Step<'_>]) -> Box<str> {
    let mut path = String::new();
    for step in steps.iter().skip(1) {
        match step {
            Step::Name(name) => join(&mut path, name),
            Step::Index(index) => write!(path, "[{index}]").expect("a String takes everything"),
            Step::Branch(_) => {}
        }
    }
    path.into()
}

fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn value_at<'v>(input: &'v Value, steps: &[Step<'_>]) -> Option<&'v Value> {
    steps.iter().try_fold(input, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
        Step::Branch(_) => Some(value),
    })
}

/// A value in a sentence: its start, and its type where it shows none.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let end = start_of_char(text, SHOWN_BYTES_MAX);
            let cut = if end < text.len() { "…" } else { "" };
            format!("{}{cut}", quoted(&text[..end].into()))
        }
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        plain => plain.to_string(),
    }
}

fn quoted(value: &Value) -> String {
    value.to_string()
}

/// Looks for fields that the document does not have.
struct Walk<'a> {
    /// Decides between alternatives, and counts the work.
    checker: Checker<'a>,
    path: String,
    unknown: Vec<Finding>,
}

/// What can be said of one value: the schemas with rules for objects and lists that it is to fit.
#[derive(Default)]
struct Rules<'a> {
    schemas: Vec<Schema<'a>>,
    /// One of them takes any object.
    is_open: bool,
}

impl<'a> Walk<'a> {
    const fn new(model: &'a ModelSchema) -> Self {
        let checker = Checker::new(model, Mode::AsFal);
        Self { checker, path: String::new(), unknown: Vec::new() }
    }

    fn visit(&mut self, schemas: &[Schema<'a>], value: &Value, depth: usize) {
        let is_plain = !matches!(value, Value::Array(_) | Value::Object(_));
        if is_plain || self.unknown.len() >= PROBLEMS_MAX || !self.checker.pay(depth) {
            return;
        }
        let mut rules = Rules::default();
        schemas.iter().for_each(|schema| self.expand(*schema, value, depth, &mut rules));
        let length = self.path.len();
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let of = |schema: &Schema<'a>| {
                        let id = schema.node().array.as_ref()?.element(at)?;
                        Some(Schema { id, ..*schema })
                    };
                    let inner: Vec<Schema<'a>> = rules.schemas.iter().filter_map(of).collect();
                    write!(self.path, "[{at}]").expect("a String takes everything");
                    self.visit(&inner, item, depth + 1);
                    self.path.truncate(length);
                }
            }
            Value::Object(fields) => {
                let objects: Vec<&ObjectRules> = rules
                    .schemas
                    .iter()
                    .filter_map(|schema| schema.node().object.as_deref())
                    .collect();
                let is_open = rules.is_open
                    || objects.is_empty()
                    || objects.iter().any(|rules| {
                        // What must not be there is a problem already.
                        rules.is_open || rules.fields.is_empty() || !is_silent(rules)
                    });
                for (name, field) in fields {
                    let of = |schema: &Schema<'a>| {
                        schema.fields().find(|f| f.name == name).map(|f| f.schema)
                    };
                    let inner: Vec<Schema<'a>> = rules.schemas.iter().filter_map(of).collect();
                    join(&mut self.path, name);
                    if !inner.is_empty() {
                        self.visit(&inner, field, depth + 1);
                    } else if !is_open {
                        self.note(name, &rules.schemas, fields);
                    }
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Follows references and unions; of alternatives those that fit, or else all.
    fn expand(&mut self, schema: Schema<'a>, value: &Value, depth: usize, rules: &mut Rules<'a>) {
        if !self.checker.pay(depth) {
            return;
        }
        let node = schema.node();
        let of = |id: &NodeId| Schema { id: *id, ..schema };
        if node.object.is_some() || node.array.is_some() {
            rules.schemas.push(schema);
        } else if node.reference.is_none() && node.union.is_none() && node.choices.is_none() {
            rules.is_open |= node.types.has(Types::OBJECT);
        }
        if let Some(id) = &node.reference {
            self.expand(of(id), value, depth + 1, rules);
        }
        let Some(union) = &node.union else { return };
        union.all_of.iter().for_each(|id| self.expand(of(id), value, depth + 1, rules));
        for list in [&union.any_of, &union.one_of] {
            let fitting: Vec<&NodeId> =
                list.iter().filter(|id| self.checker.accepts(**id, value, depth + 1)).collect();
            let chosen = if fitting.is_empty() { list.iter().collect() } else { fitting };
            chosen.into_iter().for_each(|id| self.expand(of(id), value, depth + 1, rules));
        }
    }

    fn note(&mut self, name: &str, schemas: &[Schema<'a>], given: &serde_json::Map<String, Value>) {
        if self.unknown.len() >= PROBLEMS_MAX || self.checker.is_exhausted {
            return;
        }
        let known = schemas.iter().flat_map(|schema| schema.fields()).map(|field| field.name);
        let suggestion = nearest_name(name, known.filter(|known| !given.contains_key(*known)));
        self.unknown.push(Finding {
            path: (&*self.path).into(),
            kind: ProblemKind::ExtraForbidden,
            message: "the model has no such field, and ignores it".into(),
            allowed: None,
            suggestion: suggestion.map(Into::into),
        });
    }
}

/// Whether a document says nothing about fields that it does not have.
const fn is_silent(rules: &ObjectRules) -> bool {
    matches!(rules.rest, RestRule::Anything)
}

/// How much of a value a message shows.
const SHOWN_BYTES_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn model() -> ModelSchema {
        let field = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        ModelSchema::from_value(&json!({
            "paths": {"/acme/paint": {"post": {"requestBody": {"content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/PaintInput"}
            }}}}}},
            "components": {"schemas": {
                "PaintInput": {"type": "object", "required": ["prompt"], "properties": {
                    "prompt": {"type": "string", "maxLength": 20},
                    "num_images": {"type": "integer", "minimum": 1, "maximum": 4},
                    "output_format": {"enum": ["jpeg", "png"], "type": "string"},
                    "image_size": {"anyOf": [
                        {"$ref": "#/components/schemas/ImageSize"},
                        {"enum": ["square_hd", "square"], "type": "string"}
                    ]},
                    "loras": {"type": "array", "maxItems": 2, "items": {"$ref": "#/components/schemas/Lora"}},
                    "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    "style": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
                    "free": {"type": "object"},
                    "stated": {"type": "object", "properties": {"a": {}}, "additionalProperties": true},
                    "closed": {"type": "object", "properties": {"width": {}}, "additionalProperties": false}
                }},
                "ImageSize": {"type": "object", "properties": {
                    "width": field(r#"{"type":"integer","exclusiveMinimum":0,"maximum":14142}"#), "height": {"type": "integer"}
                }},
                "Lora": {"type": "object", "required": ["path"], "properties": {
                    "path": {"type": "string"}, "scale": {"type": "number", "minimum": 0, "maximum": 4}
                }}
            }}
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(input: &Value, mode: Mode, expected: &str) {
        let (model, expected) = (model(), expected.trim());
        let review = model.review(input, mode);
        let lines: Vec<&str> = expected.lines().map(str::trim).collect();
        assert_eq!(review.to_string(), lines.join("\n"), "{input}");
        if mode != Mode::Strict {
            assert_eq!(review.is_valid(), model.is_valid(input, mode));
        }
    }

    #[test]
    fn a_finding_says_what_is_allowed_and_what_was_meant() {
        let input = json!({"promt": "x", "num_images": 9, "output_format": "jpg"});
        let expected = r#"
            prompt: is required; allowed: string, up to 20 characters; did you mean it by `promt`?
            num_images: 9 is not allowed; allowed: 1 to 4
            output_format: "jpg" is not allowed; allowed: jpeg, png; did you mean `"jpeg"`?"#;
        check(&input, Mode::AsFal, expected);
        check(&json!({}), Mode::AsFal, "prompt: is required; allowed: string, up to 20 characters");
        let input = json!({"prompt": "a text that is too long", "num_images": "x", "seed": 1.5});
        let expected = r#"
            prompt: has 23 characters; allowed: up to 20 characters
            num_images: must be integer, and is "x"; allowed: 1 to 4
            seed: must be integer, and is 1.5"#;
        check(&input, Mode::AsFal, expected);
        check(&json!([]), Mode::AsFal, "the input: must be PaintInput, and is a list of 0");
    }

    #[test]
    fn unknown_fields_are_warnings_unless_strict() {
        let input = json!({"prompt": "x", "numImages": 2, "loras": [{"path": "p", "weight": 1, "scal": 2}], "zzz": 1});
        let lines = r#"
            loras[0].scal: the model has no such field, and ignores it; did you mean `scale`?
            loras[0].weight: the model has no such field, and ignores it
            numImages: the model has no such field, and ignores it; did you mean `num_images`?
            zzz: the model has no such field, and ignores it"#;
        let warnings = lines.replace("            ", "warning: ");
        check(&input, Mode::AsFal, &warnings);
        check(&input, Mode::Lenient, &warnings);
        check(&input, Mode::Strict, lines);
        let open = json!({"prompt": "x", "free": {"q": 1}, "stated": {"a": 1, "q": 2}});
        check(&open, Mode::Strict, "");
        let closed = json!({"prompt": "x", "closed": {"widht": 1}});
        let line = "closed.widht: the model takes no such field; did you mean `width`?";
        check(&closed, Mode::AsFal, line);
        check(&closed, Mode::Lenient, &format!("warning: {line}"));
    }

    #[test]
    fn of_a_union_the_alternative_that_was_meant_is_told() {
        for (size, line) in [
            (
                json!("squar"),
                r#"image_size: "squar" is not allowed; allowed: square_hd, square; or ImageSize; did you mean `"square"`?"#,
            ),
            (
                json!({"width": 0}),
                "image_size.width: 0 is not allowed; allowed: 14142 or less; above 0; or square_hd, square",
            ),
            (json!(7), "image_size: 7 is not allowed; allowed: square_hd, square; or ImageSize"),
            (
                json!({"width": 1, "heigth": 1}),
                "warning: image_size.heigth: the model has no such field, and ignores it; did you mean `height`?",
            ),
        ] {
            check(&json!({"prompt": "x", "image_size": size}), Mode::AsFal, line);
        }
        check(
            &json!({"prompt": "x", "style": ["a", 1]}),
            Mode::AsFal,
            "style[1]: must be string, and is 1",
        );
        let three = json!({"prompt": "x", "loras": [{"path": 1}, {}, {"path": "c"}]});
        check(&three, Mode::AsFal, "loras: has 3 elements; allowed: up to 2 elements");
        let two = json!({"prompt": "x", "loras": [{"path": 1}, {"pth": ""}]});
        let lines = "loras[0].path: must be string, and is 1\nloras[1].path: is required; allowed: string; did you mean it by `pth`?";
        check(&two, Mode::AsFal, lines);
    }

    #[test]
    fn values_are_cut() {
        let review =
            model().review(&json!({"prompt": "x", "num_images": "ä".repeat(500)}), Mode::AsFal);
        assert!(review.to_string().len() < 200, "{review}");
    }

    #[test]
    fn findings_have_a_limit() {
        let many: serde_json::Map<String, Value> =
            (0..PROBLEMS_MAX + 1).map(|at| (format!("zz{at}"), Value::Null)).collect();
        for mode in [Mode::AsFal, Mode::Strict] {
            let review = model().review(&many.clone().into(), mode);
            let count = review.problems.len().max(review.warnings.len());
            assert_eq!(count, PROBLEMS_MAX);
        }
    }

    fn any_input() -> impl Strategy<Value = Value> {
        let name = || {
            prop::sample::select(vec![
                "prompt",
                "promt",
                "num_images",
                "image_size",
                "loras",
                "path",
                "scale",
                "style",
                "width",
                "closed",
                "free",
                "seed",
                "output_format",
                "x",
            ])
        };
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2..20_i64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,25}".prop_map(Value::from),
            name().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name().prop_map(str::to_owned), inner, 0..6).prop_map(
                    |fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_review_agrees_with_validation(input in any_input()) {
            let model = model();
            for mode in [Mode::AsFal, Mode::Lenient] {
                let review = model.review(&input, mode);
                prop_assert_eq!(review.is_valid(), model.is_valid(&input, mode), "{}", review);
            }
            if !model.is_valid(&input, Mode::Strict) {
                prop_assert!(!model.review(&input, Mode::Strict).is_valid());
            }
            for line in model.review(&input, Mode::AsFal).to_string().lines() {
                prop_assert!(line.contains(": "), "{}", line);
            }
        }
    }
}
