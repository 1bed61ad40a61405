//! The platform API and the documents of models.

use fal_mock::MockFal;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::client::{call, get, post, send};
use crate::instant;

/// A call without a key.
fn anonymous(method: Method, target: &str) -> http::request::Builder {
    Request::builder().method(method).uri(target)
}

fn document(id: &str, category: &str) -> Value {
    json!({
        "openapi": "3.0.4",
        "info": {"title": format!("Queue OpenAPI for {id}"), "description": "Draws.",
            "x-fal-metadata": {"endpointId": id, "category": category}},
        "paths": {format!("/{id}"): {"post": {"requestBody": {"content": {"application/json": {"schema": {
            "type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}
        }}}}}}}
    })
}

/// Twelve models of ours, and two without a document.
async fn gallery() -> MockFal {
    let mut models: Vec<Value> = (0..12)
        .map(|n| {
            let id = format!("gallery/m{n:02}");
            json!({"endpoint_id": id, "openapi": document(&id, "text-to-image")})
        })
        .collect();
    models.push(json!({
        "endpoint_id": "gallery/old",
        "metadata": {"display_name": "Old Master", "category": "image-to-image", "status": "deprecated",
            "description": "Paints \"slowly\".", "tags": ["slow"], "kind": "inference", "license_type": "research",
            "stream_url": "https://fal.run/gallery/old/stream", "group": {"key": "old", "label": "One"}},
        "openapi": {"error": {"code": "expansion_failed", "message": "Failed to fetch OpenAPI schema"}}
    }));
    let dump = json!({"models": models}).to_string().into_bytes();
    MockFal::builder().instant().openapi(dump).start().await.expect("a list of models")
}

fn ids(answer: &Value) -> Vec<&str> {
    let models = answer["models"].as_array().expect("a list");
    models.iter().map(|model| model["endpoint_id"].as_str().expect("an id")).collect()
}

#[track_caller]
fn refused(answer: &crate::client::Answer, status: u16, kind: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["error"]["type"]), (status, &json!(kind)), "{body}");
    assert!(body["error"]["message"].is_string(), "{body}");
    assert_eq!(
        answer.headers["x-fal-request-id"].as_bytes(),
        body["error"]["request_id"].as_str().map_or(&b""[..], str::as_bytes)
    );
}

#[tokio::test]
async fn models_are_listed_page_by_page() {
    let mock = gallery().await;
    let (mut cursor, mut seen, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let target = format!("/api.fal.ai/v1/models?limit=5{cursor}");
        let answer = send(mock.port(), anonymous(Method::GET, &target), "").await;
        assert_eq!(answer.status, StatusCode::OK);
        let page = answer.json();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        pages += 1;
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert!(pages > 1 || next == "Mg==", "{next}");
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), mock.catalog().len());
    assert_eq!(pages, mock.catalog().len().div_ceil(5));
    seen.dedup();
    assert_eq!(seen.len(), mock.catalog().len(), "each once");
}

#[tokio::test]
async fn an_entry_has_what_the_platform_promises() {
    let mock = gallery().await;
    let target =
        "/api.fal.ai/v1/models?endpoint_id=gallery/old&endpoint_id=gallery/m00,acme/nobody";
    let answer = get(mock.port(), target).await.json();
    assert_eq!(ids(&answer), ["gallery/old", "gallery/m00", "acme/nobody"]);
    let required = [
        "display_name",
        "category",
        "description",
        "status",
        "tags",
        "updated_at",
        "is_favorited",
        "thumbnail_url",
        "model_url",
        "date",
        "highlighted",
        "pinned",
    ];
    for model in &answer["models"].as_array().unwrap()[..2] {
        for name in required {
            assert!(model["metadata"].get(name).is_some(), "{name} in {model}");
        }
    }
    let old = &answer["models"][0]["metadata"];
    assert_eq!(old["description"], "Paints \"slowly\".");
    assert_eq!((&old["tags"], &old["license_type"]), (&json!(["slow"]), &json!("research")));
    assert_eq!((&old["status"], &old["group"]["key"]), (&json!("deprecated"), &json!("old")));
    assert_eq!(old["is_favorited"], false, "known to who has a key");
    let base = mock.url();
    assert_eq!(old["model_url"], format!("{base}/fal.run/gallery/old"));
    assert_eq!(old["stream_url"], format!("{base}/fal.run/gallery/old/stream"));
    assert!(answer["models"][1]["metadata"].get("stream_url").is_none());
    assert_eq!(answer["models"][2], json!({"endpoint_id": "acme/nobody"}), "bare");
    assert_eq!((&answer["has_more"], &answer["next_cursor"]), (&json!(false), &Value::Null));

    let anonymous = send(mock.port(), anonymous(Method::GET, target), "").await.json();
    assert_eq!(anonymous["models"][0]["metadata"]["is_favorited"], Value::Null);
}

