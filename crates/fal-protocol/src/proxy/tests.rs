use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use proptest::prelude::*;

use super::*;
use crate::hosts::Hosts;
use crate::wire::{Body, Expect, Request};
use crate::{Credentials, Key};

#[track_caller]
fn key() -> HeaderValue {
    Credentials::from(Key::parse("id:topsecret").unwrap()).header().unwrap()
}

fn call(target: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TARGET_URL, HeaderValue::from_str(target).unwrap());
    headers
}

fn judge(policy: &Policy, method: Method, target: &str) -> Result<Forward, Refusal> {
    policy.judge(&method, &call(target), Caller::Known, Some(&key()))
}

#[test]
fn targets_have_one_form() {
    for (text, normal) in [
        ("https://fal.run", "fal.run/"),
        ("https://fal.run?x=/..", "fal.run/?x=/.."),
        ("HTTPS://FAL.run:443/A/b", "fal.run/A/b"),
        ("https://fal.run:/a", "fal.run/a"),
        ("https://fal.run/%61%2d%c3%a4#x", "fal.run/a-%C3%A4"),
        ("https://fal.run/a/?q=%2e%2f..", "fal.run/a/?q=%2e%2f.."),
        ("https://fal.run/a@b", "fal.run/a@b"),
        ("http://127.0.0.1:8787/x", "127.0.0.1:8787/x"),
        ("http://localhost:80/x", "localhost/x"),
    ] {
        let target = Target::parse(text).unwrap();
        assert_eq!(target.as_str(), normal, "{text}");
        assert_eq!(target.uri().path(), target.path(), "{text}");
    }
}

#[test]
fn unclear_targets_are_refused() {
    use TargetError::*;
    for (text, why) in [
        ("", Relative),
        ("fal.run/a", Relative),
        ("//fal.run/a", Relative),
        ("ftp://fal.run/a", Scheme),
        ("http://fal.run/a", Scheme),
        ("javascript://fal.run/a", Scheme),
        ("https://key@fal.run/a", UserInfo),
        ("https://fal.run@evil.test/a", UserInfo),
        ("https://fal.run:8443/a", Port),
        ("https://fal.run:80/a", Port),
        ("https://fal.run:99999/a", Port),
        ("https://fal.run:x/a", Port),
        ("https://127.0.0.1:8443/a", Port),
        ("https:///a", Host),
        ("https://[::1]/a", Host),
        ("https://fal.run./a", Host),
        ("https://fal..run/a", Host),
        ("https://-fal.run/a", Host),
        ("https://fal%2erun/a", Host),
        ("https://fal.run/a/../b", Dots),
        ("https://fal.run/./b", Dots),
        ("https://fal.run/a/..", Dots),
        ("https://fal.run/a/%2e%2E/b", Dots),
        ("https://fal.run/a/%252e./b", Dots),
        ("https://fal.run/a%2fb", Slashes),
        ("https://fal.run/a%5cb", Slashes),
        ("https://fal.run/a%25252fb", Slashes),
        ("https://fal.run/a//b", Slashes),
        ("https://fal.run//", Slashes),
        ("https://fal.run/a\\b", Character),
        ("https://fal.run\\@evil.test/", Character),
        ("https://fal.run/a b", Character),
        ("https://fal.run/a%", Character),
        ("https://fal.run/a%zz", Character),
        ("https://fal.run/a%00", Character),
        ("https://fäl.run/a", Character),
    ] {
        assert_eq!(Target::parse(text), Err(why), "{text}");
    }
    let long = |bytes: usize| format!("https://fal.run/{}", "a".repeat(bytes - 16));
    Target::parse(&long(TARGET_BYTES_MAX)).unwrap();
    assert_eq!(Target::parse(&long(TARGET_BYTES_MAX + 1)), Err(Long));
}

