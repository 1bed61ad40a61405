//! Problems in the service's own shape.

use std::fmt::{self, Write};

use serde_json::{Map, Value, json};

use super::model::{Rest, Schema, Types};
use super::path::{Step, render};
use super::read::{file_address, twin_count};
use crate::error::{ErrorType, FieldError, Loc};

/// One thing that is wrong with an input.
///
/// Borrows from the model and the input, and is rendered only when asked: finding out costs little.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    pub(super) steps: Vec<Step<'a>>,
    pub(super) kind: ProblemKind,
    /// The schema that the value does not fit; for a missing field that of the field.
    pub(super) schema: Schema<'a>,
    pub(super) input: &'a Value,
}

impl<'a> Problem<'a> {
    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// Where: `body`, then field names, indexes, and the tags of union alternatives. The wire's `loc`.
    #[must_use]
    pub fn loc(&self) -> Vec<Loc> {
        render(&self.steps)
    }

    /// The stable name. The wire's `type`.
    #[must_use]
    pub const fn error_type(&self) -> &'static str {
        self.kind.error_type()
    }

    /// The value that does not fit; for a missing field the object that lacks it.
    #[must_use]
    pub const fn input(&self) -> &'a Value {
        self.input
    }

    /// The schema that the value does not fit.
    #[must_use]
    pub const fn schema(&self) -> Schema<'a> {
        self.schema
    }

    /// For people, in pydantic's words. The wire's `msg`.
    #[must_use]
    pub fn message(&self) -> String {
        let limit = || self.limit().map(|limit| plain(&limit)).unwrap_or_default();
        match self.kind {
            ProblemKind::Missing | ProblemKind::MissingInFile => "Field required".into(),
            ProblemKind::NotAUrl => format!("Value error, {}", self.reason()),
            ProblemKind::StringType => "Input should be a valid string".into(),
            ProblemKind::IntType => "Input should be a valid integer".into(),
            ProblemKind::IntParsing => {
                "Input should be a valid integer, unable to parse string as an integer".into()
            }
            ProblemKind::IntParsingSize => {
                "Unable to parse input string as an integer, exceeded maximum size".into()
            }
            ProblemKind::IntFromFloat => {
                "Input should be a valid integer, got a number with a fractional part".into()
            }
            ProblemKind::FloatType => "Input should be a valid number".into(),
            ProblemKind::FloatParsing => {
                "Input should be a valid number, unable to parse string as a number".into()
            }
            ProblemKind::BoolType => "Input should be a valid boolean".into(),
            ProblemKind::BoolParsing => {
                "Input should be a valid boolean, unable to interpret input".into()
            }
            ProblemKind::ListType => "Input should be a valid list".into(),
            ProblemKind::TupleType => "Input should be a valid tuple".into(),
            ProblemKind::SetType => "Input should be a valid set".into(),
            ProblemKind::NotHashable => "Set items should be hashable".into(),
            ProblemKind::DictType => "Input should be a valid dictionary".into(),
            ProblemKind::ModelType => {
                "Input should be a valid dictionary or object to extract fields from".into()
            }
            ProblemKind::NullType => "Input should be None".into(),
            ProblemKind::Literal | ProblemKind::Enum => {
                format!("Input should be {}", expected(self.schema))
            }
            ProblemKind::GreaterThan => format!("Input should be greater than {}", limit()),
            ProblemKind::GreaterThanEqual => {
                format!("Input should be greater than or equal to {}", limit())
            }
            ProblemKind::LessThan => format!("Input should be less than {}", limit()),
            ProblemKind::LessThanEqual => {
                format!("Input should be less than or equal to {}", limit())
            }
            ProblemKind::MultipleOf => format!("Input should be a multiple of {}", limit()),
            ProblemKind::UrlType => "URL input should be a string or URL".into(),
            ProblemKind::UrlParsing => format!("Input should be a valid URL, {}", self.reason()),
            ProblemKind::UrlScheme => format!("URL scheme should be {URL_SCHEMES}"),
            ProblemKind::UuidType => "UUID input should be a string, bytes or UUID object".into(),
            ProblemKind::UuidParsing => format!("Input should be a valid UUID, {}", self.reason()),
            ProblemKind::UuidVersion => "UUID version 4 expected".into(),
            ProblemKind::UrlTooLong => {
                let max = self.schema.length().max.unwrap_or_default();
                format!("URL should have at most {max} {}", plural(max, "character"))
            }
            ProblemKind::StringTooShort => {
                let min = self.schema.length().min;
                format!("String should have at least {min} {}", plural(min, "character"))
            }
            ProblemKind::StringTooLong => {
                let max = self.schema.length().max.unwrap_or_default();
                format!("String should have at most {max} {}", plural(max, "character"))
            }
            ProblemKind::StringPatternMismatch => {
                format!("String should match pattern '{}'", self.schema.pattern().unwrap_or(""))
            }
            ProblemKind::TooShort => {
                let min = self.schema.items_count().min;
                let (list, noun, count) = (self.list(), plural(min, "item"), self.items());
                format!("{list} should have at least {min} {noun} after validation, not {count}")
            }
            ProblemKind::TooLong => {
                let max = self.schema.items_count().max.unwrap_or_default();
                let (list, noun) = (self.list(), plural(max, "item"));
                let count = match list {
                    // It stops counting there.
                    "Set" => "more".to_owned(),
                    _ => self.items().to_string(),
                };
                format!("{list} should have at most {max} {noun} after validation, not {count}")
            }
            ProblemKind::ExtraForbidden => "Extra inputs are not permitted".into(),
            ProblemKind::NotUnique => "Value error, the items must differ from each other".into(),
            ProblemKind::Ambiguous => "Value error, more than one alternative fits".into(),
            ProblemKind::Nothing => "Value error, no value is allowed here".into(),
            ProblemKind::TooComplex => "The input is too deep or too large to validate".into(),
        }
    }

    /// Limits and the like, as the type defines. The wire's `ctx`.
    #[must_use]
    pub fn context(&self) -> Option<Value> {
        let limit = || self.limit().unwrap_or_default();
        Some(match self.kind {
            ProblemKind::Literal | ProblemKind::Enum => json!({"expected": expected(self.schema)}),
            ProblemKind::GreaterThan => json!({"gt": limit()}),
            ProblemKind::GreaterThanEqual => json!({"ge": limit()}),
            ProblemKind::LessThan => json!({"lt": limit()}),
            ProblemKind::LessThanEqual => json!({"le": limit()}),
            ProblemKind::MultipleOf => json!({"multiple_of": limit()}),
            ProblemKind::StringTooShort => json!({"min_length": self.schema.length().min}),
            ProblemKind::StringTooLong | ProblemKind::UrlTooLong => {
                json!({"max_length": self.schema.length().max})
            }
            ProblemKind::NotAUrl | ProblemKind::UrlParsing | ProblemKind::UuidParsing => {
                json!({"error": self.reason()})
            }
            ProblemKind::UrlScheme => json!({"expected_schemes": URL_SCHEMES}),
            ProblemKind::UuidVersion => json!({"expected_version": 4}),
            ProblemKind::StringPatternMismatch => json!({"pattern": self.schema.pattern()}),
            ProblemKind::TooShort => json!({
                "field_type": self.list(),
                "min_length": self.schema.items_count().min,
                "actual_length": self.items(),
            }),
            ProblemKind::TooLong => json!({
                "field_type": self.list(),
                "max_length": self.schema.items_count().max,
                "actual_length": (self.list() != "Set").then(|| self.items()),
            }),
            _ => return None,
        })
    }

    /// One element of the service's `detail` list, with at most [`ECHO_BYTES_MAX`] of the input.
    ///
    /// Source: docs.fal.ai, errors page, for the members (documented); names, words and contexts of
    /// schema problems are pydantic 2's, which the service's apps validate with (official SDK source).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let loc: Vec<Value> = self
            .loc()
            .into_iter()
            .map(|step| match step {
                Loc::Name(name) => Value::from(&*name),
                Loc::Index(index) => index.into(),
            })
            .collect();
        let mut item = Map::new();
        item.insert("loc".into(), loc.into());
        item.insert("msg".into(), self.message().into());
        item.insert("type".into(), self.error_type().into());
        let url = format!("https://docs.fal.ai/errors#{}", self.error_type());
        item.insert("url".into(), url.into());
        if let Some(context) = self.context() {
            item.insert("ctx".into(), context);
        }
        let input = echo(self.input, &mut { ECHO_BYTES_MAX });
        let input = match self.kind {
            ProblemKind::MissingInFile => json!({"url": with_small_scheme(input)}),
            _ => input,
        };
        item.insert("input".into(), input);
        Value::Object(item)
    }

    /// The bound that the value breaks: a float where the field is one and an integer where it is that, as
    /// pydantic holds it, and for a whole union as it is written.
    fn limit(&self) -> Option<Value> {
        let limits = self.schema.limits();
        let bounds = limits.unwrap_or_else(|| self.schema.bounds());
        let limit = match self.kind {
            ProblemKind::GreaterThan => bounds.above,
            ProblemKind::GreaterThanEqual => bounds.minimum,
            ProblemKind::LessThan => bounds.below,
            ProblemKind::LessThanEqual => bounds.maximum,
            _ => bounds.multiple_of,
        }?;
        let types = self.schema.types();
        match limit.as_f64() {
            Some(float) if types.has(Types::NUMBER) && types != Types::ANY => Some(float.into()),
            // The lowest one of 64 bits is often rounded a little below that.
            Some(float) if types == Types::INTEGER && limit.is_f64() => Some((float as i64).into()),
            _ => Some(limit),
        }
    }

    /// How many elements pydantic counts.
    fn items(&self) -> usize {
        let items = self.input.as_array().map_or(&[][..], Vec::as_slice);
        match &self.schema.node().array {
            Some(rules) if rules.is_unique => {
                items.len() - twin_count(self.schema.model, rules, items)
            }
            _ => items.len(),
        }
    }

    /// Why a text is not of its format, or no address of a file.
    fn reason(&self) -> String {
        let text = self.input.as_str().unwrap_or_default();
        match self.schema.node().string.as_ref().and_then(|rules| rules.format) {
            Some(format) => format.reason(text),
            None => file_address(text).err().unwrap_or_default().to_owned(),
        }
    }

    /// What pydantic calls this kind of list.
    fn list(&self) -> &'static str {
        match &self.schema.node().array {
            Some(rules) if !rules.tuple.is_empty() => "Tuple",
            Some(rules) if rules.is_unique => "Set",
            _ => "List",
        }
    }
}

