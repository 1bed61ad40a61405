//! Large files in parts, the ways they go, and what is kept of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fal_client::{Acl, Decision, Error, ErrorKind, Event, Input, Lifecycle, Route, UploadState};
use fal_protocol::lifecycle::Expires;
use serde_json::{Value, json};

use crate::client::files::{Scratch, pattern};
use crate::support::raw::{Act, Raw, Seen, answer, json as say, json_with};
use crate::support::{FLUX, client, eventually, in_time};

/// A store that takes files by every route, and says no where it is told to.
#[derive(Default)]
struct Store {
    /// The parts of the one upload there is, and what came in one piece.
    parts: Mutex<BTreeMap<u32, Vec<u8>>>,
    whole: Mutex<Vec<u8>>,
    is_complete: Mutex<bool>,
    tokens: AtomicUsize,
    /// Refuses a request before it is looked at.
    refuse: Mutex<Option<Refuse>>,
}

type Refuse = Box<dyn FnMut(&Seen) -> Option<Act> + Send>;

impl Store {
    async fn start() -> (Raw, Arc<Self>) {
        let store = Arc::new(Self::default());
        let server = Raw::start({
            let store = Arc::clone(&store);
            move |seen| store.answer(seen)
        })
        .await;
        (server, store)
    }

    fn refuse(&self, refuse: impl FnMut(&Seen) -> Option<Act> + Send + 'static) {
        *self.refuse.lock().unwrap() = Some(Box::new(refuse));
    }

    /// What has been put together.
    fn content(&self) -> Vec<u8> {
        assert!(*self.is_complete.lock().unwrap(), "it is not complete");
        self.parts.lock().unwrap().values().flatten().copied().collect()
    }

    fn answer(&self, seen: &Seen) -> Act {
        if let Some(refuse) = &mut *self.refuse.lock().unwrap()
            && let Some(act) = refuse(seen)
        {
            return act;
        }
        let base = format!("http://{}", seen.header("host").unwrap());
        let path = seen.target.split('?').next().unwrap();
        let ok = |body: &Value| Act::Say(say(200, body));
        let number = path.rsplit('/').next().and_then(|last| last.parse::<u32>().ok());
        match (seen.method.as_str(), path, number) {
            ("POST", "/rest.fal.ai/storage/auth/token", _) => {
                let name = format!("cdn-{}", self.tokens.fetch_add(1, Ordering::SeqCst));
                ok(
                    &json!({ "token": name, "token_type": "Bearer", "base_url": format!("{base}/v3.fal.media"),
                    "expires_at": "2999-01-01T00:00:00+00:00" }),
                )
            }
            ("POST", "/rest.fal.ai/storage/upload/initiate", _) => {
                let url = format!("{base}/bucket/whole");
                ok(
                    &json!({ "file_url": url, "upload_url": format!("{url}?signature=very-secret") }),
                )
            }
            ("POST", "/rest.fal.ai/storage/upload/initiate-multipart", _) => {
                let url = format!("{base}/bucket/film");
                let is_old = seen.target.ends_with("gcs");
                let signed = format!("{url}?signature=very-secret&expires=1");
                let session = format!("{base}/rest.fal.ai/session");
                ok(&json!({ "file_url": url, "upload_url": if is_old { session } else { signed } }))
            }
            ("POST", "/v3.fal.media/files/upload", _) => {
                self.whole.lock().unwrap().clone_from(&seen.body);
                ok(&json!({ "access_url": format!("{base}/v3.fal.media/files/whole") }))
            }
            ("POST", "/v3.fal.media/files/upload/multipart", _) => ok(&json!({
                "access_url": format!("{base}/v3.fal.media/files/film"), "uploadId": "mp 7",
            })),
            ("POST", "/rest.fal.ai/session/complete" | "/bucket/film/complete", _)
            | ("POST", "/v3.fal.media/files/film/multipart/mp%207/complete", _) => {
                self.complete(path, &seen.body);
                Act::Say(answer(204, &[], b""))
            }
            ("POST", path, Some(number)) if path.starts_with("/rest.fal.ai/session/") => {
                ok(&json!({ "upload_url": format!("{base}/google/{number}?sig=very-secret") }))
            }
            ("PUT", _, Some(number)) => {
                self.parts.lock().unwrap().insert(number, seen.body.clone());
                let etag = format!("\"etag-{number}\"");
                let in_body = path.starts_with("/bucket");
                let body =
                    if in_body { json!({ "partNumber": number, "etag": etag }) } else { json!({}) };
                let headers = [("etag", etag.as_str())];
                Act::Say(json_with(200, if in_body { &[] } else { &headers }, &body))
            }
            ("PUT", _, None) => {
                self.whole.lock().unwrap().clone_from(&seen.body);
                Act::Say(answer(200, &[], b""))
            }
            _ => Act::Say(say(404, &json!({ "detail": "not scripted" }))),
        }
    }

