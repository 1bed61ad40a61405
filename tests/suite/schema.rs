//! Model documents and validation, against other validators and against the published documents.

mod changes;
mod documents;
mod figures;
mod generate;
mod pydantic;
mod reference;

use std::collections::BTreeMap;

use fal_protocol::media;
use fal_protocol::rand::SplitMix64;
use fal_protocol::schema::{DefectKind, Dialect, Mode, ModelSchema};
use serde_json::{Map, Value, json};

use documents::{bundled, constructs, corpus, own_documents};
use generate::{generate, mutate, seed_of};
use reference::Reference;

/// The other validator and ours agree on every document, with every input that the generator thinks of.
#[test]
fn strict_mode_agrees_with_jsonschema() {
    let own = [own_documents(), bundled(), constructs()].concat();
    for (set, documents) in [("bundled", own), ("corpus", corpus())] {
        if !documents.is_empty() {
            figures::check("jsonschema", set, &agree(&documents));
        }
    }
}

fn agree(documents: &[(String, Value)]) -> Value {
    let mut seen = Counts::default();
    for (name, document) in documents {
        let model = ModelSchema::from_value(document).unwrap_or_else(|e| panic!("{name}: {e}"));
        let reference = Reference::new(document);
        let mut rng = SplitMix64::new(seed_of(name));
        for turn in 0..INPUTS_PER_DOCUMENT {
            let valid = generate(document, reference.root(), &mut rng, 0);
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
    assert!(
        seen.fitting > 20 && seen.refused > 20,
        "a generator of one kind shows nothing: {seen:?}"
    );
    let made = documents.len() * INPUTS_PER_DOCUMENT;
    json!({
        "documents": documents.len(),
        "inputs made": made,
        "changes tried": made * MUTATIONS_PER_INPUT,
        "inputs that both take": seen.fitting,
        "inputs that both refuse": seen.refused,
        "disagreements": 0,
    })
}

/// What holds between the modes, for any input.
#[track_caller]
fn check_modes(model: &ModelSchema, input: &Value, context: &dyn Fn() -> String) {
    let mut was_valid = false;
    for mode in [Mode::Strict, Mode::AsFal, Mode::Lenient] {
        let is_valid = model.is_valid(input, mode);
        let report = model.validate(input, mode);
        assert_eq!(report.is_valid(), is_valid, "{mode:?} {report:?} {}", context());
        // Where pydantic is stricter than JSON Schema: what no integer of 64 bits or set can hold, divisors of very
        // large numbers, and bounds of unions, which JSON Schema does not know.
        let is_known = mode == Mode::AsFal
            && report.problems().iter().any(|problem| STRICTER.contains(&problem.error_type()));
        assert!(
            is_valid || !was_valid || is_known,
            "{mode:?} refuses what the mode before takes: {report:?} {}",
            context()
        );
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
        let looser = ["multiple_of", "string_pattern_mismatch", "value_error", "literal_error"];
        let is_mended = report.problems().iter().all(|p| looser.contains(&p.error_type()));
        assert!(is_mended, "{completed} {report:?} {}", context());
    }
}

#[test]
fn every_document_loads() {
    for (set, documents) in [("bundled", bundled()), ("corpus", corpus())] {
        if !documents.is_empty() {
            figures::check("documents", set, &load_all(&documents));
        }
    }
}

fn load_all(documents: &[(String, Value)]) -> Value {
    let (mut usable, mut with_defects) = (0, 0);
    let mut kinds = BTreeMap::<String, usize>::new();
    for (name, document) in documents {
        let model = ModelSchema::from_value(document).unwrap_or_else(|e| panic!("{name}: {e}"));
        with_defects += usize::from(!model.defects().is_empty());
        for defect in model.defects() {
            let kind = format!("{:?}", defect.kind);
            let kind = kind.split([' ', '{']).next().unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        let id = document["info"]["x-fal-metadata"]["endpointId"].as_str();
        assert_eq!(model.endpoint_id(), id, "{name}");
        let is_described = !model.defects().iter().any(|d| d.kind == DefectKind::MissingInput);
        usable += usize::from(is_described);
        assert_eq!(model.input().resolved().fields().len() > 0, is_described, "{name}");
        for field in model.input().resolved().fields() {
            assert!(field.schema.resolved().types() != fal_protocol::schema::Types::NONE, "{name}");
        }
    }
    // All 10,848 examples of the catalogue but a handful are good; a broken validator refuses many more.
    let bad_examples = kinds.get("ExampleMismatch").copied().unwrap_or_default();
    assert!(bad_examples * 20 <= documents.len().max(1), "{bad_examples} examples do not fit");
    json!({
        "documents": documents.len(),
        "usable: their input is described": usable,
        "with defects": with_defects,
        "defects": kinds,
    })
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

/// Types of problems that only pydantic has with what fits a schema.
const STRICTER: [&str; 11] = [
    "url_parsing",
    "url_scheme",
    "url_too_long",
    "uuid_parsing",
    "uuid_version",
    "multiple_of",
    "int_parsing_size",
    "set_item_not_hashable",
    "too_short",
    "greater_than_equal",
    "less_than_equal",
];

const INPUTS_PER_DOCUMENT: usize = 5;
const MUTATIONS_PER_INPUT: usize = 7;
