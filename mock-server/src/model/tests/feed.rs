//! Model streams: text that grows, pictures that become clear, and how they break off.

use serde_json::json;

use super::*;

#[test]
fn text_grows_until_it_is_whole() {
    let mut world = World::new(Config::default());
    let stream = world.send(&stream_of("/acme/any-llm/stream"));
    assert!(world.events(stream).is_empty(), "nothing is ready before its time");
    world.pass_ms(400);
    let half = world.events(stream).len();
    world.pass_ms(400);
    let events: Vec<Value> = world.events(stream).into_iter().flatten().collect();
    assert!(half > 2 && half < events.len() && events.len() <= 64, "{half} of {}", events.len());
    let (last, drafts) = events.split_last().unwrap();
    let mut before = "";
    for event in drafts {
        assert_eq!((&event["partial"], &event["error"]), (&json!(true), &Value::Null));
        let text = event["output"].as_str().unwrap();
        assert!(text.starts_with(before) && text.len() > before.len(), "{before:?}, {text:?}");
        before = text;
    }
    assert_eq!(last["partial"], false);
    assert!(last["output"].as_str().unwrap().contains("“a cat”"), "{last}");
    assert!(world.streams[&stream].1, "it ends with its last event");
    assert_eq!(world.until, None);
    assert_eq!(world.model.counters().model_streams, 1);
}

#[test]
fn pictures_end_in_what_a_run_gives() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let run = world.ask(&Call::post("/acme/app", INPUT).on(Host::Run));
    let stream = world.send(&stream_of("/acme/app/stream"));
    let events: Vec<Value> = world.events(stream).into_iter().flatten().collect();
    assert_eq!(events.len(), 4);
    assert_eq!(events[3], json(&run));
    let mut urls: Vec<&str> =
        events.iter().map(|event| event["images"][0]["url"].as_str().unwrap()).collect();
    urls.dedup();
    assert_eq!(urls.len(), 4, "every draft has a picture of its own");
    let path = urls[0].strip_prefix("https://v3.fal.media").unwrap();
    assert_eq!(world.ask(&Call::get(path).on(Host::Cdn)).status(), StatusCode::OK);
}

#[test]
fn silence_is_broken_by_comments() {
    let run_time = Duration::from_secs(400);
    let mut world = World::new(Config { run_time, ..Config::default() });
    let stream = world.send(&stream_of("/acme/app/stream"));
    world.pass(Duration::from_secs(99));
    assert_eq!(world.events(stream), [None, None, None, None, None, None]);
    world.pass(Duration::from_secs(2));
    assert!(world.events(stream)[6].is_some());
}

#[test]
fn failures_before_the_first_byte_are_plain_answers() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let bad = Call::post("/acme/app/stream", r#"{"seed":"x"}"#).on(Host::Run);
    let response = world.ask(&bad);
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(json(&response)["detail"][0]["loc"], json!(["body", "seed"]));
    assert!(response.headers().contains_key("x-fal-request-id"));

    let failure = Failure::request_error(StatusCode::BAD_GATEWAY, "runner_server_error", "no");
    world.control(Control::FailNext(failure));
    assert_eq!(world.ask(&stream_of("/acme/app/stream")).status(), StatusCode::BAD_GATEWAY);

    let twice = Call::post("/acme/app/stream/stream", INPUT).on(Host::Run);
    assert_eq!(world.ask(&twice).status(), StatusCode::NOT_FOUND);
    let keyless = stream_of("/acme/app/stream").with("authorization", "");
    assert_eq!(world.ask(&keyless).status(), StatusCode::UNAUTHORIZED);

    world.send(&stream_of("/acme/app/stream"));
    assert_eq!(world.ask(&stream_of("/acme/app/stream")).status(), StatusCode::TOO_MANY_REQUESTS);
    world.pass_ms(800);
    let free = world.send(&stream_of("/acme/app/stream"));
    assert!(world.streams.contains_key(&free), "the runner is free again");
}

#[test]
fn streams_break_off_as_the_test_says() {
    let mut world = World::new(Config::default());
    world.control(Control::BreakNextStream(StreamFailure::Cut));
    let data = Bytes::from_static(br#"{"error":"out of memory"}"#);
    world.control(Control::BreakNextStream(StreamFailure::Event(data)));
    let cut = world.send(&stream_of("/acme/app/stream"));
    let told = world.send(&stream_of("/acme/app/stream"));
    let well = world.send(&stream_of("/acme/app/stream"));
    world.pass_ms(800);
    assert_eq!((world.events(cut).len(), &world.cut[..]), (2, &[cut][..]));
    assert!(!world.streams[&cut].1);
    let last = world.events(told).pop().flatten();
    assert_eq!((world.events(told).len(), last), (3, Some(json!({"error": "out of memory"}))));
    assert!(world.streams[&told].1);
    assert_eq!(world.events(well).len(), 4);
}

#[test]
fn whoever_goes_away_frees_the_runner() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let stream = world.send(&stream_of("/acme/app/stream"));
    world.model.handle_gone(world.now, stream);
    world.drain();
    assert_eq!(world.model.counters().model_streams_abandoned, 1);
    let next = world.send(&stream_of("/acme/app/stream"));
    world.control(Control::Restart);
    assert_eq!(world.cut, [next]);
    let last = world.send(&stream_of("/acme/app/stream"));
    world.pass_ms(800);
    assert_eq!(world.events(last).len(), 4);
    assert_eq!(world.events(stream).len(), 0);
}

