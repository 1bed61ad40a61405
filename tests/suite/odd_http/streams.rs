//! Status streams that are none, end early, or talk nonsense.

use std::sync::atomic::{AtomicUsize, Ordering};

use fal_client::{ErrorKind, Event};
use serde_json::{Value, json};

use super::answers::first;
use crate::support::raw::{Act, JOB, Raw, answer, events, head, well};
use crate::support::{FLUX, client, in_time};

#[tokio::test]
async fn what_is_no_stream_is_polled_instead() {
    let status = json!({ "status": "COMPLETED" }).to_string();
    for odd in [
        answer(200, &[("content-type", "application/json")], status.as_bytes()),
        answer(200, &[("content-type", "text/html")], b"<html>"),
        answer(200, &[], b"data: {\"status\":\"COMPLETED\"}\n\n"),
        answer(404, &[], b""),
        answer(405, &[("content-type", "text/event-stream")], b""),
        answer(500, &[("content-type", "text/html")], b"<html>"),
        answer(302, &[("location", "/elsewhere")], b""),
        head(204, &[]),
    ] {
        let what = String::from_utf8_lossy(&odd).into_owned();
        let server = first("stream", Act::Say(odd)).await;
        in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
        assert_eq!(server.steps(), ["submit", "stream", "status", "result"], "{what}");
    }
}

#[tokio::test]
async fn streams_that_end_early_are_opened_again() {
    let running = json!({ "status": "IN_PROGRESS", "logs": [LINE] });
    let chunked = |body: &[u8]| {
        let head =
            head(200, &[("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]);
        let length = format!("{:x}\r\n", body.len());
        [&head, length.as_bytes(), body, b"\r\n"].concat()
    };
    let event = format!("data: {running}\n\n");
    for odd in [
        Act::SayAndClose(events(&[])),
        Act::SayAndClose(events(std::slice::from_ref(&running))),
        Act::SayAndClose(b"".to_vec()),
        // In order, broken off, and in the middle of an event.
        Act::Say([chunked(event.as_bytes()), b"0\r\n\r\n".to_vec()].concat()),
        Act::SayAndClose(chunked(event.as_bytes())),
        Act::SayAndClose(chunked(b"data: {\"status\":\"COMPL")),
        // An end without the empty line is no event.
        Act::SayAndClose([events(&[]), b"data: {\"status\":\"COMPLETED\"}\n".to_vec()].concat()),
    ] {
        let what = format!("{odd:?}");
        let server = first("stream", odd).await;
        let mut job = client(server.url()).subscribe(FLUX).start();
        let mut retried = 0;
        while let Some(event) = in_time(job.next_event()).await {
            retried += usize::from(matches!(event, Event::Retrying { .. }));
        }
        in_time(job).await.unwrap();
        assert_eq!(server.steps(), ["submit", "stream", "stream", "result"], "{what}");
        assert_eq!(retried, 1, "{what}");
    }
}

#[tokio::test]
async fn a_stream_that_never_holds_gives_way_to_polling() {
    let server = Raw::start(|seen| match seen.step() {
        "stream" => Act::SayAndClose(events(&[json!({ "status": "IN_QUEUE" })])),
        _ => well(seen),
    })
    .await;
    in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
    assert_eq!(server.steps(), ["submit", "stream", "stream", "stream", "status", "result"]);
}

#[tokio::test]
async fn log_lines_are_told_once_over_every_break() {
    let line = |number: usize| json!({ "message": format!("line {number}"), "timestamp": number.to_string() });
    let count = AtomicUsize::new(0);
    // Each stream begins with everything so far, as the service's does, and ends after one more line.
    let server = Raw::start(move |seen| match seen.step() {
        "stream" => {
            let until = count.fetch_add(1, Ordering::SeqCst) + 2;
            let so_far: Vec<Value> = (0..until - 1).map(line).collect();
            Act::SayAndClose(events(&[
                json!({ "status": "IN_PROGRESS", "logs": so_far }),
                json!({ "status": "IN_PROGRESS", "logs": [line(until - 1)] }),
            ]))
        }
        "status" => {
            let all: Vec<Value> = (0..6).map(line).collect();
            let status = json!({ "status": "COMPLETED", "logs": all });
            Act::Say(answer(200, &[], status.to_string().as_bytes()))
        }
        _ => well(seen),
    })
    .await;
    let mut job = client(server.url()).subscribe(FLUX).start();
    let mut messages = Vec::new();
    while let Some(event) = in_time(job.next_event()).await {
        if let Event::Log(line) = event {
            messages.push(line.message.to_string());
        }
    }
    in_time(job).await.unwrap();
    assert_eq!(messages, (0..6).map(|number| format!("line {number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn nonsense_on_a_stream_is_survived() {
    for nonsense in [
        &b"data: <html>\n\n"[..],
        b"data: {}\n\n",
        b"data: null\n\n",
        b"data: {\"status\":7}\n\n",
        b"data: \xff\xfe\n\n",
        b"event: x\r\nretry: -1\r\nid: \0\r\n\r\n",
        &[b'x'; 100_000],
    ] {
        let odd = [events(&[]), nonsense.to_vec()].concat();
        let server = first("stream", Act::SayAndClose(odd)).await;
        let output = in_time(client(server.url()).subscribe(FLUX)).await.unwrap();
        assert_eq!(output.request_id(), Some(JOB));
        assert_eq!(server.count("submit"), 1);
    }
}

#[tokio::test]
async fn unknown_statuses_are_told_and_waited_out() {
    let odd = events(&[
        json!({ "status": "WARMING_UP", "queue_position": "three" }),
        json!({ "status": "COMPLETED", "metrics": { "inference_time": 1.5 } }),
    ]);
    let server = first("stream", Act::SayAndClose(odd)).await;
    let mut job = client(server.url()).subscribe(FLUX).start();
    let mut unknown = Vec::new();
    while let Some(event) = in_time(job.next_event()).await {
        if let Event::UnknownStatus(text) = event {
            unknown.push(text.to_string());
        }
    }
    assert_eq!(unknown, ["WARMING_UP"]);
    assert_eq!(in_time(job).await.unwrap().inference_time(), Some(1.5));
}

#[tokio::test]
async fn a_failure_that_only_the_status_knows_is_told() {
    let failed =
        json!({ "status": "COMPLETED", "error": "it fell over", "error_type": "internal_error" });
    let odd = events(std::slice::from_ref(&failed));
    let server = first("stream", Act::SayAndClose(odd)).await;
    let error = in_time(client(server.url()).subscribe(FLUX)).await.unwrap_err();
    assert!(matches!(error.kind(), Some(ErrorKind::Api(_))), "{error:?}");
    assert_eq!(error.error_type().map(|kind| kind.as_str()), Some("internal_error"));
    assert_eq!(error.request_id(), Some(JOB));
}

const LINE: &str = "a bare text is a line as well";
