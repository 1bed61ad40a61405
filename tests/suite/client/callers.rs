//! Who calls: keys, tokens, providers, and where none of them go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fal_client::login::LoginFile;
use fal_client::{
    Client, Credentials, CredentialsError, Denied, Error, ErrorKind, FailureKind, Handle, Key,
    Token,
};
use fal_mock::MockFal;
use serde_json::json;

use crate::support::raw::{Act, JOB, Raw, answer, json_with, well};
use crate::support::{FLUX, KEY, builder, client, in_time};

/// Gives `id:secret-1`, `id:secret-2` and so on.
fn counting()
-> (Arc<AtomicUsize>, impl Fn() -> std::future::Ready<Result<Credentials, CredentialsError>>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let provider = move || {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        std::future::ready(Ok(Key::parse(&format!("id:secret-{number}")).unwrap().into()))
    };
    (asked, provider)
}

fn sent(server: &Raw) -> Vec<Option<String>> {
    server.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect()
}

#[tokio::test]
async fn every_attempt_asks_for_credentials_anew() {
    let tries = AtomicUsize::new(0);
    let server = Raw::start(move |seen| match seen.step() {
        "submit" if tries.fetch_add(1, Ordering::SeqCst) == 0 => Act::Say(answer(429, &[], b"")),
        _ => well(seen),
    })
    .await;
    let (asked, provider) = counting();
    let client = builder(server.url()).credentials_provider(provider).build().unwrap();
    in_time(client.subscribe(FLUX)).await.unwrap();
    assert_eq!(server.steps(), ["submit", "submit", "stream", "result"]);
    let expected: Vec<_> = (1..=4).map(|number| Some(format!("Key id:secret-{number}"))).collect();
    assert_eq!(sent(&server), expected);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn what_goes_elsewhere_asks_for_none() {
    let elsewhere = Raw::start(|_| Act::Say(answer(200, &[], b"{}"))).await;
    let target = format!("{}/r", elsewhere.url());
    let server = Raw::start(move |seen| match seen.step() {
        "result" => Act::Say(answer(302, &[("location", &target)], b"")),
        _ => well(seen),
    })
    .await;
    for is_deferred in [false, true] {
        let (asked, provider) = counting();
        let builder = builder(server.url());
        let builder = if is_deferred { builder.credentials_provider(provider) } else { builder };
        let client = builder.build().unwrap();
        let handle: Handle = format!("{FLUX}/requests/{JOB}").parse().unwrap();
        in_time(client.queue(FLUX).unwrap().result(&handle)).await.unwrap();
        let file = format!("{}/file.png", elsewhere.url());
        in_time(client.download(file)).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), usize::from(is_deferred));
    }
    assert!(sent(&server).iter().all(Option::is_some));
    assert_eq!(sent(&elsewhere), [const { None }; 4]);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    async fn none() -> Result<Credentials, CredentialsError> {
        Err("the vault is closed".into())
    }
    let server = Raw::start(well).await;
    let client = builder(server.url()).credentials_provider(none).build().unwrap();
    let error = in_time(client.subscribe(FLUX)).await.unwrap_err();
    let Some(ErrorKind::Transport(failure)) = error.kind() else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::Credentials);
    assert!(error.to_string().contains("the vault is closed"), "{error}");
    in_time(client.run(FLUX)).await.unwrap_err();
    in_time(client.stream(FLUX)).await.unwrap_err();

    let deferring = || std::future::ready(Ok(Credentials::Deferred));
    let client = builder(server.url()).credentials_provider(deferring).build().unwrap();
    in_time(client.run(FLUX)).await.unwrap_err();
    assert!(server.seen().is_empty());
    let builder = Client::builder().credentials(Credentials::Deferred);
    assert!(matches!(builder.build(), Err(Error::Config { .. })));
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_given_up_before_anything_is_unknown() {
    let server = Raw::start(well).await;
    let client = builder(server.url())
        .credentials_provider(std::future::pending::<Result<Credentials, CredentialsError>>)
        .attempt_timeout(Duration::from_millis(60))
        .build()
        .unwrap();
    let error = in_time(client.queue(FLUX).unwrap().submit(json!({}))).await.unwrap_err();
    let Some(ErrorKind::Transport(failure)) = error.kind() else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::Credentials, "and not a submit of unknown fate");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_provider_that_fails_for_a_moment_costs_no_job() {
    let server = Raw::start(well).await;
    let asked = AtomicUsize::new(0);
    let provider = move || {
        let is_down = (1..3).contains(&asked.fetch_add(1, Ordering::SeqCst));
        let key: Credentials = Key::parse(KEY).unwrap().into();
        std::future::ready(if is_down { Err(CredentialsError::from("down")) } else { Ok(key) })
    };
    let client = builder(server.url()).credentials_provider(provider).build().unwrap();
    in_time(client.subscribe(FLUX)).await.unwrap();
    assert_eq!(server.count("submit"), 1);
}

