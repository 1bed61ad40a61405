//! Redirects: where they are followed, and what must not follow.

use fal_client::ErrorKind;
use serde_json::json;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::raw::{Act, Raw, json as json_answer, well};
use crate::support::{FLUX, client, in_time};

const SUBMIT: &str = "/queue.fal.run/fal-ai/flux/dev";
const RESULT: &str = "/queue.fal.run/fal-ai/flux/requests/job-1";

#[tokio::test]
async fn a_result_elsewhere_is_fetched_without_the_key() {
    for status in [301, 302, 303, 307, 308] {
        let (fal, other) = (MockServer::start().await, MockServer::start().await);
        let target = format!("{}/stored/result.json", other.uri());
        redirect(&fal, "GET", RESULT, status, &target).await;
        let body = ResponseTemplate::new(200).set_body_raw(r#"{"seed":7}"#, "application/json");
        Mock::given(path("/stored/result.json")).respond_with(body).mount(&other).await;

        let queue = client(&fal.uri()).queue(FLUX).unwrap();
        let output = in_time(queue.result("job-1")).await.unwrap();
        assert_eq!(output.value().unwrap()["seed"], 7);
        check_key(&fal, true).await;
        check_key(&other, false).await;
    }
}

#[tokio::test]
async fn the_key_does_not_come_back_by_a_detour() {
    let (fal, other) = (MockServer::start().await, MockServer::start().await);
    redirect(&fal, "GET", RESULT, 302, &format!("{}/detour", other.uri())).await;
    let back = format!("{}/queue.fal.run/attacker/app/requests/x", fal.uri());
    redirect(&other, "GET", "/detour", 302, &back).await;
    let queue = client(&fal.uri()).queue(FLUX).unwrap();
    in_time(queue.result("job-1")).await.unwrap_err();
    let seen = fal.received_requests().await.unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].headers.contains_key("authorization"));
    assert!(!seen[1].headers.contains_key("authorization"), "a stranger chose this address");
}

#[tokio::test]
async fn a_submit_is_not_carried_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let (fal, other) = (MockServer::start().await, MockServer::start().await);
        redirect(&fal, "POST", SUBMIT, status, &format!("{}{SUBMIT}", other.uri())).await;
        let error = in_time(client(&fal.uri()).subscribe(FLUX)).await.unwrap_err();
        // 307 and 308 promise that nothing was done; the others say that something may have been.
        match (status, error.kind()) {
            (307 | 308, Some(ErrorKind::Protocol(_)))
            | (301..=303, Some(ErrorKind::SubmitUnknown { .. })) => {}
            (_, other) => panic!("{status}: {other:?}"),
        }
        assert_eq!(fal.received_requests().await.unwrap().len(), 1);
        assert_eq!(other.received_requests().await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_submit_follows_on_its_own_host() {
    for target in ["absolute", "relative"] {
        let fal = MockServer::start().await;
        let base = if target == "absolute" { fal.uri() } else { String::new() };
        redirect(&fal, "POST", SUBMIT, 307, &format!("{base}/queue.fal.run/fal-ai/moved")).await;
        let accepted = ResponseTemplate::new(200)
            .set_body_raw(r#"{"request_id":"job-1"}"#, "application/json");
        Mock::given(method("POST"))
            .and(path("/queue.fal.run/fal-ai/moved"))
            .respond_with(accepted)
            .expect(1)
            .mount(&fal)
            .await;
        let submit = client(&fal.uri()).queue(FLUX).unwrap().submit(json!({ "a": 1 }));
        let handle = in_time(submit).await.unwrap();
        assert_eq!(&*handle.request_id, "job-1");
        let seen = fal.received_requests().await.unwrap();
        assert_eq!(seen[1].body, br#"{"a":1}"#, "body and all");
        check_key(&fal, true).await;
        fal.verify().await;
    }
}

#[tokio::test]
async fn addresses_in_an_answer_are_followed_only_at_the_service() {
    let stranger = Raw::start(well).await;
    let elsewhere = json!({
        "request_id": "job-1",
        "status_url": format!("{}/queue.fal.run/a/requests/x/status", stranger.url()),
        "response_url": format!("{}/queue.fal.run/a/requests/x", stranger.url()),
        "cancel_url": format!("{}/queue.fal.run/a/requests/x/cancel", stranger.url()),
    });
    let accepted = elsewhere.clone();
    let fal = Raw::start(move |seen| match seen.step() {
        "submit" => Act::Say(json_answer(200, &accepted)),
        _ => well(seen),
    })
    .await;
    let client = client(fal.url());
    let queue = client.queue(FLUX).unwrap();
    let handle = in_time(queue.submit(json!({}))).await.unwrap();
    in_time(client.subscribe(FLUX)).await.unwrap();
    // A handle may come from anywhere, too.
    let mut stored = elsewhere;
    stored["endpoint"] = FLUX.into();
    let stored: fal_client::Handle = stored.to_string().parse().unwrap();
    for handle in [handle, stored] {
        in_time(queue.status(&handle, true)).await.unwrap();
        in_time(queue.watch(&handle)).await.unwrap();
        in_time(queue.cancel(&handle)).await.unwrap();
        in_time(client.attach(handle)).await.unwrap();
    }
    assert_eq!(stranger.connections(), 0, "{:?}", stranger.seen());
}

#[tokio::test]
async fn loops_end() {
    let fal = MockServer::start().await;
    redirect(&fal, "GET", RESULT, 302, RESULT).await;
    let queue = client(&fal.uri()).queue(FLUX).unwrap();
    let error = in_time(queue.result("job-1")).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Protocol(_))), "{error:?}");
    assert_eq!(error.request_id(), Some("job-1"));
    let count = fal.received_requests().await.unwrap().len();
    assert!((2..=21).contains(&count), "{count} requests");

    fal.reset().await;
    redirect(&fal, "POST", SUBMIT, 307, SUBMIT).await;
    in_time(client(&fal.uri()).subscribe(FLUX)).await.unwrap_err();
    let count = fal.received_requests().await.unwrap().len();
    assert!((2..=21).contains(&count), "{count} requests");
}

