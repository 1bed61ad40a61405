//! The platform API: against the mock where it plays it, else against a server of fixed words.

use std::time::Duration;

use bytes::Bytes;
use fal_client::platform::{Estimate, StorageSettings};
use fal_client::{Acl, Client, Credentials, Decision, ErrorKind, ErrorType, Expires};
use fal_mock::MockFal;
use fal_mock::model::Control;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::raw::{Act, Raw, Seen, json as answer, json_with};
use crate::support::{FLUX, KEY, builder, client, in_time};

/// A model of the mock's own catalogue.
const PRICED: &str = "fal-ai/flux/schnell";

/// A client that nobody has given a key.
fn anonymous(url: &str) -> Client {
    let builder = Client::builder().base_url(url).credentials(Credentials::Anonymous);
    builder.build().unwrap()
}

fn document(id: &str) -> Value {
    json!({
        "openapi": "3.0.4", "info": { "title": "t", "x-fal-metadata": { "endpointId": id, "category": "llm" } },
        "paths": { format!("/{id}"): { "post": { "requestBody": { "content": { "application/json": { "schema": {
            "type": "object", "required": ["prompt"], "properties": { "prompt": { "type": "string" } }
        } } } } } } }
    })
}

async fn gallery() -> MockFal {
    let mut models: Vec<Value> = (0..23)
        .map(|n| format!("gallery/m{n:02}"))
        .map(|id| json!({ "endpoint_id": id, "openapi": document(&id) }))
        .collect();
    models.push(json!({ "endpoint_id": "gallery/broken",
        "openapi": { "error": { "code": "expansion_failed", "message": "Failed to fetch OpenAPI schema" } } }));
    let dump = json!({ "models": models }).to_string().into_bytes();
    MockFal::builder().instant().openapi(dump).start().await.unwrap()
}

#[tokio::test]
async fn the_catalogue_is_read_page_by_page_without_a_key() {
    let mock = gallery().await;
    let mut list = anonymous(&mock.url()).platform().models().page_size(5).list();
    let mut ids = Vec::new();
    while let Some(model) = in_time(list.next()).await {
        ids.push(model.unwrap().endpoint_id.to_string());
    }
    assert_eq!(ids.len(), mock.catalog().len());
    ids.dedup();
    assert_eq!(ids.len(), mock.catalog().len(), "each once");
    assert_eq!(mock.requests().len(), mock.catalog().len().div_ceil(5));
}

#[tokio::test]
async fn pages_are_asked_for_when_they_are_needed() {
    let mock = gallery().await;
    let list = anonymous(&mock.url()).platform().models().page_size(3).list();
    let some: Vec<_> = in_time(list.take(4).collect::<Vec<_>>()).await;
    assert!(some.len() == 4 && some.iter().all(Result::is_ok));
    assert_eq!(mock.requests().len(), 2);
}

#[tokio::test]
async fn models_are_found_with_their_documents() {
    let mock = gallery().await;
    let platform = anonymous(&mock.url()).platform();
    let model = in_time(platform.model("gallery/m07", true)).await.unwrap().unwrap();
    let schema = model.openapi.unwrap().unwrap().schema().unwrap();
    let fields: Vec<&str> = schema.input().resolved().fields().map(|field| field.name).collect();
    assert_eq!(fields, ["prompt"]);
    assert!(model.metadata.is_some_and(|metadata| !metadata.is_deprecated()));

    let broken = in_time(platform.model("gallery/broken", true)).await.unwrap().unwrap();
    assert_eq!(&*broken.openapi.unwrap().unwrap_err().code, "expansion_failed");
    assert_eq!(in_time(platform.model("acme/nobody", false)).await.unwrap(), None);

    let page = platform.models().ids(["gallery/m01", "acme/nobody"]).page();
    let page = in_time(page).await.unwrap();
    let known: Vec<bool> = page.models.iter().map(|model| model.metadata.is_some()).collect();
    assert_eq!(known, [true, false]);
    let many = platform.models().category("llm").with_documents().list();
    let many: Vec<_> = in_time(many.collect::<Vec<_>>()).await;
    let documents = many.iter().filter(|model| {
        let document = model.as_ref().unwrap().openapi.as_ref();
        document.is_some_and(Result::is_ok)
    });
    assert!(documents.count() >= 23);
}

