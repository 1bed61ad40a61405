//! Inputs made from documents as they are written, and what single changes make of them.

use fal_protocol::rand::SplitMix64;
use serde_json::{Map, Value, json};

/// An input that mostly fits, made from the schema as it is written.
pub(super) fn generate(
    document: &Value,
    schema: &Value,
    rng: &mut SplitMix64,
    depth: usize,
) -> Value {
    let pick =
        |list: &[Value], rng: &mut SplitMix64| list[small(rng.below(list.len() as u64))].clone();
    if depth > 8 {
        return Value::Null;
    }
    let number = |name: &str| schema[name].as_f64();
    if let Some(target) = schema["$ref"].as_str() {
        let found = document.pointer(&target[1..]).unwrap_or(&Value::Null);
        return generate(document, found, rng, depth + 1);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return pick(values, rng);
    }
    if let (true, Some(low), Some(high)) = (schema["anyOf"].is_array(), number("ge"), number("le"))
    {
        // What pydantic writes beside a union in which a number is.
        return (low + rng.unit() * (high - low)).into();
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(alternatives) = schema[keyword].as_array() {
            return generate(document, &pick(alternatives, rng), rng, depth + 1);
        }
    }
    match schema["type"].as_str() {
        Some("string") if schema["format"] == "uri" => "https://example.com/a.png".into(),
        Some("string") if schema["format"] == "uuid4" => {
            "9f8c2a36-58f1-4f8e-9d0a-0c1d2e3f4a5b".into()
        }
        Some("string") => {
            let length = schema["minLength"].as_u64().unwrap_or(0).max(1);
            match schema["pattern"].as_str() {
                Some(pattern) if pattern.contains('#') => "#a1B2c3".into(),
                _ => "é".repeat(small(length)).into(),
            }
        }
        Some(kind @ ("integer" | "number")) => {
            let low = number("minimum").or_else(|| number("exclusiveMinimum").map(|low| low + 1.0));
            let high =
                number("maximum").or_else(|| number("exclusiveMaximum").map(|high| high / 2.0));
            let low = low.or_else(|| high.map(|high| high.min(0.0))).unwrap_or(0.0);
            let high = high.unwrap_or(low + 100.0);
            let step = number("multipleOf").unwrap_or(if kind == "integer" { 1.0 } else { 0.25 });
            let count = ((high - low) / step).clamp(0.0, 1e6) as u64;
            let value = ((low / step).ceil() + rng.below(count + 1) as f64) * step;
            match (kind, rng.below(4)) {
                ("integer", 1..) => (value as i64).into(),
                _ => value.into(),
            }
        }
        Some("boolean") => (rng.below(2) == 1).into(),
        Some("array") => {
            let min = schema["minItems"].as_u64().unwrap_or(0);
            let max = schema["maxItems"].as_u64().unwrap_or(min + 2);
            let tuple = schema["prefixItems"].as_array().map_or(&[][..], Vec::as_slice);
            let count = (min + rng.below(3)).min(max).max(tuple.len() as u64);
            (0..small(count))
                .map(|at| match tuple.get(at).or_else(|| schema.get("items")) {
                    Some(item) => generate(document, item, rng, depth + 1),
                    None => at.into(),
                })
                .collect()
        }
        Some("object") => {
            let mut object = Map::new();
            let empty = Map::new();
            for (name, property) in schema["properties"].as_object().unwrap_or(&empty) {
                let required = schema["required"].as_array();
                let is_required = required.is_some_and(|names| names.contains(&json!(name)));
                if is_required || rng.below(2) == 0 {
                    object.insert(name.clone(), generate(document, property, rng, depth + 1));
                }
            }
            if schema["additionalProperties"].is_object() {
                let value = generate(document, &schema["additionalProperties"], rng, depth + 1);
                object.insert("extra".into(), value);
            }
            Value::Object(object)
        }
        _ => Value::Null,
    }
}

/// Changes one thing somewhere.
pub(super) fn mutate(value: &mut Value, rng: &mut SplitMix64) {
    let go_on = rng.below(4) > 0;
    match value {
        Value::Object(object) if go_on && !object.is_empty() => {
            let at = small(rng.below(object.len() as u64));
            let name = object.keys().nth(at).expect("it is below the length").clone();
            match rng.below(6) {
                0 => drop(object.remove(&name)),
                1 => drop(object.insert("unknown".into(), 1.into())),
                _ => mutate(&mut object[&name], rng),
            }
        }
        Value::Array(items) if go_on && !items.is_empty() => {
            let at = small(rng.below(items.len() as u64));
            match rng.below(4) {
                0 => drop(items.remove(at)),
                1 => (0..4).for_each(|_| items.push(items[at].clone())),
                _ => mutate(&mut items[at], rng),
            }
        }
        Value::Number(number) if go_on => {
            let float = number.as_f64().expect("every number has one");
            *value = match rng.below(6) {
                0 => (float + 1.0).into(),
                1 => (float - 1.0).into(),
                2 => (float * 1000.0).into(),
                3 => (-float).into(),
                4 => (float + 0.5).into(),
                _ => number.to_string().into(),
            };
        }
        Value::String(text) if go_on => match rng.below(4) {
            0 => text.clear(),
            1 => *text = text.repeat(3000),
            2 => text.push('!'),
            _ => text.push('x'),
        },
        other => {
            let values = json!([
                null, true, false, 0, 1, -1, 3.0, 0.5, 1e300, 9_223_372_036_854_775_807_i64, "", "5",
                "0.5", "true", "https://example.com/a.png", [], {}, [1, 1.0], {"url": "x"}, ["a", "a"]
            ]);
            *other = values[small(rng.below(20))].clone();
        }
    }
}

pub(super) fn small(number: u64) -> usize {
    usize::try_from(number).expect("counts here are small")
}

/// The same document, the same inputs, in every run.
pub(super) fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}
