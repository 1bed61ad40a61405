//! Documents to test with: those of the corpus, those that come with the mock, and one for every keyword.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The documents in the folder that `FAL_OPENAPI_CORPUS` names, else beside the workspace; none without.
#[expect(clippy::print_stdout, reason = "says what was read, or why nothing was")]
pub(super) fn corpus() -> Vec<(String, Value)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/openapi");
    let folder = std::env::var_os("FAL_OPENAPI_CORPUS").map_or(beside, PathBuf::from);
    let mut documents = Vec::new();
    for folder in [folder.clone(), folder.join("2026-01")] {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            println!("skipped: {} cannot be read", folder.display());
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        let before = documents.len();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Only the names of endpoint ids hold the mark of their slashes.
            if name.contains("__") && name.ends_with(".json") {
                let text = std::fs::read(&path).expect("the file is listed");
                documents.push((name, serde_json::from_slice(&text).expect("documents are JSON")));
            }
        }
        println!("read {} documents in {}", documents.len() - before, folder.display());
    }
    documents
}

/// Every keyword, without a corpus.
pub(super) fn own_documents() -> Vec<(String, Value)> {
    let numbers = json!({"type": "object", "required": ["count"], "properties": {
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.0},
        "grid": {"type": "integer", "multipleOf": 8},
        "step": {"type": "number", "multipleOf": 0.05, "minimum": 0, "maximum": 2},
        "seed": {"anyOf": [{"type": "integer", "maximum": 9_223_372_036_854_776_000_u64}, {"type": "null"}]}
    }});
    let texts = json!({"type": "object", "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 12},
        "word": {"type": "string", "pattern": r"^\w+$"},
        "color": {"type": "string", "pattern": "^#([0-9A-Fa-f]{3}){1,2}$"},
        "ratio": {"enum": ["16:9", "1:1", ""], "type": "string"},
        "kind": {"const": "image"},
        "old": {"type": "string", "nullable": true}
    }});
    let lists = json!({"type": "object", "additionalProperties": false, "properties": {
        "urls": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "set": {"type": "array", "uniqueItems": true},
        "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]},
        "one_or_many": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    }});
    let nested = json!({"type": "object", "properties": {
        "size": {"anyOf": [{"$ref": "#/components/schemas/Size"}, {"type": "string", "enum": ["big"]}]},
        "wrapped": {"allOf": [{"$ref": "#/components/schemas/Size"}], "title": "Wrapped"},
        "beside": {"$ref": "#/components/schemas/Size", "required": ["width"]},
        "scales": {"type": "object", "additionalProperties": {"type": "number"}},
        "either": {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]},
        "lost": {"$ref": "#/components/schemas/Nowhere"}
    }});
    let size = json!({"type": "object", "properties": {
        "width": {"type": "integer", "exclusiveMinimum": 0}, "height": {"type": "integer"}
    }});
    let documents = [("numbers", numbers), ("texts", texts), ("lists", lists), ("nested", nested)];
    documents
        .into_iter()
        .map(|(name, input)| {
            let document = json!({
                "paths": {"/acme/test": {"post": {"requestBody": {"content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Input"}
                }}}}}},
                "components": {"schemas": {"Input": input, "Size": size}}
            });
            (name.to_owned(), document)
        })
        .collect()
}

/// The documents that come with the mock.
pub(super) fn bundled() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mock-server/models");
    let entries = std::fs::read_dir(folder).expect("it belongs to the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort_unstable();
    let mut documents = Vec::new();
    for path in paths {
        let text = std::fs::read(&path).expect("the file is listed");
        let dump: Value = serde_json::from_slice(&text).expect("dumps are JSON");
        for model in dump["models"].as_array().expect("a dump has models") {
            let id = model["endpoint_id"].as_str().expect("a model has an id");
            documents.push((id.to_owned(), model["openapi"].clone()));
        }
    }
    documents
}

