//! A state survives however its mock ends, and a start that comes to nothing.

#![allow(clippy::unwrap_used, reason = "all of it is a test, and what fails shall end it")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fal_mock::model::{Config, Control};
use fal_mock::{Builder, MockFal};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::client::{Answer, call, call_as, send};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fal-mock-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn on(state: &Path) -> Builder {
    MockFal::builder().instant().state(state)
}

/// Longer than what stays in memory.
fn film() -> Bytes {
    (0..3_000_000u32).map(|at| (at >> 3) as u8).collect::<Vec<_>>().into()
}

/// Uploads it and returns its path.
async fn upload(mock: &MockFal, content: Bytes) -> String {
    upload_with(mock, "id:secret", content).await
}

async fn upload_with(mock: &MockFal, key: &str, content: Bytes) -> String {
    let body = r#"{"content_type":"video/mp4","file_name":"a.mp4"}"#;
    let initiate = call_as(key, Method::POST, "/rest.fal.ai/storage/upload/initiate");
    let answer = send(mock.port(), initiate, body).await.json();
    let path = |name: &str| {
        let url = answer[name].as_str().unwrap();
        url.strip_prefix(&mock.url()).expect("an address of the mock").to_owned()
    };
    let put = Request::put(path("upload_url"));
    assert_eq!(send(mock.port(), put, content).await.status, StatusCode::OK);
    path("file_url")
}

