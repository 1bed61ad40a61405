//! The ways in, and where addresses in answers lead.

use http::{Method, StatusCode};

use crate::client::{call, get, path_of, post, send};
use crate::instant;

#[tokio::test]
async fn the_prefix_door_leads_back_through_itself() {
    let mock = instant().await;
    let port = mock.port();
    let submitted = post(port, "/queue.fal.run/fal-ai/flux/dev", r#"{"prompt":"x"}"#).await.json();
    let url = |name: &str| path_of(submitted[name].as_str().unwrap(), port);
    assert_eq!(get(port, &url("status_url")).await.json()["status"], "COMPLETED");
    let output = get(port, &url("response_url")).await.json();
    let file = get(port, &path_of(output["images"][0]["url"].as_str().unwrap(), port)).await;
    assert_eq!(
        (file.status, &file.headers["content-type"]),
        (StatusCode::OK, &"image/png".parse().unwrap())
    );
    let cancel = send(port, call(Method::PUT, &url("cancel_url")), "").await;
    assert_eq!(cancel.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_proxy_door_speaks_real_queue_addresses_and_direct_file_addresses() {
    let mock = instant().await;
    let port = mock.port();
    let through = |method: Method, target: &str| {
        call(method, "/api/fal/proxy").header("x-fal-target-url", target)
    };
    let target = "https://queue.fal.run/fal-ai/flux/dev";
    let submitted = send(port, through(Method::POST, target), r#"{"prompt":"x"}"#).await.json();
    let response_url = submitted["response_url"].as_str().unwrap();
    assert!(
        response_url.starts_with("https://queue.fal.run/fal-ai/flux/requests/"),
        "{response_url}"
    );
    let status =
        send(port, through(Method::GET, &format!("{response_url}/status?logs=1")), "").await.json();
    assert!(status["logs"].is_array(), "the query stands inside the target");
    let output = send(port, through(Method::GET, response_url), "").await.json();
    let file = get(port, &path_of(output["images"][0]["url"].as_str().unwrap(), port)).await;
    assert_eq!(file.status, StatusCode::OK);

    let initiate = "https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3";
    let body = r#"{"content_type":"text/plain","file_name":"a.txt"}"#;
    let upload = send(port, through(Method::POST, initiate), body).await.json();
    let put = http::Request::put(path_of(upload["upload_url"].as_str().unwrap(), port))
        .header("content-type", "text/x");
    assert_eq!(send(port, put, "hello").await.status, StatusCode::OK);
    let file = get(port, &path_of(upload["file_url"].as_str().unwrap(), port)).await;
    assert_eq!(
        (&file.body[..], &file.headers["content-type"]),
        (&b"hello"[..], &"text/x".parse().unwrap())
    );
}

#[tokio::test]
async fn what_is_submitted_by_one_door_is_read_by_another() {
    let mock = instant().await;
    let port = mock.port();
    let submit =
        call(Method::POST, "/x").header("x-fal-target-url", "https://queue.falrun.com/a/b");
    let submitted = send(port, submit, "{}").await.json();
    let id = submitted["request_id"].as_str().unwrap();
    let output = send(
        port,
        call(Method::GET, &format!("/queue.fal.run/a/b/requests/{id}"))
            .header("host", "other.test:1"),
        "",
    )
    .await;
    let url = output.json()["images"][0]["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://other.test:1/v3.fal.media/files/"), "{url}");
}

#[tokio::test]
async fn lost_callers_are_told_where_to_go() {
    let mock = instant().await;
    let port = mock.port();
    let help = get(port, "/").await;
    assert_eq!(help.status, StatusCode::OK);
    let text = String::from_utf8(help.body.to_vec()).unwrap();
    assert!(text.contains(&format!("127.0.0.1:{port}/api/fal/proxy")), "{text}");

    let unknown = get(port, "/fal-ai/flux/dev").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.json()["detail"].as_str().unwrap().contains("/queue.fal.run/"));
    assert_eq!(get(port, "/kv.fal.media/x").await.status, StatusCode::NOT_IMPLEMENTED);
    let elsewhere = call(Method::GET, "/").header("x-fal-target-url", "https://example.com/x");
    let refused = send(port, elsewhere, "").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.json()["detail"].as_str().unwrap().contains("example.com"));
}

#[tokio::test]
async fn browsers_are_welcome() {
    let mock = instant().await;
    let port = mock.port();
    for target in ["/api/fal/proxy", "/queue.fal.run/a/b", "/v3.fal.media/files/x", "/"] {
        let preflight = call(Method::OPTIONS, target)
            .header("origin", "http://localhost:3000")
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization, content-type");
        let answer = send(port, preflight, "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{target}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(
            answer.headers["access-control-allow-headers"],
            "*, authorization, content-type"
        );
        assert!(answer.headers["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
    }
    let run = call(Method::POST, "/fal.run/a/b").header("origin", "http://localhost:3000");
    let answer = send(port, run, "{}").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert!(
        answer.headers["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("x-fal-request-id")
    );
    let missing =
        send(port, call(Method::GET, "/v3.fal.media/files/x").header("origin", "null"), "").await;
    assert_eq!(
        (missing.status, &missing.headers["access-control-allow-origin"]),
        (StatusCode::NOT_FOUND, &"*".parse().unwrap())
    );
}
