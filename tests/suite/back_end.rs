//! A model of one's own behind the mock's queue, called by the official Python client and by ours.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fal_client::Client;
use fal_mock::MockFal;
use fal_mock::scenario::Scenario;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::py_client;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/backend")
}

async fn mock() -> MockFal {
    let scenario = Scenario::load(&sources().join("scenario.yaml")).unwrap();
    MockFal::builder().scenario(scenario).start().await.unwrap()
}

#[tokio::test]
async fn the_official_python_client_calls_a_program() {
    if let Err(reason) = py_client::is_installed() {
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let mock = mock().await;
    let mut app = std::process::Command::new(py_client::python());
    app.arg(sources().join("app.py"));
    let environment = mock.environment("any:key").unwrap();
    environment.apply(&mut app);
    let program = Command::from(app).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), program).await.unwrap().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["['painting a cat']", "a cat picture.svg"]);
    assert!(lines[2].starts_with("422 ") && lines[2].contains("Field required"), "{said}");
}

#[tokio::test]
async fn our_client_calls_a_program() {
    let mock = mock().await;
    let client = Client::builder().base_url(mock.url()).key("any:key").build().unwrap();
    let call = client.subscribe("my-team/painter").input(json!({ "prompt": "a cat" })).await;
    let output: Value = call.unwrap().json().unwrap();
    assert!(output["image"]["url"].as_str().unwrap().ends_with("_picture.svg"), "{output}");
    let error = client.subscribe("my-team/painter").input(json!({})).await.unwrap_err();
    assert_eq!(error.fields()[0].error_type.to_string(), "missing");
}
