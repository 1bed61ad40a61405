//! Every document that is there: answers fit their own schema, and follow from what they should follow from.

use std::time::Duration;

use fal_protocol::schema::{Mode, ModelSchema};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::catalog::Catalog;
use super::super::id::digest;
use super::*;

#[path = "../../../tests/contract/inputs.rs"]
mod inputs;

#[path = "../../../../tests/suite/schema/figures.rs"]
mod figures;

/// An answer in which every file is one byte long, so that nothing is encoded.
fn answer(schema: &ModelSchema, category: &str, endpoint: &str, input: &Value, seed: u64) -> Made {
    let input = schema.complete(input);
    let key = digest(seed, &[endpoint.as_bytes(), input.to_string().as_bytes()]);
    Made::new(schema, category, endpoint, &input, key, &Files::default())
}

fn body(made: &Made, left: usize) -> Value {
    let text = made.render(made.key, &Door::Direct, Duration::from_millis(800), left, |_| {
        Bytes::from_static(b"x")
    });
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
}

#[test]
fn every_answer_fits_its_own_schema() {
    let mut catalog = Catalog::bundled();
    let mut corpus: Vec<(Box<str>, ModelSchema)> = Vec::new();
    for text in inputs::corpus() {
        let schema = ModelSchema::parse(&text).unwrap();
        corpus.push((schema.category().unwrap_or_default().into(), schema));
        // Also the whole way, which has to take each of them.
        assert_eq!(catalog.add(&text).unwrap().documents, 1);
    }
    let bundled = Catalog::bundled();
    let bundled = bundled.entries().map(|entry| {
        let schema = entry.document.as_ref().unwrap().schema.clone();
        (entry.metadata.category.clone(), schema)
    });
    for (set, models) in [("bundled", bundled.collect()), ("corpus", corpus)] {
        if !models.is_empty() {
            figures::check("answers", set, &answers(&models));
        }
    }
}

/// Asks each model four times, and counts the answers, all of which fit.
fn answers(models: &[(Box<str>, ModelSchema)]) -> Value {
    let (mut answers, mut wrong) = (0, Vec::new());
    for (category, schema) in models {
        let id = schema.endpoint_id().unwrap();
        for with_all in [false, true] {
            let input = inputs::input_of(schema, with_all);
            let report = schema.validate(&input, Mode::AsFal);
            assert!(
                report.is_valid(),
                "{id}: the test's own input does not fit: {report:?} {input}"
            );
            let made = answer(schema, category, id, &input, 7);
            let events = made.frames().unwrap_or(2);
            for left in [0, events - 1] {
                let body = body(&made, left);
                answers += 1;
                let report = schema.validate_output(&body, Mode::Strict);
                if !report.is_valid() {
                    let problems: Vec<String> =
                        report.problems().iter().map(ToString::to_string).collect();
                    wrong.push(format!("{id}: {problems:?}"));
                }
            }
            assert_eq!(body(&answer(schema, category, id, &input, 7), 0), body(&made, 0), "{id}");
        }
    }
    assert!(wrong.is_empty(), "{} of {answers}:\n{}", wrong.len(), wrong.join("\n"));
    json!({"documents": models.len(), "answers": answers, "answers that fit": answers - wrong.len()})
}

/// The output component of a document of ours.
fn document(output: Value) -> ModelSchema {
    let answer = json!({"200": {"content": {"application/json": {"schema": output}}}});
    let input = json!({"type": "object", "properties": {"seed": {"type": "integer"}}});
    ModelSchema::from_value(&json!({"paths": {
        "/acme/test": {"post": {"requestBody": {"content": {"application/json": {"schema": input}}}}},
        "/acme/test/requests/{request_id}": {"get": {"responses": answer}}
    }}))
    .unwrap()
}

#[track_caller]
fn check(output: Value, input: Value, want: Value) {
    let schema = document(output);
    let made = answer(&schema, "", "acme/test", &input, 1);
    let found = body(&made, 0);
    assert_eq!(found, want);
    assert!(schema.validate_output(&found, Mode::Strict).is_valid());
}