    fn complete(&self, path: &str, body: &[u8]) {
        let is_old = path.starts_with("/rest.fal.ai");
        let (name, quote) = if is_old { ("part_number", "") } else { ("partNumber", "\"") };
        let listed: Value = serde_json::from_slice(body).unwrap();
        let here: Vec<u32> = self.parts.lock().unwrap().keys().copied().collect();
        let expected: Vec<Value> = here
            .iter()
            .map(|number| json!({ name: number, "etag": format!("{quote}etag-{number}{quote}") }))
            .collect();
        assert_eq!(listed, json!({ "parts": expected }));
        *self.is_complete.lock().unwrap() = true;
    }
}

const MIB: u64 = 1 << 20;
/// Three parts of a mebibyte, and one of 17 bytes.
const LENGTH: usize = (3 << 20) + 17;

#[tokio::test]
async fn parts_go_by_every_route_and_make_the_file() {
    for (route, credentials) in
        [(Route::Initiate, None), (Route::Gcs, None), (Route::Cdn, Some("Bearer cdn-0"))]
    {
        let (server, store) = Store::start().await;
        let content = pattern(LENGTH);
        let file = Scratch::new("film.mp4", &content);
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = Arc::clone(&told);
        let upload = client(server.url())
            .upload(file.path.clone())
            .route(route)
            .multipart_over(MIB)
            .part_bytes(MIB)
            .parallel(3)
            .on_update(move |event| teller.lock().unwrap().push(event.clone()));
        let url = in_time(upload).await.unwrap();
        assert!(url.ends_with("/film"), "{url}");
        assert!(store.content() == content, "{route}: the file has changed on its way");
        let puts: Vec<_> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
        assert_eq!(puts.len(), 4, "each part once");
        for put in &puts {
            assert_eq!(put.header("authorization"), credentials, "{route}: {}", put.target);
        }
        assert!(server.connections() >= 3, "{route}: three at once");
        let told = told.lock().unwrap();
        let done: Vec<_> = told
            .iter()
            .filter_map(|event| match event {
                Event::PartUploaded { done, parts, name, .. } => {
                    Some((*done, *parts, name.clone()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(done, [1, 2, 3, 4].map(|done| (done, 4, "film.mp4".to_owned())));
        let total = LENGTH as u64;
        let is_last =
            |event: &&Event| matches!(event, Event::Uploading { sent, .. } if *sent == total);
        assert!(told.iter().any(|event| is_last(&event)), "{told:?}");
    }
}

#[tokio::test]
async fn bytes_in_memory_go_in_parts_too() {
    let (server, store) = Store::start().await;
    let content = pattern(LENGTH);
    let upload = client(server.url()).upload(content.clone()).multipart_over(MIB).part_bytes(MIB);
    in_time(upload).await.unwrap();
    assert!(store.content() == content);
}

#[tokio::test]
async fn a_part_that_fails_is_sent_again_alone() {
    let (server, store) = Store::start().await;
    let mut left = 2;
    store.refuse(move |seen| {
        let is_second = seen.method == "PUT" && seen.target.starts_with("/bucket/film/2?");
        (is_second && left > 0).then(|| {
            left -= 1;
            if left == 0 { Act::CLOSE } else { Act::Say(answer(503, &[], b"busy")) }
        })
    });
    let file = Scratch::new("film.mp4", &pattern(LENGTH));
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let upload = client(server.url()).upload(file.path.clone()).multipart_over(MIB).part_bytes(MIB);
    let upload = upload.on_update(move |event| {
        if let Event::PartRetrying { number, attempt, .. } = event {
            teller.lock().unwrap().push((*number, *attempt));
        }
    });
    in_time(upload).await.unwrap();
    assert!(store.content() == pattern(LENGTH));
    assert_eq!(*told.lock().unwrap(), [(2, 1), (2, 2)]);
    assert_eq!(server.seen().iter().filter(|seen| seen.method == "PUT").count(), 6);
}

#[tokio::test]
async fn another_process_goes_on_where_one_stopped() {
    let (server, store) = Store::start().await;
    let content = pattern(LENGTH);
    let file = Scratch::new("film.mp4", &content);
    // The third part never gets an answer, so that the upload stands still with three of four.
    store.refuse(|seen| seen.target.contains("/film/3?").then_some(Act::HANG));
    let upload = client(server.url()).upload(file.path.clone());
    let mut upload = upload.multipart_over(MIB).part_bytes(MIB).parallel(2).start();
    loop {
        match in_time(upload.next_event()).await {
            Some(Event::PartUploaded { done: 3, .. }) => break,
            Some(_) => {}
            None => panic!("{:?}", in_time(upload).await),
        }
    }
    // The small fourth part can overtake the third, which must have arrived to be left without an answer.
    let has_come = || server.seen().iter().any(|seen| seen.target.contains("/film/3?"));
    let more = async { while upload.next_event().await.is_some() {} };
    tokio::select! {
        () = eventually("the third part has come", has_come) => {}
        () = more => panic!("it has ended without its third part"),
    }
    let text = upload.pause().expect("three parts are there").to_string();
    eventually("the connection of the third part is closed", || server.abandoned() == 1).await;
    assert!(!text.contains("key-id"), "{text}");
    let before = server.seen().len();

    *store.refuse.lock().unwrap() = None;
    let state: UploadState = text.parse().unwrap();
    assert_eq!((state.parts_done(), state.bytes_done()), (3, 2 * MIB + 17));
    let resumed = client(server.url()).upload(file.path.clone()).resume(state.clone());
    let url = in_time(resumed).await.unwrap();
    assert!(url.ends_with("/bucket/film"), "{url}");
    assert!(store.content() == content);
    let steps: Vec<String> = server.seen()[before..]
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.target))
        .collect();
    let query = "?signature=very-secret&expires=1";
    assert_eq!(
        steps,
        [format!("PUT /bucket/film/3{query}"), format!("POST /bucket/film/complete{query}")]
    );

    // Another file under the same name is not the one that was begun.
    std::fs::write(&file.path, pattern(LENGTH + 1)).unwrap();
    let before = server.seen().len();
    let error =
        in_time(client(server.url()).upload(file.path.clone()).resume(state)).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert_eq!(server.seen().len(), before, "nothing is sent");
}

#[tokio::test]
async fn a_failed_upload_can_be_gone_on_with() {
    let (server, store) = Store::start().await;
    store
        .refuse(|seen| seen.target.contains("/film/2?").then(|| Act::Say(answer(400, &[], b"no"))));
    let upload = client(server.url()).upload(pattern(LENGTH));
    let mut upload = upload.multipart_over(MIB).part_bytes(MIB).parallel(1).start();
    while in_time(upload.next_event()).await.is_some() {}
    let state = upload.state().expect("one part is there");
    let error = in_time(upload).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(400));
    assert!(!format!("{error:?} {state:?}").contains("very-secret"), "{error:?} {state:?}");
    *store.refuse.lock().unwrap() = None;
    in_time(client(server.url()).upload(pattern(LENGTH)).resume(state)).await.unwrap();
    assert!(store.content() == pattern(LENGTH));
}

#[tokio::test]
async fn a_file_that_changes_on_its_way_is_an_error() {
    let (server, store) = Store::start().await;
    let file = Scratch::new("film.mp4", &pattern(LENGTH));
    let path = file.path.clone();
    store.refuse(move |seen| {
        if seen.target.contains("/film/4?") {
            std::fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(9 << 20).unwrap();
        }
        None
    });
    let upload = client(server.url()).upload(file.path.clone()).multipart_over(MIB).part_bytes(MIB);
    let error = in_time(upload).await.unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == file.path), "{error:?}");
    assert!(error.to_string().contains("changed"), "{error}");
}

