//! Validations per second beside the crate `jsonschema`, on the same inputs in the same run.
//!
//! Both sides have the schema compiled and the input parsed. Rounds are interleaved, because a shared
//! machine drifts; the ratio of medians is the figure to quote. `cargo xtask bench validation` runs it in
//! the release profile.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use fal_protocol::schema::{Mode, ModelSchema};
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let schema = schema();
    let reference = jsonschema::validator_for(&schema)?;
    let model = ModelSchema::from_value(&document(&schema))?;
    let (good, bad) = (good(), bad());
    if !reference.is_valid(&good) || !model.is_valid(&good, Mode::Strict) {
        return Err("the good input does not fit".into());
    }
    let errors = reference.iter_errors(&bad).count();
    if errors != ERRORS || model.validate(&bad, Mode::Strict).problems().len() != ERRORS {
        return Err(format!("the bad input has {errors} errors").into());
    }

    let mut rows: Vec<Row<'_>> = vec![
        Row::new("valid input: jsonschema", || u64::from(reference.is_valid(black_box(&good)))),
        Row::new("valid input: strict", || {
            u64::from(model.is_valid(black_box(&good), Mode::Strict))
        }),
        Row::new("valid input: as fal", || {
            u64::from(model.is_valid(black_box(&good), Mode::AsFal))
        }),
        Row::new("valid input: as fal, with a report", || {
            u64::from(model.validate(black_box(&good), Mode::AsFal).is_valid())
        }),
        Row::new("four errors with messages: jsonschema", || {
            reference.iter_errors(black_box(&bad)).map(|e| e.to_string().len() as u64).sum()
        }),
        Row::new("four errors with messages: strict", || messages(&model, &bad, Mode::Strict)),
        Row::new("four errors with messages: as fal", || messages(&model, &bad, Mode::AsFal)),
    ];
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.round();
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{ROUNDS} interleaved rounds, medians\n\n| | per second | ratio |\n|---|---:|---:|"
    )?;
    let mut limit = 0.0;
    for row in &mut rows {
        let rate = row.median();
        // The rows of ours follow the one that they are compared with.
        if row.name.ends_with("jsonschema") {
            limit = rate;
        }
        writeln!(out, "| {} | {rate:.0} | {:.2} |", row.name, rate / limit)?;
    }
    Ok(())
}

fn messages(model: &ModelSchema, input: &Value, mode: Mode) -> u64 {
    let report = model.validate(black_box(input), mode);
    report.problems().iter().map(|problem| problem.message().len() as u64).sum()
}

/// One contestant and its rates so far.
struct Row<'a> {
    name: &'static str,
    work: Box<dyn FnMut() -> u64 + 'a>,
    rates: Vec<f64>,
}

impl<'a> Row<'a> {
    fn new(name: &'static str, work: impl FnMut() -> u64 + 'a) -> Self {
        Self { name, work: Box::new(work), rates: Vec::new() }
    }

    fn round(&mut self) {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < ROUND_TIME {
            for _ in 0..BATCH {
                black_box((self.work)());
            }
            count += BATCH;
        }
        self.rates.push(f64::from(count) / start.elapsed().as_secs_f64());
    }

    fn median(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }
}

/// A text-to-image input as such models have it.
fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string"},
            "image_size": {"anyOf": [
                {"type": "object", "properties": {
                    "width": {"type": "integer", "exclusiveMinimum": 0, "maximum": 14142},
                    "height": {"type": "integer", "exclusiveMinimum": 0, "maximum": 14142}
                }},
                {"type": "string", "enum": ["square_hd", "square", "portrait_4_3", "landscape_4_3"]}
            ]},
            "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 50},
            "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "guidance_scale": {"type": "number", "minimum": 1, "maximum": 20},
            "num_images": {"type": "integer", "minimum": 1, "maximum": 4},
            "enable_safety_checker": {"type": "boolean"},
            "output_format": {"type": "string", "enum": ["jpeg", "png"]},
            "acceleration": {"type": "string", "enum": ["none", "regular", "high"]},
            "sync_mode": {"type": "boolean"}
        }
    })
}

fn document(schema: &Value) -> Value {
    json!({
        "paths": {"/acme/paint": {"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/PaintInput"}
        }}}}}},
        "components": {"schemas": {"PaintInput": schema}}
    })
}

fn good() -> Value {
    json!({
        "prompt": "Extreme close-up of a single tiger eye, direct frontal view.",
        "image_size": {"width": 1024, "height": 768},
        "num_inference_steps": 28,
        "seed": 1_234_567_890,
        "guidance_scale": 3.5,
        "num_images": 1,
        "enable_safety_checker": true,
        "output_format": "jpeg",
        "acceleration": "none",
        "sync_mode": false
    })
}

/// No prompt, a number out of range, a text for a number, and one for a truth value.
fn bad() -> Value {
    json!({"num_inference_steps": 99, "guidance_scale": "x", "sync_mode": "perhaps"})
}

const ERRORS: usize = 4;
const ROUNDS: usize = 7;
const BATCH: u32 = 1000;
const ROUND_TIME: Duration = Duration::from_millis(200);
