//! The life of jobs and runs.

use serde_json::json;

use super::*;

#[test]
fn a_job_waits_runs_and_completes() {
    let mut world = World::new(Config::default());
    let submitted = world.ask(&submit());
    let body = json(&submitted);
    assert_eq!(body["status"], "IN_QUEUE");
    assert_eq!(body["queue_position"], 2);
    assert_eq!(body["gateway_request_id"], body["request_id"]);
    let id: RequestId = body["request_id"].as_str().unwrap().parse().unwrap();
    let base = format!("https://queue.fal.run/acme/app/requests/{id}");
    assert_eq!(body["response_url"], base);
    assert_eq!(body["status_url"], format!("{base}/status"));
    assert_eq!(body["cancel_url"], format!("{base}/cancel"));

    let mut positions = Vec::new();
    for _ in 0..4 {
        let (code, status) = world.status(id);
        assert_eq!((code, &status["status"]), (StatusCode::ACCEPTED, &json!("IN_QUEUE")));
        assert_eq!((&status["logs"], &status["metrics"]), (&Value::Null, &json!({})));
        positions.push(status["queue_position"].as_u64().unwrap());
        world.pass_ms(49);
    }
    assert_eq!(positions, [2, 2, 1, 0]);

    world.pass_ms(4);
    let (code, status) = world.status(id);
    assert_eq!((code, &status["status"]), (StatusCode::ACCEPTED, &json!("IN_PROGRESS")));
    assert_eq!(status.get("queue_position"), None);
    assert_eq!(status["logs"].as_array().unwrap().len(), 1);
    assert_eq!(status["logs"][0]["timestamp"], "2027-01-15T08:00:00.200000Z");
    let early = world.result(id);
    assert_eq!(
        (early.status(), json(&early)),
        (StatusCode::BAD_REQUEST, json!({"detail": "Request is still in progress"}))
    );

    world.pass_ms(799);
    assert_eq!(world.status(id).1["status"], "IN_PROGRESS");
    world.pass_ms(1);
    let (code, status) = world.status(id);
    assert_eq!((code, &status["status"]), (StatusCode::OK, &json!("COMPLETED")));
    assert_eq!(status["metrics"], json!({"inference_time": 0.8}));
    assert_eq!(status["logs"].as_array().unwrap().len(), 5);
    assert_eq!(status.get("error"), None);

    let result = world.result(id);
    assert_eq!(result.headers()["x-fal-billable-units"], "1");
    let output = json(&result);
    assert_eq!(output["prompt"], "a cat");
    assert_eq!(
        (&output["images"][0]["width"], &output["images"][0]["height"]),
        (&json!(1024), &json!(768))
    );
    assert_eq!(output["timings"], json!({"inference": 0.8}));
    assert_eq!(output["has_nsfw_concepts"], json!([false]));
    assert_eq!(json(&world.result(id)), output, "a result can be read again");
}

#[test]
fn job_addresses_are_found_in_every_form() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    for (endpoint, prefixes) in [
        ("/acme/app", &["/acme/app", "/acme/app/any/path"][..]),
        ("/acme/a/b/c/d/e/f", &["/acme/a", "/acme/a/b/c/d/e/f"]),
        ("/workflows/acme/flow/x", &["/workflows/acme/flow", "/workflows/acme/flow/x"]),
        ("/comfy/acme/graph", &["/comfy/acme/graph"]),
        ("/12345678-my-app", &["/12345678/my-app", "/12345678-my-app"]),
        ("/bytedance/seedance-2.0--staging/fast/", &["/bytedance/seedance-2.0--staging"]),
        ("/acme/requests", &["/acme/requests"]),
    ] {
        let id = world.submit(&Call::post(endpoint, "{}"));
        for prefix in prefixes {
            for tail in ["", "/", "/response", "/response/"] {
                let response = world.get(&format!("{prefix}/requests/{id}{tail}"));
                assert_eq!(response.status(), StatusCode::OK, "{prefix} {tail}");
                assert!(json(&response)["images"].is_array());
            }
            for tail in ["/status", "/status/"] {
                let response = world.get(&format!("{prefix}/requests/{id}{tail}"));
                assert_eq!(json(&response)["status"], "COMPLETED", "{prefix} {tail}");
            }
        }
        for other in ["/acme/application", "/other/app", "/acme"] {
            let response = world.get(&format!("{other}/requests/{id}/status"));
            assert_eq!(
                (response.status(), json(&response)),
                (StatusCode::NOT_FOUND, json!({"status": "NOT_FOUND"}))
            );
        }
    }
}

