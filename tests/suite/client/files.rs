//! Files on their way in and out.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fal_client::{Aftermath, Error, ErrorKind, Event, Input};
use fal_mock::MockFal;
use fal_protocol::wire::FailureKind;
use serde_json::json;

use crate::support::raw::{Act, Raw, answer, head};
use crate::support::{FLUX, builder, client, eventually, in_time, name};

#[tokio::test]
async fn bytes_and_files_are_uploaded_as_they_are() {
    let mock = MockFal::start().await;
    let client = client(&mock.url());
    let content = pattern(300_000);
    let file = Scratch::new("photo.png", &content);

    let from_bytes =
        in_time(client.upload(content.clone()).named("a.bin").content_type("image/webp"));
    let from_bytes = from_bytes.await.unwrap();
    let from_file = in_time(client.upload(file.path.as_path())).await.unwrap();
    let empty = in_time(client.upload(Vec::new())).await.unwrap();
    assert_eq!(mock.counters().uploads, 3);
    assert!(from_file.ends_with("photo.png"), "{from_file}");

    assert_eq!(in_time(client.download(&from_bytes)).await.unwrap(), content);
    assert_eq!(in_time(client.download(&from_file)).await.unwrap(), content);
    assert!(in_time(client.download(&empty)).await.unwrap().is_empty());
    let type_of = |url: String| async move {
        let (status, headers, _) = get(&url).await;
        assert_eq!(status, 200);
        headers
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-type: ").map(str::to_owned))
    };
    assert_eq!(type_of(from_bytes).await.as_deref(), Some("image/webp"));
    assert_eq!(type_of(from_file).await.as_deref(), Some("image/png"));
}

#[tokio::test]
async fn a_large_file_tells_its_progress() {
    let mock = MockFal::start().await;
    let content = pattern(20 << 20);
    let file = Scratch::new("large.bin", &content);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&heard);
    let upload = client(&mock.url()).upload(file.path.clone()).on_update(move |event| {
        if let Event::Uploading { sent, total, .. } = event {
            teller.lock().unwrap().push((*sent, *total));
        }
    });
    let url = in_time(upload).await.unwrap();

    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() > 1, "{heard:?}");
    assert!(heard.is_sorted(), "{heard:?}");
    assert!(heard.iter().all(|(sent, total)| sent <= total && *total == 20 << 20), "{heard:?}");
    let target = Scratch::new("fetched.bin", b"older content");
    let length = in_time(client(&mock.url()).download(url).to_file(&target.path)).await.unwrap();
    assert_eq!(length, 20 << 20);
    assert!(std::fs::read(&target.path).unwrap() == content, "the file has changed on its way");
}

#[tokio::test]
async fn files_in_an_input_are_replaced_by_their_addresses() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let photo = Scratch::new("face.png", b"face");
    let input = Input::from(json!({ "prompt": "portrait of a man", "seed": 42 }))
        .with("reference_image_url", Input::file(&photo.path))
        .with("reference_pose_image_url", Input::bytes(&b"pose"[..], "image/png").inline())
        .with("ip_archive_url", Input::bytes(&b"zip"[..], "application/zip").named("faces.zip"));
    let mut job = client.subscribe("fal-ai/controlnet-ip-adapter").input(input).start();
    let mut uploaded = Vec::new();
    while let Some(event) = in_time(job.next_event()).await {
        match event {
            Event::Uploaded { name, url } => uploaded.push((name, url)),
            Event::Submitted(_) => assert_eq!(uploaded.len(), 2, "files go out first"),
            _ => {}
        }
    }
    let output = in_time(job).await.unwrap();
    assert_eq!(output.value().unwrap()["seed"], 42);

    uploaded.sort();
    assert_eq!(
        uploaded.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["face.png", "faces.zip"]
    );
    let input: serde_json::Value = serde_json::from_slice(&mock.jobs()[0].input).unwrap();
    let expected = json!({
        "prompt": "portrait of a man",
        "seed": 42,
        "reference_image_url": uploaded[0].1,
        "reference_pose_image_url": "data:image/png;base64,cG9zZQ==",
        "ip_archive_url": uploaded[1].1,
    });
    assert_eq!(input, expected);
    assert_eq!(mock.counters().uploads, 2, "what is inline is not uploaded");
    assert_eq!(in_time(client.download(&uploaded[0].1)).await.unwrap(), "face");
}

