//! Access, refusals, and both sides of every limit.

use serde_json::json;

use super::*;

#[test]
fn calls_without_a_good_key_are_refused() {
    let mut world = World::new(Config {
        keys: vec!["id:secret".to_owned()],
        instant: true,
        ..Config::default()
    });
    let id = world.submit(&submit());
    let status = format!("/acme/app/requests/{id}/status");
    let refused = |world: &mut World, call: Call<'_>, text: &str| {
        let response = world.ask(&call);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{call:?}");
        let detail = json(&response)["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(text), "{detail}");
        assert!(response.headers().contains_key("x-fal-request-id"));
    };
    for call in [submit(), submit().on(Host::Run), Call::get(&status)] {
        refused(
            &mut world,
            call.clone().with("authorization", ""),
            "Cannot access application \"acme/app\"",
        );
        refused(
            &mut world,
            call.clone().with("authorization", "Key x"),
            "Invalid Key Authorization",
        );
        refused(&mut world, call.clone().with("authorization", "Key a:b"), "No user found");
    }
    let initiate = Call::post("/storage/upload/initiate", "{}").on(Host::Rest);
    refused(&mut world, initiate.with("authorization", ""), "Authorization header is required");

    // What nobody knows is not found without a key, and refused with a bad one.
    let unknown = Call::get("/acme/app/requests/00000000-0000-4000-8000-000000000000/status");
    assert_eq!(
        world.ask(&unknown.clone().with("authorization", "")).status(),
        StatusCode::NOT_FOUND
    );
    refused(&mut world, unknown.with("authorization", "Key a:b"), "No user found");
}

#[test]
fn public_models_need_no_key() {
    let config =
        Config { public_models: vec!["acme/app".to_owned()], instant: true, ..Config::default() };
    let mut world = World::new(config);
    let id = world.submit(&submit().with("authorization", ""));
    let status = format!("/acme/app/requests/{id}/status");
    assert_eq!(world.ask(&Call::get(&status).with("authorization", "")).status(), StatusCode::OK);
    let other = Call::post("/acme/private", "{}").with("authorization", "");
    assert_eq!(world.ask(&other).status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn methods_and_paths_are_checked() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.submit(&submit());
    let job = format!("/acme/app/requests/{id}");
    for (call, allow) in [
        (Call::get("/acme/app"), "POST"),
        (Call::put(&format!("{job}/status")), "GET"),
        (Call::post(&format!("{job}/status/stream"), ""), "GET"),
        (Call::post(&job, ""), "GET"),
        (Call::get(&format!("{job}/cancel")), "PUT"),
        (Call::get("/storage/upload/initiate").on(Host::Rest), "POST"),
        (Call::get("/storage/upload/initiate-multipart").on(Host::Rest), "POST"),
        (Call::get("/storage/auth/token").on(Host::Rest), "POST"),
        (Call::get("/storage/upload/multipart/x").on(Host::Rest), "POST"),
        (Call::get("/files/upload").on(Host::Cdn), "POST, OPTIONS"),
        (Call::put("/files/upload/multipart").on(Host::Cdn), "POST, OPTIONS"),
    ] {
        let response = world.ask(&call);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{call:?}");
        assert_eq!(response.headers()["allow"], allow);
    }
    let tail = format!("{job}/nothing");
    for call in [
        Call::get(&tail),
        Call::post("/single", "{}"),
        Call::post("/a//b", "{}"),
        Call::post("/acme/app/requests", "{}"),
        Call::get("/single").on(Host::Run),
    ] {
        assert_eq!(world.ask(&call).status(), StatusCode::NOT_FOUND, "{call:?}");
    }
    for call in [
        Call::post("/storage/upload/complete-multipart", "{}").on(Host::Rest),
        Call::post("/workflows/", "{}").on(Host::Rest),
    ] {
        let response = world.ask(&call);
        assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED, "{call:?}");
        assert!(
            json(&response)["detail"].as_str().unwrap().starts_with("fal-mock does not emulate")
        );
    }
}

