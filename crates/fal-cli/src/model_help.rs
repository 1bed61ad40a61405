//! `run MODEL --help`: the model's inputs as flags.

use console::Term;
use fal_client::Model;
use fal_protocol::schema::{Field, Schema, Types};
use serde_json::Value;

use crate::given::own_names;
use crate::typed::{Kind, flag_of, is_media, placeholder};

/// The help of a command for a model, in lines of at most so many characters.
pub(crate) fn text(model: &Model, command: &str, width: usize) -> String {
    let own = own_names(command);
    let input = model.schema().input().resolved();
    let endpoint = model.endpoint();
    let mut text = endpoint.to_string();
    if let Some(category) = model.schema().category().filter(|category| !category.is_empty()) {
        text.push_str(&format!("  ({category})"));
    }
    let (required, others): (Vec<Field<'_>>, Vec<Field<'_>>) =
        input.fields().partition(|field| field.is_required);
    let given: Vec<String> = required.iter().map(|field| usage(field, &own)).collect();
    let usage = format!("fal-cli {command} {endpoint}{} [INPUTS] [FLAGS]", given.concat());
    text.push_str("\n\n");
    wrap(&format!("Usage: {usage}"), "", "         ", width, &mut text);
    if required.is_empty() && others.is_empty() {
        text.push_str("\n\nIts document names no inputs: give any, as key=value or --key VALUE.");
    }
    for (title, fields) in [("Required inputs", required), ("Inputs", others)] {
        if !fields.is_empty() {
            text.push_str(&format!("\n\n{title}:"));
            fields.iter().for_each(|field| add(field, &own, width, &mut text));
        }
    }
    text.push_str("\n\nOther ways to give inputs:");
    for line in OTHER_WAYS {
        text.push('\n');
        wrap(line, "  ", "                            ", width, &mut text);
    }
    let flags: Vec<String> = own.iter().map(|name| format!("--{name}")).collect();
    text.push_str("\n\n");
    let flags =
        format!("Flags of fal-cli, which fal-cli {command} --help explains: {}", flags.join(" "));
    wrap(&flags, "", "  ", width, &mut text);
    text
}

/// How wide the help may be: as the terminal, up to a width that is good to read.
pub(crate) fn width() -> usize {
    let stated = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || Term::stdout().size_checked().map(|(_, columns)| columns.into());
    stated.or_else(terminal).unwrap_or(WIDTH_MAX).clamp(WIDTH_MIN, WIDTH_MAX)
}

/// A required input in the usage line.
fn usage(field: &Field<'_>, own: &[String]) -> String {
    format!(" {}", head(field, own))
}

/// `--num-images N`; `priority=TEXT` where this program has a flag of that name.
fn head(field: &Field<'_>, own: &[String]) -> String {
    let kind = Kind::of(field.schema);
    let flag = flag_of(field.name);
    let mut value = placeholder(Some(field.schema));
    if is_media(&[field.name.to_owned()], &kind) {
        value = value.replacen("TEXT", "URL|@FILE", 1);
        if !value.contains("@FILE") {
            value = format!("URL|@FILE|{value}");
        }
    }
    if own.contains(&flag) {
        return format!("{}={value}", field.name);
    }
    if kind.is(Types::BOOLEAN) {
        return format!("--[no-]{flag}");
    }
    let more = if kind.items.is_some() { "..." } else { "" };
    format!("--{flag} {value}{more}")
}

fn add(field: &Field<'_>, own: &[String], width: usize, text: &mut String) {
    let schema = field.schema;
    text.push_str(&format!("\n  {}", head(field, own)));
    let mut facts = vec![schema.types_in_words()];
    facts.push(schema.limits_in_words());
    let default = schema.default().filter(|default| !default.is_null());
    facts.extend(default.map(|default| format!("default: {}", shown(default))));
    if schema.is_deprecated() {
        facts.push("deprecated".to_owned());
    }
    facts.retain(|fact| !fact.is_empty());
    let about =
        schema.description().or_else(|| schema.resolved().description()).unwrap_or_default();
    let about: Vec<&str> = about.split_whitespace().collect();
    let about = about.join(" ");
    let cut: String = about.chars().take(ABOUT_CHARS_MAX).collect();
    let mark = if cut.len() < about.len() { "…" } else { "" };
    for line in [format!("{cut}{mark}"), format!("[{}]", facts.join("; ")), parts(field)] {
        if !line.is_empty() {
            text.push('\n');
            wrap(&line, INDENT, INDENT, width, text);
        }
    }
}

