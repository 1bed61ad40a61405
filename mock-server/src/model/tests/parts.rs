//! Uploads in parts and with tokens.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A way to upload in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Signed,
    Token,
    Google,
}

/// An upload in parts that was started.
#[derive(Clone, Debug)]
struct Upload {
    dialect: Dialect,
    token: String,
    /// Host and path of the file, once it is whole.
    file: (Host, String),
    /// What parts and the end are sent to: the path, and the query.
    base: String,
    query: String,
}

/// Host and target of an address of the service.
#[track_caller]
fn split(url: &str) -> (Host, String) {
    let rest = url.strip_prefix("https://").unwrap_or_else(|| panic!("{url}"));
    let (name, path) = rest.split_at(rest.find('/').unwrap());
    let host = [Host::Rest, Host::Cdn, Host::Gcs].into_iter().find(|host| host.name() == name);
    (host.unwrap_or_else(|| panic!("{url}")), path.to_owned())
}

fn token(world: &mut World) -> String {
    let call = Call::post("/storage/auth/token?storage_type=fal-cdn-v3", "{}").on(Host::Rest);
    let answer = json(&world.ask(&call));
    format!("{} {}", answer["token_type"].as_str().unwrap(), answer["token"].as_str().unwrap())
}

fn start(world: &mut World, dialect: Dialect) -> Upload {
    let body = r#"{"content_type":"video/mp4","file_name":"big.mp4"}"#;
    let initiate = |kind| format!("/storage/upload/initiate-multipart?storage_type={kind}");
    match dialect {
        Dialect::Token => {
            let token = token(world);
            let call = Call::post("/files/upload/multipart", "")
                .on(Host::Cdn)
                .with("authorization", &token)
                .with("content-type", "video/mp4")
                .with("x-fal-file-name", "big.mp4");
            let answer = json(&world.ask(&call));
            let file = split(answer["access_url"].as_str().unwrap());
            let base = format!("{}/multipart/{}", file.1, answer["uploadId"].as_str().unwrap());
            Upload { dialect, token, file, base, query: String::new() }
        }
        Dialect::Signed | Dialect::Google => {
            let kind = if dialect == Dialect::Signed { "fal-cdn-v3" } else { "gcs" };
            let answer = json(&world.ask(&Call::post(&initiate(kind), body).on(Host::Rest)));
            let (_, upload) = split(answer["upload_url"].as_str().unwrap());
            let (base, query) = match upload.split_once('?') {
                Some((base, query)) => (base.to_owned(), format!("?{query}")),
                None => (upload, String::new()),
            };
            let file = split(answer["file_url"].as_str().unwrap());
            Upload { dialect, token: String::new(), file, base, query }
        }
    }
}

impl Upload {
    /// Sends a part and returns its etag, as a header says it.
    #[track_caller]
    fn part(&self, world: &mut World, number: u32, body: &[u8]) -> String {
        let response = self.try_part(world, number, body);
        assert_eq!(response.status(), StatusCode::OK, "{:?}", response.body());
        let etag = response.headers()["etag"].to_str().unwrap().to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'));
        if self.dialect != Dialect::Google {
            assert_eq!(json(&response), json!({ "partNumber": number, "etag": etag }));
        }
        etag
    }

    fn try_part(&self, world: &mut World, number: u32, body: &[u8]) -> Response {
        let target = format!("{}/{number}{}", self.base, self.query);
        let (host, target) = match self.dialect {
            Dialect::Google => {
                let response = world.ask(&Call::post(&target, "").on(Host::Rest));
                if response.status() != StatusCode::OK {
                    return response;
                }
                split(json(&response)["upload_url"].as_str().unwrap())
            }
            Dialect::Signed | Dialect::Token => (Host::Cdn, target),
        };
        let mut call = Call::put(&target).on(host).with("authorization", &self.token);
        call.body = Bytes::copy_from_slice(body);
        world.ask(&call)
    }

