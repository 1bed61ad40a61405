//! TLS on the port that also speaks plain HTTP: names, doors, and where the authority is kept.

use std::fs;
use std::path::PathBuf;

use fal_mock::MockFal;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{call, get, open_on};
use crate::instant;
use crate::secure::{ask, dial, shake};

#[tokio::test]
async fn one_port_speaks_both() {
    let mock = instant().await;
    let stream = shake(dial(mock.port()).await, mock.ca_pem(), "127.0.0.1").await.unwrap();
    let host = mock.address().to_string();
    let run = call(Method::POST, "/fal.run/fal-ai/flux/dev");
    let answer = ask(stream, &host, run, r#"{"prompt":"x"}"#).await;
    assert_eq!(answer.status, StatusCode::OK);
    let url = answer.json()["images"][0]["url"].as_str().unwrap().to_owned();
    let base = format!("https://{host}/v3.fal.media/files/");
    assert!(url.starts_with(&base), "an address leads back by TLS: {url}");
    let path = url.strip_prefix(&format!("https://{host}")).unwrap();
    assert_eq!(get(mock.port(), path).await.status, StatusCode::OK, "the same port without TLS");
}

#[tokio::test]
async fn every_name_of_fals_has_a_certificate_and_addresses_are_the_real_ones() {
    let mock = instant().await;
    for name in [
        "fal.run",
        "queue.fal.run",
        "rest.fal.ai",
        "v3.fal.media",
        "v3b.fal.media",
        "api.fal.ai",
        "ws.fal.run",
        "wma.fal.run",
        "falrun.com",
        "queue.falrun.com",
        "rest.alpha.fal.ai",
        "kv.fal.media",
        "auth.fal.ai",
        "new.fal.ai",
        "gcs.fal.media",
        "localhost",
        "::1",
    ] {
        let stream = shake(dial(mock.port()).await, mock.ca_pem(), name).await;
        assert!(stream.is_ok(), "{name}: {stream:?}");
    }
    let stream = shake(dial(mock.port()).await, mock.ca_pem(), "queue.fal.run").await.unwrap();
    let submit = call(Method::POST, "/fal-ai/flux/dev");
    let submitted = ask(stream, "queue.fal.run", submit, r#"{"prompt":"x"}"#).await.json();
    let url = submitted["status_url"].as_str().unwrap();
    let path = url.strip_prefix("https://queue.fal.run").expect("a real address");
    let stream = shake(dial(mock.port()).await, mock.ca_pem(), "queue.fal.run").await.unwrap();
    let status = ask(stream, "queue.fal.run", call(Method::GET, path), "").await;
    assert_eq!(status.json()["status"], "COMPLETED");
}

#[tokio::test]
async fn nobody_elses_name_is_vouched_for() {
    let mock = instant().await;
    for name in ["example.com", "fal.run.example.com", "storage.googleapis.com", "8.8.8.8"] {
        let error = shake(dial(mock.port()).await, mock.ca_pem(), name).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{name}: {error}");
    }
    let other = instant().await;
    let error = shake(dial(mock.port()).await, other.ca_pem(), "fal.run").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "each mock has its own authority: {error}");
}

#[tokio::test]
async fn what_fal_has_and_the_mock_does_not_play_says_so() {
    let mock = instant().await;
    let stream = shake(dial(mock.port()).await, mock.ca_pem(), "auth.fal.ai").await.unwrap();
    let answer = ask(stream, "auth.fal.ai", call(Method::POST, "/oauth/token"), "x").await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert!(answer.json()["detail"].as_str().unwrap().contains("auth.fal.ai"));
}

#[tokio::test]
async fn broken_handshakes_harm_nobody() {
    let mock = instant().await;
    for start in [&b"\x16"[..], b"\x16\x03\x01\x00\x05hello", &[0x16; 300]] {
        let mut stream = dial(mock.port()).await;
        stream.write_all(start).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    assert_eq!(get(mock.port(), "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_stream_comes_piece_by_piece_through_tls() {
    let mock = MockFal::builder().run_time(std::time::Duration::from_millis(60)).start().await;
    let mock = mock.unwrap();
    let stream = shake(dial(mock.port()).await, mock.ca_pem(), "fal.run").await.unwrap();
    let run = call(Method::POST, "/fal-ai/any-llm/stream");
    let mut opened = open_on(stream, "fal.run", run, r#"{"prompt":"x"}"#).await.unwrap();
    let mut pieces = 0;
    while opened.next().await.unwrap().is_some() {
        pieces += 1;
    }
    assert!(pieces > 1, "{pieces}");
}

#[tokio::test]
async fn the_certificate_can_be_fetched() {
    let mock = instant().await;
    let answer = get(mock.port(), "/__mock/v1/ca.pem").await;
    assert_eq!(answer.body, mock.ca_pem());
    assert!(!answer.body.windows(7).any(|window| window == b"PRIVATE"));
}

/// A folder of one test, removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fal-mock-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn an_authority_is_kept_for_its_owner_only() {
    let folder = Folder::new("ca");
    let dir = folder.0.join("a/b");
    let start = || MockFal::builder().ca_dir(&dir).start();
    let first = start().await.unwrap();
    let second = start().await.unwrap();
    assert_eq!(first.ca_pem(), second.ca_pem());
    assert_eq!(fs::read_to_string(dir.join("ca.pem")).unwrap(), first.ca_pem());
    let stream = shake(dial(second.port()).await, first.ca_pem(), "fal.run").await;
    assert!(stream.is_ok(), "{stream:?}");
    let files = || fs::read_dir(&dir).unwrap().count();
    assert_eq!(files(), 2, "nothing else is left there");

    // The certificate is made again from the key, and is as good as the first.
    fs::write(dir.join("ca.pem"), "broken").unwrap();
    let third = start().await.unwrap();
    for pem in [first.ca_pem(), third.ca_pem()] {
        assert!(shake(dial(third.port()).await, pem, "fal.run").await.is_ok());
    }

    fs::write(dir.join("ca-key.pem"), "broken").unwrap();
    let error = start().await.unwrap_err().to_string();
    assert!(error.contains("ca-key.pem") && error.contains("delete it"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn rights_are_tight_and_loose_ones_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new("ca-rights");
    let dir = folder.0.join("a");
    let start = || MockFal::builder().ca_dir(&dir).start();
    start().await.unwrap();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let key = dir.join("ca-key.pem");
    assert_eq!((mode(&dir), mode(&key)), (0o700, 0o600));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = start().await.unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn mocks_that_start_at_once_agree_on_an_authority() {
    let folder = Folder::new("ca-race");
    let starts = (0..8).map(|_| {
        let dir = folder.0.clone();
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let mock = MockFal::builder().ca_dir(dir).start().await.unwrap();
                mock.ca_pem().to_owned()
            })
        })
    });
    let mut pems = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        pems.push(start.await.unwrap());
    }
    let mock = MockFal::builder().ca_dir(&folder.0).start().await.unwrap();
    for pem in pems {
        assert!(shake(dial(mock.port()).await, &pem, "queue.fal.run").await.is_ok());
    }
}
