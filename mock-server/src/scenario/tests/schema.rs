//! The published schema and the reader say the same.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::super::fault::{COMMON, FAULT, KINDS};
use super::super::files::FilesOf;
use super::super::operation;
use super::super::read::Object;
use super::super::tree;
use super::super::{OBJECTS, SCENARIO, SCHEMA, Scenario, error};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The map that a definition allows: itself, or one of its alternatives.
fn map_of<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let definition = match name == SCENARIO.name {
        true => schema,
        false => &schema["$defs"][name],
    };
    if definition.get("properties").is_some() {
        return definition;
    }
    let alternatives = definition["anyOf"].as_array().unwrap_or_else(|| panic!("{name}"));
    alternatives.iter().find(|one| one.get("properties").is_some()).unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn keys_are_the_same() {
    let schema = schema();
    let in_fault = |object: &Object| object.name == "after";
    for object in OBJECTS.iter().filter(|object| !in_fault(object)) {
        let map = map_of(&schema, object.name);
        let own: BTreeSet<&str> = object.keys.iter().copied().collect();
        assert_eq!(keys(&map["properties"]), own, "{}", object.name);
        assert_eq!(map["additionalProperties"], false, "{}", object.name);
    }
    let after = &map_of(&schema, "fault")["properties"]["after"]["anyOf"][0];
    let own = OBJECTS.iter().find(|object| in_fault(object)).unwrap();
    assert_eq!(keys(&after["properties"]), own.keys.iter().copied().collect());
    // Every map of the schema is one that the reader knows.
    let known: BTreeSet<&str> = OBJECTS.iter().map(|object| object.name).collect();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let has_map = definition.get("properties").is_some()
            || definition["anyOf"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one.get("properties").is_some()));
        assert!(!has_map || known.contains(name.as_str()), "{name}");
    }
}

#[test]
fn vocabularies_are_the_same() {
    let schema = schema();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let types: Vec<String> = error::names().map(str::to_owned).collect();
    assert_eq!(texts(&schema["$defs"]["errorType"]["enum"]), types);
    let fault = &schema["$defs"]["fault"];
    let names = fault["properties"]["fault"]["oneOf"].as_array().unwrap();
    let conditions = fault["allOf"].as_array().unwrap();
    assert_eq!((names.len(), conditions.len()), (KINDS.len(), KINDS.len()));
    for ((kind, name), condition) in KINDS.iter().zip(names).zip(conditions) {
        assert_eq!(name["const"], kind.name);
        assert_eq!(condition["if"]["properties"]["fault"]["const"], kind.name);
        let then = &condition["then"];
        for key in &FAULT.keys[COMMON..] {
            let is_taken = then["properties"].get(key) != Some(&Value::Bool(false));
            assert_eq!(is_taken, kind.takes.contains(key), "{} {key}", kind.name);
        }
        let required = then.get("required").map(texts).unwrap_or_default();
        assert_eq!(required, kind.needs, "{}", kind.name);
        let on = &then["properties"]["on"]["anyOf"][0]["anyOf"][0]["enum"];
        let words: Vec<String> = operation::words()
            .into_iter()
            .filter(|(_, operations)| operations.is_within(kind.on))
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(texts(on), words, "{}", kind.name);
        let after = then["properties"].get("after");
        for key in ["bytes", "events", "time"] {
            let is_taken = match after {
                Some(Value::Bool(false)) => false,
                Some(after) => after["properties"].get(key) != Some(&Value::Bool(false)),
                None => true,
            };
            assert_eq!(is_taken, kind.after.contains(&key), "{} {key}", kind.name);
        }
    }
}

#[test]
fn the_gallery_is_right_and_whole() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario =
            Scenario::load(&path.join("scenario.yaml")).unwrap_or_else(|p| panic!("{p}"));
        assert!(scenario.description.is_some(), "{}", scenario.name);
        let source = Scenario::bundled_source(&scenario.name).unwrap();
        let value = tree::parse(source).unwrap().to_json();
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", scenario.name);
        let readme = std::fs::read_to_string(path.join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {}: ", scenario.name)), "{}", scenario.name);
        found.insert(scenario.name);
    }
    assert_eq!(found, Scenario::bundled_names().map(str::to_owned).collect());
    assert!(found.len() >= 10);
}