async fn assert_there(mock: &MockFal, path: &str) {
    let answer = send(mock.port(), call(Method::GET, path), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{path} is lost");
    assert!(answer.body == film(), "{path} has other bytes");
}

#[tokio::test]
async fn long_uploads_outlive_a_stop_a_drop_and_a_start_that_failed() {
    let folder = Folder::new("ends");
    let mock = on(&folder.state()).start().await.unwrap();
    let path = upload(&mock, film()).await;
    mock.stop().await;

    let mock = on(&folder.state()).start().await.expect("a stopped one leaves its state whole");
    assert_there(&mock, &path).await;
    drop(mock);

    // This one has opened the state when it finds that a file is no folder.
    let not_a_folder = folder.0.join("file");
    std::fs::write(&not_a_folder, "").unwrap();
    on(&folder.state()).ca_dir(&not_a_folder).start().await.unwrap_err();

    let mock = on(&folder.state()).start().await.expect("one that failed leaves it as it was");
    assert_there(&mock, &path).await;
    mock.stop().await;
}

#[tokio::test]
async fn room_of_what_is_gone_is_free_again_after_a_restart() {
    let folder = Folder::new("room");
    let files = folder.0.join("state.files");
    let mock = on(&folder.state()).start().await.unwrap();
    let path = upload(&mock, film()).await;
    mock.stop().await;
    let len = std::fs::metadata(&files).unwrap().len();
    assert!(len >= film().len() as u64, "{len} bytes");

    let mock = on(&folder.state()).start().await.unwrap();
    let url = format!("{}{path}", mock.url());
    assert!(mock.control(Control::ExpireFile { url }));
    mock.stop().await;
    assert_eq!(std::fs::metadata(&files).unwrap().len(), 0);
}

async fn control(mock: &MockFal, method: Method, target: &str, body: Value) -> Answer {
    let target = format!("/__mock/v1{target}");
    let request = Request::builder().method(method).uri(target);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = send(mock.port(), request, body).await;
    assert!(answer.status.is_success(), "{:?}", answer.body);
    answer
}

async fn read(mock: &MockFal, target: &str) -> Value {
    control(mock, Method::GET, target, Value::Null).await.json()
}

/// Makes a tenant and returns its key.
async fn tenant(mock: &MockFal, settings: Value) -> String {
    let made = control(mock, Method::POST, "/tenants", settings).await.json();
    made["key"].as_str().unwrap().to_owned()
}

async fn names(mock: &MockFal) -> Vec<String> {
    let tenants = read(mock, "/tenants").await;
    let all = tenants["tenants"].as_array().unwrap().iter();
    all.map(|tenant| tenant["name"].as_str().unwrap().to_owned()).collect()
}

async fn submit(mock: &MockFal, key: &str) -> String {
    let request = call_as(key, Method::POST, "/queue.fal.run/acme/app");
    let answer = send(mock.port(), request, r#"{"prompt":"x"}"#).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    answer.json()["request_id"].as_str().unwrap().to_owned()
}

async fn ask(mock: &MockFal, key: &str, target: &str) -> Answer {
    send(mock.port(), call_as(key, Method::GET, target), "").await
}

/// A mock that knows one key beside those of tenants.
fn with_a_key(state: &Path) -> Builder {
    let mut config = Config::default();
    config.keys = vec!["id:secret".to_owned()];
    MockFal::builder().config(config).state(state)
}

#[tokio::test]
async fn tenants_outlive_the_mock_each_with_its_own() {
    let folder = Folder::new("tenants");
    let mock = with_a_key(&folder.state()).start().await.unwrap();
    let settings = json!({
        "name": "studio", "clock": "virtual", "start": "2030-01-01T00:00:00Z", "seed": 7,
        "queue_time": "2s", "run_time": "5s", "runners": 1,
    });
    let key = tenant(&mock, settings).await;
    let over = tenant(&mock, json!({ "name": "over" })).await;
    let (job, other) = (submit(&mock, &key).await, submit(&mock, "id:secret").await);
    let path = upload_with(&mock, &key, film()).await;
    let path_of_over = upload_with(&mock, &over, film()).await;
    control(&mock, Method::DELETE, "/tenants/over", Value::Null).await;
    control(&mock, Method::POST, "/clock/advance?tenant=studio", json!({ "by": "3s" })).await;
    let target = format!("/queue.fal.run/acme/app/requests/{job}");
    let status = ask(&mock, &key, &format!("{target}/status")).await.json();
    assert_eq!(status["status"], "IN_PROGRESS");
    mock.stop().await;
    let written = std::fs::read(folder.state()).unwrap();
    for secret in [&key, &over, "id:secret"] {
        let secret = secret.split_once(':').unwrap().1;
        let is_there = written.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!is_there, "a key is in the file");
    }

    let mock = with_a_key(&folder.state()).start().await.unwrap();
    assert_eq!(names(&mock).await, ["default", "studio"]);
    assert_there(&mock, &path).await;
    assert_eq!(read_jobs(&mock, "studio").await, [job.as_str()]);
    assert_eq!(read_jobs(&mock, "default").await, [other.as_str()]);
    let clock = read(&mock, "/clock?tenant=studio").await;
    assert!(clock["now"].as_str().unwrap().starts_with("2030-01-01T00:00:03"), "{clock}");
    assert_eq!(clock["mode"], "virtual");
    // What it ran is lost with its runner; it waits again, on the tenant's own clock.
    let status = ask(&mock, &key, &format!("{target}/status")).await.json();
    assert_eq!(status["status"], "IN_QUEUE", "{status}");
    assert_eq!(ask(&mock, "id:secret", &target).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&mock, &over, &target).await.status, StatusCode::UNAUTHORIZED);
    let requests = read(&mock, "/requests?tenant=studio").await;
    let asked = requests["requests"].as_array().unwrap();
    assert!(
        asked.iter().any(|one| one["path"] == "/acme/app" && one["status"] == 200),
        "{asked:?}"
    );
    control(&mock, Method::POST, "/clock/run-until?tenant=studio", json!({ "job": job })).await;
    let result = ask(&mock, &key, &target).await;
    assert_eq!(result.status, StatusCode::OK, "{:?}", result.body);

    // Nobody gets the number, and with it the addresses, of one who is over.
    let again = tenant(&mock, json!({ "name": "over" })).await;
    let gone = send(mock.port(), call(Method::GET, &path_of_over), "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_ne!(upload_with(&mock, &again, film()).await, path_of_over);
    for name in ["studio", "over"] {
        control(&mock, Method::DELETE, &format!("/tenants/{name}"), Value::Null).await;
    }
    mock.stop().await;
    let mock = with_a_key(&folder.state()).start().await.unwrap();
    assert_eq!(names(&mock).await, ["default"]);
    assert_eq!(read_jobs(&mock, "default").await, [other.as_str()]);
    mock.stop().await;
    assert_eq!(std::fs::metadata(folder.0.join("state.files")).unwrap().len(), 0);
}

async fn read_jobs(mock: &MockFal, tenant: &str) -> Vec<String> {
    let jobs = read(mock, &format!("/jobs?tenant={tenant}")).await;
    let all = jobs["jobs"].as_array().unwrap().iter();
    all.map(|job| job["request_id"].as_str().unwrap().to_owned()).collect()
}

/// What a reset voids are the rows of one tenant.
#[tokio::test]
async fn a_reset_of_one_tenant_leaves_the_rows_of_the_others() {
    let folder = Folder::new("reset");
    let mock = on(&folder.state()).start().await.unwrap();
    let keys = [tenant(&mock, json!({})).await, tenant(&mock, json!({})).await];
    let own = submit(&mock, "id:secret").await;
    let (first, second) = (submit(&mock, &keys[0]).await, submit(&mock, &keys[1]).await);
    control(&mock, Method::POST, "/reset?tenant=t1", Value::Null).await;
    let anew = submit(&mock, &keys[0]).await;
    mock.stop().await;
    let mock = on(&folder.state()).start().await.unwrap();
    assert_eq!(read_jobs(&mock, "default").await, [own]);
    assert_eq!(read_jobs(&mock, "t2").await, [second]);
    assert_eq!(read_jobs(&mock, "t1").await, [anew.as_str()]);
    // The same seed, so the same ids; those after a restart are others.
    assert_eq!(anew, first);
    assert_ne!(submit(&mock, &keys[0]).await, anew);
    mock.stop().await;
}