#[test]
fn targets_print_no_query() {
    let target = Target::parse("https://fal.run/a?token=secret").unwrap();
    assert_eq!(
        (format!("{target}"), format!("{target:?}")),
        ("fal.run/a?…".into(), "Target(fal.run/a?…)".into())
    );
}

#[test]
fn patterns_match_whole_texts() {
    for (pattern, good, bad) in [
        (
            "fal.run/**",
            &["fal.run", "fal.run/", "fal.run/a/.b?x=/1"][..],
            &["fal.runner/a", "xfal.run/"][..],
        ),
        (
            "fal.run/*",
            &["fal.run/", "fal.run/a", "fal.run/.a?x=1"],
            &["fal.run", "fal.run/a/b", "fal.run/a?x=/"],
        ),
        (
            "fal.run/**/b",
            &["fal.run/b", "fal.run/x/b", "fal.run/x/y/b"],
            &["fal.run/xb", "fal.run/x/b/c"],
        ),
        ("FAL.run/A?c", &["fal.run/Abc"], &["fal.run/abc", "fal.run/Ac", "fal.run/A/c"]),
        (r"fal.run/a\?b=\*", &["fal.run/a?b=*"], &["fal.run/axb=*", "fal.run/a?b=c"]),
        (
            "*.fal.run/**",
            &["queue.fal.run/a", "a.b.fal.run"],
            &["fal.run/a", "evil.test/x.fal.run/a"],
        ),
        ("https://fal.run/a/**/b/**", &["fal.run/a/b", "fal.run/a/x/b/y/z"], &["fal.run/a/x"]),
    ] {
        let parsed = Pattern::url(pattern).unwrap();
        for text in good {
            assert!(parsed.is_match(text), "{pattern} should match {text}");
        }
        for text in bad {
            assert!(!parsed.is_match(text), "{pattern} should not match {text}");
        }
    }
    assert!(Pattern::endpoint("**").unwrap().is_match("a/b/c"));
    assert!(Pattern::endpoint("/a/*").unwrap().is_match("a/b"));
    assert!(Pattern::endpoint("**/c").unwrap().is_match("a/b/c"));
}

#[test]
fn patterns_that_say_too_much_or_nothing_are_refused() {
    for (text, why) in [
        ("", PatternError::Host),
        ("**", PatternError::Host),
        ("*/a", PatternError::Host),
        ("*.run/**", PatternError::Host),
        ("fal.*/**", PatternError::Host),
        ("/a", PatternError::Host),
        ("fal.run/a**", PatternError::DoubleStar),
        ("fal.run/***", PatternError::DoubleStar),
        ("fal.run/{a,b}", PatternError::Unsupported),
        ("fal.run/[ab]", PatternError::Unsupported),
        ("fal.run/ü", PatternError::Unsupported),
        ("fal.run/a\\", PatternError::Escape),
    ] {
        assert_eq!(Pattern::url(text).unwrap_err(), why, "{text}");
    }
    assert_eq!(Pattern::endpoint(" "), Err(PatternError::Empty));
    let long = |bytes: usize| Pattern::endpoint(&"a".repeat(bytes));
    long(PATTERN_BYTES_MAX).unwrap();
    assert_eq!(long(PATTERN_BYTES_MAX + 1), Err(PatternError::Long));
}

#[test]
fn key_goes_to_fal_alone() {
    let policy = Policy::default();
    let patterns = ["fal.run/**", "files.example/**", "127.0.0.1:9/**", "fal.ai.example/**"];
    let policy = policy.with_urls(patterns).unwrap();
    for (target, has_key) in [
        ("https://fal.run/a/b", true),
        ("https://files.example/a", false),
        ("https://fal.ai.example/a", false),
        ("http://127.0.0.1:9/a", false),
    ] {
        let request = judge(&policy, Method::POST, target).unwrap().request(Bytes::new());
        assert_eq!(request.headers.contains_key(header::AUTHORIZATION), has_key, "{target}");
    }
}