/// Files of one line each: those that are right, and those that are wrong.
const RIGHT: [&str; 42] = [
    "seed: 18446744073709551615",
    "seed: 3.0",
    "clock: virtual:auto",
    "clock: scaled:0.5",
    "clock: {mode: real, start: '2026-01-31T12:00:00.5+01:00'}",
    "description:",
    "rules: []",
    "rules: [{when: a}]",
    "rules: [{when: [a, b/**], nth: 2}]",
    "rules: [{when: {}, times: 1}]",
    "rules: [{when: {operation: [submit, run, stream]}}]",
    "rules: [{when: {headers: {x-a: {matches: '^a', not: ab}}}}]",
    "rules: [{when: {input: {/a: ~, /b: [1], /c: {equals: ~}, '': {exists: false}}}}]",
    "rules: [{when: {input: {/a: {in: [1, x], contains: {a: 1}, lt: 1, lte: 2.5, gt: 0, gte: -1}}}}]",
    "rules: [{when: a, timeline: {positions: [1, 0], queue_time: 0, run_time: .5s, requeue: 1s}}]",
    "rules: [{when: a, timeline: {logs: [x, {message: y, at: 12.5%}, {message: z, at: 1m, level: STDERR}]}}]",
    "rules: [{when: a, timeline: {}}]",
    "rules: [{when: a, output: synthesised}]",
    "rules: [{when: a, output: {literal: }}]",
    "rules: [{when: a, output: {template: {a: '{{/a | 1}}'}}}]",
    "rules: [{when: a, error: 503}]",
    "rules: [{when: a, error: one_of}]",
    "rules: [{when: a, error: {type: mine, status: 400, body: [1], headers: {a: 1, b: true}}}]",
    "rules: [{when: a, error: {type: one_of, message: x}}]",
    "rules: [{when: a, webhook: {duplicate: 100, late: 1h, reorder: false}}]",
    "rules: [{when: a, name: 'a b'}]",
    "apps: [{endpoint: a, runners: 1, cold_start: 1s, keep_alive: 1m, queue_time: 1s, run_time: 1s}]",
    "faults: [{fault: status, status: 500, body: x}]",
    "faults: [{fault: error-type, type: bad_request}]",
    "faults: [{fault: error-type, type: other, status: 400}]",
    "faults: [{fault: rate-limit, retry_after: 2s, on: [submit, upload]}]",
    "faults: [{fault: ingress, status: 504}]",
    "faults: [{fault: reset, after: {events: 2}, on: frame}]",
    "faults: [{fault: stall, for: 1s, probability: 1}]",
    "faults: [{fault: slow, bytes_per_second: 10, after: {bytes: 0}}]",
    "faults: [{fault: wrong-type, pointer: /a/0, every: 2, times: 1, while: COMPLETED}]",
    "faults: [{fault: ws-close, code: 4000, reason: x}]",
    "faults: [{fault: runner-lost, after: {time: 1s}, when: {endpoint: a, input: {/a: 1}}}]",
    "faults: [{fault: webhook-late, for: 1s}, {fault: webhook-duplicate, copies: 2}]",
    "expect: {requests: [{}, {operation: upload, count: 0}, {status: 200, count: {min: 1}}]}",
    "expect: {order: [submit, upload, {operation: status, input: {/a: 1}, status: 202}]}",
    "expect: {all_faults_fired: false, all_rules_used: true}",
];