/// As the service would have told it.
impl From<&Problem<'_>> for FieldError {
    fn from(problem: &Problem<'_>) -> Self {
        Self {
            loc: problem.loc(),
            message: problem.message().into(),
            error_type: ErrorType::new(problem.error_type()),
            context: problem.context(),
        }
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.loc().iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match step {
                Loc::Name(name) => write!(f, "{dot}{name}")?,
                Loc::Index(index) => write!(f, "{dot}{index}")?,
            }
        }
        write!(f, ": {}", self.message())
    }
}

/// What can be wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A required field, or a place of a tuple, is not there.
    Missing,
    /// A required field is not there, because a bare URL was given for a file.
    MissingInFile,
    /// A text is given for a file, and is no URL.
    NotAUrl,
    /// A text is wanted.
    StringType,
    /// An integer is wanted.
    IntType,
    /// An integer is wanted, and this text is none.
    IntParsing,
    /// An integer is wanted, and this is larger than the service looks at.
    IntParsingSize,
    /// An integer is wanted, and this number has a fraction.
    IntFromFloat,
    /// A number is wanted.
    FloatType,
    /// A number is wanted, and this text is none.
    FloatParsing,
    /// A truth value is wanted.
    BoolType,
    /// A truth value is wanted, and this stands for none.
    BoolParsing,
    /// A list is wanted.
    ListType,
    /// A list of unlike elements, each in its place, is wanted.
    TupleType,
    /// A list without equal elements is wanted.
    SetType,
    /// A map is wanted.
    DictType,
    /// An object with certain fields is wanted.
    ModelType,
    /// Null is wanted.
    NullType,
    /// Not one of the values listed in place.
    Literal,
    /// Not one of the values of a component.
    Enum,
    /// Not above `exclusiveMinimum`.
    GreaterThan,
    /// Below `minimum`.
    GreaterThanEqual,
    /// Not below `exclusiveMaximum`.
    LessThan,
    /// Above `maximum`.
    LessThanEqual,
    /// Not a multiple of `multipleOf`.
    MultipleOf,
    /// An address of the web is wanted.
    UrlType,
    /// An address of the web is wanted, and this text is none.
    UrlParsing,
    /// An address of the web is wanted, and this is one of something else.
    UrlScheme,
    /// An address longer than the service reads.
    UrlTooLong,
    /// A UUID is wanted.
    UuidType,
    /// A UUID is wanted, and this text is none.
    UuidParsing,
    /// A random UUID is wanted, and this is one of another version.
    UuidVersion,
    /// Shorter than `minLength`.
    StringTooShort,
    /// Longer than `maxLength`.
    StringTooLong,
    /// Does not match `pattern`.
    StringPatternMismatch,
    /// Fewer elements than `minItems`.
    TooShort,
    /// More elements than `maxItems`.
    TooLong,
    /// An element of a set that cannot be one: a list or a map.
    NotHashable,
    /// A field that must not be there.
    ExtraForbidden,
    /// Elements are equal; only in [`Mode::Strict`](super::Mode::Strict).
    NotUnique,
    /// More than one alternative of a `oneOf` fits; only in [`Mode::Strict`](super::Mode::Strict).
    Ambiguous,
    /// The schema is `false`: nothing fits.
    Nothing,
    /// The limits of validation were reached before an answer was.
    TooComplex,
}

