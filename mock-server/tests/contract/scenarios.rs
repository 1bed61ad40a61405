//! Scenarios: files that are judged, and programs that meet them.

use std::path::Path;
use std::process::{Command, Output};

use fal_mock::scenario::Scenario;
use fal_mock::{ClockMode, MockFal, Settings};
use http::Method;

use crate::client::{call, open, post, send};

fn check(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fal-mock")).arg("check").args(words).output().expect("it runs")
}

#[test]
fn files_are_judged_from_the_command_line() {
    let folder = std::env::temp_dir().join(format!("fal-mock-check-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("good.yaml"), "rules:\n  - when: a/b\n    error: 500\n").unwrap();
    let good = check(&[&path("good.yaml"), "happy-path"]);
    assert_eq!(good.status.code(), Some(0));
    let text = String::from_utf8(good.stdout).unwrap();
    assert_eq!(text, format!("{}: right, 1 rule\nhappy-path: right, 1 app\n", path("good.yaml")));
    std::fs::write(path("bad.yaml"), "rules:\n  - wen: a/b\n").unwrap();
    let bad = check(&[&folder.display().to_string()]);
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    let place = format!("{}:2:5: rules[0].wen: ", path("bad.yaml"));
    assert!(
        text.contains(&place)
            && text.contains("    |     ^^^")
            && text.contains("good.yaml: right")
    );
    let json = check(&["--json", &path("bad.yaml"), &path("nowhere.yaml")]);
    assert_eq!(json.status.code(), Some(1));
    let list: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&list[0]["line"], &list[0]["column"]), (&2.into(), &5.into()));
    assert_eq!(list[2]["file"], path("nowhere.yaml").as_str());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(check(&[]).status.code(), Some(2));
    let schema: serde_json::Value = serde_json::from_slice(&check(&["--schema"]).stdout).unwrap();
    assert_eq!(schema["title"], "Scenario of fal-mock");
}

