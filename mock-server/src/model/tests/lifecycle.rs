//! How long files live, who may read them, and what the platform API says about both.

use serde_json::json;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Uploads a file with these headers and returns its path.
#[track_caller]
fn upload(world: &mut World, headers: &[(&'static str, &str)]) -> String {
    let body = r#"{"content_type":"text/plain","file_name":"a.txt"}"#;
    let mut call =
        Call::post("/storage/upload/initiate?storage_type=fal-cdn-v3", body).on(Host::Rest);
    for (name, value) in headers {
        call = call.with(name, value);
    }
    let answer = json(&world.ask(&call));
    let path = |name: &str| {
        answer[name].as_str().unwrap().strip_prefix("https://v3.fal.media").unwrap().to_owned()
    };
    let target = path("upload_url");
    let put = Call::put(&target).on(Host::Cdn).with_body("text");
    assert_eq!(world.ask(&put).status(), StatusCode::OK);
    path("file_url")
}

fn read(world: &mut World, path: &str) -> StatusCode {
    read_as(world, path, "")
}

fn read_as(world: &mut World, path: &str, key: &str) -> StatusCode {
    world.ask(&Call::get(path).on(Host::Cdn).with("authorization", key)).status()
}

/// A call to the platform API about a file.
fn about(world: &mut World, method: Method, what: &str, path: &str, body: &Value) -> Response {
    let target = format!("/v1/storage/files/{what}?url=https%3A%2F%2Fv3.fal.media{path}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.ask(&Call::new(method, &target).on(Host::Api).with_body(&body))
}

fn settings(world: &mut World, body: &Value) -> Response {
    let call = Call::put("/v1/storage/settings").on(Host::Api);
    world.ask(&call.with_body(&body.to_string()))
}

const LIFECYCLE: &str = "x-fal-object-lifecycle";
const PREFERENCE: &str = "x-fal-object-lifecycle-preference";

#[test]
fn files_live_as_long_as_their_uploader_says() {
    let mut world = World::new(Config::default());
    let hour = r#"{"expiration_duration_seconds":3600}"#;
    let day = r#"{"expiration_duration_seconds":86400}"#;
    let short = upload(&mut world, &[(PREFERENCE, hour)]);
    let both = upload(&mut world, &[(PREFERENCE, hour), (LIFECYCLE, day)]);
    let ever = [
        upload(&mut world, &[]),
        upload(&mut world, &[(LIFECYCLE, r#"{"expiration_duration_seconds":null}"#)]),
        upload(&mut world, &[(LIFECYCLE, r#"{"expiration_duration_seconds":0}"#)]),
        upload(
            &mut world,
            &[(LIFECYCLE, r#"{"expiration_duration_seconds":18446744073709551615}"#)],
        ),
    ];
    let expiry = |world: &World, path: &str| {
        let files = world.model.files(&Door::Direct);
        files.into_iter().find(|file| file.url.ends_with(path)).unwrap().expires_at
    };
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    assert_eq!(expiry(&world, &short), Some(start + HOUR));
    assert_eq!(expiry(&world, &ever[0]), None);
    world.pass(HOUR - Duration::from_millis(1));
    assert_eq!(read(&mut world, &short), StatusCode::OK);
    world.pass_ms(1);
    assert_eq!(read(&mut world, &short), StatusCode::NOT_FOUND);
    assert_eq!(read(&mut world, &both), StatusCode::OK, "on uploads the plain name counts");
    world.pass(23 * HOUR);
    assert_eq!(read(&mut world, &both), StatusCode::NOT_FOUND);
    world.pass(1000 * 24 * HOUR);
    for path in &ever {
        assert_eq!(read(&mut world, path), StatusCode::OK);
    }
    let bad = Call::post("/storage/upload/initiate", r#"{"content_type":"a/b","file_name":"x"}"#)
        .on(Host::Rest)
        .with(LIFECYCLE, "{");
    let refused = world.ask(&bad);
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(json(&refused)["detail"][0]["loc"], json!(["header", LIFECYCLE]));
}

#[test]
fn lists_decide_who_reads() {
    let mut world = World::new(Config::default());
    let list = |default: &str, decision: &str| {
        json!({ "initial_acl": { "default": default, "rules": [
            { "user": "acme", "decision": decision },
        ] } })
        .to_string()
    };
    for (default, decision, others, acme) in [
        ("forbid", "allow", StatusCode::FORBIDDEN, StatusCode::OK),
        ("hide", "forbid", StatusCode::NOT_FOUND, StatusCode::FORBIDDEN),
        ("allow", "hide", StatusCode::OK, StatusCode::NOT_FOUND),
    ] {
        let path = upload(&mut world, &[(LIFECYCLE, &list(default, decision))]);
        assert_eq!(read(&mut world, &path), others, "{default}");
        assert_eq!(read_as(&mut world, &path, "Key bob:x"), others);
        assert_eq!(read_as(&mut world, &path, "Key acme:x"), acme);
        let head = Call::new(Method::HEAD, &path).on(Host::Cdn).with("authorization", "");
        assert_eq!(world.ask(&head).status(), others);
    }
}

#[test]
fn lists_are_read_and_replaced() {
    let config =
        Config { keys: vec!["id:secret".to_owned(), "acme:x".to_owned()], ..Config::default() };
    let mut world = World::new(config);
    let path = upload(&mut world, &[]);
    let acl = about(&mut world, Method::GET, "acl", &path, &Value::Null);
    assert_eq!(json(&acl), json!({ "default": "allow", "rules": [] }));
    let rules = json!([
        { "user": "acme", "decision": "allow" },
        { "user": "nobody", "decision": "allow" },
    ]);
    let wanted = json!({ "default": "hide", "rules": rules });
    let real = json!({ "default": "hide", "rules": [rules[0]] });
    let put = about(&mut world, Method::PUT, "acl", &path, &wanted);
    assert_eq!(json(&put), real, "nobody knows nobody");
    assert_eq!(json(&about(&mut world, Method::GET, "acl", &path, &Value::Null)), real);
    assert_eq!(read(&mut world, &path), StatusCode::NOT_FOUND);
    assert_eq!(read_as(&mut world, &path, "Key acme:x"), StatusCode::OK);
    let plain = json!({ "default": "allow" });
    let put = about(&mut world, Method::PUT, "acl", &path, &plain);
    assert_eq!(json(&put), json!({ "default": "allow", "rules": [] }));
    assert_eq!(read(&mut world, &path), StatusCode::OK);

    for bad in [json!([]), json!({}), json!({ "default": "x" }), Value::Null] {
        let refused = about(&mut world, Method::PUT, "acl", &path, &bad);
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(json(&refused)["error"]["type"], "validation_error");
    }
    let unknown = about(&mut world, Method::GET, "acl", "/files/otter/x", &Value::Null);
    assert_eq!(json(&unknown)["error"]["type"], "validation_error");
    let missing = path.replace("a.txt", "b.txt");
    let missing = about(&mut world, Method::GET, "acl", &missing, &Value::Null);
    assert_eq!(
        (missing.status(), &json(&missing)["error"]["type"]),
        (StatusCode::NOT_FOUND, &json!("not_found"))
    );
    let query = about(&mut world, Method::GET, "acl", &format!("{path}%3Fx=1"), &Value::Null);
    assert_eq!(query.status(), StatusCode::BAD_REQUEST);
    let target = format!("/v1/storage/files/acl?url=https%3A%2F%2Fv3.fal.media{path}");
    let without = world.ask(&Call::get(&target).on(Host::Api).with("authorization", ""));
    assert_eq!(
        (without.status(), &json(&without)["error"]["type"]),
        (StatusCode::UNAUTHORIZED, &json!("authorization_error"))
    );
    let other = world.ask(&Call::get("/v1/storage/nothing").on(Host::Api));
    assert_eq!(
        (other.status(), &json(&other)["error"]["type"]),
        (StatusCode::NOT_IMPLEMENTED, &json!("not_implemented"))
    );
}

#[test]
fn a_signed_address_opens_a_file_for_its_time() {
    let mut world = World::new(Config::default());
    let hidden = r#"{"initial_acl":{"default":"hide"}}"#;
    let path = upload(&mut world, &[(LIFECYCLE, hidden)]);
    let other = upload(&mut world, &[(LIFECYCLE, hidden)]);
    let wish = json!({ "expiration_seconds": 60 });
    let signed = json(&about(&mut world, Method::POST, "sign", &path, &wish));
    let signed = signed["signed_url"].as_str().unwrap();
    let target = signed.strip_prefix("https://v3.fal.media").unwrap();
    let (start, identity) = target.split_once("?identity=").unwrap();
    assert_eq!(start, path);
    assert_eq!(read(&mut world, target), StatusCode::OK);
    assert_eq!(read(&mut world, &format!("{other}?identity={identity}")), StatusCode::NOT_FOUND);
    assert_eq!(read(&mut world, &format!("{path}?identity=9{identity}")), StatusCode::NOT_FOUND);
    world.pass(Duration::from_secs(59));
    assert_eq!(read(&mut world, target), StatusCode::OK);
    world.pass_ms(1000);
    assert_eq!(read(&mut world, target), StatusCode::NOT_FOUND);
    for seconds in [json!(0), json!(604_801), json!("60"), Value::Null] {
        let wish = json!({ "expiration_seconds": seconds });
        let refused = about(&mut world, Method::POST, "sign", &path, &wish);
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{seconds}");
    }
    let longest = json!({ "expiration_seconds": 604_800 });
    assert_eq!(about(&mut world, Method::POST, "sign", &path, &longest).status(), StatusCode::OK);
}

#[test]
fn settings_hold_for_files_that_say_nothing() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let get = Call::get("/v1/storage/settings").on(Host::Api);
    let none = json!({ "expiration_duration_seconds": null, "initial_acl": null });
    assert_eq!(json(&world.ask(&get)), none);
    let wish = json!({
        "expiration_duration_seconds": 60,
        "initial_acl": { "default": "forbid", "rules": [{ "user": "acme", "decision": "allow" }] },
    });
    assert_eq!(json(&settings(&mut world, &wish)), wish);
    assert_eq!(json(&world.ask(&get)), wish);
    let plain = upload(&mut world, &[]);
    let own = upload(&mut world, &[(LIFECYCLE, r#"{"initial_acl":{"default":"allow"}}"#)]);
    let ever = upload(&mut world, &[(LIFECYCLE, r#"{"expiration_duration_seconds":null}"#)]);
    let run = json(&world.ask(&submit().on(Host::Run)));
    let picture = path_of(&run);
    assert_eq!(read(&mut world, &plain), StatusCode::FORBIDDEN);
    assert_eq!(read_as(&mut world, &plain, "Key acme:x"), StatusCode::OK);
    assert_eq!(read(&mut world, &own), StatusCode::OK);
    assert_eq!(read(&mut world, &picture), StatusCode::FORBIDDEN);
    world.pass(Duration::from_secs(60));
    for path in [&plain, &own, &picture] {
        assert_eq!(read_as(&mut world, path, "Key acme:x"), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(read_as(&mut world, &ever, "Key acme:x"), StatusCode::OK);
    for bad in [json!({ "expiration_duration_seconds": 0 }), json!([]), json!({ "initial_acl": 1 })]
    {
        assert_eq!(settings(&mut world, &bad).status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(json(&settings(&mut world, &json!({}))), none);
    let fresh = upload(&mut world, &[]);
    assert_eq!(read(&mut world, &fresh), StatusCode::OK);
}

/// The path of the first picture of an output.
#[track_caller]
fn path_of(output: &Value) -> String {
    let url = output["images"][0]["url"].as_str().unwrap();
    url.strip_prefix("https://v3.fal.media").unwrap().to_owned()
}

#[test]
fn outputs_live_as_long_as_their_caller_says() {
    let mut world = World::new(Config::default());
    let minute = r#"{"expiration_duration_seconds":60}"#;
    let hour = r#"{"expiration_duration_seconds":3600,"initial_acl":{"default":"hide"}}"#;
    let plain = world.submit(&submit());
    let short = world.submit(&submit().with(PREFERENCE, minute).with(LIFECYCLE, hour));
    let hidden = world.submit(&submit().with(LIFECYCLE, hour));
    world.pass(QUEUE_TIME + RUN_TIME);
    let [plain, short_path, hidden] =
        [plain, short, hidden].map(|id| path_of(&json(&world.result(id))));
    assert!(plain != short_path && short_path != hidden, "the same input, but other files");
    assert_eq!(read(&mut world, &short_path), StatusCode::OK, "on calls the preference counts");
    assert_eq!(read(&mut world, &hidden), StatusCode::NOT_FOUND);
    world.pass(Duration::from_secs(60));
    assert_eq!(read(&mut world, &short_path), StatusCode::NOT_FOUND);
    assert_eq!(path_of(&json(&world.result(short))), short_path);
    assert_eq!(
        read(&mut world, &short_path),
        StatusCode::NOT_FOUND,
        "asking again brings nothing back"
    );
    assert_eq!(read(&mut world, &plain), StatusCode::OK);

    for host in [Host::Queue, Host::Run] {
        let bad = world.ask(&submit().on(host).with(PREFERENCE, "{}}"));
        assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let stream = Call::post("/acme/app/stream", r#"{"prompt":"x"}"#).on(Host::Run);
    let exchange = world.send(&stream.with(PREFERENCE, minute));
    world.pass(RUN_TIME);
    let last = world.events(exchange).into_iter().flatten().last().unwrap();
    let streamed = path_of(&last);
    assert_eq!(read(&mut world, &streamed), StatusCode::OK);
    world.pass(Duration::from_secs(60));
    assert_eq!(read(&mut world, &streamed), StatusCode::NOT_FOUND);
}

#[test]
fn a_test_can_end_a_file() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let uploaded = upload(&mut world, &[]);
    let id = world.submit(&submit());
    let picture = path_of(&json(&world.result(id)));
    for path in [&uploaded, &picture] {
        let url = format!("http://127.0.0.1:1/v3.fal.media{path}");
        assert_eq!(read(&mut world, path), StatusCode::OK);
        assert!(world.control(Control::ExpireFile { url: url.clone() }));
        assert_eq!(read(&mut world, path), StatusCode::NOT_FOUND);
        assert!(!world.control(Control::ExpireFile { url }), "it is over already");
    }
    world.result(id);
    assert_eq!(read(&mut world, &picture), StatusCode::NOT_FOUND, "it does not come back");
    assert!(!world.control(Control::ExpireFile { url: "https://example.com/x".to_owned() }));
    assert!(world.model.files(&Door::Direct).is_empty());
}

#[test]
fn files_can_be_seen() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let list = r#"{"initial_acl":{"default":"forbid"}}"#;
    let path = upload(&mut world, &[(LIFECYCLE, list)]);
    let id = world.submit(&submit());
    world.result(id);
    let door = Door::Prefix { is_secure: false, authority: "localhost:1".into() };
    let files = world.model.files(&door);
    let [text, picture] = &files[..] else { panic!("{files:?}") };
    assert_eq!(text.url, format!("http://localhost:1/v3.fal.media{path}"));
    assert!(text.url.ends_with(&text.name) && text.name.ends_with("_a.txt"));
    assert_eq!((&*text.content_type, text.bytes, text.is_complete), ("text/plain", 4, true));
    assert_eq!((text.acl.default, text.expires_at), (Decision::Forbid, None));
    assert_eq!((&*picture.content_type, picture.bytes), ("image/png", 0), "not drawn yet");
}