#[test]
fn shared_fields_are_echoed() {
    let output = json!({"type": "object", "properties": {
        "seed": {"type": "integer"}, "width": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}
    }});
    let input = json!({"seed": 5, "width": 320, "height": 200, "tags": ["a", "b"]});
    check(output, input.clone(), json!({"seed": 5, "width": 320, "tags": ["a", "b"]}));
    // What does not fit the output is made anew.
    let strange = json!({"type": "object", "properties": {"tags": {"type": "boolean"}, "seed": {"const": 9}}});
    check(strange, input, json!({"tags": false, "seed": 9}));
}

#[test]
fn bounds_enums_and_counts_hold() {
    let output = json!({"type": "object", "properties": {
        "score": {"type": "number", "minimum": 4, "exclusiveMaximum": 4.5},
        "level": {"type": "integer", "exclusiveMinimum": 6, "maximum": 7},
        "grid": {"type": "integer", "minimum": 16, "maximum": 16, "multipleOf": 8},
        "kind": {"enum": ["", "only"], "type": "string"},
        "has_nsfw_concepts": {"type": "array", "items": {"type": "boolean"}},
        "word": {"type": "string", "minLength": 2, "maxLength": 2},
        "colour": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
        "error": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "note": {"type": "string", "examples": ["https://example.com/a", "as in the example"]}
    }});
    let schema = document(output);
    let found = body(&answer(&schema, "", "acme/test", &json!({"num_images": 3}), 1), 0);
    assert!(schema.validate_output(&found, Mode::Strict).is_valid(), "{found}");
    assert_eq!(
        (&found["level"], &found["grid"], &found["kind"]),
        (&json!(7), &json!(16), &json!("only"))
    );
    assert_eq!(found["has_nsfw_concepts"], json!([false, false, false]));
    assert_eq!((&found["error"], &found["note"]), (&Value::Null, &json!("as in the example")));
}

#[test]
fn hostile_schemas_end() {
    // A list of itself, each with many fields.
    let fields: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("f{n}"), json!({"$ref": "#/components/schemas/Loop"}))).collect();
    let answer_schema = json!({"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Loop"}}}}});
    let schema = ModelSchema::from_value(&json!({
        "paths": {
            "/acme/test": {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}},
            "/acme/test/requests/{request_id}": {"get": {"responses": answer_schema}}
        },
        "components": {"schemas": {"Loop": {"type": "object", "properties": fields}}}
    }))
    .unwrap();
    let made = answer(&schema, "", "acme/test", &json!({}), 1);
    assert!(made.text.len() < 4 << 20, "{}", made.text.len());
    body(&made, 0);
}

#[test]
fn texts_grow_to_the_answer() {
    let output = json!({"type": "object", "properties": {"output": {"type": "string"}, "partial": {"type": "boolean"}}});
    let schema = document(output);
    let made = answer(&schema, "llm", "acme/test", &json!({"prompt": "why", "max_tokens": 5}), 1);
    assert_eq!(made.frames(), Some(5));
    let texts: Vec<Value> = (0..5).rev().map(|left| body(&made, left)).collect();
    for pair in texts.windows(2) {
        let (less, more) =
            (pair[0]["output"].as_str().unwrap(), pair[1]["output"].as_str().unwrap());
        assert!(more.starts_with(less) && more.len() > less.len() && pair[0]["partial"] == true);
    }
    assert_eq!(texts[4]["partial"], false);
}

proptest! {
    #[test]
    fn answers_follow_from_seed_endpoint_and_input(
        seed in 0u64..4, n in 0usize..9, prompt in "[a-z]{0,3}", images in 1u64..4,
    ) {
        let catalog = Catalog::shared();
        let entry = catalog.entries().nth(n % catalog.len()).unwrap();
        let schema = &entry.document.as_ref().unwrap().schema;
        let input = json!({"prompt": prompt, "num_images": images, "image_url": "x", "images_data_url": "x"});
        let answer = |seed, input: &Value| {
            let made = answer(schema, &entry.metadata.category, &entry.id, input, seed);
            (body(&made, 0), made.files.to_vec())
        };
        let one = answer(seed, &input);
        prop_assert_eq!(&one, &answer(seed, &input));
        prop_assert_ne!(&one, &answer(seed + 1, &input));
        let other = json!({"prompt": format!("{prompt}!"), "num_images": images, "image_url": "x"});
        prop_assert_ne!(&one, &answer(seed, &other));
        if let Some(made) = one.0.get("images").and_then(Value::as_array) {
            prop_assert_eq!(made.len() as u64, images);
        }
    }
}
