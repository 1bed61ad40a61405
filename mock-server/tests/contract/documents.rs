//! Documents through the whole service: answers, their files, and examples as inputs.
//!
//! That every answer fits is a test of its own beside the code that makes them; here each tenth document is
//! asked, because encoding pictures takes time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use fal_mock::model::{Catalog, Config, Door, Host, Model, Output, Request};
use fal_protocol::schema::Mode;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::figures;
use crate::inputs::{corpus, input_of};
use crate::media;

/// The service without sockets.
struct World {
    model: Model,
    now: Instant,
    calls: u64,
}

impl World {
    fn new(catalog: Catalog, seed: u64) -> Self {
        let mut config = Config::default();
        config.catalog = Arc::new(catalog);
        config.instant = true;
        config.seed = seed;
        let now = Instant::now();
        Self { model: Model::new(config, now, SystemTime::UNIX_EPOCH), now, calls: 0 }
    }

    fn call(
        &mut self,
        method: &Method,
        host: Host,
        path: &str,
        body: Bytes,
    ) -> http::Response<Bytes> {
        self.calls += 1;
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Key id:secret"));
        let request =
            Request::new(method, host, path, &headers).with_body(body).with_door(Door::Direct);
        self.model.handle_request(self.now, self.calls, request);
        let Output::Reply { id, response } = self.model.poll_output() else {
            panic!("no answer: {path}")
        };
        assert_eq!(id, self.calls);
        response
    }

    /// Through the queue, which takes every endpoint, streams and realtime ones too.
    fn run(&mut self, endpoint: &str, input: &Value) -> http::Response<Bytes> {
        let body = input.to_string().into();
        let submitted = self.call(&Method::POST, Host::Queue, &format!("/{endpoint}"), body);
        let submitted: Value = serde_json::from_slice(submitted.body()).expect("JSON");
        let url =
            submitted["response_url"].as_str().unwrap_or_else(|| panic!("{endpoint}: {submitted}"));
        let path = url.strip_prefix("https://queue.fal.run").expect("the queue's address");
        self.call(&Method::GET, Host::Queue, path, Bytes::new())
    }

    fn fetch(&mut self, url: &str) -> http::Response<Bytes> {
        let path = url.strip_prefix("https://v3.fal.media").unwrap_or_else(|| panic!("{url}"));
        self.call(&Method::GET, Host::Cdn, path, Bytes::new())
    }
}

/// What comes with the mock, and the corpus.
fn catalogs() -> [Catalog; 2] {
    let mut catalog = Catalog::empty();
    for text in corpus() {
        catalog.add(&text).unwrap_or_else(|error| panic!("{error}"));
    }
    [Catalog::bundled(), catalog]
}

/// Every address of a file in an answer, with what the answer says about it.
fn files<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
    match value {
        Value::String(text) if text.starts_with("https://v3.fal.media/") => {
            found.push((text, &Value::Null))
        }
        Value::Array(items) => items.iter().for_each(|item| files(item, found)),
        Value::Object(object) => match object.get("url").and_then(Value::as_str) {
            Some(url) if url.starts_with("https://v3.fal.media/") => found.push((url, value)),
            _ => object.values().for_each(|item| files(item, found)),
        },
        _ => {}
    }
}

#[test]
fn files_are_what_answers_say_of_them() {
    let (mut answers, mut fetched, mut kinds) = (0, 0, BTreeMap::<String, usize>::new());
    for (set, catalog) in ["bundled", "corpus"].into_iter().zip(catalogs()) {
        let mut world = World::new(catalog.clone(), 7);
        let mut twin = World::new(catalog.clone(), 7);
        let step = if catalog.len() > 100 { SAMPLE } else { 1 };
        for id in catalog.endpoint_ids().step_by(step) {
            let schema = catalog.schema(id).expect("only documents were added");
            let input = input_of(schema, true);
            let response = world.run(id, &input);
            let body: Value = serde_json::from_slice(response.body())
                .unwrap_or_else(|error| panic!("{id}: {error}"));
            assert_eq!(response.status(), StatusCode::OK, "{id}: {body}");
            assert!(schema.validate_output(&body, Mode::Strict).is_valid(), "{id}: {body}");
            assert_eq!(
                twin.run(id, &input).body(),
                response.body(),
                "{id}: the same in another process"
            );
            answers += 1;
            let mut found = Vec::new();
            files(&body, &mut found);
            for (url, about) in found {
                let extension = url.rsplit('.').next().expect("every file has one").to_owned();
                *kinds.entry(extension).or_default() += 1;
                let file = world.fetch(url);
                assert_eq!(file.status(), StatusCode::OK, "{id}: {url}");
                media::check(url, about, &file);
                fetched += 1;
            }
        }
        if set == "bundled" {
            let kinds: Vec<&str> = kinds.keys().map(String::as_str).collect();
            assert_eq!(kinds, BUNDLED_KINDS);
        }
    }
    println!("{answers} answers, {fetched} files fetched, by kind: {kinds:?}");
}

/// Endings of the files in answers by the documents that come with the mock.
const BUNDLED_KINDS: [&str; 7] = ["glb", "jpeg", "json", "mp4", "png", "safetensors", "wav"];

#[test]
fn examples_are_good_inputs() {
    for (set, catalog) in ["bundled", "corpus"].into_iter().zip(catalogs()) {
        let (mut all, mut known_bad, mut bad) = (0, Map::new(), Vec::new());
        for id in catalog.endpoint_ids() {
            let schema = catalog.schema(id).expect("only documents were added");
            for field in schema.input().resolved().fields() {
                for example in field.schema.examples() {
                    all += 1;
                    let known = BAD_EXAMPLES
                        .iter()
                        .find(|(known, name, _)| (*known, *name) == (id, field.name));
                    match known {
                        _ if field.schema.accepts(example, Mode::AsFal) => {}
                        Some((id, name, why)) => {
                            known_bad.insert(format!("{id} {name}"), (*why).into());
                        }
                        None => bad.push(format!("{id}: {}", field.name)),
                    }
                }
            }
        }
        assert!(bad.is_empty(), "{bad:?}");
        if catalog.is_empty() {
            continue;
        }
        let counted = json!({
            "documents": catalog.len(),
            "examples": all,
            "fields with an example that does not fit": known_bad.len(),
        });
        figures::check("examples", set, &counted);
        let listed = json!({"documents": catalog.len(), "bad": known_bad});
        figures::check("bad examples", set, &listed);
    }
}

/// Examples that their own schema refuses: endpoint, field, why.
const BAD_EXAMPLES: [(&str, &str, &str); 4] = [
    ("argil/avatars/audio-to-video", "audio_url", "an object where an address is declared"),
    ("fal-ai/glm-image/image-to-image", "image_urls", "one address where a list is declared"),
    ("fal-ai/hyper3d/rodin", "input_image_urls", "one address where a list is declared"),
    ("fal-ai/x-ailab/nsfw", "image_urls", "one address where a list is declared"),
];

/// Of a large catalog each document of this number is asked.
const SAMPLE: usize = 10;
