use super::*;
use crate::auth::Key;
use crate::lifecycle::{Acl, Decision, Lifecycle};
use crate::upload::Plan;

fn settings() -> Settings {
    Settings { credentials: Key::parse("id:topsecret").unwrap().into(), ..Settings::default() }
}

fn label() -> Label {
    let lifecycle = Lifecycle::default()
        .expires("1h".parse().unwrap())
        .acl(Acl::new(Decision::Forbid))
        .upload_headers()
        .unwrap();
    Label::new("cät.png".into(), "image/png", lifecycle).unwrap()
}

fn token(base: &str) -> CdnToken {
    let body = format!(r#"{{"token":"t","token_type":"Bearer","base_url":"{base}"}}"#);
    CdnToken::parse(body.as_bytes()).unwrap()
}

fn state(route: Route, target: &str, upload_id: Option<&str>) -> UploadState {
    let addresses =
        Addresses { target: target.parse().unwrap(), file_url: "https://f.test".into() };
    let plan = Plan::new(25, 10).unwrap();
    let mut state =
        UploadState::new(route, &label(), plan, addresses, upload_id.map(str::to_owned));
    for number in 1..=3 {
        state.put(number, format!("e{number}").into());
    }
    state
}

fn body() -> Body {
    Body::Source { range: 0..10 }
}

const JSON: &[u8] = br#"{"file_url":"https://v3.fal.media/f","upload_url":"https://v3.fal.media/f?signature=s&expires=1"}"#;

#[test]
fn the_number_of_a_part_goes_before_the_query() {
    for (target, id, expected) in [
        ("https://x.test/a.png?signature=s%2F&x", None, "https://x.test/a.png/3?signature=s%2F&x"),
        ("https://x.test/a.png", None, "https://x.test/a.png/3"),
        ("https://x.test", None, "https://x.test/3"),
        (
            "https://v3.fal.media/a.png",
            Some("mp/7 7"),
            "https://v3.fal.media/a.png/multipart/mp%2F7%207/3",
        ),
    ] {
        let state = state(Route::Initiate, target, id);
        assert_eq!(step_uri(&state, "3").unwrap(), expected);
    }
}

#[test]
fn lifecycles_go_with_the_first_request_of_each_route() {
    let (settings, label) = (settings(), label());
    let token = token("https://v3.fal.media");
    for request in [
        initiate(&settings, Route::Initiate, &label, false).unwrap(),
        initiate(&settings, Route::Initiate, &label, true).unwrap(),
        initiate(&settings, Route::Gcs, &label, false).unwrap(),
        initiate(&settings, Route::Gcs, &label, true).unwrap(),
        cdn_post(&settings, &token, &label, Some(body())).unwrap(),
        cdn_post(&settings, &token, &label, None).unwrap(),
    ] {
        let json =
            r#"{"expiration_duration_seconds":3600,"initial_acl":{"default":"forbid","rules":[]}}"#;
        for name in ["x-fal-object-lifecycle", "x-fal-object-lifecycle-preference"] {
            assert_eq!(request.headers[name], json, "{request:?}");
        }
    }
    let put = put(&settings, &label, "https://x.test/a".parse().unwrap(), body());
    assert!(!put.headers.contains_key("x-fal-object-lifecycle"));
}

#[test]
fn signed_addresses_get_no_credentials() {
    let (settings, label) = (settings(), label());
    // Even at a host that is trusted with the key.
    let at_home = "https://rest.fal.ai/a.png?signature=s";
    let state = state(Route::Initiate, at_home, None);
    for request in [
        put(&settings, &label, at_home.parse().unwrap(), body()),
        put_part(&settings, at_home.parse().unwrap(), body()),
        part(&settings, None, &label, &state, 1, body()).unwrap(),
        complete(&settings, None, &state).unwrap(),
    ] {
        assert!(!request.headers.contains_key(header::AUTHORIZATION), "{request:?}");
    }
}

#[test]
fn the_older_store_gets_the_key_at_home_only() {
    let (settings, label) = (settings(), label());
    for (target, is_home) in [
        ("https://rest.fal.ai/u/1", true),
        ("https://rest.fal.ai/u/1?signature=s", false),
        ("https://evil.test/u/1", false),
    ] {
        let state = state(Route::Gcs, target, None);
        for request in [
            part(&settings, None, &label, &state, 2, body()).unwrap(),
            complete(&settings, None, &state).unwrap(),
        ] {
            assert_eq!(request.headers.contains_key(header::AUTHORIZATION), is_home, "{target}");
        }
        let request = complete(&settings, None, &state).unwrap();
        let Body::Bytes(body) = request.body else { panic!("it has a body") };
        assert_eq!(
            body,
            r#"{"parts":[{"part_number":1,"etag":"e1"},{"part_number":2,"etag":"e2"},{"part_number":3,"etag":"e3"}]}"#
        );
    }
}

#[test]
fn the_token_goes_to_the_cdn_only() {
    let (settings, label) = (settings(), label());
    let tokens = [token("https://v3.fal.media"), token("https://cdn.test/below/")];
    for (target, for_first, for_second) in [
        ("https://v3.fal.media/a", true, true),
        ("https://v3b.fal.media/a", true, true),
        ("https://cdn.test/below/a", false, true),
        ("https://cdn.test/belowa", false, false),
        ("https://cdn.test/below/../a", false, false),
        ("https://cdn.test/a", false, false),
        ("http://v3.fal.media/a", false, false),
        ("https://v3.fal.media:444/a", false, false),
        ("https://evilfal.media/a", false, false),
        ("https://v3.fal.media.evil.test/a", false, false),
        ("https://rest.fal.ai/a", false, false),
    ] {
        let state = state(Route::Cdn, target, Some("mp"));
        for (token, expected) in tokens.iter().zip([for_first, for_second]) {
            let part = part(&settings, Some(token), &label, &state, 1, body());
            let complete = complete(&settings, Some(token), &state);
            assert_eq!(
                (part.is_ok(), complete.is_ok()),
                (expected, expected),
                "{target} {token:?}"
            );
            if let Ok(part) = part {
                assert_eq!(part.headers[header::AUTHORIZATION], "Bearer t");
                assert!(part.headers[header::AUTHORIZATION].is_sensitive());
            }
            let created = format!(r#"{{"access_url":"{target}","uploadId":"mp"}}"#);
            assert_eq!(read_created(&settings.hosts, token, created.as_bytes()).is_ok(), expected);
        }
        part(&settings, None, &label, &state, 1, body()).unwrap_err();
    }
}

#[test]
fn the_cdn_is_where_the_token_says() {
    let (settings, label) = (settings(), label());
    for (base, expected) in [
        ("https://v3.fal.media", "https://v3.fal.media/files/upload"),
        ("https://cdn.test/below/", "https://cdn.test/below/files/upload"),
        ("http://cdn.test", "https://v3.fal.media/files/upload"),
        ("nonsense", "https://v3.fal.media/files/upload"),
    ] {
        let request = cdn_post(&settings, &token(base), &label, Some(body())).unwrap();
        assert_eq!(request.uri, expected, "{base}");
        assert_eq!(request.headers[FILE_NAME].as_bytes(), "cät.png".as_bytes());
    }
}

#[test]
fn etags_come_by_body_or_header() {
    #[track_caller]
    fn check(
        route: Route,
        body: &'static str,
        header: Option<&'static str>,
        expected: Option<&str>,
    ) {
        let mut response = http::Response::new(Bytes::from_static(body.as_bytes()));
        if let Some(value) = header {
            response.headers_mut().insert(header::ETAG, HeaderValue::from_static(value));
        }
        let found = read_etag(route, &response).ok();
        assert_eq!(found.as_deref(), expected, "{body} {header:?}");
    }
    let body = r#"{"partNumber":3,"etag":"\"b\""}"#;
    check(Route::Initiate, body, Some("\"h\""), Some("\"b\""));
    check(Route::Initiate, "", Some("\"h\""), Some("\"h\""));
    check(Route::Initiate, r#"{"etag":""}"#, Some("h"), Some("h"));
    check(Route::Cdn, "<ok/>", Some("W/\"h\""), Some("W/\"h\""));
    check(Route::Gcs, "", Some("\"h\""), Some("h"));
    check(Route::Gcs, body, None, Some("b"));
    check(Route::Initiate, "{}", None, None);
    check(Route::Gcs, "", Some("\"\""), None);
}

#[test]
fn addresses_that_may_not_be_used_are_refused_unseen() {
    let (real, mock) = (Hosts::fal(), Hosts::under("http://127.0.0.1:1").unwrap());
    assert_eq!(read_initiated(&real, JSON).unwrap().file_url, "https://v3.fal.media/f");
    let plain =
        String::from_utf8_lossy(JSON).replace("https://v3.fal.media/f?", "http://x.test/f?");
    assert!(read_initiated(&mock, plain.as_bytes()).is_ok());
    let user =
        String::from_utf8_lossy(JSON).replace("https://v3.fal.media/f?", "https://u:p@x.test/f?");
    for body in [plain, user, r#"{"upload_url":"signature=s"}"#.into(), "signature=s".into()] {
        let error = read_initiated(&real, body.as_bytes()).err().expect(&body);
        assert!(!format!("{error} {error:?}").contains("signature=s"), "{error}");
        let error = read_part_address(&real, body.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("signature=s"), "{error}");
    }
}
