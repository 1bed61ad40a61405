//! Deliveries as they arrive.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use fal_mock::MockFal;
use fal_mock::model::{Control, DeliveryResult};

use crate::support::{Folder, Running, Said, fal_cli};

/// The listener with these flags, and where it listens.
fn start(url: &str, flags: &[&str]) -> (Running, String) {
    let mut command = fal_cli(url);
    command.env_remove("FAL_KEY").args(["webhook", "listen", "--json"]).args(flags);
    let mut running = Running::start(&mut command);
    let hook = running.until("listening")["url"].as_str().expect("an address").to_owned();
    (running, hook)
}

fn submit(url: &str, hook: &str, input: &str) {
    let submit = ["submit", "fal-ai/flux/dev", input, "--webhook", hook];
    Said::of(fal_cli(url).args(submit)).expect(0);
}

fn post(hook: &str, request: &str) -> String {
    let address = hook.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_told_saved_and_counted() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let url = mock.url();
    let folder = Folder::new();
    let dir = folder.path().join("deliveries");
    let flags = ["--count", "3", "--save", dir.to_str().unwrap()];
    let (mut running, hook) = start(&url, &flags);

    submit(&url, &hook, "prompt=x");
    let told = running.until("delivery");
    assert_eq!((&told["result"], &told["outcome"]), (&"verified".into(), &"ok".into()));
    assert_eq!((&told["duplicate"], &told["answered"]), (&false.into(), &200.into()));
    assert_eq!(told["request_id"], mock.jobs()[0].request_id.to_string());
    assert_eq!(told["delivery"]["status"], "OK");
    let saved = told["saved"].as_str().unwrap().to_owned();

    let id = mock.jobs()[0].request_id;
    assert!(mock.control(Control::Redeliver { request_id: id }));
    assert_eq!(running.until("delivery")["duplicate"], true);

    let forged = "POST / HTTP/1.1\r\nhost: x\r\nx-fal-webhook-request-id: ../../up\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(post(&hook, forged), "401");
    let told = running.until("delivery");
    assert_eq!((&told["result"], &told["outcome"]), (&"refused".into(), &serde_json::Value::Null));
    assert!(told["reason"].as_str().unwrap().contains("user-id"), "{told}");
    assert!(told["saved"].as_str().unwrap().ends_with("deliveries/up-not-verified.http"), "{told}");
    assert_eq!(post(&hook, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"), "405");
    let long = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 67108865\r\n\r\n";
    assert_eq!(post(&hook, long), "413");

    submit(&url, &hook, "seed=x");
    assert_eq!(running.until("delivery")["outcome"], "failed");
    mock.control(Control::WithholdNextPayload);
    submit(&url, &hook, "prompt=x");
    assert_eq!(running.until("delivery")["outcome"], "not_included");
    running.end().expect(0);
    // The mock takes note of the last answer a moment after it was given.
    let ok = Some(DeliveryResult::Answered(http::StatusCode::OK));
    let begin = std::time::Instant::now();
    loop {
        let attempts: Vec<_> = mock.deliveries().into_iter().flat_map(|d| d.attempts).collect();
        if attempts.iter().all(|attempt| attempt.result == ok) {
            break;
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{attempts:?}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }

    // What was saved is what was received.
    let verify = |path: &str, code| {
        Said::of(fal_cli(&url).env_remove("FAL_KEY").args(["webhook", "verify", "--request", path]))
            .expect(code)
    };
    assert_eq!(verify(&saved, 0).last("result")["outcome"], "ok");
    let mut bytes = fs::read(&saved).unwrap();
    let last = bytes.len() - 1;
    bytes[last] = b' ';
    let changed = folder.file("changed.http", &bytes);
    assert!(verify(&changed, 4).stderr.contains("signature"));
    assert!(verify(&folder.file("x.http", b"no head"), 2).stderr.contains("empty line"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_out_of_reach_are_no_refusal() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let (mut running, hook) = start("http://127.0.0.1:1", &[]);
    submit(&mock.url(), &hook, "prompt=x");
    let told = running.until("delivery");
    assert_eq!((&told["result"], &told["answered"]), (&"keys_unavailable".into(), &503.into()));
    running.kill();
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it() {
    let (running, _) = start("http://127.0.0.1:1", &[]);
    running.signal("INT");
    running.end().expect(0);
    let (running, _) = start("http://127.0.0.1:1", &["--count", "2"]);
    running.signal("TERM");
    let said = running.end().expect(130);
    assert!(said.stderr.contains("0 of 2"), "{}", said.stderr);
}

#[test]
fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = fal_cli("http://127.0.0.1:1");
    let said = Said::of(command.args(["webhook", "listen", "--port", &port])).expect(1);
    assert!(said.stderr.contains("--port 0") && said.stderr.contains(&port), "{}", said.stderr);
}