#[test]
fn logs_are_given_when_asked_for() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.submit(&submit());
    for (query, given) in [
        ("logs=1", true),
        ("logs=true", true),
        ("logs=TRUE", true),
        ("logs=0", false),
        ("logs=false", false),
        ("logs=2", false),
        ("", false),
    ] {
        let response = world.get(&format!("/acme/app/requests/{id}/status?{query}"));
        assert_eq!(json(&response)["logs"].is_array(), given, "{query}");
    }
}

#[test]
fn a_stream_tells_each_change_once() {
    let mut world = World::new(Config::default());
    let id = world.submit(&submit());
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream?logs=1")));
    world.pass_ms(2000);
    let events: Vec<Value> = world.events(stream).into_iter().map(Option::unwrap).collect();
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            format!(
                "{} {} {}",
                event["status"],
                event["queue_position"],
                event["logs"].as_array().map_or(0, Vec::len)
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "\"IN_QUEUE\" 2 0",
            "\"IN_QUEUE\" 1 0",
            "\"IN_QUEUE\" 0 0",
            "\"IN_PROGRESS\" null 1",
            "\"IN_PROGRESS\" null 1",
            "\"IN_PROGRESS\" null 1",
            "\"IN_PROGRESS\" null 1",
            "\"IN_PROGRESS\" null 1",
            "\"COMPLETED\" null 0",
        ]
    );
    let streamed: Vec<&Value> =
        events.iter().filter_map(|e| e["logs"].as_array()).flatten().collect();
    let polled = world.status(id).1;
    assert_eq!(streamed, polled["logs"].as_array().unwrap().iter().collect::<Vec<_>>());
    assert!(world.streams[&stream].1, "it ends after the last event");

    let late = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream")));
    let events = world.events(late);
    assert_eq!((events.len(), world.streams[&late].1), (1, true));
    assert_eq!(events[0].as_ref().unwrap()["logs"], Value::Null);
}

#[test]
fn a_silent_stream_carries_comments() {
    let config = Config { run_time: Duration::from_secs(3600), ..Config::default() };
    let mut world = World::new(config);
    let id = world.submit(&submit());
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream?logs=0")));
    world.pass(Duration::from_secs(61));
    let pings = world.events(stream).iter().filter(|event| event.is_none()).count();
    assert_eq!(pings, 4, "one every 15 s after the start at 0.2 s");
}

#[test]
fn a_gone_stream_is_forgotten() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let id = world.submit(&submit());
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream")));
    world.model.handle_gone(world.now, stream);
    world.pass_ms(2000);
    assert_eq!(world.events(stream).len(), 1);
    assert_eq!(world.status(id).1["status"], "COMPLETED", "the job goes on");
}

#[test]
fn runners_limit_and_order_is_kept() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let low = world.submit(&submit().with("x-fal-queue-priority", "low"));
    let first = world.submit(&submit());
    let second = world.submit(&submit());
    let other_app = world.submit(&Call::post("/acme/other", "{}"));
    assert_eq!(world.status(low).1["queue_position"], 2);
    assert_eq!(world.status(second).1["queue_position"], 2);
    world.pass_ms(199);
    assert_eq!(world.status(second).1["queue_position"], 1);
    world.pass_ms(1);
    let states = |world: &World| -> Vec<JobState> {
        [low, first, second, other_app]
            .iter()
            .map(|id| world.model.job(*id).unwrap().state)
            .collect()
    };
    use JobState::{Queued, Running, Succeeded};
    // All become ready in the same instant, the low one first: it finds a free runner.
    assert_eq!(states(&world), [Running, Queued, Queued, Running]);
    let late_low = world.submit(&submit().with("x-fal-queue-priority", "LOW"));
    world.pass_ms(800);
    assert_eq!(states(&world), [Succeeded, Running, Queued, Succeeded]);
    world.pass_ms(800);
    assert_eq!(states(&world), [Succeeded, Succeeded, Running, Succeeded]);
    assert_eq!(world.status(late_low).1["queue_position"], 0);
    world.pass_ms(1600);
    assert_eq!(world.status(late_low).1["status"], "COMPLETED");
    assert!(world.model.apps.is_empty(), "idle apps are dropped");
}

