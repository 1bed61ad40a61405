//! What the platform is asked for, what it answers, and whom it refuses.

use super::*;

fn submitted(headers: &[(&'static str, &'static str)]) -> JobView {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let call =
        headers.iter().fold(Call::post("/acme/app", r#"{"prompt":"x"}"#), |call, (name, value)| {
            call.with(name, value)
        });
    let id = world.submit(&call);
    world.model.job(id).unwrap()
}

#[test]
fn what_is_asked_for_can_be_seen() {
    let job = submitted(&[
        ("x-fal-tags", "Team=growth,run=4 2,x=a=b"),
        ("x-fal-store-io", "0"),
        ("x-fal-no-retry", "Yes"),
        ("x-fal-retry-config", r#"{"server_error":{"retries":2},"timeout":3,"odd":{"retries":1}}"#),
        ("x-app-fal-disable-fallback", "true"),
        ("x-fal-object-lifecycle-preference", r#"{"expiration_duration_seconds":60}"#),
        ("x-fal-runner-hint", "lora-7"),
    ]);
    let tags: Vec<(String, String)> = job.tags();
    let tags: Vec<_> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(tags, [("team", "growth"), ("run", "4 2"), ("x", "a=b")]);
    assert_eq!((job.store_io(), job.hint()), (Some(false), Some("lora-7")));
    assert!(job.is_never_retried() && job.is_fallback_disabled());
    assert_eq!(
        job.retry_budgets(),
        [("server_error", 2)],
        "bare numbers and odd names are passed over"
    );
    assert_eq!(job.lifecycle().unwrap()["expiration_duration_seconds"], 60);
}

#[test]
fn what_is_malformed_is_passed_over() {
    let long: &'static str = Box::leak(format!("a=b,c={}", "x".repeat(1020)).into_boxed_str());
    for (value, left) in [
        ("a b=1,ok=1,=1,nothing,fal.x=1,k=", &["ok"][..]),
        (
            "a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10,k=11",
            &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
        ),
        (long, &[]),
        ("", &[]),
    ] {
        let job = submitted(&[("x-fal-tags", value)]);
        assert_eq!(job.tags().iter().map(|(key, _)| &**key).collect::<Vec<_>>(), left, "{value}");
    }
    let job = submitted(&[
        ("x-fal-store-io", "maybe"),
        ("x-fal-no-retry", "0"),
        ("x-fal-retry-config", "{"),
        ("x-app-fal-disable-fallbacks", "true"),
    ]);
    assert_eq!((job.store_io(), job.lifecycle()), (None, None));
    assert!(!job.is_never_retried() && !job.is_fallback_disabled());
    assert!(job.retry_budgets().is_empty() && job.tags().is_empty() && job.hint().is_none());
}

#[test]
fn answers_tell_who_made_them() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let call = |path| Call::post(path, r#"{"prompt":"x"}"#).with("x-fal-runner-hint", "lora-7");
    let id = world.submit(&call("/acme/app"));
    let result = world.result(id);
    let run = world.ask(&call("/acme/app").on(Host::Run));
    for response in [&result, &run] {
        assert_eq!(response.headers()["x-fal-served-from"], "fal-mock");
        assert_eq!(response.headers()["x-fal-runner-hints"], "lora-7");
    }
    let run = world.ask(&Call::post("/acme/app", r#"{"prompt":"x"}"#).on(Host::Run));
    assert!(!run.headers().contains_key("x-fal-runner-hints"));
}

#[test]
fn a_lock_stops_everything_until_it_is_taken_off() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.submit(&Call::post("/acme/app", r#"{"prompt":"x"}"#));
    let lock = |reason: Option<&str>| Control::Lock(reason.map(Into::into));
    assert!(world.model.handle_control(world.now, lock(Some("Exhausted balance"))));
    let text = r#"{"detail":"User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}"#;
    for call in [
        Call::post("/acme/app", "{}"),
        Call::post("/acme/app", "{}").on(Host::Run),
        Call::post("/acme/app/stream", "{}").on(Host::Run),
    ] {
        let response = world.ask(&call);
        assert_eq!((response.status().as_u16(), &response.body()[..]), (403, text.as_bytes()));
    }
    world.model.handle_control(world.now, lock(None));
    assert_eq!(world.result(id).status(), 200);
}