#[tokio::test]
async fn prices_and_estimates_need_a_key() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let error = in_time(anonymous(&mock.url()).platform().prices([PRICED])).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 401);
    assert_eq!(error.error_type(), Some(&ErrorType::AUTHORIZATION_ERROR));
    assert!(error.request_id().is_some() && !error.is_retryable());

    let platform = client(&mock.url()).platform();
    let prices = in_time(platform.prices([PRICED])).await.unwrap();
    assert_eq!(&*prices[0].endpoint_id, PRICED);
    assert!(prices[0].unit_price > 0.0 && prices[0].currency.len() == 3);
    let units = Estimate::Units(vec![(PRICED.parse().unwrap(), 4.0)]);
    let cost = in_time(platform.estimate(&units)).await.unwrap();
    assert!((cost.total_cost - 4.0 * prices[0].unit_price).abs() < 1e-9, "{cost:?}");
    let calls = Estimate::Calls(vec![(PRICED.parse().unwrap(), 2)]);
    assert!(in_time(platform.estimate(&calls)).await.unwrap().total_cost >= 0.0);
}

#[tokio::test]
async fn a_result_can_be_found_again_in_the_history() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let output =
        in_time(client.subscribe(FLUX).input(json!({ "prompt": "found again" }))).await.unwrap();
    let request_id = output.request_id().unwrap();
    let history = client.platform().requests([FLUX]).request_id(request_id).with_payloads();
    let page = in_time(history.page()).await.unwrap();
    assert_eq!((page.requests.len(), page.next_cursor), (1, None));
    let found = &page.requests[0];
    assert_eq!((&*found.request_id, found.status_code), (request_id, Some(200)));
    assert_eq!(found.input.as_ref().unwrap()["prompt"], "found again");
    assert_eq!(found.output.as_ref().unwrap()["images"], output.value().unwrap()["images"]);

    let mut list = client.platform().requests([FLUX]).page_size(1).list();
    assert_eq!(&*in_time(list.next()).await.unwrap().unwrap().request_id, request_id);
    assert!(in_time(list.next()).await.is_none());
    assert_eq!(in_time(client.platform().queue_size(FLUX)).await.unwrap(), 0);
    let meta = in_time(client.platform().meta()).await.unwrap();
    assert!(meta.webhook_ip_ranges.iter().any(|range| range.starts_with("127.0.0.1")));
}

/// The status that fetching a file is refused with, if it is.
async fn refusal(client: &Client, url: &str) -> Option<u16> {
    let error = in_time(client.download(url)).await.err()?;
    Some(error.status().expect("a refusal has a status").as_u16())
}

#[tokio::test]
async fn a_file_opens_to_whom_its_list_and_its_signed_address_say() {
    let mock = MockFal::start().await;
    let client = client(&mock.url());
    let platform = client.platform();
    let closed = Acl::new(Decision::Forbid).rule("acme", Decision::Allow);
    let upload = |text: &'static str| client.upload(Bytes::from(text)).acl(closed.clone());
    let url = in_time(upload("secret")).await.unwrap();
    let other = in_time(upload("other")).await.unwrap();
    assert_eq!(refusal(&client, &url).await, Some(403));
    assert_eq!(in_time(platform.acl(&url)).await.unwrap(), closed);

    let signed = in_time(platform.sign(&url, Duration::from_secs(60))).await.unwrap();
    assert_eq!(in_time(client.download(signed.reveal())).await.unwrap(), "secret");
    let (address, identity) = signed.reveal().split_once('?').unwrap();
    assert_eq!(address, url);
    for forged in [format!("{url}?{identity}0"), format!("{other}?{identity}")] {
        assert_eq!(refusal(&client, &forged).await, Some(403), "it opens one file, and as it is");
    }

    let hidden = Acl::new(Decision::Hide);
    assert_eq!(in_time(platform.set_acl(&url, &hidden)).await.unwrap(), hidden);
    assert_eq!(refusal(&client, &url).await, Some(404));
    let open = Acl::new(Decision::Allow);
    assert_eq!(in_time(platform.set_acl(&url, &open)).await.unwrap(), open);
    assert_eq!(in_time(client.download(&url)).await.unwrap(), "secret");
    assert_eq!(in_time(platform.acl(&url)).await.unwrap(), open);
    assert_eq!(refusal(&client, &other).await, Some(403), "only one was opened");

    assert!(mock.control(Control::ExpireFile { url: other.clone() }));
    for error in [
        in_time(platform.acl(&other)).await.map(drop).unwrap_err(),
        in_time(platform.sign(&other, Duration::from_secs(1))).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.status().unwrap().as_u16(), error.is_retryable()), (404, false));
    }
    let keyless = anonymous(&mock.url()).platform();
    for error in [
        in_time(keyless.acl(&url)).await.map(drop).unwrap_err(),
        in_time(keyless.set_acl(&url, &hidden)).await.map(drop).unwrap_err(),
        in_time(keyless.sign(&url, Duration::from_secs(1))).await.map(drop).unwrap_err(),
        in_time(keyless.storage_settings()).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.error_type(), Some(&ErrorType::AUTHORIZATION_ERROR));
    }
    assert_eq!(in_time(platform.acl(&url)).await.unwrap(), open);
}