#[test]
fn the_queue_may_be_required_to_be_short() {
    let mut world = World::new(Config::default());
    let bounded = |max| Call::post(max, "{}");
    let id = world.submit(&bounded("/acme/app?fal_max_queue_length=0"));
    assert_eq!(
        world.ask(&bounded("/acme/app?fal_max_queue_length=0")).status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    world.submit(&bounded("/acme/app?fal_max_queue_length=1"));
    assert_eq!(
        world.ask(&bounded("/acme/app/x?fal_max_queue_length=1")).status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    world.submit(&bounded("/acme/other?fal_max_queue_length=0"));
    assert_eq!(
        world.ask(&bounded("/acme/app?fal_max_queue_length=x")).status(),
        StatusCode::BAD_REQUEST
    );
    world.pass_ms(200);
    assert_eq!(world.status(id).1["status"], "IN_PROGRESS");
    world.submit(&bounded("/acme/app?fal_max_queue_length=0"));
}

#[test]
fn results_are_kept_for_their_time() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let small = world.submit(&submit());
    let body = json!({"prompt": "x".repeat(LARGE_RESULT_BYTES_MIN)}).to_string();
    let large = world.submit(&Call::post("/acme/app", &body));
    world.pass(RETENTION_LARGE - Duration::from_millis(1));
    assert_eq!(world.result(large).status(), StatusCode::OK);
    world.pass_ms(1);
    let gone = world.result(large);
    assert_eq!(
        (gone.status(), json(&gone)),
        (StatusCode::NOT_FOUND, json!({"status": "NOT_FOUND"}))
    );
    assert_eq!(world.status(small).0, StatusCode::OK);
    world.pass(RETENTION - RETENTION_LARGE - Duration::from_millis(1));
    assert_eq!(world.status(small).0, StatusCode::OK);
    world.pass_ms(1);
    assert_eq!(
        world.get(&format!("/acme/app/requests/{small}/status")).status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(world.model.jobs.bytes(), 0);
}

#[test]
fn the_oldest_finished_job_makes_room() {
    let mut world = World::new(Config { jobs_max: 3, ..Config::default() });
    let unfinished = world.submit(&submit());
    let stream = world.send(&Call::get(&format!("/acme/app/requests/{unfinished}/status/stream")));
    let first = world.submit(&submit());
    world.control(Control::Finish { request_id: first });
    let second = world.submit(&submit());
    world.control(Control::Finish { request_id: second });
    assert_eq!(world.model.jobs().len(), 3, "as many as fit");
    let third = world.submit(&submit());
    let ids =
        |world: &World| world.model.jobs().iter().map(|job| job.request_id).collect::<Vec<_>>();
    assert_eq!(ids(&world), [unfinished, second, third]);
    let fourth = world.submit(&submit());
    assert_eq!(ids(&world), [unfinished, third, fourth]);
    let fifth = world.submit(&submit());
    assert_eq!(ids(&world), [third, fourth, fifth], "then the oldest of all");
    assert_eq!(world.cut, [stream]);
    assert_eq!(world.model.counters().evicted, 3);
    world.pass_ms(1000);
    assert!(world.model.apps.is_empty());
}

#[test]
fn bytes_are_bounded() {
    let one = {
        let mut world = World::new(Config { instant: true, ..Config::default() });
        world.submit(&submit());
        world.model.stored_bytes()
    };
    for (room, kept) in [(3 * one, 3), (3 * one - 1, 2)] {
        let mut world =
            World::new(Config { instant: true, store_bytes_max: room, ..Config::default() });
        for _ in 0..3 {
            world.submit(&submit());
        }
        assert_eq!(world.model.jobs().len(), kept);
        assert!(world.model.stored_bytes() <= room);
    }
    // A picture that is larger than the store is served and not kept.
    let mut world =
        World::new(Config { instant: true, store_bytes_max: 4 * one, ..Config::default() });
    let output = json(&world.ask(&submit().on(Host::Run)));
    let url = output["images"][0]["url"]
        .as_str()
        .unwrap()
        .strip_prefix("https://v3.fal.media")
        .unwrap()
        .to_owned();
    assert_eq!(world.ask(&Call::get(&url).on(Host::Cdn)).status(), StatusCode::OK);
    assert_eq!(world.ask(&Call::get(&url).on(Host::Cdn)).status(), StatusCode::NOT_FOUND);
    assert_eq!(world.model.file_count(), 0);
}

#[test]
fn open_exchanges_are_bounded() {
    let mut world = World::new(Config { exchanges_max: 2, ..Config::default() });
    let id = world.submit(&submit());
    let stream = format!("/acme/app/requests/{id}/status/stream");
    world.send(&Call::get(&stream));
    world.send(&submit().on(Host::Run));
    assert_eq!(world.ask(&Call::get(&stream)).status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.ask(&submit().on(Host::Run)).status(), StatusCode::TOO_MANY_REQUESTS);
    world.pass_ms(2000);
    assert_eq!(world.streams.len(), 1);
    world.send(&submit().on(Host::Run));
}

#[test]
fn attempts_are_bounded() {
    let mut world = World::new(Config::default());
    let id = world.submit(&submit());
    for attempt in 1..=ATTEMPTS_MAX {
        world.pass_ms(200);
        assert_eq!(world.control(Control::Requeue { request_id: id }), attempt < ATTEMPTS_MAX);
    }
    world.pass_ms(800);
    assert_eq!(world.model.job(id).unwrap().attempts, ATTEMPTS_MAX);
}

#[test]
fn stale_plans_are_swept() {
    let mut world = World::new(Config { jobs_max: 10, ..Config::default() });
    for _ in 0..3000 {
        let id = world.submit(&submit().with("x-fal-request-start-timeout", "100000"));
        world.control(Control::Finish { request_id: id });
    }
    assert!(world.model.due.len() < 2 * DUE_SWEEP_MIN, "{}", world.model.due.len());
}

#[test]
fn endless_times_are_cut() {
    let endless = Duration::MAX;
    let config = Config {
        queue_time: endless,
        run_time: endless,
        retention: endless,
        ping_interval: Duration::ZERO,
        ..Config::default()
    };
    let mut world = World::new(config);
    let id = world.submit(&submit());
    world.send(&Call::get(&format!("/acme/app/requests/{id}/status/stream")));
    world.pass_ms(50);
    assert!(world.control(Control::Finish { request_id: id }));
}