    fn complete(&self, world: &mut World, parts: &[(u32, &str)]) -> Response {
        let google = self.dialect == Dialect::Google;
        let name = if google { "part_number" } else { "partNumber" };
        let parts: Vec<Value> = parts.iter().map(|(n, e)| json!({ name: n, "etag": e })).collect();
        let target = format!("{}/complete{}", self.base, self.query);
        let body = json!({ "parts": parts }).to_string();
        let call = Call::post(&target, &body);
        world.ask(&match self.dialect {
            Dialect::Google => call.on(Host::Rest),
            Dialect::Token | Dialect::Signed => {
                call.on(Host::Cdn).with("authorization", &self.token)
            }
        })
    }

    fn read(&self, world: &mut World) -> Response {
        world.ask(&Call::get(&self.file.1).on(self.file.0).with("authorization", ""))
    }
}

const DIALECTS: [Dialect; 3] = [Dialect::Signed, Dialect::Token, Dialect::Google];

#[test]
fn parts_make_a_file_in_every_dialect() {
    for dialect in DIALECTS {
        let mut world = World::new(Config::default());
        let upload = start(&mut world, dialect);
        let third = upload.part(&mut world, 3, b"cc");
        let first = upload.part(&mut world, 1, b"aaa");
        assert_eq!(upload.read(&mut world).status(), StatusCode::NOT_FOUND, "not whole yet");
        let wrong = upload.part(&mut world, 2, b"x");
        let second = upload.part(&mut world, 2, b"bb");
        assert_ne!(wrong, second, "an etag depends on the content");
        let bare = third.trim_matches('"');
        let parts = [(3, bare), (1, &*first), (2, &*second)];
        let done = upload.complete(&mut world, &parts);
        assert_eq!(done.status(), StatusCode::OK, "{dialect:?} {:?}", done.body());
        let file = upload.read(&mut world);
        assert_eq!((file.status(), &file.body()[..]), (StatusCode::OK, &b"aaabbcc"[..]));
        assert_eq!(file.headers()["content-type"], "video/mp4");
        let call = Call::get(&upload.file.1).on(upload.file.0).with("range", "bytes=2-5");
        let part = world.ask(&call);
        assert_eq!((part.status(), &part.body()[..]), (StatusCode::PARTIAL_CONTENT, &b"abbc"[..]));
        assert_eq!(part.headers()["content-range"], "bytes 2-5/7");
        assert_eq!(part.headers()["access-control-allow-origin"], "*");

        let again = upload.complete(&mut world, &parts);
        assert_eq!(again.status(), StatusCode::NOT_FOUND, "an upload is completed once");
        assert_eq!(upload.try_part(&mut world, 1, b"x").status(), StatusCode::NOT_FOUND);
        assert_eq!((world.model.counters().parts, world.model.counters().uploads), (4, 1));
    }
}

#[test]
fn wrong_completions_change_nothing() {
    for dialect in DIALECTS {
        let mut world = World::new(Config::default());
        let upload = start(&mut world, dialect);
        let old = upload.part(&mut world, 1, b"old");
        let new = upload.part(&mut world, 1, b"new");
        for (parts, why) in [
            (&[][..], "between 1 and"),
            (&[(2, &*new)], "Part 2 was not uploaded"),
            (&[(1, &*old)], "etag of part 1"),
            (&[(1, "\"x")], "etag of part 1"),
            (&[(0, &*new)], "part number"),
            (&[(10_001, &*new)], "part number"),
        ] {
            let refused = upload.complete(&mut world, parts);
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{parts:?}");
            assert!(json(&refused)["detail"].as_str().unwrap().contains(why), "{refused:?}");
        }
        for number in [0, 10_001] {
            let refused = upload.try_part(&mut world, number, b"x");
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        }
        // The last entry of a number counts, and part 10,000 is one.
        let last = upload.part(&mut world, 10_000, b"");
        let parts = [(1, &*old), (10_000, &*last), (1, &*new)];
        assert_eq!(upload.complete(&mut world, &parts).status(), StatusCode::OK);
        assert_eq!(&upload.read(&mut world).body()[..], b"new");
    }
}

