//! Apps with a back end of their own: real servers and real programs behind the queue.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "all of it is a test, and what fails shall end it")]

use std::path::Path;
use std::time::Duration;

use fal_mock::model::{JobState, RequestId};
use fal_mock::scenario::Scenario;
use fal_mock::{Builder, ClockMode, MockFal};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::client::{call, post, send};
use crate::exchanges::until;
use crate::tls::Folder;

/// A folder with a scenario and what it starts.
fn written(name: &str, scenario: &str, program: &str) -> Folder {
    let folder = Folder::new(&format!("back-end-{name}"));
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("scenario.yaml"), scenario).unwrap();
    std::fs::write(folder.0.join("model.py"), program).unwrap();
    folder
}

fn playing(folder: &Folder) -> Builder {
    MockFal::builder().scenario(Scenario::load(&folder.0.join("scenario.yaml")).unwrap())
}

const EXEC: &str = "apps:\n  - { endpoint: 'acme/**', exec: [python3, model.py], timeout: 30s }\n";

fn http(server: &MockServer) -> Builder {
    let scenario = format!("apps:\n  - {{ endpoint: 'acme/**', http: '{}' }}\n", server.uri());
    MockFal::builder().scenario(Scenario::parse("test", &scenario).unwrap())
}

async fn submit(mock: &MockFal, input: &Value) -> RequestId {
    let submitted = post(mock.port(), "/queue.fal.run/acme/app/sub", &input.to_string()).await;
    assert_eq!(submitted.status, StatusCode::OK, "{:?}", submitted.body);
    submitted.json()["request_id"].as_str().unwrap().parse().unwrap()
}

/// Whether a process has ended, as far as the system tells.
fn is_gone(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z ")
}

async fn over(mock: &MockFal, id: RequestId) -> bool {
    let is_over = |state| matches!(state, JobState::Succeeded | JobState::Failed);
    until("the job is over", || is_over(mock.job(id).unwrap().state)).await;
    mock.job(id).unwrap().state == JobState::Succeeded
}

async fn status(mock: &MockFal, id: RequestId) -> Value {
    let path = format!("/queue.fal.run/acme/app/requests/{id}/status?logs=1");
    send(mock.port(), call(Method::GET, &path), "").await.json()
}