#[tokio::test]
async fn tokens_go_out_as_bearers() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let token = Token::parse("e30.e30.c2ln").unwrap();
    let client = builder(&mock.url()).credentials(token).build().unwrap();
    in_time(client.run(FLUX).input(json!({ "prompt": "a cat" }))).await.unwrap();
    assert!(!format!("{client:?}").contains("c2ln"));
}

#[tokio::test]
async fn a_stream_may_have_a_token_of_its_own() {
    let server = Raw::start(|_| {
        let events = [("content-type", "text/event-stream")];
        Act::Say(answer(200, &events, b"data: 0\n\ndata: \"\"\n\n"))
    })
    .await;
    let client = client(server.url());
    let mut stream =
        client.stream("acme/app/stream").token("e30.e30.c2ln").query("a", "b c").start();
    assert!(!format!("{stream:?}").contains("c2ln"));
    assert_eq!(in_time(stream.next_item()).await.unwrap().unwrap().json::<u8>().unwrap(), 0);
    let output = in_time(stream).await.unwrap();
    assert_eq!(output.value().unwrap(), json!(""), "falsy, and a result");
    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/fal.run/acme/app/stream?a=b%20c&fal_jwt_token=e30.e30.c2ln");
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("accept"), Some("text/event-stream"));

    for call in [
        client.stream("acme/app").token("two words"),
        client.stream("acme/app").query("fal_jwt_token", "x"),
        client.stream("acme/app").method(http::Method::GET).input(json!({ "lost": 1 })),
    ] {
        let error = in_time(call).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::Input(_))), "{error:?}");
    }
    in_time(client.stream("acme/app").method(http::Method::GET)).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.len(), &*seen[1].method, &*seen[1].body), (2, "GET", &b""[..]));
}

#[tokio::test]
async fn a_login_is_read_for_every_attempt_and_never_written() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder =
        std::env::temp_dir().join(format!("fal-login-{}-{}", std::process::id(), mock.port()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("auth0_token");
    let jwt = |offset: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = format!(r#"{{"exp":{}}}"#, now.saturating_add_signed(offset));
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    };
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(&format!("refresh-secret\r\n{}", jwt(3600)));
    let login = LoginFile::at(&path);
    let client = builder(&mock.url()).credentials_provider(login.clone()).build().unwrap();
    let call = || client.run(FLUX).input(json!({ "prompt": "a cat" }));
    in_time(call()).await.unwrap();

    for (text, words) in [
        (format!("refresh-secret\n{}", jwt(-60)), "expired"),
        (format!("refresh-secret\n{}", jwt(240)), "within 5 minutes"),
        ("refresh-secret".to_owned(), "no access token yet"),
        ("refresh-secret\nnonsense".to_owned(), "does not tell"),
    ] {
        write(&text);
        let error = in_time(call()).await.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("fal auth login"), "{error}");
        assert!(error.contains("FAL_KEY_SECRET") && !error.contains("refresh-secret"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    write(&format!("\n refresh-secret \n\n{}\n", jwt(3600)));
    in_time(call()).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(login.read(), Err(Error::File { .. })));
    in_time(call()).await.unwrap_err();
    assert_eq!(mock.requests().len(), 2);
}

#[tokio::test]
async fn the_service_s_refusals_have_kinds() {
    for (status, detail, kind) in [
        (401, "Authorization header is required", Denied::Missing),
        (401, "No user found for Key ID and Secret", Denied::Invalid),
        (403, "User is locked. Reason: Exhausted balance.", Denied::Locked),
        (403, "Cannot access application \"acme/app\"", Denied::Forbidden),
        (404, "Application \"acme/app\" not found", Denied::UnknownApp),
    ] {
        let server =
            Raw::start(move |_| Act::Say(json_with(status, &[], &json!({ "detail": detail }))))
                .await;
        let error = in_time(client(server.url()).run("acme/app")).await.unwrap_err();
        assert_eq!(error.denied(), Some(kind), "{error}");
        assert_eq!(server.seen().len(), 1, "it was not repeated");
        assert!(!format!("{error} {error:?}").contains("very-secret"));
    }
}
