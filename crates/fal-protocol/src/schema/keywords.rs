//! The keywords of a schema: which there are, and what they hold until all are read.

use serde_json::{Map, Value};

use super::model::{Notes, SizeBounds, Types};
use super::number::Num;
use super::rules::{ArrayRules, NumberRules, StringRules, Union};

/// The keywords of one schema, until all are read.
#[derive(Default)]
pub(super) struct Keywords<'a> {
    pub(super) reference: Option<&'a str>,
    pub(super) number: NumberRules,
    pub(super) string: StringRules,
    pub(super) array: ArrayRules,
    pub(super) union: Union,
    pub(super) object: ObjectKeywords<'a>,
    pub(super) notes: Notes,
    /// `ge` and `le`.
    pub(super) limits: Option<Box<NumberRules>>,
    pub(super) has_number: bool,
    pub(super) has_string: bool,
    pub(super) has_array: bool,
    pub(super) has_union: bool,
    pub(super) has_notes: bool,
}

#[derive(Default)]
pub(super) struct ObjectKeywords<'a> {
    pub(super) properties: Option<&'a Map<String, Value>>,
    pub(super) required: Vec<&'a str>,
    pub(super) order: Option<Vec<&'a str>>,
    pub(super) rest: Option<&'a Value>,
}

impl Keywords<'_> {
    pub(super) fn bound(&mut self, keyword: &str, value: &Value) -> Option<()> {
        let Value::Number(number) = value else { return None };
        let num = Num::of(number);
        let rules = &mut self.number;
        let bound = match keyword {
            "minimum" => &mut rules.minimum,
            "maximum" => &mut rules.maximum,
            "exclusiveMinimum" => &mut rules.above,
            "exclusiveMaximum" => &mut rules.below,
            _ if num.as_f64() <= 0.0 => return None,
            _ => &mut rules.multiple_of,
        };
        *bound = Some(num);
        self.has_number = true;
        Some(())
    }

    pub(super) fn limit(&mut self, keyword: &str, value: &Value) -> Option<()> {
        let Value::Number(number) = value else { return None };
        let limits = self.limits.get_or_insert_default();
        let bound = if keyword == "ge" { &mut limits.minimum } else { &mut limits.maximum };
        *bound = Some(Num::of(number));
        Some(())
    }

    pub(super) fn string_size(
        &mut self,
        of: impl Fn(&mut SizeBounds) -> &mut u64,
        size: Option<u64>,
    ) -> Option<()> {
        *of(&mut self.string.size) = size?;
        self.has_string = true;
        Some(())
    }

    pub(super) fn array_size(
        &mut self,
        of: impl Fn(&mut SizeBounds) -> &mut u64,
        size: Option<u64>,
    ) -> Option<()> {
        *of(&mut self.array.size) = size?;
        self.has_array = true;
        Some(())
    }
}

pub(super) fn types_of(value: &Value) -> Option<Types> {
    match value {
        Value::String(name) => type_of(name),
        Value::Array(names) => names
            .iter()
            .try_fold(Types::NONE, |types, name| Some(types.or(type_of(name.as_str()?)?))),
        _ => None,
    }
}

fn type_of(name: &str) -> Option<Types> {
    Some(match name {
        "null" => Types::NULL,
        "boolean" => Types::BOOLEAN,
        "integer" => Types::INTEGER,
        "number" => Types::NUMBER,
        "string" => Types::STRING,
        "array" => Types::ARRAY,
        "object" => Types::OBJECT,
        _ => return None,
    })
}

/// A size is an integer, also when written `1.0`.
pub(super) fn size_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|f| f.fract() == 0.0 && (0.0..1e15).contains(f))?;
        Some(float as u64)
    })
}

/// `{"0": …, "1": …}`: a list that went through a language in which lists are objects.
pub(super) fn tuple_in_object(value: &Value) -> Option<Vec<&Value>> {
    let object = value.as_object().filter(|object| !object.is_empty())?;
    (0..object.len()).map(|index| object.get(index.to_string().as_str())).collect()
}

pub(super) fn static_name(keyword: &str) -> &'static str {
    KNOWN.iter().find(|name| **name == keyword).copied().unwrap_or("keyword")
}

const KNOWN: [&str; 30] = [
    "type",
    "nullable",
    "$ref",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "prefixItems",
    "anyOf",
    "oneOf",
    "allOf",
    "properties",
    "required",
    "x-fal-order-properties",
    "title",
    "description",
    "format",
    "default",
    "examples",
    "deprecated",
    "ge",
    "le",
];

/// Keywords of JSON Schema 2020-12 that no document uses, and that would restrict the value.
pub(super) const UNCHECKED: [&str; 18] = [
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "contentEncoding",
    "contentMediaType",
];

/// What authors wrote in the belief that it was a keyword.
pub(super) const STRAY: [&str; 4] = ["min", "max", "step", "example"];
