//! Sessions: tokens, modes, times, ends.

use rmp::encode::{write_map_len, write_str};
use serde_json::json;

use super::*;

const ID: &str = "/acme/app/realtime";

/// A configuration with these settings of sessions.
fn with(change: impl FnOnce(&mut RealtimeConfig)) -> Config {
    let mut config = Config::default();
    change(&mut config.realtime);
    config
}

/// An input in MessagePack, of texts only.
fn input(fields: &[(&str, &str)]) -> Frame {
    let mut bytes = Vec::new();
    write_map_len(&mut bytes, u32::try_from(fields.len()).unwrap()).unwrap();
    for (name, value) in fields {
        write_str(&mut bytes, name).unwrap();
        write_str(&mut bytes, value).unwrap();
    }
    Frame::Binary(bytes.into())
}

fn prompt(text: &str) -> Frame {
    input(&[("prompt", text), ("request_id", text)])
}

impl World {
    /// Opens a session with a key.
    #[track_caller]
    fn session(&mut self, target: &str) -> u64 {
        let id = self.upgrade(&Call::get(target).on(Host::Run));
        assert!(self.said.contains_key(&id), "{:?}", self.replies.get(&id));
        id
    }

    fn hear(&mut self, id: u64, frame: Frame) {
        self.model.handle_frame(self.now, id, frame);
        self.drain();
    }

    /// The texts that were said, in order; binary messages by their request id, a close by its code.
    fn story(&self, id: u64) -> Vec<String> {
        let word = |said: &Said| match said {
            Said::Frame(Frame::Text(text)) => text.clone(),
            Said::Frame(Frame::Binary(bytes)) => {
                let output = decode(bytes);
                output["request_id"].as_str().unwrap_or("output").to_owned()
            }
            Said::Frame(Frame::Close(code)) | Said::Close(code) => format!("{code:?}"),
        };
        self.said[&id].iter().map(word).collect()
    }

    fn token(&mut self, body: &str) -> String {
        let call = Call::post("/tokens/", body).on(Host::Rest);
        let token = json(&self.ask(&call));
        token.as_str().expect("a JSON string").to_owned()
    }
}

/// Reads MessagePack with the reader of the library, so that ours does not agree with itself; bytes become
/// their length.
fn decode(bytes: &[u8]) -> Value {
    fn value(rest: &mut &[u8]) -> Value {
        use rmp::decode as d;
        let marker = rmp::Marker::from_u8(rest[0]);
        match marker {
            rmp::Marker::FixMap(_) | rmp::Marker::Map16 => {
                let len = d::read_map_len(rest).unwrap();
                (0..len)
                    .map(|_| {
                        let Value::String(key) = value(rest) else { panic!("a text as key") };
                        (key, value(rest))
                    })
                    .collect()
            }
            rmp::Marker::FixArray(_) => {
                let len = d::read_array_len(rest).unwrap();
                (0..len).map(|_| value(rest)).collect()
            }
            rmp::Marker::Bin8 | rmp::Marker::Bin16 | rmp::Marker::Bin32 => {
                let len = d::read_bin_len(rest).unwrap() as usize;
                assert_eq!(&rest[1..4], b"PNG");
                *rest = &rest[len..];
                len.into()
            }
            rmp::Marker::True | rmp::Marker::False => d::read_bool(rest).unwrap().into(),
            rmp::Marker::Null => {
                d::read_nil(rest).unwrap();
                Value::Null
            }
            rmp::Marker::F64 => d::read_f64(rest).unwrap().into(),
            rmp::Marker::FixStr(_) | rmp::Marker::Str8 | rmp::Marker::Str16 => {
                let (text, after) = d::read_str_from_slice(*rest).unwrap();
                let text = text.to_owned();
                *rest = after;
                text.into()
            }
            _ => d::read_int::<i64, _>(rest).unwrap().into(),
        }
    }
    let mut rest = bytes;
    let found = value(&mut rest);
    assert!(rest.is_empty(), "one value fills the message");
    found
}

const END: &str =
    r#"{"type":"x-fal-error","error":"TIMEOUT","reason":"no inputs, reconnect when needed!"}"#;
const UNAUTHORIZED: &str = r#"{"status":"error","error":"Unauthorized"}"#;
const NORMAL: &str = "Some(1000)";

