//! Random sequences of calls, controls and time.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// One step of a sequence. Jobs are picked among all that were ever submitted.
#[derive(Clone, Debug)]
enum Step {
    Submit { low: bool, valid: bool, start_timeout: bool, app: bool },
    Run { valid: bool },
    Status(usize),
    Stream(usize),
    Result(usize),
    Cancel(usize),
    Finish(usize),
    Fail(usize),
    FailNext,
    Requeue(usize),
    Gone(u64),
    Restart,
    Upload { in_parts: bool, len: usize },
    Odd { host: u8, method: u8, path: usize },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let job = || 0usize..40;
    prop_oneof![
        6 => any::<(bool, bool, bool, bool)>().prop_map(|(low, valid, start_timeout, app)| Step::Submit { low, valid, start_timeout, app }),
        2 => any::<bool>().prop_map(|valid| Step::Run { valid }),
        6 => job().prop_map(Step::Status),
        4 => job().prop_map(Step::Stream),
        2 => job().prop_map(Step::Result),
        2 => job().prop_map(Step::Cancel),
        1 => job().prop_map(Step::Finish),
        1 => job().prop_map(Step::Fail),
        1 => Just(Step::FailNext),
        2 => job().prop_map(Step::Requeue),
        1 => (0u64..60).prop_map(Step::Gone),
        1 => Just(Step::Restart),
        2 => (any::<bool>(), 0usize..3000).prop_map(|(in_parts, len)| Step::Upload { in_parts, len }),
        3 => (any::<u8>(), any::<u8>(), any::<usize>()).prop_map(|(host, method, path)| Step::Odd { host, method, path }),
        8 => prop_oneof![0u64..300, 0u64..3000, Just(20_000), Just(4_000_000)].prop_map(Step::Pass),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    (
        any::<u64>(),
        proptest::option::of(1usize..3),
        prop_oneof![Just(4usize), Just(1000)],
        any::<bool>(),
        0u64..300,
        prop_oneof![4 => Just(false), 1 => Just(true)],
        proptest::option::of((0u64..500, 0u64..2000)),
    )
        .prop_map(|(seed, runners, jobs_max, tight, queue_ms, instant, cold)| Config {
            scenario: cold.and_then(|(start, keep)| {
                scenario(&format!(
                    "apps: [{{ endpoint: '**', cold_start: {start}ms, keep_alive: {keep}ms }}]"
                ))
            }),
            seed,
            instant,
            runners,
            jobs_max,
            queue_time: Duration::from_millis(queue_ms),
            store_bytes_max: if tight { 6000 } else { 1 << 20 },
            exchanges_max: 8,
            ..Config::default()
        })
}

fn scenario(source: &str) -> Option<Arc<crate::scenario::Scenario>> {
    let scenario = crate::scenario::Scenario::parse("test", source);
    Some(Arc::new(scenario.unwrap_or_else(|problems| panic!("{problems}"))))
}

/// A scenario that looks at everything and changes nothing.
const ONLOOKER: &str = r#"
rules: [{ when: { headers: { x-nobody: sends this } }, error: 500 }]
faults:
  - { fault: status, status: 500, nth: 1000000 }
  - { fault: drop-event, after: { events: 1000000 } }
expect: { requests: [{ operation: submit }] }
"#;

/// What a sequence has shown of one job.
#[derive(Default)]
struct Witness {
    completed: Option<Value>,
    /// The last position, and how many submits and requeues there had been.
    position: Option<(u64, u64)>,
    lines: usize,
    low: bool,
    requeues: u64,
    state: Option<JobState>,
}

/// Runs a sequence and returns everything that was answered.
fn play(config: Config, steps: &[Step]) -> String {
    let mut world = World::new(config);
    let mut transcript = String::new();
    let mut jobs: Vec<(RequestId, Witness)> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut requeues = 0;
    for step in steps {
        let chosen = |n: &usize| jobs.get(n % jobs.len().max(1)).map(|(id, _)| *id);
        match step {
            Step::Submit { low, valid, start_timeout, app } => {
                let body = if *valid {
                    r#"{"prompt":"x","image_size":{"width":9,"height":9}}"#
                } else {
                    "[]"
                };
                let mut call = Call::post(if *app { "/acme/app" } else { "/acme/app/path" }, body);
                if *low {
                    call = call.with("x-fal-queue-priority", "low");
                }
                if *start_timeout {
                    call = call.with("x-fal-request-start-timeout", "1");
                }
                let id = world.submit(&call);
                assert!(ids.insert(id), "ids are unique");
                jobs.push((id, Witness { low: *low, ..Witness::default() }));
            }
            Step::Run { valid } => {
                let body = if *valid { r#"{"image_size":{"width":9,"height":9}}"# } else { "" };
                world.send(&Call::post("/acme/app", body).on(Host::Run));
            }
            Step::Status(n) => {
                let submits = jobs.len() as u64 + requeues;
                let count = jobs.len().max(1);
                if let Some((id, witness)) = jobs.get_mut(n % count) {
                    let response = world.get(&format!("/acme/app/requests/{id}/status?logs=1"));
                    transcript.push_str(&format!("{:?}\n", response.body()));
                    judge(witness, &response, submits, requeues);
                }
            }
            Step::Stream(n) => {
                if let Some(id) = chosen(n) {
                    world
                        .send(&Call::get(&format!("/acme/app/requests/{id}/status/stream?logs=1")));
                }
            }
            Step::Result(n) => {
                if let Some(id) = chosen(n) {
                    transcript.push_str(&format!("{:?}\n", world.result(id)));
                }
            }
            Step::Cancel(n) => {
                if let Some(id) = chosen(n) {
                    transcript.push_str(&format!("{:?}\n", world.cancel(id)));
                }
            }
            Step::Finish(n) => {
                if let Some(request_id) = chosen(n) {
                    world.control(Control::Finish { request_id });
                }
            }
            Step::Fail(n) => {
                if let Some(request_id) = chosen(n) {
                    let failure = Failure::model_error(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal_server_error",
                        "broken",
                    );
                    world.control(Control::Fail { request_id, failure });
                }
            }
            Step::FailNext => {
                let failure = Failure::request_error(
                    StatusCode::BAD_GATEWAY,
                    "runner_incomplete_response",
                    "cut",
                );
                world.control(Control::FailNext(failure));
            }
            Step::Requeue(n) => {
                if let Some(request_id) = chosen(n) {
                    requeues += u64::from(world.control(Control::Requeue { request_id }));
                }
            }
            Step::Gone(exchange) => world.model.handle_gone(world.now, *exchange),
            Step::Restart => {
                world.control(Control::Restart);
            }
            Step::Upload { in_parts, len } => {
                let end = if *in_parts { "-multipart" } else { "" };
                let target = format!("/storage/upload/initiate{end}");
                let call = Call::post(&target, r#"{"content_type":"a/b","file_name":"x"}"#)
                    .on(Host::Rest)
                    .with("x-fal-object-lifecycle", r#"{"expiration_duration_seconds":60}"#);
                let answer = json(&world.ask(&call));
                let url = answer["upload_url"].as_str().unwrap();
                let target = url.strip_prefix("https://v3.fal.media").unwrap();
                let target = match in_parts {
                    true => target.replace('?', "/1?"),
                    false => target.to_owned(),
                };
                let body = "x".repeat(*len);
                let put = world.ask(&Call::put(&target).on(Host::Cdn).with_body(&body));
                // Where there is little room, what was started may be gone already.
                assert!(put.status() == StatusCode::OK || *in_parts, "{put:?}");
                transcript.push_str(&format!("{put:?}\n"));
            }
            Step::Odd { host, method, path } => {
                let host = [Host::Queue, Host::Run, Host::Rest, Host::Cdn, Host::Gcs, Host::Api]
                    [usize::from(host % 6)];
                let method = [Method::GET, Method::POST, Method::PUT, Method::DELETE]
                    [usize::from(method % 4)]
                .clone();
                let path = ODD_PATHS[path % ODD_PATHS.len()];
                world.send(&Call { host, ..Call::new(method, path) });
            }
            Step::Pass(ms) => world.pass_ms(*ms),
        }
        world.drain();
        let model = &world.model;
        for (id, witness) in &mut jobs {
            let state = model.job(*id).map(|job| job.state);
            assert!(
                is_move(witness.state, state, step),
                "{:?} to {state:?} by {step:?}",
                witness.state
            );
            witness.state = state;
        }
        assert!(model.jobs.len() <= model.config.jobs_max);
        assert!(model.stored_bytes() <= model.config.store_bytes_max);
        assert!(model.open.len() <= model.config.exchanges_max);
    }
    // Left alone, everything ends.
    world.pass(Duration::from_secs(3 * 3600));
    assert_eq!(world.until, None, "nothing is planned for ever");
    assert!(
        world.model.open.is_empty() && world.model.apps.is_empty() && world.model.jobs.len() == 0
    );
    for (exchange, (text, ended)) in &world.streams {
        transcript.push_str(&format!("{exchange} {ended} {text}\n"));
        check_stream(text, *ended);
    }
    transcript.push_str(&format!(
        "{:?} {:?} {:?}",
        world.replies,
        world.cut,
        world.model.counters()
    ));
    transcript
}

/// Whether the table of the module lets a job get from one state to the other in one step.
///
/// Passing time brings several moves at once, and whatever frees a runner or evicts a job starts another.
fn is_move(from: Option<JobState>, to: Option<JobState>, step: &Step) -> bool {
    use JobState::{Failed, Queued, Running, Succeeded};
    match (from, to) {
        (from, to) if from == to => true,
        (None, Some(_)) => matches!(step, Step::Submit { .. }),
        (Some(Queued), Some(Running)) => !matches!(step, Step::Status(_) | Step::Result(_)),
        (Some(Queued | Running), Some(Succeeded)) => {
            matches!(step, Step::Pass(_) | Step::Finish(_))
        }
        (Some(Running), Some(Queued)) => matches!(step, Step::Requeue(_)),
        (Some(Queued | Running), Some(Failed)) | (Some(_), None) => true,
        _ => false,
    }
}

/// Holds one polled status against what was seen before.
fn judge(witness: &mut Witness, response: &Response, submits: u64, requeues: u64) {
    let status = json(response);
    if let Some(completed) = &witness.completed {
        assert!(
            status == *completed || response.status() == StatusCode::NOT_FOUND,
            "an end is final: {status}"
        );
        return;
    }
    if status["status"] == "COMPLETED" {
        assert_eq!(response.status(), StatusCode::OK);
        witness.completed = Some(status);
        return;
    }
    let lines = status["logs"].as_array().map_or(0, Vec::len);
    assert!(
        response.status() == StatusCode::NOT_FOUND || lines >= witness.lines,
        "lines are never lost"
    );
    witness.lines = lines;
    let times: Vec<&str> = status["logs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| l["timestamp"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
    if let Some(position) = status["queue_position"].as_u64() {
        // Only a normal submit passes a low one, and only being put back sends a job to the end.
        if let Some((before, submits_before)) = witness.position
            && witness.requeues == requeues
            && (!witness.low || submits_before == submits)
        {
            assert!(position <= before, "{position} after {before}");
        }
        witness.position = Some((position, submits));
        witness.requeues = requeues;
    }
}

/// A stream is whole events; when it ends, the last one says COMPLETED, and no other does.
fn check_stream(text: &str, ended: bool) {
    let events: Vec<Value> = text
        .split("\n\n")
        .filter_map(|block| block.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let completed = events.iter().filter(|event| event["status"] == "COMPLETED").count();
    assert_eq!(completed, usize::from(ended), "{text}");
    assert!(!ended || events.last().unwrap()["status"] == "COMPLETED");
    let times: Vec<&str> = events
        .iter()
        .filter_map(|e| e["logs"].as_array())
        .flatten()
        .map(|line| line["timestamp"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}

const ODD_PATHS: [&str; 19] = [
    "/files/upload",
    "/files/upload/multipart",
    "/files/otter/00000000000000000000000000000006_x/multipart/1/complete",
    "/fal-mock/files/otter/00000000000000000000000000000006_x?partNumber=1&uploadId=1",
    "/storage/auth/token",
    "/storage/upload/initiate-multipart",
    "/storage/upload/multipart/files/otter/00000000000000000000000000000006_x/1",
    "/v1/storage/files/acl?url=https%3A%2F%2Fv3.fal.media%2Ffiles%2Fotter%2F0",
    "/v1/storage/settings",
    "/",
    "/requests/",
    "//requests//status",
    "/a/b/requests/x/status",
    "/a/b?fal_max_queue_length=0",
    "/files/otter/0_x",
    "/storage/upload/initiate",
    "/a/requests/00000000-0000-4000-8000-000000000000/cancel",
    "/é/ü",
    "/a/b/c/d/e/f/g/h?x=%zz&y",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_survived_and_repeats(config in config(), steps in proptest::collection::vec(step(), 1..80)) {
        let transcript = play(config.clone(), &steps);
        prop_assert_eq!(transcript, play(config, &steps));
    }

    #[test]
    fn a_scenario_that_only_looks_on_changes_nothing(config in config(), steps in proptest::collection::vec(step(), 1..60)) {
        let plain = play(Config { scenario: None, ..config.clone() }, &steps);
        let watched = play(Config { scenario: scenario(ONLOOKER), ..config }, &steps);
        prop_assert_eq!(plain, watched);
    }
}
