//! What documents become. That it compiles, and does what it says, is seen in `fal-codegen-check`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

/// A document of one model, in the form of the service.
fn document(id: &str, input: &Value, output: &Value, components: Value) -> Vec<u8> {
    let mut schemas = components;
    schemas["TheInput"] = input.clone();
    schemas["TheOutput"] = output.clone();
    let body = |name: &str| json!({ "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } } });
    let path = format!("/{id}");
    let result = format!("/{id}/requests/{{request_id}}");
    json!({
        "info": { "x-fal-metadata": { "endpointId": id, "category": "text-to-image" } },
        "paths": {
            path: { "post": { "requestBody": body("TheInput") } },
            result: { "get": { "responses": { "200": body("TheOutput") } } },
        },
        "components": { "schemas": schemas },
    })
    .to_string()
    .into_bytes()
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn file() -> Value {
    object(&json!({ "url": { "type": "string" }, "content_type": { "type": "string" } }), &["url"])
}

/// The code without its layout: words with single spaces.
fn flat(code: &str) -> String {
    code.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("( ", "(")
        .replace(", )", ")")
        .replace(" )", ")")
}

#[track_caller]
fn check(input: &Value, output: &Value, components: Value, expected: &[&str]) {
    let code =
        Generator::new().document(&document("acme/paint", input, output, components)).unwrap();
    let code = code.generate().unwrap();
    let text = flat(code.text());
    for expected in expected {
        assert!(text.contains(&flat(expected)), "{expected}\n\nis not in\n\n{}", code.text());
    }
}

#[track_caller]
fn check_input(properties: Value, required: &[&str], expected: &[&str]) {
    let sizes = json!({ "Size": object(&json!({ "width": { "type": "integer" } }), &[]) });
    check(&object(&properties, required), &json!({}), sizes, expected);
}

#[track_caller]
fn check_output(properties: Value, required: &[&str], expected: &[&str]) {
    let components = json!({
        "Image": file(),
        "Node": object(&json!({ "next": { "$ref": "#/components/schemas/Node" } }), &[]),
    });
    check(&json!({}), &object(&properties, required), components, expected);
}

#[test]
fn required_fields_are_arguments_and_the_rest_are_setters() {
    check_input(
        json!({
            "prompt": { "type": "string", "description": "What to paint.", "maxLength": 9 },
            "steps": { "type": "integer", "default": 28, "minimum": 1, "maximum": 50 },
            "mask_url": { "type": "string" },
            "tags": { "type": "array", "items": { "type": "string", "minLength": 1 }, "maxItems": 3 },
        }),
        &["prompt"],
        &[
            "/// - `prompt`: What to paint. Allowed: up to 9 characters.",
            "pub fn new(prompt: impl Into<String>) -> Self { Self { prompt: prompt.into(), mask_url: None, \
             steps: None, tags: None, } }",
            "/// Default: `28`. Allowed: 1 to 50.\n pub fn steps(mut self, steps: i64) -> Self",
            "pub fn mask_url(mut self, mask_url: impl Into<FileOrUrl>) -> Self",
            "pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self",
            "limits::range(\"steps\", &self.steps, Range::NONE.min(1.0).max(50.0))?;",
            "limits::length(\"prompt\", &self.prompt, 0, Some(9))?;",
            "limits::length(\"tags\", &self.tags, 0, Some(3))?;",
            "limits::each_length(\"tags\", &self.tags, 1, None)?;",
            "impl Endpoint for AcmePaint { type Output = Output; const ID: &'static str = \"acme/paint\";",
            "#[serde(skip_serializing_if = \"Option::is_none\")] steps: Option<i64>,",
        ],
    );
}

#[test]
fn null_can_be_said_where_it_is_not_the_default() {
    let nullable = |default: Value| json!({ "anyOf": [{ "type": "number" }, { "type": "null" }], "default": default });
    check_input(
        json!({ "fps": nullable(json!(16)), "scale": nullable(Value::Null) }),
        &[],
        &[
            "#[serde(default, deserialize_with = \"stated\", skip_serializing_if = \"Option::is_none\")] \
             fps: Option<Option<f64>>,",
            "pub fn fps(mut self, fps: f64) -> Self { self.fps = Some(Some(fps)); self }",
            "pub fn without_fps(mut self) -> Self { self.fps = Some(None); self }",
            "scale: Option<f64>,",
            "pub fn new() -> Self { Self::default() }",
        ],
    );
}

#[test]
fn enums_are_open_and_unions_are_enums() {
    let texts = |texts: &[&str]| json!({ "type": "string", "enum": texts });
    check_input(
        json!({
            "format": texts(&["jpeg", "png"]),
            "ratio": texts(&["16:9", "auto", "Other", "", "Hope", "Hope "]),
            "size": { "anyOf": [{ "$ref": "#/components/schemas/Size" }, texts(&["square_hd"])] },
            "fill_url": { "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }] },
            "voice": { "anyOf": [{ "type": "string" }, texts(&["Ann"])] },
            "duration": { "type": "integer", "enum": [5, 10] },
            "point": { "anyOf": [{ "type": "array", "items": { "type": "number" } }, { "type": "object" }] },
            "one": { "anyOf": [{ "type": "integer" }, { "type": "number" }] },
        }),
        &[],
        &[
            "#[serde(rename_all = \"lowercase\")] pub enum Format { /// `jpeg`. Jpeg, /// `png`. Png, \
             /// Any other text. #[serde(untagged)] Other(String), }",
            "#[serde(rename = \"16:9\")] Ratio16x9,",
            "#[serde(rename = \"Other\")] Other2,",
            "#[serde(rename = \"\")] Empty,",
            "Hope, ",
            "#[serde(rename = \"Hope \")] Hope2,",
            "pub enum Size { /// `square_hd`. #[serde(rename = \"square_hd\")] SquareHd, /// An object. \
             #[serde(untagged)] Custom(CustomSize), /// Any other text. #[serde(untagged)] Other(String), }",
            "pub struct CustomSize",
            "List(Vec<FileOrUrl>), /// A file, or its address. #[serde(untagged)] Url(FileOrUrl), \
             /// Anything else. #[serde(untagged)] Other(Value), }",
            "pub enum Voice { /// `Ann`. Ann, /// Any other text. #[serde(untagged)] Other(String), }",
            "limits::one_of(\"duration\", &self.duration, &[5.0, 10.0])?;",
            "List(Vec<f64>), /// Anything else. #[serde(untagged)] Other(Value), }",
            "one: Option<f64>,",
        ],
    );
}

#[test]
fn names_are_names_of_rust() {
    check_input(
        json!({
            "type": { "type": "string" },
            "self": { "type": "string" },
            "sdpMid": { "type": "string" },
            "a-b": { "type": "boolean" },
            "a_b": { "type": "boolean" },
            "new": { "type": "boolean" },
            "option": { "type": "string", "enum": ["a"] },
        }),
        &["type"],
        &[
            "pub fn new(r#type: impl Into<String>) -> Self",
            "#[serde(rename = \"self\", skip_serializing_if = \"Option::is_none\")] self_: Option<String>,",
            "#[serde(rename = \"sdpMid\", skip_serializing_if = \"Option::is_none\")] sdp_mid: Option<String>,",
            "#[serde(rename = \"a-b\", skip_serializing_if = \"Option::is_none\")] a_b: Option<bool>,",
            "#[serde(rename = \"a_b\", skip_serializing_if = \"Option::is_none\")] a_b2: Option<bool>,",
            "new2: Option<bool>,",
            "pub enum AcmePaintOption",
        ],
    );
}

#[test]
fn outputs_must_have_their_files_and_little_else() {
    let image = json!({ "$ref": "#/components/schemas/Image" });
    check_output(
        json!({
            "images": { "type": "array", "items": image },
            "preview": image,
            "seed": { "type": "integer" },
            "timings": { "type": "object", "additionalProperties": { "type": "number" } },
            "node": { "$ref": "#/components/schemas/Node" },
        }),
        &["images", "seed", "timings"],
        &[
            "pub images: Vec<Image>,",
            "pub preview: Option<Image>,",
            "pub seed: Option<i64>,",
            "#[serde(default, deserialize_with = \"or_empty\")] pub timings: BTreeMap<String, f64>,",
            "pub next: Option<Box<Node>>,",
        ],
    );
    check_output(json!({ "text": { "type": "string" } }), &["text"], &["pub text: String,"]);
    check(
        &json!({}),
        &json!({}),
        json!({}),
        &["pub type Output = Value;", "pub struct AcmePaint(pub Value);"],
    );
}

#[test]
fn objects_of_a_union_are_told_apart_by_their_constants() {
    let part = |kind: &str| {
        object(&json!({ "type": { "const": kind }, kind: { "type": "string" } }), &["type", kind])
    };
    let components = json!({ "A": part("text"), "B": part("image_url") });
    let of = json!({ "anyOf": [{ "$ref": "#/components/schemas/A" }, { "$ref": "#/components/schemas/B" }] });
    check(
        &object(&json!({ "part": of }), &["part"]),
        &json!({}),
        components,
        &[
            "pub enum Part { /// An object. #[serde(untagged)] A(A), /// An object. #[serde(untagged)] B(B),",
            "pub fn new(text: impl Into<String>) -> Self { Self { text: text.into(), r#type: Default::default(), } }",
            "#[serde(rename = \"image_url\")] Fixed,",
        ],
    );
}

#[test]
fn words_of_others_can_be_left_out() {
    let input = object(&json!({ "a": { "type": "string", "description": "Theirs." } }), &[]);
    let document = document("acme/paint", &input, &json!({}), json!({}));
    let generator = Generator::new().document(&document).unwrap();
    assert!(generator.generate().unwrap().text().contains("Theirs."));
    let bare = generator.descriptions(false).generate().unwrap();
    assert!(!bare.text().contains("Theirs.") && bare.text().contains("Sets `a`."));
}

#[test]
fn order_and_repeats_change_nothing() {
    let one = |id: &str| document(id, &json!({}), &json!({}), json!({}));
    // Both would be `BriaExpand`.
    let ids = ["fal-ai/bria/expand", "bria/expand", "acme/a.b", "acme/a-b"];
    let generate = |ids: &mut dyn Iterator<Item = &&str>| {
        let add = |generator: Generator, id: &&str| generator.document(&one(id)).unwrap();
        ids.fold(Generator::new(), add).generate().unwrap()
    };
    let code = generate(&mut ids.iter());
    assert_eq!(code, generate(&mut ids.iter().rev().chain(&ids)));
    let modules: Vec<&str> = code.endpoints().iter().map(|endpoint| &*endpoint.module).collect();
    assert_eq!(modules, ["acme_a_b", "acme_acme_a_b", "bria_expand", "fal_ai_bria_expand"]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let problem = |generator: Result<Generator, Error>| generator.unwrap_err().to_string();
    assert!(
        problem(Generator::new().document(b"no"))
            .starts_with("the document: the document is not JSON")
    );
    assert!(
        problem(Generator::new().file("/nonexistent/a.json")).starts_with("/nonexistent/a.json: ")
    );
    let dump = json!({ "models": [{ "endpoint_id": "acme/x", "openapi": { "error": { "message": "gone" } } }] });
    let dump = problem(Generator::new().document(dump.to_string().as_bytes()));
    assert_eq!(dump, "the document: acme/x: the service has no document: gone");
    let empty = Generator::new().generate().unwrap_err().to_string();
    assert_eq!(empty, "the generator has no model: add a document (.json)");
    let document = document("acme/paint", &json!({}), &json!({}), json!({}));
    let generator = Generator::new().document(&document).unwrap().client("not a path");
    assert_eq!(
        generator.generate().unwrap_err().to_string(),
        "\"not a path\" is not the path of a crate"
    );
}

#[test]
fn every_document_at_hand_becomes_code() {
    let mut generator = Generator::new().folder(models()).unwrap();
    if let Some(corpus) = corpus() {
        for file in source::files(&corpus).unwrap() {
            // Lists and counts lie beside the documents.
            if file.file_name().is_some_and(|name| name.to_string_lossy().contains("__")) {
                generator = generator.file(file).unwrap();
            }
        }
    }
    let code = generator.generate().unwrap();
    let lines: usize = code.endpoints().iter().map(|endpoint| endpoint.lines).sum();
    assert!(code.endpoints().len() >= 9 && lines < 400 * code.endpoints().len());
}

/// The documents of this repository.
fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../mock-server/models")
}

/// Documents that are not part of it.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("FAL_OPENAPI_CORPUS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi");
    named.or(Some(beside)).filter(|folder| folder.is_dir() && fs::read_dir(folder).is_ok())
}
