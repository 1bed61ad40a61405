//! What rules and apps of a scenario decide.

use std::sync::Arc;

use super::*;
use crate::scenario::Scenario;

pub(super) fn config(source: &str) -> Config {
    let scenario = Scenario::parse("test", source).unwrap_or_else(|problems| panic!("{problems}"));
    Config { scenario: Some(Arc::new(scenario)), ..Config::default() }
}

pub(super) fn playing(source: &str) -> World {
    World::new(config(source))
}

fn status_of(world: &mut World, id: RequestId) -> Value {
    json(&world.get(&format!("/acme/app/requests/{id}/status?logs=1")))
}

fn result_of(world: &mut World, id: RequestId) -> Response {
    world.get(&format!("/acme/app/requests/{id}"))
}

fn rule_of(response: &Response) -> Option<&str> {
    response.headers().get("x-fal-mock-rule").map(|name| name.to_str().unwrap())
}

#[test]
fn a_timeline_says_how_a_job_goes() {
    let mut world = playing(
        r#"
rules:
  - name: slow
    when: "acme/**"
    timeline:
      positions: [7, 3, 0]
      queue_time: 3s
      run_time: 10s
      logs: [begin, { at: 50%, message: half, level: WARN }, { at: 9s, message: late, source: APP }]
"#,
    );
    let submitted = world.ask(&submit());
    assert_eq!(rule_of(&submitted), Some("slow"));
    assert_eq!(json(&submitted)["queue_position"], 7);
    let id: RequestId = json(&submitted)["request_id"].as_str().unwrap().parse().unwrap();
    let mut positions = Vec::new();
    for _ in 0..3 {
        positions.push(status_of(&mut world, id)["queue_position"].clone());
        world.pass_ms(1000);
    }
    assert_eq!(positions, [7, 3, 0]);
    world.pass_ms(5000);
    let status = status_of(&mut world, id);
    assert_eq!(status["status"], "IN_PROGRESS");
    let logs = status["logs"].as_array().unwrap();
    let told: Vec<_> = logs.iter().map(|log| (&log["message"], &log["level"])).collect();
    assert_eq!(told, [(&"begin".into(), &"INFO".into()), (&"half".into(), &"WARN".into())]);
    world.pass_ms(5000);
    let status = status_of(&mut world, id);
    assert_eq!(
        (&status["status"], &status["metrics"]["inference_time"]),
        (&"COMPLETED".into(), &10.0.into())
    );
    assert_eq!(status["logs"][2]["source"], "APP");
    assert_eq!(rule_of(&result_of(&mut world, id)), Some("slow"));
    assert_eq!(world.model.job(id).unwrap().rule.as_deref(), Some("slow"));
}

#[test]
fn lines_stand_in_the_order_of_their_times_whatever_the_run_takes() {
    let mut world = playing(
        r#"
apps: [{ endpoint: "**", queue_time: 0, run_time: 100s }]
rules: [{ when: "**", timeline: { logs: [{ at: 50%, message: half }, { at: 20s, message: early }] } }]
"#,
    );
    let id = world.submit(&submit());
    world.pass_ms(30_000);
    assert_eq!(status_of(&mut world, id)["logs"][0]["message"], "early");
    world.pass_ms(30_000);
    assert_eq!(status_of(&mut world, id)["logs"][1]["message"], "half");
}