const WRONG: [&str; 62] = [
    "5",
    "{}",
    "seed: -1",
    "seed: x",
    "seed: 1.5",
    "clock: slow",
    "clock: 1",
    "clock: {mode: virtual, rate: 2}",
    "clock: {start: 2026-01-31}",
    "clock: {start: 2026-13-01T00:00:00Z}",
    "clock: {start: 2026-01-31T12:00:00}",
    "rule: []",
    "description: 5",
    "rules: {when: a}",
    "rules: [a]",
    "rules: [{}]",
    "rules: [{when: }]",
    "rules: [{when: []}]",
    "rules: [{when: a b}]",
    "rules: [{when: /}]",
    "rules: [{when: {endpoint: 5}}]",
    "rules: [{when: {operation: status}}]",
    "rules: [{when: {operations: run}}]",
    "rules: [{when: {headers: {cookie: x}}}]",
    "rules: [{when: {headers: {'a b': x}}}]",
    "rules: [{when: {input: {a: x}}}]",
    "rules: [{when: {input: {/a: {}}}}]",
    "rules: [{when: {input: {/a: {lt: x}}}}]",
    "rules: [{when: {input: {/a: {in: x}}}}]",
    "rules: [{when: {input: {/a: {like: x}}}}]",
    "rules: [{when: a, nth: 0}]",
    "rules: [{when: a, nth: []}]",
    "rules: [{when: a, nth: 1, times: 1}]",
    "rules: [{when: a, timeline: {queue_time: 5}}]",
    "rules: [{when: a, timeline: {run_time: 5 s}}]",
    "rules: [{when: a, timeline: {positions: [-1]}}]",
    "rules: [{when: a, timeline: {positions: []}}]",
    "rules: [{when: a, timeline: {logs: [{message: x, level: LOUD}]}}]",
    "rules: [{when: a, timeline: {logs: [{message: x, at: 101%}]}}]",
    "rules: [{when: a, timeline: {logs: [{at: 1s}]}}]",
    "rules: [{when: a, output: random}]",
    "rules: [{when: a, output: {}}]",
    "rules: [{when: a, output: {literal: 1, template: 2}}]",
    "rules: [{when: a, output: {literal: 1, files: {a: b}}}]",
    "rules: [{when: a, output: {literal: 1}, error: 500}]",
    "rules: [{when: a, error: 200}]",
    "rules: [{when: a, error: mine}]",
    "rules: [{when: a, error: {type: mine}}]",
    "rules: [{when: a, error: {message: x}}]",
    "rules: [{when: a, error: {status: 500, headers: {content-length: 1}}}]",
    "rules: [{when: a, webhook: {duplicate: 0}}]",
    "rules: [{when: a, name: ''}]",
    "apps: [{runners: 1}]",
    "apps: [{endpoint: a, runners: 0}]",
    "faults: [{fault: explode}]",
    "faults: [{fault: refuse, status: 500}]",
    "faults: [{fault: split, after: {bytes: 1}}]",
    "faults: [{fault: runner-lost, after: {events: 1}}]",
    "faults: [{fault: ws-close, on: submit}]",
    "faults: [{fault: reset, nth: 1, every: 1}]",
    "faults: [{fault: slow}]",
    "expect: {requests: [{count: -1}]}",
];

#[test]
fn schema_and_reader_judge_alike() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (files, is_right) in [(&RIGHT[..], true), (&WRONG[..], false)] {
        for source in files {
            let read = Scenario::parse("test", source);
            assert_eq!(read.is_ok(), is_right, "{source}: {:?}", read.map(drop));
            let value = tree::parse(source).unwrap().to_json();
            let errors: Vec<String> =
                validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert_eq!(errors.is_empty(), is_right, "{source}: {errors:?}");
        }
    }
}

#[test]
fn what_the_readme_shows_is_right() {
    let readme = include_str!("../../../README.md");
    let disk = FilesOf(vec![("cat.png", b"PNG")]);
    let blocks: Vec<&str> = readme
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        Scenario::parse_with("readme", "README.md", block, &disk).unwrap_or_else(|p| panic!("{p}"));
    }
    for kind in &KINDS {
        let end = kind.name.strip_prefix("webhook").unwrap_or(kind.name);
        assert!(
            readme.contains(&format!("`{end}`")) || readme.contains(&format!("`{}`", kind.name)),
            "{}",
            kind.name
        );
    }
    for name in Scenario::bundled_names() {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}
