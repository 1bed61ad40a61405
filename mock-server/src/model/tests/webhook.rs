use fal_protocol::webhook::{Delivery, KeySet, Payload, Verified, WebhookError, verify};

use super::*;

const HOOK: &str = "/acme/app?fal_webhook=http%3A%2F%2F127.0.0.1%3A9%2Fhook%3Fa%3D1";

fn hooked() -> Call<'static> {
    Call::post(HOOK, r#"{"prompt":"a, \"cat\": b"}"#)
}

impl World {
    /// The one delivery that waits to be made.
    #[track_caller]
    fn letter(&mut self) -> Letter {
        assert_eq!(self.letters.len(), 1, "{:?}", self.letters);
        self.letters.remove(0)
    }

    fn answer(&mut self, letter: &Letter, status: u16) {
        let result = DeliveryResult::Answered(StatusCode::from_u16(status).unwrap());
        self.model.handle_delivered(self.now, letter.id, result);
        self.drain();
    }

    /// What a receiver makes of a delivery that arrives now.
    fn verify(&mut self, letter: &Letter) -> Result<Verified, WebhookError> {
        let keys =
            self.ask(&Call::get("/.well-known/jwks.json").on(Host::Rest).with("authorization", ""));
        let keys = KeySet::parse(keys.body()).unwrap();
        verify(&letter.headers, &letter.body, &keys, self.model.wall(self.now))
    }