#[tokio::test]
async fn searches_narrow() {
    let mock = gallery().await;
    let found = async |query: &str| {
        let answer =
            get(mock.port(), &format!("/api.fal.ai/v1/models?limit=100&{query}")).await.json();
        ids(&answer).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found("q=old+MASTER").await, ["gallery/old"]);
    assert_eq!(found("q=slowly&category=image-to-image&status=deprecated").await, ["gallery/old"]);
    assert!(found("q=master&status=active").await.is_empty());
    assert_eq!(found("endpoint_id=gallery/old,gallery/m01,acme/x&q=draws").await, ["gallery/m01"]);
    assert_eq!(found("status=deprecated").await, ["gallery/old"]);
    assert_eq!(found("category=no-such").await, Vec::<String>::new());
    assert_eq!(found("expand[]=openapi-3.0&category=text-to-video").await, ["fal-ai/ltx-video"]);
}

#[tokio::test]
async fn documents_are_served_where_fal_serves_them() {
    let mock = gallery().await;
    let wanted = document("gallery/m07", "text-to-image");
    for id in ["gallery/m07", "gallery%2Fm07"] {
        let target = format!("/fal.ai/api/openapi/queue/openapi.json?endpoint_id={id}");
        let request = anonymous(Method::GET, &target).header("origin", "https://app.test");
        let answer = send(mock.port(), request, "").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, wanted.clone()));
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    for id in ["gallery/old", "acme/nobody", ""] {
        let target = format!("/fal.ai/api/openapi/queue/openapi.json?endpoint_id={id}");
        assert_eq!(get(mock.port(), &target).await.status, StatusCode::NOT_FOUND, "{id}");
    }
    let target = "/api.fal.ai/v1/models?expand=openapi-3.0&expand=enterprise_status\
                  &endpoint_id=gallery/m07&endpoint_id=gallery/old";
    let answer = get(mock.port(), target).await.json();
    assert_eq!(answer["models"][0]["openapi"], wanted);
    assert_eq!(answer["models"][0]["enterprise_status"], "ready");
    let failed =
        json!({"error": {"code": "expansion_failed", "message": "Failed to fetch OpenAPI schema"}});
    assert_eq!(answer["models"][1]["openapi"], failed);
    assert!(get(mock.port(), "/fal.ai/models").await.status == StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn limits_and_unknown_values_are_refused() {
    let mock = gallery().await;
    let many: String = (0..51).map(|n| format!("acme/m{n},")).collect();
    for query in [
        "limit=0".to_owned(),
        "limit=many".to_owned(),
        "limit=11&expand=openapi-3.0".to_owned(),
        "expand=openapi-3.1".to_owned(),
        "status=all".to_owned(),
        "cursor=%20".to_owned(),
        format!("endpoint_id={many}"),
    ] {
        let answer = get(mock.port(), &format!("/api.fal.ai/v1/models?{query}")).await;
        refused(&answer, 400, "validation_error");
    }
    let full = get(mock.port(), "/api.fal.ai/v1/models?limit=10&expand=openapi-3.0").await.json();
    assert_eq!(ids(&full).len(), 10);
    let default = get(mock.port(), "/api.fal.ai/v1/models?expand=openapi-3.0").await.json();
    assert_eq!((ids(&default).len(), &default["has_more"]), (10, &json!(true)));
    let cut = get(mock.port(), "/api.fal.ai/v1/models?limit=1000").await;
    assert_eq!(cut.status, StatusCode::OK);
}

#[tokio::test]
async fn prices_come_from_the_table_or_are_usual() {
    let table =
        br#"{"prices":[{"endpoint_id":"acme/paint","unit_price":0.1,"unit":"megapixels"}]}"#;
    let mock = MockFal::builder().instant().prices(&table[..]).start().await.unwrap();
    let port = mock.port();
    let target = "/api.fal.ai/v1/models/pricing?endpoint_id=acme/paint,acme/nobody&endpoint_id=fal-ai/flux/schnell";
    let answer = get(port, target).await.json();
    let wanted = json!({"prices": [
        {"endpoint_id": "acme/paint", "unit_price": 0.1, "unit": "megapixels", "currency": "USD"},
        {"endpoint_id": "fal-ai/flux/schnell", "unit_price": 0.025, "unit": "images", "currency": "USD"}
    ], "next_cursor": null, "has_more": false});
    assert_eq!(answer, wanted);
    refused(
        &get(port, "/api.fal.ai/v1/models/pricing?endpoint_id=acme/nobody").await,
        404,
        "not_found",
    );
    refused(&get(port, "/api.fal.ai/v1/models/pricing").await, 400, "validation_error");
    refused(&send(port, anonymous(Method::GET, target), "").await, 401, "authorization_error");

    let estimate = "/api.fal.ai/v1/models/pricing/estimate";
    let body = r#"{"estimate_type":"unit_price","endpoints":{"acme/paint":{"unit_quantity":3},"fal-ai/flux/schnell":{"unit_quantity":0.5}}}"#;
    let wanted = json!({"estimate_type": "unit_price", "total_cost": 0.3125, "currency": "USD"});
    assert_eq!(post(port, estimate, body).await.json(), wanted);
    let body = r#"{"estimate_type":"historical_api_price","endpoints":{"acme/paint":{"call_quantity":3}}}"#;
    assert_eq!(post(port, estimate, body).await.json()["total_cost"], 0.3);
    for (body, status, kind) in [
        ("", 400, "validation_error"),
        (
            r#"{"estimate_type":"guess","endpoints":{"acme/paint":{"call_quantity":1}}}"#,
            400,
            "validation_error",
        ),
        (r#"{"estimate_type":"unit_price","endpoints":{}}"#, 400, "validation_error"),
        (
            r#"{"estimate_type":"unit_price","endpoints":{"acme/paint":{"call_quantity":1}}}"#,
            400,
            "validation_error",
        ),
        (
            r#"{"estimate_type":"unit_price","endpoints":{"acme/paint":{"unit_quantity":0}}}"#,
            400,
            "validation_error",
        ),
        (
            r#"{"estimate_type":"historical_api_price","endpoints":{"acme/paint":{"call_quantity":0.5}}}"#,
            400,
            "validation_error",
        ),
        (
            r#"{"estimate_type":"historical_api_price","endpoints":{"acme/nobody":{"call_quantity":1}}}"#,
            404,
            "not_found",
        ),
    ] {
        refused(&post(port, estimate, body).await, status, kind);
    }
}

#[tokio::test]
async fn requests_are_remembered() {
    let mock = instant().await;
    let port = mock.port();
    let good = post(port, "/queue.fal.run/acme/paint", r#"{"prompt":"x"}"#).await.json();
    let bad = post(port, "/queue.fal.run/acme/paint", r#"{"seed":"x"}"#).await.json();
    post(port, "/queue.fal.run/acme/other", "{}").await;
    let base = "/api.fal.ai/v1/models/requests/by-endpoint?endpoint_id=acme/paint";
    let answer = get(port, base).await.json();
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{answer}");
    for item in items {
        for name in ["sent_at", "started_at", "ended_at"] {
            let text = item[name].as_str().unwrap();
            assert!(text.len() == 27 && text.ends_with('Z'), "{text}");
        }
        assert!(item.get("json_input").is_none() && item["duration"].is_number());
    }
    let only =
        async |query: &str| get(port, &format!("{base}&{query}")).await.json()["items"].clone();
    let failed = only("status=user_error&expand=payloads").await;
    assert_eq!(failed[0]["request_id"], bad["request_id"]);
    assert_eq!((&failed[0]["status_code"], failed.as_array().unwrap().len()), (&json!(422), 1));
    assert_eq!(failed[0]["json_input"], json!({"seed": "x"}));
    assert_eq!(failed[0]["json_output"]["detail"][0]["type"], "int_parsing");
    let id = good["request_id"].as_str().unwrap();
    let made = only(&format!("request_id={id}&expand=payloads&sort_by=duration")).await;
    let result = get(port, &format!("/queue.fal.run/acme/paint/requests/{id}")).await.json();
    assert_eq!((&made[0]["json_output"], &made[0]["status_code"]), (&result, &json!(200)));
    assert_eq!(only("status=error").await, json!([]));
    assert_eq!(only("end=2020-01-01").await, json!([]));
    assert_eq!(only("start=2020-01-01T00:00:00Z").await.as_array().unwrap().len(), 2);
    let first = get(port, &format!("{base}&limit=1")).await.json();
    assert_eq!((&first["has_more"], &first["next_cursor"]), (&json!(true), &json!("Mg==")));
    for query in
        ["limit=101", "status=bad", "start=x", "request_id=1", "sort_by=x", "expand=billing"]
    {
        refused(&get(port, &format!("{base}&{query}")).await, 400, "validation_error");
    }
    refused(
        &get(port, "/api.fal.ai/v1/models/requests/by-endpoint").await,
        400,
        "validation_error",
    );
    refused(&send(port, anonymous(Method::GET, base), "").await, 401, "authorization_error");
}

#[tokio::test]
async fn waiting_requests_are_counted() {
    let hour = std::time::Duration::from_secs(3600);
    let mock = MockFal::builder().queue_time(hour).start().await.unwrap();
    let size = "/api.fal.ai/v1/serverless/apps/acme/paint/queue";
    assert_eq!(get(mock.port(), size).await.json(), json!({"queue_size": 0}));
    for _ in 0..3 {
        post(mock.port(), "/queue.fal.run/acme/paint/fast", "{}").await;
    }
    assert_eq!(get(mock.port(), size).await.json(), json!({"queue_size": 3}));
    let waiting = "/api.fal.ai/v1/models/requests/by-endpoint?endpoint_id=acme/paint/fast";
    assert_eq!(get(mock.port(), waiting).await.json()["items"], json!([]), "none has started");
}

#[tokio::test]
async fn other_routes_are_told_apart() {
    let mock = instant().await;
    let port = mock.port();
    let meta = send(port, anonymous(Method::GET, "/api.fal.ai/v1/meta"), "").await.json();
    assert_eq!(meta["webhook_ip_ranges"][0], "127.0.0.1/32");
    refused(&get(port, "/api.fal.ai/v1/keys").await, 501, "not_implemented");
    refused(&post(port, "/api.fal.ai/v1/models", "").await, 501, "not_implemented");
    refused(&get(port, "/api.fal.ai/v1/nothing").await, 404, "not_found");
    refused(&get(port, "/api.fal.ai/models").await, 404, "not_found");
    let bad = call(Method::GET, "/api.fal.ai/v1/models/pricing?endpoint_id=a/b");
    let mut bad = bad;
    bad.headers_mut().unwrap().insert("authorization", "Key x".parse().unwrap());
    refused(&send(port, bad, "").await, 401, "authorization_error");
}

#[tokio::test]
async fn strict_mocks_know_what_they_were_told() {
    let one = document("acme/paint/fast", "text-to-image").to_string().into_bytes();
    let mock = MockFal::builder().instant().openapi(one).strict(true).start().await.unwrap();
    let port = mock.port();
    for host in ["fal.run", "queue.fal.run"] {
        let answer = post(port, &format!("/{host}/acme/nothing"), r#"{"prompt":"x"}"#).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json(), json!({"detail": "Application \"nothing\" not found"}));
    }
    assert_eq!(
        post(port, "/fal.run/acme/paint/fast", r#"{"prompt":"x"}"#).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn inputs_are_judged_by_their_document() {
    let one = document("acme/paint/fast", "text-to-image").to_string().into_bytes();
    let mock = MockFal::builder().instant().openapi(one).start().await.unwrap();
    let port = mock.port();
    let refused = post(port, "/fal.run/acme/paint/fast", "{}").await;
    let wanted = json!({"detail": [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing",
        "url": "https://errors.pydantic.dev/2.11/v/missing", "input": {}}]});
    assert_eq!(
        (refused.status, refused.json()),
        (StatusCode::UNPROCESSABLE_ENTITY, wanted.clone())
    );
    assert_eq!(refused.headers["x-fal-billable-units"], "0");

    let queued = post(port, "/queue.fal.run/acme/paint/fast", "{}").await;
    assert_eq!((queued.status, &queued.json()["status"]), (StatusCode::OK, &json!("IN_QUEUE")));
    let id = queued.json()["request_id"].as_str().unwrap().to_owned();
    let status = get(port, &format!("/queue.fal.run/acme/paint/requests/{id}/status")).await.json();
    assert_eq!(
        (&status["status"], &status["error"]),
        (&json!("COMPLETED"), &json!("prompt: Field required"))
    );
    let result = get(port, &format!("/queue.fal.run/acme/paint/requests/{id}")).await;
    assert_eq!((result.status, result.json()), (StatusCode::UNPROCESSABLE_ENTITY, wanted));
}

#[tokio::test]
async fn sources_that_cannot_be_used_stop_the_start() {
    let missing = MockFal::builder().openapi("/no/such/file.json").start().await.unwrap_err();
    assert!(missing.to_string().contains("/no/such/file.json"), "{missing}");
    let bad = MockFal::builder().openapi(b"{}".to_vec()).start().await.unwrap_err();
    assert_eq!(bad.kind(), std::io::ErrorKind::InvalidData);
    let bad = MockFal::builder().prices(b"{}".to_vec()).start().await.unwrap_err();
    assert_eq!(bad.kind(), std::io::ErrorKind::InvalidData);
}