#[test]
fn each_input_has_its_output_in_order_and_silence_ends_it() {
    let mut world = World::new(Config::default());
    let id = world.session(ID);
    world.hear(id, prompt("a"));
    world.hear(id, prompt("b"));
    world.pass_ms(49);
    assert!(world.story(id).is_empty(), "nothing comes before its time");
    world.pass_ms(51);
    assert_eq!(world.story(id), ["a", "b"]);
    world.pass_ms(9_899);
    assert_eq!(world.story(id), ["a", "b"]);
    let view = &world.model.sessions()[0];
    assert_eq!((view.inputs, view.outputs, view.waiting), (2, 2, 0));
    assert_eq!((&*view.endpoint, view.mode), ("acme/app/realtime", RealtimeMode::Unary));
    world.pass_ms(1);
    assert_eq!(world.story(id), ["a", "b", END, NORMAL]);
    assert_eq!((world.until, world.model.sessions()), (None, Vec::new()));
    // What crossed the end is nobody's.
    world.hear(id, prompt("late"));
    assert_eq!(world.story(id).len(), 4);
}

#[test]
fn pictures_are_bytes_or_addresses() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.session(ID);
    world.hear(id, prompt("a"));
    let Said::Frame(Frame::Binary(bytes)) = &world.said[&id][0] else { panic!("binary") };
    let output = decode(bytes);
    let image = &output["images"][0];
    assert!(image["content"].as_u64().unwrap() > 100, "{image}");
    assert_eq!((&image["content_type"], &image["width"]), (&json!("image/png"), &json!(256)));
    assert_eq!((&output["prompt"], &output["request_id"]), (&json!("a"), &json!("a")));
    assert_eq!(output["has_nsfw_concepts"], json!([false]));

    let text = r#"{"prompt":"b","image_size":{"width":8,"height":4},"seed":7}"#;
    world.hear(id, Frame::Text(text.to_owned()));
    let Said::Frame(Frame::Text(text)) = &world.said[&id][1] else { panic!("text for text") };
    let output: Value = serde_json::from_str(text).unwrap();
    let address = output["images"][0]["url"].as_str().unwrap();
    assert!(address.starts_with("data:image/png;base64,iVBORw0KGgo"), "{address}");
    assert_eq!((&output["seed"], &output["images"][0]["width"]), (&json!(7), &json!(8)));
    assert!(output.get("request_id").is_none(), "nothing to repeat");
}

#[test]
fn outputs_are_written_as_the_switch_says() {
    for (codec, text_first) in [(OutputCodec::Msgpack, false), (OutputCodec::Json, true)] {
        let mut config = with(|realtime| realtime.output = codec);
        config.instant = true;
        let mut world = World::new(config);
        let id = world.session(ID);
        world.hear(id, prompt("a"));
        world.hear(id, Frame::Text("{}".to_owned()));
        let is_text = |said: &Said| matches!(said, Said::Frame(Frame::Text(_)));
        assert!(world.said[&id].iter().all(|said| is_text(said) == text_first), "{codec:?}");
    }
}