impl ProblemKind {
    /// The stable name on the wire.
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        match self {
            Self::Missing | Self::MissingInFile => "missing",
            Self::StringType => "string_type",
            Self::IntType => "int_type",
            Self::IntParsing => "int_parsing",
            Self::IntParsingSize => "int_parsing_size",
            Self::IntFromFloat => "int_from_float",
            Self::FloatType => "float_type",
            Self::FloatParsing => "float_parsing",
            Self::BoolType => "bool_type",
            Self::BoolParsing => "bool_parsing",
            Self::ListType => "list_type",
            Self::TupleType => "tuple_type",
            Self::SetType => "set_type",
            Self::NotHashable => "set_item_not_hashable",
            Self::DictType => "dict_type",
            Self::ModelType => "model_attributes_type",
            Self::NullType => "none_required",
            Self::Literal => "literal_error",
            Self::Enum => "enum",
            Self::GreaterThan => "greater_than",
            Self::GreaterThanEqual => "greater_than_equal",
            Self::LessThan => "less_than",
            Self::LessThanEqual => "less_than_equal",
            Self::MultipleOf => "multiple_of",
            Self::UrlType => "url_type",
            Self::UrlParsing => "url_parsing",
            Self::UrlScheme => "url_scheme",
            Self::UrlTooLong => "url_too_long",
            Self::UuidType => "uuid_type",
            Self::UuidParsing => "uuid_parsing",
            Self::UuidVersion => "uuid_version",
            Self::StringTooShort => "string_too_short",
            Self::StringTooLong => "string_too_long",
            Self::StringPatternMismatch => "string_pattern_mismatch",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::ExtraForbidden => "extra_forbidden",
            Self::NotAUrl | Self::NotUnique | Self::Ambiguous | Self::Nothing => "value_error",
            Self::TooComplex => "recursion_loop",
        }
    }

    /// Whether a newer version of the model may well accept this: lists grow, limits move.
    #[must_use]
    pub const fn is_soft(self) -> bool {
        matches!(
            self,
            Self::Literal
                | Self::Enum
                | Self::GreaterThan
                | Self::GreaterThanEqual
                | Self::LessThan
                | Self::LessThanEqual
                | Self::MultipleOf
                | Self::StringTooShort
                | Self::StringTooLong
                | Self::UrlTooLong
                | Self::StringPatternMismatch
                | Self::TooShort
                | Self::TooLong
                | Self::ExtraForbidden
                | Self::NotUnique
        )
    }
}

