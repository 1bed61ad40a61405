//! `schema`: what a model takes and gives.

use std::path::Path;

use fal_client::Client;
use fal_protocol::schema::{Field, ModelSchema, Schema};
use serde_json::Value;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, SchemaFlags};
use crate::json;
use crate::problem::Problem;
use crate::show::Show;
use crate::table::Table;

pub(crate) async fn schema(
    global: &Global,
    flags: SchemaFlags,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let client = connect::open_client(global)?;
    let path = flags.schema.or_else(connect::schema_path);
    let found = find(&client, &flags.endpoint, path.as_deref(), global, show).await?;
    tell(&flags.endpoint, &found, show);
    Ok(Exit::Ok)
}

/// A model's document, as text and read.
pub(crate) struct Found {
    pub(crate) document: String,
    pub(crate) schema: ModelSchema,
}

/// Takes a document from a file or folder, else from the service.
pub(crate) async fn find(
    client: &Client,
    endpoint: &str,
    path: Option<&Path>,
    global: &Global,
    show: &mut Show,
) -> Result<Found, Problem> {
    if let Some(path) = path {
        let model = client.model(endpoint).at(path).await;
        let model = model.map_err(|error| Problem::of(error, global))?;
        let (document, schema) = (model.document().to_owned(), model.schema().clone());
        return Ok(Found { document, schema });
    }
    show.doing("asking for the model's document");
    let model = client.platform().model(endpoint, true).await;
    let model = model.map_err(|error| Problem::of(error, global))?;
    let Some(model) = model else {
        return Err(Problem::new(Exit::Refused, format!("the service knows no model {endpoint}"))
            .with_hint("fal-cli models WORDS finds models"));
    };
    let document = match model.openapi {
        Some(Ok(document)) => document,
        Some(Err(error)) => return Err(no_document(endpoint, &error.to_string())),
        None => return Err(no_document(endpoint, "it sent none")),
    };
    let schema = document.schema().map_err(|error| no_document(endpoint, &error.to_string()))?;
    Ok(Found { document: document.as_str().to_owned(), schema })
}

fn no_document(endpoint: &str, why: &str) -> Problem {
    Problem::new(Exit::Failed, format!("the service has no document of {endpoint}: {why}"))
}

fn tell(endpoint: &str, found: &Found, show: &mut Show) {
    let line = show.new_line("result").with("endpoint_id", endpoint);
    let line = line.raw("document", &json::compact(&found.document));
    show.answer(line, &explain(endpoint, &found.schema), &found.document);
}

/// The document in words.
fn explain(endpoint: &str, model: &ModelSchema) -> String {
    let mut text = endpoint.to_owned();
    if let Some(category) = model.category().filter(|category| !category.is_empty()) {
        text.push_str(&format!("  ({category})"));
    }
    text.push_str("\n\ntakes (* must be given):\n");
    text.push_str(&fields(model.input(), true).to_string());
    text.push_str("\n\ngives:\n");
    text.push_str(&fields(model.output(), false).to_string());
    let required = model.input().resolved().fields().filter(|field| field.is_required);
    let given: Vec<String> = required.map(|field| format!(" {}=…", field.name)).collect();
    text.push_str(&format!("\n\nfal-cli run {endpoint}{}", given.concat()));
    text
}

fn fields(schema: Schema<'_>, is_input: bool) -> Table {
    let mut table = Table::indented(2);
    add_fields(&mut table, "", schema, is_input, 0);
    table
}

/// A row for each field, and for those inside it, under the names that `key=value` takes.
fn add_fields(table: &mut Table, prefix: &str, schema: Schema<'_>, is_input: bool, depth: usize) {
    for field in schema.resolved().fields() {
        let Field { name, is_required, schema, .. } = field;
        let path = format!("{prefix}{name}");
        let shown = format!("{path}{}", if is_required && is_input { "*" } else { "" });
        let default = schema.default().filter(|default| !default.is_null() && is_input);
        let default = default.map(|value| format!("[{}]", shown_value(value))).unwrap_or_default();
        let mut rest = default;
        if is_input {
            for part in [schema.limits_in_words(), about(schema)] {
                if !part.is_empty() {
                    rest.push_str(if rest.is_empty() { "" } else { "  " });
                    rest.push_str(&part);
                }
            }
        }
        table.row([&*shown, &schema.types_in_words(), &rest]);
        if depth < DEPTH_MAX
            && let Some((inner, suffix)) = inner(schema)
        {
            add_fields(table, &format!("{path}{suffix}."), inner, is_input, depth + 1);
        }
    }
}

