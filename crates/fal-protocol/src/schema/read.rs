//! One value beside one schema: what it is read as, and which rule it breaks.

use serde_json::{Map, Value};

use super::format::Format;
use super::model::{ModelSchema, Node, Types};
use super::number::{
    NotBool, NotInt, Num, bool_of_num, bool_of_text, float_of_text, int_of_text, order,
};
use super::problem::ProblemKind;
use super::rules::{ArrayRules, NumberRules, StringRules, Union};
use super::validate::Mode;

/// A value as its schema sees it.
pub(super) enum Reading<'v> {
    Plain,
    Number(Num),
    Text(&'v str),
    List(&'v [Value]),
    Fields(&'v Map<String, Value>),
    /// A bare URL in place of a file.
    FileUrl,
}

/// Reads the value as one of the node's types, with coercion if lax.
pub(super) fn read<'v>(
    node: &Node,
    value: &'v Value,
    is_lax: bool,
) -> Result<Reading<'v>, ProblemKind> {
    let types = node.types;
    match value {
        Value::Null if types.has(Types::NULL) => Ok(Reading::Plain),
        Value::Bool(_) if types.has(Types::BOOLEAN) => Ok(Reading::Plain),
        Value::Number(number) => {
            let num = Num::of(number);
            if types.has(Types::NUMBER) {
                return Ok(Reading::Number(num));
            }
            if types.has(Types::INTEGER) {
                return read_integer(num, is_lax);
            }
            if is_lax && types.has(Types::BOOLEAN) {
                return match bool_of_num(num) {
                    Ok(_) => Ok(Reading::Plain),
                    Err(NotBool::Value) => Err(ProblemKind::BoolParsing),
                    Err(NotBool::Type) => Err(ProblemKind::BoolType),
                };
            }
            Err(wanted(node))
        }
        Value::String(text) if types.has(Types::STRING) => Ok(Reading::Text(text)),
        Value::Array(items) if types.has(Types::ARRAY) => Ok(Reading::List(items)),
        Value::Object(fields) if types.has(Types::OBJECT) => Ok(Reading::Fields(fields)),
        Value::String(text) if is_lax => read_text(node, text),
        Value::Bool(truth) if is_lax && holds_number(types) => {
            Ok(Reading::Number(Num::Int((*truth).into())))
        }
        _ => Err(wanted(node)),
    }
}

/// A float for an integer: pydantic looks whether it fits 64 bits.
fn read_integer<'v>(num: Num, is_lax: bool) -> Result<Reading<'v>, ProblemKind> {
    if !num.is_integral() {
        return Err(ProblemKind::IntFromFloat);
    }
    if !is_lax {
        return Ok(Reading::Number(num));
    }
    num.to_integer().map(Reading::Number).ok_or(ProblemKind::IntParsingSize)
}

/// A text in place of something else, as pydantic reads it.
fn read_text<'v>(node: &Node, text: &'v str) -> Result<Reading<'v>, ProblemKind> {
    let types = node.types;
    if types.has(Types::OBJECT) && node.object.as_ref().is_some_and(|object| object.is_file) {
        return file_address(text).map(|()| Reading::FileUrl).map_err(|_| ProblemKind::NotAUrl);
    }
    if types.has(Types::NUMBER) {
        return float_of_text(text).map(Reading::Number).ok_or(ProblemKind::FloatParsing);
    }
    if types.has(Types::INTEGER) {
        return int_of_text(text).map(Reading::Number).map_err(|not| match not {
            NotInt::Form => ProblemKind::IntParsing,
            NotInt::Size => ProblemKind::IntParsingSize,
        });
    }
    if types.has(Types::BOOLEAN) {
        return match bool_of_text(text) {
            Some(_) => Ok(Reading::Plain),
            None => Err(ProblemKind::BoolParsing),
        };
    }
    Err(wanted(node))
}

/// Whether the service's file type takes a text for the address of a file; else what it says.
///
/// Source: `File` of the serverless SDK, which looks at the scheme (official SDK source); what the scheme is, and
/// that brackets must match, is Python's `urlparse` (documented).
pub(super) fn file_address(text: &str) -> Result<(), &'static str> {
    let text = text.trim_start_matches(|c: char| c <= ' ').replace(['\t', '\r', '\n'], "");
    let (scheme, rest) = text.split_once(':').unwrap_or(("", &text));
    if let Some(rest) = rest.strip_prefix("//") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('[') != host.contains(']') {
            return Err("Invalid IPv6 URL");
        }
    }
    let is_known = FILE_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_known.then_some(()).ok_or("value must be a valid URL")
}

