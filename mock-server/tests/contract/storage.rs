//! Long uploads through sockets: to the disk and back, with bounded memory and room.

use bytes::Bytes;
use fal_mock::MockFal;
use fal_mock::model::{Config, Control, Failure, UploadFailure, UploadStep};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::client::{Answer, call, get, open, path_of, post, send};

const MIB: usize = 1 << 20;

/// Bytes that differ from place to place.
fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * (2 * seed + 7)) >> 9) as u8).collect()
}

/// Starts an upload and returns the paths of the file and of the upload.
async fn initiate(mock: &MockFal, route: &str) -> (String, String) {
    let body = r#"{"content_type":"video/mp4","file_name":"a.mp4"}"#;
    let target = format!("/rest.fal.ai/storage/upload/{route}");
    let answer = post(mock.port(), &target, body).await.json();
    let path = |name: &str| path_of(answer[name].as_str().unwrap_or_default(), mock.port());
    (path("file_url"), path("upload_url"))
}

/// What the official clients send to a signed address: no key.
async fn put(mock: &MockFal, target: &str, body: impl Into<Bytes>) -> Answer {
    send(mock.port(), Request::put(target), body).await
}

async fn upload(mock: &MockFal, body: impl Into<Bytes>) -> (String, StatusCode) {
    let (file, upload) = initiate(mock, "initiate").await;
    (file, put(mock, &upload, body).await.status)
}

async fn range(mock: &MockFal, path: &str, range: &str) -> Answer {
    send(mock.port(), call(Method::GET, path).header("range", range), "").await
}

#[tokio::test]
async fn long_files_come_back_whole_and_in_parts() {
    let mock = MockFal::start().await;
    let body = content(1, 3 * MIB + 17);
    for body in [&body[..], &body[..MIB], &body[..=MIB], b""] {
        let (file, status) = upload(&mock, body.to_vec()).await;
        assert_eq!(status, StatusCode::OK);
        let whole = get(mock.port(), &file).await;
        assert!(whole.body == body, "{} bytes", body.len());
        assert_eq!(whole.headers["content-length"], body.len().to_string().as_str());
        let head = send(mock.port(), call(Method::HEAD, &file), "").await;
        assert_eq!(head.headers["content-length"], body.len().to_string().as_str());
        assert_eq!(
            (head.headers["etag"].clone(), head.body.len()),
            (whole.headers["etag"].clone(), 0)
        );
    }
    let (file, _) = upload(&mock, body.clone()).await;
    let middle = range(&mock, &file, "bytes=700000-2500000").await;
    assert_eq!(middle.status, StatusCode::PARTIAL_CONTENT);
    assert!(middle.body == body[700_000..=2_500_000]);
    assert_eq!(
        middle.headers["content-range"],
        format!("bytes 700000-2500000/{}", body.len()).as_str()
    );
    let last = range(&mock, &file, "bytes=-1000").await;
    assert!(last.body == body[body.len() - 1000..]);
    let beyond = range(&mock, &file, &format!("bytes={}-", body.len())).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let view = mock.files().pop().unwrap();
    assert_eq!((path_of(&view.url, mock.port()), view.bytes), (file, body.len() as u64));
}

#[tokio::test]
async fn parts_arrive_at_once_and_in_any_order() {
    let mock = MockFal::start().await;
    let (file, upload) = initiate(&mock, "initiate-multipart?storage_type=fal-cdn-v3").await;
    let (base, query) = upload.split_once('?').unwrap();
    let parts: Vec<Vec<u8>> = [2 * MIB, 0, MIB / 2, 3 * MIB + 5]
        .iter()
        .enumerate()
        .map(|(n, len)| content(n, *len))
        .collect();
    let (base, query) = (base.to_owned(), query.to_owned());
    let mut sent = tokio::task::JoinSet::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let target = format!("{base}/{}?{query}", index + 1);
        let (port, part) = (mock.port(), part.clone());
        sent.spawn(async move { send(port, Request::put(target), part).await });
    }
    let mut list = Vec::new();
    while let Some(answer) = sent.join_next().await {
        let answer = answer.unwrap();
        let entry = answer.json();
        assert_eq!(entry["etag"], answer.headers["etag"].to_str().unwrap());
        list.push(entry);
    }
    let body = json!({ "parts": list }).to_string();
    let done = send(mock.port(), Request::post(format!("{base}/complete?{query}")), body).await;
    assert_eq!(done.status, StatusCode::OK);
    let whole = parts.concat();
    assert!(get(mock.port(), &file).await.body == whole);
    let across = range(&mock, &file, &format!("bytes={}-{}", 2 * MIB - 9, 3 * MIB)).await;
    assert!(across.body == whole[2 * MIB - 9..=3 * MIB]);
    assert_eq!((mock.counters().parts, mock.counters().uploads), (4, 1));
}

