//! Realtime and client-mode streams with the official JavaScript client, unmodified, against the mock.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::model::{Control, Frame, MessageFailure, RealtimeConfig};
use serde_json::json;
use tokio::process::Command;

use crate::js_client::{checks_of, ids_of, is_installed, packages};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn official_javascript_client_holds_sessions() {
    if let Err(reason) = is_installed().await {
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let mut realtime = RealtimeConfig::default();
    realtime.input_time = Duration::from_millis(20);
    // A busy machine may take some time between a handshake and the first message.
    realtime.session_timeout = Some(Duration::from_millis(1500));
    realtime.timings = true;
    let fast = MockFal::builder()
        .run_time(Duration::from_millis(200))
        .realtime(realtime)
        .start()
        .await
        .unwrap();
    let failing = MockFal::builder().instant().start().await.unwrap();
    let news = r#"{"type":"x-fal-message","action":"news"}"#.to_owned();
    for failure in [
        MessageFailure::Say(Frame::Text(news)),
        MessageFailure::Error("it fell over".into()),
        MessageFailure::Close { code: Some(1011), reason: "as planned".into() },
        MessageFailure::Close { code: None, reason: "".into() },
        MessageFailure::Drop,
    ] {
        failing.control(Control::FailNextMessage(failure));
    }
    let output = run_checks(&fast, &failing).await;
    assert_eq!(ids_of(&checks_of(&output)), CHECKS, "checks are missing or new");
    assert_eq!(fast.counters().session_inputs_dropped, 0);
    assert_eq!(failing.counters().sessions, 5);
}

/// Every check of `realtime.mjs`, in order: one that vanishes is a failure.
const CHECKS: [&str; 14] = [
    "result-with-binary-picture",
    "id-that-ends-in-realtime",
    "latest-message-before-the-connection",
    "silence-is-no-error-and-the-next-message-connects-again",
    "token-provider-with-the-whole-path",
    "bad-token-is-dropped-and-another-one-fetched",
    "text-both-ways",
    "stream-of-outputs",
    "messages-of-an-unknown-kind",
    "failure-of-the-app",
    "close-with-a-code",
    "close-without-a-code",
    "lost-connection",
    "client-mode-stream",
];

async fn run_checks(fast: &MockFal, failing: &MockFal) -> Output {
    let addresses = json!({ "fast": fast.url(), "failing": failing.url() });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js/realtime.mjs");
    let node = Command::new("node")
        // Node 20 has no WebSocket without it; later ones take it as well.
        .arg("--experimental-websocket")
        .arg(script)
        .arg(packages())
        .arg(addresses.to_string())
        .env_remove("FAL_KEY")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SCRIPT_TIME_MAX, node).await;
    output.expect("node did not exit by itself in time").expect("node can be started")
}

/// All checks together take three seconds on a machine that does nothing else.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(50);
