//! Uploads and downloads.

use serde_json::json;

use super::*;

/// Starts an upload and returns the file's path and the signed target.
#[track_caller]
fn initiate(world: &mut World) -> (String, String) {
    let body = r#"{"content_type":"image/x-cat","file_name":"cat.bin"}"#;
    let call = Call::post("/storage/upload/initiate?storage_type=fal-cdn-v3", body).on(Host::Rest);
    let answer = json(&world.ask(&call));
    let path = |name: &str| {
        answer[name].as_str().unwrap().strip_prefix("https://v3.fal.media").unwrap().to_owned()
    };
    (path("file_url"), path("upload_url"))
}

#[test]
fn an_upload_can_be_downloaded() {
    let mut world = World::new(Config::default());
    let (file, upload) = initiate(&mut world);
    assert!(file.ends_with("_cat.bin"));
    assert_eq!(
        world.ask(&Call::get(&file).on(Host::Cdn)).status(),
        StatusCode::NOT_FOUND,
        "not there yet"
    );
    let put =
        Call::put(&upload).on(Host::Cdn).with_body("0123456789").with("authorization", "junk");
    assert_eq!(world.ask(&put).status(), StatusCode::OK);
    let got = world.ask(&Call::get(&file).on(Host::Cdn).with("authorization", ""));
    assert_eq!((got.status(), &got.body()[..]), (StatusCode::OK, &b"0123456789"[..]));
    assert_eq!(got.headers()["content-type"], "image/x-cat", "as announced");
    assert_eq!(got.headers()["access-control-allow-origin"], "*");

    let head = world.ask(&Call::new(Method::HEAD, &file).on(Host::Cdn));
    assert_eq!(
        (&head.headers()["content-length"], head.body().len()),
        (&HeaderValue::from_static("10"), 0)
    );
    let part = world.ask(&Call::get(&file).on(Host::Cdn).with("range", "bytes=2-4"));
    assert_eq!((part.status(), &part.body()[..]), (StatusCode::PARTIAL_CONTENT, &b"234"[..]));
    assert_eq!(part.headers()["content-range"], "bytes 2-4/10");
    let beyond = world.ask(&Call::get(&file).on(Host::Cdn).with("range", "bytes=10-"));
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], "bytes */10");
    let old = world.ask(
        &Call::get(&file).on(Host::Cdn).with("range", "bytes=2-4").with("if-range", "\"other\""),
    );
    assert_eq!(old.status(), StatusCode::OK);
}

#[test]
fn the_last_upload_and_its_type_win() {
    let mut world = World::new(Config::default());
    let (file, upload) = initiate(&mut world);
    for (body, kind) in [("a", "text/a"), ("", "text/b")] {
        let put = Call::put(&upload).on(Host::Cdn).with_body(body).with("content-type", kind);
        assert_eq!(world.ask(&put).status(), StatusCode::OK);
        let got = world.ask(&Call::get(&file).on(Host::Cdn));
        assert_eq!(
            (got.body(), &got.headers()["content-type"]),
            (&Bytes::from(body), &HeaderValue::from_str(kind).unwrap())
        );
    }
}

#[test]
fn uploads_need_a_fresh_signature() {
    let mut world = World::new(Config::default());
    let (file, upload) = initiate(&mut world);
    let (other, _) = initiate(&mut world);
    let query = upload.split_once('?').unwrap().1;
    let later = upload.replace("expires=1", "expires=2");
    for bad in [
        file.clone(),
        format!("{other}?{query}"),
        format!("{file}?signature=x&expires=1800003600"),
        later,
    ] {
        let response = world.ask(&Call::put(&bad).on(Host::Cdn).with_body("x"));
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{bad}");
    }
    world.pass(UPLOAD_TIME_MAX);
    assert_eq!(
        world.ask(&Call::put(&upload).on(Host::Cdn).with_body("x")).status(),
        StatusCode::OK
    );
    world.pass_ms(1000);
    assert_eq!(
        world.ask(&Call::put(&upload).on(Host::Cdn).with_body("x")).status(),
        StatusCode::FORBIDDEN
    );
}

#[test]
fn bad_initiates_name_their_fields() {
    let mut world = World::new(Config::default());
    let mut check = |target: &str, body: &str, want: &[(Value, &str)]| {
        let response = world.ask(&Call::post(target, body).on(Host::Rest));
        assert_eq!(response.status() == StatusCode::OK, want.is_empty(), "{body}");
        if !want.is_empty() {
            assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
            let found: Vec<(Value, String)> = json(&response)["detail"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| (p["loc"].clone(), p["type"].as_str().unwrap().to_owned()))
                .collect();
            let want: Vec<(Value, String)> =
                want.iter().map(|(l, t)| (l.clone(), (*t).to_owned())).collect();
            assert_eq!(found, want);
        }
    };
    let plain = "/storage/upload/initiate";
    check(plain, r#"{"content_type":"a/b","file_name":"x"}"#, &[]);
    check(plain, r#"{"content_type":null,"file_name":"x"}"#, &[]);
    check(&format!("{plain}/?storage_type=gcs"), r#"{"content_type":"a/b","file_name":"x"}"#, &[]);
    check(
        &format!("{plain}?storage_type=tape"),
        r#"{"file_name":3}"#,
        &[
            (json!(["query", "storage_type"]), "literal_error"),
            (json!(["body", "content_type"]), "missing"),
            (json!(["body", "file_name"]), "string_type"),
        ],
    );
    check(plain, "[]", &[(json!(["body"]), "model_attributes_type")]);
    check(plain, "{", &[(json!(["body", 1]), "json_invalid")]);
    check(plain, "", &[(json!(["body"]), "missing")]);
}

#[test]
fn files_outlive_their_job() {
    let mut world = World::new(Config { instant: true, ..Config::default() });
    let id = world.submit(&submit());
    let output = json(&world.result(id));
    let url = output["images"][0]["url"]
        .as_str()
        .unwrap()
        .strip_prefix("https://v3.fal.media")
        .unwrap()
        .to_owned();
    world.pass(Duration::from_secs(24 * 3600));
    assert_eq!(world.model.jobs().len(), 0);
    assert_eq!(world.ask(&Call::get(&url).on(Host::Cdn)).headers()["content-type"], "image/png");
    let wrong_name = url.replace(".png", ".jpg");
    assert_eq!(world.ask(&Call::get(&wrong_name).on(Host::Cdn)).status(), StatusCode::NOT_FOUND);
    let post = world.ask(&Call::post(&url, "x").on(Host::Cdn));
    assert_eq!(
        (post.status(), &post.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("GET, HEAD, PUT, OPTIONS"))
    );
}