#[tokio::test]
async fn a_file_that_shrinks_is_an_error() {
    let (server, store) = Store::start().await;
    let file = Scratch::new("film.mp4", &pattern(LENGTH));
    let path = file.path.clone();
    store.refuse(move |seen| {
        if seen.target.ends_with("fal-cdn-v3") {
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(MIB).unwrap();
        }
        None
    });
    let upload = client(server.url()).upload(file.path.clone()).multipart_over(MIB).part_bytes(MIB);
    let error = in_time(upload).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Transport(_))), "{error:?}");
    assert!(!*store.is_complete.lock().unwrap());
}

#[tokio::test]
async fn clones_share_the_token_of_the_cdn() {
    let (server, store) = Store::start().await;
    let first = client(server.url());
    let second = first.clone();
    in_time(first.upload(b"a".to_vec()).route(Route::Cdn)).await.unwrap();
    in_time(second.upload(b"b".to_vec()).route(Route::Cdn)).await.unwrap();
    assert_eq!(store.tokens.load(Ordering::SeqCst), 1);
    assert_eq!(*store.whole.lock().unwrap(), b"b");
    // It is refused all of a sudden: a new one is asked for, and kept.
    store.refuse(|seen| {
        let is_old = seen.header("authorization") == Some("Bearer cdn-0");
        is_old.then(|| Act::Say(say(401, &json!({ "detail": "revoked" }))))
    });
    in_time(first.upload(b"c".to_vec()).route(Route::Cdn)).await.unwrap();
    in_time(second.upload(b"d".to_vec()).route(Route::Cdn)).await.unwrap();
    assert_eq!(store.tokens.load(Ordering::SeqCst), 2);
    let refused = server
        .seen()
        .iter()
        .filter(|seen| seen.header("authorization") == Some("Bearer cdn-0"))
        .count();
    assert_eq!(refused, 3, "two that went well, and one that did not");
    assert!(!format!("{first:?}").contains("cdn-1"));
}

