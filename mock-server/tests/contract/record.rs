//! A mock that records another one, which plays the service; then one that replays without it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fal_mock::{ClockMode, MockFal, Record, Recorded, Replay, ReplayMatch, ReplayTiming};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::client::{Answer, call, get, open, path_of, post, send, whole};
use crate::tls::Folder;

/// Stands for a key of the real service.
const KEY: &str = "Key 0c1d2e3f-real:mastodon0123456789";

/// The service, a mock that records it, and where.
struct Studio {
    service: MockFal,
    recorder: MockFal,
    folder: Folder,
}

impl Studio {
    async fn new(name: &str, change: impl FnOnce(Record) -> Record) -> Self {
        let service = MockFal::builder()
            .queue_time(Duration::from_millis(30))
            .run_time(Duration::from_millis(60))
            .start()
            .await
            .expect("a free port");
        Self::of(service, name, change).await
    }

    async fn of(service: MockFal, name: &str, change: impl FnOnce(Record) -> Record) -> Self {
        let folder = Folder::new(name);
        let record = change(Record::new(&folder.0).upstream(service.url()));
        let recorder = MockFal::builder().record(record).start().await.expect("a free port");
        Self { service, recorder, folder }
    }

    fn port(&self) -> u16 {
        self.recorder.port()
    }

    fn recorded(&self) -> Recorded {
        self.recorder.recorded().expect("it records")
    }

    async fn post(&self, target: &str, body: &str) -> Answer {
        let request = Request::post(target)
            .header("authorization", KEY)
            .header("cookie", "session=trilobite-trilobite");
        send(self.port(), request, body.to_owned()).await
    }

    async fn get(&self, target: &str) -> Answer {
        send(self.port(), Request::get(target).header("authorization", KEY), "").await
    }

    /// The service goes away, and the recordings answer.
    async fn replay(self, change: impl FnOnce(Replay) -> Replay) -> (MockFal, Folder) {
        self.recorder.stop().await;
        self.service.stop().await;
        let mock = replay(&self.folder.0, change, ClockMode::Virtual).await;
        (mock, self.folder)
    }
}

async fn replay(dir: &Path, change: impl FnOnce(Replay) -> Replay, clock: ClockMode) -> MockFal {
    let replay = change(Replay::new(dir));
    MockFal::builder()
        .replay(replay)
        .clock(clock)
        .start()
        .await
        .expect("the recordings can be used")
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push((path.display().to_string(), fs::read(&path).expect("a file"))),
        }
    }
    all.sort();
    all
}

/// Asks for the status until it is final, as clients do.
async fn completed(studio: &Studio, submitted: &Value) -> Value {
    let port = studio.port();
    let target = path_of(submitted["status_url"].as_str().unwrap(), port);
    let stream = open(port, call(Method::GET, &format!("{target}/stream?logs=1")), "").await;
    let text = String::from_utf8(whole(stream.unwrap()).await.body.to_vec()).unwrap();
    let last = text.trim_end().rsplit("data: ").next().unwrap().to_owned();
    serde_json::from_str(&last).unwrap()
}

const SUBMIT: &str = "/queue.fal.run/fal-ai/flux/dev";

