//! Model documents and validation, against another validator and against the published documents.

use std::path::{Path, PathBuf};

use fal_protocol::media;
use fal_protocol::rand::SplitMix64;
use fal_protocol::schema::{DefectKind, Dialect, Mode, ModelSchema};
use serde_json::{Map, Value, json};

/// The other validator and ours agree on every document, with every input that the generator thinks of.
#[test]
fn strict_mode_agrees_with_jsonschema() {
    let mut seen = Counts::default();
    for (name, document) in own_documents().into_iter().chain(corpus()) {
        let model = ModelSchema::from_value(&document).unwrap_or_else(|e| panic!("{name}: {e}"));
        let reference = Reference::new(&document);
        let mut rng = SplitMix64::new(seed_of(&name));
        for turn in 0..INPUTS_PER_DOCUMENT {
            let valid = generate(&document, reference.root(), &mut rng, 0);
            let mut inputs = vec![valid];
            for _ in 0..MUTATIONS_PER_INPUT {
                let mut input = inputs[0].clone();
                mutate(&mut input, &mut rng);
                inputs.push(input);
            }
            for input in inputs {
                let expected = reference.validator.is_valid(&input);
                let context = || format!("{name}, turn {turn}, {expected} for {input}");
                assert_eq!(model.is_valid(&input, Mode::Strict), expected, "{}", context());
                check_modes(&model, &input, &context);
                seen.count(expected);
            }
        }
    }
    println!("{seen:?}: no disagreement");
    assert!(
        seen.fitting > 20 && seen.refused > 20,
        "a generator of one kind shows nothing: {seen:?}"
    );
}

/// What holds between the modes, for any input.
#[track_caller]
fn check_modes(model: &ModelSchema, input: &Value, context: &dyn Fn() -> String) {
    let mut was_valid = false;
    for mode in [Mode::Strict, Mode::AsFal, Mode::Lenient] {
        let is_valid = model.is_valid(input, mode);
        let report = model.validate(input, mode);
        assert_eq!(report.is_valid(), is_valid, "{mode:?} {report:?} {}", context());
        assert!(is_valid || !was_valid, "{mode:?} is looser than the mode before: {}", context());
        was_valid = is_valid;
        for problem in report.problems() {
            assert_eq!(problem.to_json()["loc"][0], "body", "{}", context());
        }
    }
    for mode in [Mode::AsFal, Mode::Lenient] {
        let review = model.review(input, mode);
        assert_eq!(review.is_valid(), model.is_valid(input, mode), "{review} {}", context());
    }
    let completed = model.complete(input);
    assert_eq!(model.complete(&completed), completed, "{}", context());
    let has_bad_default = model.defects().iter().any(|d| d.kind == DefectKind::DefaultMismatch);
    let is_coerced = model.dialect() == Dialect::NullsStated && !has_bad_default;
    if is_coerced && model.is_valid(input, Mode::AsFal) {
        let report = model.validate(&completed, Mode::Strict);
        // Where the service is looser than coercion can mend: rounding, letters, and equal elements.
        let looser = ["multiple_of", "string_pattern_mismatch", "value_error"];
        let is_mended = report.problems().iter().all(|p| looser.contains(&p.error_type()));
        assert!(is_mended, "{completed} {report:?} {}", context());
    }
}

#[test]
fn every_published_document_loads() {
    let mut defects = 0;
    let mut bad_examples = 0;
    let mut documents = 0;
    for (name, document) in corpus() {
        let model = ModelSchema::from_value(&document).unwrap_or_else(|e| panic!("{name}: {e}"));
        documents += 1;
        defects += model.defects().len();
        let is_example = |kind: &DefectKind| matches!(kind, DefectKind::ExampleMismatch { .. });
        bad_examples += model.defects().iter().filter(|d| is_example(&d.kind)).count();
        let id = document["info"]["x-fal-metadata"]["endpointId"].as_str();
        assert_eq!(model.endpoint_id(), id, "{name}");
        let is_described = !model.defects().iter().any(|d| d.kind == DefectKind::MissingInput);
        assert_eq!(model.input().resolved().fields().len() > 0, is_described, "{name}");
        for field in model.input().resolved().fields() {
            assert!(field.schema.resolved().types() != fal_protocol::schema::Types::NONE, "{name}");
        }
    }
    println!("{documents} documents, {defects} defects, {bad_examples} examples that do not fit");
    // All 10,848 examples of the catalogue but a handful are good; a broken validator refuses many more.
    assert!(bad_examples * 20 <= documents.max(1), "{bad_examples} in {documents} documents");
}

/// Two letters swapped in the name of any field, or in any choice, are told with the right one.
#[test]
fn slips_are_understood_in_every_document() {
    let (mut slips, mut understood) = (0, 0);
    for (name, document) in own_documents().into_iter().chain(corpus()) {
        let model = ModelSchema::from_value(&document).unwrap_or_else(|e| panic!("{name}: {e}"));
        for field in model.input().resolved().fields() {
            let Some(slip) = swap(field.name) else { continue };
            if model.input().resolved().fields().any(|field| field.name == slip) {
                continue;
            }
            let review = model.review(&json!({ slip.clone(): null }), Mode::AsFal);
            let told = |path: &str, suggestion: &str| {
                let all = review.problems.iter().chain(&review.warnings);
                all.clone().any(|f| &*f.path == path && f.suggestion.as_deref() == Some(suggestion))
            };
            slips += 1;
            understood += u32::from(told(&slip, field.name) || told(field.name, &slip));
            let choices = field.schema.resolved().choices().unwrap_or_default();
            for choice in choices.iter().take(8) {
                let Some(slip) = choice.as_str().and_then(swap) else { continue };
                if choices.contains(&slip.clone().into()) {
                    continue;
                }
                let review = model.review(&json!({ field.name: slip }), Mode::AsFal);
                let is_it = |s: Option<&str>| s == Some(&choice.to_string());
                slips += 1;
                let mut told = review.problems.iter().filter(|f| *f.path == *field.name);
                understood += u32::from(told.any(|f| is_it(f.suggestion.as_deref())));
            }
        }
    }
    println!("{understood} of {slips} slips are understood");
    // Some choices are one slip away from each other: `am_adam` and `am_dama`.
    assert!(slips > 5 && understood * 100 >= slips * 98, "{understood} of {slips}");
}