async fn result(mock: &MockFal, id: RequestId) -> (u16, Value) {
    let path = format!("/queue.fal.run/acme/app/requests/{id}");
    let answer = send(mock.port(), call(Method::GET, &path), "").await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn a_program_gets_the_input_and_gives_lines_files_and_an_output() {
    let folder = written(
        "exec",
        EXEC,
        r#"
import json, os, sys
given = json.load(sys.stdin)
print("loading", file=sys.stderr, flush=True)
print("WARNING:root:low memory", file=sys.stderr)
out = os.environ["FAL_OUTPUT_DIR"]
open(os.path.join(out, "cat.png"), "wb").write(b"PNG")
open(os.path.join(out, "film.mp4"), "wb").write(b"x" * 3_000_000)
json.dump({
    "prompt": given["prompt"], "image": {"url": "{{file:cat.png}}"}, "film": "{{file:film.mp4}}",
    "who": [os.environ["FAL_ENDPOINT"], os.environ["FAL_ATTEMPT"]],
    "key": os.environ.get("FAL_KEY"), "id": os.environ["FAL_REQUEST_ID"], "out": out,
}, sys.stdout)
"#,
    );
    let mock = playing(&folder).start().await.unwrap();
    let id = submit(&mock, &json!({ "prompt": "ein Kätzchen" })).await;
    assert!(over(&mock, id).await, "{:?}", result(&mock, id).await);
    let (_, output) = result(&mock, id).await;
    assert_eq!(output["prompt"], "ein Kätzchen");
    assert_eq!(output["who"], json!(["acme/app/sub", "1"]));
    assert_eq!((&output["key"], &output["id"]), (&Value::Null, &json!(id.to_string())));
    let logs = status(&mock, id).await["logs"].clone();
    assert_eq!((&logs[0]["message"], &logs[0]["level"]), (&json!("loading"), &json!("INFO")));
    assert_eq!(logs[1]["level"], "WARNING");
    for (url, len) in [(&output["image"]["url"], 3), (&output["film"], 3_000_000)] {
        let path = url.as_str().unwrap().strip_prefix(&mock.url()).unwrap();
        let file = send(mock.port(), call(Method::GET, path), "").await;
        assert_eq!((file.status, file.body.len()), (StatusCode::OK, len));
    }
    assert!(!Path::new(output["out"].as_str().unwrap()).exists(), "its folder is gone");
}

#[tokio::test]
async fn what_a_program_means_by_its_end() {
    let folder = written(
        "ends",
        EXEC,
        r#"
import json, os, signal, sys
how = json.load(sys.stdin)["how"]
print("about to end", file=sys.stderr, flush=True)
if how == "code": sys.exit(3)
if how == "text": print("no JSON"); sys.exit(0)
if how == "silent": sys.exit(0)
if how == "file": print('{"a": "{{file:nowhere.png}}"}'); sys.exit(0)
if how == "path": print('{"a": "{{file:../model.py}}"}'); sys.exit(0)
if how == "input":
    print(json.dumps({"detail": [{"loc": ["body", "how"], "msg": "bad", "type": "value_error"}]})); sys.exit(1)
if how == "own": print(json.dumps({"detail": "out of memory"})); sys.exit(1)
"#,
    );
    let mock = playing(&folder).start().await.unwrap();
    for (how, want, says) in [
        ("code", 500, "python3 ended with exit code 3: about to end"),
        ("text", 500, "wrote no JSON"),
        ("silent", 500, "wrote no JSON"),
        ("file", 500, "not in FAL_OUTPUT_DIR"),
        ("path", 500, "letters, digits"),
        ("input", 422, "bad"),
        ("own", 500, "out of memory"),
    ] {
        let id = submit(&mock, &json!({ "how": how })).await;
        assert!(!over(&mock, id).await, "{how}");
        let (code, body) = result(&mock, id).await;
        assert_eq!(code, want, "{how}: {body}");
        assert!(body.to_string().contains(says), "{how}: {body}");
    }
    let missing = "apps:\n  - { endpoint: 'acme/**', exec: [no-such-program-anywhere] }\n";
    let mock = MockFal::builder().scenario(Scenario::parse("test", missing).unwrap());
    let mock = mock.start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    assert!(!over(&mock, id).await);
    let (_, body) = result(&mock, id).await;
    assert!(
        body["detail"].as_str().unwrap().starts_with("no-such-program-anywhere cannot be started"),
        "{body}"
    );
}

/// It dies by a signal until it has been tried twice.
#[tokio::test]
async fn the_queue_survives_the_death_of_a_program() {
    let folder = written(
        "death",
        EXEC,
        r#"
import json, os, signal
if os.environ["FAL_ATTEMPT"] != "3": os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps({"attempt": 3}))
"#,
    );
    // Rests between attempts pass in no time, but never while the program runs.
    let mock = playing(&folder).clock(ClockMode::Auto).start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    assert!(over(&mock, id).await, "{:?}", result(&mock, id).await);
    assert_eq!(result(&mock, id).await.1["attempt"], 3);
    assert_eq!(mock.job(id).unwrap().attempts, 3);
}