#[test]
fn runners_are_lost_as_planned() {
    let mut world = playing(
        r#"
rules:
  - { name: job, when: { operation: submit }, timeline: { queue_time: 1s, run_time: 5s, requeue: [2s, 3s] } }
  - { name: call, when: { operation: run }, timeline: { run_time: 5s, requeue: 2s } }
"#,
    );
    let id = world.submit(&submit());
    let mut seen = Vec::new();
    for _ in 0..14 {
        world.pass_ms(1000);
        seen.push(match status_of(&mut world, id)["status"].as_str().unwrap() {
            "IN_QUEUE" => 'Q',
            "IN_PROGRESS" => 'R',
            _ => 'C',
        });
    }
    // Queued 1 s, running 2 s, queued 1 s, running 3 s, queued 1 s, running 5 s, completed.
    assert_eq!(seen.into_iter().collect::<String>(), "RRQRRRQRRRRRCC");
    assert_eq!(world.model.job(id).unwrap().attempts, 3);
    let call = world.send(&Call::post("/acme/app", r#"{"prompt":"x"}"#).on(Host::Run));
    world.pass_ms(2000);
    let answer = world.replies.remove(&call).unwrap();
    assert_eq!((answer.status().as_u16(), rule_of(&answer)), (503, Some("call")));
    assert_eq!(json(&answer)["error_type"], "runner_disconnected");
}

#[test]
fn outputs_are_as_a_rule_says() {
    let mut world = playing(
        r#"
rules:
  - when: { endpoint: acme/app/sub, input: { /prompt: a cat } }
    output: { literal: { answer: [1, two] } }
  - when: acme/echo
    output: { template: { said: "{{/say}}", id: "{{request_id}}", n: "{{/n | 3}}" } }
  - when: acme/bad
    error: content_policy_violation
"#,
    );
    let id = world.submit(&submit());
    world.pass_ms(1000);
    assert_eq!(result_of(&mut world, id).body(), r#"{"answer":[1,"two"]}"#);
    // Without a document any input will do.
    let call = world.send(&Call::post("/acme/echo", r#"{"say":"hi"}"#).on(Host::Run));
    world.pass_ms(1000);
    let answer = world.replies.remove(&call).unwrap();
    let id = answer.headers()["x-fal-request-id"].to_str().unwrap();
    assert_eq!(json(&answer), serde_json::json!({"said": "hi", "id": id, "n": 3}));
    let stream = world.send(&Call::post("/acme/echo/stream", r#"{"say":"hi"}"#).on(Host::Run));
    world.pass_ms(1000);
    let (text, ended) = &world.streams[&stream];
    assert!(ended & text.contains("\"said\":\"hi\""), "{text}");
    let id = world.submit(&Call::post("/acme/bad", "{}"));
    world.pass_ms(1000);
    let status = json(&world.get(&format!("/acme/bad/requests/{id}/status")));
    assert_eq!(status["status"], "COMPLETED");
    let result = world.get(&format!("/acme/bad/requests/{id}"));
    assert_eq!(result.status(), 422);
    assert_eq!(json(&result)["detail"][0]["type"], "content_policy_violation");
    let call = world.send(&Call::post("/acme/bad", "{}").on(Host::Run));
    world.pass_ms(1000);
    assert_eq!(world.replies[&call].status(), 422);
}

#[test]
fn files_of_a_template_are_served() {
    let folder = std::env::temp_dir().join(format!("fal-mock-template-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cat.png"), b"not really a picture").unwrap();
    let source = r#"rules: [{ when: "**", output: { template: { image: { url: "{{file:cat.png}}" } }, files: { cat.png: cat.png } } }]"#;
    std::fs::write(folder.join("scenario.yaml"), source).unwrap();
    let scenario = Scenario::load(&folder.join("scenario.yaml")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let mut world = World::new(Config {
        scenario: Some(Arc::new(scenario)),
        instant: true,
        ..Config::default()
    });
    let answer = world.ask(&Call::post("/acme/app", "{}").on(Host::Run));
    let url = json(&answer)["image"]["url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix("https://v3.fal.media").unwrap();
    assert!(path.ends_with("_cat.png"), "{path}");
    let file = world.ask(&Call::get(path).on(Host::Cdn));
    assert_eq!(file.body(), "not really a picture");
    assert_eq!(file.headers()["content-type"], "image/png");
}

#[test]
fn apps_have_their_own_times_and_runners() {
    let mut world =
        playing(r#"apps: [{ endpoint: "acme/app/**", runners: 1, queue_time: 0, run_time: 2s }]"#);
    let first = world.submit(&submit());
    let second = world.submit(&submit());
    let other = world.submit(&Call::post("/acme/other", r#"{"prompt":"x"}"#));
    world.pass_ms(1000);
    assert_eq!(status_of(&mut world, first)["status"], "IN_PROGRESS");
    assert_eq!(status_of(&mut world, second)["status"], "IN_QUEUE");
    assert_eq!(world.model.job(other).unwrap().state, JobState::Succeeded);
    world.pass_ms(1000);
    assert_eq!(status_of(&mut world, second)["status"], "IN_PROGRESS");
    let refused = world.ask(&Call::post("/acme/app/sub", r#"{"prompt":"x"}"#).on(Host::Run));
    assert_eq!(refused.status(), 429);
}

#[test]
fn cold_runners_take_their_time_and_stay_warm_for_a_while() {
    let mut world = playing(
        r#"
apps:
  - { endpoint: "acme/**", runners: 1, cold_start: 20s, keep_alive: 60s, queue_time: 0, run_time: 2s }
"#,
    );
    let first = world.submit(&submit());
    let second = world.submit(&submit());
    world.pass_ms(19_999);
    assert_eq!(status_of(&mut world, first)["status"], "IN_QUEUE");
    world.pass_ms(1);
    assert_eq!(status_of(&mut world, first)["status"], "IN_PROGRESS");
    world.pass_ms(2000);
    // The runner is warm now.
    assert_eq!(status_of(&mut world, second)["status"], "IN_PROGRESS");
    world.pass_ms(2000);
    let run = world.send(&Call::post("/acme/app/sub", r#"{"prompt":"x"}"#).on(Host::Run));
    world.pass_ms(2000);
    assert!(world.replies.contains_key(&run));
    world.pass_ms(61_000);
    let cold = world.send(&Call::post("/acme/app/sub", r#"{"prompt":"x"}"#).on(Host::Run));
    world.pass_ms(21_999);
    assert!(!world.replies.contains_key(&cold));
    world.pass_ms(1);
    assert!(world.replies.contains_key(&cold));
    // Whoever is cancelled while a runner starts for them gives it back.
    world.pass_ms(61_000);
    let third = world.submit(&submit());
    world.pass_ms(5000);
    world.ask(&Call::put(&format!("/acme/app/requests/{third}/cancel")));
    let fourth = world.submit(&submit());
    world.pass_ms(20_000);
    assert_eq!(status_of(&mut world, fourth)["status"], "IN_PROGRESS");
}

#[test]
fn invalid_inputs_do_not_block_a_line_that_waits_for_a_cold_runner() {
    let mut world = playing(
        r#"apps: [{ endpoint: "**", runners: 1, cold_start: 10s, queue_time: 0, run_time: 1s }]"#,
    );
    let bad = world.submit(&Call::post("/acme/app/sub", "[]"));
    let good = world.submit(&submit());
    world.pass_ms(10_000);
    assert_eq!(world.model.job(bad).unwrap().state, JobState::Failed);
    assert_eq!(world.model.job(good).unwrap().state, JobState::Running, "the runner is warm");
}

#[test]
fn isolated_worlds_refuse_what_no_rule_covers() {
    let source = r#"
rules:
  - { name: cat, when: { endpoint: acme/app/sub, input: { /prompt: { contains: dog } } } }
  - { name: run, when: { operation: run } }
"#;
    let mut world = World::new(Config { isolated: true, ..config(source) });
    let refused = world.ask(&submit());
    assert_eq!(refused.status(), 404);
    assert_eq!(
        json(&refused)["detail"],
        "No rule of the scenario covers this submit of acme/app/sub. Nearest: cat: input /prompt is \"a cat\", \
         not something with \"dog\"; run: operation is submit, not run"
    );
    assert_eq!(world.model.counters().submits, 0);
    let call = world.send(&Call::post("/acme/x", r#"{"prompt":"x"}"#).on(Host::Run));
    world.pass_ms(1000);
    assert_eq!(rule_of(&world.replies[&call]), Some("run"));
    let stream = world.ask(&Call::post("/acme/x/stream", "{}").on(Host::Run));
    assert_eq!(stream.status(), 404);
    let view = world.model.play_view().unwrap();
    assert_eq!(view.uncovered.len(), 2);
    assert_eq!(view.uncovered[0].nearest.len(), 2);
    assert_eq!(view.rules[1].decided, 1);
    let mut bare = World::new(Config { isolated: true, ..Config::default() });
    assert_eq!(bare.ask(&submit()).status(), 404);
}

#[test]
fn instant_worlds_wait_only_where_a_rule_says_so() {
    let source = r#"rules: [{ when: acme/slow, timeline: { run_time: 1s } }, { when: acme/quick, output: { literal: 1 } }]"#;
    let mut world = World::new(Config { instant: true, ..config(source) });
    let slow = world.submit(&Call::post("/acme/slow", r#"{"prompt":"x"}"#));
    assert_eq!(world.model.job(slow).unwrap().state, JobState::Running);
    world.pass_ms(1000);
    assert_eq!(world.model.job(slow).unwrap().state, JobState::Succeeded);
    let quick = world.submit(&Call::post("/acme/quick", "{}"));
    assert_eq!(world.get(&format!("/acme/quick/requests/{quick}")).body(), "1");
}

#[test]
fn a_scenario_can_be_changed_in_the_middle() {
    let mut world = playing("rules: [{ when: '**', timeline: { run_time: 10s } }]");
    let first = world.submit(&submit());
    let other =
        Scenario::parse("x", "rules: [{ when: '**', timeline: { run_time: 1s } }]").unwrap();
    world.model.set_scenario(Some(Arc::new(other)));
    let second = world.submit(&submit());
    world.pass_ms(2000);
    assert_eq!(world.model.job(first).unwrap().state, JobState::Running);
    assert_eq!(world.model.job(second).unwrap().state, JobState::Succeeded);
    world.model.set_scenario(None);
    assert_eq!(rule_of(&world.ask(&submit())), None);
    assert_eq!(world.model.play_view(), None);
}