/// A text of five letters or more with two of them swapped, not the first.
fn swap(text: &str) -> Option<String> {
    let mut letters: Vec<char> = text.chars().collect();
    let at = letters.len() / 2;
    if letters.len() < 5 || letters[at] == letters[at - 1] {
        return None;
    }
    letters.swap(at, at - 1);
    Some(letters.into_iter().collect())
}

/// What documents show as files can be read as files.
#[test]
fn files_in_examples_are_read() {
    let mut files = 0;
    for (name, document) in corpus() {
        let model = ModelSchema::from_value(&document).unwrap_or_else(|e| panic!("{name}: {e}"));
        for field in model.output().resolved().fields() {
            for example in field.schema.examples() {
                count_files(example, &mut files, &name);
            }
        }
    }
    println!("{files} files in examples");
}

#[track_caller]
fn count_files(value: &Value, files: &mut u32, name: &str) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| count_files(item, files, name)),
        Value::Object(fields) if fields.get("url").is_some_and(Value::is_string) => {
            *files += 1;
            let file: media::Video =
                serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let back = serde_json::to_value(&file).expect("it was JSON");
            assert_eq!(back.as_object().map(Map::len), Some(fields.len()), "{name}");
        }
        Value::Object(fields) => fields.values().for_each(|field| count_files(field, files, name)),
        _ => {}
    }
}

/// The documents in the folder that `FAL_OPENAPI_CORPUS` names, else beside the workspace; none without.
#[expect(clippy::print_stdout, reason = "says what was read, or why nothing was")]
fn corpus() -> Vec<(String, Value)> {
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
fn own_documents() -> Vec<(String, Value)> {
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

/// The other validator, on a document put into its words.
struct Reference {
    schema: Value,
    validator: jsonschema::Validator,
}

impl Reference {
    fn new(document: &Value) -> Self {
        let mut components = document["components"]["schemas"].clone();
        translate(&mut components);
        let paths = document["paths"].as_object().expect("documents have paths");
        let post =
            paths.values().find_map(|item| item.get("post")).expect("one path takes an input");
        let root = &post["requestBody"]["content"]["application/json"]["schema"];
        let mut schema = root.as_object().cloned().unwrap_or_default();
        // What is not there passes anything.
        let mut targets = Vec::new();
        references(&components, &mut targets);
        references(root, &mut targets);
        for target in targets {
            let name = target.strip_prefix("#/components/schemas/").expect("references are local");
            let components = components.as_object_mut().expect("components are named");
            components.entry(name).or_insert_with(|| json!({}));
        }
        schema.insert("components".into(), json!({"schemas": components}));
        let schema = Value::Object(schema);
        let validator = jsonschema::draft202012::new(&schema).expect("the schema is valid");
        Self { schema, validator }
    }

    fn root(&self) -> &Value {
        &self.schema
    }
}

/// Spells out what the documents mean beyond JSON Schema: `nullable`, and tuples that became objects.
fn translate(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Object(object) => {
            object.values_mut().for_each(translate);
            let is_tuple = object.get("items").is_some_and(|items| items.get("0").is_some());
            if is_tuple && let Some(Value::Object(items)) = object.remove("items") {
                object.insert(
                    "prefixItems".into(),
                    items.into_iter().map(|(_, item)| item).collect(),
                );
            }
            if object.get("nullable") == Some(&Value::Bool(true)) {
                object.remove("nullable");
                let inner = Value::Object(std::mem::take(object));
                object.insert("anyOf".into(), json!([inner, {"type": "null"}]));
            }
        }
        _ => {}
    }
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

/// An input that mostly fits, made from the schema as it is written.
fn generate(document: &Value, schema: &Value, rng: &mut SplitMix64, depth: usize) -> Value {
    let pick =
        |list: &[Value], rng: &mut SplitMix64| list[small(rng.below(list.len() as u64))].clone();
    if depth > 8 {
        return Value::Null;
    }
    if let Some(target) = schema["$ref"].as_str() {
        let found = document.pointer(&target[1..]).unwrap_or(&Value::Null);
        return generate(document, found, rng, depth + 1);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(alternatives) = schema[keyword].as_array() {
            return generate(document, &pick(alternatives, rng), rng, depth + 1);
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return pick(values, rng);
    }
    let number = |name: &str| schema[name].as_f64();
    match schema["type"].as_str() {
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
fn mutate(value: &mut Value, rng: &mut SplitMix64) {
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

fn small(number: u64) -> usize {
    usize::try_from(number).expect("counts here are small")
}

/// The same document, the same inputs, in every run.
fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}

#[derive(Debug, Default)]
struct Counts {
    fitting: usize,
    refused: usize,
}

impl Counts {
    fn count(&mut self, is_valid: bool) {
        *if is_valid { &mut self.fitting } else { &mut self.refused } += 1;
    }
}

const INPUTS_PER_DOCUMENT: usize = 5;
const MUTATIONS_PER_INPUT: usize = 7;
