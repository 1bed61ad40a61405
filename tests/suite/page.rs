//! The mock's page in a real browser.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fal_mock::{ClockMode, MockFal};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::js_client::{checks_of, ids_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_and_move_the_mock_in_a_browser() {
    if let Err(reason) = is_installed().await {
        eprintln!("skipped: {reason}");
        return;
    }
    let seconds = Duration::from_secs;
    let at_rest = || MockFal::builder().clock(ClockMode::Virtual);
    let live = at_rest().runners(2).queue_time(seconds(1)).run_time(seconds(10));
    let [empty, live, many] =
        [at_rest().start().await, live.start().await, MockFal::builder().instant().start().await]
            .map(|mock| mock.unwrap());
    let addresses = json!({ "empty": empty.url(), "live": live.url(), "many": many.url() });
    let mut node = Command::new("node");
    node.arg(folder().join("page.mjs")).arg(packages()).arg(BROWSER).arg(addresses.to_string());
    let node = node.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(SCRIPT_TIME_MAX, node).await;
    let output = output.expect("node did not exit by itself in time").expect("node can be started");
    let checks = checks_of(&output);
    assert_eq!(ids_of(&checks), CHECKS, "checks are missing or new");
    for check in &checks {
        eprintln!("{} ms {}", check["took_ms"], check["id"]);
    }
    eprintln!("{}", checks.last().unwrap()["detail"]);
}

/// Every check of `page.mjs`, in order: one that vanishes is a failure.
const CHECKS: [&str; 14] = [
    "policy-of-the-page",
    "a-newcomer-runs-what-the-page-says",
    "a-job-is-seen-from-submit-to-picture",
    "every-button-of-a-job",
    "every-button-of-the-clock",
    "the-keyboard-does-it-all",
    "filters-and-tenants",
    "requests-show-bodies-and-a-command",
    "faults-are-listed-and-signatures-can-be-bad",
    "what-clients-send-is-never-html",
    "dark-and-light-can-be-read",
    "everything-has-a-name",
    "a-broken-connection-mends-itself",
    "ten-thousand-jobs",
];

async fn is_installed() -> Result<(), String> {
    for (program, arguments) in
        [("node", "--version"), ("curl", "--version"), (BROWSER, "--version")]
    {
        let output = Command::new(program).arg(arguments).output().await;
        if !output.is_ok_and(|output| output.status.success()) {
            return Err(format!(
                "{program} is not installed, so the mock's page cannot be tested; `cargo xtask setup` may help"
            ));
        }
    }
    let manifest = packages().join("node_modules/playwright-core/package.json");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|error| format!("{}: {error}; run `cargo xtask setup`", manifest.display()))?;
    let manifest: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match manifest["version"].as_str() {
        Some(VERSION) => Ok(()),
        other => Err(format!("{VERSION} was expected, not {other:?}; run `cargo xtask setup`")),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("page")
}

/// Where `cargo xtask setup` puts the packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/page")
}

/// Where Debian puts it.
const BROWSER: &str = "/usr/bin/chromium";

/// The version of the driver that `package.json` pins.
const VERSION: &str = "1.65.1";

/// All checks together take about 15 seconds on two cores that do nothing else.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(180);

#[test]
fn packages_are_pinned() {
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("package.json")["dependencies"], json!({ "playwright-core": VERSION }));
    let lock = read("package-lock.json");
    let package = &lock["packages"]["node_modules/playwright-core"];
    assert_eq!(package["version"], VERSION);
    assert!(package["integrity"].as_str().unwrap().starts_with("sha512-"));
    // Nothing but the public registry may stand here: others reach no local one.
    let resolved = package["resolved"].as_str();
    assert!(resolved.is_none_or(|url| url.starts_with("https://registry.npmjs.org/")));
}