#[tokio::test]
async fn rules_for_strangers_are_dropped_and_that_is_told() {
    let mock = MockFal::builder().key(KEY).key("acme:other").start().await.unwrap();
    let client = client(&mock.url());
    let wanted =
        Acl::new(Decision::Forbid).rule("nobody", Decision::Allow).rule("acme", Decision::Hide);
    let kept = Acl::new(Decision::Forbid).rule("acme", Decision::Hide);
    let url = in_time(client.upload(Bytes::from_static(b"x"))).await.unwrap();
    let platform = client.platform();
    assert_eq!(in_time(platform.acl(&url)).await.unwrap(), Acl::new(Decision::Allow));
    assert_eq!(in_time(platform.set_acl(&url, &wanted)).await.unwrap(), kept);
    assert_eq!(in_time(platform.acl(&url)).await.unwrap(), kept);
}

#[tokio::test]
async fn settings_hold_for_files_that_say_nothing() {
    let mock = MockFal::start().await;
    let client = client(&mock.url());
    let platform = client.platform();
    assert_eq!(in_time(platform.storage_settings()).await.unwrap(), StorageSettings::default());
    let mut settings = StorageSettings::default();
    settings.expiration_secs = Some(3600);
    settings.initial_acl = Some(Acl::new(Decision::Forbid));
    assert_eq!(in_time(platform.set_storage_settings(&settings)).await.unwrap(), settings);
    assert_eq!(in_time(platform.storage_settings()).await.unwrap(), settings);

    let silent = in_time(client.upload(Bytes::from_static(b"silent"))).await.unwrap();
    let open = client.upload(Bytes::from_static(b"open")).acl(Acl::new(Decision::Allow));
    let open = in_time(open.expires(Expires::Unlimited)).await.unwrap();
    assert_eq!(refusal(&client, &silent).await, Some(403));
    assert_eq!(in_time(client.download(&open)).await.unwrap(), "open");
    let lives: Vec<bool> = mock.files().iter().map(|file| file.expires_at.is_some()).collect();
    assert_eq!(lives, [true, false], "what an upload says goes first");

    // What is not named is cleared.
    settings = StorageSettings::default();
    assert_eq!(in_time(platform.set_storage_settings(&settings)).await.unwrap(), settings);
    let later = in_time(client.upload(Bytes::from_static(b"later"))).await.unwrap();
    assert_eq!(in_time(client.download(&later)).await.unwrap(), "later");
    assert_eq!(refusal(&client, &silent).await, Some(403), "older files stay as they are");
}

#[tokio::test]
async fn files_have_readers_and_signed_addresses() {
    let acl = json!({ "default": "forbid", "rules": [{ "user": "acme", "decision": "allow" }] });
    let told = acl.clone();
    let server = Raw::start(move |seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        Act::Say(match path {
            "/api.fal.ai/v1/storage/files/acl" => answer(200, &told),
            "/api.fal.ai/v1/storage/files/sign" => {
                answer(200, &json!({ "signed_url": "https://v3.fal.media/a?identity=i" }))
            }
            _ => answer(200, &json!({ "expiration_duration_seconds": 60, "initial_acl": told })),
        })
    });
    let server = server.await;
    let platform = client(server.url()).platform();
    let file = "https://v3.fal.media/files/a.png";
    let wanted = Acl::new(Decision::Forbid).rule("acme", Decision::Allow);
    assert_eq!(in_time(platform.acl(file)).await.unwrap(), wanted);
    assert_eq!(in_time(platform.set_acl(file, &wanted)).await.unwrap(), wanted);
    let signed = in_time(platform.sign(file, Duration::from_secs(60))).await.unwrap();
    assert_eq!(signed.reveal(), "https://v3.fal.media/a?identity=i");
    let mut settings = StorageSettings::default();
    settings.initial_acl = Some(wanted);
    let saved = in_time(platform.set_storage_settings(&settings)).await.unwrap();
    assert_eq!((saved.expiration_secs, &saved.initial_acl), (Some(60), &settings.initial_acl));
    assert_eq!(in_time(platform.storage_settings()).await.unwrap(), saved);

    let seen = server.seen();
    let body = |seen: &Seen| serde_json::from_slice::<Value>(&seen.body).unwrap_or_default();
    assert_eq!(
        seen[0].target,
        "/api.fal.ai/v1/storage/files/acl?url=https%3A%2F%2Fv3.fal.media%2Ffiles%2Fa.png"
    );
    assert_eq!((seen[1].method.as_str(), body(&seen[1])), ("PUT", acl.clone()));
    assert_eq!(
        (seen[2].method.as_str(), body(&seen[2])),
        ("POST", json!({ "expiration_seconds": 60 }))
    );
    let put = json!({ "expiration_duration_seconds": null, "initial_acl": acl });
    assert_eq!((seen[3].method.as_str(), body(&seen[3])), ("PUT", put));
    assert!(seen.iter().all(|seen| seen.header("authorization").is_some()));
}

