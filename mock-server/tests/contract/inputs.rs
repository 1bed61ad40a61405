//! Documents to test with, and inputs that fit them.

use std::path::{Path, PathBuf};

use fal_protocol::schema::{Mode, ModelSchema, Schema, Types};
use serde_json::{Map, Value, json};

/// The texts of the documents in the folder that `FAL_OPENAPI_CORPUS` names, else of `../shared/openapi` beside the
/// workspace, with those of its folder `2026-01`: none where it does not exist.
#[allow(clippy::print_stdout, reason = "says what was read, or why nothing was")]
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/openapi");
    let folder = std::env::var_os("FAL_OPENAPI_CORPUS").map_or(beside, PathBuf::from);
    let mut documents = Vec::new();
    for folder in [folder.clone(), folder.join("2026-01")] {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            println!("skipped: {} cannot be read", folder.display());
            continue;
        };
        // Only the names of endpoint ids hold the mark of their slashes.
        let is_document = |path: &PathBuf| path.to_string_lossy().contains("__");
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(is_document).collect();
        paths.sort_unstable();
        println!("read {} documents in {}", paths.len(), folder.display());
        documents.extend(paths.iter().map(|path| std::fs::read(path).expect("the file is listed")));
    }
    documents
}

/// An input that fits: the required fields, or all of them.
pub(crate) fn input_of(model: &ModelSchema, with_all: bool) -> Value {
    let mut input = Map::new();
    for field in model.input().resolved().fields() {
        if field.is_required || with_all && field.name != "sync_mode" {
            input.insert(field.name.to_owned(), value_of(field.schema, field.name, 0));
        }
    }
    // Small pictures, so that a thousand of them take no minute; and text that need not be large.
    let small = json!({"width": 64, "height": 48});
    for field in model.input().resolved().fields() {
        if ["image_size", "video_size"].contains(&field.name)
            && field.schema.accepts(&small, Mode::AsFal)
        {
            input.insert(field.name.to_owned(), small.clone());
        }
    }
    Value::Object(input)
}

fn value_of(schema: Schema<'_>, name: &str, depth: usize) -> Value {
    let inner = schema.resolved();
    let picture = Value::from(PICTURE);
    if name.ends_with("image_url") && schema.accepts(&picture, Mode::AsFal) {
        return picture;
    }
    let given = schema.examples().iter().chain(schema.default()).chain(inner.default());
    if let Some(found) = given.into_iter().find(|value| schema.accepts(value, Mode::AsFal)) {
        return found.clone();
    }
    if let Some(choices) = inner.choices() {
        return choices[0].clone();
    }
    let is_more = |schema: &Schema<'_>| schema.resolved().types() != Types::NULL;
    if let Some(one) = inner.alternatives().find(is_more) {
        return value_of(one, name, depth + 1);
    }
    let usual = [
        json!(1),
        json!("9f8c2a36-58f1-4f8e-9d0a-0c1d2e3f4a5b"),
        json!("https://example.com/a.png"),
    ];
    let is_usual = |value: &&Value| {
        let is_special = inner.format().is_some() || inner.types() == Types::INTEGER;
        is_special && schema.accepts(value, Mode::Strict) && schema.accepts(value, Mode::AsFal)
    };
    if let Some(usual) = usual.iter().find(is_usual) {
        return usual.clone();
    }
    let types = inner.types();
    let bounds = inner.bounds();
    let low = bounds.minimum.or_else(|| Some(json!(bounds.above?.as_f64()? + 1.0)));
    if depth > 12 {
        Value::Null
    } else if types.has(Types::STRING) {
        "x".repeat(usize::try_from(inner.length().min.max(1)).unwrap_or(1)).into()
    } else if types.has(Types::INTEGER) || types.has(Types::NUMBER) {
        low.unwrap_or_else(|| bounds.maximum.unwrap_or_else(|| 1.into()))
    } else if types.has(Types::BOOLEAN) {
        false.into()
    } else if types.has(Types::ARRAY) {
        let tuple: Vec<Schema<'_>> = inner.tuple().collect();
        let count = usize::try_from(inner.items_count().min).unwrap_or(1).max(tuple.len()).max(1);
        let item = |at: usize| tuple.get(at).copied().or_else(|| inner.items());
        (0..count)
            .map(|at| item(at).map_or(Value::Null, |item| value_of(item, name, depth + 1)))
            .collect()
    } else {
        let required = inner.fields().filter(|field| field.is_required);
        let object = required
            .map(|field| (field.name.to_owned(), value_of(field.schema, field.name, depth + 1)));
        Value::Object(object.collect())
    }
}

/// A PNG of 64 by 48 pixels, head only: nothing here decodes more.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAAAwCAIAAAAuKetIAAAADElEQVQI12P4z8AAAAMBAQAY3Y2wAAAAAElFTkSuQmCC";
