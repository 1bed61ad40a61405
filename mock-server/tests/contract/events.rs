//! The events of the control API: whoever has read them all knows what a list would say.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::collections::BTreeMap;
use std::time::Duration;

use fal_mock::{ClockMode, MockFal};
use fal_protocol::rand::SplitMix64;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Opened, call, get, open, post, send};

/// Somebody who reads events.
struct Ear {
    opened: Opened,
    text: String,
    last_id: String,
}

/// An event: its kind and its data.
type Event = (String, Value);

impl Ear {
    async fn new(port: u16, target: &str, last_id: Option<&str>) -> Self {
        let mut request = http::Request::builder().method(Method::GET).uri(target);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let opened = open(port, request, "").await.unwrap();
        assert_eq!(opened.head.headers["content-type"], "text/event-stream");
        Self { opened, text: String::new(), last_id: String::new() }
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
                    value.to_owned()
                };
                let kind = field("event: ");
                let data = serde_json::from_str(&field("data: ")).unwrap();
                self.last_id = field("id: ");
                self.text = rest.to_owned();
                return (kind, data);
            }
            let bytes = tokio::time::timeout(Duration::from_secs(20), self.opened.next()).await;
            let bytes = bytes.expect("an event comes").unwrap().expect("it never ends");
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// All events before the making of a tenant, which is made for that.
    async fn all(&mut self, port: u16, marker: &str) -> Vec<Event> {
        let body = json!({ "name": marker }).to_string();
        assert_eq!(post(port, "/__mock/v1/tenants", &body).await.status, 201);
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            if event.0 == "tenant" && event.1["tenant"] == marker {
                return events;
            }
            events.push(event);
        }
    }
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.as_str()).collect()
}