#[tokio::test]
async fn google_s_storage_and_tokens_work_through_the_door() {
    let mock = MockFal::start().await;
    let port = mock.port();
    let (file, upload) = initiate(&mock, "initiate?storage_type=gcs").await;
    assert!(file.starts_with("/storage.googleapis.com/"), "{file}");
    let typed = Request::put(&upload).header("content-type", "video/mp4");
    assert_eq!(send(port, typed, content(1, 2 * MIB)).await.status, StatusCode::OK);
    assert!(get(port, &file).await.body == content(1, 2 * MIB));

    let token =
        post(port, "/rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3", "{}").await.json();
    let base = path_of(token["base_url"].as_str().unwrap(), port);
    let value =
        format!("{} {}", token["token_type"].as_str().unwrap(), token["token"].as_str().unwrap());
    let direct = Request::post(format!("{base}/files/upload"))
        .header("authorization", &value)
        .header("content-type", "image/png")
        .header("x-fal-file-name", "cat.png");
    let answer = send(port, direct, content(2, 2 * MIB)).await.json();
    let file = path_of(answer["access_url"].as_str().unwrap(), port);
    assert!(get(port, &file).await.body == content(2, 2 * MIB));
}

#[tokio::test]
async fn google_s_storage_is_reached_through_the_proxy_by_a_name_of_fal_s() {
    let mock = MockFal::start().await;
    let port = mock.port();
    let target = "http://rest.fal.ai/storage/upload/initiate-multipart?storage_type=gcs";
    let body = r#"{"content_type":"video/mp4","file_name":"a.mp4"}"#;
    let started = send(port, call(Method::POST, target), body).await.json();
    let upload = started["upload_url"].as_str().unwrap();
    assert!(upload.starts_with("http://rest.fal.ai/"), "{upload}");
    let part = send(port, call(Method::POST, &format!("{upload}/1")), "").await.json();
    let part = part["upload_url"].as_str().unwrap();
    assert!(part.starts_with("http://gcs.fal.media/"), "{part}");
    let sent = send(port, Request::put(part), content(1, 2 * MIB)).await;
    assert_eq!((sent.status, sent.body.len()), (StatusCode::OK, 0));
    let etag = sent.headers["etag"].to_str().unwrap().trim_matches('"');
    let list = json!({ "parts": [{ "part_number": 1, "etag": etag }] }).to_string();
    let done = send(port, call(Method::POST, &format!("{upload}/complete")), list).await;
    assert_eq!(done.status, StatusCode::OK);
    let file = started["file_url"].as_str().unwrap();
    assert!(send(port, Request::get(file), "").await.body == content(1, 2 * MIB));
    let real = file.replace("gcs.fal.media", "storage.googleapis.com");
    assert_eq!(send(port, Request::get(real), "").await.status, StatusCode::FORBIDDEN);
    assert!(mock.files()[0].url.contains("/storage.googleapis.com/"));
}

