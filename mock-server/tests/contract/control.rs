//! The control API through real sockets, held against the document that it serves.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use fal_mock::{ClockMode, MockFal};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Answer, get, post, send};

/// A mock and the document of its control API.
struct Bench {
    mock: MockFal,
    document: Value,
}

impl Bench {
    async fn new() -> Self {
        let mock = MockFal::builder().clock(ClockMode::Virtual).start().await.unwrap();
        let document = get(mock.port(), "/__mock/v1/openapi.json").await.json();
        Self { mock, document }
    }

    async fn raw(&self, method: Method, target: &str, body: &Value) -> Answer {
        let target = format!("/__mock/v1{target}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = http::Request::builder().method(method).uri(target);
        send(self.mock.port(), request, body).await
    }

    /// Calls, and holds body and answer against the document. `path` is that of the document.
    #[track_caller]
    fn check(&self, method: &Method, path: &str, body: &Value, answer: &Answer) -> Value {
        let operation = &self.document["paths"][format!("/__mock/v1{path}")]
            [method.as_str().to_ascii_lowercase()];
        assert!(operation.is_object(), "{method} {path} is in no document");
        let problems = |component: &Value, value: &Value| -> Vec<String> {
            let mut schema = component.clone();
            schema["components"] = self.document["components"].clone();
            let validator = jsonschema::validator_for(&schema).unwrap();
            validator
                .iter_errors(value)
                .map(|error| format!("{error} at {}", error.instance_path()))
                .collect()
        };
        let is_fine = answer.status.is_success();
        if !body.is_null() && is_fine {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(problems(schema, body), [""; 0], "body of {method} {path}");
        }
        let status = if is_fine { answer.status.as_str() } else { "default" };
        let told = &operation["responses"][status];
        assert!(told.is_object(), "{method} {path} answers {status}");
        let kind = answer.headers.get("content-type").map(|kind| kind.to_str().unwrap());
        let Some(kind) = kind else {
            assert!(answer.body.is_empty() && told["content"].is_null(), "{method} {path}");
            return Value::Null;
        };
        let schema = &told["content"][kind]["schema"];
        assert!(told["content"][kind].is_object(), "{method} {path} answers {kind}");
        let value = answer.json();
        if schema.is_object() {
            assert_eq!(problems(schema, &value), [""; 0], "{method} {path}: {value}");
        }
        value
    }

    async fn call(&self, method: Method, path: &str, target: &str, body: Value) -> (u16, Value) {
        let answer = self.raw(method.clone(), target, &body).await;
        let value = self.check(&method, path, &body, &answer);
        (answer.status.as_u16(), value)
    }

    async fn get(&self, path: &str) -> Value {
        let plain = path.split('?').next().unwrap();
        let (status, value) = self.call(Method::GET, plain, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, path, body).await
    }

    async fn submit(&self, key: &str) -> String {
        let request = http::Request::builder()
            .method(Method::POST)
            .uri("/queue.fal.run/fal-ai/flux/dev")
            .header("authorization", format!("Key {key}"));
        let submitted = send(self.mock.port(), request, r#"{"prompt":"a cat"}"#).await.json();
        submitted["request_id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn it_says_what_it_is() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/live").await["status"], "ok");
    assert!(bench.get("/ready").await["models"].as_u64().unwrap() > 0);
    let pem = bench.raw(Method::GET, "/ca.pem", &Value::Null).await;
    assert!(pem.body.starts_with(b"-----BEGIN CERTIFICATE-----"));
    bench.submit("a:b").await;
    assert_eq!(bench.get("/counters").await["submits"], 1);
    assert_eq!(bench.mock.requests().len(), 1, "calls of control are not written down");
}

#[tokio::test]
async fn it_tells_what_leads_programs_here() {
    let bench = Bench::new().await;
    let told = bench.get("/env?dir=/somewhere/&key=a:b&node_options=--trace-gc").await;
    let (variables, files) = (&told["variables"], &told["files"]);
    assert_eq!(variables["FAL_KEY"], "a:b");
    assert_eq!(variables["HTTPS_PROXY"], bench.mock.url());
    assert_eq!(variables["SSL_CERT_FILE"], "/somewhere/bundle.pem");
    let preload = "--trace-gc --require \"/somewhere/fal-mock-preload.cjs\"";
    assert_eq!(variables["NODE_OPTIONS"], preload);
    assert!(variables["FAL_KEY_SECRET"].is_null() && variables.get("FAL_KEY_SECRET").is_some());
    assert_eq!(files["ca.pem"], bench.mock.ca_pem());
    // Nobody else can be reached, so nobody else is trusted.
    assert_eq!(files["bundle.pem"], files["ca.pem"]);
    assert_eq!(files.as_object().unwrap().len(), 3);

    // The same as for programs that are started here.
    let environment = bench.mock.environment("a:b").unwrap();
    let names: Vec<&str> = environment.variables().map(|(name, _)| name).collect();
    assert_eq!(names.len(), variables.as_object().unwrap().len());
    assert!(names.iter().all(|name| variables.get(name).is_some()));

    let (status, problem) = bench.call(Method::GET, "/env", "/env", Value::Null).await;
    assert_eq!((status, problem["status"].as_u64()), (400, Some(400)));
}

#[tokio::test]
async fn tenants_are_made_and_ended() {
    let bench = Bench::new().await;
    let new = json!({ "name": "one", "seed": 7, "clock": "virtual", "run_time": "2h",
        "start": "2030-01-02T03:04:05Z", "queue_time": "0", "runners": 2, "instant": false });
    let (status, made) = bench.post("/tenants", new).await;
    assert_eq!(status, 201);
    let key = made["key"].as_str().unwrap();
    let id = bench.submit(key).await;
    assert_eq!(bench.get("/tenants").await["tenants"][1]["jobs"], 1);
    let clock = bench.get("/clock?tenant=one").await;
    assert!(clock["now"].as_str().unwrap().starts_with("2030-01-02T03:04:05"), "{clock}");
    let (status, job) = bench
        .call(Method::GET, "/jobs/{request_id}", &format!("/jobs/{id}?tenant=one"), Value::Null)
        .await;
    assert_eq!((status, &job["state"]), (200, &json!("running")));
    for wrong in [
        json!({ "name": "one" }),
        json!({ "name": "a b" }),
        json!({ "key": key }),
        json!({ "clock": "fast" }),
        json!({ "run_time": "soon" }),
        json!({ "start": "soon" }),
        json!({ "colour": "red" }),
    ] {
        let (status, problem) = bench.post("/tenants", wrong.clone()).await;
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    let end = |name: &'static str| bench.call(Method::DELETE, "/tenants/{name}", name, Value::Null);
    assert_eq!(end("/tenants/one").await.0, 204);
    assert_eq!(end("/tenants/one").await.0, 404);
    assert_eq!(end("/tenants/default").await.0, 409);
    let (status, _) = bench.call(Method::GET, "/clock", "/clock?tenant=one", Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_clock_is_read_stopped_and_moved() {
    let bench = Bench::new().await;
    let id = bench.submit("a:b").await;
    let clock = bench.get("/clock").await;
    assert_eq!((&clock["mode"], &clock["frozen"]), (&json!("virtual"), &json!(false)));
    assert_eq!(clock["waits"][0]["what"], "start");
    assert_eq!(clock["waits"][0]["request_id"], id);
    let (_, moved) = bench.post("/clock/run-until", json!({ "next": true })).await;
    assert_eq!(
        (&moved["moved_seconds"], &moved["waits"][0]["what"]),
        (&json!(0.2), &json!("finish"))
    );
    let (_, moved) = bench.post("/clock/advance", json!({ "by": "100ms" })).await;
    assert_eq!(moved["events"], 0);
    let (_, moved) = bench.post("/clock/run-until", json!({ "job": id })).await;
    assert_eq!((&moved["moved_seconds"], &moved["events"]), (&json!(0.7), &json!(1)));
    let (status, moved) = bench.post("/clock/run-until", json!({ "idle": true })).await;
    assert_eq!((status, &moved["events"]), (200, &json!(0)));
    let (_, moved) =
        bench.post("/clock/run-until", json!({ "time": "2999-01-01T00:00:00Z" })).await;
    assert!(moved["now"].as_str().unwrap().starts_with("2999-01-01T00:00:00"), "{moved}");
    let change = json!({ "mode": "scaled:10", "frozen": true });
    let (_, changed) = bench.call(Method::PATCH, "/clock", "/clock", change).await;
    assert_eq!((&changed["mode"], &changed["frozen"]), (&json!("scaled:10"), &json!(true)));
    for wrong in [
        json!({}),
        json!({ "next": true, "idle": true }),
        json!({ "job": "x" }),
        json!({ "time": "soon" }),
    ] {
        assert_eq!(bench.post("/clock/run-until", wrong.clone()).await.0, 400, "{wrong}");
    }
    let unknown = json!({ "job": "00000000-0000-4000-8000-000000000000" });
    assert_eq!(bench.post("/clock/run-until", unknown).await.0, 404);
}

#[tokio::test]
async fn jobs_are_seen_and_moved_by_hand() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.submit("a:b").await);
    }
    let act = async |id: &str, act: &str, body: Value| {
        let path = format!("/jobs/{{request_id}}/{act}");
        bench.call(Method::POST, &path, &format!("/jobs/{id}/{act}"), body).await
    };
    assert_eq!(act(&ids[0], "requeue", Value::Null).await.0, 409, "it does not run yet");
    bench.post("/clock/advance", json!({ "by": "300ms" })).await;
    assert_eq!(act(&ids[0], "finish", Value::Null).await.1["state"], "succeeded");
    let why = json!({ "status": 503, "error_type": "runner_disconnected", "detail": "Gone" });
    let (_, failed) = act(&ids[1], "fail", why).await;
    assert_eq!((&failed["state"], &failed["error"]), (&json!("failed"), &json!("Gone")));
    assert_eq!(act(&ids[2], "requeue", Value::Null).await.1["state"], "queued");
    assert_eq!(act(&ids[3], "cancel", Value::Null).await.1["cancel_asked"], true);
    assert_eq!(act(&ids[4], "redeliver", Value::Null).await.0, 409, "nobody wants to hear of it");
    assert_eq!(act(&ids[0], "finish", Value::Null).await.0, 409);
    assert_eq!(act("x", "finish", Value::Null).await.0, 404);
    assert_eq!(act(&ids[4], "fail", json!({ "status": 200 })).await.0, 400);

    let list = bench.get("/jobs").await;
    assert_eq!((list["jobs"].as_array().unwrap().len(), &list["total"]), (5, &json!(5)));
    assert_eq!(list["jobs"][0]["request_id"], ids[4], "the latest first");
    let some = bench.get("/jobs?state=queued&limit=1").await;
    assert_eq!(some["jobs"][0]["request_id"], ids[2]);
    assert_eq!(bench.get("/jobs?endpoint=acme").await["jobs"], json!([]));
    let wrong = bench.call(Method::GET, "/jobs", "/jobs?state=lost", Value::Null).await;
    assert_eq!(wrong.0, 400);

    let show = async |id: &str| {
        bench.call(Method::GET, "/jobs/{request_id}", &format!("/jobs/{id}"), Value::Null).await.1
    };
    let done = show(&ids[0]).await;
    assert_eq!(done["input"]["json"]["prompt"], "a cat");
    let url = done["result"]["body"]["json"]["images"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&bench.mock.url()), "{url}");
    assert_eq!(done["logs"][0]["message"], "The input is accepted");
    assert_eq!(show(&ids[1]).await["result"]["status"], 503);
    assert_eq!(show(&ids[2]).await["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn requests_files_and_deliveries_are_listed() {
    let bench = Bench::new().await;
    let port = bench.mock.port();
    let target = "/queue.fal.run/fal-ai/flux/dev?fal_webhook=http%3A%2F%2Fexample.com%2F";
    let submitted = post(port, target, r#"{"prompt":"a cat"}"#).await.json();
    let id = submitted["request_id"].as_str().unwrap();
    bench.post("/clock/run-until", json!({ "job": id })).await;
    get(port, &format!("/queue.fal.run/fal-ai/flux/requests/{id}?fal_jwt_token=mastodon")).await;
    post(port, "/queue.fal.run/nothing", "{}").await;
    let list = bench.get("/requests").await;
    assert_eq!(list["total"], 3);
    assert!(!list.to_string().contains("mastodon"), "{list}");
    assert_eq!(bench.get("/requests?status=4xx").await["requests"][0]["path"], "/nothing");
    assert_eq!(bench.get("/requests?after=2").await["requests"].as_array().unwrap().len(), 1);
    assert_eq!(bench.get("/requests?host=fal.run").await["requests"], json!([]));
    let (_, first) =
        bench.call(Method::GET, "/requests/{number}", "/requests/1", Value::Null).await;
    assert_eq!(first["request"]["body"]["json"]["prompt"], "a cat");
    assert_eq!(first["response"]["body"]["json"]["request_id"], id);
    assert!(!first.to_string().contains("secret"), "{first}");
    let (status, _) =
        bench.call(Method::GET, "/requests/{number}", "/requests/9", Value::Null).await;
    assert_eq!(status, 404);

    let deliveries = bench.get("/webhooks").await;
    assert_eq!(deliveries["deliveries"][0]["state"], "refused", "{deliveries}");
    let (status, delivery) =
        bench.call(Method::GET, "/webhooks/{number}", "/webhooks/1", Value::Null).await;
    let told: Value = serde_json::from_str(delivery["body_text"].as_str().unwrap()).unwrap();
    assert_eq!((status, &told["request_id"]), (200, &submitted["request_id"]));
    let own_keys = bench.get("/webhooks/jwks.json").await;
    assert_eq!(own_keys, get(port, "/rest.fal.ai/.well-known/jwks.json").await.json());
    assert_eq!(bench.post("/webhooks/rotate-key", Value::Null).await.0, 204);
    let keys = get(port, "/rest.fal.ai/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert_eq!(bench.get("/files").await["files"][0]["is_complete"], true);
    assert_eq!(bench.call(Method::DELETE, "/requests", "/requests", Value::Null).await.0, 204);
    assert_eq!(bench.get("/requests").await["requests"], json!([]));
}

#[tokio::test]
async fn every_operation_of_the_document_answers() {
    let bench = Bench::new().await;
    for (path, operations) in bench.document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/__mock/v1").unwrap();
        // Its answer never ends: see `events.rs`.
        if path == "/events" {
            continue;
        }
        let target: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "nobody" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let answer = bench.raw(method.clone(), &target, &Value::Null).await;
            let known = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::INTERNAL_SERVER_ERROR];
            assert!(!known.contains(&answer.status), "{method} {path}: {answer:?}");
            if answer
                .headers
                .get("content-type")
                .is_none_or(|kind| kind != "application/x-pem-file")
            {
                bench.check(&method, path, &Value::Null, &answer);
            }
        }
    }
}

#[tokio::test]
async fn strangers_are_told_to_stay_out() {
    let bench = Bench::new().await;
    let call = |origin: &'static str| {
        let request = http::Request::builder().uri("/__mock/v1/jobs").header("origin", origin);
        send(bench.mock.port(), request, "")
    };
    assert_eq!(call("https://evil.test").await.status, StatusCode::FORBIDDEN);
    let own: &'static str = bench.mock.url().leak();
    assert_eq!(call(own).await.status, StatusCode::OK);
    let request = http::Request::builder().uri("/__mock/v1/jobs").header("host", "evil.test");
    assert_eq!(send(bench.mock.port(), request, "").await.status, StatusCode::FORBIDDEN);
    let unknown = bench.raw(Method::GET, "/nothing", &Value::Null).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.headers["content-type"], "application/problem+json");
    let wrong = bench.raw(Method::PUT, "/live", &Value::Null).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_ledger_tells_twins_and_costs() {
    let bench = Bench::new().await;
    let port = bench.mock.port();
    let queue = "/queue.fal.run/fal-ai/flux/schnell";
    for body in [r#"{"prompt":"a"}"#, r#"{"prompt":"b","num_images":2}"#, r#"{"prompt":"a"}"#, "{}"]
    {
        post(port, queue, body).await;
    }
    bench.post("/clock/run-until", json!({ "idle": true })).await;
    let ledger = bench.get("/ledger").await;
    assert_eq!((&ledger["calls"], &ledger["twins"]), (&json!(4), &json!(1)));
    let endpoint = &ledger["endpoints"][0];
    // One picture, two pictures, one picture; what was refused costs nothing.
    assert_eq!((&endpoint["units"], &endpoint["unit"]), (&json!(4), &json!("images")));
    let (cost, twin_cost) =
        (ledger["cost"].as_f64().unwrap(), ledger["twin_cost"].as_f64().unwrap());
    assert!((cost - 4.0 * twin_cost).abs() < 1e-9, "{ledger}");
    assert_eq!(ledger["last"][0]["units"], 0);
    let twins = bench.get("/ledger?twins=true&limit=5").await;
    assert_eq!(twins["last"].as_array().unwrap().len(), 1);
    assert_eq!((&twins["last"][0]["number"], &twins["last"][0]["twin_of"]), (&json!(3), &json!(1)));
    // Another tenant has a ledger of its own.
    let (_, made) = bench.post("/tenants", json!({ "name": "other", "instant": true })).await;
    bench.submit(made["key"].as_str().unwrap()).await;
    let other = bench.get("/ledger?tenant=other").await;
    assert_eq!((&other["calls"], &other["last"][0]["units"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_tenant_begins_anew_and_goes_back() {
    let bench = Bench::new().await;
    let port = bench.mock.port();
    let first = bench.submit("a:b").await;
    bench.post("/clock/advance", json!({ "by": "300ms" })).await;
    let call = async |method: Method, path: &str, target: &str| {
        bench.call(method, path, target, Value::Null).await.0
    };
    let snapshots = "/snapshots/{name}";
    assert_eq!(call(Method::PUT, snapshots, "/snapshots/before").await, 204);
    let then = bench.get("/clock").await["now"].clone();
    let second = bench.submit("a:b").await;
    bench.post("/clock/advance", json!({ "by": "2h" })).await;
    assert_eq!(bench.get("/jobs").await["total"], 0, "all is forgotten");

    let restore = "/snapshots/{name}/restore";
    assert_eq!(call(Method::POST, restore, "/snapshots/before/restore").await, 204);
    assert_eq!(bench.get("/clock").await["now"], then, "time goes back too");
    let jobs = bench.get("/jobs").await;
    assert_eq!((&jobs["total"], &jobs["jobs"][0]["state"]), (&json!(1), &json!("running")));
    assert_eq!(bench.submit("a:b").await, second, "the same calls have the same answers");
    bench.post("/clock/run-until", json!({ "job": first })).await;
    let status = get(port, &format!("/queue.fal.run/fal-ai/flux/requests/{first}/status")).await;
    assert_eq!(status.json()["status"], "COMPLETED");

    assert_eq!(bench.get("/snapshots").await["snapshots"], json!(["before"]));
    assert_eq!(call(Method::DELETE, snapshots, "/snapshots/before").await, 204);
    assert_eq!(call(Method::POST, restore, "/snapshots/before/restore").await, 404);
    for number in 0..17 {
        let want = if number < 16 { 204 } else { 409 };
        assert_eq!(call(Method::PUT, snapshots, &format!("/snapshots/{number}")).await, want);
    }

    // A stream that is open is cut, and ids begin anew.
    let path = format!("/queue.fal.run/fal-ai/flux/requests/{second}/status/stream");
    let request = crate::client::call(Method::GET, &path);
    let mut stream = crate::client::open(port, request, "").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    assert_eq!(call(Method::POST, "/reset", "/reset?scope=ledger").await, 204);
    assert_eq!(bench.get("/ledger").await["calls"], 0);
    assert_eq!(call(Method::POST, "/reset", "/reset").await, 204);
    assert!(stream.next().await.is_err(), "it is cut");
    assert_eq!(
        (&bench.get("/jobs").await["total"], &bench.get("/requests").await["requests"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(bench.submit("a:b").await, first);
    assert_eq!(call(Method::POST, "/reset", "/reset?scope=some").await, 400);
}

#[tokio::test]
async fn counts_and_archives_are_read_by_other_tools() {
    let bench = Bench::new().await;
    let id = bench.submit("a:b").await;
    get(bench.mock.port(), &format!("/queue.fal.run/fal-ai/flux/requests/{id}/status?logs=1"))
        .await;
    let metrics = get(bench.mock.port(), "/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("\nfal_mock_submits_total{tenant=\"default\"} 1\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(
            value.parse::<u64>().is_ok()
                && text.contains(&format!("# TYPE {}", name.split('{').next().unwrap())),
            "{line}"
        );
    }
    let archive = bench.raw(Method::GET, "/requests/har", &Value::Null).await.json();
    let entries = archive["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["request"]["postData"]["text"], r#"{"prompt":"a cat"}"#);
    assert_eq!(entries[1]["request"]["queryString"], json!([{ "name": "logs", "value": "1" }]));
    assert_eq!(entries[1]["response"]["status"], 202);
    let secrets = entries[0]["request"]["headers"].to_string();
    assert!(secrets.contains("Key ***") && !secrets.contains("a:b"), "{secrets}");
}

#[tokio::test]
async fn documents_and_prices_are_added_while_it_runs() {
    let bench = Bench::new().await;
    let port = bench.mock.port();
    let mut document: Value =
        serde_json::from_str(include_str!("../../models/text-to-image.json")).unwrap();
    let mut model = document["models"][0].take();
    let text = model.to_string().replace("fal-ai/flux/schnell", "acme/paint");
    model = serde_json::from_str(&text).unwrap();
    let list = json!({ "models": [model, { "endpoint_id": "acme/broken", "openapi": 1 }] });
    let (code, loaded) = bench.post("/models", list).await;
    assert_eq!((code, &loaded["documents"]), (200, &json!(1)));
    assert_eq!(loaded["unusable"][0]["name"], "acme/broken");
    let ids = bench.get("/models").await;
    assert!(ids["endpoint_ids"].as_array().unwrap().contains(&json!("acme/paint")), "{ids}");
    let served = get(port, "/fal.ai/api/openapi/queue/openapi.json?endpoint_id=acme/paint").await;
    assert_eq!(served.status, StatusCode::OK);
    // Tenants that come later know it too.
    bench.post("/tenants", json!({ "name": "later" })).await;
    let ids = bench.get("/models?tenant=later").await;
    assert!(ids.to_string().contains("acme/paint"), "{ids}");

    let prices =
        json!({ "prices": [{ "endpoint_id": "acme/paint", "unit_price": 2.5, "unit": "images" }] });
    assert_eq!(bench.post("/prices", prices).await.1["prices"], 1);
    post(port, "/queue.fal.run/acme/paint", r#"{"prompt":"x"}"#).await;
    bench.post("/clock/run-until", json!({ "idle": true })).await;
    assert_eq!(bench.get("/ledger").await["cost"], 2.5);
    for wrong in [json!({}), json!({ "models": 1 })] {
        assert_eq!(bench.post("/models", wrong).await.0, 400);
    }
    assert_eq!(bench.post("/prices", json!({})).await.0, 400);
}

#[tokio::test]
async fn scenarios_are_put_on_top_and_verified() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/scenario").await["name"], Value::Null);
    assert_eq!(bench.get("/verify").await["met"], true);
    let scenario = json!({
        "rules": [{ "name": "cats", "when": { "input": { "/prompt": { "contains": "cat" } } } },
                  { "name": "dogs", "when": { "endpoint": "acme/dogs" } }],
        "faults": [{ "name": "slip", "fault": "status", "status": 503, "on": "status" }],
        "expect": { "requests": [{ "operation": "submit", "count": 1 }] },
    });
    let (status, play) =
        bench.call(Method::PUT, "/scenario", "/scenario?name=mine", scenario).await;
    assert_eq!((status, &play["name"]), (200, &json!("mine")));
    assert_eq!(bench.get("/verify").await["unmet"].as_array().unwrap().len(), 2);
    let id = bench.submit("a:b").await;
    let target = format!("/queue.fal.run/fal-ai/flux/dev/requests/{id}/status");
    assert_eq!(get(bench.mock.port(), &target).await.status, 503);
    assert_eq!(bench.get("/verify").await["met"], true);
    let faults = bench.get("/faults").await;
    assert_eq!(faults["faults"][0]["firings"][0]["whom"], format!("status {id}"));
    post(bench.mock.port(), "/queue.fal.run/acme/dog", r#"{"prompt":"a dog"}"#).await;
    let unmatched = bench.get("/requests/unmatched").await;
    let nearest = unmatched["calls"][0]["nearest"].as_array().unwrap();
    assert!(nearest[0].as_str().unwrap().starts_with("cats: input /prompt is \"a dog\""));
    assert_eq!(bench.get("/scenario").await["rules"][0]["decided"], 1);

    let raw = |body: &'static str| {
        let request = http::Request::builder().method(Method::PUT).uri("/__mock/v1/scenario");
        send(bench.mock.port(), request, body)
    };
    let answer = raw("rules:\n  - wen: a\n").await;
    assert_eq!(answer.status, 400);
    let problem = bench.check(&Method::PUT, "/scenario", &Value::Null, &answer);
    assert_eq!(problem["problems"][0]["line"], 2);
    assert!(problem["detail"].as_str().unwrap().contains("did you mean \"when\""));
    assert_eq!(bench.get("/scenario").await["name"], "mine", "the one before goes on");
    assert_eq!(raw("rules:\n  - when: a\n").await.status, 200);
    assert_eq!(bench.get("/scenario").await["name"], "admin");
    let (status, _) = bench.call(Method::DELETE, "/scenario", "/scenario", Value::Null).await;
    assert_eq!((status, &bench.get("/scenario").await["name"]), (204, &Value::Null));
    let by_name = "/scenario?name=outage";
    let (status, play) = bench.call(Method::PUT, "/scenario", by_name, Value::Null).await;
    assert_eq!((status, &play["faults"][0]["fault"]), (200, &json!("ingress")));
    let unknown = "/scenario?name=inage";
    let (status, problem) = bench.call(Method::PUT, "/scenario", unknown, Value::Null).await;
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("flaky-network"), "{problem}");
    let schema = bench.raw(Method::GET, "/scenario.schema.json", &Value::Null).await;
    assert_eq!(schema.json()["title"], "Scenario of fal-mock");
}

#[tokio::test]
async fn what_was_asked_is_verified_with_evidence() {
    let bench = Bench::new().await;
    bench.submit("a:b").await;
    bench.submit("a:b").await;
    let expect = json!({ "requests": [{ "operation": "submit", "count": { "max": 1 } }], "order": ["submit"] });
    let (_, verdict) = bench.post("/verify", expect).await;
    assert_eq!(
        (&verdict["met"], &verdict["counted"][0]["requests"]),
        (&json!(false), &json!([1, 2]))
    );
    assert!(verdict["unmet"][0].as_str().unwrap().contains("got 2"), "{verdict}");
    assert_eq!(verdict["order"][0]["requests"], json!([1]));
    let (status, problem) = bench.post("/verify", json!({ "requets": [] })).await;
    assert_eq!(status, 400);
    assert!(problem.to_string().contains("requests"), "{problem}");
}