#[test]
fn the_oldest_is_dropped_where_the_buffer_is_full() {
    for (app, client, want) in [
        (None, None, &["a", "b", "c", "d"][..]),
        (Some(2), None, &["a", "c", "d"]),
        (Some(2), Some(1), &["a", "d"]),
        (Some(1), Some(60), &["a", "d"]),
        (None, Some(3), &["a", "b", "c", "d"]),
    ] {
        let mut world = World::new(with(|realtime| realtime.buffering = app));
        let query = client.map_or_else(String::new, |n: u8| format!("?max_buffering={n}"));
        let id = world.session(&format!("{ID}{query}"));
        for text in ["a", "b", "c", "d"] {
            world.hear(id, prompt(text));
        }
        world.pass_ms(1000);
        assert_eq!(world.story(id), want, "{app:?} {client:?}");
        let dropped = 4 - want.len() as u64;
        assert_eq!(world.model.counters().session_inputs_dropped, dropped);
        assert_eq!(world.model.sessions()[0].dropped, dropped);
    }
    let mut world = World::new(Config::default());
    for bad in ["0", "61", "2.5", "x", ""] {
        let target = format!("{ID}?max_buffering={bad}");
        let id = world.upgrade(&Call::get(&target).on(Host::Run));
        assert_eq!(world.replies[&id].status(), StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

#[test]
fn waiting_inputs_share_an_output() {
    let mut world = World::new(with(|realtime| realtime.max_batch_size = 2));
    let id = world.session(ID);
    for text in ["a", "b", "c", "d"] {
        world.hear(id, prompt(text));
    }
    world.pass_ms(1000);
    assert_eq!(world.story(id), ["a", "c", "d"]);
}

#[test]
fn what_is_left_is_finished_for_one_more_timeout() {
    let timeout = Duration::from_millis(100);
    let mut world = World::new(with(|realtime| {
        realtime.session_timeout = Some(timeout);
        realtime.input_time = Duration::from_millis(60);
    }));
    let id = world.session(ID);
    for text in ["a", "b", "c", "d"] {
        world.hear(id, prompt(text));
    }
    world.pass_ms(150);
    world.hear(id, prompt("not read"));
    world.pass_ms(1000);
    let overdue = r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":""}"#;
    assert_eq!(world.story(id), ["a", "b", "c", overdue, NORMAL]);

    let id = world.session(ID);
    for text in ["a", "b", "c"] {
        world.hear(id, prompt(text));
    }
    world.pass_ms(1000);
    assert_eq!(world.story(id), ["a", "b", "c", END, NORMAL]);

    // The mark of the end takes a place of the buffer.
    let id = world.session(&format!("{ID}?max_buffering=2"));
    for text in ["a", "b", "c"] {
        world.hear(id, prompt(text));
    }
    world.pass_ms(1000);
    assert_eq!(world.story(id), ["a", "b", "c", END, NORMAL]);
    let slow = |realtime: &mut RealtimeConfig| {
        realtime.session_timeout = Some(timeout);
        realtime.input_time = Duration::from_millis(110);
    };
    let mut world = World::new(with(slow));
    let id = world.session(&format!("{ID}?max_buffering=1"));
    world.hear(id, prompt("a"));
    world.hear(id, prompt("b"));
    world.pass_ms(1000);
    assert_eq!(world.story(id), ["a", END, NORMAL]);
}

#[test]
fn inputs_keep_a_session_open() {
    let mut world = World::new(Config::default());
    let id = world.session(ID);
    for _ in 0..100 {
        world.pass_ms(9_999);
        world.hear(id, prompt("a"));
    }
    assert_eq!(world.story(id).len(), 99);
    assert!(world.model.due.len() < 200, "{} events are planned", world.model.due.len());
    let mut world = World::new(with(|realtime| realtime.session_timeout = None));
    let id = world.session(ID);
    world.hear(id, prompt("a"));
    world.pass(Duration::from_secs(24 * 3600));
    assert_eq!((world.story(id), world.until), (vec!["a".to_owned()], None));
}

#[test]
fn streams_have_many_outputs_and_an_end() {
    let mut world = World::new(with(|realtime| realtime.timings = true));
    let id = world.session("/acme/app-server-streaming/realtime");
    world.hear(id, prompt("a"));
    world.hear(id, prompt("not read"));
    world.pass_ms(1000);
    let timings = r#"{"type":"x-fal-message","action":"timings","timing":0.2}"#;
    assert_eq!(world.story(id), ["a", "a", "a", "a", timings, END, NORMAL]);

    let id = world.session("/acme/llm-server-streaming/realtime");
    world.hear(id, prompt("a"));
    world.pass_ms(5000);
    let outputs: Vec<Value> = world.said[&id]
        .iter()
        .filter_map(|said| match said {
            Said::Frame(Frame::Binary(bytes)) => Some(decode(bytes)),
            _ => None,
        })
        .collect();
    let (last, drafts) = outputs.split_last().unwrap();
    assert!(drafts.len() > 5 && drafts.iter().all(|draft| draft["partial"] == true));
    assert_eq!((&last["partial"], &last["error"]), (&json!(false), &Value::Null));

    let id = world.session("/acme/app-server-streaming/realtime");
    world.pass(Duration::from_secs(10));
    assert_eq!(world.story(id), [END, NORMAL], "also without any input");
}

#[test]
fn many_inputs_have_one_output() {
    let mut world = World::new(with(|realtime| realtime.timings = true));
    let id = world.session("/acme/app-client-streaming/realtime");
    for text in ["a", "b", "c"] {
        world.hear(id, prompt(text));
        world.pass_ms(1000);
    }
    assert!(world.story(id).is_empty());
    world.pass_ms(10_000);
    assert_eq!(world.story(id), ["c", END, NORMAL]);
}

#[test]
fn both_ways_interleave() {
    let config = with(|realtime| realtime.modes.push(("acme/app".to_owned(), RealtimeMode::Bidi)));
    let mut world = World::new(config);
    let id = world.session(ID);
    world.hear(id, prompt("a"));
    world.pass_ms(10);
    world.hear(id, prompt("b"));
    world.pass_ms(100);
    assert_eq!(world.story(id), ["a", "b", "a", "b"]);
    world.pass_ms(10_000);
    assert_eq!(world.story(id)[4..], [END, NORMAL]);
}

#[test]
fn timings_follow_each_output_where_asked_for() {
    let mut config = with(|realtime| realtime.timings = true);
    config.realtime.echo_request_id = false;
    let mut world = World::new(config);
    let id = world.session(ID);
    world.hear(id, prompt("a"));
    world.hear(id, prompt("b"));
    world.pass_ms(1000);
    let timings = r#"{"type":"x-fal-message","action":"timings","timing":0.05}"#;
    assert_eq!(world.story(id), ["output", timings, "output", timings]);
}

#[test]
fn what_is_no_input_ends_the_session() {
    let broken = Frame::Binary(Bytes::from_static(b"\x81\xa1a"));
    let invalid = input(&[("seed", "x")]);
    for (frame, word) in [
        (broken, "ends too early"),
        (Frame::Text("{".to_owned()), "not JSON"),
        (Frame::Text("[1]".to_owned()), "dictionary"),
        (invalid, "seed: "),
    ] {
        let mut world = World::new(Config::default());
        let id = world.session(ID);
        world.hear(id, frame);
        let story = world.story(id);
        assert_eq!(story.len(), 2, "{story:?}");
        let message: Value = serde_json::from_str(&story[0]).unwrap();
        assert_eq!(message["type"], "x-fal-error");
        assert_eq!(message["error"], "INTERNAL_ERROR");
        assert!(message["reason"].as_str().unwrap().contains(word), "{message}");
        assert_eq!(story[1], NORMAL);
    }
    let mut world = World::new(with(|realtime| realtime.strict_binary = true));
    let id = world.session(ID);
    world.hear(id, Frame::Text("{}".to_owned()));
    assert!(world.story(id)[0].contains("INTERNAL_ERROR"));
}

#[test]
fn inputs_that_wait_are_bounded() {
    let mut world = World::new(Config::default());
    let id = world.session(ID);
    for _ in 0..INPUTS_WAITING_MAX {
        world.hear(id, prompt("a"));
    }
    assert_eq!(world.model.sessions()[0].waiting, INPUTS_WAITING_MAX);
    world.hear(id, prompt("a"));
    assert!(world.story(id)[0].contains("Too many inputs wait"));

    let mut world = World::new(with(|realtime| realtime.message_bytes_max = 50));
    let id = world.session(ID);
    let long = || prompt("0123456789"); // 41 bytes.
    world.hear(id, long());
    world.hear(id, long());
    assert_eq!(world.model.sessions()[0].waiting, 2);
    world.hear(id, long());
    assert!(world.story(id)[0].contains("Too many inputs wait"));
}

#[test]
fn both_routes_mint_tokens_for_one_app_and_a_time() {
    let mut world = World::new(Config::default());
    let by_alias = world.token(r#"{"allowed_apps":["app"],"token_expiration":60}"#);
    assert_eq!(by_alias.split('.').count(), 3);
    let object = r#"{"allowed_apps":["acme/app/realtime"],"duration":60}"#;
    let answer = json(&world.ask(&Call::post("/tokens/realtime", object).on(Host::Rest)));
    let by_path = answer["token"].as_str().unwrap().to_owned();
    let by_app = world.token(r#"{"allowed_apps":["acme/app"]}"#);
    let other = world.token(r#"{"allowed_apps":["other"]}"#);
    assert_eq!(world.model.counters().run_tokens, 4);
    let mut forged = by_alias.clone();
    forged.replace_range(40..41, if &forged[40..41] == "x" { "y" } else { "x" });

    let keyless = |token: &str| format!("{ID}?fal_jwt_token={token}");
    let open = |world: &mut World, token: &str| {
        let target = keyless(token);
        let call = Call::get(&target).on(Host::Run).with("authorization", "");
        let id = world.upgrade(&call);
        world.story(id)
    };
    for good in [&by_alias, &by_path, &by_app] {
        assert!(open(&mut world, good).is_empty());
    }
    let refused = [UNAUTHORIZED, "Some(1008)"];
    for bad in [&*other, &*forged, "x", "a.b.c", ""] {
        assert_eq!(open(&mut world, bad), refused, "{bad}");
    }
    world.pass_ms(59_999);
    assert!(open(&mut world, &by_alias).is_empty());
    world.pass_ms(1);
    assert_eq!(open(&mut world, &by_alias), refused);
    assert!(open(&mut world, &by_app).is_empty(), "two minutes by default");

    let keyless = Call::post("/tokens/", "{}").on(Host::Rest).with("authorization", "");
    assert_eq!(world.ask(&keyless).status(), StatusCode::UNAUTHORIZED);
    let empty = Call::post("/tokens/realtime", "{}").on(Host::Rest);
    assert_eq!(world.ask(&empty).status(), StatusCode::UNPROCESSABLE_ENTITY);
    let read = Call::get("/tokens/").on(Host::Rest);
    assert_eq!(world.ask(&read).status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn tokens_open_streams_as_well() {
    let mut world = World::new(Config::default());
    let id = world.submit(&submit());
    let token = world.token(r#"{"allowed_apps":["app"]}"#);
    let other = world.token(r#"{"allowed_apps":["x"]}"#);
    for (token, is_good) in [(&token, true), (&other, false)] {
        let status = format!("/acme/app/requests/{id}/status/stream?fal_jwt_token={token}");
        let model = format!("/acme/app/stream?fal_jwt_token={token}");
        let calls = [Call::get(&status), Call::post(&model, "{}").on(Host::Run)];
        for call in calls {
            let exchange = world.send(&call.with("authorization", ""));
            assert_eq!(world.streams.contains_key(&exchange), is_good);
            let refused = world.replies.get(&exchange).map(Response::status);
            assert_eq!(refused, (!is_good).then_some(StatusCode::UNAUTHORIZED));
        }
    }
    let poll = format!("/acme/app/requests/{id}/status?fal_jwt_token={token}");
    let poll = world.ask(&Call::get(&poll).with("authorization", ""));
    assert_eq!(poll.status(), StatusCode::UNAUTHORIZED, "a token is for streams only");
}

#[test]
fn refusals_and_expiry_have_switches() {
    let mut world = World::new(with(|realtime| realtime.refusal = TokenRefusal::Http));
    let target = format!("{ID}?fal_jwt_token=x");
    for target in [&*target, ID] {
        let call = Call::get(target).on(Host::Run).with("authorization", "");
        let id = world.upgrade(&call);
        let response = world.replies.remove(&id).expect("an answer");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(json(&response), json!({"detail": "Unauthorized"}));
    }
    let wrong = Call::get(ID).on(Host::Run).with("authorization", "Key x");
    let id = world.upgrade(&wrong);
    assert!(json(&world.replies[&id])["detail"].as_str().unwrap().contains("key_id"));

    for (cut, want) in [(true, vec![UNAUTHORIZED, "Some(1008)"]), (false, Vec::new())] {
        let mut world = World::new(with(|realtime| {
            realtime.cut_expired = cut;
            realtime.session_timeout = None;
        }));
        let token = world.token(r#"{"allowed_apps":["app"],"duration":5}"#);
        let target = format!("{ID}?fal_jwt_token={token}");
        let id = world.upgrade(&Call::get(&target).on(Host::Run).with("authorization", ""));
        world.pass_ms(4_999);
        assert!(world.story(id).is_empty());
        world.pass_ms(1);
        assert_eq!(world.story(id), want);
    }
}

#[test]
fn addresses_that_take_no_session_say_so() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let status = |world: &mut World, host, target: &str| {
        let id = world.upgrade(&Call::get(target).on(host));
        world.replies.remove(&id).map(|response| response.status())
    };
    let mut run = |target: &str| status(&mut world, Host::Run, target);
    assert_eq!(run("/acme/app/realtime/realtime"), Some(StatusCode::NOT_FOUND));
    assert_eq!(run("/app"), Some(StatusCode::NOT_FOUND));
    assert_eq!(run("/acme/app/webrtc"), Some(StatusCode::NOT_IMPLEMENTED));
    assert_eq!(run("/123/app/realtime"), None);
    assert_eq!(run("/acme/app/any/path"), None);
    assert_eq!(
        run("/acme/app/realtime"),
        Some(StatusCode::TOO_MANY_REQUESTS),
        "its runner is taken"
    );
    assert_eq!(status(&mut world, Host::Queue, ID), Some(StatusCode::NOT_FOUND));
    let plain = world.ask(&Call::post(ID, "{}").on(Host::Run));
    assert_eq!(plain.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(plain.headers()["upgrade"], "websocket");

    let mut world = World::new(with(|realtime| realtime.sessions_max = 1));
    let first = world.session(ID);
    assert_eq!(status(&mut world, Host::Run, ID), Some(StatusCode::TOO_MANY_REQUESTS));
    world.hear(first, Frame::Close(None));
    world.session(ID);
}

#[test]
fn closes_are_answered_and_whoever_goes_frees_the_runner() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    for (code, want) in [(None, NORMAL), (Some(1000), NORMAL), (Some(4001), "Some(4001)")] {
        let id = world.session(ID);
        world.hear(id, Frame::Close(code));
        assert_eq!(world.story(id), [want]);
    }
    let id = world.session(ID);
    world.model.handle_gone(world.now, id);
    world.drain();
    let id = world.session(ID);
    world.control(Control::Restart);
    assert_eq!(world.cut, [id]);
    world.session(ID);
    assert_eq!(world.model.counters().sessions, 6);
}

#[test]
fn sessions_fail_as_the_test_says() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let plan = |world: &mut World, failure| world.control(Control::FailNextMessage(failure));
    let unknown = r#"{"type":"x-fal-message","action":"news"}"#;
    let id = world.session(ID);
    plan(&mut world, MessageFailure::Say(Frame::Text(unknown.to_owned())));
    plan(&mut world, MessageFailure::Silence);
    plan(&mut world, MessageFailure::Error("it fell over".into()));
    for text in ["a", "b", "c"] {
        world.hear(id, prompt(text));
    }
    let error = r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"it fell over"}"#;
    assert_eq!(world.story(id), [unknown, error, NORMAL]);

    let id = world.session(ID);
    plan(&mut world, MessageFailure::Close { code: Some(1011), reason: "".into() });
    world.hear(id, prompt("a"));
    assert_eq!(world.story(id), ["Some(1011)"]);
    let id = world.session(ID);
    plan(&mut world, MessageFailure::Drop);
    world.hear(id, prompt("a"));
    assert_eq!((world.story(id).len(), &*world.cut), (0, &[id][..]));

    let failure = Failure::request_error(StatusCode::BAD_GATEWAY, "runner_connection_refused", "");
    world.control(Control::RefuseNextHandshake(failure));
    let refused = world.upgrade(&Call::get(ID).on(Host::Run));
    assert_eq!(world.replies[&refused].status(), StatusCode::BAD_GATEWAY);

    let (one, two, three) = (world.session(ID), world.session(ID), world.session(ID));
    let news = Frame::Text("{}".to_owned());
    assert!(world.control(Control::Say { session: None, frame: news.clone() }));
    assert!(world.control(Control::CloseSession {
        session: Some(one),
        code: None,
        reason: "".into()
    }));
    assert!(world.control(Control::DropSession { session: Some(two) }));
    assert!(!world.control(Control::DropSession { session: Some(two) }));
    assert!(world.control(Control::Say { session: Some(three), frame: Frame::Close(Some(1001)) }));
    assert_eq!(world.story(one), ["{}", "None"]);
    assert_eq!((world.story(two), world.cut.last()), (vec!["{}".to_owned()], Some(&two)));
    assert_eq!(world.story(three), ["{}", "Some(1001)"]);
    assert!(!world.control(Control::Say { session: None, frame: news }));
}

#[test]
fn the_older_end_has_another_form() {
    let mut world = World::new(with(|realtime| realtime.legacy_end = true));
    let id = world.session(ID);
    world.pass(Duration::from_secs(10));
    let end = r#"{"status":"error","error":"no inputs, reconnect when needed!"}"#;
    assert_eq!(world.story(id), [end, NORMAL]);
}

/// What was said last: the value, and whether it was binary.
fn last(world: &World, id: u64) -> (Value, bool) {
    match world.said[&id].last() {
        Some(Said::Frame(Frame::Binary(bytes))) => (decode(bytes), true),
        Some(Said::Frame(Frame::Text(text))) => (serde_json::from_str(text).unwrap(), false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_decides_about_each_input() {
    let mut world = World::new(scenario::config(
        r#"
rules:
  - name: broken
    when: { endpoint: "acme/**", operation: realtime, input: { /prompt: bad } }
    error: { type: unlucky, status: 500, message: No luck }
  - name: slow
    when: { endpoint: "acme/**", input: { /prompt: slow } }
    timeline: { run_time: 3s }
    output: { literal: [1, -2, 2.5, null, { deep: true }] }
  - name: echo
    when: { endpoint: "acme/**", headers: { x-who: me } }
    output: { template: { said: "{{/prompt}}", from: "{{endpoint}}" } }
"#,
    ));
    let id = world.upgrade(&Call::get(ID).on(Host::Run).with("x-who", "me"));
    world.hear(id, prompt("hi"));
    world.pass_ms(60);
    let said = json!({ "said": "hi", "from": "acme/app", "request_id": "hi" });
    assert_eq!(last(&world, id), (said, true));
    world.hear(id, Frame::Text(r#"{"prompt":"é"}"#.to_owned()));
    world.pass_ms(60);
    assert_eq!(last(&world, id), (json!({ "said": "é", "from": "acme/app" }), false));

    world.hear(id, prompt("slow"));
    world.pass_ms(2900);
    assert_eq!(world.said[&id].len(), 2, "a rule says how long it takes");
    world.pass_ms(200);
    // What is no object has no room for an id.
    assert_eq!(last(&world, id), (json!([1, -2, 2.5, null, { "deep": true }]), true));

    world.hear(id, prompt("bad"));
    let failed = r#"{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"No luck"}"#;
    let story = world.story(id);
    assert_eq!(story[story.len() - 2..], [failed, NORMAL]);

    // Who sends another header gets pictures.
    let id = world.session(ID);
    world.hear(id, prompt("hi"));
    world.pass_ms(60);
    assert!(last(&world, id).0["images"].is_array());
}

#[test]
fn an_input_that_no_rule_covers_fails_where_rules_must() {
    let source = "rules: [{ name: cats, when: { endpoint: acme/app, input: { /prompt: cat } } }]";
    let config = Config { isolated: true, ..scenario::config(source) };
    let mut world = World::new(config);
    let id = world.session("/acme/app");
    world.hear(id, prompt("cat"));
    world.pass_ms(60);
    assert_eq!(world.story(id), ["cat"]);
    world.hear(id, prompt("dog"));
    let story = world.story(id);
    let why = "No rule of the scenario covers this realtime of acme/app. Nearest: ";
    assert!(story[1].contains(why) && story[1].contains("cats"), "{}", story[1]);
}

/// Source: `realtime.py` of fal's serverless SDK sends what the app returns (official SDK source).
#[test]
fn outputs_that_are_neither_pictures_nor_text_are_those_of_the_document() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.session("/fal-ai/kokoro/american-english/realtime");
    world.hear(id, prompt("Good morning"));
    let (output, is_binary) = last(&world, id);
    assert!(is_binary && output["request_id"] == "Good morning", "{output}");
    let url = output["audio"]["url"].as_str().expect("a sound");
    assert_eq!(output["audio"]["content_type"], "audio/wav");
    let path = path_of(url);
    let sound = world.ask(&Call::get(&path).on(Host::Cdn));
    assert_eq!(sound.status(), StatusCode::OK);

    // What the document does not take ends the session, as it does with pictures.
    world.hear(id, Frame::Text(r#"{"prompt":"x","speed":"fast"}"#.to_owned()));
    assert!(world.story(id)[1].contains("INTERNAL_ERROR"), "{:?}", world.story(id));
}

fn path_of(url: &str) -> String {
    let rest = url.split_once("://").expect("an address").1;
    rest[rest.find('/').unwrap()..].to_owned()
}

#[test]
fn a_session_is_one_call_in_the_ledger_and_costs_what_its_outputs_do() {
    let mut world = World::new(Config::default());
    let id = world.session(ID);
    for _ in 0..2 {
        // The same input twice is what sessions are for.
        world.hear(id, prompt("a"));
        world.pass_ms(60);
    }
    let row = world.model.ledger().remove(0);
    assert_eq!((row.way, row.paid, row.twin_of), (CallWay::Realtime, Paid::Open, None));
    assert_eq!(row.endpoint, "acme/app/realtime");
    world.hear(id, Frame::Close(None));
    assert_eq!(world.model.ledger()[0].paid, Paid::Units(2));

    let id = world.session(ID);
    world.model.handle_gone(world.now, id);
    assert_eq!(world.model.ledger()[1].paid, Paid::Units(0));
}