#[test]
fn endpoints_hold_for_whatever_runs_a_model() {
    let policy = Policy::default().with_endpoints(["acme/paint", "workflows/me/flow/**"]).unwrap();
    let no = Some(Refusal::EndpointNotAllowed);
    for (method, target, refusal) in [
        (Method::POST, "https://queue.fal.run/acme/paint?fal_webhook=x", None),
        (Method::POST, "https://queue.fal.run/acme/other", no),
        (Method::POST, "https://queue.fal.run/acme/paint/sub", no),
        (Method::POST, "https://queue.fal.run/acme/other/requests/r", no),
        (Method::GET, "https://queue.fal.run/acme/other/requests/r/status", None),
        (Method::PUT, "https://queue.fal.run/acme/other/requests/r/cancel", None),
        (Method::GET, "https://queue.fal.run/workflows/me/other/requests/r", None),
        (Method::GET, "https://queue.fal.run/acme/other", no),
        (Method::GET, "https://queue.fal.run/acme/other/requests", no),
        (Method::GET, "https://queue.fal.run/acme/other/requests/", no),
        (Method::GET, "https://queue.fal.run/a/b/c/requests/r", no),
        (Method::GET, "https://fal.run/acme/other/requests/r", no),
        (Method::GET, "https://fal.run/acme/paint", None),
        (Method::POST, "https://fal.run/workflows/me/flow/step", None),
        (Method::POST, "https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3", None),
    ] {
        assert_eq!(judge(&policy, method.clone(), target).err(), refusal, "{method} {target}");
    }
}

#[test]
fn broken_keys_are_never_sent() {
    let headers = call("https://fal.run/a/b");
    let judged = Policy::default().judge(&Method::POST, &headers, Caller::Known, None);
    assert_eq!(judged.unwrap_err(), Refusal::NoKey);
}

#[test]
fn own_authorization_needs_a_switch() {
    let mut headers = call("https://fal.run/a/b");
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Key theirs:x"));
    for (forward, sent) in [(false, "Key id:topsecret"), (true, "Key theirs:x")] {
        let policy = Policy::default().with_forward_client_auth(forward);
        let judged = policy.judge(&Method::POST, &headers, Caller::Known, Some(&key())).unwrap();
        let request = judged.request(Bytes::new());
        assert_eq!(request.headers[header::AUTHORIZATION], sent);
        assert!(!format!("{request:?}").contains("topsecret"));
        assert!(request.headers[header::AUTHORIZATION].is_sensitive());
    }
}

#[test]
fn forwards_what_it_must_and_no_more() {
    let mut headers = call("https://fal.run/a/b");
    for (name, value) in [
        ("x-fal-runner-hint", "lora"),
        ("x-fal-hop", "1"),
        ("connection", "close, x-fal-hop"),
        ("x-fal-client-proxy", "somebody else"),
        ("x-app-fal-thing", "1"),
        ("cookie", "session=1"),
        ("user-agent", "a browser"),
        ("content-type", "application/json"),
        ("accept-encoding", "gzip"),
        ("x-trace", "7"),
    ] {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = Policy::default().with_forward_header("x-trace".parse().unwrap()).unwrap();
    let policy = policy.with_name(HeaderValue::from_static("mine/1"));
    let judged = policy.judge(&Method::POST, &headers, Caller::Known, Some(&key())).unwrap();
    let request = judged.request(Bytes::from_static(b"{}"));
    let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "authorization",
        "content-type",
        "x-fal-client-proxy",
        "x-fal-runner-hint",
        "x-trace",
    ];
    assert_eq!(names, expected);
    assert_eq!(request.headers["accept"], "application/json");
    assert_eq!(request.headers["x-fal-client-proxy"], "mine/1");
    assert_eq!(
        (request.body, request.expect),
        (Body::Bytes(Bytes::from_static(b"{}")), Expect::Chunks)
    );
    for name in ["authorization", "cookie", "transfer-encoding", "x-fal-target-url"] {
        Policy::default().with_forward_header(name.parse().unwrap()).unwrap_err();
    }
    let get = judge(&policy, Method::GET, "https://fal.run/a/b").unwrap();
    assert!(!get.takes_body() && get.request(Bytes::from_static(b"{}")).body == Body::Empty);
}