#[test]
fn streams_see_the_line_move() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    for _ in 0..3 {
        world.submit(&submit());
    }
    let last = world.submit(&submit());
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{last}/status/stream")));
    world.pass_ms(10_000);
    let positions: Vec<u64> = world
        .events(stream)
        .iter()
        .flatten()
        .filter_map(|event| event["queue_position"].as_u64())
        .collect();
    assert_eq!(positions, [3, 2, 1, 0]);
}

#[test]
fn cancel_in_every_state() {
    let mut world = World::new(Config::default());
    let queued = world.submit(&submit());
    assert_eq!(world.cancel(queued), (StatusCode::OK, json!({"status": "OK", "success": true})));
    assert_eq!(
        world.cancel(queued),
        (StatusCode::BAD_REQUEST, json!({"status": "ALREADY_COMPLETED"}))
    );
    let (code, status) = world.status(queued);
    assert_eq!(
        (code, &status["status"], &status["error_type"]),
        (StatusCode::OK, &json!("COMPLETED"), &json!("client_cancelled"))
    );
    assert_eq!(status["metrics"], json!({}));
    let result = world.result(queued);
    assert_eq!(
        (result.status().as_u16(), &result.headers()["x-fal-error-type"]),
        (499, &HeaderValue::from_static("client_cancelled"))
    );

    let running = world.submit(&submit());
    world.pass_ms(300);
    let asked =
        (StatusCode::ACCEPTED, json!({"status": "CANCELLATION_REQUESTED", "success": true}));
    assert_eq!(world.cancel(running), asked);
    assert_eq!(world.status(running).1["status"], "IN_PROGRESS");
    assert!(world.model.job(running).unwrap().cancel_asked);
    world.pass_ms(49);
    assert_eq!(world.cancel(running), asked);
    world.pass_ms(1);
    assert_eq!(world.result(running).status().as_u16(), 499);

    let nearly_done = world.submit(&submit());
    world.pass_ms(960);
    assert_eq!(world.cancel(nearly_done), asked);
    world.pass_ms(100);
    assert_eq!(world.result(nearly_done).status(), StatusCode::OK, "it finished first");

    let unknown = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    assert_eq!(world.cancel(unknown), (StatusCode::NOT_FOUND, json!({"status": "NOT_FOUND"})));
    assert_eq!(world.model.counters().cancels, 4);
}

