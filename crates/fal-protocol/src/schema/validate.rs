//! Whether an input fits, and every reason why it does not.

use serde_json::{Map, Value};

use super::explain::Place;
use super::fit::Checker;
use super::model::{ModelSchema, NodeId, Schema};
use super::path::Trail;
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
    /// values, and truth values for numbers are taken; `multipleOf` has a tolerance of a billionth; unknown fields
    /// are ignored; a file may be given as its bare URL; of equal elements in a set one counts; more than one
    /// alternative may fit. In documents that [lost their nulls](super::Dialect::NullsFolded) null is taken for
    /// fields that are neither required nor have a default.
    ///
    /// Stricter than JSON Schema with integers written as floats beyond 64 bits, lists and maps in sets, the bounds
    /// `ge` and `le` of a whole union, and the formats that stand for pydantic's `HttpUrl` and `UUID4`.
    ///
    /// Source: pydantic 2.14.4 and FastAPI 0.165.0, compared with this in tests; that the service's apps validate
    /// with them, and the SDK's `File` (official SDK source).
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
        let place = Place { value, trail: &trail, depth: 0 };
        let mut checker = Checker::new(self, mode);
        checker.explain(id, place, &mut report);
        if checker.is_exhausted {
            let schema = Schema { model: self, id };
            report.push(place, ProblemKind::TooComplex, schema, mode);
        }
        report
    }
}

/// What validation found.
#[derive(Clone, Debug, Default)]
pub struct Report<'a> {
    pub(super) problems: Vec<Problem<'a>>,
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

    pub(super) fn push(
        &mut self,
        place: Place<'_, 'a>,
        kind: ProblemKind,
        schema: Schema<'a>,
        mode: Mode,
    ) {
        let list = match mode {
            Mode::Lenient if kind.is_soft() => &mut self.warnings,
            _ => &mut self.problems,
        };
        if list.len() < PROBLEMS_MAX {
            list.push(Problem { steps: place.trail.steps(), kind, schema, input: place.value });
        }
    }
}

/// Deepest nesting of schemas met by one value: 128, as deep as the JSON parser goes.
pub const DEPTH_MAX: usize = 128;

/// Most visits of a value by a schema in one validation: a million.
pub const WORK_MAX: u32 = 1_000_000;

/// Most problems reported of one input, and most warnings.
pub const PROBLEMS_MAX: usize = 100;
