//! HTTP over WebSocket: starts, bodies, ends, in the order of the inputs.

use serde_json::json;

use super::*;

impl World {
    #[track_caller]
    fn front(&mut self, target: &str) -> u64 {
        let id = self.upgrade(&Call::get(target).on(Host::Ws));
        assert!(self.said.contains_key(&id), "{:?}", self.replies.get(&id));
        id
    }

    fn give_input(&mut self, id: u64, input: &str) {
        self.model.handle_frame(self.now, id, Frame::Text(input.to_owned()));
        self.drain();
    }

    /// The texts so far.
    fn texts(&self, id: u64) -> Vec<&str> {
        let text = |said: &'_ Said| match said {
            Said::Frame(Frame::Text(_)) => true,
            other => panic!("{other:?}"),
        };
        assert!(self.said[&id].iter().all(text));
        self.said[&id]
            .iter()
            .filter_map(|said| match said {
                Said::Frame(Frame::Text(text)) => Some(&**text),
                _ => None,
            })
            .collect()
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn inputs_are_answered_one_after_the_other() {
    let mut world = World::new(Config::default());
    let id = world.front("/acme/app");
    world.give_input(id, r#"{"seed":1}"#);
    world.give_input(id, "{");
    world.give_input(id, r#"{"seed":3}"#);
    world.pass_ms(799);
    assert!(world.texts(id).is_empty());
    world.pass_ms(1);
    let texts: Vec<Value> = world.texts(id).into_iter().map(value).collect();
    assert_eq!(texts.len(), 6, "the second is refused at once");
    assert_eq!((&texts[0]["status"], &texts[1]["seed"]), (&json!(200), &json!(1)));
    let request_id = &texts[0]["request_id"];
    let end = json!({"type": "end", "request_id": request_id, "status": 200,
        "time_to_first_byte_seconds": 0.8});
    assert_eq!((&texts[2], &texts[0]["headers"]["x-fal-request-id"]), (&end, request_id));
    assert_eq!((&texts[3]["status"], &texts[5]["status"]), (&json!(422), &json!(422)));
    assert_eq!(texts[4]["detail"][0]["type"], "json_invalid");
    world.pass_ms(800);
    assert_eq!(value(world.texts(id)[7])["seed"], 3);
    assert_eq!(world.texts(id).len(), 9);
    assert_eq!((world.model.counters().runs, world.until), (3, None));
}

#[test]
fn streams_come_as_they_are() {
    let mut world = World::new(Config::default());
    let id = world.front("/acme/app/stream");
    world.give_input(id, r#"{"seed":1}"#);
    let start = value(world.texts(id)[0]);
    assert_eq!(start["headers"]["content-type"], "text/event-stream");
    world.pass_ms(800);
    let texts = world.texts(id);
    assert_eq!(texts.len(), 6);
    for event in &texts[1..5] {
        let data = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\n\n"));
        assert_eq!(value(data.expect("one event"))["seed"], 1);
    }
    assert_eq!(value(texts[5])["time_to_first_byte_seconds"], 0.0);

    world.control(Control::BreakNextStream(StreamFailure::Cut));
    world.give_input(id, "{}");
    world.pass_ms(800);
    assert_eq!(world.cut, [id], "there is no word for a body that breaks off");
}

#[test]
fn whoever_leaves_frees_the_runner() {
    let mut world = World::new(Config { runners: Some(1), ..Config::default() });
    let busy = |world: &mut World| {
        let id = world.front("/acme/app");
        world.give_input(id, "{}");
        world.give_input(id, "{}");
        assert_eq!(world.model.apps["acme/app"].running, 1);
        id
    };
    let id = busy(&mut world);
    world.model.handle_gone(world.now, id);
    world.drain();
    assert!(world.model.apps.is_empty() && world.model.open.is_empty());
    let id = busy(&mut world);
    world.model.handle_frame(world.now, id, Frame::Close(None));
    world.drain();
    assert_eq!(world.said[&id], [Said::Close(Some(1000))]);
    let id = busy(&mut world);
    world.control(Control::Restart);
    assert_eq!(world.cut, [id]);
    world.pass_ms(5000);
    assert_eq!((world.model.counters().runs_abandoned, world.said[&id].len()), (3, 0));
    assert!(world.model.apps.is_empty() && world.model.open.is_empty());
}

#[test]
fn inputs_ahead_are_bounded() {
    let full = |config, count: usize, input: &str| {
        let mut world = World::new(config);
        let id = world.front("/acme/app");
        // The first is worked on and does not wait.
        for _ in 0..=count {
            world.give_input(id, input);
        }
        assert!(world.said[&id].is_empty());
        world.give_input(id, input);
        assert_eq!(world.said[&id], [Said::Close(Some(1008))]);
    };
    full(Config::default(), 64, "{}");
    full(Config { body_bytes_max: 10, ..Config::default() }, 2, "{   }");
}

#[test]
fn handshakes_are_judged() {
    let mut world = World::new(Config { exchanges_max: 1, ..Config::default() });
    let status = |world: &mut World, call: &Call<'_>| {
        let id = world.upgrade(&call.clone().on(Host::Ws));
        world.replies.remove(&id).map(|response| response.status())
    };
    let keyless = Call::get("/acme/app").with("authorization", "");
    assert_eq!(status(&mut world, &keyless), Some(StatusCode::UNAUTHORIZED));
    assert_eq!(status(&mut world, &Call::get("/app")), Some(StatusCode::NOT_FOUND));
    assert_eq!(status(&mut world, &Call::get("/acme/app")), None);
    let full = status(&mut world, &Call::get("/acme/app"));
    assert_eq!(full, Some(StatusCode::TOO_MANY_REQUESTS));
}
