//! Worlds without sockets: who gets what, and how time passes there.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::*;
use crate::model::Response;

const SECOND: Duration = Duration::from_secs(1);

/// Worlds, and the real time.
struct Bench {
    worlds: Worlds,
    real: Instant,
    last: u64,
    letters: Vec<(TenantId, u64)>,
}

impl Bench {
    fn new(mode: ClockMode) -> Self {
        let real = Instant::now();
        let start = Start { real, wall: SystemTime::UNIX_EPOCH + 1_800_000_000 * SECOND };
        let worlds = Worlds::new(Config::default(), mode, start);
        Self { worlds, real, last: 0, letters: Vec::new() }
    }

    fn tenant(&mut self, settings: &Settings) -> (TenantId, String) {
        let start = Start { real: self.real, wall: SystemTime::UNIX_EPOCH };
        let number = self.worlds.all.len();
        self.worlds.add_tenant(settings, start, || format!("t:{number}")).unwrap()
    }

    fn call(&mut self, key: Option<&str>, host: Host, method: Method, target: &str) -> Response {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let value = HeaderValue::try_from(format!("Key {key}")).unwrap();
            headers.insert(header::AUTHORIZATION, value);
        }
        let body = Bytes::from_static(
            br#"{"prompt":"a cat","allowed_apps":["flux"],"content_type":"a/b","file_name":"c"}"#,
        );
        let body = if method == Method::GET { Bytes::new() } else { body };
        let request = Request::new(&method, host, path, &headers).with_query(query).with_body(body);
        self.last += 1;
        let id = self.last;
        let tenant = self.worlds.handle_request(self.real, id, request);
        self.drain(tenant, id).expect("it is answered at once")
    }

    fn drain(&mut self, tenant: TenantId, wanted: u64) -> Option<Response> {
        let mut found = None;
        loop {
            match self.worlds.poll_output(tenant) {
                Output::Reply { id, response } if id == wanted => found = Some(response),
                Output::Serve { id, head, .. } if id == wanted => {
                    found = Some(head.map(|()| Bytes::new()));
                }
                Output::Deliver { id, .. } => self.letters.push((tenant, id)),
                Output::Wait { .. } => return found,
                _ => {}
            }
        }
    }

    fn submit(&mut self, key: &str) -> String {
        let response = self.call(Some(key), Host::Queue, Method::POST, "/fal-ai/flux/dev");
        json(&response)["request_id"].as_str().unwrap().to_owned()
    }

    fn status(&mut self, key: &str, id: &str) -> (StatusCode, Value) {
        let path = format!("/fal-ai/flux/requests/{id}/status");
        let response = self.call(Some(key), Host::Queue, Method::GET, &path);
        (response.status(), json(&response)["status"].clone())
    }

    /// Lets real time pass, and whoever wants it be woken at the right moment.
    fn pass(&mut self, time: Duration, is_busy: bool) {
        let end = self.real + time;
        while let Some(at) = self.worlds.next_alarm().filter(|at| *at <= end) {
            self.real = self.real.max(at);
            while let Some(tenant) = self.worlds.handle_timeout(self.real, is_busy) {
                self.drain(tenant, 0);
            }
        }
        self.real = end;
    }
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn tenants_do_not_meet() {
    let mut bench = Bench::new(ClockMode::Real);
    let (_, a) = bench.tenant(&Settings::default());
    let (_, b) = bench.tenant(&Settings::default());
    let mut ids = Vec::new();
    for key in [&*a, &*b, "any:key"] {
        let id = bench.submit(key);
        assert_eq!(bench.status(key, &id).0, StatusCode::ACCEPTED, "{key}");
        ids.push(id);
    }
    // Same seed, same ids: only the key tells them apart.
    assert_eq!(ids[0], ids[1]);
    let second = bench.submit(&a);
    assert_eq!(bench.status(&a, &second).0, StatusCode::ACCEPTED);
    assert_eq!(bench.status(&b, &second).0, StatusCode::NOT_FOUND);
    assert_eq!(bench.status("any:key", &second).0, StatusCode::NOT_FOUND);
    let jobs: Vec<_> = bench.worlds.tenants().map(|view| (view.jobs, view.requests)).collect();
    assert_eq!(jobs, [(1, 3), (2, 4), (1, 3)]);
}