#[tokio::test]
async fn the_next_route_is_gone_when_one_fails() {
    let (server, store) = Store::start().await;
    store.refuse(|seen| {
        let is_cdn = seen.target.starts_with("/v3.fal.media");
        is_cdn.then(|| Act::Say(say(500, &json!({ "detail": "down" }))))
    });
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let upload = client(server.url()).upload(b"abc".to_vec()).routes(Route::CDN_THEN_GCS);
    let upload = upload.on_update(move |event| {
        if let Event::RouteFailed { route, next, cause, .. } = event {
            teller.lock().unwrap().push((*route, *next, cause.clone()));
        }
    });
    let url = in_time(upload).await.unwrap();
    assert!(url.ends_with("/bucket/whole"), "{url}");
    let told = told.lock().unwrap();
    assert_eq!((told[0].0, told[0].1, told.len()), (Route::Cdn, Route::Gcs, 1));
    assert!(told[0].2.contains("down"), "{told:?}");
}

#[tokio::test]
async fn dropping_an_upload_closes_all_its_connections() {
    let (server, store) = Store::start().await;
    store.refuse(|seen| (seen.method == "PUT").then_some(Act::HANG));
    let upload = client(server.url()).upload(pattern(LENGTH)).multipart_over(MIB).part_bytes(MIB);
    let mut upload = upload.parallel(4).start();
    let waiting = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if upload.next_event().await.is_none() {
                break;
            }
        }
    });
    tokio::select! {
        _ = waiting => panic!("it ended"),
        () = eventually("four parts are under way", || {
            server.seen().iter().filter(|seen| seen.method == "PUT").count() == 4
        }) => {}
    }
    drop(upload);
    eventually("four connections are closed", || server.abandoned() == 4).await;
}

