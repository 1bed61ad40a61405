//! Which rule and which fault it is.

use std::time::Instant;

use http::StatusCode;
use proptest::prelude::*;

use super::super::operation::Operation;
use super::super::play::Play;
use super::{Call, play};
use crate::model::JobState;

fn submit(endpoint: &str, input: &str) -> Call {
    Call::new(Operation::Submit, endpoint, input)
}

fn rule(play: &mut Play, call: &Call) -> Option<String> {
    call.with(|facts| play.rule(Instant::now(), facts)).map(|rule| rule.name.to_string())
}

fn fault(play: &mut Play, call: &Call) -> Option<String> {
    call.with(|facts| play.fault(facts)).map(|effect| {
        play.fired(Instant::now(), &effect, "someone");
        effect.fault.name.to_string()
    })
}

#[test]
fn the_first_rule_that_fits_decides() {
    let mut play = play(
        r#"
rules:
  - { name: low, when: { endpoint: "a/**", headers: { x-fal-queue-priority: low } } }
  - { name: cat, when: { endpoint: "a/**", input: { /prompt: { contains: cat } } } }
  - { name: run, when: { operation: run } }
  - { name: a, when: a/b }
"#,
    );
    let cat = submit("a/b", r#"{"prompt":"a cat"}"#);
    assert_eq!(
        rule(&mut play, &cat.clone().header("x-fal-queue-priority", "low")),
        Some("low".into())
    );
    assert_eq!(rule(&mut play, &cat), Some("cat".into()));
    assert_eq!(rule(&mut play, &Call::new(Operation::Run, "x", "")), Some("run".into()));
    assert_eq!(rule(&mut play, &submit("a/b", "no JSON")), Some("a".into()));
    assert_eq!(rule(&mut play, &submit("a/c", "{}")), None);
}

#[test]
fn calls_are_counted_by_every_rule_that_fits() {
    let mut play = play(
        r#"
rules:
  - { name: second, when: "**", nth: 2 }
  - { name: third, when: "**", nth: [3] }
  - { name: twice, when: "**", times: 2 }
  - { name: rest, when: "**" }
"#,
    );
    let calls: Vec<Option<String>> =
        (0..6).map(|_| rule(&mut play, &submit("a/b", "{}"))).collect();
    let names: Vec<&str> = calls.iter().map(|name| name.as_deref().unwrap()).collect();
    assert_eq!(names, ["twice", "second", "third", "twice", "rest", "rest"]);
}

#[test]
fn near_misses_say_why() {
    let mut play = play(
        r#"
rules:
  - { name: far, when: { endpoint: x/y, operation: run, input: { /n: { gt: 5 } } } }
  - { name: cat, when: { endpoint: "a/**", input: { /prompt: { contains: cat }, /n: 1 } } }
  - { name: used up, when: a/b, times: 1 }
  - { name: header, when: { endpoint: a/b, headers: { x-mode: fast } } }
"#,
    );
    let dog = submit("a/b", r#"{"prompt":"a dog","n":1}"#);
    assert_eq!(rule(&mut play, &dog), Some("used up".into()));
    assert_eq!(rule(&mut play, &dog), None);
    let told: Vec<String> =
        dog.with(|facts| play.nearest(facts)).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "cat: input /prompt is \"a dog\", not something with \"cat\"",
            "used up: times is 1, not below 1",
            "header: headers.x-mode is absent, not \"fast\"",
        ]
    );
    let no_json = submit("x/y", "<").with(|facts| play.nearest(facts));
    let far = no_json.iter().find(|miss| &*miss.rule == "far").unwrap().to_string();
    assert_eq!(
        far,
        "far: operation is submit, not run; input /n is absent: the input is no JSON, not more than 5"
    );
}

#[test]
fn faults_are_chosen_and_accounted_for() {
    let mut play = play(
        r#"
faults:
  - { name: first, fault: reset, on: submit, nth: 1 }
  - { name: second, fault: status, status: 500, on: [submit, status], nth: 2 }
  - { name: queued, fault: stall, on: status, while: IN_QUEUE, times: 1 }
  - { name: done, fault: drop-event, on: status-stream, while: COMPLETED }
  - { name: never, fault: ws-close }
"#,
    );
    let status = Call::new(Operation::Status, "a/b", "");
    assert_eq!(fault(&mut play, &submit("a/b", "{}")), Some("first".into()));
    assert_eq!(fault(&mut play, &submit("a/b", "{}")), Some("second".into()));
    assert_eq!(fault(&mut play, &submit("a/b", "{}")), None);
    assert_eq!(fault(&mut play, &status), None, "nothing is known of its job");
    assert_eq!(fault(&mut play, &status.clone().state(JobState::Running)), None);
    assert_eq!(fault(&mut play, &status.clone().state(JobState::Queued)), Some("queued".into()));
    assert_eq!(fault(&mut play, &status.state(JobState::Queued)), None);
    let stream = Call::new(Operation::StatusStream, "a/b", "").state(JobState::Failed);
    assert_eq!(fault(&mut play, &stream), Some("done".into()));
    let fired: Vec<u64> = play.faults().accounts().map(|account| account.fired).collect();
    assert_eq!(fired, [1, 1, 1, 1, 0]);
    assert_eq!(play.unmet(), ["the fault never (ws-close) never happened: no request fitted it"]);
}

