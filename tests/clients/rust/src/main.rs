//! Calls the service with the crate `fal` as an application would, and prints one JSON line per check.
//!
//! It reaches fal's own addresses and reads its key from FAL_API_KEY: `fal-mock exec` leads it to a mock.

use fal::FalError;
use fal::queue::Status;
use fal::request::FalRequest;
use futures::TryStreamExt as _;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    report("run", &["FalRequest::send"], run().await);
    report("error", &["FalRequest::send"], error().await);
    let all = ["FalRequest::queue", "Queue::status", "Queue::stream", "Queue::response"];
    report("queue", &all, queue().await);
    report("cancel", &["Queue::cancel"], cancel().await);
}

fn request(endpoint: &str, input: Value) -> FalRequest<Value, Value> {
    FalRequest::new(endpoint, input)
}

async fn run() -> Result<String, FalError> {
    let output = request("fal-ai/flux/dev", json!({"prompt": "a cat", "seed": 7})).send().await?;
    expect(output["seed"] == 7, &output)?;
    Ok(output["images"][0]["url"].to_string())
}

async fn error() -> Result<String, FalError> {
    match request("fal-ai/flux/dev", json!({"prompt": 7})).send().await {
        Err(FalError::Other(body)) => {
            let body: Value = serde_json::from_str(&body)?;
            expect(body["detail"][0]["loc"] == json!(["body", "prompt"]), &body)?;
            Ok(body["detail"][0]["type"].to_string())
        }
        other => Err(FalError::Other(format!("a refusal was expected, not {other:?}"))),
    }
}

async fn queue() -> Result<String, FalError> {
    let job = request("fal-ai/flux/dev", json!({"prompt": "a cat"})).queue().await?;
    let status = job.status(true).await?;
    expect(status.status != Status::Completed, &json!(status))?;
    let statuses: Vec<_> = job.stream(true).await?.try_collect().await?;
    let last = statuses.last().map(|status| &status.status);
    expect(last == Some(&Status::Completed), &json!(statuses))?;
    let logs = statuses.iter().flat_map(|status| status.logs.iter().flatten()).count();
    expect(logs > 0, &json!(statuses))?;
    let output = job.response().await?;
    Ok(output["images"][0]["url"].to_string())
}

async fn cancel() -> Result<String, FalError> {
    let job = request("fal-ai/flux/dev", json!({"prompt": "a cat"})).queue().await?;
    job.cancel().await?;
    Ok(job.payload.request_id)
}

fn expect(is_so: bool, seen: &Value) -> Result<(), FalError> {
    if is_so { Ok(()) } else { Err(FalError::Other(format!("unexpected: {seen}"))) }
}

fn report(id: &str, methods: &[&str], result: Result<String, FalError>) {
    let (ok, detail) = match result {
        Ok(detail) => (true, detail),
        Err(error) => (false, error.to_string()),
    };
    println!("{}", json!({"id": id, "ok": ok, "door": "exec", "methods": methods, "detail": detail}));
}