#[tokio::test]
async fn a_missing_file_is_named_and_nothing_is_submitted() {
    let mock = MockFal::start().await;
    let client = client(&mock.url());
    let missing = PathBuf::from("/nowhere/face.png");
    let input = Input::default().with("image_url", Input::file(&missing));
    let error = in_time(client.subscribe(FLUX).input(input)).await.unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == missing), "{error:?}");
    assert!(error.to_string().contains("/nowhere/face.png"), "{error}");
    let error = in_time(client.upload(missing)).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let error = in_time(client.upload(std::env::temp_dir())).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "a folder is no file: {error:?}");
    assert_eq!(mock.requests(), []);
}

#[tokio::test]
async fn outputs_are_downloaded() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let output = in_time(client.run(FLUX).input(json!({ "prompt": "a cat" }))).await.unwrap();
    let file = &output.files()[0];
    let heard = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&heard);
    let png = in_time(
        client
            .download(&file.url)
            .on_progress(move |done, total| teller.lock().unwrap().push((done, total))),
    )
    .await
    .unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let total = png.len() as u64;
    assert_eq!(heard.lock().unwrap().last(), Some(&(total, Some(total))));

    let target = Scratch::new(&file.local_name(), b"");
    in_time(client.download(&file.url).to_file(&target.path)).await.unwrap();
    assert_eq!(std::fs::read(&target.path).unwrap(), png);
}

#[tokio::test]
async fn data_uris_are_decoded_without_a_request() {
    let mock = MockFal::start().await;
    let client = client(&mock.url());
    let bytes = in_time(client.download("data:text/plain;base64,aGVsbG8=")).await.unwrap();
    assert_eq!(bytes, "hello");
    let target = Scratch::new("hello.txt", b"");
    let uri = "data:,hello%20world";
    assert_eq!(in_time(client.download(uri).to_file(&target.path)).await.unwrap(), 11);
    assert_eq!(std::fs::read(&target.path).unwrap(), b"hello world");
    let error = in_time(client.download("data:text/plain;base64,!")).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{error:?}");
    assert_eq!(mock.requests(), []);
}