#[test]
fn the_gallery_is_right_where_it_lies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let output = check(&[folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A program under a mock with flags.
fn exec(flags: &[&str], program: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fal-mock"))
        .args(["exec", "--instant"])
        .args(flags)
        .arg("--")
        .args(program)
        .env("XDG_DATA_HOME", std::env::temp_dir())
        .output()
        .expect("it runs")
}

#[cfg(unix)]
#[test]
fn a_program_fails_when_what_is_expected_has_not_happened() {
    let unmet = exec(&["--scenario", "accepted-then-cut"], &["true"]);
    assert_eq!(unmet.status.code(), Some(3));
    let text = String::from_utf8(unmet.stderr).unwrap();
    assert!(text.contains("the fault lost receipt (accept-then-reset) never happened"), "{text}");
    assert!(text.contains("operation submit: wanted 1, got 0"), "{text}");
    let own = exec(&["--scenario", "accepted-then-cut"], &["sh", "-c", "exit 7"]);
    assert_eq!(own.status.code(), Some(7));
    let met = exec(&["--scenario", "happy-path"], &["true"]);
    assert_eq!(met.status.code(), Some(0), "{}", String::from_utf8_lossy(&met.stderr));
}

#[test]
fn wrong_scenarios_are_told_at_the_start() {
    let missing = Command::new(env!("CARGO_BIN_EXE_fal-mock"))
        .args(["--port", "0", "--scenario", "happy-pth"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
    let text = String::from_utf8(missing.stderr).unwrap();
    assert!(text.contains("happy-pth") && text.contains("happy-path"), "{text}");
    let alone = Command::new(env!("CARGO_BIN_EXE_fal-mock")).arg("--watch").output().unwrap();
    assert_eq!(alone.status.code(), Some(2), "nothing to watch");
}

#[tokio::test]
async fn every_scenario_of_the_gallery_can_be_played() {
    for name in Scenario::bundled_names() {
        let scenario = Scenario::bundled(name).unwrap();
        let mock =
            MockFal::builder().clock(ClockMode::Auto).scenario(scenario).start().await.unwrap();
        let request = call(Method::POST, "/queue.fal.run/fal-ai/flux-lora-fast-training");
        // Some of them lose the answer.
        drop(open(mock.port(), request, r#"{"prompt":"x","images_data_url":"data:,"}"#).await);
        assert!(mock.play().is_some_and(|play| play.name == name));
        mock.stop().await;
    }
}

#[tokio::test]
async fn a_training_of_two_hours_takes_no_time() {
    let scenario = Scenario::bundled("long-training").unwrap();
    let mock = MockFal::builder().scenario(scenario).start().await.unwrap();
    let port = mock.port();
    let app = "/queue.fal.run/acme/portrait-lora-fast";
    let submitted = post(port, app, r#"{"prompt":"x"}"#).await;
    assert_eq!(submitted.headers["x-fal-mock-rule"], "training");
    let id = submitted.json()["request_id"].as_str().unwrap().to_owned();
    let target = format!("{app}/requests/{id}/status/stream?logs=1");
    let mut stream = open(port, call(Method::GET, &target), "").await.unwrap();
    let mut text = String::new();
    while let Some(bytes) = stream.next().await.unwrap() {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert!(text.contains("\"inference_time\":7200"), "{text}");
    assert!(text.contains("Step 500 of 1000") && text.contains("\"level\":\"WARN\""), "{text}");
}

#[tokio::test]
async fn scenarios_can_be_replaced_and_seeds_follow() {
    let read = |source: &str| Scenario::parse("test", source).unwrap();
    let first = read("seed: 5\nrules: [{ name: one, when: '**' }]");
    let mock = MockFal::builder().instant().scenario(first).start().await.unwrap();
    let seeded = MockFal::builder().instant().seed(5).start().await.unwrap();
    let rule = async |mock: &MockFal| {
        let answer = post(mock.port(), "/fal.run/acme/app", r#"{"prompt":"x"}"#).await;
        let name =
            answer.headers.get("x-fal-mock-rule").map(|name| name.to_str().unwrap().to_owned());
        (name, answer.json())
    };
    let (one, output) = rule(&mock).await;
    assert_eq!(one.as_deref(), Some("one"));
    assert_eq!(output["seed"], rule(&seeded).await.1["seed"]);
    mock.set_scenarios(&[read("rules: [{ name: two, when: '**' }]")]).unwrap();
    assert_eq!(rule(&mock).await.0.as_deref(), Some("two"));
}

#[tokio::test]
async fn rules_faults_and_verdicts_come_from_a_test() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let port = mock.port();
    mock.rule("{ when: acme/paint, error: { type: content_policy_violation } }").unwrap();
    mock.fault("fault: status\nstatus: 503\non: submit\nnth: 2").unwrap();
    let tenant = mock.tenant();
    let statuses = async |endpoint: &str| {
        let path = format!("/fal.run/{endpoint}");
        post(port, &path, r#"{"prompt":"x","n":[1]}"#).await.status.as_u16()
    };
    assert_eq!((statuses("acme/paint").await, statuses("acme/other").await), (422, 200));
    let mut submits = Vec::new();
    for _ in 0..3 {
        submits.push(post(port, "/queue.fal.run/acme/other", "{}").await.status.as_u16());
    }
    assert_eq!(submits, [200, 503, 200]);
    assert_eq!(mock.unmet(), [""; 0], "the fault has fired");

    let met = mock
        .verify("{ requests: [{ operation: submit, count: 3 }, { operation: run, input: { /n/0: 1 }, count: 2 }], order: [run, submit] }")
        .unwrap();
    assert!(met.is_met(), "{met:?}");
    assert_eq!((&met.counted[0].requests, &met.counted[1].requests), (&vec![3, 4, 5], &vec![1, 2]));
    assert_eq!((&met.order[0].requests, &met.order[1].requests), (&vec![1], &vec![3]));
    let unmet = mock
        .verify("{ requests: [{ operation: submit, status: 503, count: 2 }], order: [result] }");
    let unmet = unmet.unwrap();
    assert_eq!(unmet.unmet.len(), 2, "{unmet:?}");
    assert!(unmet.unmet[0].contains("wanted 2, got 1"), "{unmet:?}");
    assert!(mock.verify("{ request: [] }").unwrap_err().to_string().contains("requests"));
    assert!(mock.rule("{ when: a/b, eror: {} }").unwrap_err().to_string().contains("error"));
    assert!(tenant.verify("{ requests: [{ operation: run, count: 0 }] }").unwrap().is_met());
}

#[tokio::test]
async fn every_tenant_has_the_scenario_to_itself() {
    let source = "faults: [{ fault: status, status: 503, on: run, nth: 1 }]";
    let scenario = Scenario::parse("test", source).unwrap();
    let mock = MockFal::builder().instant().scenario(scenario).start().await.unwrap();
    let tenant = mock.tenant_with(&Settings::default()).unwrap();
    let status = async |key: &str| {
        let request = http::Request::builder()
            .method(Method::POST)
            .uri("/fal.run/acme/app")
            .header("authorization", format!("Key {key}"));
        send(mock.port(), request, r#"{"prompt":"x"}"#).await.status.as_u16()
    };
    assert_eq!((status("a:b").await, status("a:b").await), (503, 200));
    assert_eq!(tenant.unmet().len(), 1);
    assert_eq!((status(tenant.key()).await, status(tenant.key()).await), (503, 200));
    assert_eq!(tenant.unmet(), [""; 0]);
    let other = Scenario::parse("test", "rules: [{ when: '**', error: 418 }]").unwrap();
    tenant.set_scenario(Some(other));
    assert_eq!((status(tenant.key()).await, status(tenant.key()).await), (503, 418));
    assert_eq!(status("a:b").await, 200);
}