/// Whoever records pays for each call.
#[tokio::test]
async fn what_cannot_be_written_is_told_at_once_and_answered_all_the_same() {
    let studio = Studio::new("record-unwritten", |record| record).await;
    fs::remove_dir_all(&studio.folder.0).unwrap();
    fs::write(&studio.folder.0, "a file where a folder was").unwrap();
    let waiting = studio.recorder.recording_problem();
    let run = studio.post("/fal.run/fal-ai/flux/dev", r#"{"prompt":"a cat"}"#);
    let (answer, problem) = tokio::join!(run, waiting);
    fs::remove_file(&studio.folder.0).unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(problem.contains(&*studio.folder.0.to_string_lossy()), "{problem}");
    assert_eq!(studio.recorder.recording_problem().await, problem);
    let recorded = studio.recorded();
    let folder = studio.folder.0.to_string_lossy();
    assert!(recorded.problems.iter().all(|problem| problem.contains(&*folder)), "{recorded:?}");
    assert_eq!(recorded.entries, 0);
}

#[tokio::test]
async fn jobs_are_recorded_and_replayed_as_jobs() {
    let studio = Studio::new("record-job", |record| record).await;
    let submitted = studio.post(SUBMIT, r#"{"prompt": "a cat", "seed": 7}"#).await.json();
    let last = completed(&studio, &submitted).await;
    assert_eq!(last["status"], "COMPLETED");
    let target = path_of(submitted["response_url"].as_str().unwrap(), studio.port());
    let result = studio.get(&target).await.json();
    let url = result["images"][0]["url"].as_str().unwrap();
    let picture = studio.get(&path_of(url, studio.port())).await.body;
    assert!(picture.starts_with(b"\x89PNG") || picture.starts_with(b"\xff\xd8"), "{url}");
    assert_eq!((studio.recorded().calls, studio.recorded().problems), (1, Vec::<String>::new()));
    let old = submitted["request_id"].as_str().unwrap().to_owned();

    let (mock, folder) = studio.replay(|replay| replay).await;
    let text = fs::read_to_string(folder.0.join("queue.fal.run/fal-ai/flux/dev.json")).unwrap();
    assert!(text.contains("\"prompt\": \"a cat\"") && !text.contains(&old), "{text}");
    let port = mock.port();
    let answer = post(port, SUBMIT, r#"{"seed":7.0,"prompt":"a cat"}"#);
    let (answer, ()) = tokio::join!(answer, async {
        mock.clock().advance(Duration::from_secs(1)).await;
    });
    let again = answer.json();
    let id = again["request_id"].as_str().unwrap();
    assert_ne!(id, old, "a fresh id");
    assert_eq!(answer.headers["x-fal-mock-cassette"], "queue.fal.run/fal-ai/flux/dev.json#1");
    // By every address that the answer gives, and by its own time.
    let status = path_of(again["status_url"].as_str().unwrap(), port);
    let target = path_of(again["response_url"].as_str().unwrap(), port);
    mock.clock().run_until_done(id.parse().unwrap()).await;
    let done = get(port, &format!("{status}?logs=1")).await;
    assert_eq!((done.status, &done.json()["status"]), (StatusCode::OK, &json!("COMPLETED")));
    assert_eq!(done.json()["metrics"], last["metrics"]);
    assert_eq!(done.json()["logs"].as_array().unwrap().len(), 5);
    let same = get(port, &target).await;
    assert_eq!(same.headers["x-fal-request-id"], id);
    let same = same.json();
    assert_eq!((&same["seed"], &same["prompt"]), (&result["seed"], &result["prompt"]));
    let file = path_of(same["images"][0]["url"].as_str().unwrap(), port);
    assert_eq!(get(port, &file).await.body, picture);
    let part = send(port, call(Method::GET, &file).header("range", "bytes=1-3"), "").await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &picture[1..4]));
    assert_eq!(
        get(port, &format!("{SUBMIT}/requests/{old}/status")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn time_of_a_replay_is_that_of_the_tenant() {
    let studio = Studio::new("record-time", |record| record).await;
    let submitted = studio.post(SUBMIT, r#"{"prompt":"a cat"}"#).await.json();
    completed(&studio, &submitted).await;
    let target = path_of(submitted["response_url"].as_str().unwrap(), studio.port());
    studio.get(&target).await;
    let (mock, folder) = studio.replay(|replay| replay).await;

    // A recording of an hour: what took milliseconds in the test is moved by hand.
    let file = folder.0.join("queue.fal.run/fal-ai/flux/dev.json");
    let mut cassette: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let job = &mut cassette["entries"][0]["job"];
    job["steps"] = json!([{"after_ms": 0, "status": "IN_QUEUE", "queue_position": 3},
        {"after_ms": 60_000, "status": "IN_PROGRESS"}]);
    for line in job["logs"].as_array_mut().unwrap() {
        line["after_ms"] = json!(120_000);
    }
    job["end"]["after_ms"] = json!(3_600_000);
    cassette["entries"][0]["response"]["after_ms"] = json!(0);
    fs::write(&file, cassette.to_string()).unwrap();
    mock.stop().await;
    let mock = replay(&folder.0, |replay| replay, ClockMode::Virtual).await;
    let port = mock.port();
    let submitted = post(port, SUBMIT, r#"{"prompt":"a cat"}"#).await.json();
    let id = submitted["request_id"].as_str().unwrap().to_owned();
    let status = path_of(submitted["status_url"].as_str().unwrap(), port);
    let target = path_of(submitted["response_url"].as_str().unwrap(), port);
    let mut stream =
        open(port, call(Method::GET, &format!("{status}/stream?logs=1")), "").await.unwrap();
    let mut event = async || {
        let bytes = stream.next().await.unwrap().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.strip_prefix("data: ").map(|data| serde_json::from_str::<Value>(data).unwrap())
    };
    let first = event().await.unwrap();
    assert_eq!((&first["status"], &first["queue_position"]), (&json!("IN_QUEUE"), &json!(3)));
    assert_eq!(get(port, &target).await.status, StatusCode::BAD_REQUEST);
    mock.clock().advance(Duration::from_secs(15)).await;
    assert_eq!(event().await, None, "a comment against silence");
    mock.clock().advance(Duration::from_secs(44)).await;
    assert_eq!(get(port, &status).await.json()["status"], "IN_QUEUE");
    mock.clock().advance(Duration::from_secs(1)).await;
    assert_eq!(get(port, &status).await.json()["status"], "IN_PROGRESS");
    assert!(mock.clock().run_until_done(id.parse().unwrap()).await);
    let states: Vec<String> = {
        let mut states = Vec::new();
        while states.last().is_none_or(|state| state != "COMPLETED") {
            states.extend(event().await.map(|event| event["status"].as_str().unwrap().to_owned()));
        }
        states
    };
    assert_eq!(states.first().unwrap(), "IN_PROGRESS");
    assert_eq!(get(port, &target).await.status, StatusCode::OK);

    // At once, whatever the time.
    mock.stop().await;
    let mock =
        replay(&folder.0, |replay| replay.timing(ReplayTiming::Instant), ClockMode::Virtual).await;
    let submitted = post(mock.port(), SUBMIT, r#"{"prompt":"a cat"}"#).await.json();
    let target = path_of(submitted["response_url"].as_str().unwrap(), mock.port());
    assert_eq!(get(mock.port(), &target).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_same_question_gets_the_answers_in_their_order() {
    let studio = Studio::of(crate::instant().await, "record-order", |record| record).await;
    let run = "/fal.run/acme/oracle";
    let mut seeds = Vec::new();
    for failure in [false, true, false] {
        if failure {
            let busy = fal_mock::model::Failure::request_error(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Later",
            );
            studio.service.fail_next(busy);
        }
        let answer = studio.post(run, r#"{"prompt":"x"}"#).await;
        seeds.push((answer.status, answer.json()["seed"].clone()));
    }
    studio.post(run, r#"{"prompt":"y"}"#).await;
    let (mock, folder) = studio.replay(|replay| replay.timing(ReplayTiming::Instant)).await;
    let ask = async |prompt: &str| {
        let answer = post(mock.port(), run, &format!(r#"{{"prompt":"{prompt}"}}"#)).await;
        let seed = answer.json()["seed"].clone();
        (answer.status, seed)
    };
    for want in [&seeds[0], &seeds[1], &seeds[2], &seeds[2]] {
        assert_eq!(ask("x").await, *want);
    }
    assert_eq!(ask("y").await.0, StatusCode::OK);

    // A new run of the same test replaces what it asks again, and leaves the rest.
    let before = files(&folder.0).len();
    let service = crate::instant().await;
    let record = Record::new(&folder.0).upstream(service.url());
    let recorder = MockFal::builder().record(record).start().await.unwrap();
    for _ in 0..2 {
        let request = Request::post(run).header("authorization", KEY);
        send(recorder.port(), request, r#"{"prompt":"x"}"#).await;
    }
    let text = fs::read_to_string(folder.0.join("fal.run/acme/oracle.json")).unwrap();
    let cassette: Value = serde_json::from_str(&text).unwrap();
    let prompts: Vec<&str> = cassette["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["request"]["body"]["json"]["prompt"].as_str().unwrap())
        .collect();
    assert_eq!(prompts, ["x", "x", "y"]);
    assert_eq!(files(&folder.0).len(), before, "the same files");
}

#[tokio::test]
async fn streams_are_replayed_piece_by_piece() {
    let studio = Studio::new("record-stream", |record| record).await;
    for (path, body) in [
        ("/fal.run/fal-ai/any-llm/stream", r#"{"prompt":"why"}"#),
        ("/fal.run/fal-ai/flux/dev/stream", r#"{"prompt":"a cat"}"#),
        ("/fal.run/acme/tts/stream", r#"{"prompt":"hello"}"#),
    ] {
        let asked = studio.post(path, body).await;
        assert_eq!(asked.status, StatusCode::OK);
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        let expected = text.replace(&studio.recorder.url(), "");
        assert!(!text.contains(&studio.service.url()), "{text}");
        let replayed = {
            let mock = replay(&studio.folder.0, |replay| replay, ClockMode::Auto).await;
            let answer = post(mock.port(), path, body).await;
            assert_eq!(answer.headers["content-type"], asked.headers["content-type"]);
            match answer.headers["content-type"].to_str().unwrap().starts_with("text/") {
                true => String::from_utf8_lossy(&answer.body)
                    .replace(&mock.url(), "")
                    .into_bytes()
                    .into(),
                false => answer.body,
            }
        };
        match expected.contains("data: ") {
            true => assert_eq!(replayed, expected.as_bytes()),
            false => assert_eq!(replayed, asked.body),
        }
    }
    assert_eq!(studio.recorded().problems, Vec::<String>::new());
}

#[tokio::test]
async fn no_secret_reaches_the_disk() {
    let studio = Studio::of(crate::instant().await, "record-secrets", |record| record).await;
    let hook = "fal_webhook=http%3A%2F%2F127.0.0.1%3A9%2Fhook%3Fsecret%3Dmastodon-hook";
    let body = r#"{"prompt":"a cat","hf_token":"mastodon-hf","image_url":"https://u:mastodon-pw@a.test/x.png?X-Amz-Signature=mastodon-sig","note":"Key 0c1d2e3f-real:mastodon0123456789"}"#;
    let submitted = studio.post(&format!("{SUBMIT}?{hook}"), body).await.json();
    let target = path_of(submitted["response_url"].as_str().unwrap(), studio.port());
    studio.get(&target).await;
    studio
        .post("/fal.run/fal-ai/flux/dev?fal_jwt_token=eyJhbGciOiJ9.eyJzdWIiOiJ9.mastodon-jwt", body)
        .await;
    let token =
        studio.post("/rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3", "{}").await.json();
    let token = token["token"].as_str().unwrap().to_owned();
    let realtime = studio
        .post("/rest.fal.ai/tokens/", r#"{"allowed_apps":["flux"],"token_expiration":60}"#)
        .await;
    let realtime = realtime.json().as_str().unwrap().to_owned();
    let upload = studio
        .post(
            "/rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3",
            r#"{"content_type":"image/png","file_name":"a.png"}"#,
        )
        .await
        .json();
    let put = path_of(upload["upload_url"].as_str().unwrap(), studio.port());
    let signature = put.split_once('?').unwrap().1.to_owned();
    let stored = send(
        studio.port(),
        Request::put(&*put).header("content-type", "image/png"),
        Bytes::from_static(b"PNG"),
    )
    .await;
    assert_eq!(stored.status, StatusCode::OK, "uploads reach the service");
    let file = path_of(upload["file_url"].as_str().unwrap(), studio.port());
    assert_eq!(studio.get(&file).await.body, "PNG");
    studio.get(&format!("/api.fal.ai/v1/models?limit=1&token={token}")).await;

    let all = files(&studio.folder.0);
    assert!(
        all.iter().any(|(name, _)| name.ends_with("v1/models.json")),
        "{:?}",
        all.iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    for (name, bytes) in &all {
        let text = String::from_utf8_lossy(bytes);
        for secret in ["mastodon", "trilobite", &*token, &*realtime, &*signature] {
            assert!(!text.contains(secret), "{name} has {secret}: {text}");
        }
        // Nor where this test took place.
        for place in [studio.service.port(), studio.recorder.port()] {
            assert!(!text.contains(&format!("127.0.0.1:{place}")), "{name}: {text}");
        }
    }
    // What was uploaded is there to be replayed.
    let uploaded = file.clone();
    let (mock, _folder) = studio.replay(|replay| replay).await;
    assert_eq!(get(mock.port(), &uploaded).await.body, "PNG");
}

#[tokio::test]
async fn spending_ends_at_its_limits() {
    let studio =
        Studio::of(crate::instant().await, "record-calls", |record| record.calls_max(2)).await;
    for status in [200, 200, 403, 403] {
        let answer = studio.post("/fal.run/fal-ai/flux/dev", r#"{"prompt":"x"}"#).await;
        assert_eq!(answer.status, status);
        if status == 403 {
            assert!(answer.json()["detail"].as_str().unwrap().contains("--record-max-calls"));
        }
    }
    assert_eq!(studio.post(SUBMIT, "{}").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        studio.get("/api.fal.ai/v1/models?limit=1").await.status,
        StatusCode::OK,
        "this costs nothing"
    );
    assert_eq!((studio.recorded().calls, studio.recorded().refused), (2, 3));
    assert_eq!(studio.service.counters().runs, 2, "nothing was sent");

    // By what the platform says: a picture costs 0.025 USD.
    let studio =
        Studio::of(crate::instant().await, "record-cost", |record| record.cost_max(0.1)).await;
    let run = "/fal.run/fal-ai/flux/schnell";
    assert_eq!(studio.post(run, r#"{"prompt":"x","num_images":3}"#).await.status, StatusCode::OK);
    assert!((studio.recorded().cost - 0.075).abs() < 1e-9, "{:?}", studio.recorded());
    assert_eq!(studio.post(run, r#"{"prompt":"x"}"#).await.status, StatusCode::OK);
    let refused = studio.post(run, r#"{"prompt":"x"}"#).await;
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("0.0250 USD") && detail.contains("0.1000 USD"), "{detail}");
    let unknown = studio.post("/fal.run/nobody/knows", "{}").await;
    assert!(unknown.json()["detail"].as_str().unwrap().contains("1.0000 USD"));
}

#[tokio::test]
async fn what_is_not_recorded_is_told_with_what_comes_nearest() {
    let studio = Studio::of(crate::instant().await, "record-nearest", |record| record).await;
    let run = "/fal.run/fal-ai/flux/dev";
    for body in [r#"{"prompt":"a cat","seed":1}"#, r#"{"prompt":"a dog","seed":2,"num_images":2}"#]
    {
        studio.post(run, body).await;
    }
    let (mock, folder) = studio.replay(|replay| replay).await;
    let missing = post(mock.port(), run, r#"{"prompt":"a cow","seed":2,"num_images":2}"#).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let problem = missing.json();
    assert!(problem["detail"].as_str().unwrap().contains("--replay-match nearest"), "{problem}");
    assert_eq!(
        problem["nearest"][0]["why_not"],
        json!(["/prompt is \"a cow\", recorded is \"a dog\""])
    );
    assert_eq!(problem["nearest"][1]["why_not"].as_array().unwrap().len(), 3);
    let elsewhere = post(mock.port(), "/fal.run/fal-ai/flux/pro", "{}").await.json();
    assert!(
        elsewhere["nearest"][0]["why_not"][0].as_str().unwrap().contains("fal-ai/flux/dev"),
        "{elsewhere}"
    );

    let nearest = replay(
        &folder.0,
        |replay| replay.matching(ReplayMatch::Nearest).timing(ReplayTiming::Instant),
        ClockMode::Real,
    )
    .await;
    let answer = post(nearest.port(), run, r#"{"prompt":"a cow","seed":2,"num_images":2}"#).await;
    assert_eq!((answer.status, &answer.json()["seed"]), (StatusCode::OK, &json!(2)));
    assert_eq!(answer.headers["x-fal-mock-cassette"], "fal.run/fal-ai/flux/dev.json#2");
    assert_eq!(answer.headers["x-fal-mock-distance"], "1");
    assert_eq!(
        post(nearest.port(), "/fal.run/other/app", "{}").await.status,
        StatusCode::NOT_FOUND
    );

    // Tenants hear every answer from the first on; so does one that is reset.
    assert_eq!(
        send(nearest.port(), Request::post(run), "{}").await.status,
        StatusCode::UNAUTHORIZED
    );
    let upgrade = Request::get("/fal.run/fal-ai/flux/realtime")
        .header("authorization", KEY)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(send(nearest.port(), upgrade, "").await.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn webhooks_of_replayed_jobs_are_delivered() {
    let studio = Studio::of(crate::instant().await, "record-hook", |record| record).await;
    let submitted = studio.post(SUBMIT, r#"{"prompt":"a cat"}"#).await.json();
    completed(&studio, &submitted).await;
    studio.get(&path_of(submitted["response_url"].as_str().unwrap(), studio.port())).await;
    let (mock, _folder) = studio.replay(|replay| replay.timing(ReplayTiming::Instant)).await;
    let target = format!("{SUBMIT}?fal_webhook=http%3A%2F%2Fexample.com%2F");
    let submitted = post(mock.port(), &target, r#"{"prompt":"a cat"}"#).await.json();
    let deliveries = mock.deliveries();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].request_id.to_string(), submitted["request_id"].as_str().unwrap());
    let body: Value = serde_json::from_slice(&deliveries[0].body).unwrap();
    assert_eq!((&body["status"], &body["payload"]["prompt"]), (&json!("OK"), &json!("a cat")));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_at_the_start() {
    let folder = Folder::new("record-start");
    let file = folder.0.join("file");
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(&file, "x").unwrap();
    let problem = async |builder: fal_mock::Builder| builder.start().await.unwrap_err().to_string();
    assert!(
        problem(MockFal::builder().record(Record::new(&file))).await.contains("cannot record into")
    );
    assert!(
        problem(MockFal::builder().replay(Replay::new(folder.0.join("none"))))
            .await
            .contains("cannot read recordings")
    );
    let upstream = Record::new(folder.0.join("a")).upstream("nowhere");
    assert!(problem(MockFal::builder().record(upstream)).await.contains("http://127.0.0.1:8787"));
    let both = MockFal::builder().record(Record::new(&folder.0)).replay(Replay::new(&folder.0));
    assert!(problem(both).await.contains("not both"));
    let gone = Record::new(folder.0.join("b")).upstream("http://127.0.0.1:1");
    let mock = MockFal::builder().record(gone).start().await.unwrap();
    let answer = post(mock.port(), "/fal.run/a/b", "{}").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(mock.recorded().unwrap().calls, 0, "nothing was sent");
}