/// How pydantic names an alternative in `loc`: the class of a model, or the kind of a plain value.
///
/// Source: pydantic 2.14.4, compared with this in tests.
pub(super) fn branch_tag(schema: Schema<'_>) -> String {
    let mut tag = String::new();
    write_tag(schema, TAG_DEPTH_MAX, &mut tag);
    cut(&mut tag, TAG_BYTES_MAX);
    tag
}

fn write_tag(schema: Schema<'_>, depth: usize, tag: &mut String) {
    let schema = schema.resolved();
    if depth == 0 || tag.len() > TAG_BYTES_MAX {
        return tag.push_str("any");
    }
    let list = |tag: &mut String, name: &str, items: &mut dyn Iterator<Item = Schema<'_>>| {
        tag.push_str(name);
        for (at, item) in items.enumerate() {
            tag.push_str(match name {
                _ if at == 0 => "[",
                "tuple" => ", ",
                _ => ",",
            });
            write_tag(item, depth - 1, tag);
        }
        tag.push(']');
    };
    let types = schema.types();
    if let Some(choices) = schema.choices() {
        if let Some(component) = schema.component() {
            return write!(tag, "enum[{}]", schema.title().unwrap_or(component))
                .expect("a String takes everything");
        }
        tag.push_str("literal[");
        for (at, choice) in choices.iter().enumerate() {
            tag.push_str(if at == 0 { "" } else { "," });
            write_repr(choice, tag);
        }
        return tag.push(']');
    }
    let mut others = schema.alternatives().filter(|schema| !schema.node().is_null());
    match (others.next(), others.next()) {
        (Some(only), None) if schema.alternatives().len() > 1 => {
            return list(tag, "nullable", &mut std::iter::once(only));
        }
        (Some(only), None) => return write_tag(only, depth - 1, tag),
        (Some(_), Some(_)) => return list(tag, "union", &mut schema.alternatives()),
        (None, _) => {}
    }
    if types == Types::OBJECT {
        match (schema.title().or_else(|| schema.component()), schema.rest()) {
            (Some(name), _) if schema.fields().len() > 0 => tag.push_str(name),
            (_, Rest::Each(value)) => {
                tag.push_str("dict[str,");
                write_tag(value, depth - 1, tag);
                tag.push(']');
            }
            _ => tag.push_str("dict[str,any]"),
        }
    } else if types == Types::ARRAY {
        if schema.tuple().len() > 0 {
            return list(tag, "tuple", &mut schema.tuple());
        }
        let name = match &schema.node().array {
            Some(rules) if rules.is_unique => "set",
            _ => "list",
        };
        match schema.items() {
            Some(items) => list(tag, name, &mut std::iter::once(items)),
            None => write!(tag, "{name}[any]").expect("a String takes everything"),
        }
    } else {
        let node = schema.node();
        let is_constrained = node.number.is_some() || node.string.is_some();
        let name = match types {
            Types::STRING => "str",
            Types::INTEGER => "int",
            Types::NUMBER => "float",
            Types::BOOLEAN => "bool",
            Types::NULL => "none",
            _ => return tag.push_str("any"),
        };
        tag.push_str(if is_constrained { "constrained-" } else { "" });
        tag.push_str(name);
    }
}

