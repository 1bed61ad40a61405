//! The official Python client, unmodified, against the mock: by tunnel and TLS, as under `fal-mock exec`, and by
//! its variables for hosts.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::environment::Environment;
use fal_mock::model::{Control, Failure, StreamFailure, UploadFailure, UploadStep};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::js_client::{checks_of, ids_of};
use crate::methods::Methods;
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn official_python_client_gets_what_it_expects() {
    if let Err(reason) = is_installed() {
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let (sync_checks, async_checks) =
        ([&SHARED[..], &SYNC_ONLY].concat(), [&SHARED[..], &ASYNC_ONLY].concat());
    let (plain, asynchronous, by_hosts) = tokio::join!(
        check("contract_sync.py", &sync_checks),
        check("contract_async.py", &async_checks),
        check_hosts()
    );
    let mut methods = Methods::default();
    plain.iter().chain(&asynchronous).chain(&by_hosts).for_each(|check| methods.add(check));
    methods.check_table("methods of the Python client", ours);
}

/// Runs a script, which must make the checks that are listed, and looks at what arrived.
async fn check(script: &str, wanted: &[&str]) -> Vec<Value> {
    let mocks = Mocks::start(script).await;
    let checks = passed(&mocks.run_checks(script, &[]).await, "connect", wanted);
    mocks.check_what_arrived().await;
    checks
}

/// Its variables for hosts lead straight to the mock, over TLS and without a tunnel.
async fn check_hosts() -> Vec<Value> {
    let script = "contract_hosts.py";
    let mocks = Mocks::start(script).await;
    let at = mocks.fast.address();
    let hosts = [
        ("FAL_RUN_HOST", format!("{at}/fal.run")),
        ("FAL_QUEUE_RUN_HOST", format!("{at}/queue.fal.run")),
    ];
    let output = mocks.run_checks(script, &hosts).await;
    let checks = passed(&output, "hosts", &["run", "subscribe", "stream", "realtime"]);
    assert_eq!(mocks.fast.submits(), 1);
    let tunnels = mocks.fast.requests().iter().filter(|seen| seen.method == "CONNECT").count();
    assert_eq!(tunnels, 0, "no proxy was asked");
    checks
}

/// The checks that were made through a door are those that are wanted, and all have passed.
fn passed(output: &Output, door: &str, wanted: &[&str]) -> Vec<Value> {
    let checks = checks_of(output);
    assert!(checks.iter().all(|check| check["door"] == door), "{checks:?}");
    let mut ids = ids_of(&checks);
    ids.sort_unstable();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    assert_eq!(ids, wanted, "checks are missing or new");
    checks
}

/// What does the same here, for both kinds of client.
fn ours(method: &str) -> Option<&'static str> {
    let method = method.trim_start_matches("Async").trim_start_matches("Sync");
    Some(match method {
        "Client.run" => "`client.run`",
        "Client.subscribe" => "`client.subscribe`",
        "Client.submit" => "`queue.submit`",
        "Client.status" | "RequestHandle.status" => "`queue.status`",
        "Client.result" => "`queue.result`",
        "Client.cancel" | "RequestHandle.cancel" => "`queue.cancel`",
        "Client.get_handle" | "RequestHandle.from_request_id" => "`Handle`, stored or built",
        "Client.stream" => "`client.stream`",
        "Client.upload" | "Client.upload_file" => "`client.upload`",
        "Client.upload_image" => "`client.upload`, of bytes",
        "Client.realtime" => "`client.realtime`",
        "Client.ws_connect" => "`client.realtime(..).connect_raw`",
        "RequestHandle.get" => "`client.attach`",
        "RequestHandle.iter_events" => "`queue.watch`",
        "RealtimeConnection.send" => "`Realtime::send`",
        "RealtimeConnection.recv" => "`Realtime::recv`",
        "RealtimeConnection.close" => "`Realtime::close`",
        "encode" | "encode_file" | "encode_image" => "`fal_protocol::data_uri::encode`",
        _ => return None,
    })
}

/// Every check of both scripts: one that vanishes is a failure.
const SHARED: [&str; 31] = [
    "run",
    "run-with-path",
    "queue-steps",
    "iter-events",
    "handle-from-its-id",
    "subscribe-with-callbacks",
    "validation-error-of-run",
    "validation-error-of-job",
    "failed-job",
    "errors-by-status",
    "wrong-key",
    "start-timeout",
    "client-timeout-cancels",
    "cancel-in-queue",
    "cancel-of-running-job",
    "webhook-is-delivered-and-verifies",
    "priority-and-hint",
    "stream-of-text",
    "stream-of-pictures",
    "cut-stream",
    "upload",
    "upload-with-lifecycle",
    "upload-file",
    "upload-image",
    "upload-of-more-than-100-mb",
    "upload-to-the-fallback-repository",
    "realtime",
    "realtime-with-json",
    "realtime-session-that-ends",
    "ws-connect",
    "completeness",
];

const SYNC_ONLY: [&str; 2] = ["subscribe-to-a-job-that-is-done-already", "files-inside-an-input"];
const ASYNC_ONLY: [&str; 1] = ["many-at-once"];