#[tokio::test]
async fn redirects_to_nowhere_are_errors() {
    for target in ["", "not a url", "ftp://example.com/x", "http://user@127.0.0.1:1/x", "//"] {
        let fal = MockServer::start().await;
        redirect(&fal, "GET", RESULT, 302, target).await;
        let queue = client(&fal.uri()).queue(FLUX).unwrap();
        let error = in_time(queue.result("job-1")).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Protocol(_))), "{target}: {error:?}");
    }
}

#[tokio::test]
async fn downloads_follow_without_a_key_and_not_for_ever() {
    let (cdn, other) = (MockServer::start().await, MockServer::start().await);
    redirect(&cdn, "GET", "/v3.fal.media/a", 302, &format!("{}/b", other.uri())).await;
    redirect(&other, "GET", "/b", 302, "/c").await;
    let file = ResponseTemplate::new(200).set_body_bytes(b"content");
    Mock::given(path("/c")).respond_with(file).mount(&other).await;
    redirect(&other, "GET", "/loop", 302, "/loop").await;

    let client = client(&cdn.uri());
    let url = format!("{}/v3.fal.media/a", cdn.uri());
    assert_eq!(in_time(client.download(url)).await.unwrap(), "content");
    let endless = in_time(client.download(format!("{}/loop", other.uri()))).await.unwrap_err();
    assert_eq!(endless.status().map(|status| status.as_u16()), Some(302), "{endless:?}");
    check_key(&cdn, false).await;
    check_key(&other, false).await;
    assert!(other.received_requests().await.unwrap().len() < 20);
}

#[tokio::test]
async fn downloads_follow_every_form_of_address() {
    let (cdn, other) = (MockServer::start().await, MockServer::start().await);
    let file = || ResponseTemplate::new(200).set_body_bytes(b"content");
    Mock::given(path("/files/b.png")).respond_with(file()).mount(&other).await;
    let other_host = other.address();
    for target in [
        "b.png".to_owned(),
        "./b.png".to_owned(),
        "../files/b.png".to_owned(),
        "/files/b.png".to_owned(),
        "?to=b".to_owned(),
        format!("//{other_host}/files/b.png"),
        format!("HTTP://{other_host}/files/b.png#part"),
    ] {
        cdn.reset().await;
        Mock::given(path("/files/b.png")).respond_with(file()).mount(&cdn).await;
        Mock::given(wiremock::matchers::query_param("to", "b"))
            .respond_with(file())
            .mount(&cdn)
            .await;
        redirect(&cdn, "GET", "/files/a", 302, &target).await;
        let url = format!("{}/files/a", cdn.uri());
        let bytes = in_time(client(&cdn.uri()).download(url)).await;
        assert_eq!(bytes.unwrap_or_else(|e| panic!("{target}: {e:?}")), "content", "{target}");
    }
    for target in ["", "not a url", "ftp://example.com/x", "http://user:pw@127.0.0.1:1/x", "//"] {
        cdn.reset().await;
        redirect(&cdn, "GET", "/files/a", 302, target).await;
        let url = format!("{}/files/a", cdn.uri());
        let error = in_time(client(&cdn.uri()).download(url)).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{target}: {error:?}");
        assert!(!error.to_string().contains("pw"), "{error}");
    }
}

async fn redirect(server: &MockServer, verb: &str, from: &str, status: u16, to: &str) {
    let answer = ResponseTemplate::new(status).insert_header("location", to);
    Mock::given(any()).and(method(verb)).and(path(from)).respond_with(answer).mount(server).await;
}

/// Whether the requests that a server got carried credentials: all of them, or none.
async fn check_key(server: &MockServer, expected: bool) {
    let seen = server.received_requests().await.unwrap();
    assert!(!seen.is_empty());
    for request in seen {
        assert_eq!(request.headers.contains_key("authorization"), expected, "{}", request.url);
        assert!(!request.url.as_str().contains("very-secret"));
    }
}