#[test]
fn invalid_inputs_are_queued_and_fail_when_they_run() {
    let mut world = World::new(Config::default());
    let call = Call::post("/fal-ai/controlnet-ip-adapter", r#"{"prompt":1,"seed":"x"}"#);
    let id = world.submit(&call);
    let at = format!("/fal-ai/controlnet-ip-adapter/requests/{id}");
    assert_eq!(json(&world.get(&format!("{at}/status")))["status"], "IN_QUEUE");
    world.pass_ms(200);
    let status = world.get(&format!("{at}/status"));
    assert_eq!((status.status(), &json(&status)["status"]), (StatusCode::OK, &json!("COMPLETED")));
    assert_eq!(json(&status)["error"], "prompt: Input should be a valid string (and 4 more)");
    assert_eq!(json(&status).get("error_type"), None);
    let result = world.get(&at);
    assert_eq!(result.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(result.headers()["x-fal-billable-units"], "0");
    assert_eq!(json(&result)["detail"].as_array().unwrap().len(), 5);

    let run = world.ask(&call.on(Host::Run));
    assert_eq!((run.status(), json(&run)), (StatusCode::UNPROCESSABLE_ENTITY, json(&result)));
}

#[test]
fn controlnet_gives_whole_images() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let input = r#"{"prompt":"p","reference_image_url":"","reference_pose_image_url":"","ip_archive_url":"","seed":42}"#;
    let run = world.ask(&Call::post("/fal-ai/controlnet-ip-adapter", input).on(Host::Run));
    let output = json(&run);
    assert_eq!(output["seed"], 42);
    assert!(output["timings"].is_object());
    let image = output["images"][0].as_object().unwrap();
    let names: Vec<&str> = image.keys().map(String::as_str).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    let url = image["url"].as_str().unwrap().strip_prefix("https://v3.fal.media").unwrap();
    assert!(url.ends_with(image["file_name"].as_str().unwrap()));
    let file = world.ask(&Call::get(url).on(Host::Cdn));
    assert_eq!(file.body().len() as u64, image["file_size"].as_u64().unwrap());
    assert_eq!(file.headers()["content-type"], image["content_type"].as_str().unwrap());
    let info =
        png::Decoder::new(std::io::Cursor::new(file.body())).read_info().unwrap().info().clone();
    assert_eq!(
        (u64::from(info.width), u64::from(info.height)),
        (image["width"].as_u64().unwrap(), image["height"].as_u64().unwrap())
    );
}

#[test]
fn start_timeout_ends_what_has_not_started() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let running = world.submit(&submit().with("x-fal-request-start-timeout", "0.5"));
    let late = world.submit(
        &submit().with("x-fal-request-timeout", "1.1").with("x-fal-request-start-timeout", "0.5"),
    );
    let old = world.submit(&submit().with("x-fal-request-timeout", "2.5"));
    world.pass_ms(499);
    assert_eq!(world.status(late).1["status"], "IN_QUEUE");
    world.pass_ms(1);
    let status = world.status(late).1;
    assert_eq!(
        (&status["status"], &status["error_type"]),
        (&json!("COMPLETED"), &json!("request_timeout"))
    );
    let result = world.result(late);
    assert_eq!(result.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(result.headers()["x-fal-request-timeout-type"], "user");
    assert_eq!(json(&result)["error_type"], "request_timeout");
    world.pass_ms(2000);
    assert_eq!(world.result(running).status(), StatusCode::OK);
    assert_eq!(world.result(old).status(), StatusCode::OK);
}

#[test]
fn start_timeouts_are_checked() {
    let mut world = World::new(Config::default());
    for (value, good) in [
        ("0.11", true),
        ("30", true),
        ("30.0", true),
        (" 2.5 ", true),
        ("0.1", false),
        ("0", false),
        ("-1", false),
        ("1e3", false),
        ("x", false),
        ("inf", false),
        ("NaN", false),
    ] {
        let response = world.ask(&submit().with("x-fal-request-start-timeout", value));
        assert_eq!(response.status() == StatusCode::OK, good, "{value}");
        if !good {
            assert_eq!(
                (response.status(), &json(&response)["error_type"]),
                (StatusCode::BAD_REQUEST, &json!("bad_request"))
            );
        }
    }
}

#[test]
fn planned_failures_are_replayed() {
    let mut world = World::new(Config::default());
    let header = HeaderName::from_static("x-fal-needs-retry");
    let failure = Failure::request_error(
        StatusCode::SERVICE_UNAVAILABLE,
        "runner_disconnected",
        "The runner is gone",
    )
    .with_header(header, HeaderValue::from_static("1"));
    world.control(Control::FailNext(failure.clone()));
    let id = world.submit(&submit());
    let good = world.submit(&submit());
    world.pass_ms(1000);
    let status = world.status(id);
    assert_eq!((status.0, &status.1["error"]), (StatusCode::OK, &json!("The runner is gone")));
    let result = world.result(id);
    assert_eq!((result.status(), result.body()), (StatusCode::SERVICE_UNAVAILABLE, &failure.body));
    assert_eq!(result.headers()["x-fal-needs-retry"], "1");
    assert_eq!(result.headers()["x-fal-request-id"], id.to_string().as_str());
    assert_eq!(world.result(good).status(), StatusCode::OK);

    let now = world.submit(&submit());
    assert!(world.control(Control::Fail { request_id: now, failure: failure.clone() }));
    assert_eq!(world.result(now).status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        !world.control(Control::Fail { request_id: now, failure: failure.clone() }),
        "it has ended already"
    );

    world.control(Control::FailNext(failure));
    let run = world.send(&submit().on(Host::Run));
    world.pass_ms(800);
    assert_eq!(world.replies[&run].status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn controls_move_jobs() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let id = world.submit(&submit());
    assert!(!world.control(Control::Requeue { request_id: id }), "it does not run");
    world.pass_ms(300);
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream?logs=1")));
    assert!(world.control(Control::Requeue { request_id: id }));
    let (_, status) = world.status(id);
    assert_eq!(
        (&status["status"], status["logs"].as_array().unwrap().len()),
        (&json!("IN_QUEUE"), 1)
    );
    world.pass_ms(1000);
    let (_, status) = world.status(id);
    assert_eq!(
        (&status["status"], status["logs"].as_array().unwrap().len()),
        (&json!("COMPLETED"), 6)
    );
    assert_eq!(world.model.job(id).unwrap().attempts, 2);
    let states: Vec<String> =
        world.events(stream).iter().flatten().map(|e| e["status"].to_string()).collect();
    assert_eq!(
        (states[0].as_str(), states[1].as_str(), states.last().unwrap().as_str()),
        ("\"IN_PROGRESS\"", "\"IN_QUEUE\"", "\"COMPLETED\"")
    );

    for _ in 0..2 {
        let id = world.submit(&submit());
        assert!(world.control(Control::Finish { request_id: id }));
        assert_eq!(world.result(id).status(), StatusCode::OK);
        assert!(!world.control(Control::Finish { request_id: id }));
    }
    let running = world.submit(&submit());
    world.pass_ms(300);
    assert!(world.control(Control::Finish { request_id: running }));
    assert_eq!(world.status(running).1["metrics"], json!({"inference_time": 0.1}));
    assert!(world.model.apps.is_empty());
}

#[test]
fn a_restart_cuts_connections_and_keeps_jobs() {
    let mut world = World::new(Config::default());
    let id = world.submit(&submit());
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream")));
    let run = world.send(&submit().on(Host::Run));
    world.control(Control::Restart);
    assert_eq!(world.cut, [stream, run]);
    world.pass_ms(1000);
    assert!(!world.replies.contains_key(&run));
    assert_eq!(world.result(id).status(), StatusCode::OK);
}

#[test]
fn runs_take_their_time_and_end_with_their_caller() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let run = world.send(&submit().on(Host::Run));
    let busy = world.ask(&submit().on(Host::Run));
    assert_eq!(busy.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(busy.headers()["x-fal-needs-retry"], "1");
    assert_eq!(json(&busy)["detail"][0]["type"], "concurrent_requests_limit");
    world.pass_ms(799);
    assert!(!world.replies.contains_key(&run));
    world.pass_ms(1);
    let answer = world.replies.remove(&run).unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["x-fal-billable-units"]),
        (StatusCode::OK, &HeaderValue::from_static("1"))
    );
    assert!(answer.headers().contains_key("x-fal-request-id"));

    let gone = world.send(&submit().on(Host::Run));
    world.model.handle_gone(world.now, gone);
    let next = world.send(&submit().on(Host::Run));
    world.pass_ms(800);
    assert!(!world.replies.contains_key(&gone) && world.replies.contains_key(&next));
    assert_eq!(world.model.counters().runs_abandoned, 1);
}