#[test]
fn what_carries_no_key_finds_its_owner() {
    let mut bench = Bench::new(ClockMode::Real);
    let (tenant, key) = bench.tenant(&Settings::default().instant());
    // A file that a model made.
    let run = bench.call(Some(&key), Host::Run, Method::POST, "/fal-ai/flux/dev");
    let url = json(&run)["images"][0]["url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix("https://v3.fal.media").unwrap();
    assert_eq!(crate::model::tenant_of_file(path), Some(tenant));
    assert_eq!(bench.call(None, Host::Cdn, Method::GET, path).status(), StatusCode::OK);
    // An upload by a signed address.
    let start = bench.call(Some(&key), Host::Rest, Method::POST, "/storage/upload/initiate");
    let upload = json(&start)["upload_url"].as_str().unwrap().to_owned();
    let put = bench.call(
        None,
        Host::Cdn,
        Method::PUT,
        upload.strip_prefix("https://v3.fal.media").unwrap(),
    );
    assert!(put.status().is_success(), "{put:?}");
    // Tokens of both kinds.
    let token = bench.call(Some(&key), Host::Rest, Method::POST, "/storage/auth/token");
    let token = json(&token)["token"].as_str().unwrap().to_owned();
    assert_eq!(crate::model::tenant_of_upload_token(&token), Some(tenant));
    let token = bench.call(Some(&key), Host::Rest, Method::POST, "/tokens/");
    let token = json(&token).as_str().unwrap().to_owned();
    let target = format!("/fal-ai/flux/stream?fal_jwt_token={token}");
    assert_eq!(crate::model::tenant_of_run_token(&token), Some(tenant));
    let before = bench.worlds.get(tenant).unwrap().journal.total();
    let (path, query) = target.split_once('?').unwrap();
    let headers = HeaderMap::new();
    let request = Request::new(&Method::POST, Host::Run, path, &headers).with_query(Some(query));
    assert_eq!(bench.worlds.handle_request(bench.real, 1000, request), tenant);
    assert_eq!(bench.worlds.get(tenant).unwrap().journal.total(), before + 1);
}

#[test]
fn of_many_tenants_those_go_whom_nobody_has_asked_for_long() {
    let mut bench = Bench::new(ClockMode::Real);
    let mut made = |count| -> Vec<(TenantId, String)> {
        (0..count).map(|_| bench.tenant(&Settings::default())).collect()
    };
    let few = made(TENANTS_KEPT_IDLE);
    bench.real += TENANT_IDLE_MAX;
    assert_eq!(bench.worlds.idle_tenants(bench.real), [], "few stay");
    // The first of them is asked, and three more come.
    bench.submit(&few[0].1);
    let more = (0..3).map(|_| bench.tenant(&Settings::default())).collect::<Vec<_>>();
    let oldest = few[1..4].iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>();
    assert_eq!(bench.worlds.idle_tenants(bench.real), oldest);
    // Whoever is asked now and then is never idle, however many there are.
    bench.real += TENANT_IDLE_MAX / 2;
    for (_, key) in few.iter().chain(&more) {
        bench.submit(key);
    }
    bench.real += TENANT_IDLE_MAX / 2;
    assert_eq!(bench.worlds.idle_tenants(bench.real), []);
}

#[test]
fn a_tenant_that_ends_leaves_nothing() {
    let mut bench = Bench::new(ClockMode::Real);
    let (tenant, key) = bench.tenant(&Settings::default().name("one").key("k:1"));
    let id = bench.submit(&key);
    assert!(bench.worlds.remove_tenant(tenant).is_some());
    assert!(bench.worlds.remove_tenant(tenant).is_none());
    assert!(bench.worlds.remove_tenant(TenantId::FIRST).is_none());
    assert_eq!(bench.status(&key, &id).0, StatusCode::NOT_FOUND, "the key is nobody's now");
    assert_eq!((bench.worlds.all.len(), bench.worlds.keys.len()), (1, 0));
    // Name and key are free again.
    bench.tenant(&Settings::default().name("one").key("k:1"));
}

#[test]
fn names_and_keys_are_unique_and_plain() {
    let mut bench = Bench::new(ClockMode::Real);
    bench.tenant(&Settings::default().name("one").key("k:1"));
    let start = Start { real: bench.real, wall: SystemTime::UNIX_EPOCH };
    let mut add = |settings: Settings| bench.worlds.add_tenant(&settings, start, || "x:y".into());
    for name in ["one", "default", "", "a b", &"x".repeat(65)] {
        let error = add(Settings::default().name(name)).unwrap_err();
        assert!(matches!(error, TenantError::Name(_)), "{name}: {error}");
    }
    for key in ["k:1", "k", ":k", "k:", &format!("k:{}", "x".repeat(300))] {
        assert_eq!(add(Settings::default().key(key)), Err(TenantError::Key), "{key}");
    }
}

#[test]
fn seeds_differ_where_they_are_told_to() {
    let mut bench = Bench::new(ClockMode::Real);
    let (_, same) = bench.tenant(&Settings::default().instant());
    let (_, again) = bench.tenant(&Settings::default().instant());
    let (_, other) = bench.tenant(&Settings::default().instant().seed(7));
    let mut seed = |key: &str| {
        json(&bench.call(Some(key), Host::Run, Method::POST, "/fal-ai/flux/dev"))["seed"].clone()
    };
    let seeds = [seed(&same), seed(&again), seed(&other)];
    assert_eq!(seeds[0], seeds[1]);
    assert_ne!(seeds[0], seeds[2]);
}

#[test]
fn clocks_of_tenants_are_their_own() {
    let mut bench = Bench::new(ClockMode::Real);
    let times = |clock| Settings::default().clock(clock).run_time(3600 * SECOND);
    let (_, fast) = bench.tenant(&times(ClockMode::Scaled(3600.0)));
    let (still, stopped) = bench.tenant(&times(ClockMode::Virtual));
    let (_, auto) = bench.tenant(&times(ClockMode::Auto));
    let keys = [&*fast, &*stopped, &*auto];
    let ids: Vec<_> = keys.iter().map(|key| bench.submit(key)).collect();
    let all = |bench: &mut Bench| -> Vec<Value> {
        keys.iter().zip(&ids).map(|(key, id)| bench.status(key, id).1).collect()
    };
    assert_eq!(all(&mut bench), ["IN_QUEUE", "IN_QUEUE", "IN_QUEUE"]);
    bench.pass(SECOND / 2, false);
    assert_eq!(all(&mut bench), ["IN_PROGRESS", "IN_QUEUE", "COMPLETED"]);
    bench.pass(SECOND, false);
    assert_eq!(all(&mut bench), ["COMPLETED", "IN_QUEUE", "COMPLETED"]);
    // Moved by hand, event by event.
    let advance = |bench: &mut Bench, by: Duration| {
        let end = bench.worlds.get(still).unwrap().clock.at(bench.real) + by;
        let mut steps = 0;
        while !bench.worlds.step(bench.real, still, end) {
            bench.drain(still, 0);
            steps += 1;
        }
        steps
    };
    assert!(advance(&mut bench, 2 * 3600 * SECOND) >= 2, "it started and it ended");
    assert_eq!(bench.status(&stopped, &ids[1]).1, "COMPLETED");
    advance(&mut bench, 3600 * SECOND);
    assert_eq!(bench.status(&stopped, &ids[1]).0, StatusCode::NOT_FOUND);
}

#[test]
fn a_clock_that_jumps_waits_for_whoever_is_busy() {
    let mut bench = Bench::new(ClockMode::Auto);
    let path = "/fal-ai/flux/dev?fal_webhook=http://127.0.0.1:1/";
    let submit = bench.call(Some("a:b"), Host::Queue, Method::POST, path);
    let id = json(&submit)["request_id"].as_str().unwrap().to_owned();
    bench.pass(10 * AUTO_GRACE, true);
    assert_eq!(bench.status("a:b", &id).1, "IN_QUEUE", "a request is being received");
    bench.pass(10 * AUTO_GRACE, false);
    assert_eq!(bench.status("a:b", &id).1, "COMPLETED");

    // The first delivery is under way: no time passes before it has ended.
    let wall = |bench: &Bench| bench.worlds.get(TenantId::FIRST).unwrap().wall(bench.real);
    let (tenant, letter) = bench.letters.pop().expect("it is delivered");
    let then = wall(&bench);
    bench.pass(10 * AUTO_GRACE, false);
    assert_eq!((wall(&bench), bench.letters.len()), (then, 0));
    let refused = || DeliveryResult::Answered(StatusCode::INTERNAL_SERVER_ERROR);
    let mut attempts = 1;
    let mut next = Some(letter);
    while let Some(letter) = next {
        bench.worlds.handle_delivered(bench.real, (tenant, 0), letter, refused());
        bench.drain(tenant, 0);
        bench.pass(10 * AUTO_GRACE, false);
        next = bench.letters.pop().map(|(_, letter)| letter);
        attempts += usize::from(next.is_some());
    }
    let world = bench.worlds.get(TenantId::FIRST).unwrap();
    let delivery = &world.model.deliveries()[0];
    assert_eq!(delivery.attempts.len(), attempts);
    assert!(attempts > 20, "{attempts}");
    // The result can still be read: nothing hurries to forget it.
    bench.pass(SECOND, false);
    assert_eq!(bench.status("a:b", &id).1, "COMPLETED");
}

#[test]
fn a_frozen_clock_stands_still_in_every_mode() {
    for mode in [ClockMode::Real, ClockMode::Scaled(60.0), ClockMode::Auto] {
        let mut bench = Bench::new(mode);
        let real = bench.real;
        bench.worlds.get_mut(TenantId::FIRST).unwrap().clock.freeze(real, true);
        let id = bench.submit("a:b");
        bench.pass(60 * SECOND, false);
        assert_eq!(bench.status("a:b", &id).1, "IN_QUEUE", "{mode}");
        let real = bench.real;
        bench.worlds.get_mut(TenantId::FIRST).unwrap().clock.freeze(real, false);
        bench.status("a:b", &id);
        bench.pass(2 * SECOND, false);
        assert_eq!(bench.status("a:b", &id).1, "COMPLETED", "{mode}");
    }
}

#[test]
fn tenants_share_a_set_of_webhook_keys() {
    let mut bench = Bench::new(ClockMode::Real);
    let (tenant, _) = bench.tenant(&Settings::default().seed(9));
    let keys = |bench: &mut Bench| {
        let set = bench.call(None, Host::Rest, Method::GET, "/.well-known/jwks.json");
        json(&set)["keys"].as_array().unwrap().len()
    };
    assert_eq!(keys(&mut bench), 1, "whatever the seed, one key signs for all");
    for tenant in [tenant, TenantId::FIRST] {
        let world = bench.worlds.get_mut(tenant).unwrap();
        world.model.handle_control(bench.real, crate::model::Control::RotateWebhookKey);
    }
    assert_eq!(keys(&mut bench), 3);
}

#[test]
fn waits_tell_what_is_next() {
    let mut bench = Bench::new(ClockMode::Virtual);
    bench.submit("a:b");
    let world = bench.worlds.get(TenantId::FIRST).unwrap();
    let waits = world.model.waits(10);
    let names: Vec<_> = waits.iter().map(|wait| wait.what.name()).collect();
    assert_eq!(names, ["start"]);
    assert!(waits[0].request_id.is_some());
    assert_eq!(world.model.next_progress(), Some(waits[0].at));
}
