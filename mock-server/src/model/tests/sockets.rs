//! Random sequences on WebSockets: sessions in all modes, and HTTP over WebSocket.

use proptest::prelude::*;

use super::*;

/// One step of a sequence. WebSockets are picked among all that were ever accepted.
#[derive(Clone, Debug)]
enum Step {
    Open { mode: usize, max_buffering: Option<u8> },
    Front { stream: bool },
    Hear { socket: usize, message: usize },
    Close(usize),
    Gone(usize),
    Fail(usize),
    CloseAll,
    Restart,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let socket = || 0usize..20;
    prop_oneof![
        3 => (0usize..4, proptest::option::of(1u8..4)).prop_map(|(mode, max_buffering)| Step::Open { mode, max_buffering }),
        1 => any::<bool>().prop_map(|stream| Step::Front { stream }),
        12 => (socket(), 0usize..12).prop_map(|(socket, message)| Step::Hear { socket, message }),
        1 => socket().prop_map(Step::Close),
        1 => socket().prop_map(Step::Gone),
        1 => (0usize..5).prop_map(Step::Fail),
        1 => Just(Step::CloseAll),
        1 => Just(Step::Restart),
        8 => prop_oneof![0u64..80, 0u64..3000, Just(20_000)].prop_map(Step::Pass),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    (any::<u64>(), proptest::option::of(1usize..3), any::<bool>(), 0u64..120, any::<bool>())
        .prop_map(|(seed, runners, timings, input_ms, instant)| {
            let mut config = Config { seed, runners, instant, ..Config::default() };
            config.realtime.timings = timings;
            config.realtime.input_time = Duration::from_millis(input_ms);
            config.realtime.session_timeout = Some(Duration::from_millis(500));
            config.realtime.sessions_max = 3;
            config
        })
}

const MODES: [&str; 4] = ["app", "app-server-streaming", "app-client-streaming", "app-bidi"];

fn message(n: usize) -> Frame {
    match n {
        0 => Frame::Text("{".to_owned()),
        1 => Frame::Binary(Bytes::from_static(b"\x81")),
        2 => Frame::Text(r#"{"seed":"x"}"#.to_owned()),
        3 => Frame::Binary(Bytes::from_static(b"\x81\xa6prompt\xa1x")),
        _ => {
            Frame::Text(format!(r#"{{"request_id":"{n}","image_size":{{"width":8,"height":8}}}}"#))
        }
    }
}

fn failure(n: usize) -> MessageFailure {
    match n {
        0 => MessageFailure::Error("no".into()),
        1 => MessageFailure::Close { code: None, reason: "".into() },
        2 => MessageFailure::Drop,
        3 => MessageFailure::Say(Frame::Text("{}".to_owned())),
        _ => MessageFailure::Silence,
    }
}

/// Runs a sequence and returns everything that was said.
fn play(config: Config, steps: &[Step]) -> String {
    let mut world = World::new(config);
    let mut sockets: Vec<u64> = Vec::new();
    for step in steps {
        let chosen = |n: &usize| sockets.get(n % sockets.len().max(1)).copied();
        let mut opened = None;
        match step {
            Step::Open { mode, max_buffering } => {
                let query =
                    max_buffering.map_or_else(String::new, |n| format!("?max_buffering={n}"));
                let target = format!("/acme/{}/realtime{query}", MODES[*mode]);
                opened = Some(world.upgrade(&Call::get(&target).on(Host::Run)));
            }
            Step::Front { stream } => {
                let target = if *stream { "/acme/app/stream" } else { "/acme/app" };
                opened = Some(world.upgrade(&Call::get(target).on(Host::Ws)));
            }
            Step::Hear { socket, message: n } => {
                if let Some(id) = chosen(socket) {
                    world.model.handle_frame(world.now, id, message(*n));
                }
            }
            Step::Close(socket) => {
                if let Some(id) = chosen(socket) {
                    world.model.handle_frame(world.now, id, Frame::Close(None));
                }
            }
            Step::Gone(socket) => {
                if let Some(id) = chosen(socket) {
                    world.model.handle_gone(world.now, id);
                }
            }
            Step::Fail(n) => {
                world.control(Control::FailNextMessage(failure(*n)));
            }
            Step::CloseAll => {
                let reason = "".into();
                world.control(Control::CloseSession { session: None, code: Some(1001), reason });
            }
            Step::Restart => {
                world.control(Control::Restart);
            }
            Step::Pass(ms) => world.pass_ms(*ms),
        }
        world.drain();
        // Each handshake is either accepted or answered.
        if let Some(id) = opened {
            assert_ne!(world.said.contains_key(&id), world.replies.contains_key(&id));
            sockets.extend(world.said.contains_key(&id).then_some(id));
        }
        let sessions = world.model.sessions();
        assert_eq!(sessions.len(), world.model.sessions_open);
        assert!(sessions.len() <= 3);
        let running: usize = world.model.apps.values().map(|app| app.running).sum();
        let calls =
            world.model.open.values().filter(|open| matches!(open, Open::Run(_) | Open::Feed(_)));
        assert_eq!(running, sessions.len() + calls.count());
    }
    for id in &sockets {
        world.model.handle_frame(world.now, *id, Frame::Close(None));
    }
    // Left alone, everything ends.
    world.drain();
    world.pass(Duration::from_secs(600));
    assert!(world.model.open.is_empty() && world.model.apps.is_empty());
    assert_eq!((world.model.sessions_open, world.until), (0, None));
    format!("{:?} {:?} {:?}", world.said, world.replies, world.model.counters())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_survived_and_repeats(config in config(), steps in proptest::collection::vec(step(), 1..60)) {
        let transcript = play(config.clone(), &steps);
        prop_assert_eq!(transcript, play(config, &steps));
    }
}