    #[track_caller]
    fn only_delivery(&self) -> DeliveryView {
        let mut all = self.model.deliveries();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

#[test]
fn an_output_is_delivered_once_it_is_there() {
    for instant in [false, true] {
        let mut world = World::new(Config { instant, ..Config::default() });
        let id = world.submit(&hooked());
        assert_eq!(world.letters.is_empty(), !instant);
        world.pass_ms(if instant { 0 } else { 1000 });
        let letter = world.letter();
        assert_eq!(letter.url, "http://127.0.0.1:9/hook?a=1");
        assert_eq!(letter.headers["content-type"], "application/json");
        assert_eq!(letter.time_max, Duration::from_secs(15));
        let text = std::str::from_utf8(&letter.body).unwrap();
        assert!(
            text.starts_with(&format!(
                "{{\"gateway_request_id\": \"{id}\", \"payload\": {{\"images\": [{{"
            )),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("\"request_id\": \"{id}\", \"status\": \"OK\"}}")),
            "{text}"
        );

        let delivery = world.verify(&letter).unwrap().delivery(&letter.body).unwrap();
        let Ok(Payload::Output(output)) = &delivery.outcome else { panic!("{delivery:?}") };
        let result = json(&world.result(id));
        assert_eq!(output.json::<Value>().unwrap(), result);
        assert_eq!(result["prompt"], "a, \"cat\": b");
        assert_eq!(world.only_delivery().state, DeliveryState::InFlight);
        world.answer(&letter, 204);
        assert_eq!(world.only_delivery().state, DeliveryState::Delivered);
        world.pass_ms(7_200_000);
        assert!(world.letters.is_empty(), "it was taken");
    }
}

#[test]
fn bodies_have_two_layouts_and_two_nulls() {
    for (layout, has_null, start) in [
        (WebhookLayout::Captured, false, r#"{"gateway_request_id": ""#),
        (WebhookLayout::Captured, true, r#"{"error": null, "gateway_request_id": ""#),
        (WebhookLayout::Compact, false, r#"{"request_id":""#),
        (WebhookLayout::Compact, true, r#"{"request_id":""#),
    ] {
        let config = Config {
            instant: true,
            webhook_layout: layout,
            webhook_null_error: has_null,
            ..Config::default()
        };
        let mut world = World::new(config);
        for (input, is_withheld) in
            [(r#"{"prompt":"a, b"}"#, false), ("{}", true), (r#"{"num_images":99}"#, false)]
        {
            if is_withheld {
                world.model.handle_control(world.now, Control::WithholdNextPayload);
            }
            let id = world.submit(&Call::post(HOOK, input));
            let letter = world.letter();
            let text = std::str::from_utf8(&letter.body).unwrap().to_owned();
            let value: Value = serde_json::from_str(&text).unwrap();
            let is_failure = value["status"] == "ERROR";
            assert!(is_failure || text.starts_with(start), "{text}");
            assert_eq!(value.get("error").is_some(), has_null || is_failure, "{text}");
            assert_eq!(value.get("payload_error").is_some(), is_withheld, "{text}");
            if layout == WebhookLayout::Compact {
                let name =
                    format!(r#"{{"request_id":"{id}","gateway_request_id":"{id}","status":""#);
                assert!(text.starts_with(&name), "{text}");
            }
            // The same news in each of them, and signed.
            let delivery = world.verify(&letter).unwrap().delivery(&letter.body).unwrap();
            match delivery.outcome {
                Ok(Payload::Output(output)) => {
                    assert_eq!(output.json::<Value>().unwrap(), json(&world.result(id)));
                }
                Ok(_) => assert!(is_withheld),
                Err(error) => assert_eq!(error.fields[0].path(), "num_images"),
            }
            world.answer(&letter, 200);
        }
    }
}

#[test]
fn a_failure_is_delivered_as_the_result_tells_it() {
    let mut world = World::new(Config::default());
    let id = world.submit(&Call::post(HOOK, r#"{"num_images":99}"#));
    world.pass_ms(1000);
    let letter = world.letter();
    let delivery = Delivery::parse(&letter.body).unwrap();
    let error = delivery.outcome.unwrap_err();
    assert_eq!(error.status, Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(error.fields[0].path(), "num_images");
    let told: Value = serde_json::from_slice(&letter.body).unwrap();
    assert_eq!(told["payload"], json(&world.result(id)));
    assert_eq!(
        (&told["error"], &told["status"]),
        (&"Invalid status code: 422".into(), &"ERROR".into())
    );
}

#[test]
fn odd_ends_are_told_as_far_as_they_can_be() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    world.control(Control::WithholdNextPayload);
    world.submit(&hooked());
    let body = world.letter().body;
    let delivery = Delivery::parse(&body).unwrap();
    assert!(matches!(delivery.outcome, Ok(Payload::NotIncluded { .. })), "{delivery:?}");

    let status = StatusCode::BAD_GATEWAY;
    world.control(Control::FailNext(Failure::new(status, "<html>", "it broke", None)));
    world.submit(&hooked());
    let error = Delivery::parse(&world.letter().body).unwrap().outcome.unwrap_err();
    assert_eq!(error.status, Some(status), "without the body, which is no JSON");
}

#[test]
fn without_an_address_nothing_is_delivered() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    world.submit(&submit());
    assert!(world.letters.is_empty() && world.model.deliveries().is_empty());
}

#[test]
fn only_absolute_web_addresses_are_taken() {
    let mut world = World::new(Config::default());
    for bad in [
        "",
        "hook",
        "%2Fhook",
        "ftp%3A%2F%2Fa.test%2F",
        "http%3A%2F%2F",
        "http%3A%2F%2Fa%20b",
        "a.test",
    ] {
        let response = world.ask(&Call::post(&format!("/acme/app?fal_webhook={bad}"), "{}"));
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        assert_eq!(
            json(&response)["detail"][0]["loc"],
            serde_json::json!(["query", "fal_webhook"])
        );
    }
    assert_eq!(world.model.counters().submits, 0);
    for (target, webhook_hosts, is_called) in [
        ("http%3A%2F%2Flocalhost%3A9", WebhookHosts::Loopback, true),
        ("http%3A%2F%2F%5B%3A%3A1%5D%3A9%2F", WebhookHosts::Loopback, true),
        ("http%3A%2F%2F127.9.9.9%2F", WebhookHosts::Loopback, true),
        ("http%3A%2F%2F10.0.0.1%2F", WebhookHosts::Loopback, false),
        ("http%3A%2F%2Flocalhost.a.test%2F", WebhookHosts::Loopback, false),
        ("http%3A%2F%2F127.0.0.1%40a.test%2F", WebhookHosts::Loopback, false),
        ("https%3A%2F%2F127.0.0.1%2F", WebhookHosts::Loopback, false),
        ("http%3A%2F%2Fa.test%2F", WebhookHosts::Any, true),
        ("https%3A%2F%2Fa.test%2F", WebhookHosts::Any, false),
    ] {
        let mut world = World::new(Config { instant: true, webhook_hosts, ..Config::default() });
        let id = world.submit(&Call::post(&format!("/acme/app?fal_webhook={target}"), "{}"));
        assert_eq!(!world.letters.is_empty(), is_called, "{target}");
        let refused = matches!(world.only_delivery().state, DeliveryState::Refused(_));
        assert_eq!(refused, !is_called, "{target}");
        assert_eq!(world.control(Control::Redeliver { request_id: id }), is_called);
    }
}

#[test]
fn attempts_go_on_as_the_profile_says_and_are_signed_anew() {
    let profiles = [
        (RetryProfile::docs_2026(), 32, [1, 2, 4, 8, 16, 32, 64, 120, 120]),
        (RetryProfile::docs_2024(), 11, [5, 10, 20, 40, 80, 160, 320, 640, 1280]),
    ];
    for (webhook_retry, attempts, rests) in profiles {
        let window = webhook_retry.window.unwrap_or(RETENTION);
        let mut world = World::new(Config { instant: true, webhook_retry, ..Config::default() });
        world.submit(&hooked());
        let start = world.now;
        let first = world.letter();
        let mut at = vec![start];
        world.answer(&first, 500);
        while world.now < start + window {
            world.pass_ms(1000);
            if world.letters.is_empty() {
                continue;
            }
            let letter = world.letter();
            at.push(world.now);
            assert_eq!(letter.body, first.body);
            assert_eq!(
                world.verify(&letter).map(|verified| verified.request_id),
                Ok(letter.headers["x-fal-webhook-request-id"].to_str().unwrap().into())
            );
            match at.len() % 3 {
                0 => world.answer(&letter, 404),
                1 => world.pass(letter.time_max),
                _ => {
                    let result = DeliveryResult::Failed("refused".into());
                    world.model.handle_delivered(world.now, letter.id, result);
                    world.drain();
                }
            }
        }
        let delivery = world.only_delivery();
        assert_eq!(delivery.state, DeliveryState::GivenUp);
        assert_eq!(delivery.attempts.len(), at.len());
        assert!(at.len() <= attempts && at.len() > 10, "{}", at.len());
        assert!(at.iter().all(|at| *at < start + window));
        let found: Vec<u64> =
            at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).take(rests.len()).collect();
        // Every third attempt has taken all the time that it may.
        for (index, (found, rest)) in found.iter().zip(rests).enumerate() {
            let waited = found - rest;
            assert!(
                if index % 3 == 0 && index > 0 { waited >= 15 } else { waited == 0 },
                "{index}: {found}"
            );
        }
    }
}

#[test]
fn a_redirect_ends_it_and_late_answers_change_nothing() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.submit(&hooked());
    let letter = world.letter();
    world.answer(&letter, 302);
    assert_eq!(world.only_delivery().state, DeliveryState::GivenUp);
    world.answer(&letter, 200);
    assert_eq!(world.only_delivery().state, DeliveryState::GivenUp);
    world.pass_ms(60_000);
    assert!(world.letters.is_empty());

    assert!(world.control(Control::Redeliver { request_id: id }));
    let again = world.letter();
    world.pass_ms(15_000);
    assert_eq!(world.only_delivery().state, DeliveryState::Resting, "15 s are over");
    world.answer(&again, 200);
    assert_eq!(world.only_delivery().state, DeliveryState::Resting, "too late");
    world.pass_ms(1000);
    let last = world.letter();
    assert_eq!(last.time_max, Duration::from_secs(120));
    world.answer(&last, 200);
    let view = world.only_delivery();
    assert_eq!((view.state, view.attempts.len()), (DeliveryState::Delivered, 2));
    assert!(
        !world.control(Control::Redeliver { request_id: RequestId::mint(&mut SplitMix64::new(1)) })
    );
}

#[test]
fn rotated_keys_overlap() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    world.submit(&hooked());
    let old = world.letter();
    world.control(Control::RotateWebhookKey);
    assert!(world.verify(&old).is_ok(), "the key before is still there");
    world.submit(&hooked());
    let new = world.letter();
    assert!(world.verify(&new).is_ok());
    world.control(Control::RotateWebhookKey);
    assert_eq!(world.verify(&old), Err(WebhookError::Signature));
    assert!(world.verify(&new).is_ok());
    world.pass_ms(301_000);
    assert!(matches!(world.verify(&new), Err(WebhookError::Stale { .. })));
}

#[test]
fn a_job_cancelled_before_its_start_is_no_news() {
    for (webhook_of_cancelled, news) in [(false, 0), (true, 1)] {
        let mut world = World::new(Config { webhook_of_cancelled, ..Config::default() });
        let id = world.submit(&hooked());
        assert_eq!(world.cancel(id).0, StatusCode::OK);
        assert_eq!(world.letters.len(), news);
    }
    let mut world = World::new(Config::default());
    let id = world.submit(&hooked());
    world.pass_ms(300);
    world.cancel(id);
    world.pass_ms(1000);
    let error = Delivery::parse(&world.letter().body).unwrap().outcome.unwrap_err();
    assert_eq!(error.error_type.unwrap().as_str(), "client_cancelled");
}

#[test]
fn deliveries_that_are_remembered_are_bounded() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    for _ in 0..DELIVERIES_MAX + 5 {
        world.submit(&hooked());
    }
    assert_eq!(world.model.deliveries().len(), DELIVERIES_MAX);
    let first = world.letters[0].clone();
    world.answer(&first, 200);
    let forgotten = first.headers["x-fal-webhook-request-id"].to_str().unwrap();
    assert!(world.model.deliveries().iter().all(|view| view.request_id.to_string() != forgotten));
}