#[test]
fn base_takes_the_place_of_every_host() {
    let policy = Policy::default().with_base("http://127.0.0.1:8787/x/").unwrap();
    let forward = judge(&policy, Method::POST, "https://queue.fal.run/a/b?c=d").unwrap();
    assert_eq!(forward.request(Bytes::new()).uri, "http://127.0.0.1:8787/x/queue.fal.run/a/b?c=d");
    for bad in ["ftp://x", "https://k:v@x.test"] {
        Policy::default().with_base(bad).unwrap_err();
    }
    let long =
        |bytes: usize| Policy::default().with_base(&format!("http://h/{}", "a".repeat(bytes - 9)));
    let target = format!("https://fal.run/{}", "a".repeat(TARGET_BYTES_MAX - 16));
    let forward = judge(&long(TARGET_BYTES_MAX).unwrap(), Method::POST, &target).unwrap();
    assert!(forward.request(Bytes::new()).uri.path().len() > TARGET_BYTES_MAX);
    long(TARGET_BYTES_MAX + 1).unwrap_err();
}

#[test]
fn two_targets_are_none() {
    let mut headers = call("https://fal.run/a/b");
    headers.append(TARGET_URL, HeaderValue::from_static("https://fal.run/a/c"));
    let judged = Policy::default().judge(&Method::POST, &headers, Caller::Known, Some(&key()));
    assert_eq!(judged.unwrap_err(), Refusal::TargetRepeated);
}

