use http::HeaderValue;

use super::*;

#[track_caller]
fn read(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ApiError {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    ApiError::parse(StatusCode::from_u16(status).unwrap(), &map, &body)
}

#[test]
fn model_error_has_fields() {
    let error = read(
        422,
        &[("x-fal-request-id", "r-1"), ("x-fal-retryable", "false")],
        r#"{"detail":[
            {"loc":["body","loras",0,"path"],"msg":"Field required","type":"missing","input":{}},
            {"loc":["body"],"msg":"too small","type":"image_too_small","ctx":{"min_width":256}},
            "a bare text"]}"#,
    );
    assert_eq!(error.fields.len(), 3);
    assert_eq!(error.fields[0].path(), "loras.0.path");
    assert_eq!(error.fields[1].context.as_ref().unwrap()["min_width"], 256);
    assert_eq!(&*error.fields[2].message, "a bare text");
    assert_eq!(error.error_type, Some(ErrorType::MISSING));
    assert_eq!((error.request_id.as_deref(), error.retryable), (Some("r-1"), Some(false)));
    assert!(!error.is_retryable());
    assert!(
        error.to_string().starts_with("422 Unprocessable Entity: loras.0.path: Field required")
    );
}

#[test]
fn request_error_has_a_type() {
    let body = r#"{"detail":"No runner","error_type":"runner_scheduling_failure"}"#;
    let error = read(503, &[("x-fal-error-type", "other")], body);
    assert_eq!(error.error_type, Some(ErrorType::RUNNER_SCHEDULING_FAILURE), "the body wins");
    assert!(error.is_retryable());
    assert_eq!(&*error.message, "No runner");
    let header_only = read(504, &[("x-fal-error-type", "request_timeout")], "");
    assert_eq!(header_only.error_type, Some(ErrorType::REQUEST_TIMEOUT));
}

#[test]
fn own_start_timeout_is_not_retryable() {
    let body = r#"{"detail":"late","error_type":"request_timeout"}"#;
    assert!(!read(504, &[("x-fal-request-timeout-type", "user")], body).is_retryable());
}

#[test]
fn every_known_shape_has_a_message() {
    for (status, body, message) in [
        (
            401,
            r#"{"detail":"No user found for Key ID and Secret"}"#,
            "No user found for Key ID and Secret",
        ),
        (422, r#"{"detail":"bad prompt"}"#, "bad prompt"),
        (400, r#"{"detail":{"msg":"inner"}}"#, "inner"),
        (403, r#"{"error":{"type":"authorization_error","message":"nope"}}"#, "nope"),
        (400, r#"{"message":"m"}"#, "m"),
        (400, r#"{"error":"e"}"#, "e"),
        (400, r#""Invalid request""#, "Invalid request"),
        (
            404,
            r#"{"status":"NOT_FOUND"}"#,
            "the service does not know this request, or no longer (NOT_FOUND)",
        ),
        (500, "Internal Server Error", "Internal Server Error"),
        (
            502,
            "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            "502 Bad Gateway (an HTML page, probably of a proxy)",
        ),
        (500, "", "the answer had no text (500 Internal Server Error)"),
        (500, "{}", "the answer was {}"),
        (500, r#"{"detail":[]}"#, r#"the answer was {"detail":[]}"#),
        (422, r#"{"detail": "broken"#, r#"{"detail": "broken"#),
    ] {
        assert_eq!(&*read(status, &[], body).message, message, "{body}");
    }
    assert_eq!(read(422, &[], r#"{"detail":"bad prompt"}"#).fields[0].path(), "");
}

#[test]
fn words_of_the_service_in_every_spelling() {
    for (value, word) in
        [("1", Some(true)), ("true", Some(true)), ("0", Some(false)), ("False", Some(false))]
    {
        assert_eq!(read(500, &[("x-fal-needs-retry", value)], "").retryable, word);
    }
    assert_eq!(read(500, &[("x-fal-needs-retry", "maybe")], "").retryable, None);
    let both = read(500, &[("x-fal-retryable", "true"), ("x-fal-needs-retry", "0")], "");
    assert_eq!(both.retryable, Some(false), "Needs-Retry wins");
}

#[test]
fn hostile_bodies_are_bounded() {
    let many = format!(r#"{{"detail":[{}]}}"#, vec![r#"{"msg":"x"}"#; 500].join(","));
    assert_eq!(read(422, &[], &many).fields.len(), FIELDS_MAX);
    let long = format!(r#"{{"detail":"{}"}}"#, "é".repeat(100_000));
    let error = read(500, &[], &long);
    assert!(error.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    assert_eq!(error.body.len(), RAW_BODY_BYTES_MAX);
    assert!(format!("{error:?}").len() < 3000);
}