/// The object inside a field: itself, one of its alternatives, or what its list holds.
fn inner(schema: Schema<'_>) -> Option<(Schema<'_>, &'static str)> {
    let schema = schema.resolved();
    if schema.fields().len() > 0 {
        return Some((schema, ""));
    }
    if let Some(items) = schema.items().map(Schema::resolved)
        && items.fields().len() > 0
    {
        return Some((items, "[]"));
    }
    schema.alternatives().find_map(|alternative| {
        let alternative = alternative.resolved();
        if alternative.fields().len() > 0 {
            return Some((alternative, ""));
        }
        let items = alternative.items()?.resolved();
        (items.fields().len() > 0).then_some((items, "[]"))
    })
}

/// The first line of the author's words, cut.
fn about(schema: Schema<'_>) -> String {
    let text = schema.description().or_else(|| schema.resolved().description());
    let line = text.unwrap_or_default().trim().lines().next().unwrap_or_default();
    let cut: String = line.chars().take(ABOUT_CHARS_MAX).collect();
    if cut.len() < line.len() { cut + "…" } else { cut }
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How far objects inside objects are looked into. Models nest three deep.
const DEPTH_MAX: usize = 3;
/// How much of the author's words fits beside the rest.
const ABOUT_CHARS_MAX: usize = 72;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(properties: &Value, expected: &[&str]) {
        let document = json!({
            "paths": { "/acme/paint": { "post": { "requestBody": { "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/PaintInput" }
            } } } } } },
            "components": { "schemas": {
                "PaintInput": { "type": "object", "required": ["prompt"], "properties": properties },
                "Size": { "type": "object", "properties": {
                    "width": { "type": "integer", "exclusiveMinimum": 0, "maximum": 14142, "default": 512 }
                } }
            } }
        });
        let schema = ModelSchema::from_value(&document).unwrap();
        let table = fields(schema.input(), true).to_string();
        let lines: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn fields_are_told_with_all_that_a_caller_must_know() {
        let properties = json!({
            "prompt": { "type": "string", "minLength": 1, "maxLength": 9, "description": "What to paint.\nMore." },
            "steps": { "type": "integer", "minimum": 1, "maximum": 50, "default": 28 },
            "format": { "enum": ["jpeg", "png"], "type": "string", "default": "jpeg" },
            "seed": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
            "size": { "anyOf": [{ "$ref": "#/components/schemas/Size" }, { "enum": ["square"], "type": "string" }] },
            "urls": { "type": "array", "items": { "type": "string", "format": "uri" }, "maxItems": 3 },
            "any": {}
        });
        check(
            &properties,
            &[
                "prompt* string 1 to 9 characters What to paint.",
                "any anything",
                "format string [jpeg] jpeg, png",
                "seed integer | null",
                "size Size | string square",
                "size.width integer [512] 14142 or less; above 0",
                "steps integer [28] 1 to 50",
                "urls list of url up to 3 elements",
            ],
        );
    }

    #[test]
    fn objects_that_hold_themselves_end() {
        let document = json!({
            "paths": { "/acme/paint": { "post": { "requestBody": { "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Node" }
            } } } } } },
            "components": { "schemas": { "Node": { "type": "object", "properties": {
                "next": { "$ref": "#/components/schemas/Node" },
                "all": { "type": "array", "items": { "$ref": "#/components/schemas/Node" } }
            } } } }
        });
        let schema = ModelSchema::from_value(&document).unwrap();
        let rows = fields(schema.input(), true).to_string().lines().count();
        assert_eq!(rows, 2 + 4 + 8 + 16);
    }
}
