//! Workflows: events with a meaning, and failures inside a stream that went well.

use std::time::Duration;

use fal_client::{ErrorKind, ErrorType, FailureKind, WorkflowEvent};
use fal_mock::MockFal;
use fal_mock::model::{Control, Failure, StreamFailure};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::raw::{Act, Raw, head};
use crate::support::{client, in_time};

/// A stream of these events, which ends in order or is cut.
fn stream(events: &[Value], is_whole: bool) -> Act {
    let headers = [
        ("content-type", "text/event-stream"),
        ("transfer-encoding", "chunked"),
        ("x-fal-request-id", "w-1"),
    ];
    let mut bytes = head(200, &headers);
    for event in events {
        let text = format!("data: {event}\n\n");
        bytes.extend_from_slice(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
    }
    if is_whole {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    Act::SayAndClose(bytes)
}

fn steps() -> Vec<Value> {
    vec![
        json!({ "type": "submit", "node_id": "n1", "app_id": "acme/txt", "request_id": "r-9" }),
        json!({ "type": "completion", "node_id": "n1", "output": { "text": "hi" } }),
    ]
}

#[tokio::test]
async fn the_output_is_what_the_last_event_says() {
    for is_whole in [true, false] {
        let events =
            [steps(), vec![json!({ "type": "output", "output": { "text": "hi" } })]].concat();
        let server = Raw::start(move |_| stream(&events, is_whole)).await;
        let mut workflow = client(server.url()).stream("workflows/acme/cats").workflow();
        let mut kinds = Vec::new();
        while let Some(event) = in_time(workflow.next_event()).await {
            kinds.push(match event.unwrap() {
                WorkflowEvent::Submitted { app_id, .. } => app_id.to_string(),
                WorkflowEvent::Completed { node_id, .. } => node_id.to_string(),
                WorkflowEvent::Output { .. } => "output".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(kinds, ["acme/txt", "n1", "output"]);
        let output = in_time(workflow).await.unwrap();
        assert_eq!(output.value().unwrap(), json!({ "text": "hi" }), "a cut takes nothing back");
        assert_eq!(output.request_id(), Some("w-1"));
        assert_eq!(server.seen()[0].target, "/fal.run/workflows/acme/cats/stream");
    }
}

#[tokio::test]
async fn a_failed_step_is_an_error() {
    let body = json!({ "detail": [{ "loc": ["body", "prompt"], "msg": "Field required", "type": "missing" }] });
    let failed = json!({ "type": "error", "node_id": "n2", "message": "failed", "error": { "status": 422, "body": body } });
    let events = [steps(), vec![failed]].concat();
    let server = Raw::start(move |_| stream(&events, true)).await;
    let mut workflow = client(server.url()).stream("workflows/acme/cats").workflow();
    for _ in 0..2 {
        in_time(workflow.next_event()).await.unwrap().unwrap();
    }
    let error = in_time(workflow.next_event()).await.unwrap().unwrap_err();
    assert_eq!(error.fields()[0].path(), "prompt");
    assert_eq!(error.request_id(), Some("w-1"));
    assert!(error.to_string().contains("step n2"), "{error}");
    assert!(in_time(workflow.next_event()).await.is_none());
    let again = in_time(workflow).await.unwrap_err();
    assert_eq!(again.status().map(|status| status.as_u16()), Some(422));
}

#[tokio::test]
async fn an_end_without_output_is_an_error() {
    for is_whole in [true, false] {
        let server = Raw::start(move |_| stream(&steps(), is_whole)).await;
        let error = in_time(client(server.url()).stream("workflows/acme/cats").workflow()).await;
        let error = error.unwrap_err();
        let Some(ErrorKind::Transport(failure)) = error.kind() else { panic!("{error:?}") };
        assert_eq!((failure.kind, error.request_id()), (FailureKind::Closed, Some("w-1")));
        assert!(!error.is_retryable());
    }
    let server = Raw::start(|_| stream(&[json!([1])], true)).await;
    let error = in_time(client(server.url()).stream("workflows/acme/cats").workflow()).await;
    assert!(matches!(error.unwrap_err().kind(), Some(ErrorKind::Protocol(_))));
}

async fn mock() -> MockFal {
    MockFal::builder().run_time(Duration::from_millis(50)).start().await.unwrap()
}

#[tokio::test]
async fn the_steps_of_the_mock_lead_to_their_output() {
    let mock = mock().await;
    let client = client(&mock.url());
    let run = client.stream("workflows/acme/flow").input(json!({ "prompt": "a cat" }));
    let mut workflow = run.workflow();
    let (mut kinds, mut requests, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(event) = in_time(workflow.next_event()).await {
        kinds.push(match event.unwrap() {
            WorkflowEvent::Submitted { node_id, app_id, request_id } => {
                requests.push(request_id);
                format!("{node_id} by {app_id}")
            }
            WorkflowEvent::Completed { node_id, output } => {
                outputs.push(output);
                format!("{node_id} done")
            }
            WorkflowEvent::Output { output } => {
                outputs.push(output);
                "output".to_owned()
            }
            other => panic!("{other:?}"),
        });
    }
    let [text, image] = [("node-text", "fal-ai/any-llm"), ("node-image", "fal-ai/flux/dev")]
        .map(|(node, app)| [format!("{node} by {app}"), format!("{node} done")]);
    assert_eq!(kinds, [&text[..], &image, &["output".to_owned()]].concat());
    assert!(requests.len() == 2 && requests[0] != requests[1], "{requests:?}");
    assert_eq!(outputs[1], outputs[2], "the last step makes the output");
    let told: Value = serde_json::from_slice(&outputs[0]).unwrap();
    assert_eq!(told["output"], "a cat, in detail");

    let id = workflow.request_id().map(str::to_owned);
    let output = in_time(workflow).await.unwrap();
    assert!(id.is_some() && output.request_id() == id.as_deref());
    assert_eq!(output.value().unwrap(), serde_json::from_slice::<Value>(&outputs[2]).unwrap());
    let picture = in_time(client.download(&output.files()[0].url)).await.unwrap();
    assert!(!picture.is_empty());
    assert_eq!(mock.requests()[0].address, "fal.run/workflows/acme/flow/stream");
}

#[tokio::test]
async fn a_step_of_the_mock_fails_as_if_it_had_been_called_by_itself() {
    let mock = mock().await;
    let client = client(&mock.url());
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let failure = Failure::model_error(status, "content_policy_violation", "too blue");
    mock.control(Control::BreakNextStream(StreamFailure::Failed(failure)));
    let mut workflow = client.stream("workflows/acme/flow").workflow();
    for _ in 0..3 {
        in_time(workflow.next_event()).await.unwrap().unwrap();
    }
    let error = in_time(workflow.next_event()).await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(status));
    assert_eq!(error.error_type(), Some(&ErrorType::CONTENT_POLICY_VIOLATION));
    assert_eq!(&*error.fields()[0].message, "too blue");
    assert!(error.to_string().contains("step node-image"), "{error}");
    assert!(error.request_id().is_some() && error.request_id() == workflow.request_id());
    assert!(in_time(workflow.next_event()).await.is_none());
    assert_eq!(in_time(workflow).await.unwrap_err().status(), Some(status));

    let failure = Failure::request_error(StatusCode::BAD_GATEWAY, "runner_server_error", "lost");
    mock.control(Control::BreakNextStream(StreamFailure::Failed(failure)));
    let error = in_time(client.stream("workflows/acme/flow").workflow()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::BAD_GATEWAY));
    assert_eq!(error.error_type().map(|name| name.as_str()), Some("runner_server_error"));

    mock.control(Control::BreakNextStream(StreamFailure::Cut));
    let error = in_time(client.stream("workflows/acme/flow").workflow()).await.unwrap_err();
    let Some(ErrorKind::Transport(failure)) = error.kind() else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::Closed);
    assert_eq!(mock.requests().len(), 3, "none was repeated");
}
