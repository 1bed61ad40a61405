//! Inputs: read and judged when a job runs, in the shape in which fal's apps complain.

use serde_json::{Map, Value};

use super::endpoint::{IMAGES_MAX, Interface, Kind, PRESETS, Presence};
use super::media::{SIDE_MAX, Size};
use crate::render;

/// What the model takes from a valid input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) prompt: Box<str>,
    pub(crate) seed: Option<i128>,
    pub(crate) images: u64,
    pub(crate) size: Size,
}

/// One problem of an input, rendered as pydantic 2 words it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    loc: Vec<Step>,
    kind: &'static str,
    msg: Box<str>,
    /// The offending value as JSON.
    input: Box<str>,
    ctx: Option<(&'static str, Value)>,
}

/// One step of a path into a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Name(&'static str),
    Index(u64),
}

impl Problem {
    pub(crate) fn new(
        loc: &[&'static str],
        kind: &'static str,
        msg: impl Into<Box<str>>,
        input: &Value,
    ) -> Self {
        let loc = loc.iter().map(|name| Step::Name(name)).collect();
        Self { loc, kind, msg: msg.into(), input: echo(input), ctx: None }
    }

    fn with_ctx(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.ctx = Some((key, value.into()));
        self
    }

    /// A required field that is absent; its input is what it is absent from.
    pub(crate) fn missing(loc: &[&'static str], from: &Value) -> Self {
        Self::new(loc, "missing", "Field required", from)
    }

    fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"loc\":[");
        for (at, step) in self.loc.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match step {
                Step::Name(name) => render::push_string(out, name),
                Step::Index(index) => render::push_number(out, *index),
            }
        }
        out.extend_from_slice(b"],\"msg\":");
        render::push_string(out, &self.msg);
        out.extend_from_slice(b",\"type\":");
        render::push_string(out, self.kind);
        out.extend_from_slice(b",\"url\":");
        render::push_string(out, &type_page(self.kind));
        if let Some((key, value)) = &self.ctx {
            out.extend_from_slice(b",\"ctx\":{");
            render::push_string(out, key);
            out.push(b':');
            out.extend_from_slice(value.to_string().as_bytes());
            out.push(b'}');
        }
        out.extend_from_slice(b",\"input\":");
        out.extend_from_slice(self.input.as_bytes());
        out.push(b'}');
    }
}

/// The page about a type: the documented types have one of fal's, what comes from pydantic one of pydantic's.
pub(crate) fn type_page(kind: &str) -> String {
    let is_documented = FAL_TYPES.contains(&kind);
    let base = if is_documented {
        "https://docs.fal.ai/errors#"
    } else {
        "https://errors.pydantic.dev/2.11/v/"
    };
    format!("{base}{kind}")
}