#[test]
fn expectations_are_kept_or_told() {
    let source = r#"
rules: [{ name: r, when: a/b }]
expect:
  all_rules_used: true
  requests:
    - { operation: submit, count: 1 }
    - { operation: status, endpoint: "a/**", count: { min: 2 } }
    - { operation: run, count: 0 }
    - { operation: result, status: 200 }
  order: [submit, { operation: status, status: 200 }, result]
"#;
    let note = |play: &mut Play, operation, status| {
        let call = Call::new(operation, "a/b", "{}");
        call.with(|facts| play.note(facts, StatusCode::from_u16(status).ok()));
    };
    let mut good = play(source);
    rule(&mut good, &submit("a/b", "{}"));
    for (operation, status) in [
        (Operation::Submit, 200),
        (Operation::Status, 202),
        (Operation::Status, 200),
        (Operation::Result, 200),
    ] {
        note(&mut good, operation, status);
    }
    assert_eq!(good.unmet(), [""; 0]);
    let mut bad = play(source);
    note(&mut bad, Operation::Status, 200);
    note(&mut bad, Operation::Submit, 200);
    note(&mut bad, Operation::Submit, 200);
    note(&mut bad, Operation::Run, 200);
    note(&mut bad, Operation::Result, 500);
    assert_eq!(
        bad.unmet(),
        [
            "requests with operation submit: wanted 1, got 2",
            "requests with operation status, endpoint a/**: wanted at least 2, got 1",
            "requests with operation run: wanted 0, got 1",
            "requests with operation result, status 200: wanted at least 1, got 0",
            "order: step 2 never came after step 1, submit: operation status, status 200",
            "the rule r was never used",
        ]
    );
}

/// A few calls that rules can tell apart.
fn call() -> impl Strategy<Value = Call> {
    let operation =
        prop_oneof![Just(Operation::Submit), Just(Operation::Run), Just(Operation::Status)];
    (operation, "(a|b)/(x|y)", 0..4_u32).prop_map(|(operation, endpoint, n)| {
        Call::new(operation, &endpoint, &format!("{{\"n\":{n}}}"))
    })
}

/// A rule or fault as parts of its line: pattern, number, count.
fn line() -> impl Strategy<Value = (String, Option<u32>, Option<u64>, Option<u64>)> {
    (
        prop_oneof!["(a|b)/(x|y)", Just("a/**".to_owned()), Just("**".to_owned())],
        proptest::option::of(0..4_u32),
        proptest::option::of(1..4_u64),
        proptest::option::of(1..4_u64),
    )
}

proptest! {
    #[test]
    fn rules_decide_as_a_list_of_conditions_would(
        lines in proptest::collection::vec(line(), 0..6),
        calls in proptest::collection::vec(call(), 0..40),
    ) {
        let mut source = String::from("rules:\n");
        for (at, (glob, n, nth, times)) in lines.iter().enumerate() {
            let input = n.map(|n| format!(", input: {{ /n: {n} }}")).unwrap_or_default();
            let count = match (nth, times) {
                (Some(nth), _) => format!(", nth: {nth}"),
                (None, Some(times)) => format!(", times: {times}"),
                (None, None) => String::new(),
            };
            source.push_str(&format!("  - {{ name: r{at}, when: {{ endpoint: '{glob}'{input} }}{count} }}\n"));
        }
        if lines.is_empty() {
            source = "rules: []".to_owned();
        }
        let mut play = play(&source);
        let mut fitted = vec![0; lines.len()];
        let mut decided = vec![0; lines.len()];
        for call in &calls {
            let mut want = None;
            for (at, (glob, n, nth, times)) in lines.iter().enumerate() {
                let fits_glob = glob == "**" || *glob == call.endpoint
                    || glob == "a/**" && call.endpoint.starts_with("a/");
                let fits_n = n.is_none_or(|n| call.input == format!("{{\"n\":{n}}}"));
                if !fits_glob || !fits_n {
                    continue;
                }
                fitted[at] += 1;
                let is_due = match (nth, times) {
                    (Some(nth), _) => fitted[at] == *nth,
                    (None, Some(times)) => decided[at] < *times,
                    (None, None) => true,
                };
                if is_due && want.is_none() {
                    decided[at] += 1;
                    want = Some(format!("r{at}"));
                }
            }
            let got = rule(&mut play, call);
            prop_assert_eq!(&got, &want, "{}", source);
            if got.is_none() {
                for miss in call.with(|facts| play.nearest(facts)) {
                    prop_assert!(!miss.why_not.is_empty());
                }
            }
        }
        let counts: Vec<u64> = play.rules().decided().map(|(_, n)| n).collect();
        prop_assert_eq!(counts, decided);
    }

    #[test]
    fn chance_follows_from_the_seed_alone(
        seed: u64,
        probability in 0.01..1.0_f64,
        calls in proptest::collection::vec(call(), 0..60),
    ) {
        let source = format!(
            "seed: {seed}\nfaults:\n  - {{ name: f, fault: reset, probability: {probability} }}\n"
        );
        let decide = |calls: &[Call]| -> Vec<bool> {
            let mut play = play(&source);
            calls.iter().map(|call| fault(&mut play, call).is_some()).collect()
        };
        let once = decide(&calls);
        prop_assert_eq!(&once, &decide(&calls));
        // Another fault before it, of other requests, changes nothing.
        let reads: Vec<Call> = calls.iter().map(|_| submit("a/x", "{}")).collect();
        prop_assert_eq!(once, decide(&reads));
    }
}

#[test]
fn chance_is_as_likely_as_it_says() {
    let mut play = play("seed: 5\nfaults: [{ fault: reset, probability: 0.25 }]");
    let call = submit("a/x", "{}");
    let hits = (0..4000).filter(|_| fault(&mut play, &call).is_some()).count();
    assert!((900..1100).contains(&hits), "{hits}");
    let account = play.faults().accounts().next().unwrap();
    assert_eq!((account.fitted, account.fired), (4000, hits as u64));
    assert_eq!(account.firings.len(), super::super::faults::FIRINGS_MAX);
}