#[test]
fn runs_take_their_input_from_the_query_without_a_body() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let run = world.ask(&Call::get("/acme/app?prompt=a+cat&num_images=2&seed=7").on(Host::Run));
    let output = json(&run);
    assert_eq!(
        (&output["prompt"], &output["seed"], output["images"].as_array().unwrap().len()),
        (&json!("a cat"), &json!(7), 2)
    );
    let bad = world.ask(&Call::get("/acme/app?num_images=9").on(Host::Run));
    assert_eq!(json(&bad)["detail"][0]["ctx"], json!({"le": 4}));
}

#[test]
fn instant_jobs_complete_in_the_submit() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.submit(&submit());
    let (code, status) = world.status(id);
    assert_eq!((code, &status["status"]), (StatusCode::OK, &json!("COMPLETED")));
    assert_eq!(world.result(id).status(), StatusCode::OK);
}

#[test]
fn answers_follow_from_seed_and_input() {
    let output = |seed, body: &str| {
        let mut world = World::new(Config { seed, instant: true, ..Config::default() });
        json(&world.ask(&Call::post("/acme/app", body).on(Host::Run)))
    };
    assert_eq!(output(1, "{}"), output(1, "{}"));
    assert_ne!(output(1, "{}")["seed"], output(2, "{}")["seed"]);
    assert_ne!(output(1, "{}")["images"], output(1, r#"{"prompt":"x"}"#)["images"]);
    for (input, width, height) in [
        (json!({"image_size": "square"}), 512, 512),
        (json!({"image_size": "portrait_16_9"}), 576, 1024),
        (json!({"image_size": {"width": 300, "height": 200}}), 300, 200),
        (json!({"image_size": {"height": 200}}), 512, 200),
    ] {
        let image = output(1, &input.to_string())["images"][0].clone();
        assert_eq!((&image["width"], &image["height"]), (&json!(width), &json!(height)));
    }
}