#[tokio::test]
async fn room_on_disk_is_bounded() {
    let mock = MockFal::builder().spool_bytes(5 * MIB as u64).start().await.unwrap();
    let (first, status) = upload(&mock, content(1, 3 * MIB)).await;
    assert_eq!(status, StatusCode::OK);
    let (second, status) = upload(&mock, content(2, 3 * MIB)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(get(mock.port(), &first).await.status, StatusCode::NOT_FOUND, "the oldest went");
    assert!(get(mock.port(), &second).await.body == content(2, 3 * MIB));
    assert_eq!(mock.counters().evicted, 1);

    // What is not complete cannot be given up, and what needs more than all room is refused.
    let (_, status) = upload(&mock, content(3, 6 * MIB)).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
    let (_, target) = initiate(&mock, "initiate-multipart").await;
    let (base, query) = target.split_once('?').unwrap();
    let part = |number: u32| format!("{base}/{number}?{query}");
    assert_eq!(put(&mock, &part(1), content(4, 3 * MIB)).await.status, StatusCode::OK);
    let refused = put(&mock, &part(2), content(5, 3 * MIB)).await;
    assert_eq!(refused.status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(refused.json()["detail"].as_str().unwrap().contains("--spool-bytes"));
    assert_eq!(
        put(&mock, &part(2), content(5, 2 * MIB)).await.status,
        StatusCode::OK,
        "room is free again"
    );
}

#[tokio::test]
async fn uploads_have_a_limit_of_their_own() {
    let mut config = Config::default();
    config.body_bytes_max = 1000;
    config.upload_bytes_max = 2 * MIB as u64;
    let mock = MockFal::builder().config(config).start().await.unwrap();
    let (_, status) = upload(&mock, content(1, 2 * MIB)).await;
    assert_eq!(status, StatusCode::OK);
    let (_, status) = upload(&mock, content(1, 2 * MIB + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_said_at_the_start() {
    let missing = std::env::temp_dir().join("fal-mock-is-not-here");
    let error = MockFal::builder().spool_dir(&missing).start().await.unwrap_err();
    assert!(error.to_string().contains("fal-mock-is-not-here"), "{error}");
}

#[tokio::test]
async fn parts_are_refused_and_cut_as_planned() {
    let mock = MockFal::start().await;
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    let refusal = Failure::new(busy, r#"{"detail":"busy"}"#, "busy", None);
    for failure in [UploadFailure::Refuse(refusal), UploadFailure::Cut, UploadFailure::LoseAnswer] {
        let step = UploadStep::Part(Some(1));
        assert!(mock.control(Control::FailUploads { step, times: 1, failure }));
    }
    let (_, target) = initiate(&mock, "initiate-multipart").await;
    let target = target.replace('?', "/1?");
    assert_eq!(put(&mock, &target, content(1, 2 * MIB)).await.status, busy);
    let stored = |mock: &MockFal| mock.files().pop().unwrap().parts;
    for kept in [vec![], vec![1]] {
        assert!(open(mock.port(), Request::put(&target), content(1, 2 * MIB)).await.is_none());
        assert_eq!(stored(&mock), kept);
    }
    assert_eq!(put(&mock, &target, "x").await.status, StatusCode::OK);
    assert_eq!(mock.files().pop().unwrap().bytes, 1);
}

#[tokio::test]
async fn pages_may_upload_and_read_tags() {
    let mock = MockFal::start().await;
    let (_, upload) = initiate(&mock, "initiate").await;
    let origin = "http://localhost:3000";
    let preflight = Request::options(&upload)
        .header("origin", origin)
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "content-type");
    let answer = send(mock.port(), preflight, "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = send(mock.port(), Request::put(&upload).header("origin", origin), "x").await;
    assert_eq!(answer.status, StatusCode::OK);
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("ETag"), "{exposed}");
}

#[tokio::test]
async fn settings_of_the_account_hold() {
    let mock = MockFal::start().await;
    let wish = json!({ "expiration_duration_seconds": 3600, "initial_acl": { "default": "hide" } });
    let target = "/api.fal.ai/v1/storage/settings";
    let saved = send(mock.port(), call(Method::PUT, target), wish.to_string()).await.json();
    assert_eq!(saved["initial_acl"], json!({ "default": "hide", "rules": [] }));
    let (file, _) = upload(&mock, "x").await;
    assert_eq!(get(mock.port(), &file).await.status, StatusCode::NOT_FOUND);
    let view = mock.files().pop().unwrap();
    let target = format!("/api.fal.ai/v1/storage/files/sign?url={}", view.url);
    let signed: Value = post(mock.port(), &target, r#"{"expiration_seconds":60}"#).await.json();
    let signed = path_of(signed["signed_url"].as_str().unwrap(), mock.port());
    assert_eq!(&get(mock.port(), &signed).await.body[..], b"x");
    assert!(mock.control(Control::ExpireFile { url: view.url }));
    assert_eq!(get(mock.port(), &signed).await.status, StatusCode::NOT_FOUND);
}