/// The body of a 422: every problem under `detail`.
pub(crate) fn render_problems(problems: &[Problem]) -> Vec<u8> {
    let mut out = b"{\"detail\":[".to_vec();
    for (at, problem) in problems.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        problem.render(&mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

/// The problems as one sentence, for the status of the job.
pub(crate) fn summary(problems: &[Problem]) -> String {
    let Some(first) = problems.first() else {
        return String::new();
    };
    let name = first.loc.iter().rev().find_map(|step| match step {
        Step::Name(name) if *name != "body" => Some(*name),
        _ => None,
    });
    let more = match problems.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    match name {
        Some(name) => format!("{name}: {}{more}", first.msg),
        None => format!("{}{more}", first.msg),
    }
}

/// Parses a body, or says what is wrong with it.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Vec<Problem>> {
    if body.is_empty() {
        return Err(vec![Problem::missing(&["body"], &Value::Null)]);
    }
    serde_json::from_slice(body).map_err(|error| {
        // Line and column point at the offending byte, except where the text ends too early.
        let lines = error.line().saturating_sub(1);
        let before: usize =
            body.split_inclusive(|b| *b == b'\n').take(lines).map(<[u8]>::len).sum();
        let at =
            if error.is_eof() { body.len() } else { before + error.column().saturating_sub(1) };
        let mut problem = Problem::new(
            &["body"],
            "json_invalid",
            "JSON decode error",
            &Value::Object(Map::new()),
        )
        .with_ctx("error", error.to_string());
        problem.loc.push(Step::Index(at as u64));
        vec![problem]
    })
}

/// Judges an input by its interface and takes from it what the answer needs.
pub(crate) fn read(interface: &Interface, body: &Value) -> Result<Input, Vec<Problem>> {
    let Value::Object(object) = body else {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        return Err(vec![Problem::new(&["body"], "model_attributes_type", msg, body)]);
    };
    let mut input = Input { prompt: "".into(), seed: None, images: 1, size: interface.size };
    let mut problems = Vec::new();
    for field in interface.fields {
        let value = match (object.get(field.name), field.presence) {
            (None, Presence::Required) => {
                problems.push(Problem::missing(&["body", field.name], body));
                continue;
            }
            (None, _) | (Some(Value::Null), Presence::Nullable) => continue,
            (Some(value), _) => value,
        };
        let loc = ["body", field.name];
        match field.kind {
            Kind::Text => match value.as_str() {
                Some(text) if field.name == "prompt" => input.prompt = text.into(),
                Some(_) => {}
                None => problems.push(Problem::new(
                    &loc,
                    "string_type",
                    "Input should be a valid string",
                    value,
                )),
            },
            Kind::Seed => match integer(&loc, value) {
                Ok(seed) => input.seed = Some(seed),
                Err(problem) => problems.push(problem),
            },
            Kind::ImageCount => match bounded(&loc, value, 1, IMAGES_MAX) {
                Ok(images) => input.images = images,
                Err(problem) => problems.push(problem),
            },
            Kind::ImageSize => match size(field.name, value) {
                Ok(size) => input.size = size,
                Err(found) => problems.extend(found),
            },
        }
    }
    if problems.is_empty() { Ok(input) } else { Err(problems) }
}

/// A value as JSON. A long one is described: nobody needs four copies of a picture in an error.
fn echo(value: &Value) -> Box<str> {
    let mut bounded = Bounded(Vec::new());
    match serde_json::to_writer(&mut bounded, value) {
        Ok(()) => String::from_utf8(bounded.0).expect("JSON is UTF-8").into(),
        Err(_) => format!("\"<more than {ECHO_BYTES_MAX} bytes>\"").into(),
    }
}

/// A writer that refuses what is beyond [`ECHO_BYTES_MAX`].
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > ECHO_BYTES_MAX {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A whole number as pydantic takes it without strictness: also `true`, `42.0` and `"42"`.
fn integer(loc: &[&'static str], value: &Value) -> Result<i128, Problem> {
    let refuse = |kind, msg: &str| Err(Problem::new(loc, kind, msg, value));
    match value {
        Value::Bool(flag) => Ok(i128::from(*flag)),
        Value::Number(number) => {
            if let Some(whole) =
                number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
            {
                return Ok(whole);
            }
            match number.as_f64() {
                Some(float) if float.fract() == 0.0 && float.abs() < 1e30 => Ok(float as i128),
                Some(float) if float.fract() != 0.0 => refuse(
                    "int_from_float",
                    "Input should be a valid integer, got a number with a fractional part",
                ),
                _ => refuse(
                    "int_parsing_size",
                    "Unable to parse input string as an integer, exceeded maximum size",
                ),
            }
        }
        Value::String(text) => match text.trim().parse::<i128>() {
            Ok(number) => Ok(number),
            Err(_) => refuse(
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer",
            ),
        },
        _ => refuse("int_type", "Input should be a valid integer"),
    }
}

fn bounded(loc: &[&'static str], value: &Value, min: u64, max: u64) -> Result<u64, Problem> {
    let number = integer(loc, value)?;
    if number < i128::from(min) {
        let msg = format!("Input should be greater than or equal to {min}");
        return Err(Problem::new(loc, "greater_than_equal", msg, value).with_ctx("ge", min));
    }
    if number > i128::from(max) {
        let msg = format!("Input should be less than or equal to {max}");
        return Err(Problem::new(loc, "less_than_equal", msg, value).with_ctx("le", max));
    }
    Ok(u64::try_from(number).expect("between two u64"))
}

fn size(name: &'static str, value: &Value) -> Result<Size, Vec<Problem>> {
    match value {
        Value::String(preset) => {
            PRESETS.iter().find(|(known, _)| known == preset).map(|(_, size)| *size).ok_or_else(
                || {
                    let names: Vec<String> =
                        PRESETS.iter().map(|(known, _)| format!("'{known}'")).collect();
                    let expected = format!(
                        "{} or {}",
                        names[..names.len() - 1].join(", "),
                        names[names.len() - 1]
                    );
                    let msg = format!("Input should be {expected}");
                    vec![
                        Problem::new(&["body", name], "enum", msg, value)
                            .with_ctx("expected", expected),
                    ]
                },
            )
        }
        Value::Object(object) => {
            let mut problems = Vec::new();
            let mut side = |which: &'static str| match object.get(which) {
                // Neither is required, and each defaults to 512 (every published document).
                None => 512,
                Some(value) => bounded(&["body", name, which], value, 1, u64::from(SIDE_MAX))
                    .map_or_else(
                        |problem| {
                            problems.push(problem);
                            0
                        },
                        |side| u32::try_from(side).expect("at most SIDE_MAX"),
                    ),
            };
            let size = Size { width: side("width"), height: side("height") };
            if problems.is_empty() { Ok(size) } else { Err(problems) }
        }
        _ => {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            Err(vec![Problem::new(&["body", name], "model_attributes_type", msg, value)])
        }
    }
}

/// Types with a page in fal's documentation that an input can cause here.
///
/// Source: docs.fal.ai, errors page (documented).
const FAL_TYPES: [&str; 5] =
    ["greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of"];

/// A longer offending input is described and not echoed: 4 KiB.
const ECHO_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::endpoint::interface;
    use super::*;

    #[track_caller]
    fn check(endpoint: &str, body: Value, want: &[(&str, &str)]) {
        let found = match read(interface(endpoint), &body) {
            Ok(_) => Vec::new(),
            Err(problems) => serde_json::from_slice::<Value>(&render_problems(&problems)).unwrap()
                ["detail"]
                .as_array()
                .unwrap()
                .clone(),
        };
        let found: Vec<(String, String)> = found
            .iter()
            .map(|p| (p["loc"].to_string(), p["type"].as_str().unwrap().to_owned()))
            .collect();
        let want: Vec<(String, String)> =
            want.iter().map(|(l, t)| ((*l).to_owned(), (*t).to_owned())).collect();
        assert_eq!(found, want, "{body}");
    }

    const CONTROLNET: &str = "fal-ai/controlnet-ip-adapter";

    #[test]
    fn every_problem_is_reported_at_once() {
        check(
            CONTROLNET,
            json!({"prompt": 1, "seed": "x", "negative_prompt": null}),
            &[
                (r#"["body","prompt"]"#, "string_type"),
                (r#"["body","negative_prompt"]"#, "string_type"),
                (r#"["body","reference_image_url"]"#, "missing"),
                (r#"["body","reference_pose_image_url"]"#, "missing"),
                (r#"["body","ip_archive_url"]"#, "missing"),
                (r#"["body","seed"]"#, "int_parsing"),
            ],
        );
    }

    #[test]
    fn empty_texts_and_unknown_fields_are_fine() {
        let body = json!({"prompt": "", "reference_image_url": "", "reference_pose_image_url": "",
            "ip_archive_url": "", "seed": null, "new": 1});
        check(CONTROLNET, body, &[]);
        check("acme/any", json!({}), &[]);
    }

    #[test]
    fn numbers_are_taken_leniently() {
        for (seed, want) in [
            (json!(42), 42),
            (json!("42"), 42),
            (json!(42.0), 42),
            (json!(true), 1),
            (json!(-1), -1),
        ] {
            let input = read(interface("acme/any"), &json!({"seed": seed})).unwrap();
            assert_eq!(input.seed, Some(want));
        }
        check("acme/any", json!({"seed": 1.5}), &[(r#"["body","seed"]"#, "int_from_float")]);
        check("acme/any", json!({"seed": []}), &[(r#"["body","seed"]"#, "int_type")]);
        check("acme/any", json!({"seed": 1e99}), &[(r#"["body","seed"]"#, "int_parsing_size")]);
        let largest = read(interface("acme/any"), &json!({"seed": u64::MAX})).unwrap();
        assert_eq!(largest.seed, Some(i128::from(u64::MAX)));
    }

    #[test]
    fn counts_and_sizes_are_bounded_on_both_sides() {
        for (count, types) in [(0, "greater_than_equal"), (1, ""), (4, ""), (5, "less_than_equal")]
        {
            let want = [(r#"["body","num_images"]"#, types)];
            check(
                "acme/any",
                json!({"num_images": count}),
                if types.is_empty() { &[] } else { &want },
            );
        }
        let size =
            |width: u32, height: u32| json!({"image_size": {"width": width, "height": height}});
        check("acme/any", size(1, SIDE_MAX), &[]);
        check(
            "acme/any",
            size(0, SIDE_MAX + 1),
            &[
                (r#"["body","image_size","width"]"#, "greater_than_equal"),
                (r#"["body","image_size","height"]"#, "less_than_equal"),
            ],
        );
        check("acme/any", json!({"image_size": "huge"}), &[(r#"["body","image_size"]"#, "enum")]);
        check("acme/any", json!({"image_size": "square"}), &[]);
        check(
            "acme/any",
            json!({"image_size": 3}),
            &[(r#"["body","image_size"]"#, "model_attributes_type")],
        );
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        check("acme/any", json!([1]), &[(r#"["body"]"#, "model_attributes_type")]);
        let problems = parse(b"{\n\"a\": }").unwrap_err();
        let body: Value = serde_json::from_slice(&render_problems(&problems)).unwrap();
        assert_eq!(body["detail"][0]["type"], "json_invalid");
        assert_eq!(body["detail"][0]["loc"], json!(["body", 7]));
        assert_eq!(parse(b"").unwrap_err()[0].kind, "missing");
    }

    #[test]
    fn long_inputs_are_described() {
        let long = |n| json!([" ".repeat(n)]);
        for (bytes, echoed) in [(ECHO_BYTES_MAX - 4, true), (ECHO_BYTES_MAX - 3, false)] {
            let problems = read(interface("acme/any"), &long(bytes)).unwrap_err();
            let body: Value = serde_json::from_slice(&render_problems(&problems)).unwrap();
            assert_eq!(body["detail"][0]["input"].is_array(), echoed, "{bytes}");
        }
    }
}