#[test]
fn parts_need_what_opens_them() {
    let mut world = World::new(Config::default());
    let signed = start(&mut world, Dialect::Signed);
    let mut other = start(&mut world, Dialect::Signed);
    let etag = signed.part(&mut world, 1, b"x");
    for query in
        [String::new(), other.query.clone(), signed.query.replace("expires=1", "expires=2")]
    {
        let bad = Upload { query, ..signed.clone() };
        assert_eq!(bad.try_part(&mut world, 1, b"y").status(), StatusCode::FORBIDDEN);
        assert_eq!(bad.complete(&mut world, &[(1, &etag)]).status(), StatusCode::FORBIDDEN);
    }
    other.base.push('0');
    assert_eq!(other.try_part(&mut world, 1, b"y").status(), StatusCode::NOT_FOUND);

    let tokened = start(&mut world, Dialect::Token);
    let etag = tokened.part(&mut world, 1, b"x");
    for token in ["", "Key id:secret", "Bearer cdn_1_ffffffff_0", "Bearer x"] {
        let bad = Upload { token: token.to_owned(), ..tokened.clone() };
        assert_eq!(bad.try_part(&mut world, 1, b"y").status(), StatusCode::UNAUTHORIZED, "{token}");
        let refused = bad.complete(&mut world, &[(1, &etag)]);
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{token}");
    }
    // A fresh token goes on where another began.
    let fresh = Upload { token: token(&mut world), ..tokened };
    assert_eq!(fresh.complete(&mut world, &[(1, &etag)]).status(), StatusCode::OK);

    let google = start(&mut world, Dialect::Google);
    let target = format!("{}/1", google.base);
    let without = Call::post(&target, "").on(Host::Rest).with("authorization", "");
    assert_eq!(world.ask(&without).status(), StatusCode::UNAUTHORIZED);
    let response = json(&world.ask(&Call::post(&target, "").on(Host::Rest)));
    let (host, part) = split(response["upload_url"].as_str().unwrap());
    let other_part = part.replace("partNumber=1", "partNumber=2");
    let refused = world.ask(&Call::put(&other_part).on(host).with_body("x"));
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "an address is for one part");
    assert!(refused.body().starts_with(b"<?xml"));
}

#[test]
fn uploads_in_parts_are_over_after_their_time() {
    for (dialect, time, status) in [
        (Dialect::Signed, UPLOAD_TIME_MAX, StatusCode::NOT_FOUND),
        (Dialect::Google, UPLOAD_TIME_MAX, StatusCode::NOT_FOUND),
        (Dialect::Token, TOKEN_TIME, StatusCode::NOT_FOUND),
    ] {
        let mut world = World::new(Config::default());
        let upload = start(&mut world, dialect);
        upload.part(&mut world, 1, &[0; 5000]);
        let kept = world.model.stored_bytes();
        world.pass(time - Duration::from_millis(1));
        assert_eq!(world.model.stored_bytes(), kept);
        world.pass_ms(1);
        assert_eq!((world.model.stored_bytes(), world.model.file_count()), (0, 0));
        assert_eq!(upload.try_part(&mut world, 2, b"x").status(), status, "{dialect:?}");
    }
}

