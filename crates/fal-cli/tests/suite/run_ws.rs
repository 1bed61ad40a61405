//! `run --ws`: as `run --direct`, over a WebSocket.

use std::time::Duration;

use fal_mock::MockFal;
use serde_json::Value;

use crate::support::{Folder, Running, Said, fal_cli, png_size};

/// What programs read at the end, without what no two runs share.
fn comparable(mut line: Value) -> Value {
    let fields = line.as_object_mut().expect("a line is an object");
    for name in ["elapsed_ms", "request_id"] {
        assert!(fields.remove(name).is_some(), "{name}: {fields:?}");
    }
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn result_and_files_are_those_of_a_direct_run() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let picture = folder.file("pose.png", b"\x89PNG");
    let run = |way: &str| {
        let out = folder.path().join(way);
        let mut command = fal_cli(&mock.url());
        command.args(["run", way, "acme/app", "prompt=a cat", "seed=7"]);
        command.args(["image_size.width=32", "image_size.height=16"]);
        command.arg(format!("reference_url@{picture}")).arg("--out").arg(&out);
        let said = Said::of(&mut command).expect(0);
        assert!(said.stderr.is_empty(), "{}", said.stderr);
        let lines = said.lines();
        assert!(lines.iter().any(|line| line["event"] == "uploaded"), "{lines:?}");
        let mut result = comparable(said.last("result"));
        let saved = result["saved"].take();
        assert_eq!(saved.as_array().map(Vec::len), Some(1), "{saved}");
        assert_eq!(png_size(saved[0]["path"].as_str().unwrap().as_ref()), (32, 16));
        assert!(result["output"]["images"][0]["url"].take().is_string(), "{result}");
        result
    };
    let direct = run("--direct");
    assert_eq!((mock.counters().runs, mock.counters().fronts), (1, 0));
    assert_eq!(run("--ws"), direct);
    assert_eq!(direct["output"]["seed"], 7);
    let counters = mock.counters();
    assert_eq!((counters.runs, counters.fronts, counters.uploads), (2, 1, 2));
    assert_eq!(mock.submits(), 0);

    let said =
        Said::of(fal_cli(&mock.url()).args(["run", "-r", "-q", "--ws", "acme/app", "seed=9"]));
    let output: Value = serde_json::from_str(&said.expect(0).stdout).unwrap();
    assert_eq!(output["seed"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_inputs_are_told_as_those_of_a_direct_run() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let run = |way: &str| {
        let mut command = fal_cli(&mock.url());
        command.args(["run", way, "fal-ai/controlnet-ip-adapter", "seed=x", "--no-check"]);
        let said = Said::of(&mut command).expect(4);
        assert!(said.stderr.contains("\n  seed: "), "{}", said.stderr);
        assert_eq!(said.errors(), 1, "{}", said.stderr);
        let mut error = comparable(said.last("error"));
        // It names the request.
        assert!(error["message"].take().as_str().unwrap().starts_with("422"), "{}", said.stderr);
        error
    };
    let error = run("--ws");
    assert_eq!((&error["kind"], &error["status"]), (&"refused".into(), &422.into()));
    assert!(error["fields"].as_array().unwrap().len() > 1, "{error}");
    assert_eq!(error, run("--direct"));
    assert_eq!(mock.counters().fronts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_the_exit_codes_of_a_direct_run() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    let locked = MockFal::builder().instant().key("other:key").start().await.unwrap();
    let stopped = MockFal::builder().instant().start().await.unwrap();
    let gone = stopped.url();
    stopped.stop().await;
    for way in ["--direct", "--ws"] {
        let run = |url: &str, args: &[&str]| {
            Said::of(fal_cli(url).args(["run", way, "acme/app", "prompt=x"]).args(args))
        };
        let said = run(&mock.url(), &["--deadline", "300ms"]).expect(7);
        assert_eq!(said.last("error")["kind"], "deadline");
        assert!(said.stderr.contains("stops the run"), "{}", said.stderr);
        let said = run(&locked.url(), &[]).expect(3);
        assert_eq!(said.last("error")["status"], 401);
        assert!(said.stderr.contains("export FAL_KEY="), "{}", said.stderr);
        let said = run(&gone, &[]).expect(6);
        assert!(said.lines().iter().any(|line| line["event"] == "retrying"), "{}", said.stdout);
        assert!(said.stderr.contains("is fal-mock running"), "{}", said.stderr);
    }
    assert_eq!((mock.counters().fronts, locked.counters().fronts), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_socket_cannot_carry_is_refused_before_anything_is_sent() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let picture = folder.file("pose.png", b"\x89PNG");
    for more in [
        &["--direct"][..],
        &["--priority", "low"],
        &["--hint", "x"],
        &["--start-timeout", "30s"],
        &["--webhook", "https://x.example"],
        &["--no-retry"],
        &["--retry", "timeout=1"],
        &["--on-deadline", "leave"],
        &["--poll"],
        &["--no-logs"],
        &["--store-io", "off"],
        &["--expires", "1d"],
        &["--acl", "forbid"],
        &["--no-fallback"],
        &["--tag", "a=b"],
        &["--header", "x-a: b"],
    ] {
        let mut command = fal_cli(&mock.url());
        command.args(["run", "acme/app", "--ws"]).arg(format!("image_url@{picture}"));
        let said = Said::of(command.args(more)).expect(2);
        let first = said.stderr.lines().next().unwrap_or_default();
        assert!(first.contains("--ws") && first.contains("cannot be used with"), "{first}");
        assert!(first.contains(more[0]), "{more:?}: {first}");
    }
    Said::of(fal_cli(&mock.url()).args(["run", "--ws", "not an id"])).expect(2);
    let counters = mock.counters();
    assert_eq!((counters.fronts, counters.runs, counters.uploads), (0, 0, 0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_at_once() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    let running = Running::start(command.args(["run", "--ws", "acme/app", "prompt=x"]));
    while mock.counters().runs == 0 {
        tokio::task::yield_now().await;
    }
    running.signal("INT");
    let said = running.end().expect(130);
    assert_eq!(said.last("error")["kind"], "cancelled");
    assert!(said.stderr.contains("stops the run"), "{}", said.stderr);
    while mock.counters().runs_abandoned == 0 {
        tokio::task::yield_now().await;
    }
}
