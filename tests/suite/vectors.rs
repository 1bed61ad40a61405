//! Runs every vector.

mod endpoint;
mod errors;
mod msgpack;
mod platform;
mod proxy;
pub(crate) mod schema;
mod sse;
mod webhook;
mod workflow;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fal_conformance::vectors::{Gaps, Vector, Verdict, folder, load};
use serde_json::Value;

#[test]
fn every_vector_holds() {
    let files = load(&folder()).unwrap();
    let gaps = Gaps::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("gaps.json")).unwrap();
    let outcomes = files.iter().flat_map(|file| {
        let run = runner(&file.area);
        file.vectors.iter().map(move |vector| (vector, run(vector)))
    });
    let verdict = Verdict::of(outcomes, &gaps);
    assert!(verdict.problems().is_empty(), "\n{}", verdict.problems().join("\n"));
    println!("{} vectors passed, {} are known gaps", verdict.passed(), verdict.known());
}

#[test]
fn every_file_fits_the_schema() {
    let schema = read_json("vector.schema.json");
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for file in load(&folder()).unwrap() {
        let problems: Vec<String> = validator
            .iter_errors(&file.json)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{}\n{}", file.path.display(), problems.join("\n"));
    }
}

#[test]
fn schema_takes_good_steps_and_refuses_bad_ones() {
    let validator = jsonschema::draft202012::new(&read_json("vector.schema.json")).unwrap();
    let examples = read_json("examples.json");
    for (kind, is_valid) in [("good", true), ("bad", false)] {
        let list = examples[kind].as_array().unwrap();
        assert!(!list.is_empty());
        for example in list {
            let why = &example["why"];
            assert_eq!(validator.is_valid(&example["file"]), is_valid, "{kind}: {why}");
        }
    }
}

type Run = fn(&Vector) -> Result<(), String>;

/// An area without a runner is an error: its vectors would pass unread.
fn runner(area: &str) -> Run {
    match area {
        "endpoint" => endpoint::run,
        "errors" => errors::run,
        "msgpack" => msgpack::run,
        "platform" => platform::run,
        "proxy" => proxy::run,
        "schema" => schema::run,
        "sse" => sse::run,
        "webhook" => webhook::run,
        "workflow" => workflow::run,
        "queue" | "realtime" | "run" | "stream" | "token" | "upload" | "ws" => {
            fal_conformance::machines::run
        }
        other => panic!("no runner for the area {other:?}"),
    }
}

fn read_json(name: &str) -> Value {
    let path = folder().join(name);
    let text = std::fs::read_to_string(path).expect("the file belongs to this package");
    serde_json::from_str(&text).expect("the file is JSON")
}

/// Bytes in one of the spellings of the format: `text`, `base64` or `json`. An absent body is empty.
fn bytes_of(value: &Value) -> Bytes {
    if let Some(text) = value["text"].as_str() {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    if let Some(text) = value["base64"].as_str() {
        return STANDARD.decode(text).expect("the vector holds base64").into();
    }
    match value.get("json") {
        Some(json) => serde_json::to_vec(json).expect("a value is JSON").into(),
        None if value.is_null() => Bytes::new(),
        None => panic!("the schema allows only text, base64 and json: {value}"),
    }
}

/// Compares one expected member, if the vector names it.
fn expect(expected: &Value, name: &str, found: impl Into<Value>) -> Result<(), String> {
    let found = found.into();
    match expected.get(name) {
        Some(wanted) if *wanted != found => Err(format!("{name} is {found}, expected {wanted}")),
        _ => Ok(()),
    }
}
