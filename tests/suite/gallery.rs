//! The scenarios that come with the mock, played to our client and to the official ones: how many jobs each of
//! them pays for, and what reaches its caller.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fal_client::Client;
use fal_mock::scenario::Scenario;
use fal_mock::{ClockMode, MockFal};
use serde_json::json;
use tokio::process::Command;

use crate::methods::check_part;
use crate::{js_client, py_client};

/// What came of one scenario with one client.
#[derive(Clone, Debug)]
struct Outcome {
    /// Jobs that were accepted.
    jobs: u64,
    reached: String,
}

impl Outcome {
    fn cell(&self) -> String {
        let jobs = match self.jobs {
            1 => "1 job".to_owned(),
            n => format!("{n} jobs"),
        };
        format!("{jobs}: {}", self.reached)
    }
}

/// Time jumps, so that half a minute in a queue takes none. Pictures come at their own address.
async fn play(name: &str) -> MockFal {
    let scenario = Scenario::bundled(name).unwrap_or_else(|| panic!("{name} is in the gallery"));
    MockFal::builder().scenario(scenario).clock(ClockMode::Auto).start().await.unwrap()
}

/// Not in the table: a stream and deliveries, which are no calls of this kind.
const OTHERS: [&str; 2] = ["stalled-stream", "webhook-storm"];

/// Those that the official clients meet too.
const OFFICIAL: [&str; 6] = [
    "accepted-then-cut",
    "cold-start",
    "content-policy",
    "happy-path",
    "lost-runner",
    "rate-limited",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_makes_of_the_scenarios_what_the_readme_says() {
    let mut rows: BTreeMap<&str, [Option<Outcome>; 3]> = BTreeMap::new();
    for name in Scenario::bundled_names().filter(|name| !OTHERS.contains(name)) {
        let ours = by_our_client(name).await;
        // One call is never more than one job, whatever happens on the way.
        let is_well = match name {
            "content-policy" => ours.reached.contains("content_policy_violation"),
            // To submit once more would be to pay twice, perhaps.
            "accepted-then-cut" | "outage" => ours.reached == UNKNOWN,
            _ => ours.reached == "the output",
        };
        assert!(ours.jobs <= 1 && is_well, "{name}: {ours:?}");
        rows.entry(name).or_default()[0] = Some(ours);
    }
    assert!(rows.len() >= 10, "{rows:?}");
    for (at, installed) in [(1, py_client::is_installed()), (2, js_client::is_installed().await)] {
        if let Err(reason) = installed {
            assert!(std::env::var("CI").is_err(), "{reason}");
            eprintln!("skipped: {reason}");
            return;
        }
        for name in OFFICIAL {
            let program = if at == 1 { python() } else { node() };
            rows.entry(name).or_default()[at] = Some(by_program(name, program).await);
        }
    }
    let mut table =
        "| Scenario | `fal-client` | Python | JavaScript |\n|---|---|---|---|\n".to_owned();
    for (name, outcomes) in &rows {
        let cell = |outcome: &Option<Outcome>| {
            outcome.as_ref().map_or_else(|| "–".to_owned(), Outcome::cell)
        };
        let [ours, python, javascript] = outcomes.each_ref().map(cell);
        let _ = writeln!(table, "| {name} | {ours} | {python} | {javascript} |");
    }
    check_part("mock-server/README.md", "what clients make of the scenarios", &table);
}

async fn by_our_client(name: &str) -> Outcome {
    let mock = play(name).await;
    let client = Client::builder().base_url(mock.url()).key("any:key").build().unwrap();
    let (endpoint, input) = match name {
        "long-training" => {
            let images = json!({ "images_data_url": "https://example.com/images.zip" });
            ("fal-ai/flux-lora-fast-training", images)
        }
        _ => ("fal-ai/flux/dev", json!({ "prompt": "a forbidden cat" })),
    };
    let reached = match client.subscribe(endpoint).input(&input).await {
        Ok(_) => "the output".to_owned(),
        Err(error) => match error.fields().first() {
            Some(field) => format!("the error `{}`", field.error_type),
            None if error.to_string().contains("is unknown") => UNKNOWN.to_owned(),
            None => format!("an error: {error}"),
        },
    };
    assert_eq!(mock.unmet(), [""; 0], "{name}");
    Outcome { jobs: mock.submits(), reached }
}

async fn by_program(name: &str, mut command: std::process::Command) -> Outcome {
    let mock = play(name).await;
    let environment = mock.environment("any:key").unwrap();
    environment.apply(&mut command);
    let program = Command::from(command).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PROGRAM_TIME_MAX, program).await;
    let output = output.expect("it ends by itself").expect("it can be started");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {complaints}");
    let reached = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    Outcome { jobs: mock.submits(), reached }
}

fn python() -> std::process::Command {
    let mut command = std::process::Command::new(py_client::python());
    command.arg(sources().join("call.py"));
    command
}

fn node() -> std::process::Command {
    let mut command = std::process::Command::new("node");
    command.arg(sources().join("call.mjs")).arg(js_client::packages());
    command
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/gallery")
}

/// What a caller is told whose submit may have been accepted.
const UNKNOWN: &str = "the error that nobody knows whether it was accepted";

/// Rests between attempts are seconds, and the machine may be busy.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(120);