#[test]
fn tokens_open_uploads_for_their_time() {
    let mut world = World::new(Config::default());
    let call = Call::post("/storage/auth/token?storage_type=fal-cdn-v3", "{}").on(Host::Rest);
    let answer = json(&world.ask(&call));
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["base_url"], "https://v3.fal.media");
    assert_eq!(answer["created_at"], "2027-01-15T08:00:00.000000+00:00");
    assert_eq!(answer["expires_at"], "2027-01-16T08:00:00.000000+00:00");
    let first = format!("Bearer {}", answer["token"].as_str().unwrap());
    let put = |world: &mut World, token: &str| {
        let call = Call::post("/files/upload", "data")
            .on(Host::Cdn)
            .with("content-type", "image/png")
            .with("authorization", token);
        world.ask(&call)
    };
    let stored = put(&mut world, &first);
    let url = json(&stored)["access_url"].as_str().unwrap().to_owned();
    assert!(url.ends_with(".png"), "{url}");
    let (host, path) = split(&url);
    assert_eq!(&world.ask(&Call::get(&path).on(host)).body()[..], b"data");

    world.pass(TOKEN_TIME - Duration::from_secs(1));
    assert_eq!(put(&mut world, &first).status(), StatusCode::OK, "reused until it ends");
    world.pass_ms(1000);
    assert_eq!(put(&mut world, &first).status(), StatusCode::UNAUTHORIZED);
    let second = token(&mut world);
    assert_eq!(put(&mut world, &second).status(), StatusCode::OK);
    assert!(world.control(Control::ExpireTokens));
    assert_eq!(put(&mut world, &second).status(), StatusCode::UNAUTHORIZED);
    let third = token(&mut world);
    assert_eq!(put(&mut world, &third).status(), StatusCode::OK);
    for bad in ["", "Key id:secret", &third[..third.len() - 1], &third.replace("cdn_3", "cdn_4")] {
        assert_eq!(put(&mut world, bad).status(), StatusCode::UNAUTHORIZED, "{bad}");
    }
    assert_eq!((world.model.counters().tokens, world.model.counters().uploads), (3, 4));

    let old = Call::post("/storage/auth/token?storage_type=fal-cdn", "{}").on(Host::Rest);
    assert_eq!(world.ask(&old).status(), StatusCode::OK);
    let odd = Call::post("/storage/auth/token?storage_type=gcs", "{}").on(Host::Rest);
    assert_eq!(world.ask(&odd).status(), StatusCode::UNPROCESSABLE_ENTITY);
    let without = old.with("authorization", "");
    assert_eq!(world.ask(&without).status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn names_and_types_stand_in_addresses() {
    let mut world = World::new(Config::default());
    let token = token(&mut world);
    for (name, kind, end) in [
        ("", "image/jpeg; q=1", ".jpeg"),
        ("", "", ".bin"),
        ("", "application/octet-stream", ".bin"),
        ("a b.txt", "text/plain", "_a_b.txt"),
        ("../x", "text/plain", "_.._x"),
    ] {
        let call = Call::post("/files/upload", "")
            .on(Host::Cdn)
            .with("content-type", kind)
            .with("x-fal-file-name", name)
            .with("authorization", &token);
        let answer = json(&world.ask(&call));
        let url = answer["access_url"].as_str().unwrap();
        assert!(url.ends_with(end), "{url} {end}");
    }
}

#[test]
fn google_checks_the_type_unless_told_not_to() {
    let body = r#"{"content_type":"image/png","file_name":"a.png"}"#;
    let start = Call::post("/storage/upload/initiate?storage_type=gcs", body).on(Host::Rest);
    for checks in [true, false] {
        let config = Config { gcs_checks_content_type: checks, ..Config::default() };
        let mut world = World::new(config);
        let answer = json(&world.ask(&start));
        let (host, upload) = split(answer["upload_url"].as_str().unwrap());
        assert_eq!(host, Host::Gcs);
        let put = |world: &mut World, kind| {
            world.ask(&Call::put(&upload).on(host).with("content-type", kind).with_body("x"))
        };
        let status = if checks { StatusCode::FORBIDDEN } else { StatusCode::OK };
        assert_eq!(put(&mut world, "image/jpeg").status(), status);
        assert_eq!(put(&mut world, "").status(), status);
        assert_eq!(put(&mut world, "image/png").status(), StatusCode::OK);
        let (host, file) = split(answer["file_url"].as_str().unwrap());
        assert_eq!(&world.ask(&Call::get(&file).on(host)).body()[..], b"x");
        let elsewhere = file.strip_prefix("/fal-mock").unwrap();
        assert_eq!(world.ask(&Call::get(elsewhere).on(Host::Cdn)).status(), StatusCode::NOT_FOUND);
        let missing = world.ask(&Call::get("/fal-mock/x").on(Host::Gcs));
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert!(missing.body().starts_with(b"<?xml"));
    }
}

#[test]
fn steps_fail_as_planned() {
    let mut world = World::new(Config::default());
    let refuse =
        |status| UploadFailure::Refuse(Failure::new(status, r#"{"detail":"no"}"#, "no", None));
    let plan = |world: &mut World, step, times, failure| {
        assert!(world.control(Control::FailUploads { step, times, failure }));
    };
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    plan(&mut world, UploadStep::Part(Some(2)), 2, refuse(busy));
    plan(&mut world, UploadStep::Direct, u32::MAX, refuse(busy));
    let upload = start(&mut world, Dialect::Signed);
    let first = upload.part(&mut world, 1, b"a");
    assert_eq!(upload.try_part(&mut world, 2, b"b").status(), busy);
    assert_eq!(upload.try_part(&mut world, 2, b"b").status(), busy);
    let second = upload.part(&mut world, 2, b"b");
    assert_eq!(upload.complete(&mut world, &[(1, &first)]).status(), StatusCode::OK);
    let token = token(&mut world);
    for _ in 0..3 {
        let direct = Call::post("/files/upload", "x").on(Host::Cdn).with("authorization", &token);
        assert_eq!(world.ask(&direct).status(), busy);
    }

    // What is cut is stored or not, as planned; what is late comes.
    let upload = start(&mut world, Dialect::Token);
    plan(&mut world, UploadStep::Part(None), 1, UploadFailure::Cut);
    plan(&mut world, UploadStep::Part(None), 1, UploadFailure::LoseAnswer);
    plan(&mut world, UploadStep::Complete, 1, UploadFailure::Late(Duration::from_secs(5)));
    let target = format!("{}/1", upload.base);
    let put = Call::put(&target).on(Host::Cdn).with("authorization", &upload.token).with_body("b");
    let parts = |world: &World| {
        let files = world.model.files(&Door::Direct);
        files.iter().find(|file| !file.is_complete).unwrap().parts.clone()
    };
    let exchange = world.send(&put);
    assert_eq!((world.cut.last(), parts(&world)), (Some(&exchange), vec![]));
    let exchange = world.send(&put);
    assert_eq!((world.cut.last(), parts(&world)), (Some(&exchange), vec![1]));
    let body = json!({ "parts": [{ "partNumber": 1, "etag": second }] }).to_string();
    let target = format!("{}/complete", upload.base);
    let call = Call::post(&target, &body).on(Host::Cdn).with("authorization", &upload.token);
    let exchange = world.send(&call);
    assert!(!world.replies.contains_key(&exchange));
    world.pass_ms(4999);
    assert!(!world.replies.contains_key(&exchange));
    world.pass_ms(1);
    assert_eq!(world.replies[&exchange].status(), StatusCode::OK);
    assert_eq!(&upload.read(&mut world).body()[..], b"b");
    assert!(world.model.open.is_empty());
}

#[test]
fn bodies_outside_of_memory_are_pieced_together() {
    let mut world = World::new(Config { spool_bytes_max: 100, ..Config::default() });
    let upload = start(&mut world, Dialect::Signed);
    let spooled = |world: &mut World, number: u32, text: &'static str| {
        let (path, query) = (format!("{}/{number}", upload.base), upload.query[1..].to_owned());
        world.last_exchange += 1;
        let headers = HeaderMap::new();
        let keeper = Arc::new(Bytes::from_static(text.as_bytes()));
        let body = Spooled::new(text.len() as u64, Digest::of(text.as_bytes()), keeper);
        let request = Request::new(&Method::PUT, Host::Cdn, &path, &headers)
            .with_query(Some(&query))
            .with_spooled(body);
        world.model.handle_request(world.now, world.last_exchange, request);
        world.drain();
        let response = world.replies.remove(&world.last_exchange).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    let second = spooled(&mut world, 2, "spooled");
    let first = upload.part(&mut world, 1, b"memory ");
    assert_eq!(
        upload.part(&mut world, 3, b"spooled"),
        second,
        "kept anywhere, an etag is the same"
    );
    assert_eq!(world.model.spooled_bytes(), 7);
    let parts = [(2, &*second), (1, &*first)];
    assert_eq!(upload.complete(&mut world, &parts).status(), StatusCode::OK);
    let call = Call::get(&upload.file.1).on(Host::Cdn);
    let whole = world.ask(&call);
    assert_eq!(&whole.body()[..], b"memory spooled");
    let part = world.ask(&call.clone().with("range", "bytes=-9"));
    assert_eq!(&part.body()[..], b"y spooled".as_slice());
    let head = world.ask(&Call::new(Method::HEAD, &upload.file.1).on(Host::Cdn));
    assert_eq!((&head.headers()["content-length"], head.body().len()), (&"14".parse().unwrap(), 0));

    // Whole files make room, uploads that are not complete do not.
    let other = start(&mut world, Dialect::Signed);
    assert_eq!(world.model.spooled_bytes(), 7);
    let started = world.now;
    assert!(world.model.handle_spool_full(started));
    assert!(!world.model.handle_spool_full(started));
    world.drain();
    assert_eq!(upload.read(&mut world).status(), StatusCode::NOT_FOUND);
    assert_eq!(world.model.spooled_bytes(), 0);
    other.part(&mut world, 1, b"x");
}

/// One move in a set of uploads that run at once.
#[derive(Clone, Debug)]
enum Move {
    Part {
        upload: usize,
        number: u32,
        body: Vec<u8>,
    },
    /// With the entries in this order, and some of them twice with an old etag first.
    Complete {
        upload: usize,
        order: u64,
    },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let part = (0usize..4, 1u32..6, proptest::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(upload, number, body)| Move::Part { upload, number, body });
    let complete =
        (0usize..4, any::<u64>()).prop_map(|(upload, order)| Move::Complete { upload, order });
    proptest::collection::vec(prop_oneof![8 => part, 1 => complete], 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn uploads_that_run_at_once_do_not_mix(moves in moves()) {
        let mut world = World::new(Config::default());
        let dialects = [Dialect::Signed, Dialect::Token, Dialect::Google, Dialect::Signed];
        let uploads: Vec<Upload> = dialects.iter().map(|one| start(&mut world, *one)).collect();
        let mut sent = vec![BTreeMap::<u32, (String, Vec<u8>)>::new(); 4];
        let mut old = vec![BTreeMap::<u32, String>::new(); 4];
        let mut whole: Vec<Option<Vec<u8>>> = vec![None; 4];
        for one in moves {
            match one {
                Move::Part { upload: at, number, body } if whole[at].is_some() => {
                    let refused = uploads[at].try_part(&mut world, number, &body);
                    prop_assert_eq!(refused.status(), StatusCode::NOT_FOUND);
                }
                Move::Part { upload: at, number, body } => {
                    let etag = uploads[at].part(&mut world, number, &body);
                    if let Some((before, _)) = sent[at].insert(number, (etag, body)) {
                        old[at].insert(number, before);
                    }
                }
                Move::Complete { upload: at, order } => {
                    let mut list: Vec<(u32, &str)> =
                        sent[at].iter().map(|(number, (etag, _))| (*number, &**etag)).collect();
                    let mut rng = SplitMix64::new(order);
                    for end in (1..list.len()).rev() {
                        list.swap(end, rng.below(end as u64 + 1) as usize);
                    }
                    let stale = old[at].iter().map(|(number, etag)| (*number, &**etag));
                    let list: Vec<(u32, &str)> = stale.chain(list).collect();
                    let status = uploads[at].complete(&mut world, &list).status();
                    if whole[at].is_some() {
                        let want = [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST];
                        prop_assert!(want.contains(&status));
                    } else if list.is_empty() {
                        prop_assert_eq!(status, StatusCode::BAD_REQUEST);
                    } else {
                        prop_assert_eq!(status, StatusCode::OK);
                        let bodies = std::mem::take(&mut sent[at]).into_values();
                        whole[at] = Some(bodies.flat_map(|(_, body)| body).collect());
                        old[at].clear();
                    }
                }
            }
            for (upload, whole) in uploads.iter().zip(&whole) {
                let response = upload.read(&mut world);
                match whole {
                    Some(body) => prop_assert_eq!(&response.body()[..], &body[..]),
                    None => prop_assert_eq!(response.status(), StatusCode::NOT_FOUND),
                }
            }
        }
    }
}
