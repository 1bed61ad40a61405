//! Schemas in words, for people.

use serde_json::Value;

use super::model::{Schema, SizeBounds, Types};

impl Schema<'_> {
    /// The types of a value in words: `integer`, `string | null`, `list of url`; a component by its name.
    #[must_use]
    pub fn types_in_words(self) -> String {
        let mut words = Vec::new();
        add_types(&mut words, self, 0);
        words.dedup();
        words.join(" | ")
    }

    /// What a value may be beyond its type: choices, ranges, lengths. `jpeg, png`; `1 to 50`; empty if anything
    /// of the type is allowed. Of the choices the first [`CHOICES_IN_WORDS_MAX`].
    #[must_use]
    pub fn limits_in_words(self) -> String {
        let mut parts = Vec::new();
        add_limits(&mut parts, self, 0);
        parts.dedup();
        parts.join("; ")
    }
}

fn add_types(words: &mut Vec<String>, schema: Schema<'_>, depth: usize) {
    let own_format = schema.format();
    let schema = schema.resolved();
    if schema.alternatives().len() > 0 && depth < WORDS_DEPTH_MAX {
        schema.alternatives().for_each(|inner| add_types(words, inner, depth + 1));
        return;
    }
    let types = schema.types();
    if types == Types::ANY {
        return words.push("anything".to_owned());
    }
    let format = own_format.or_else(|| schema.format());
    for (kind, word) in [
        (Types::STRING, if format == Some("uri") { "url" } else { "string" }),
        (Types::INTEGER, "integer"),
        (Types::NUMBER, "number"),
        (Types::BOOLEAN, "boolean"),
        (Types::ARRAY, "list"),
        (Types::OBJECT, "object"),
        (Types::NULL, "null"),
    ] {
        // A number may be an integer too, which need not be said.
        let is_said = kind == Types::INTEGER && types.has(Types::NUMBER);
        if !types.has(kind) || is_said {
            continue;
        }
        words.push(match kind {
            Types::ARRAY => match schema.items().filter(|_| depth < WORDS_DEPTH_MAX) {
                Some(items) => format!("list of {}", types_of_items(items, depth)),
                None => "list".to_owned(),
            },
            Types::OBJECT => schema.component().unwrap_or(word).to_owned(),
            _ => word.to_owned(),
        });
    }
}

fn types_of_items(items: Schema<'_>, depth: usize) -> String {
    let mut words = Vec::new();
    add_types(&mut words, items, depth + 1);
    words.dedup();
    if words.len() > 1 { format!("({})", words.join(" | ")) } else { words.concat() }
}

fn add_limits(parts: &mut Vec<String>, schema: Schema<'_>, depth: usize) {
    let schema = schema.resolved();
    if depth < WORDS_DEPTH_MAX {
        schema.alternatives().for_each(|inner| add_limits(parts, inner, depth + 1));
    }
    parts.extend(own_limits(schema));
}

/// What this schema itself limits, and none of its alternatives.
pub(super) fn own_limits(schema: Schema<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(choices) = schema.choices() {
        parts.push(list_choices(choices));
    }
    let bounds = schema.bounds();
    match (&bounds.minimum, &bounds.maximum) {
        (Some(min), Some(max)) => parts.push(format!("{min} to {max}")),
        (Some(min), None) => parts.push(format!("{min} or more")),
        (None, Some(max)) => parts.push(format!("{max} or less")),
        (None, None) => {}
    }
    if let Some(above) = &bounds.above {
        parts.push(format!("above {above}"));
    }
    if let Some(below) = &bounds.below {
        parts.push(format!("below {below}"));
    }
    if let Some(step) = &bounds.multiple_of {
        parts.push(format!("a multiple of {step}"));
    }
    parts.extend(size(schema.length(), "characters"));
    parts.extend(size(schema.items_count(), "elements"));
    if let Some(pattern) = schema.pattern() {
        parts.push(format!("like {pattern}"));
    }
    parts
}

fn list_choices(choices: &[Value]) -> String {
    let shown: Vec<String> = choices.iter().take(CHOICES_IN_WORDS_MAX).map(plain).collect();
    let more = choices.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

fn size(bounds: SizeBounds, what: &str) -> Option<String> {
    let what = match (bounds.min, bounds.max) {
        (1, None) | (_, Some(1)) => what.trim_end_matches('s'),
        _ => what,
    };
    match (bounds.min, bounds.max) {
        (0, None) => None,
        (0, Some(max)) => Some(format!("up to {max} {what}")),
        (min, None) => Some(format!("{min} {what} or more")),
        (min, Some(max)) if min == max => Some(format!("{min} {what}")),
        (min, Some(max)) => Some(format!("{min} to {max} {what}")),
    }
}

/// A choice as it stands in a list: a text that would be misread there is quoted.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && text.trim() == text && !text.contains(',') => {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// How far unions and lists inside each other are told. Models nest three deep.
const WORDS_DEPTH_MAX: usize = 3;

/// Choices that are listed in words: the longest lists are of voices, and have hundreds.
pub const CHOICES_IN_WORDS_MAX: usize = 24;