#[tokio::test]
async fn payloads_are_deleted_once_however_often_it_is_asked() {
    let server = Raw::start(|seen| match seen.connection {
        0 => Act::CLOSE,
        _ => Act::Say(answer(
            200,
            &json!({ "cdn_delete_results": [{ "link": "https://x/a", "exception": "no" }] }),
        )),
    });
    let server = server.await;
    let id = "019f0000-0000-7000-8000-000000000000";
    let deleted = in_time(client(server.url()).platform().delete_payloads(id)).await.unwrap();
    assert_eq!(deleted.files[0].problem.as_deref(), Some("no"));
    let seen = server.seen();
    assert_eq!((seen.len(), seen[1].method.as_str()), (2, "DELETE"));
    let keys: Vec<_> = seen.iter().map(|seen| seen.header("idempotency-key")).collect();
    assert_eq!(keys, [Some(id), Some(id)]);
    let error = in_time(client(server.url()).platform().delete_payloads("a/b")).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{error:?}");
}

#[tokio::test]
async fn rate_limits_are_waited_out_and_refusals_are_told() {
    let limited = json!({ "error": { "type": "rate_limited", "message": "slow down" } });
    let server = Raw::start(move |seen| match (seen.connection, seen.target.contains("cursor")) {
        (_, true) => Act::Say(answer(
            400,
            &json!({ "error": { "type": "validation_error", "message": "bad cursor" } }),
        )),
        (0, _) => Act::SayAndClose(json_with(429, &[("retry-after", "0")], &limited)),
        _ => Act::Say(answer(
            200,
            &json!({ "models": [{ "endpoint_id": "a/b" }], "next_cursor": "odd", "has_more": true }),
        )),
    });
    let server = server.await;
    let list = client(server.url()).platform().models().list();
    let all: Vec<_> = in_time(list.collect::<Vec<_>>()).await;
    assert_eq!((server.seen().len(), all.len()), (3, 2), "a refusal ends the list");
    let error = all[1].as_ref().unwrap_err();
    assert_eq!(error.error_type(), Some(&ErrorType::VALIDATION_ERROR));
    assert_eq!(error.to_string(), "400 Bad Request: bad cursor [validation_error]");
}

#[tokio::test]
async fn a_list_that_never_ends_ends() {
    let page =
        json!({ "models": [{ "endpoint_id": "a/b" }], "next_cursor": "same", "has_more": true });
    let server = Raw::start(move |_| Act::Say(answer(200, &page))).await;
    let list = client(server.url()).platform().models().list();
    let all: Vec<_> = in_time(list.collect::<Vec<_>>()).await;
    assert!(matches!(
        all.last().unwrap().as_ref().unwrap_err().kind(),
        Some(ErrorKind::Protocol(_))
    ));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn more_than_fifty_prices_are_asked_for_in_turn() {
    let server = Raw::start(|_| Act::Say(answer(200, &json!({ "prices": [] })))).await;
    let ids: Vec<String> = (0..120).map(|n| format!("acme/a{n}")).collect();
    let platform = builder(server.url()).build().unwrap().platform();
    assert_eq!(in_time(platform.prices(&ids)).await.unwrap(), []);
    let counts: Vec<_> =
        server.seen().iter().map(|seen| seen.target.matches("endpoint_id=").count()).collect();
    assert_eq!(counts, [50, 50, 20]);
}