#[tokio::test]
async fn a_program_is_told_to_stop_and_those_that_it_started_too() {
    let folder = written(
        "stop",
        EXEC,
        r#"
import json, os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def stop(*_):
    open("stopped", "w").write(str(child.pid))
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", file=sys.stderr, flush=True)
time.sleep(600)
"#,
    );
    let mock = playing(&folder).start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    // The line is there while it runs.
    let is_ready = async { while status(&mock, id).await["logs"][0]["message"] != "ready" {} };
    tokio::time::timeout(Duration::from_secs(60), is_ready).await.unwrap();
    let path = format!("/queue.fal.run/acme/app/requests/{id}/cancel");
    let cancelled = send(mock.port(), call(Method::PUT, &path), "").await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    assert!(!over(&mock, id).await);
    assert_eq!(result(&mock, id).await.0, 499);
    until("it has ended", || folder.0.join("stopped").exists()).await;
    until("it is told", || mock.clock().view().unwrap().works_under_way == 0).await;
    let child = std::fs::read_to_string(folder.0.join("stopped")).unwrap();
    until("its child is gone too", || is_gone(&child)).await;
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_stopped() {
    let scenario = EXEC.replace("30s", "200ms");
    let folder = written("late", &scenario, "import time; time.sleep(600)");
    let mock = playing(&folder).start().await.unwrap();
    let run = post(mock.port(), "/fal.run/acme/app", "{}").await;
    assert_eq!(run.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(run.json()["error_type"], "request_timeout");
}

#[tokio::test]
async fn a_program_does_not_outlive_the_mock() {
    let program = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)";
    let folder = written("drop", EXEC, program);
    let mock = playing(&folder).start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    let pid = || std::fs::read_to_string(folder.0.join("pid")).unwrap_or_default();
    let runs = || {
        let state = mock.job(id).unwrap().state;
        assert!(matches!(state, JobState::Queued | JobState::Running), "{state:?}");
        !pid().is_empty()
    };
    until("it runs", runs).await;
    mock.stop().await;
    until("it is gone", || is_gone(&pid())).await;
}

#[tokio::test]
async fn a_server_gets_the_input_and_never_the_key() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200)
        .set_body_json(json!({ "done": true }))
        .insert_header("x-fal-billable-units", "4");
    Mock::given(method("POST")).and(path("/sub")).respond_with(answer).mount(&server).await;
    let mock = http(&server).start().await.unwrap();
    let id = submit(&mock, &json!({ "prompt": "a cat" })).await;
    assert!(over(&mock, id).await);
    assert_eq!(result(&mock, id).await, (200, json!({ "done": true })));
    let asked = &server.received_requests().await.unwrap()[0];
    assert_eq!(asked.body, br#"{"prompt":"a cat"}"#);
    assert_eq!(asked.headers["x-fal-request-id"], id.to_string().as_str());
    assert!(!asked.headers.contains_key("authorization"));
    let run = post(mock.port(), "/fal.run/acme/app/sub", r#"{"prompt":"a cat"}"#).await;
    assert_eq!((run.status, run.json()), (StatusCode::OK, json!({ "done": true })));
    assert_eq!(run.headers["x-fal-billable-units"], "4");
}

#[tokio::test]
async fn what_a_server_means_by_its_answer() {
    let server = MockServer::start().await;
    let list = json!({ "detail": [{ "loc": ["body", "n"], "msg": "too many", "type": "x" }] });
    for (at, answer) in [
        ("/422", ResponseTemplate::new(422).set_body_json(list)),
        ("/500", ResponseTemplate::new(500).set_body_string("Internal Server Error")),
        ("/301", ResponseTemplate::new(301).insert_header("location", "http://elsewhere.test/")),
        ("/html", ResponseTemplate::new(200).set_body_raw("<p>hello", "text/html")),
    ] {
        Mock::given(path(at)).respond_with(answer).mount(&server).await;
    }
    let mock = http(&server).start().await.unwrap();
    for (at, want, says) in [
        ("422", 422, "too many"),
        ("500", 500, "Internal Server Error"),
        ("301", 502, "detail"),
        ("html", 500, "text/html"),
        ("nowhere", 404, "detail"),
    ] {
        let run = post(mock.port(), &format!("/fal.run/acme/app/{at}"), "{}").await;
        assert_eq!(run.status.as_u16(), want, "{at}: {:?}", run.body);
        assert!(run.json().to_string().contains(says), "{at}: {:?}", run.body);
    }
    // The same by the queue: of these nothing is tried again.
    let asked = server.received_requests().await.unwrap().len();
    let submitted = post(mock.port(), "/queue.fal.run/acme/app/422", "{}").await;
    let id = submitted.json()["request_id"].as_str().unwrap().parse().unwrap();
    assert!(!over(&mock, id).await);
    assert_eq!(status(&mock, id).await["error"], "too many");
    assert_eq!(server.received_requests().await.unwrap().len(), asked + 1);
}

#[tokio::test]
async fn the_queue_survives_a_server_that_is_not_there() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(3)
        .mount(&server)
        .await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "n": 4 }));
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let mock = http(&server).clock(ClockMode::Auto).start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    assert!(over(&mock, id).await);
    assert_eq!((result(&mock, id).await.1, mock.job(id).unwrap().attempts), (json!({ "n": 4 }), 4));
    // One that never comes: ten attempts, and fal's word for it.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    let scenario = format!("apps:\n  - {{ endpoint: 'acme/**', http: 'http://{gone}' }}\n");
    let mock = MockFal::builder().scenario(Scenario::parse("test", &scenario).unwrap());
    let mock = mock.clock(ClockMode::Auto).start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    assert!(!over(&mock, id).await);
    assert_eq!(mock.job(id).unwrap().attempts, 10);
    let (code, body) = result(&mock, id).await;
    assert_eq!((code, &body["error_type"]), (503, &json!("runner_connection_refused")));
}

