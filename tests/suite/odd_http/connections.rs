//! Connections that break, lie about lengths, or are not there.

use std::sync::Mutex;
use std::time::Duration;

use fal_client::{ErrorKind, Event, RetryPolicy};
use fal_protocol::wire::FailureKind;
use serde_json::json;
use tokio::net::TcpListener;

use super::answers::{check_unknown, first};
use crate::support::raw::{Act, Raw, answer, head, json, well};
use crate::support::{FLUX, builder, client, in_time};

#[tokio::test]
async fn a_submit_without_an_answer_is_sent_once() {
    for odd in [
        Act::CLOSE,
        Act::SayAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        Act::SayAndClose(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        Act::SayAndClose(vec![0; 64]),
        // Shorter than it says, in both framings.
        Act::SayAndClose([head(200, &[("content-length", "500")]), ACCEPTED.to_vec()].concat()),
        Act::SayAndClose(
            [head(200, &[("transfer-encoding", "chunked")]), b"5\r\n{\"req".to_vec()].concat(),
        ),
        Act::SayAndClose(
            [head(200, &[("transfer-encoding", "chunked")]), b"zz\r\n".to_vec()].concat(),
        ),
        Act::SayAndClose([head(200, &[("content-length", "-1")]), ACCEPTED.to_vec()].concat()),
        // Longer than it says: the body ends in the middle.
        Act::SayAndClose([head(200, &[("content-length", "10")]), ACCEPTED.to_vec()].concat()),
    ] {
        let what = format!("{odd:?}");
        let server = first("submit", odd).await;
        let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{what}: {error:?}");
        check_unknown(&server, &error);
    }
}

#[tokio::test]
async fn a_run_without_an_answer_is_sent_once() {
    for odd in [Act::CLOSE, Act::SayAndClose(head(200, &[("content-length", "5")]))] {
        let server = first("run", odd).await;
        let error = in_time(client(server.url()).run(FLUX)).await.unwrap_err();
        assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{error:?}");
        assert_eq!(server.steps(), ["run"]);
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    for head in [head(200, &[]), b"HTTP/1.0 200 OK\r\n\r\n".to_vec()] {
        let server = first("submit", Act::SayAndClose([head, ACCEPTED.to_vec()].concat())).await;
        in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
        assert_eq!(server.steps(), ["submit", "stream", "result"]);
    }
}

#[tokio::test]
async fn reads_are_repeated_when_they_break() {
    for step in ["stream", "result"] {
        for odd in [
            Act::CLOSE,
            Act::SayAndClose(b"garbage\r\n\r\n".to_vec()),
            Act::SayAndClose(head(200, &[("content-length", "500")])),
        ] {
            let server = first(step, odd).await;
            in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
            assert_eq!(server.count("submit"), 1);
        }
    }
    let server = first("status", Act::CLOSE).await;
    in_time(client(server.url()).subscribe(FLUX).status_stream(false)).await.unwrap();
    assert_eq!(server.steps(), ["submit", "status", "status", "result"]);
    let server = first("cancel", Act::CLOSE).await;
    in_time(client(server.url()).queue(FLUX).unwrap().cancel("job-1")).await.unwrap();
    assert_eq!(server.steps(), ["cancel", "cancel"]);
}

#[tokio::test]
async fn a_read_that_stays_broken_ends_with_the_handle() {
    let server = Raw::start(|seen| match seen.step() {
        "result" => Act::CLOSE,
        _ => well(seen),
    })
    .await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Transport(f)) if f.kind == FailureKind::Closed));
    assert_eq!(error.request_id(), Some("job-1"));
    assert!(error.is_retryable(), "asking for a result again costs nothing");
    assert_eq!(server.count("result"), 8);
}

#[tokio::test]
async fn slow_bytes_are_put_together() {
    let server = Raw::start(|seen| match well(seen) {
        Act::Say(bytes) => Act::Trickle(bytes),
        other => other,
    })
    .await;
    let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(output.value().unwrap(), json!({ "seed": 7 }));
}