/// `'a', 'b' or 'c'`.
fn expected(schema: Schema<'_>) -> String {
    let choices = schema.choices().unwrap_or_default();
    let mut text = String::new();
    for (at, choice) in choices.iter().enumerate() {
        text.push_str(match at {
            0 => "",
            _ if at + 1 == choices.len() => " or ",
            _ => ", ",
        });
        write_repr(choice, &mut text);
    }
    text
}

/// As Python writes the value.
fn write_repr(value: &Value, text: &mut String) {
    match value {
        Value::String(inner) => {
            let quote = if inner.contains('\'') && !inner.contains('"') { '"' } else { '\'' };
            text.push(quote);
            for c in inner.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '\n' => text.push_str("\\n"),
                    '\r' => text.push_str("\\r"),
                    '\t' => text.push_str("\\t"),
                    c if c == quote => text.extend(['\\', c]),
                    c if is_printable(c) => text.push(c),
                    c => write_escape(c, text),
                }
            }
            text.push(quote);
        }
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Null => text.push_str("None"),
        other => write!(text, "{other}").expect("a String takes everything"),
    }
}

/// As Python's `isprintable`. Rust's table is the same one; behind another character it leaves accents alone.
fn is_printable(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or("a");
    !text
        .escape_debug()
        .nth(1)
        .is_some_and(|first| first == '\\' && c != '\\' && c != '"' && c != '\'')
}