async fn virtual_mock() -> MockFal {
    MockFal::builder().clock(ClockMode::Virtual).start().await.unwrap()
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let mock = virtual_mock().await;
    let port = mock.port();
    let mut ear = Ear::new(port, "/__mock/v1/events", None).await;
    assert_eq!(ear.next().await, ("hello".to_owned(), json!({ "resumed": false })));
    let target = "/queue.fal.run/fal-ai/flux/dev?fal_webhook=http%3A%2F%2Fexample.com%2F";
    let submitted = post(port, target, r#"{"prompt":"a cat"}"#).await.json();
    let events = ear.all(port, "m1").await;
    assert_eq!(kinds(&events), ["job", "request"]);
    assert_eq!(events[0].1["job"]["state"], "queued");
    assert_eq!(events[0].1["job"]["request_id"], submitted["request_id"]);
    assert_eq!(
        (&events[1].1["request"]["status"], &events[1].1["tenant"]),
        (&200.into(), &"default".into())
    );
    post(port, "/__mock/v1/clock/advance", r#"{"by":"10s"}"#).await;
    let events = ear.all(port, "m2").await;
    let states: Vec<&Value> =
        events.iter().map(|(_, data)| &data["job"]["state"]).filter(|s| !s.is_null()).collect();
    assert_eq!(states, ["running", "succeeded"]);
    let row =
        |kind: &str| events.iter().rev().find(|event| event.0 == kind).map(|event| &event.1[kind]);
    assert_eq!(row("delivery").unwrap()["state"], "refused");
    assert_eq!(row("file").unwrap()["content_type"], "image/png");
    let clock = get(port, "/__mock/v1/clock").await.json();
    assert_eq!(row("clock").unwrap()["now"], clock["now"]);
    let job = get(port, "/__mock/v1/jobs").await.json()["jobs"][0].clone();
    assert_eq!(row("job").unwrap(), &job);
}

#[tokio::test]
async fn faults_are_told_and_other_scenarios_begin_anew() {
    let mock = virtual_mock().await;
    let port = mock.port();
    let mut ear = Ear::new(port, "/__mock/v1/events", None).await;
    ear.next().await;
    let scenario =
        "faults:\n  - { name: first, fault: ingress, status: 503, on: submit, nth: 1 }\n";
    let put = call(Method::PUT, "/__mock/v1/scenario");
    assert_eq!(send(port, put, scenario).await.status, 200);
    assert_eq!(ear.next().await, ("reset".to_owned(), json!({ "tenant": "default" })));
    assert_eq!(post(port, "/queue.fal.run/a/b", "{}").await.status, 503);
    let (kind, data) = ear.next().await;
    let fired = &data["fault"];
    assert_eq!((&*kind, &fired["name"], &fired["number"]), ("fault", &"first".into(), &1.into()));
    let listed = get(port, "/__mock/v1/faults").await.json();
    let firing = &listed["faults"][0]["firings"][0];
    assert_eq!((&fired["at"], &fired["whom"]), (&firing["at"], &firing["whom"]));
    assert_eq!(ear.next().await.0, "request");
}

#[tokio::test]
async fn a_broken_connection_is_resumed_and_a_strange_one_is_told() {
    let mock = virtual_mock().await;
    let port = mock.port();
    let mut ear = Ear::new(port, "/__mock/v1/events", None).await;
    ear.next().await;
    let id = ear.last_id.clone();
    drop(ear);
    post(port, "/queue.fal.run/a/b", "{}").await;
    let mut again = Ear::new(port, "/__mock/v1/events", Some(&id)).await;
    assert_eq!(again.next().await.1["resumed"], true);
    assert_eq!([again.next().await.0, again.next().await.0], ["job", "request"]);
    let mut strange = Ear::new(port, "/__mock/v1/events", Some("1-1")).await;
    assert_eq!(strange.next().await, ("reset".to_owned(), json!({ "tenant": null })));
}

#[tokio::test]
async fn one_tenant_is_seen_alone() {
    let mock = virtual_mock().await;
    let port = mock.port();
    let made = post(port, "/__mock/v1/tenants", r#"{"name":"own"}"#).await.json();
    let mut ear = Ear::new(port, "/__mock/v1/events?tenant=own", None).await;
    ear.next().await;
    post(port, "/queue.fal.run/a/b", "{}").await;
    let key = format!("Key {}", made["key"].as_str().unwrap());
    let request = http::Request::builder().method(Method::POST).uri("/queue.fal.run/a/c");
    send(port, request.header("authorization", key), "{}").await;
    let (kind, data) = ear.next().await;
    assert_eq!(
        (&*kind, &data["tenant"], &data["job"]["endpoint"]),
        ("job", &"own".into(), &"a/c".into())
    );
    send(port, call(Method::DELETE, "/__mock/v1/tenants/own"), "").await;
    let mut last = ear.next().await;
    while last.0 != "tenant-ended" {
        last = ear.next().await;
    }
    let unknown = get(port, "/__mock/v1/events?tenant=own").await;
    assert_eq!(unknown.status, 404);
}

/// What somebody knows who has read all events.
#[derive(Debug, Default, PartialEq)]
struct Known {
    jobs: BTreeMap<String, Value>,
    requests: BTreeMap<String, Value>,
    deliveries: BTreeMap<String, Value>,
    files: BTreeMap<String, Value>,
    clock: Value,
}

impl Known {
    fn take(&mut self, events: Vec<Event>) -> bool {
        for (kind, mut data) in events {
            if data["tenant"] != "default" {
                continue;
            }
            let row = data[&kind].take();
            match &*kind {
                "job" => _ = self.jobs.insert(name(&row, "request_id"), without_position(row)),
                "job-gone" => _ = self.jobs.remove(data["request_id"].as_str().unwrap()),
                "request" => _ = self.requests.insert(name(&row, "number"), row),
                "delivery" => _ = self.deliveries.insert(name(&row, "number"), row),
                "delivery-gone" => _ = self.deliveries.remove(&name(&data, "number")),
                "file" => _ = self.files.insert(name(&row, "id"), row),
                "file-gone" => _ = self.files.remove(data["id"].as_str().unwrap()),
                "clock" => self.clock = row,
                "reset" => return false,
                _ => {}
            }
        }
        true
    }

    /// What the lists say.
    async fn ask(port: u16) -> Self {
        let list = async |path: &str, key: &str, id: &str| {
            let list = get(port, &format!("/__mock/v1/{path}?limit=10000")).await.json();
            let rows = list[key].as_array().unwrap().clone();
            rows.into_iter().map(|row| (name(&row, id), row)).collect::<BTreeMap<_, _>>()
        };
        let mut deliveries = list("webhooks", "deliveries", "number").await;
        deliveries.values_mut().for_each(|row| _ = row.as_object_mut().unwrap().remove("body"));
        let mut clock = get(port, "/__mock/v1/clock").await.json();
        clock.as_object_mut().unwrap().retain(|key, _| ["mode", "frozen", "now"].contains(&&**key));
        let jobs = list("jobs", "jobs", "request_id").await;
        Self {
            jobs: jobs.into_iter().map(|(id, row)| (id, without_position(row))).collect(),
            requests: list("requests", "requests", "number").await,
            deliveries,
            files: list("files", "files", "id").await,
            clock,
        }
    }
}

/// Positions change for many at once, and are not told.
fn without_position(mut row: Value) -> Value {
    row["queue_position"] = Value::Null;
    row
}

fn name(row: &Value, id: &str) -> String {
    row[id].as_str().map_or_else(|| row[id].to_string(), str::to_owned)
}

#[tokio::test]
async fn who_reads_all_events_knows_what_the_lists_say() {
    for seed in 0..6 {
        let mock = virtual_mock().await;
        let port = mock.port();
        let mut ear = Ear::new(port, "/__mock/v1/events", None).await;
        let mut known = Known::ask(port).await;
        let mut rng = SplitMix64::new(seed);
        let mut ids: Vec<String> = Vec::new();
        for round in 0..4 {
            for _ in 0..25 {
                perform(port, &mut rng, &mut ids).await;
            }
            // Time waits for deliveries, so this ends after them.
            post(port, "/__mock/v1/clock/advance", r#"{"by":"0s"}"#).await;
            let events = ear.all(port, &format!("m{round}")).await;
            if !known.take(events) {
                known = Known::ask(port).await;
            }
            assert_eq!(known, Known::ask(port).await, "seed {seed}, round {round}");
        }
    }
}

async fn perform(port: u16, rng: &mut SplitMix64, ids: &mut Vec<String>) {
    let mut pick = |n: u64| rng.next_u64() % n;
    let what = pick(15);
    let id = match ids.len() as u64 {
        0 => "nobody".to_owned(),
        len => ids[pick(len) as usize].clone(),
    };
    let control = |path: String, body: &'static str| async move {
        post(port, &format!("/__mock/v1/{path}"), body).await
    };
    match what {
        0..=3 => {
            let hook = if what < 2 { "?fal_webhook=http%3A%2F%2F127.0.0.1%3A9%2F" } else { "" };
            let target = format!("/queue.fal.run/fal-ai/flux/dev{hook}");
            let submitted = post(port, &target, r#"{"prompt":"a cat"}"#).await.json();
            ids.push(submitted["request_id"].as_str().unwrap().to_owned());
        }
        4 => _ = control(format!("jobs/{id}/finish"), "").await,
        5 => _ = control(format!("jobs/{id}/fail"), r#"{"detail":"x"}"#).await,
        6 => _ = control(format!("jobs/{id}/requeue"), "").await,
        7 => _ = control(format!("jobs/{id}/cancel"), "").await,
        8 => _ = control(format!("jobs/{id}/redeliver"), "").await,
        9 => _ = control("clock/advance".to_owned(), r#"{"by":"300ms"}"#).await,
        10 => _ = control("clock/run-until".to_owned(), r#"{"next":true}"#).await,
        11 => {
            let target = "/v3.fal.media/files/upload";
            let token =
                post(port, "/rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3", "{}").await;
            let token = token.json()["token"].as_str().unwrap().to_owned();
            let request = http::Request::builder().method(Method::POST).uri(target);
            let request = request.header("authorization", format!("Bearer {token}"));
            send(port, request.header("content-type", "text/plain"), "hello").await;
        }
        12 => {
            let path = format!("/queue.fal.run/fal-ai/flux/requests/{id}");
            get(port, &path).await;
        }
        // All is another from one moment to the next.
        13 if pick(8) == 0 => {
            let target = "/__mock/v1/snapshots/a";
            send(port, call(Method::PUT, target), "").await;
            control("clock/advance".to_owned(), r#"{"by":"1s"}"#).await;
            control("snapshots/a/restore".to_owned(), "").await;
        }
        // What is kept for an hour goes.
        _ if pick(8) == 0 => _ = control("clock/advance".to_owned(), r#"{"by":"65m"}"#).await,
        _ => _ = send(port, call(Method::DELETE, "/__mock/v1/requests"), "").await,
    }
}
