//! Apps with a back end of their own: what the model wants done, and what it makes of what comes of it.

use super::keep::Shelf;
use super::scenario::{config, playing};
use super::*;

const APP: &str = "apps:\n  - { endpoint: 'acme/**', http: 'http://127.0.0.1:1' }\n";

fn with_runners(runners: usize) -> String {
    format!(
        "apps:\n  - {{ endpoint: 'acme/**', http: 'http://127.0.0.1:1', runners: {runners} }}\n"
    )
}

fn made(output: &'static str) -> WorkEvent {
    let output = Bytes::from_static(output.as_bytes());
    WorkEvent::Done(Made { output, files: Vec::new(), units: None })
}

fn lost() -> WorkEvent {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    WorkEvent::Lost(Failure::request_error(status, "runner_disconnected", "gone"))
}

impl World {
    /// Tells what has come of the work that was wanted last.
    #[track_caller]
    fn worked(&mut self, event: WorkEvent) {
        let id = self.works.last().expect("work was wanted").0;
        self.work_said(id, event);
    }

    fn work_said(&mut self, id: u64, event: WorkEvent) {
        self.model.handle_work(self.now, id, event);
        self.drain();
    }

    fn state(&mut self, id: RequestId) -> String {
        self.status(id).1["status"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_job_is_worked_on_and_its_lines_come_as_they_are_written() {
    let mut world = playing(APP);
    let id = world.submit(&submit());
    let (_, work) = &world.works[0];
    assert_eq!((&*work.endpoint, work.attempt, work.request_id), ("acme/app/sub", 1, id));
    assert_eq!(work.input, r#"{"prompt":"a cat"}"#);
    assert_eq!(world.state(id), "IN_PROGRESS");
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream?logs=1")));
    world.pass_ms(1500);
    world.worked(WorkEvent::Log { level: "WARNING", message: "half".into() });
    let events = world.events(stream);
    let line = &events[1].as_ref().unwrap()["logs"][0];
    assert_eq!((&line["message"], &line["level"]), (&"half".into(), &"WARNING".into()));
    world.pass_ms(500);
    let name = Box::<str>::from("cat.png");
    let file = Blob::memory(Bytes::from_static(b"PNG"));
    world.worked(WorkEvent::Done(Made {
        output: Bytes::from_static(br#"{"image":{"url":"{{file:cat.png}}"}}"#),
        files: vec![(name, file)],
        units: Some(3),
    }));
    let (_, status) = world.status(id);
    assert_eq!(
        (&status["status"], &status["logs"][0]["message"]),
        (&"COMPLETED".into(), &"half".into())
    );
    assert_eq!(status["metrics"]["inference_time"], 2.0);
    let result = world.result(id);
    assert_eq!(result.headers()["x-fal-billable-units"], "3");
    let url = json(&result)["image"]["url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix("https://v3.fal.media").unwrap();
    let file = world.ask(&Call::get(path).on(Host::Cdn));
    assert_eq!(
        (file.headers()["content-type"].to_str().unwrap(), &file.body()[..]),
        ("image/png", &b"PNG"[..])
    );
    assert!(world.streams[&stream].1, "the stream has ended");
}

#[test]
fn one_after_the_other_where_nothing_else_is_said() {
    let mut world = playing(APP);
    let ids = [0, 1, 2].map(|_| world.submit(&submit()));
    assert_eq!(world.works.len(), 1);
    assert_eq!(world.status(ids[2]).1["queue_position"], 1);
    world.worked(made("{}"));
    assert_eq!((world.works.len(), world.works[1].1.request_id), (2, ids[1]));
    let mut world = playing(&with_runners(2));
    let _ = [0, 1, 2].map(|_| world.submit(&submit()));
    assert_eq!(world.works.len(), 2);
}

#[test]
fn lost_work_waits_longer_each_time_and_is_given_up_in_the_end() {
    let mut world = playing(APP);
    let id = world.submit(&submit());
    let mut rests = Vec::new();
    for attempt in 1..ATTEMPTS_MAX {
        world.worked(lost());
        assert_eq!(world.state(id), "IN_QUEUE");
        let before = world.now;
        while world.works.len() == attempt {
            world.pass_ms(500);
        }
        rests.push((world.now - before).as_secs());
        assert_eq!(world.works[attempt].1.attempt, attempt + 1);
    }
    assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    world.worked(lost());
    let (_, status) = world.status(id);
    assert_eq!(
        (&status["status"], &status["error_type"]),
        (&"COMPLETED".into(), &"runner_disconnected".into())
    );
    assert_eq!(world.result(id).status(), 503);
    // Nothing is left that holds its runner.
    let next = world.submit(&submit());
    assert_eq!(world.state(next), "IN_PROGRESS");
}

#[test]
fn a_caller_can_forbid_repeats() {
    for (value, repeats) in [("1", false), ("TRUE", false), ("yes", false), ("0", true)] {
        let mut world = playing(APP);
        let id = world.submit(&submit().with("x-fal-no-retry", value));
        world.worked(lost());
        assert_eq!(world.state(id) == "IN_QUEUE", repeats, "{value}");
    }
}

#[test]
fn a_failure_of_the_model_is_final_and_is_told_as_it_is() {
    let mut world = playing(APP);
    let id = world.submit(&submit());
    let body = r#"{"detail":[{"loc":["body","prompt"],"msg":"too rude","type":"value_error"}]}"#;
    world.worked(WorkEvent::Failed(Failure::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        body,
        "too rude",
        None,
    )));
    assert_eq!(world.status(id).1["error"], "too rude");
    let result = world.result(id);
    assert_eq!((result.status().as_u16(), &result.body()[..]), (422, body.as_bytes()));
}

#[test]
fn a_cancelled_job_frees_its_runner_only_when_its_work_has_ended() {
    let mut world = playing(APP);
    let first = world.submit(&submit());
    let second = world.submit(&submit());
    assert_eq!(world.cancel(first).1["status"], "CANCELLATION_REQUESTED");
    assert_eq!(world.stopped, [world.works[0].0]);
    assert_eq!(world.result(first).status(), 499);
    assert_eq!(world.state(second), "IN_QUEUE");
    // What comes too late is nobody's.
    let number = world.works[0].0;
    world.work_said(number, WorkEvent::Log { level: "INFO", message: "bye".into() });
    world.work_said(number, WorkEvent::Stopped);
    assert_eq!(world.state(second), "IN_PROGRESS");
    world.work_said(number, made("{}"));
    assert_eq!(world.state(second), "IN_PROGRESS");
    assert_eq!(world.result(first).status(), 499);
}

#[test]
fn control_can_fail_and_requeue_but_not_finish_what_only_a_back_end_knows() {
    let mut world = playing(APP);
    let id = world.submit(&submit());
    assert!(!world.control(Control::Finish { request_id: id }));
    assert!(world.control(Control::Requeue { request_id: id }));
    assert_eq!((world.stopped.len(), world.works.len()), (1, 1));
    let number = world.works[0].0;
    world.work_said(number, WorkEvent::Stopped);
    assert_eq!(world.works.len(), 2);
    let failure = Failure::model_error(StatusCode::INTERNAL_SERVER_ERROR, "x", "no");
    assert!(world.control(Control::Fail { request_id: id, failure }));
    assert_eq!((world.stopped.len(), world.result(id).status().as_u16()), (2, 500));
}

#[test]
fn direct_calls_are_answered_by_back_ends_and_not_repeated() {
    let mut world = playing(APP);
    let run = || Call::post("/acme/app/sub", r#"{"n":1}"#).on(Host::Run);
    let exchange = world.send(&run());
    assert_eq!(world.ask(&run()).status(), 429, "its only runner is busy");
    world.pass_ms(60_000);
    world.worked(made(r#"{"n":2}"#));
    assert_eq!(json(&world.replies[&exchange])["n"], 2);
    let exchange = world.send(&run());
    world.worked(lost());
    assert_eq!(world.replies[&exchange].status(), 503);
    assert_eq!(world.works.len(), 2);
    let exchange = world.send(&run());
    world.model.handle_gone(world.now, exchange);
    world.drain();
    assert_eq!(world.stopped, [world.works[2].0]);
    assert_eq!(world.ask(&run()).status(), 429, "its work has not ended yet");
    world.worked(WorkEvent::Stopped);
    let exchange = world.send(&run());
    world.worked(made("{}"));
    assert_eq!(world.replies[&exchange].status(), 200);
    let mut world = playing(APP);
    let get = Call::get("/acme/app/sub?a=b%20c").on(Host::Run);
    world.send(&get);
    assert_eq!(world.works[0].1.input, r#"{"a":"b c"}"#);
}

#[test]
fn streams_pass_on_what_comes() {
    let mut world = playing(APP);
    let stream = || Call::post("/acme/app/sub/stream", "{}").on(Host::Run);
    let exchange = world.send(&stream());
    assert!(world.works[0].1.is_stream && &*world.works[0].1.endpoint == "acme/app/sub");
    world.worked(WorkEvent::Piece(Bytes::from_static(br#"{"a":1}"#)));
    world.worked(WorkEvent::Log { level: "INFO", message: "no place for this".into() });
    world.worked(WorkEvent::Piece(Bytes::from_static(br#"{"a":2}"#)));
    world.worked(made(""));
    assert_eq!(
        world.streams[&exchange],
        ("data: {\"a\":1}\n\ndata: {\"a\":2}\n\n".to_owned(), true)
    );
    let exchange = world.send(&stream());
    world.worked(made("{\n \"b\": 1}\n"));
    assert_eq!(world.streams[&exchange], ("data: { \"b\": 1}\n\n".to_owned(), true));
    // Before its first event it fails as every call does, and after it by an event.
    let exchange = world.send(&stream());
    world.worked(lost());
    assert_eq!(world.replies[&exchange].status(), StatusCode::SERVICE_UNAVAILABLE);
    let exchange = world.send(&stream());
    world.worked(WorkEvent::Piece(Bytes::from_static(b"1")));
    world.worked(lost());
    assert!(world.streams[&exchange].0.contains("runner_disconnected"));
    let exchange = world.send(&stream());
    world.model.handle_gone(world.now, exchange);
    world.drain();
    assert_eq!(world.stopped.len(), 1);
}

#[test]
fn a_stream_of_whom_nothing_is_heard_begins_with_a_comment() {
    let mut world = playing(APP);
    let stream = Call::post("/acme/app/sub/stream", "{}").on(Host::Run);
    let exchange = world.send(&stream);
    world.pass_ms(14_000);
    assert!(!world.streams.contains_key(&exchange));
    world.pass_ms(2_000);
    assert_eq!(world.streams[&exchange].0, ": keep-alive\n\n");
    world.worked(WorkEvent::Piece(Bytes::from_static(b"1")));
    // Silence counts from the last that was said.
    world.pass_ms(14_000);
    assert_eq!(world.streams[&exchange].0, ": keep-alive\n\ndata: 1\n\n");
    world.pass_ms(1_000);
    world.worked(made("2"));
    let all = ": keep-alive\n\ndata: 1\n\n: keep-alive\n\ndata: 2\n\n".to_owned();
    assert_eq!(world.streams[&exchange], (all, true));
    world.pass_ms(60_000);
}

#[test]
fn calls_wait_for_a_cold_runner() {
    let mut world = playing(
        "apps:\n  - { endpoint: 'acme/**', http: 'http://127.0.0.1:9', cold_start: 5s, runners: 2 }\n",
    );
    let call = |path| Call::post(path, "{}").on(Host::Run);
    let run = world.send(&call("/acme/app/sub"));
    let stream = world.send(&call("/acme/app/sub/stream"));
    world.pass_ms(4_900);
    assert_eq!(world.works.len(), 0);
    // Who goes meanwhile leaves nothing to be done.
    world.model.handle_gone(world.now, stream);
    world.drain();
    world.pass_ms(100);
    assert_eq!((world.works.len(), world.works[0].1.is_stream), (1, false));
    world.worked(made("{}"));
    assert_eq!(world.replies[&run].status(), StatusCode::OK);
    // It is warm now.
    world.send(&call("/acme/app/sub/stream"));
    assert_eq!(world.works.len(), 2);
}

#[test]
fn a_scenario_loses_the_runner_of_a_stream() {
    let source =
        format!("{APP}rules:\n  - {{ name: lost, when: acme/**, timeline: {{ requeue: 2s }} }}\n");
    let mut world = playing(&source);
    let stream = || Call::post("/acme/app/sub/stream", "{}").on(Host::Run);
    let early = world.send(&stream());
    world.pass_ms(2_000);
    let reply = &world.replies[&early];
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["x-fal-mock-rule"], "lost");
    assert_eq!(world.stopped.len(), 1, "its runner is free once the work is over");
    world.worked(WorkEvent::Stopped);

    let late = world.send(&stream());
    world.worked(WorkEvent::Piece(Bytes::from_static(b"1")));
    world.pass_ms(2_000);
    let (said, is_over) = &world.streams[&late];
    assert!(said.starts_with("data: 1\n\n") && said.contains("runner_disconnected"), "{said}");
    assert!(*is_over);
}

#[test]
fn what_is_no_json_is_refused_before_anybody_works_on_it() {
    let mut world = playing(APP);
    let id = world.submit(&Call::post("/acme/app", "{no"));
    assert_eq!(world.result(id).status(), 422);
    assert_eq!(world.works.len(), 0);
}

#[test]
fn a_rule_that_says_what_comes_of_a_call_needs_no_back_end() {
    let source = format!(
        "{APP}rules:\n  - {{ when: acme/app/sub, output: {{ literal: {{ a: 1 }} }}, \
         timeline: {{ run_time: 0 }} }}\n"
    );
    let mut world = playing(&source);
    let id = world.submit(&submit());
    world.pass_ms(1000);
    assert_eq!((json(&world.result(id))["a"].clone(), world.works.len()), (1.into(), 0));
}

#[test]
fn a_back_end_covers_its_app() {
    let mut world = World::new(Config { isolated: true, ..config(APP) });
    world.submit(&submit());
    assert_eq!(world.works.len(), 1);
    assert_eq!(world.ask(&Call::post("/other/app", "{}")).status(), 404);
}

#[test]
fn a_scenario_can_lose_the_runner_of_a_back_end() {
    let source =
        format!("{APP}rules:\n  - {{ when: acme/app/sub, timeline: {{ requeue: [5s] }} }}\n");
    let mut world = playing(&source);
    let id = world.submit(&submit());
    world.pass_ms(5000);
    assert_eq!(world.stopped, [world.works[0].0]);
    let number = world.works[0].0;
    world.work_said(number, WorkEvent::Stopped);
    assert_eq!((world.works.len(), world.state(id)), (2, "IN_PROGRESS".to_owned()));
}

#[test]
fn strangers_are_not_given_inputs() {
    let far = "apps:\n  - { endpoint: 'acme/**', http: 'http://model.example.com' }\n";
    let mut world = playing(far);
    let id = world.submit(&submit());
    assert_eq!((world.result(id).status().as_u16(), world.works.len()), (503, 0));
    let mut world = World::new(Config { far_backends: true, ..config(far) });
    world.submit(&submit());
    assert_eq!(world.works.len(), 1);
}

#[test]
fn a_snapshot_begins_anew_what_was_being_done() {
    let mut world = playing(APP);
    let id = world.submit(&submit());
    let other = world.submit(&submit());
    let mut copy = playing(APP);
    copy.model = world.model.snapshot();
    copy.now = world.now;
    world.model.stop_works();
    world.drain();
    assert_eq!(world.stopped.len(), 1);
    world.worked(WorkEvent::Stopped);
    world.pass_ms(1);
    assert_eq!(world.works.len(), 1, "nothing is begun in a service that is over");
    copy.model.handle_timeout(copy.now);
    copy.drain();
    let begun: Vec<RequestId> = copy.works.iter().map(|(_, work)| work.request_id).collect();
    assert_eq!(begun.len(), 1, "{begun:?}");
    copy.worked(made("{}"));
    copy.worked(made("{}"));
    for id in [id, other] {
        assert_eq!(copy.result(id).status(), 200);
    }
}

#[test]
fn what_was_made_outlives_the_process_and_what_was_not_is_made_again() {
    let config = config(APP);
    let mut world = World::new(config.clone());
    let mut shelf = Shelf::default();
    shelf.keep(&mut world);
    let done = world.submit(&submit());
    world.worked(WorkEvent::Log { level: "ERROR", message: "a word".into() });
    let file = Blob::memory(Bytes::from_static(b"text"));
    world.worked(WorkEvent::Done(Made {
        output: Bytes::from_static(br#"{"url":"{{file:a.txt}}"}"#),
        files: vec![("a.txt".into(), file)],
        units: Some(2),
    }));
    let running = world.submit(&submit());
    shelf.keep(&mut world);
    let before = (world.status(done), world.result(done));
    let mut later = shelf.restore(&config, Duration::from_secs(5));
    assert_eq!(later.status(done), before.0);
    let result = later.result(done);
    assert_eq!(result.body(), before.1.body());
    assert_eq!(result.headers()["x-fal-billable-units"], "2");
    let url = json(&result)["url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix("https://v3.fal.media").unwrap();
    assert_eq!(&later.ask(&Call::get(path).on(Host::Cdn)).body()[..], b"text");
    later.pass_ms(1);
    assert_eq!((later.works.len(), later.works[0].1.attempt), (1, 2));
    later.worked(made(r#"{"n":1}"#));
    assert_eq!(json(&later.result(running))["n"], 1);
}

#[test]
fn a_webhook_tells_what_was_made() {
    let mut world = playing(APP);
    let submit = Call::post("/acme/app?fal_webhook=http%3A%2F%2F127.0.0.1%3A9%2Fhook", "{}");
    let id = world.submit(&submit);
    let file = Blob::memory(Bytes::from_static(b"GIF"));
    world.worked(WorkEvent::Done(Made {
        output: Bytes::from_static(br#"{"url":"{{file:a.gif}}"}"#),
        files: vec![("a.gif".into(), file)],
        units: None,
    }));
    let news: Value = serde_json::from_slice(&world.letters[0].body).unwrap();
    assert_eq!((&news["status"], &news["request_id"]), (&"OK".into(), &id.to_string().into()));
    assert_eq!(news["payload"], json(&world.result(id)));
}