#[tokio::test]
async fn refused_downloads_leave_no_file() {
    let mock = MockFal::start().await;
    let client = client(&mock.url());
    let folder = Scratch::folder("refused");
    for url in [
        format!("{}/v3.fal.media/files/koala/gone.png", mock.url()),
        "ftp://example.com/a".to_owned(),
        "not a url".to_owned(),
    ] {
        let error =
            in_time(client.download(&url).to_file(folder.path.join("x"))).await.unwrap_err();
        let expected = if url.starts_with("http") { Some(404) } else { None };
        assert_eq!(error.status().map(|status| status.as_u16()), expected, "{error:?}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[tokio::test]
async fn cut_downloads_are_errors_and_leave_no_file() {
    for body in [
        [head(200, &[("content-length", "100")]), b"half of it".to_vec()].concat(),
        [head(200, &[("transfer-encoding", "chunked")]), b"4\r\nhalf\r\n".to_vec()].concat(),
    ] {
        let server = Raw::start(move |_| Act::SayAndClose(body.clone())).await;
        let client = client(server.url());
        let url = format!("{}/file?signature=very-secret", server.url());
        let folder = Scratch::folder("cut");
        let error =
            in_time(client.download(&url).to_file(folder.path.join("x"))).await.unwrap_err();
        let closed =
            matches!(error.kind(), Some(ErrorKind::Transport(f)) if f.kind == FailureKind::Closed);
        assert!(closed, "{error:?}");
        assert!(!format!("{error} {error:?}").contains("very-secret"), "{error:?}");
        assert_eq!(folder.names(), [""; 0], "no half of a file");
        in_time(client.download(&url)).await.unwrap_err();
    }
}

#[tokio::test]
async fn downloads_are_bounded_and_carry_no_key() {
    let server = Raw::start(|_| Act::Say(answer(200, &[], &[7; 1000]))).await;
    let client = client(server.url());
    let url = format!("{}/v3.fal.media/files/x", server.url());
    let fits = in_time(client.download(&url).bytes_max(1000)).await.unwrap();
    assert_eq!(fits.len(), 1000);
    let error = in_time(client.download(&url).bytes_max(999)).await.unwrap_err();
    let too_large =
        matches!(error.kind(), Some(ErrorKind::Transport(f)) if f.kind == FailureKind::TooLarge);
    assert!(too_large, "{error:?}");
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_download_that_stands_still_ends() {
    for odd in [
        Vec::new(),
        head(200, &[("content-length", "100")]),
        [head(200, &[("content-length", "100")]), b"half of it".to_vec()].concat(),
        [head(404, &[("content-length", "100")]), b"half of it".to_vec()].concat(),
    ] {
        let server = Raw::start(move |_| Act::SayAndHang(odd.clone())).await;
        let client =
            builder(server.url()).attempt_timeout(Duration::from_millis(50)).build().unwrap();
        let url = format!("{}/file", server.url());
        let error = in_time(client.download(url)).await.unwrap_err();
        match error.kind() {
            Some(ErrorKind::Transport(failure)) => assert_eq!(failure.kind, FailureKind::Timeout),
            // What it was refused for is worth more than that the words about it broke off.
            _ => assert_eq!(error.status().map(|status| status.as_u16()), Some(404)),
        }
        eventually("the connection is closed", || server.abandoned() == 1).await;
    }
}

#[tokio::test]
async fn a_slow_download_may_take_longer_than_one_attempt() {
    let body: Vec<u8> = answer(200, &[], &[7; 2000]);
    let server = Raw::start(move |_| Act::Trickle(body.clone())).await;
    let client = builder(server.url()).attempt_timeout(Duration::from_millis(500)).build().unwrap();
    let bytes = in_time(client.download(format!("{}/file", server.url()))).await.unwrap();
    assert_eq!(bytes, [7; 2000][..]);
}

#[tokio::test]
async fn a_deadline_covers_the_files_of_an_input() {
    let server = Raw::start(|_| Act::HANG).await;
    let input = Input::default().with("image_url", Input::bytes(&b"x"[..], "image/png"));
    let job = client(server.url()).subscribe(FLUX).input(input);
    let error = in_time(job.deadline(Duration::from_millis(100))).await.unwrap_err();
    let nothing = Aftermath::NothingSubmitted;
    assert!(
        matches!(error.kind(), Some(ErrorKind::Deadline { aftermath }) if *aftermath == nothing),
        "{error:?}"
    );
    eventually("the connection is closed", || server.abandoned() == 1).await;
    assert_eq!(server.count("submit"), 0);
}

#[tokio::test]
async fn the_upload_address_gets_no_key() {
    let server = Raw::start(|seen| {
        let host = seen.header("host").unwrap();
        let body = json!({
            "file_url": format!("http://{host}/v3.fal.media/files/x"),
            "upload_url": format!("http://{host}/bucket/x?signature=1"),
        });
        Act::Say(answer(200, &[], body.to_string().as_bytes()))
    })
    .await;
    let url = in_time(client(server.url()).upload(Bytes::from_static(b"abc"))).await.unwrap();
    assert!(url.ends_with("/v3.fal.media/files/x"), "{url}");
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), Some("Key key-id:very-secret"));
    assert_eq!((seen[1].method.as_str(), &*seen[1].body), ("PUT", &b"abc"[..]));
    assert_eq!(seen[1].header("authorization"), None);
    assert_eq!(seen[1].header("content-length"), Some("3"));
}

#[tokio::test]
async fn an_upload_is_put_again_after_a_failure() {
    let server = Raw::start({
        let puts = std::sync::atomic::AtomicUsize::new(0);
        move |seen| {
            let host = seen.header("host").unwrap();
            let address = format!("http://{host}/x");
            let body = json!({ "file_url": address, "upload_url": address }).to_string();
            match (seen.method.as_str(), puts.load(std::sync::atomic::Ordering::SeqCst)) {
                ("PUT", 0) => {
                    puts.store(1, std::sync::atomic::Ordering::SeqCst);
                    Act::Say(answer(503, &[], b"busy"))
                }
                _ => Act::Say(answer(200, &[], body.as_bytes())),
            }
        }
    })
    .await;
    let content = Scratch::new("again.bin", &pattern(100_000));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&heard);
    let upload = client(server.url())
        .upload(content.path.clone())
        .on_update(move |event| teller.lock().unwrap().push(name(event)));
    in_time(upload).await.unwrap();
    let puts: Vec<_> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(puts.len(), 2);
    assert!(puts.iter().all(|put| put.body == pattern(100_000)), "both times whole");
    assert!(heard.lock().unwrap().contains(&"retrying"));
}

/// Bytes in which a shift or a gap shows.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 ^ (i >> 16) as u8).collect()
}

/// Status, head and body of a plain GET: what any other program would see.
async fn get(url: &str) -> (u16, String, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, bytes[end + 4..].to_vec())
}

/// A folder of one test, removed with it; `path` is a file in it or the folder itself.
pub(super) struct Scratch {
    folder: PathBuf,
    pub(super) path: PathBuf,
}

impl Scratch {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        let mut scratch = Self::folder("file");
        scratch.path = scratch.folder.join(name);
        std::fs::write(&scratch.path, content).unwrap();
        scratch
    }

    fn folder(name: &str) -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let folder =
            std::env::temp_dir().join(format!("fal-suite-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { path: folder.clone(), folder }
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