/// The problem of a value of another type; of several types the one listed first speaks.
pub(super) fn wanted(node: &Node) -> ProblemKind {
    let is_model = node.object.as_ref().is_some_and(|object| !object.fields.is_empty());
    let list = match &node.array {
        Some(rules) if !rules.tuple.is_empty() => ProblemKind::TupleType,
        Some(rules) if rules.is_unique => ProblemKind::SetType,
        _ => ProblemKind::ListType,
    };
    let format = node.string.as_ref().and_then(|rules| rules.format);
    let kinds = [
        (Types::OBJECT, if is_model { ProblemKind::ModelType } else { ProblemKind::DictType }),
        (Types::ARRAY, list),
        (Types::STRING, format.map_or(ProblemKind::StringType, Format::wanted)),
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
pub(super) fn number_problem(
    rules: Option<&NumberRules>,
    num: Num,
    mode: Mode,
) -> Option<ProblemKind> {
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

/// The bound of a whole union that a value breaks; first the lower one, as pydantic applies them.
///
/// A list or a map cannot be compared with a number: there an app fails with a 500, which nobody means. It passes.
pub(super) fn limit_problem(
    model: &ModelSchema,
    union: &Union,
    value: &Value,
) -> Option<ProblemKind> {
    let limits = union.limits.as_deref()?;
    let takes_text = |types: Types| types.has(Types::STRING);
    let num = match value {
        Value::Number(number) => Num::of(number),
        Value::Bool(truth) => Num::Int((*truth).into()),
        Value::String(text)
            if !union.any_of.iter().any(|id| takes_text(model.followed(*id).types)) =>
        {
            float_of_text(text)?
        }
        _ => return None,
    };
    let is = |bound: Option<Num>, breaks: std::cmp::Ordering| {
        bound.is_some_and(|bound| num.compare(bound).is_none_or(|order| order == breaks))
    };
    if is(limits.minimum, std::cmp::Ordering::Less) {
        Some(ProblemKind::GreaterThanEqual)
    } else if is(limits.maximum, std::cmp::Ordering::Greater) {
        Some(ProblemKind::LessThanEqual)
    } else {
        None
    }
}

/// Lengths count code points.
pub(super) fn text_problem(
    rules: Option<&StringRules>,
    text: &str,
    mode: Mode,
) -> Option<ProblemKind> {
    let rules = rules?;
    if mode != Mode::Strict
        && let Some(format) = rules.format
    {
        return format.problem(text);
    }
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

pub(super) fn size_problem(rules: &ArrayRules, count: usize) -> Option<ProblemKind> {
    let count = count as u64;
    if rules.size.max.is_some_and(|max| count > max) {
        return Some(ProblemKind::TooLong);
    }
    (count < rules.size.min).then_some(ProblemKind::TooShort)
}

/// How many elements of a set are equal to one before them, as Python compares what pydantic makes of them.
pub(super) fn twin_count(model: &ModelSchema, rules: &ArrayRules, items: &[Value]) -> usize {
    let mut known = Set::default();
    let twins = items.iter().enumerate().filter(|(at, item)| !known.add(model, rules, *at, item));
    twins.count()
}

/// Elements of a set, each once.
#[derive(Default)]
pub(super) struct Set(Vec<Value>);

impl Set {
    /// Whether the element is new.
    pub(super) fn add(
        &mut self,
        model: &ModelSchema,
        rules: &ArrayRules,
        at: usize,
        item: &Value,
    ) -> bool {
        let element = rules.element(at).map_or_else(|| item.clone(), |id| model.coerced(id, item));
        let element = match element {
            // To Python these are 0 and 1.
            Value::Bool(truth) => u8::from(truth).into(),
            other => other,
        };
        match self.0.binary_search_by(|other| order(other, &element)) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, element);
                true
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

const FILE_SCHEMES: [&str; 3] = ["http", "https", "data"];