#[tokio::test]
async fn surplus_bytes_are_no_answer_to_the_next_call() {
    let smuggled = json(200, &json!({ "seed": 666 }));
    let odd = [answer(200, &[], br#"{"seed":1}"#), smuggled].concat();
    let server = first("run", Act::Say(odd)).await;
    let client = client(server.url());
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let output = match in_time(client.run(FLUX)).await {
            Ok(output) => output,
            // The connection may also be found broken under the second call.
            Err(error) => {
                assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{error:?}");
                continue;
            }
        };
        seeds.push(output.value().unwrap()["seed"].as_u64().unwrap());
    }
    assert_eq!(seeds[0], 1);
    assert!(!seeds.contains(&666), "{seeds:?}");
}

#[tokio::test]
async fn a_connection_may_end_after_any_answer() {
    let server = Raw::start(|seen| match well(seen) {
        // Nothing in the answer says that it was the last one.
        Act::Say(bytes) => Act::SayAndClose(bytes),
        other => other,
    })
    .await;
    let client = client(server.url());
    for _ in 0..20 {
        in_time(client.subscribe(FLUX)).await.unwrap();
    }
    assert_eq!(server.count("submit"), 20);
}

#[tokio::test]
async fn one_connection_serves_many_calls() {
    let server = Raw::start(well).await;
    let client = client(server.url());
    let queue = client.queue(FLUX).unwrap();
    for _ in 0..10 {
        let handle = in_time(queue.submit(json!({}))).await.unwrap();
        in_time(queue.status(&handle, false)).await.unwrap();
        in_time(queue.result(&handle)).await.unwrap();
    }
    assert_eq!((server.seen().len(), server.connections()), (30, 1));
}

#[tokio::test]
async fn a_kept_connection_that_dies_under_a_submit_leaves_its_fate_unknown() {
    let server = Raw::start(|seen| match (seen.step(), seen.connection) {
        // The second request on the first connection.
        ("submit", 0) => Act::CLOSE,
        _ => well(seen),
    })
    .await;
    let client = client(server.url());
    in_time(client.queue(FLUX).unwrap().status("job-1", false)).await.unwrap();
    let error = in_time(client.subscribe(FLUX)).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::SubmitUnknown { .. })), "{error:?}");
    assert_eq!(server.steps(), ["status", "submit"]);
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let late = std::sync::Arc::new(Mutex::new(None));
    let bound = std::sync::Arc::clone(&late);
    let rest = Duration::from_millis(20);
    let client = builder(&format!("http://{address}"))
        .retry(RetryPolicy::default().with_backoff(rest, rest))
        .build()
        .unwrap();
    // The port is there from the first refusal on, and the server once it is asked for.
    let mut job = client
        .subscribe(FLUX)
        .on_update(move |event| {
            let mut bound = bound.lock().unwrap();
            if matches!(event, Event::Retrying { .. }) && bound.is_none() {
                let listener = std::net::TcpListener::bind(address).unwrap();
                listener.set_nonblocking(true).unwrap();
                *bound = Some(listener);
            }
        })
        .start();
    let refused = in_time(job.next_event()).await;
    assert!(matches!(refused, Some(Event::Retrying { attempt: 1, .. })), "{refused:?}");
    let listener = late.lock().unwrap().take().unwrap();
    let server = Raw::on(TcpListener::from_std(listener).unwrap(), well);
    // Taken out of the slot, so a second refusal would bind the port again and fail.
    in_time(job).await.unwrap();
    assert_eq!(server.steps(), ["submit", "stream", "result"]);
}

#[tokio::test]
async fn a_server_that_stays_away_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = in_time(client(&url).subscribe(FLUX)).await.unwrap_err();
    assert!(
        matches!(error.kind(), Some(ErrorKind::Transport(f)) if f.kind == FailureKind::Refused)
    );
    assert!(error.is_retryable(), "nothing was submitted: {error:?}");
    assert!(error.to_string().contains("could not connect"), "{error}");
}

const ACCEPTED: &[u8] = br#"{"request_id":"job-1"}"#;
