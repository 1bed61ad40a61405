//! The official JavaScript client, unmodified, against the mock.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::model::{Control, Failure, StreamFailure, UploadFailure, UploadStep};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::methods::Methods;
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn official_javascript_client_gets_what_it_expects_by_both_doors() {
    if is_missing().await {
        return;
    }
    let (by_proxy, without) = tokio::join!(by_its_proxy_setting(), without_any_setting());
    let mut methods = Methods::default();
    by_proxy.iter().chain(&without).for_each(|check| methods.add(check));
    if has_sockets().await {
        methods.check_table("methods of the JavaScript client", ours);
    } else {
        eprintln!("the README's table was not compared: this Node.js has no WebSockets");
    }
}

async fn by_its_proxy_setting() -> Vec<Value> {
    let mocks = Mocks::start().await;
    let checks = checks_of(&mocks.run_checks(None).await);
    // Its sockets go around a proxy setting.
    let wanted: Vec<&str> = CHECKS.into_iter().filter(|id| *id != "realtime").collect();
    assert_eq!(ids_of(&checks), wanted, "checks are missing or new");
    mocks.check_what_arrived().await;
    checks
}

async fn without_any_setting() -> Vec<Value> {
    let mocks = Mocks::start().await;
    let mut checks = Vec::new();
    // A process has one environment, and so one mock.
    for (name, mock) in mocks.named() {
        checks.extend(checks_of(&mocks.run_checks(Some((name, mock))).await));
    }
    let mut ids = ids_of(&checks);
    ids.sort_unstable();
    ids.dedup();
    let mut wanted = CHECKS.to_vec();
    if !mocks.has_sockets {
        wanted.retain(|id| *id != "realtime");
    }
    wanted.sort_unstable();
    assert_eq!(ids, wanted, "checks are missing or new");
    mocks.check_what_arrived().await;
    for (_, mock) in mocks.named() {
        assert_eq!(mock.refused(), [], "nothing else is asked for");
    }
    checks
}

/// What does the same here.
fn ours(method: &str) -> Option<&'static str> {
    Some(match method {
        "run" => "`client.run`",
        "subscribe" => "`client.subscribe`",
        "stream" | "streaming.stream" => "`client.stream`",
        "queue.submit" => "`queue.submit`",
        "queue.status" => "`queue.status`",
        "queue.streamStatus" | "queue.subscribeToStatus" => "`queue.watch`",
        "queue.result" => "`queue.result`",
        "queue.cancel" => "`queue.cancel`",
        "storage.upload" => "`client.upload`",
        "storage.transformInput" => "`Input::file`, `Input::bytes`",
        "realtime.connect" => "`client.realtime`",
        _ => return None,
    })
}

/// Says why nothing can be tested here, if so. In CI it can.
async fn is_missing() -> bool {
    let Err(reason) = is_installed().await else { return false };
    assert!(std::env::var("CI").is_err(), "{reason}");
    eprintln!("skipped: {reason}");
    true
}

/// The checks that were made. All have passed.
pub(crate) fn checks_of(output: &Output) -> Vec<Value> {
    let complaints = String::from_utf8_lossy(&output.stderr);
    let mut checks = Vec::new();
    let mut failed = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let check: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if check["ok"] != true {
            failed.push(format!(
                "{}: {}",
                check["id"],
                check["detail"].as_str().unwrap_or_default()
            ));
        }
        checks.push(check);
    }
    assert!(failed.is_empty(), "{}\n{complaints}", failed.join("\n\n"));
    assert!(output.status.success(), "{}\n{complaints}", output.status);
    checks
}

pub(crate) fn ids_of(checks: &[Value]) -> Vec<&str> {
    checks.iter().map(|check| check["id"].as_str().expect("every check has an id")).collect()
}

/// Every check of `contract.mjs`, in order: one that vanishes is a failure.
const CHECKS: [&str; 36] = [
    "run",
    "subscribe-polling",
    "subscribe-streaming",
    "subscribe-to-a-job-that-is-done-already",
    "queue-steps",
    "result-before-completion",
    "queue-subscribe-to-status",
    "storage-upload",
    "storage-upload-named-file",
    "storage-upload-in-parts",
    "storage-upload-for-few",
    "output-for-nobody",
    "files-inside-an-input",
    "validation-error-of-run",
    "validation-error-of-job",
    "failed-job",
    "failed-run",
    "start-timeout-of-user",
    "cancel-in-queue",
    "cancel-of-running-job",
    "abort-of-submit",
    "abort-of-run",
    "abort-while-polling",
    "timeout-cancels",
    "webhook-is-delivered-and-verifies",
    "low-priority",
    "wrong-key",
    "stream-of-text",
    "stream-of-pictures",
    "validation-error-of-stream",
    "cut-stream",
    "abort-of-stream",
    "files-inside-an-input-by-hand",
    "stream-by-its-own-client",
    "realtime",
    "completeness",
];

struct Mocks {
    /// Jobs last long enough to be seen in each state.
    fast: MockFal,
    /// Jobs complete while they are being submitted.
    instant: MockFal,
    /// Jobs never end, and run one at a time.
    slow: MockFal,
    /// The first two calls fail, and the first stream is cut.
    failing: MockFal,
    /// Whether Node.js has WebSockets; before version 20.10 it has none.
    has_sockets: bool,
}