#[test]
fn refusals_are_json_strings() {
    let refusal = Refusal::TargetMalformed(TargetError::Dots);
    for (documented, status) in [(false, 400), (true, 412)] {
        let answer = Policy::default().with_documented_codes(documented).refuse(&refusal);
        assert_eq!(answer.status(), status);
        let text: String = serde_json::from_slice(answer.body()).unwrap();
        assert!(text.starts_with("Invalid request"), "{text}");
        let error = crate::ApiError::parse(answer.status(), answer.headers(), answer.body());
        assert_eq!(&*error.message, text);
    }
    assert_eq!(Refusal::BodyTooLong.status(false), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn answers_lose_what_is_not_for_callers() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("content-encoding", "gzip"),
        ("content-length", "9"),
        ("set-cookie", "a=b"),
        ("connection", "x-inner"),
        ("x-inner", "1"),
        ("transfer-encoding", "chunked"),
        ("access-control-allow-origin", "*"),
        ("strict-transport-security", "max-age=9"),
        ("x-fal-request-id", "r1"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for (is_decoded, expected) in [
        (false, &["content-type", "content-encoding", "x-fal-request-id"][..]),
        (true, &["content-type", "x-fal-request-id"]),
    ] {
        let passed = Policy::answer_headers(&headers, is_decoded);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        let mut expected = expected.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

#[test]
fn routes_are_addresses() {
    for bad in ["", "/api/fal/proxy", "ftp://x/y", "https://me:secret@x/y"] {
        let error = Route::parse(bad).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    let plain = Route::parse("http://proxy.example/p").unwrap();
    assert!(plain.clone().with_key(true).unwrap_err().to_string().contains("unencrypted"));
    plain.with_key(false).unwrap();
    Route::parse("http://localhost:3000/p").unwrap().with_key(true).unwrap();
}

#[test]
fn headers_for_the_proxy_stay_hidden() {
    let route = Route::parse("https://app.example/p").unwrap();
    let route = route.with_header(header::COOKIE, HeaderValue::from_static("session=hidden"));
    let request =
        Request::new(Method::POST, http::Uri::from_static("https://fal.run/a/b?token=hidden"));
    let text = format!("{route:?} {:?}", route.take(&Hosts::fal(), request));
    assert!(!text.contains("hidden"), "{text}");
}

/// Pieces of addresses, good and bad, in any order.
fn target_like() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(
        &[
            "https://",
            "http://",
            "fal.run",
            "queue.fal.run",
            "evil.test",
            "127.0.0.1",
            "/",
            "//",
            "..",
            ".",
            "%2e",
            "%2f",
            "%25",
            "%5c",
            "%",
            "@",
            ":",
            ":443",
            ":80",
            "?",
            "#",
            "&",
            "\\",
            "a",
            "acme",
            "/acme/paint",
            "requests",
            "rest.fal.ai",
            "*",
            "FAL.RUN",
            "[::1]",
            "é",
        ][..],
    );
    let piece = prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => "\\PC{0,3}"];
    (prop::bool::weighted(0.7), prop::collection::vec(piece, 0..12)).prop_map(
        |(starts_well, pieces)| {
            let start = if starts_well { "https://" } else { "" };
            start.to_owned() + &pieces.concat()
        },
    )
}

proptest! {
    #[test]
    fn any_target_is_refused_or_in_normal_form(text in target_like()) {
        crate::__fuzz::target(text.as_bytes());
    }

    #[test]
    fn whatever_is_forwarded_has_an_allowed_host(
        text in target_like(),
        wild: bool,
        method in prop::sample::select(vec![Method::GET, Method::POST, Method::PUT, Method::TRACE]),
    ) {
        let patterns = if wild { ["*.fal.run/**", "rest.fal.ai/a/*"] } else { ["fal.run/**", "queue.fal.run/acme/**"] };
        let policy = Policy::default().with_urls(patterns).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(TARGET_URL, HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static("")));
        if let Ok(forward) = policy.judge(&method, &headers, Caller::Known, Some(&key())) {
            let request = forward.request(Bytes::new());
            let host = request.uri.host().unwrap();
            let allowed = if wild { host.ends_with(".fal.run") || host == "rest.fal.ai" } else { host == "fal.run" || host == "queue.fal.run" };
            prop_assert!(allowed, "{text}");
            prop_assert_eq!(request.uri.scheme_str(), Some("https"));
            prop_assert!(request.uri.authority().unwrap().as_str() == host);
        }
    }

    /// The quick matcher against the obvious one.
    #[test]
    fn patterns_match_as_they_are_defined(
        pattern in prop::collection::vec(prop::sample::select(&["a", "b", "/", "*", "?", "/**/", "**/", "/**"][..]), 1..7),
        text in "[ab/]{0,8}",
    ) {
        let pattern = pattern.concat();
        if let Ok(parsed) = Pattern::endpoint(&pattern) {
            let pattern = pattern.strip_prefix('/').unwrap_or(&pattern);
            prop_assert_eq!(parsed.is_match(&text), matches_slowly(pattern, &text), "{} on {}", pattern, text);
        }
    }
}

fn matches_slowly(pattern: &str, text: &str) -> bool {
    let after = |text: &str| text.chars().next().map(|c| text[c.len_utf8()..].to_owned());
    if pattern == "**" {
        return true;
    }
    if pattern == "/**" {
        return text.is_empty() || text.starts_with('/');
    }
    if let Some(rest) = pattern.strip_prefix("**/") {
        return matches_slowly(rest, text)
            || text.match_indices('/').any(|(at, _)| matches_slowly(rest, &text[at + 1..]));
    }
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            matches_slowly(&pattern[1..], text)
                || (!text.is_empty()
                    && !text.starts_with('/')
                    && matches_slowly(pattern, &after(text).unwrap()))
        }
        Some('?') => {
            !text.is_empty()
                && !text.starts_with('/')
                && matches_slowly(&pattern[1..], &after(text).unwrap())
        }
        Some(c) => text.strip_prefix(c).is_some_and(|text| matches_slowly(&pattern[1..], text)),
    }
}