/// Bytes of a stream so far, of any kind.
fn raw(world: &World, exchange: u64) -> Vec<u8> {
    world.raw[&exchange].concat()
}

#[test]
fn sounds_come_in_chunks_of_raw_bytes() {
    let run_time = Duration::from_secs(80);
    let mut world = World::new(Config { run_time, ..Config::default() });
    let stream = world.send(&stream_of("/fal-ai/maya/stream"));
    assert_eq!(world.heads[&stream]["content-type"], "audio/wav");
    assert!(world.heads[&stream].contains_key("x-fal-request-id"));
    world.pass(Duration::from_secs(79));
    let most = raw(&world, stream);
    assert_eq!(world.raw[&stream].len(), 7, "no comment is among them");
    world.pass(Duration::from_secs(1));
    let whole = raw(&world, stream);
    assert!(whole.starts_with(&most) && whole.len() == 32_044 && whole.starts_with(b"RIFF"));
    assert!(world.streams[&stream].1);

    let mp3 = Call::post("/acme/tts/stream", r#"{"output_format":"mp3"}"#).on(Host::Run);
    let stream = world.send(&mp3);
    assert_eq!(world.heads[&stream]["content-type"], "audio/mpeg");

    // It fails as other streams do.
    let failure = || Failure::model_error(StatusCode::BAD_REQUEST, "file_too_large", "no");
    world.control(Control::FailNext(failure()));
    assert_eq!(world.ask(&stream_of("/acme/tts/stream")).status(), StatusCode::BAD_REQUEST);
    for (how, end) in [
        (StreamFailure::Cut, None),
        (StreamFailure::Failed(failure()), None),
        (StreamFailure::Event(Bytes::from_static(b"oops")), Some(&b"oops"[..])),
    ] {
        world.control(Control::BreakNextStream(how));
        let stream = world.send(&stream_of("/acme/tts/stream"));
        world.pass(run_time);
        assert_eq!(world.raw[&stream].len(), 4 + usize::from(end.is_some()));
        assert_eq!(
            (world.cut.last() == Some(&stream), world.streams[&stream].1),
            (end.is_none(), end.is_some())
        );
        assert!(end.is_none_or(|end| raw(&world, stream).ends_with(end)));
    }
}

#[test]
fn workflows_tell_their_steps() {
    let mut world = World::new(Config::default());
    let stream = world.send(&stream_of("/workflows/acme/flow/stream"));
    world.pass_ms(800);
    let events: Vec<Value> = world.events(stream).into_iter().flatten().collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["submit", "completion", "submit", "completion", "output"]);
    assert_eq!(
        (&events[0]["node_id"], &events[0]["app_id"]),
        (&events[1]["node_id"], &json!("fal-ai/any-llm"))
    );
    assert!(events[0]["request_id"].as_str().unwrap().parse::<RequestId>().is_ok());
    assert_ne!(events[0]["request_id"], events[2]["request_id"]);
    assert_eq!(events[1]["output"]["output"], "a cat, in detail");
    assert_eq!(events[3]["output"], events[4]["output"]);
    let url = events[4]["output"]["images"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix("https://v3.fal.media").unwrap();
    assert_eq!(world.ask(&Call::get(path).on(Host::Cdn)).status(), StatusCode::OK);
    assert!(world.streams[&stream].1);

    let failure = Failure::model_error(StatusCode::UNPROCESSABLE_ENTITY, "value_error", "too blue");
    world.control(Control::BreakNextStream(StreamFailure::Failed(failure.clone())));
    world.control(Control::BreakNextStream(StreamFailure::Failed(failure)));
    let stream = world.send(&stream_of("/workflows/acme/flow/stream"));
    let other = world.send(&stream_of("/acme/app/stream"));
    world.pass_ms(800);
    let events: Vec<Value> = world.events(stream).into_iter().flatten().collect();
    let last = events.last().unwrap();
    assert_eq!(
        (events.len(), &last["type"], &last["message"]),
        (4, &json!("error"), &json!("too blue"))
    );
    assert_eq!((&last["node_id"], &last["error"]["status"]), (&events[2]["node_id"], &json!(422)));
    assert_eq!(last["error"]["body"]["detail"][0]["type"], "value_error");
    let last = world.events(other).pop().flatten().unwrap();
    assert_eq!(last["error"]["detail"][0]["msg"], "too blue");
    assert!(world.streams[&stream].1 && world.streams[&other].1);
}

fn stream_of(target: &str) -> Call<'_> {
    Call::post(target, INPUT).on(Host::Run)
}

const INPUT: &str = r#"{"prompt":"a cat"}"#;