/// The fields of an object, which have flags of their own.
fn parts(field: &Field<'_>) -> String {
    let Some(object) = object_of(field.schema, 0) else { return String::new() };
    let flag = flag_of(field.name);
    let parts: Vec<String> = object
        .fields()
        .take(PARTS_MAX)
        .map(|part| format!("--{flag}.{} {}", flag_of(part.name), placeholder(Some(part.schema))))
        .collect();
    format!("or {}", parts.join(", "))
}

fn object_of(schema: Schema<'_>, depth: usize) -> Option<Schema<'_>> {
    let schema = schema.resolved();
    if schema.fields().len() > 0 {
        return Some(schema);
    }
    if depth >= PARTS_DEPTH_MAX {
        return None;
    }
    schema.alternatives().find_map(|inner| object_of(inner, depth + 1))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

/// Adds words in lines; a word that is longer than a line stands alone.
fn wrap(words: &str, first: &str, indent: &str, width: usize, text: &mut String) {
    text.push_str(first);
    let mut column = first.chars().count();
    let mut is_first = true;
    for word in words.split(' ') {
        let length = word.chars().count();
        if !is_first {
            if column + 1 + length > width {
                text.push('\n');
                text.push_str(indent);
                column = indent.chars().count();
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += length;
        is_first = false;
    }
}

const OTHER_WAYS: [&str; 4] = [
    "key=value key:=JSON       as `fal-cli run --help` tells; flags and these can be mixed",
    "key@file, --key @file     a file is uploaded, and its address put here",
    "--input FILE              all of it as JSON; flags and fields are added to it",
    "--no-check                sends it unchecked, with fields that the model does not have too",
];

const INDENT: &str = "        ";
/// How much of the author's words is shown.
const ABOUT_CHARS_MAX: usize = 400;
/// Fields of an object that are shown.
const PARTS_MAX: usize = 12;
const PARTS_DEPTH_MAX: usize = 3;
const WIDTH_MIN: usize = 40;
const WIDTH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model() -> Model {
        let document = json!({
            "info": { "x-fal-metadata": { "endpointId": "acme/paint", "category": "text-to-image" } },
            "paths": { "/acme/paint": { "post": { "requestBody": { "content": { "application/json": { "schema": {
                "type": "object", "required": ["image_url", "prompt"],
                "x-fal-order-properties": ["seed", "prompt", "image_url", "size", "priority", "fast", "words"],
                "properties": {
                    "prompt": { "type": "string", "maxLength": 2000,
                        "description": "What to paint, in words that\n   may be long and go on for more than one line of a terminal." },
                    "seed": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
                    "image_url": { "type": "string" },
                    "size": { "anyOf": [
                        { "type": "object", "properties": { "width": { "type": "integer" } } },
                        { "type": "string", "enum": ["square", "wide"] }
                    ], "default": "square" },
                    "priority": { "type": "string", "enum": ["low"] },
                    "fast": { "type": "boolean", "default": false },
                    "words": { "type": "array", "items": { "type": "string" }, "maxItems": 3, "deprecated": true }
                }
            } } } } } } }
        });
        Model::parse("acme/paint", document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn inputs_are_flags_with_all_that_a_caller_must_know() {
        let text = text(&model(), "run", 60);
        let expected = "\
acme/paint  (text-to-image)

Usage: fal-cli run acme/paint --prompt TEXT --image-url
         URL|@FILE [INPUTS] [FLAGS]

Required inputs:
  --prompt TEXT
        What to paint, in words that may be long and go on
        for more than one line of a terminal.
        [string; up to 2000 characters]
  --image-url URL|@FILE
        [string]

Inputs:
  --seed N
        [integer | null]
  --size CHOICE|JSON
        [object | string; square, wide; default: square]
        or --size.width N
  priority=CHOICE
        [string; low]
  --[no-]fast
        [boolean; default: false]
  --words TEXT...
        [list of string; up to 3 elements; deprecated]

Other ways to give inputs:";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("--deadline") && text.contains("--no-check"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 60, "{line}");
        }
    }
}
