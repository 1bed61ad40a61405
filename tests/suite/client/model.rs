//! Models looked up, kept, and inputs checked by them before anything is sent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fal_client::model::{Documents, MODELS_MAX, Mode, ProblemKind};
use fal_client::{Error, Event, Input, Model, RetryPolicy};
use fal_mock::MockFal;
use serde::Serialize;
use serde_json::{Value, json};

use crate::support::{builder, client, in_time};

/// A model of the mock's own catalogue.
const SCHNELL: &str = "fal-ai/flux/schnell";

fn document(id: &str) -> Value {
    json!({
        "info": { "x-fal-metadata": { "endpointId": id } },
        "paths": { format!("/{id}"): { "post": { "requestBody": { "content": { "application/json": { "schema": {
            "type": "object", "required": ["prompt"], "properties": {
                "prompt": { "type": "string", "minLength": 1 },
                "image_url": { "type": "string" },
                "mask": { "type": "object", "required": ["url"],
                    "properties": { "url": { "type": "string" }, "content_type": { "type": "string" } } },
                "count": { "type": "integer", "maximum": 4 }
            }
        } } } } } } }
    })
}

fn model() -> Model {
    Model::parse("acme/paint", document("acme/paint").to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn a_document_is_asked_for_once_an_hour() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    for _ in 0..2 {
        let model = in_time(client.clone().model(SCHNELL)).await.unwrap();
        assert_eq!(model.schema().endpoint_id(), Some(SCHNELL));
    }
    assert_eq!(mock.requests().len(), 1, "clones share what they know");
    advance(Duration::from_secs(3599)).await;
    in_time(client.model(SCHNELL)).await.unwrap();
    assert_eq!(mock.requests().len(), 1);
    advance(Duration::from_secs(1)).await;
    in_time(client.model(SCHNELL)).await.unwrap();
    assert_eq!(mock.requests().len(), 2);
    in_time(client.model(SCHNELL).refresh()).await.unwrap();
    assert_eq!(mock.requests().len(), 3);
}

#[tokio::test]
async fn an_old_document_is_better_than_none() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = builder(&mock.url()).retry(RetryPolicy::default().with_attempts_read(1));
    let client = client.build().unwrap();
    in_time(client.model(SCHNELL)).await.unwrap();
    drop(mock);
    advance(Duration::from_secs(7200)).await;
    in_time(client.model(SCHNELL)).await.unwrap();
    let error = in_time(client.model(SCHNELL).refresh()).await.unwrap_err();
    assert!(matches!(error, Error::Call(_)), "{error}");
}

/// Moves the client's clock, with nothing under way.
async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_the_service_does_not_know_is_told_and_asked_again() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    for asked in 1..=2 {
        let error = in_time(client.model("acme/nobody")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no document of acme/nobody: the service knows no such model"
        );
        assert_eq!(mock.requests().len(), asked);
    }
    assert!(matches!(in_time(client.model("nonsense")).await, Err(Error::Call(_))));
}

#[tokio::test]
async fn only_so_many_documents_are_kept() {
    let models: Vec<Value> = (0..=MODELS_MAX)
        .map(|n| format!("gallery/m{n}"))
        .map(|id| json!({ "endpoint_id": id, "openapi": document(&id) }))
        .collect();
    let dump = json!({ "models": models }).to_string().into_bytes();
    let mock = MockFal::builder().instant().openapi(dump).start().await.unwrap();
    let client = client(&mock.url());
    for n in 0..MODELS_MAX {
        in_time(client.model(format!("gallery/m{n}"))).await.unwrap();
    }
    assert_eq!(mock.requests().len(), MODELS_MAX);
    // The first was used last, so the second makes room.
    in_time(client.model("gallery/m0")).await.unwrap();
    in_time(client.model(format!("gallery/m{MODELS_MAX}"))).await.unwrap();
    in_time(client.model("gallery/m0")).await.unwrap();
    assert_eq!(mock.requests().len(), MODELS_MAX + 1);
    in_time(client.model("gallery/m1")).await.unwrap();
    assert_eq!(mock.requests().len(), MODELS_MAX + 2);
}