#[tokio::test]
async fn what_occurs_twice_in_an_input_is_uploaded_once() {
    let mock = fal_mock::MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let photo = Scratch::new("face.png", b"face");
    let forbid = Lifecycle::default().acl(Acl::new(Decision::Forbid));
    let input = Input::default()
        .with("a", Input::file(&photo.path))
        .with("list", vec![Input::bytes(&b"x"[..], "image/png"), Input::file(&photo.path)])
        .with("b", Input::bytes(&b"x"[..], "image/png"))
        .with("other_type", Input::bytes(&b"x"[..], "image/gif"))
        .with("other_name", Input::file(&photo.path).named("b.png"))
        .with("other_readers", Input::file(&photo.path).lifecycle(forbid));
    in_time(client.subscribe(FLUX).input(input)).await.unwrap();
    assert_eq!(mock.counters().uploads, 5);
    let sent: Value = serde_json::from_slice(&mock.jobs()[0].input).unwrap();
    assert_eq!((&sent["list"][1], &sent["list"][0]), (&sent["a"], &sent["b"]));
    let urls = ["a", "b", "other_type", "other_name", "other_readers"].map(|name| &sent[name]);
    for (at, url) in urls.iter().enumerate() {
        assert!(url.as_str().unwrap().starts_with("http"), "{url}");
        assert!(!urls[at + 1..].contains(url), "{sent}");
    }
}

#[tokio::test]
async fn lifecycles_reach_the_wire() {
    let (server, _store) = Store::start().await;
    let client = client(server.url());
    let upload = client.upload(b"abc".to_vec()).expires(Expires::AfterSecs(60));
    in_time(upload.acl(Acl::new(Decision::Hide))).await.unwrap();
    let expected =
        r#"{"expiration_duration_seconds":60,"initial_acl":{"default":"hide","rules":[]}}"#;
    let seen = server.seen();
    for name in ["x-fal-object-lifecycle", "x-fal-object-lifecycle-preference"] {
        assert_eq!(seen[0].header(name), Some(expected));
        assert_eq!(seen[1].header(name), None, "the address is signed");
    }
    for bad in [
        client.upload(b"a".to_vec()).expires(Expires::AfterSecs(0)),
        client.upload(b"a".to_vec()).parallel(0),
        client.upload(b"a".to_vec()).parallel(33),
        client.upload(b"a".to_vec()).part_bytes(0),
        client.upload(b"a".to_vec()).routes([]),
    ] {
        let error = in_time(bad).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{error:?}");
    }
    assert_eq!(server.seen().len(), seen.len());
}

#[tokio::test]
async fn the_mock_takes_every_route_and_gives_the_same_bytes() {
    let mock = fal_mock::MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    let content = pattern(LENGTH);
    let file = Scratch::new("film.mp4", &content);
    for route in [Route::Initiate, Route::Gcs, Route::Cdn] {
        for over in [u64::MAX, MIB] {
            let upload = client.upload(file.path.clone()).route(route);
            let url =
                in_time(upload.multipart_over(over).part_bytes(MIB).parallel(3)).await.unwrap();
            let found = in_time(client.download(&url)).await.unwrap();
            assert!(found == content, "{route}, in parts over {over}: {url}");
        }
    }
}

#[tokio::test]
async fn the_mock_heeds_lifecycles() {
    let mock = fal_mock::MockFal::builder().instant().start().await.unwrap();
    let client = client(&mock.url());
    for route in [Route::Initiate, Route::Gcs, Route::Cdn] {
        for (decision, status) in [(Decision::Forbid, 403), (Decision::Hide, 404)] {
            let upload = client.upload(b"abc".to_vec()).route(route).acl(Acl::new(decision));
            let url = in_time(upload).await.unwrap();
            let found = in_time(client.download(&url)).await;
            let found = found.map_err(|error| error.status().map(|status| status.as_u16()));
            // Google's files have no readers of their own.
            let is_open = route == Route::Gcs;
            match found {
                Ok(bytes) => assert!(is_open && bytes == "abc", "{route} {decision:?}"),
                Err(found) => assert_eq!((found, is_open), (Some(status), false), "{route}"),
            }
        }
    }
}