impl Mocks {
    async fn start() -> Self {
        let ms = Duration::from_millis;
        let fast = MockFal::builder().queue_time(ms(120)).run_time(ms(280));
        let slow = MockFal::builder().queue_time(ms(10)).run_time(ms(3_600_000)).runners(1);
        let failing = MockFal::builder().queue_time(ms(10)).run_time(ms(10));
        let mocks = Self {
            fast: fast.start().await.unwrap(),
            instant: MockFal::builder().instant().start().await.unwrap(),
            slow: slow.start().await.unwrap(),
            failing: failing.start().await.unwrap(),
            has_sockets: has_sockets().await,
        };
        for _ in 0..2 {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let failure = Failure::request_error(status, "runner_server_error", "it fell over");
            mocks.failing.fail_next(failure);
        }
        let busy = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "{}", "busy", None);
        mocks.fast.control(Control::FailUploads {
            step: UploadStep::Part(Some(2)),
            times: 2,
            failure: UploadFailure::Refuse(busy),
        });
        mocks.failing.control(Control::BreakNextStream(StreamFailure::Cut));
        mocks
    }

    fn named(&self) -> [(&'static str, &MockFal); 4] {
        [
            ("fast", &self.fast),
            ("instant", &self.instant),
            ("slow", &self.slow),
            ("failing", &self.failing),
        ]
    }

    /// Runs the script with its proxy setting, or as `fal-mock exec` would under one mock.
    async fn run_checks(&self, under: Option<(&str, &MockFal)>) -> Output {
        let addresses: serde_json::Map<_, _> = self
            .named()
            .into_iter()
            .map(|(name, mock)| (name.to_owned(), mock.url().into()))
            .collect();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js/contract.mjs");
        let mut command = std::process::Command::new("node");
        command.env_remove("FAL_KEY");
        let environment = under.map(|(_, mock)| mock.environment("any:key").unwrap());
        if let Some(environment) = &environment {
            environment.apply(&mut command);
        }
        if self.has_sockets {
            command.arg(WEBSOCKET_FLAG);
        }
        command.arg(script).arg(packages()).arg(Value::Object(addresses).to_string());
        command.args(under.map(|(name, _)| name));
        let node = Command::from(command).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(SCRIPT_TIME_MAX, node).await;
        output.expect("node did not exit by itself in time").expect("node can be started")
    }

    /// What the client cannot see: that the mock took its calls as they were meant.
    async fn check_what_arrived(&self) {
        let counters = self.fast.counters();
        assert_eq!(counters.uploads, 8, "four files, and four inside inputs");
        assert_eq!(counters.parts, 10, "refused ones are sent again and count once");
        let files = self.fast.files();
        let notes = files.iter().find(|file| file.name.ends_with("_notes.txt"));
        assert!(notes.is_some_and(|file| file.expires_at.is_some()));
        let jobs = self.fast.jobs();
        let low = jobs.iter().find(|job| job.endpoint == "acme/low").expect("it was submitted");
        assert!(low.is_low_priority);
        assert!(
            low.headers
                .iter()
                .any(|(name, value)| { name == "x-fal-runner-hint" && value == "lora-1" })
        );
        assert!(jobs.iter().filter(|job| job.endpoint != "acme/low").all(|j| !j.is_low_priority));

        let job = |endpoint: &str| {
            let jobs = self.slow.jobs();
            jobs.into_iter().find(|job| job.endpoint == endpoint).expect("it was submitted")
        };
        eventually("the timeout's cancel arrives", || job("acme/late").cancel_asked).await;
        assert!(!job("acme/polled").cancel_asked, "an abort leaves the job alone");
        eventually("the aborted run ends", || {
            let counters = self.slow.counters();
            counters.runs == counters.runs_abandoned
        })
        .await;
        eventually("the aborted stream ends", || self.slow.counters().model_streams_abandoned == 1)
            .await;
    }
}

/// Where `cargo xtask setup` puts the packages.
pub(crate) fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/js")
}

async fn has_sockets() -> bool {
    let script = "process.exit(typeof WebSocket === 'function' ? 0 : 1)";
    let node = Command::new("node").args([WEBSOCKET_FLAG, "--eval", script]).output().await;
    node.is_ok_and(|output| output.status.success())
}

/// Needed before version 22, and allowed after it.
const WEBSOCKET_FLAG: &str = "--experimental-websocket";

pub(crate) async fn is_installed() -> Result<(), String> {
    let node = Command::new("node").arg("--version").output().await;
    if !node.is_ok_and(|output| output.status.success()) {
        return Err("node is not installed, so the JavaScript client cannot be tested".to_owned());
    }
    let package = packages().join("node_modules/@fal-ai/client/package.json");
    let manifest = std::fs::read_to_string(&package)
        .map_err(|error| format!("{}: {error}; run `cargo xtask setup`", package.display()))?;
    let manifest: Value = serde_json::from_str(&manifest).map_err(|error| error.to_string())?;
    match manifest["version"].as_str() {
        Some(VERSION) => Ok(()),
        other => Err(format!("{VERSION} was expected, not {other:?}; run `cargo xtask setup`")),
    }
}

/// The version that `package.json` pins.
const VERSION: &str = "1.10.1";

/// All checks together take some seconds on a machine that does nothing else; half of it is the long upload.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(120);

#[test]
fn packages_are_pinned() {
    let read = |name: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js").join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    assert_eq!(read("package.json")["dependencies"], json!({ "@fal-ai/client": VERSION }));
    let lock = read("package-lock.json");
    let packages = lock["packages"].as_object().unwrap();
    assert_eq!(packages["node_modules/@fal-ai/client"]["version"], VERSION);
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(package["integrity"].as_str().is_some_and(|i| i.starts_with("sha512-")), "{name}");
        // Nothing but the public registry may stand here: others reach no local one.
        let resolved = package["resolved"].as_str();
        let public = |url: &str| url.starts_with("https://registry.npmjs.org/");
        assert!(resolved.is_none_or(public), "{name}: {resolved:?}");
    }
}
