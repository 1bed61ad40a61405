//! A state survives however its mock ends, and a start that comes to nothing.

#![allow(clippy::unwrap_used, reason = "all of it is a test, and what fails shall end it")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fal_mock::model::Control;
use fal_mock::{Builder, MockFal};
use http::{Method, Request, StatusCode};

use crate::client::{call, send};

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
    let body = r#"{"content_type":"video/mp4","file_name":"a.mp4"}"#;
    let initiate = call(Method::POST, "/rest.fal.ai/storage/upload/initiate");
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
