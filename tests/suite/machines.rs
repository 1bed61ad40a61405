//! The runner of the machine vectors must be able to fail.

use fal_conformance::machines::run;
use fal_conformance::vectors::{Vector, folder, load};
use serde::Deserialize;
use serde_json::{Value, json};

#[test]
fn every_machine_has_vectors() {
    let mut missing = vec![
        "run",
        "stream",
        "upload",
        "queue/submit",
        "queue/watch",
        "queue/fetch",
        "queue/cancel",
        "queue/subscribe",
        "queue/attach",
        "realtime/session",
        "token",
        "ws/runs",
    ];
    let vectors = machine_vectors();
    missing.retain(|machine| !vectors.iter().any(|vector| vector.part("machine") == machine));
    assert!(missing.is_empty(), "{missing:?}");
}

/// Each expectation in turn is left out or turned into another one: an expectation that can be changed
/// without notice checks nothing.
#[test]
fn every_expectation_counts() {
    let mut problems = Vec::new();
    for vector in machine_vectors() {
        let steps = vector.part("steps").as_array().expect("the schema requires it").clone();
        for (index, step) in steps.iter().enumerate() {
            let Some(expected) = step.get("expect") else { continue };
            if must_be_expected(expected) {
                let mut fewer = steps.clone();
                fewer.remove(index);
                if run(&with_steps(&vector, fewer)).is_ok() {
                    problems.push(format!("{}: step {} can be left out", vector.id, index + 1));
                }
            }
            for other in others(expected) {
                let mut changed = steps.clone();
                changed[index]["expect"] = other.clone();
                if run(&with_steps(&vector, changed)).is_ok() {
                    problems.push(format!("{}: step {} can be {other}", vector.id, index + 1));
                }
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn misspelled_settings_are_refused() {
    let vector = json!({
        "id": "x", "level": "may", "evidence": "inferred", "source": "s", "applies_to": ["client"],
        "machine": "run", "config": {"deadlin_ms": 1}, "steps": [],
    });
    let error = run(&Vector::deserialize(vector).unwrap()).unwrap_err();
    assert!(error.contains("deadlin_ms"), "{error}");
}

fn machine_vectors() -> Vec<Vector> {
    let files = load(&folder()).expect("readable vectors");
    let vectors = files.into_iter().flat_map(|file| file.vectors);
    vectors.filter(|vector| !vector.part("machine").is_null()).collect()
}

/// Events may be passed over and waits need not be named; requests, aborts and ends must.
fn must_be_expected(expected: &Value) -> bool {
    ["send", "message", "abort", "done"].iter().any(|kind| expected.get(kind).is_some())
}

/// Expectations that differ from this one in one place each.
fn others(expected: &Value) -> Vec<Value> {
    let mut others = Vec::new();
    change(expected, &mut |changed| others.push(changed));
    others
}

fn change(value: &Value, push: &mut dyn FnMut(Value)) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                change(inner, &mut |changed| {
                    let mut copy = value.clone();
                    copy[name] = changed;
                    push(copy);
                });
            }
        }
        // Both ends of a range are out of reach of what was meant.
        Value::Array(range) if range.len() == 2 && range.iter().all(Value::is_u64) => {
            push(json!([900_000_000, 900_000_001]));
        }
        Value::Array(_) => {}
        Value::String(text) => push(json!(format!("{text}-x"))),
        Value::Number(number) => push(match number.as_u64() {
            Some(number) => json!(number + 1),
            None => json!(number.as_f64().unwrap_or_default() + 1.0),
        }),
        Value::Bool(flag) => push(json!(!flag)),
        Value::Null => push(json!("something")),
    }
}

fn with_steps(vector: &Vector, steps: Vec<Value>) -> Vector {
    let mut changed = vector.clone();
    changed.body.insert("steps".to_owned(), Value::Array(steps));
    changed
}