#[tokio::test]
async fn events_of_a_server_are_lines_pieces_and_an_output() {
    let server = MockServer::start().await;
    let events = "event: log\ndata: {\"message\":\"half\",\"level\":\"warning\"}\n\n\
                  event: log\ndata: plain\n\ndata: {\"n\":1}\n\ndata: {\"n\":2}\n\n";
    let broken = "data: {\"n\":1}\n\nevent: error\ndata: {\"detail\":\"out of memory\"}\n\n";
    for (at, text) in [
        ("/sub", events),
        ("/sub/stream", events),
        ("/bad", broken),
        ("/bad/stream", broken),
        ("/none", ""),
    ] {
        let answer = ResponseTemplate::new(200).set_body_raw(text, "text/event-stream");
        Mock::given(path(at)).respond_with(answer).mount(&server).await;
    }
    let refusal = ResponseTemplate::new(422).set_body_json(json!({ "detail": "too long" }));
    Mock::given(path("/refused/stream")).respond_with(refusal).mount(&server).await;
    let mock = http(&server).start().await.unwrap();
    let id = submit(&mock, &json!({})).await;
    assert!(over(&mock, id).await);
    assert_eq!(result(&mock, id).await.1, json!({ "n": 2 }));
    let logs = status(&mock, id).await["logs"].clone();
    assert_eq!((&logs[0]["message"], &logs[0]["level"]), (&json!("half"), &json!("WARNING")));
    assert_eq!((&logs[1]["message"], &logs[1]["level"]), (&json!("plain"), &json!("INFO")));
    let stream = post(mock.port(), "/fal.run/acme/app/sub/stream", "{}").await;
    assert_eq!(&stream.body[..], b"data: {\"n\":1}\n\ndata: {\"n\":2}\n\n");
    let stream = post(mock.port(), "/fal.run/acme/app/bad/stream", "{}").await;
    let text = String::from_utf8(stream.body.to_vec()).unwrap();
    assert!(text.starts_with("data: {\"n\":1}\n\n") && text.contains("out of memory"), "{text}");
    // What fails before the first event has a status.
    let stream = post(mock.port(), "/fal.run/acme/app/refused/stream", "{}").await;
    assert_eq!((stream.status.as_u16(), stream.json()["detail"].clone()), (422, json!("too long")));
    let run = post(mock.port(), "/fal.run/acme/app/bad", "{}").await;
    assert_eq!((run.status.as_u16(), run.json()["detail"].clone()), (500, json!("out of memory")));
    let run = post(mock.port(), "/fal.run/acme/app/none", "{}").await;
    assert_eq!(run.json()["error_type"], "runner_incomplete_response");
}

/// `virtual:auto` must not jump over what is being done outside.
#[tokio::test]
async fn time_waits_for_work() {
    let server = MockServer::start().await;
    let answer =
        ResponseTemplate::new(200).set_body_json(json!({})).set_delay(Duration::from_millis(300));
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let mock = http(&server).clock(ClockMode::Auto).start().await.unwrap();
    let headers =
        call(Method::POST, "/queue.fal.run/acme/app").header("x-fal-request-start-timeout", "5");
    let submitted = send(mock.port(), headers, "{}").await;
    let first: RequestId = submitted.json()["request_id"].as_str().unwrap().parse().unwrap();
    // The second waits behind it, with a limit that a jump would have passed.
    let headers =
        call(Method::POST, "/queue.fal.run/acme/app").header("x-fal-request-start-timeout", "5");
    let submitted = send(mock.port(), headers, "{}").await;
    let second: RequestId = submitted.json()["request_id"].as_str().unwrap().parse().unwrap();
    assert!(over(&mock, first).await && over(&mock, second).await);
}

#[tokio::test]
async fn sessions_are_not_put_in_front_of_a_back_end() {
    let server = MockServer::start().await;
    let mock = http(&server).start().await.unwrap();
    let upgrade = call(Method::GET, "/fal.run/acme/app/realtime")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(send(mock.port(), upgrade, "").await.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn programs_and_strangers_need_permission() {
    let exec = r#"{"apps": [{"endpoint": "acme/**", "exec": ["true"]}]}"#;
    let far = r#"{"apps": [{"endpoint": "acme/**", "http": "https://model.example.com"}]}"#;
    let put = |mock: &MockFal, body: &'static str| {
        send(mock.port(), call(Method::PUT, "/__mock/v1/scenario"), body)
    };
    let mock = MockFal::start().await;
    let refused = put(&mock, exec).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.json()["detail"].as_str().unwrap().contains("--allow-exec"));
    let refused = put(&mock, far).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.json()["detail"].as_str().unwrap().contains("--backend-hosts any"));
    let mock = MockFal::builder().allow_exec(true).far_backends(true).start().await.unwrap();
    assert_eq!(put(&mock, exec).await.status, StatusCode::OK);
    assert_eq!(put(&mock, far).await.status, StatusCode::OK);
    let scenario = Scenario::parse("test", far).unwrap();
    let error = MockFal::builder().scenario(scenario).start().await.unwrap_err();
    assert!(error.to_string().contains("model.example.com"), "{error}");
}

#[tokio::test]
async fn a_reset_stops_what_is_being_done() {
    let program = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)";
    let folder = written("reset", EXEC, program);
    let mock = playing(&folder).start().await.unwrap();
    submit(&mock, &json!({})).await;
    let pid = || std::fs::read_to_string(folder.0.join("pid")).unwrap_or_default();
    until("it runs", || !pid().is_empty()).await;
    let reset = send(mock.port(), call(Method::POST, "/__mock/v1/reset"), "").await;
    assert!(reset.status.is_success(), "{:?}", reset.body);
    until("it is gone", || is_gone(&pid())).await;
    assert_eq!((mock.jobs().len(), mock.clock().view().unwrap().works_under_way), (0, 0));
}