#[tokio::test]
async fn documents_on_disk_need_no_service() {
    let folder = Folder::new("disk");
    let dump = json!({ "models": [
        { "endpoint_id": "acme/a", "openapi": document("acme/a") },
        { "endpoint_id": "acme/b", "openapi": document("acme/b") },
    ] });
    let alone = folder.file("acme__paint.json", &document("acme/paint"));
    folder.file("acme/draw/fast.json", &document("acme/draw/fast"));
    folder.file("other-name.json", &document("acme/other"));
    let dump = folder.file("dump.json", &dump);
    std::fs::write(folder.0.join("broken.json"), "acme/other {").unwrap();
    let mock = MockFal::builder().instant().start().await.unwrap();
    let offline = builder(&mock.url()).documents(Documents::at(&folder.0)).build().unwrap();
    for id in ["acme/paint", "acme/draw/fast", "acme/other", "acme/a", "acme/b"] {
        assert_eq!(in_time(offline.model(id)).await.unwrap().schema().endpoint_id(), Some(id));
    }
    let error = in_time(offline.model(SCHNELL)).await.unwrap_err();
    assert!(matches!(error, Error::Document { .. }), "{error}");
    assert_eq!(mock.requests().len(), 0, "nothing is asked");

    let both = Documents::at(&folder.0).or_service();
    let both = builder(&mock.url()).documents(both).build().unwrap();
    in_time(both.model("acme/paint")).await.unwrap();
    in_time(both.model(SCHNELL)).await.unwrap();
    assert_eq!(mock.requests().len(), 1);

    let client = client(&mock.url());
    in_time(client.model("acme/paint").at(&alone)).await.unwrap();
    in_time(client.model("acme/b").at(&dump)).await.unwrap();
    for (path, part) in [(&alone, "it is of acme/paint"), (&dump, "not among the 2")] {
        let error = in_time(client.model("acme/nobody").at(path)).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = in_time(client.model("acme/paint").at("/nowhere/at/all")).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn anything_that_can_be_sent_can_be_checked() {
    #[derive(Serialize)]
    struct Mine<'a> {
        prompt: &'a str,
        count: u32,
    }
    let model = model();
    let text = String::from("a cat");
    assert!(model.check(&Mine { prompt: &text, count: 4 }).unwrap().warnings.is_empty());
    let error = model.check(&Mine { prompt: "", count: 5 }).unwrap_err();
    let expected = "the input does not fit acme/paint:\n  \
        prompt: has 0 characters; allowed: 1 character or more\n  \
        count: 5 is not allowed; allowed: 4 or less";
    assert_eq!(error.to_string(), expected);
    let types: Vec<&str> = error.fields().iter().map(|field| field.error_type.as_str()).collect();
    assert_eq!(types, ["string_too_short", "less_than_equal"], "what the service would have said");

    // Files count as what they become: an address, also in the place of an object.
    let input = Input::from(json!({ "prompt": "x" }))
        .with("image_url", Input::file("/nowhere/at/all.png"))
        .with("mask", Input::bytes(&b"x"[..], "image/png").inline());
    assert!(model.check(&input).unwrap().warnings.is_empty());
    let wrong = Input::from(json!({ "prompt": "x" })).with("count", Input::file("x.png"));
    assert!(model.check(&wrong).unwrap_err().to_string().contains("count: must be integer"));
    let large =
        json!({ "prompt": "x", "image_url": format!("data:;base64,{}", "A".repeat(1 << 20)) });
    assert!(model.check(&large).unwrap().warnings.is_empty());
    assert!(model.check_value(&large).is_ok());
}

#[test]
fn modes_are_the_callers_choice() {
    let unknown = json!({ "prompt": "x", "cuont": 1 });
    let review = model().check(&unknown).unwrap();
    assert_eq!(review.warnings[0].suggestion.as_deref(), Some("count"));
    let Err(Error::Check(error)) = model().with_mode(Mode::Strict).check(&unknown) else {
        panic!("strict takes no unknown field")
    };
    assert_eq!(error.review().problems[0].kind, ProblemKind::ExtraForbidden);
    assert_eq!(error.endpoint().as_str(), "acme/paint");
    let beyond = json!({ "prompt": "x", "count": 5 });
    assert!(model().check(&beyond).is_err());
    assert_eq!(model().with_mode(Mode::Lenient).check(&beyond).unwrap().warnings.len(), 1);
    let text = json!({ "prompt": "x", "count": "3" });
    assert!(model().check(&text).is_ok() && model().with_mode(Mode::Strict).check(&text).is_err());
}

#[tokio::test]
async fn a_checked_call_sends_nothing_that_would_be_refused() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let model = model();
    let wrong = || {
        Input::from(json!({ "count": 9 })).with("image_url", Input::bytes(&b"x"[..], "image/png"))
    };
    let queue = client.queue("acme/paint").unwrap();
    let errors = [
        in_time(client.subscribe("acme/paint").input(wrong()).checked(&model)).await.unwrap_err(),
        in_time(client.run("acme/paint").input(wrong()).checked(&model)).await.unwrap_err(),
        in_time(client.stream("acme/paint").input(wrong()).checked(&model)).await.unwrap_err(),
        in_time(queue.submit(wrong()).checked(&model)).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Check(_)), "{error}");
        assert!(!error.is_retryable() && error.handle().is_none());
    }
    let other = client.run("acme/other").input(json!({ "prompt": "x" })).checked(&model);
    assert!(matches!(in_time(other).await, Err(Error::Config { .. })));
    assert_eq!(mock.requests().len(), 0, "no file is uploaded either");
}

#[tokio::test]
async fn warnings_are_told_before_anything_is_sent() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let call = client.subscribe("acme/paint").input(json!({ "prompt": "x", "cuont": 2 }));
    let mut job = call.checked(&model()).start();
    let first = in_time(job.next_event()).await.unwrap();
    let Event::InputWarning(finding) = first else { panic!("{first:?}") };
    assert_eq!((&*finding.path, finding.suggestion.as_deref()), ("cuont", Some("count")));
    assert_eq!(mock.requests().len(), 0);
    let handle = loop {
        match in_time(job.next_event()).await {
            Some(Event::Submitted(handle)) => break handle,
            event => assert!(event.is_some(), "the job ended"),
        }
    };
    in_time(job).await.unwrap();
    // A job that exists has an input already.
    in_time(client.attach(handle).checked(&model())).await.unwrap();
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("fal-model-{name}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    fn file(&self, name: impl AsRef<Path>, document: &Value) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, document.to_string()).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
