//! What files say, and what is told of those that are wrong.

use std::time::Duration;

use super::super::fault::Action;
use super::super::output::Output;
use super::super::{PROBLEMS_MAX, Scenario};
use super::{problems, scenario};
use crate::world::ClockMode;

#[test]
fn three_lines_are_a_scenario() {
    let scenario =
        scenario("rules:\n  - when: fal-ai/flux/**\n    error: content_policy_violation\n");
    assert_eq!(&*scenario.rules[0].name, "test/rule-1");
    assert_eq!(scenario.rules[0].error.as_ref().unwrap().status, 422);
    assert_eq!(scenario.rules[0].output, Output::Synthesised);
}

#[test]
fn everything_can_be_said() {
    let scenario = scenario(
        r#"
$schema: x
description: all of it
seed: 7
clock: { mode: "scaled:60", start: "2026-01-31T12:00:00Z" }
apps:
  - { endpoint: [a/b, "c/**"], runners: 2, cold_start: 20s, keep_alive: 1m, queue_time: 0, run_time: 1h }
rules:
  - name: first
    when:
      endpoint: a/*
      operation: [submit, run]
      headers: { x-fal-queue-priority: low }
      input: { /prompt: { contains: cat }, /n: 2, "": { exists: true } }
    nth: [1, 3]
    timeline:
      positions: [3, 0]
      queue_time: 1s
      run_time: 10s
      logs: [begin, { at: 50%, message: half, level: WARN, source: APP }, { at: 1s, message: one }]
      requeue: [2s, 3s]
    output: { literal: { a: 1 } }
    webhook: { duplicate: 2, reorder: true, late: 3s, wrong_key: true, expired: true, truncated: true }
  - when: "**"
    times: 5
    error: { status: 503, type: runner_disconnected, headers: { retry-after: 3 } }
faults:
  - { fault: stall, for: 1s, on: upload, after: { bytes: 10 } }
  - { fault: status, status: 500, when: a/b, every: 2, times: 3, while: IN_QUEUE }
expect:
  all_faults_fired: false
  all_rules_used: true
  requests:
    - { operation: submit, endpoint: a/b, count: 2, status: 200 }
  order: [submit, { operation: status, status: 200 }, result]
"#,
    );
    assert_eq!((scenario.seed, scenario.clock.mode), (Some(7), Some(ClockMode::Scaled(60.0))));
    let app = &scenario.apps[0];
    assert!(app.fits("a/b") && app.fits("c/d/e") && !app.fits("a/c"));
    assert_eq!((app.runners, app.run_time), (Some(2), Some(Duration::from_secs(3600))));
    let rule = &scenario.rules[0];
    let logs = rule.timeline.logs.as_ref().unwrap();
    let told: Vec<(&str, &str)> = logs.iter().map(|log| (&*log.message, log.level)).collect();
    assert_eq!(told, [("begin", "INFO"), ("one", "INFO"), ("half", "WARN")]);
    assert_eq!(rule.timeline.requeue.len(), 2);
    assert_eq!(rule.webhook.duplicate, 2);
    let fault = &scenario.faults[0];
    assert_eq!(fault.action, Action::Stall(Some(Duration::from_secs(1))));
    assert_eq!(fault.after.bytes, Some(10));
    assert_eq!(fault.on.to_string(), "upload-initiate, upload-put, upload-part, upload-complete");
    assert_eq!(scenario.expect.order.len(), 3);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let source = r#"seed: -1
clok: virtual
rules:
  - wen: fal-ai/**
    timeline: { run_time: 5 }
  - when: { endpoint: a b, operation: status }
    error: content_policy_violaton
faults:
  - fault: tuncate
  - { fault: reset, after: { time: 1s }, for: 2s }
  - fault: webhook-late
"#;
    let problems = problems(source);
    let told: Vec<(usize, usize, &str)> =
        problems.problems.iter().map(|p| (p.line, p.column, p.path.as_str())).collect();
    assert_eq!(
        told,
        [
            (1, 7, "seed"),
            (2, 1, "clok"),
            (4, 5, "rules[0].wen"),
            (4, 5, "rules[0]"),
            (5, 27, "rules[0].timeline.run_time"),
            (6, 23, "rules[1].when.endpoint"),
            (6, 39, "rules[1].when.operation"),
            (7, 12, "rules[1].error"),
            (9, 12, "faults[0].fault"),
            (10, 30, "faults[1].after.time"),
            (10, 42, "faults[1].for"),
            (11, 5, "faults[2]"),
        ]
    );
    let text = problems.to_string();
    for part in [
        "test.yaml:2:1: clok: unknown key \"clok\"; did you mean \"clock\"?\n  2 | clok: virtual\n    | ^^^^",
        "did you mean \"when\"",
        "give a time with its unit",
        "status cannot stand here; these can: submit, run, stream",
        "did you mean \"content_policy_violation\"",
        "did you mean \"truncate\"",
        "reset goes by bytes or events",
        "reset has no for",
        "webhook-late needs for",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn single_mistakes_are_told() {
    for (source, what) in [
        ("", "give a map"),
        ("{}", "says nothing"),
        ("rules: {}", "give a list"),
        ("rules: [{when: a, output: {literal: 1}, error: 500}]", "not both"),
        ("rules: [{when: a, nth: 1, times: 2}]", "how often it counts"),
        ("rules: [{when: a, nth: 0}]", "a whole number from 1 on"),
        ("rules: [{when: a, nth: []}]", "empty list"),
        ("rules: [{when: {headers: {Authorization: x}}}]", "keys are not for files"),
        ("rules: [{when: {input: {prompt: x}}}]", "write /prompt"),
        ("rules: [{when: a, name: é}]", "printable ASCII"),
        ("rules: [{when: a, name: n}, {when: b, name: n}]", "already"),
        ("rules: [{when: a, timeline: {requeue: [1s,1s,1s,1s,1s,1s,1s,1s,1s,1s]}}]", "at most 9"),
        ("rules: [{when: a, timeline: {logs: [{at: 101%, message: x}]}}]", "0% to 100%"),
        ("rules: [{when: a, timeline: {logs: [{at: 1s}]}}]", "its message"),
        ("rules: [{when: a, timeline: {queue_time: 9000h}}]", "at most a year"),
        ("rules: [{when: a, webhook: {duplicate: 0}}]", "from 1 to 100"),
        ("clock: fast", "no clock"),
        ("clock: scaled:0", "no scale"),
        ("clock: {start: yesterday}", "RFC 3339"),
        ("clock: {start: 2026-01-31T12:00:00}", "RFC 3339"),
        ("apps: [{runners: 0}]", "its endpoint"),
        ("apps: [{endpoint: a, openapi: x.json}]", "names no files"),
        ("faults: [{}]", "say which fault"),
        ("faults: [{fault: status}]", "status needs status"),
        ("faults: [{fault: refuse, after: {bytes: 1}}]", "has no after"),
        ("faults: [{fault: reset, after: {bytes: 1, events: 1}}]", "exclude each other"),
        ("faults: [{fault: split, probability: 0}]", "above 0"),
        ("faults: [{fault: split, nth: 1, every: 2}]", "exclude each other"),
        ("faults: [{fault: ws-close, code: 1006}]", "never sent"),
        ("faults: [{fault: ws-close, on: submit}]", "cannot stand here"),
        ("faults: [{fault: reset, when: {operation: submit}}]", "unknown key \"operation\""),
        ("faults: [{fault: ingress, status: 500}]", "from 502 to 504"),
        ("faults: [{fault: reset, while: RUNNING}]", "unknown state"),
        ("expect: {requests: [{count: {min: 3, max: 1}}]}", "above max"),
        ("expect: {order: [submits]}", "did you mean \"submit\""),
    ] {
        let problems = problems(source);
        assert!(problems.problems.iter().any(|p| p.message.contains(what)), "{source}\n{problems}");
    }
}

#[test]
fn no_more_problems_are_told_than_somebody_reads() {
    let source = format!("rules:\n{}", "  - wen: a\n".repeat(200));
    assert_eq!(problems(&source).problems.len(), PROBLEMS_MAX);
    let many = format!("rules:\n{}", "  - when: a\n".repeat(1001));
    assert!(problems(&many).to_string().contains("at most 1000"));
}

#[test]
fn later_layers_come_first() {
    let first =
        scenario("seed: 1\nclock: virtual\nrules: [{when: a, name: low}]\nexpect: {order: [run]}");
    let second = scenario("seed: 2\nrules: [{when: b, name: x}, {when: a, name: high}]");
    let whole = Scenario::layered([&first, &second]);
    let names: Vec<&str> = whole.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["x", "high", "low"]);
    assert_eq!((whole.seed, whole.clock.mode), (Some(2), Some(ClockMode::Virtual)));
    assert_eq!((whole.expect.order.len(), &*whole.name), (1, "test+test"));
}

#[test]
fn files_of_a_folder_are_found_by_their_names() {
    let folder = std::env::temp_dir().join(format!("fal-mock-scenarios-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("b.yaml", "rules: [{when: a, output: {file: out.json}}]");
    write("a.scenario.json", "{\"rules\": [{\"when\": \"a\"}]}");
    write("out.json", "{\"n\": 1}");
    write("inner/scenario.yml", "faults: [{fault: split}]");
    let all = Scenario::find(&folder).unwrap();
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "inner"]);
    assert_eq!(all[1].rules[0].output, Output::Literal("{\"n\": 1}".into()));
    write("c.yaml", "rules: 1");
    write("d.yaml", "rules: [{when: a, output: {file: nowhere.json}}]");
    let error = Scenario::find(&folder).unwrap_err();
    assert_eq!(error.files.len(), 2);
    assert!(error.to_string().contains("nowhere.json"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(Scenario::find(&folder).unwrap_err().to_string().contains("happy-path"));
    assert_eq!(Scenario::find("happy-path".as_ref()).unwrap()[0].name, "happy-path");
}