fn write_escape(c: char, text: &mut String) {
    let code = u32::from(c);
    match code {
        0..0x100 => write!(text, "\\x{code:02x}"),
        0x100..0x1_0000 => write!(text, "\\u{code:04x}"),
        _ => write!(text, "\\U{code:08x}"),
    }
    .expect("a String takes everything");
}

fn plain(limit: &Value) -> String {
    match limit.as_f64() {
        Some(float) if limit.is_f64() => float.to_string(),
        _ => limit.to_string(),
    }
}

fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// An address as Python writes it after reading it.
fn with_small_scheme(address: Value) -> Value {
    match address.as_str().and_then(|text| text.split_once(':')) {
        Some((scheme, rest)) => format!("{}:{rest}", scheme.to_ascii_lowercase()).into(),
        None => address,
    }
}

/// A copy of the input within the budget: what does not fit is cut off at the end.
fn echo(value: &Value, budget: &mut usize) -> Value {
    *budget = budget.saturating_sub(ECHO_VALUE_BYTES);
    match value {
        Value::String(text) => {
            let end = start_of_char(text, *budget);
            let text = text[..end].to_owned() + if end < text.len() { "…" } else { "" };
            *budget = budget.saturating_sub(text.len());
            text.into()
        }
        Value::Array(items) => {
            let mut echoed = Vec::new();
            for item in items {
                if *budget == 0 {
                    break;
                }
                echoed.push(echo(item, budget));
            }
            echoed.into()
        }
        Value::Object(fields) => {
            let mut echoed = Map::new();
            for (name, field) in fields {
                if *budget <= name.len() {
                    break;
                }
                *budget -= name.len();
                echoed.insert(name.clone(), echo(field, budget));
            }
            echoed.into()
        }
        other => other.clone(),
    }
}

/// Cuts at a character and says so.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(start_of_char(text, bytes_max));
        text.push('…');
    }
}

/// The last place at or before `at` where a character begins.
pub(super) fn start_of_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// How much of the offending value an error shows: 4 KiB.
pub const ECHO_BYTES_MAX: usize = 4 << 10;

/// What each value of an echo counts beside its text.
const ECHO_VALUE_BYTES: usize = 8;

const URL_SCHEMES: &str = "'http' or 'https'";

const TAG_DEPTH_MAX: usize = 6;
const TAG_BYTES_MAX: usize = 16 << 10;