/// Everything that pydantic writes into documents, in both dialects.
pub(super) fn constructs() -> Vec<(String, Value)> {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let none = json!({"type": "null"});
    let components = json!({
        "Size": {"title": "ImageSize", "type": "object", "x-fal-order-properties": ["width", "height"],
            "properties": {
                "height": {"type": "integer", "exclusiveMinimum": 0, "maximum": 14142, "default": 512},
                "width": {"type": "integer", "exclusiveMinimum": 0, "maximum": 14142, "default": 512}
            }},
        "File": {"title": "File", "type": "object", "required": ["url"], "properties": {
            "url": {"type": "string"}, "content_type": {"type": "string"}, "file_size": {"type": "integer"}}},
        "OldImage": {"title": "Image", "type": "object", "required": ["url", "content_type", "file_name"],
            "x-fal-order-properties": ["url", "content_type", "file_name"],
            "properties": {"url": {"type": "string", "maxLength": 30},
                "content_type": {"type": "string"}, "file_name": {"type": "string"}}},
        "Closed": {"title": "Closed", "type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}}},
        "Open": {"title": "Open", "type": "object", "additionalProperties": true,
            "properties": {"a": {"type": "string"}}},
        "Mood": {"title": "MoodOfIt", "type": "string", "enum": ["calm", "wild"]},
        "Level": {"title": "Level", "type": "integer", "enum": [1, 2]}
    });
    let scalars = json!({
        "text": {"type": "string", "minLength": 2, "maxLength": 8},
        "letter": {"type": "string", "maxLength": 1},
        "word": {"type": "string", "pattern": "^\\w+$"},
        "color": {"type": "string", "pattern": "^#([0-9A-Fa-f]{3}){1,2}$"},
        "address": {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
        "style": {"type": "string", "format": "uuid4"},
        "whole": {"type": "integer"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "grid": {"type": "integer", "minimum": 0, "multipleOf": 8},
        "above": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 5},
        "large": {"type": "integer", "minimum": -9_223_372_036_854_775_808_i64,
            "maximum": 9_223_372_036_854_776_000_u64},
        "real": {"type": "number"},
        "share": {"type": "number", "minimum": 0, "maximum": 1.5},
        "rate": {"type": "number", "exclusiveMinimum": 0.00001, "exclusiveMaximum": 2},
        "step": {"type": "number", "multipleOf": 0.05, "minimum": -1},
        "flag": {"type": "boolean"},
        "format": {"type": "string", "enum": ["jpeg", "png", "it's", "\"", "\\", "é\u{200b}\u{7f}\n", "'\""]},
        "fps": {"type": "integer", "enum": [1, 24, 30]},
        "kind": {"type": "string", "const": "image"},
        "factor": {"type": "integer", "const": 4},
        "anything": {}
    });
    let lists = json!({
        "urls": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "two": {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2},
        "any_list": {"type": "array", "items": {}},
        "styles": {"type": "array", "uniqueItems": true, "items": {"type": "string", "enum": ["a", "b"]}},
        "few": {"type": "array", "uniqueItems": true, "minItems": 2, "maxItems": 2, "items": {"type": "integer"}},
        "set": {"type": "array", "uniqueItems": true, "items": {}},
        "color": {"type": "array", "minItems": 3, "maxItems": 3,
            "prefixItems": [{"type": "integer"}, {"type": "integer"}, {"type": "string", "minLength": 1}]},
        "files": {"type": "array", "items": reference("File")},
        "map": {"type": "object", "additionalProperties": {"type": "number"}},
        "maps": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "boolean"}}},
        "object": {"type": "object"}
    });
    let unions = json!({
        "size": {"anyOf": [reference("Size"), {"type": "string", "enum": ["square_hd", "it's"]}]},
        "optional_size": {"anyOf": [reference("Size"), {"type": "string", "enum": ["auto"]}, none]},
        "file": reference("File"),
        "optional_file": {"anyOf": [reference("File"), none]},
        "old": reference("OldImage"),
        "seed": {"anyOf": [{"type": "integer"}, none]},
        "strength": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, none]},
        "one_or_many": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "closed": reference("Closed"),
        "open": reference("Open"),
        "mood": reference("Mood"),
        "level": reference("Level"),
        "either": {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "string", "maxLength": 4}, none]},
        "models": {"anyOf": [reference("Size"), reference("Closed"), reference("File")]},
        "lists": {"anyOf": [
            {"type": "array", "items": {"anyOf": [{"type": "integer"}, none]}},
            {"type": "array", "items": reference("Closed")},
            {"type": "array", "items": {"anyOf": [{"type": "number", "minimum": 1}, {"type": "boolean"}]}},
            {"type": "array", "minItems": 2, "maxItems": 2,
                "prefixItems": [{"type": "integer"}, {"type": "string", "pattern": "a"}]},
            {"type": "array", "uniqueItems": true, "items": {"type": "string"}}]},
        "kinds": {"anyOf": [{"type": "boolean"}, {"type": "object", "additionalProperties": {"type": "number"}},
            reference("Mood"), reference("Level"), {"const": "a", "type": "string"}]}
    });
    let limits = json!({
        "bounded": {"anyOf": [{"type": "number"}, {"type": "integer"}], "ge": 3, "le": 5},
        "scale": {"anyOf": [{"type": "number"}, {"type": "object"}], "ge": -4, "le": 4}
    });
    let document = |fields: &Value, required: &[&str]| {
        let mut components = components.clone();
        components["Input"] = json!({"type": "object", "title": "Input", "required": required,
            "properties": fields});
        json!({
            "paths": {"/acme/test": {"post": {"requestBody": {"content": {"application/json": {
                "schema": reference("Input")
            }}}}}},
            "components": {"schemas": components}
        })
    };
    let mut documents = Vec::new();
    let all = [("scalars", scalars), ("lists", lists), ("unions", unions), ("limits", limits)];
    for (name, fields) in all {
        let names = fields.as_object().expect("it is one").keys();
        let required: Vec<&str> = names.map(String::as_str).collect();
        // A document without any null alternative is of the older dialect.
        documents.push((format!("{name}, required"), document(&fields, &required)));
        let mut fields = fields;
        fields["nothing"] = json!({"anyOf": [{"type": "boolean"}, none]});
        documents.push((format!("{name}, optional"), document(&fields, &[])));
    }
    documents
}
