//! The official JavaScript client, unmodified, through the proxy to the mock.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fal_mock::MockFal;
use serde_json::Value;

use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn official_javascript_client_works_through_the_proxy() {
    if !packages().join("node_modules/@fal-ai/client/package.json").is_file() {
        let reason = "the JavaScript client is not installed: run `cargo xtask setup`";
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let ms = Duration::from_millis;
    let mock = MockFal::builder().queue_time(ms(60)).run_time(ms(120)).start().await.unwrap();
    let proxy = Proxy::start(&mock.url(), &["--allow-endpoint", "fal-ai/**"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxy.mjs");
    let output = Command::new("node")
        .arg(script)
        .args([packages().into_os_string(), proxy.url.clone().into(), mock.url().into()])
        .env_remove("FAL_KEY")
        .stdin(Stdio::null())
        .output()
        .expect("node can be started");
    let complaints = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let checks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for check in &checks {
        assert_eq!(check["ok"], true, "{check}\n{complaints}");
    }
    let ids: Vec<_> = checks.iter().filter_map(|check| check["id"].as_str()).collect();
    assert_eq!(ids, CHECKS, "checks are missing or new\n{complaints}");
    assert!(output.status.success(), "{complaints}");

    let jobs = mock.jobs();
    let hinted = jobs.iter().find(|job| job.endpoint == "fal-ai/hinted").expect("it was submitted");
    assert!(hinted.is_low_priority);
    let has = |name: &str, value: &str| hinted.headers.iter().any(|(n, v)| n == name && v == value);
    assert!(has("x-fal-runner-hint", "lora-1"), "{:?}", hinted.headers);
    let said = proxy.stop();
    let targets: Vec<String> = said
        .lines()
        .iter()
        .filter(|line| line["event"] == "request")
        .filter_map(|line| line["target"].as_str().map(str::to_owned))
        .collect();
    assert!(targets.iter().any(|target| target.starts_with("rest.fal.ai/storage/upload/initiate")));
    assert!(targets.iter().all(|target| !target.contains("fal.media")), "{targets:?}");
}

/// Every check of `proxy.mjs`, in order: one that vanishes is a failure.
const CHECKS: [&str; 9] = [
    "run",
    "subscribe-polling",
    "subscribe-streaming",
    "cancel",
    "priority-and-hint",
    "upload",
    "stream",
    "validation-error",
    "refusals",
];

/// Where `cargo xtask setup` puts the packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools/js")
}