struct Mocks {
    /// Jobs last long enough to be seen in each state.
    fast: MockFal,
    /// Jobs complete while they are being submitted.
    instant: MockFal,
    /// Jobs never end, and run one at a time.
    slow: MockFal,
    /// What is planned fails.
    failing: MockFal,
    environment: Environment,
    /// Where the authority of all four is kept.
    folder: Folder,
}

impl Mocks {
    async fn start(name: &str) -> Self {
        let folder = Folder(std::env::temp_dir().join(format!(
            "fal-python-{}-{}",
            name.trim_end_matches(".py"),
            std::process::id()
        )));
        let ms = Duration::from_millis;
        let builder = || MockFal::builder().ca_dir(&folder.0);
        let fast = builder().queue_time(ms(120)).run_time(ms(280)).start().await.unwrap();
        let instant = builder().instant().start().await.unwrap();
        let slow = builder().queue_time(ms(10)).run_time(ms(3_600_000)).runners(1);
        let slow = slow.start().await.unwrap();
        let failing = builder().queue_time(ms(10)).run_time(ms(10)).start().await.unwrap();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        failing.fail_next(Failure::request_error(status, "runner_server_error", "it fell over"));
        for code in [400, 403, 404, 500, 503] {
            let status = StatusCode::from_u16(code).unwrap();
            let detail = format!("planned {code}");
            failing.fail_next(Failure::request_error(status, "bad_request", &detail));
        }
        failing.control(Control::BreakNextStream(StreamFailure::Cut));
        let refused = Failure::request_error(status, "internal_error", "no room");
        failing.control(Control::FailUploads {
            step: UploadStep::Direct,
            times: 1,
            failure: UploadFailure::Refuse(refused),
        });
        let environment = fast.environment("any:key").unwrap();
        Self { fast, instant, slow, failing, environment, folder }
    }

    /// Runs a script with the settings of `fal-mock exec` and more.
    async fn run_checks(&self, script: &str, more: &[(&str, String)]) -> Output {
        let addresses = json!({
            "fast": self.fast.url(),
            "instant": self.instant.url(),
            "slow": self.slow.url(),
            "failing": self.failing.url(),
        });
        let mut command = std::process::Command::new(python());
        self.environment.apply(&mut command);
        let mut command = Command::from(command);
        let python = command
            .arg(sources().join(script))
            .arg(addresses.to_string())
            // No file of the tree is to change.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(SCRIPT_TIME_MAX, python).await;
        output.expect("python did not come to its end in time").expect("python can be started")
    }

    /// What the client cannot see: that the mocks took its calls as they were meant, and that it asked for
    /// nothing else.
    async fn check_what_arrived(&self) {
        let jobs = self.fast.jobs();
        let low =
            jobs.iter().find(|job| job.endpoint == "acme/low/fast").expect("it was submitted");
        assert!(low.is_low_priority);
        let hint = |(name, value): &(http::HeaderName, http::HeaderValue)| {
            name == "x-fal-runner-hint" && value == "lora-1"
        };
        assert!(low.headers.iter().any(hint), "{:?}", low.headers);
        assert!(
            jobs.iter().filter(|job| job.endpoint != "acme/low/fast").all(|j| !j.is_low_priority)
        );
        let jobs = self.slow.jobs();
        assert!(jobs.iter().any(|job| job.endpoint == "acme/late"));
        eventually("the timeout's cancel arrives", || {
            self.slow.jobs().iter().any(|job| job.endpoint == "acme/late" && job.cancel_asked)
        })
        .await;
        for mock in [&self.fast, &self.instant, &self.slow, &self.failing] {
            assert_eq!(mock.refused(), [], "nothing else is asked for");
            let unknown: Vec<_> =
                mock.requests().into_iter().filter(|seen| seen.status == 501).collect();
            assert!(unknown.is_empty(), "the mock does not play {unknown:?}");
        }
        assert!(self.folder.0.join("ca.pem").exists(), "all four share an authority");
    }
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where the scripts are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python")
}

/// Where `cargo xtask setup` puts the packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/python")
}

pub(crate) fn python() -> PathBuf {
    packages().join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

pub(crate) fn is_installed() -> Result<(), String> {
    let stamp = packages().join(".installed-requirements.txt");
    let installed = std::fs::read(&stamp)
        .map_err(|error| format!("{}: {error}; run `cargo xtask setup`", stamp.display()))?;
    let wanted = std::fs::read(sources().join("requirements.txt")).unwrap();
    (installed == wanted).then_some(()).ok_or_else(|| {
        "the installed Python packages are not those that are pinned; run `cargo xtask setup`"
            .to_owned()
    })
}

/// All checks together take fifteen seconds on a machine that does nothing else.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(180);

#[test]
fn packages_are_pinned() {
    let list = std::fs::read_to_string(sources().join("requirements.txt")).unwrap();
    assert!(list.lines().any(|line| line == "fal-client==1.0.3"), "{list}");
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (name, version) = line.split_once("==").unwrap_or_else(|| panic!("{line}"));
        assert!(!name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    }
}
