//! Faults of a scenario, as far as the model alone shows them.

use super::scenario::{config, playing};
use super::*;

fn fired(world: &World) -> Vec<u64> {
    world.model.play_view().unwrap().faults.iter().map(|fault| fault.fired).collect()
}

fn run(prompt: &str) -> Call<'static> {
    Call::post("/acme/app", &format!(r#"{{"prompt":"{prompt}"}}"#)).on(Host::Run)
}

fn wire(response: &Response) -> Option<Wire> {
    response.extensions().get::<Wire>().copied()
}

#[test]
fn requests_are_refused_before_anything_is_done() {
    let mut world = playing(
        r#"
faults:
  - { name: a, fault: status, status: 418, message: m, on: submit, nth: 1 }
  - { name: b, fault: error-type, type: runner_scheduling_failure, on: submit, nth: 2 }
  - { name: c, fault: rate-limit, retry_after: 1500ms, on: submit, nth: 3 }
  - { name: d, fault: ingress, status: 502, on: submit, nth: 4 }
  - { name: e, fault: refuse, on: submit, nth: 5 }
"#,
    );
    let teapot = world.ask(&submit());
    assert_eq!((teapot.status().as_u16(), &json(&teapot)["detail"]), (418, &"m".into()));
    assert_eq!(teapot.headers()["x-fal-mock-fault"], "a");
    let failed = world.ask(&submit());
    assert_eq!(json(&failed)["error_type"], "runner_scheduling_failure");
    let limited = world.ask(&submit());
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    let ingress = world.ask(&submit());
    assert_eq!(ingress.status(), 502);
    assert!(ingress.headers().get("x-fal-request-id").is_none());
    assert!(ingress.body().starts_with(b"<html>"));
    let refused = world.send(&submit());
    assert_eq!(world.reset, [refused]);
    assert_eq!(world.model.counters().submits, 0);
    world.submit(&submit());
    assert_eq!(fired(&world), [1; 5]);
    let view = world.model.play_view().unwrap();
    assert_eq!(view.faults[0].firings[0].whom, "submit acme/app/sub");
    assert!(view.unmet.is_empty());
}

#[test]
fn answers_are_lost_after_everything_is_done() {
    let mut world = playing(
        r#"
faults: [{ fault: accept-then-reset, on: [submit, run, status-stream], nth: [1, 2, 3] }]
expect: { requests: [{ operation: submit, count: 1 }, { operation: submit, status: 200, count: 0 }] }
"#,
    );
    let submitted = world.send(&submit());
    assert_eq!((world.reset.as_slice(), world.model.counters().submits), (&[submitted][..], 1));
    let id = world.model.jobs()[0].request_id;
    let call = world.send(&run("x"));
    assert_eq!(world.reset.len(), 1, "a call that runs is reset when it ends");
    world.pass_ms(1000);
    assert_eq!(world.reset, [submitted, call]);
    let target = format!("/acme/app/requests/{id}/status/stream");
    let stream = world.send(&Call::get(&target));
    assert_eq!(world.reset, [submitted, call, stream]);
    assert!(world.model.play_view().unwrap().unmet.is_empty());
}

#[test]
fn bodies_are_left_to_the_shell() {
    let mut world = playing(
        r#"
faults:
  - { fault: truncate, on: status, nth: 1 }
  - { fault: truncate, on: status, nth: 2, after: { bytes: 10 } }
  - { fault: truncate, on: status, nth: 3, after: { bytes: 100000 } }
  - { fault: reset, on: status, nth: 4 }
  - { fault: split, on: status, nth: 5, bytes: 7 }
"#,
    );
    let id = world.submit(&submit());
    let target = format!("/acme/app/requests/{id}/status");
    let mut ask = || {
        let response = world.get(&target);
        assert_eq!(
            response.headers().contains_key("x-fal-mock-fault"),
            wire(&response).is_some(),
            "a fault that does not happen is not named"
        );
        (wire(&response), response.body().len() as u64)
    };
    let (half, len) = ask();
    assert_eq!(half.unwrap().ending, Some((len / 2, Ending::Cut)));
    assert_eq!(ask().0.unwrap().ending, Some((10, Ending::Cut)));
    assert_eq!(ask().0, None, "the body is shorter");
    assert_eq!(ask().0.unwrap().ending, Some((len / 2, Ending::Reset)));
    assert_eq!(ask().0.unwrap().split, Some(7));
    assert_eq!(ask().0, None);
    assert_eq!(fired(&world), [1, 1, 0, 1, 1]);
}

#[test]
fn stalls_go_by_the_time_of_the_world() {
    let mut world = playing(
        r#"
faults:
  - { fault: stall, for: 1h, on: status, nth: 1 }
  - { fault: stall, on: status, nth: 2 }
  - { fault: stall, for: 2s, on: status, nth: 3, after: { bytes: 20 } }
"#,
    );
    let id = world.submit(&submit());
    let target = format!("/acme/app/requests/{id}/status");
    let late = world.send(&Call::get(&target));
    let never = world.send(&Call::get(&target));
    world.pass_ms(3_599_999);
    assert!(!world.replies.contains_key(&late));
    world.pass_ms(1);
    assert!(world.replies.remove(&late).is_some());
    world.pass_ms(10 * 3_600_000);
    assert!(!world.replies.contains_key(&never));
    let id = world.submit(&submit());
    let held = world.get(&format!("/acme/app/requests/{id}/status"));
    assert_eq!(wire(&held).unwrap().gate, Some(20));
    world.pass_ms(1999);
    assert!(world.released.is_empty());
    world.pass_ms(1);
    assert_eq!(world.released.len(), 1);
    assert_eq!(world.released[0].1, u64::MAX);
    // Whoever waits for ever is cut by a restart.
    world.control(Control::Restart);
    assert_eq!(world.cut, [never]);
}

#[test]
fn slow_answers_come_bit_by_bit() {
    let mut world = playing("faults: [{ fault: slow, bytes_per_second: 100, on: status }]");
    let id = world.submit(&submit());
    let response = world.get(&format!("/acme/app/requests/{id}/status"));
    let len = response.body().len() as u64;
    assert_eq!(wire(&response).unwrap().gate, Some(0));
    let time = len * 1000 / 100;
    world.pass_ms(time / 2);
    let (_, half) = *world.released.last().unwrap();
    assert!((len / 2 - 6..len / 2 + 6).contains(&half), "{half} of {len}");
    world.pass_ms(time / 2 + 100);
    assert_eq!(world.released.last().unwrap().1, u64::MAX);
    let count = world.released.len();
    world.pass_ms(10_000);
    assert_eq!(world.released.len(), count, "nothing comes after the end");
}

#[test]
fn answers_are_no_json_or_of_other_types() {
    let mut world = playing(
        r#"
faults:
  - { fault: corrupt-json, on: status, nth: 1 }
  - { fault: wrong-type, pointer: /queue_position, on: status, nth: 2 }
  - { fault: wrong-type, pointer: /nowhere, on: status, nth: 3 }
  - { fault: wrong-type, on: status, nth: 4 }
"#,
    );
    let id = world.submit(&submit());
    let target = format!("/acme/app/requests/{id}/status");
    let bad = world.get(&target);
    assert!(serde_json::from_slice::<Value>(bad.body()).is_err());
    assert_eq!(json(&world.get(&target))["queue_position"], "2");
    let right = json(&world.get(&target));
    assert_ne!(json(&world.get(&target)), right);
    assert_eq!(fired(&world), [1, 1, 0, 1]);
}

fn events(source: &str) -> (World, u64, Vec<String>) {
    let mut world = playing(source);
    let call = Call::post("/acme/chat/stream", r#"{"prompt":"x"}"#).on(Host::Run);
    let id = world.send(&call);
    world.pass_ms(3000);
    let text = world.streams[&id].0.clone();
    let events = text.split_terminator("\n\n").map(str::to_owned).collect();
    (world, id, events)
}

#[test]
fn events_are_dropped_doubled_and_broken() {
    let (_, _, all) = events("rules: [{ when: '**' }]");
    assert!(all.len() > 5, "{all:?}");
    let fault = |rest: &str| format!("faults: [{{ on: stream, {rest} }}]");
    let (world, _, less) = events(&fault("fault: drop-event, after: { events: 1 }"));
    assert_eq!(less, [&all[..1], &all[2..]].concat());
    assert_eq!(fired(&world), [1]);
    let (_, _, more) = events(&fault("fault: duplicate-event, copies: 2"));
    assert_eq!(more, [&all[..1], &all[..1], &all[..]].concat());
    let (_, _, bad) = events(&fault("fault: corrupt-json, after: { events: 2 }"));
    assert_eq!((&bad[..2], &bad[3..]), (&all[..2], &all[3..]));
    let data = bad[2].strip_prefix("data: ").unwrap();
    assert!(serde_json::from_str::<Value>(data).is_err());
    let (_, _, wrong) = events(&fault("fault: wrong-type, pointer: /output"));
    assert!(wrong[0].contains("\"output\":") && wrong[0] != all[0]);
    let (world, _, _) = events(&fault("fault: drop-event, after: { events: 1000 }"));
    assert_eq!(fired(&world), [0], "the stream has ended before");
}

#[test]
fn streams_break_off_and_fall_silent() {
    let (_, _, all) = events("rules: [{ when: '**' }]");
    let fault = |rest: &str| format!("faults: [{{ on: stream, {rest} }}]");
    let (world, id, some) = events(&fault("fault: reset, after: { events: 3 }"));
    assert_eq!((some.as_slice(), world.reset.as_slice()), (&all[..3], &[id][..]));
    assert_eq!(world.model.counters().model_streams_abandoned, 1);
    let (world, id, some) = events(&fault("fault: truncate"));
    assert_eq!((some.as_slice(), world.cut.as_slice()), (&all[..1], &[id][..]));
    let (mut world, id, some) = events(&fault("fault: stall, for: 1m, after: { events: 2 }"));
    assert_eq!((some.as_slice(), world.streams[&id].1), (&all[..2], false));
    world.pass_ms(60_000);
    assert_eq!(world.streams[&id].0.split_terminator("\n\n").collect::<Vec<_>>(), all);
    assert!(world.streams[&id].1, "everything that was held back, the end included");
    let (mut world, id, _) = events(&fault("fault: stall"));
    world.pass_ms(3_600_000);
    assert!(!world.streams[&id].1);
    // The peer goes away; nothing is left of it.
    world.model.handle_gone(world.now, id);
    world.drain();
}

#[test]
fn runners_are_lost_by_chance_as_well() {
    let mut world = playing(
        "faults: [{ fault: runner-lost, on: [submit, run], after: { time: 300ms }, nth: [1, 3] }]",
    );
    let id = world.submit(&submit());
    world.pass_ms(10_000);
    assert_eq!(world.model.job(id).unwrap().attempts, 2);
    let other = world.submit(&submit());
    world.pass_ms(10_000);
    assert_eq!(world.model.job(other).unwrap().attempts, 1);
    let call = world.send(&run("x"));
    world.pass_ms(300);
    assert_eq!(world.replies[&call].status(), 503);
    assert_eq!(fired(&world), [2]);
}

#[test]
fn a_refused_call_keeps_no_loss_for_the_next() {
    let mut world = playing("faults: [{ fault: runner-lost, on: submit, nth: 1 }]");
    let refused = world.ask(&submit().with("authorization", ""));
    assert_eq!(refused.status(), 401);
    let id = world.submit(&submit());
    world.pass_ms(10_000);
    assert_eq!(world.model.job(id).unwrap().attempts, 1);
}

#[test]
fn messages_of_sessions_go_wrong() {
    let said = |source: &str| {
        let mut world = playing(source);
        let id = world.upgrade(&Call::get("/acme/app/realtime").on(Host::Run));
        for n in 0..3 {
            let text = format!(r#"{{"prompt":"x","seed":{n}}}"#);
            world.model.handle_frame(world.now, id, Frame::Text(text));
            world.drain();
            world.pass_ms(200);
        }
        (world, id)
    };
    let (world, id) = said("rules: []\nfaults: [{ fault: ws-close, code: 4000, nth: 2 }]");
    assert_eq!(world.said[&id].len(), 2);
    assert_eq!(world.said[&id][1], Said::Close(Some(4000)));
    let (world, id) = said("faults: [{ fault: drop-event, on: frame, nth: 1 }]");
    assert_eq!(world.said[&id].len(), 2);
    let (world, id) = said("faults: [{ fault: duplicate-event, on: frame, nth: 1 }]");
    assert_eq!(world.said[&id].len(), 4);
    assert_eq!(world.said[&id][0], world.said[&id][1]);
    let (world, id) = said("faults: [{ fault: corrupt-json, on: frame, nth: 2 }]");
    let Said::Frame(Frame::Text(text)) = &world.said[&id][1] else { panic!("{:?}", world.said) };
    assert!(serde_json::from_str::<Value>(text).is_err());
    let (world, id) = said("faults: [{ fault: reset, on: frame, nth: 2 }]");
    assert_eq!((world.said[&id].len(), world.reset.as_slice()), (1, &[id][..]));
    assert!(world.model.sessions().is_empty());
    let (mut world, id) = said("faults: [{ fault: stall, for: 5s, on: frame, nth: 2 }]");
    assert_eq!(world.said[&id].len(), 1);
    world.pass_ms(5000);
    assert!(world.said[&id].len() >= 3);
    let mut world = playing("faults: [{ fault: refuse, on: realtime }]");
    let id = world.upgrade(&Call::get("/acme/app/realtime").on(Host::Run));
    assert_eq!(world.reset, [id]);
}

#[test]
fn uploads_and_downloads_go_wrong() {
    let mut world = playing(
        r#"
faults:
  - { fault: status, status: 503, on: upload-initiate, nth: 1 }
  - { fault: accept-then-reset, on: upload-put, nth: 1 }
  - { fault: truncate, on: download, nth: 1, after: { bytes: 3 } }
  - { fault: status, status: 500, on: token, nth: 1 }
  - { fault: status, status: 500, on: platform, nth: 1 }
"#,
    );
    let initiate = || {
        Call::post(
            "/storage/upload/initiate",
            r#"{"file_name":"a.txt","content_type":"text/plain"}"#,
        )
        .on(Host::Rest)
    };
    assert_eq!(world.ask(&initiate()).status(), 503);
    let started = json(&world.ask(&initiate()));
    let target = |name: &str| {
        let url = started[name].as_str().unwrap();
        url.strip_prefix("https://v3.fal.media").unwrap().to_owned()
    };
    let (put, file) = (target("upload_url"), target("file_url"));
    let call = Call::put(&put).on(Host::Cdn).with_body("hello").with("content-type", "text/plain");
    let lost = world.send(&call);
    assert_eq!(world.reset, [lost]);
    let cut = world.ask(&Call::get(&file).on(Host::Cdn));
    assert_eq!(wire(&cut).unwrap().ending, Some((3, Ending::Cut)));
    assert_eq!(world.ask(&Call::get(&file).on(Host::Cdn)).body(), "hello");
    assert_eq!(world.ask(&Call::post("/tokens/", "{}").on(Host::Rest)).status(), 500);
    assert_eq!(world.ask(&Call::get("/v1/models").on(Host::Api)).status(), 500);
    assert_eq!(world.ask(&Call::get("/v1/models").on(Host::Api)).status(), 200);
    assert_eq!(fired(&world), [1; 5]);
}

fn delivered(source: &str, jobs: usize) -> World {
    let mut world = World::new(Config { instant: true, ..config(source) });
    for n in 0..jobs {
        let target = format!("/acme/app?fal_webhook=http://127.0.0.1:9/{n}");
        world.submit(&Call::post(&target, r#"{"prompt":"x"}"#));
    }
    world
}

#[test]
fn deliveries_go_wrong() {
    let plain = delivered("rules: []", 1);
    let right = plain.letters[0].clone();
    let header = |letter: &Letter, name: &str| letter.headers[name].to_str().unwrap().to_owned();
    let seconds =
        |letter: &Letter| -> u64 { header(letter, "x-fal-webhook-timestamp").parse().unwrap() };
    let signature = |letter: &Letter| header(letter, "x-fal-webhook-signature");

    let mut twice = delivered("faults: [{ fault: webhook-duplicate, copies: 2 }]", 1);
    assert_eq!(twice.letters.len(), 3);
    assert_eq!(
        (&twice.letters[1].body, signature(&twice.letters[2])),
        (&right.body, signature(&right))
    );
    let answered = |world: &mut World, id| {
        let result = DeliveryResult::Answered(StatusCode::OK);
        world.model.handle_delivered(world.now, id, result);
        world.drain();
    };
    for letter in twice.letters.clone() {
        answered(&mut twice, letter.id);
    }
    assert_eq!(twice.model.deliveries()[0].state, DeliveryState::Delivered);
    assert_eq!(twice.model.deliveries()[0].attempts.len(), 1);

    let old = delivered("faults: [{ fault: webhook-expired }]", 1);
    assert_eq!(seconds(&old.letters[0]) + 600, seconds(&right));
    let forged = delivered("faults: [{ fault: webhook-wrong-key }]", 1);
    assert_ne!(signature(&forged.letters[0]), signature(&right));
    assert_eq!(forged.letters[0].body, right.body);
    let cut = delivered("faults: [{ fault: webhook-truncated }]", 1);
    assert_eq!(cut.letters[0].body, right.body.slice(..right.body.len() / 2));
    assert_eq!(signature(&cut.letters[0]), signature(&right));

    let mut late = delivered("faults: [{ fault: webhook-late, for: 3s }]", 1);
    assert!(late.letters.is_empty());
    late.pass_ms(3000);
    assert_eq!(late.letters.len(), 1);
    let both = delivered("faults: [{ fault: webhook-reorder, nth: 1 }]", 2);
    let urls: Vec<&str> = both.letters.iter().map(|letter| letter.url.path()).collect();
    assert_eq!(urls, ["/1", "/0"]);
    let mut alone = delivered("faults: [{ fault: webhook-reorder, nth: 1 }]", 1);
    alone.pass_ms(5000);
    assert_eq!(alone.letters.len(), 1, "nobody overtakes it");

    // A refused forgery is repeated with a right signature.
    let mut again = delivered("faults: [{ fault: webhook-wrong-key, nth: 1 }]", 1);
    let result = DeliveryResult::Answered(StatusCode::UNAUTHORIZED);
    let first = again.letters[0].id;
    again.model.handle_delivered(again.now, first, result);
    again.drain();
    again.pass_ms(5000);
    assert_eq!(again.letters.len(), 2);
    assert_eq!(again.model.play_view().unwrap().faults[0].fitted, 2);

    let ruled = delivered("rules: [{ when: '**', webhook: { duplicate: 1, truncated: true } }]", 1);
    assert_eq!(ruled.letters.len(), 2);
    assert!(ruled.letters[0].body.len() < right.body.len());
}

#[test]
fn expectations_count_what_was_answered() {
    let mut world = playing(
        r#"
expect:
  requests:
    - { operation: submit, input: { /prompt: a cat }, count: 1 }
    - { operation: result, status: 200 }
  order: [submit, status, { operation: result, status: 200 }]
"#,
    );
    let id = world.submit(&submit());
    world.get(&format!("/acme/app/requests/{id}/status"));
    world.get(&format!("/acme/app/requests/{id}"));
    assert_eq!(world.model.play_view().unwrap().unmet.len(), 2, "not ready is 400");
    world.pass_ms(1000);
    world.get(&format!("/acme/app/requests/{id}"));
    assert_eq!(world.model.play_view().unwrap().unmet, [""; 0]);
    world.submit(&submit());
    assert_eq!(
        world.model.play_view().unwrap().unmet,
        ["requests with operation submit, input {/prompt:a cat}: wanted 1, got 2"]
    );
}

#[test]
fn messages_of_sessions_are_expected_too() {
    let mut world =
        playing("expect: { requests: [{ operation: frame, endpoint: 'acme/**', count: 2 }] }");
    let id = world.upgrade(&Call::get("/acme/app/realtime").on(Host::Run));
    assert_eq!(world.model.play_view().unwrap().unmet.len(), 1);
    for _ in 0..2 {
        world.model.handle_frame(world.now, id, Frame::Text(r#"{"prompt":"x"}"#.to_owned()));
        world.drain();
        world.pass_ms(200);
    }
    assert_eq!(world.model.play_view().unwrap().unmet, [""; 0]);
}

#[test]
fn another_scenario_leaves_what_is_open_alone() {
    let mut world = playing("faults: [{ fault: reset, on: stream, after: { events: 3 } }]");
    let id = world.send(&Call::post("/acme/chat/stream", r#"{"prompt":"x"}"#).on(Host::Run));
    world.model.set_scenario(None);
    world.pass_ms(3000);
    assert!(world.streams[&id].1 && world.reset.is_empty());
}
