//! Jobs: seen, and moved by hand.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::clock::time_text;
use super::records::{body_json, limit};
use super::{Call, Problem, Reply};
use crate::model::{Control, Failure, JobRow, JobState, RequestId};

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = limit(call)?;
    let state = match call.parameter("state").as_deref() {
        None => None,
        Some(name) => Some(STATES.iter().find(|(_, known)| *known == name).ok_or_else(|| {
            let known: Vec<_> = STATES.iter().map(|(_, known)| *known).collect();
            Problem::invalid(format!("state must be one of {}, not {name:?}", known.join(", ")))
        })?),
    };
    let endpoint = call.parameter("endpoint").unwrap_or_default();
    let rows = call.model(|model| model.job_rows())?;
    let total = rows.len();
    let is_wanted = |row: &&JobRow| {
        state.is_none_or(|(state, _)| row.state == *state) && row.endpoint.starts_with(&endpoint)
    };
    let jobs: Vec<Value> = rows.iter().rev().filter(is_wanted).take(limit).map(show_row).collect();
    Ok(Reply::Json(json!({ "jobs": jobs, "total": total })))
}

pub(super) fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let id = id_of(call)?;
    let door = call.door();
    let detail = call.model(|model| model.job_detail(id, &door))?;
    let detail = detail.ok_or_else(|| unknown(call.segments[0]))?;
    let mut body = show_row(&detail.row);
    body["input"] = body_json(&detail.view.input);
    body["headers"] = detail
        .view
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    body["is_low_priority"] = detail.view.is_low_priority.into();
    body["attempts"] = detail.view.attempts.into();
    body["rule"] = detail.view.rule.clone().into();
    body["webhook"] = detail.webhook.into();
    body["runs"] = detail
        .runs
        .iter()
        .map(
            |(since, until)| json!({ "started": time_text(*since), "ended": until.map(time_text) }),
        )
        .collect();
    body["logs"] = detail
        .logs
        .iter()
        .map(|(at, message)| json!({ "at": time_text(*at), "message": message }))
        .collect();
    body["result"] = match &detail.result {
        Some(response) => json!({
            "status": response.status().as_u16(),
            "body": body_json(response.body()),
        }),
        None => Value::Null,
    };
    Ok(Reply::Json(body))
}

pub(super) fn finish(call: &Call<'_>) -> Result<Reply, Problem> {
    let id = id_of(call)?;
    if call.model(|model| model.has_backend(id))? {
        let why = "only its back end knows how the job ends: fail it, cancel it or put it back";
        return Err(Problem::conflict(why));
    }
    act(call, "unfinished", |request_id| Control::Finish { request_id })
}

pub(super) fn requeue(call: &Call<'_>) -> Result<Reply, Problem> {
    act(call, "running", |request_id| Control::Requeue { request_id })
}

pub(super) fn cancel(call: &Call<'_>) -> Result<Reply, Problem> {
    act(call, "unfinished", |request_id| Control::Cancel { request_id })
}

pub(super) fn redeliver(call: &Call<'_>) -> Result<Reply, Problem> {
    act(call, "one with a delivery", |request_id| Control::Redeliver { request_id })
}

/// How a job is to fail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failing {
    status: Option<u16>,
    error_type: Option<String>,
    detail: Option<String>,
    body: Option<Value>,
}

pub(super) fn fail(call: &Call<'_>) -> Result<Reply, Problem> {
    let failing: Failing = call.json()?;
    let status = StatusCode::from_u16(failing.status.unwrap_or(500))
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
        .ok_or_else(|| Problem::invalid("status must be one from 400 to 599"))?;
    let detail = failing.detail.as_deref().unwrap_or("Failed by hand");
    let failure = match (failing.body, failing.error_type) {
        (Some(body), kind) => {
            let error_type = kind.as_deref();
            Failure::new(status, body.to_string(), detail, error_type)
        }
        (None, Some(kind)) => Failure::request_error(status, &kind, detail),
        (None, None) => Failure::model_error(status, "internal_server_error", detail),
    };
    act(call, "unfinished", |request_id| Control::Fail { request_id, failure })
}

fn act(
    call: &Call<'_>,
    wanted: &str,
    control: impl FnOnce(RequestId) -> Control,
) -> Result<Reply, Problem> {
    let id = id_of(call)?;
    let control = control(id);
    let done = call.world(|world, real| {
        let now = world.input(real);
        let done = world.model.handle_control(now, control);
        let rows = world.model.job_row(id);
        (done, rows)
    })?;
    match done {
        (true, Some(row)) => Ok(Reply::Json(show_row(&row))),
        (_, None) => Err(unknown(call.segments[0])),
        (false, Some(row)) => {
            let state = state_name(row.state);
            Err(Problem::conflict(format!("the job is {state}, and would have to be {wanted}")))
        }
    }
}

fn id_of(call: &Call<'_>) -> Result<RequestId, Problem> {
    let text = call.segments[0];
    text.parse().map_err(|_| Problem::missing(format!("{text:?} is no request id")))
}

pub(super) fn unknown(id: &str) -> Problem {
    Problem::missing(format!("there is no job {id}: it was never there, or its time is over"))
}

pub(super) fn show_row(row: &JobRow) -> Value {
    json!({
        "request_id": row.request_id.to_string(),
        "endpoint": row.endpoint,
        "state": state_name(row.state),
        "submitted": time_text(row.submitted),
        "started": row.started.map(time_text),
        "ended": row.ended.map(time_text),
        "queue_position": row.queue_position,
        "cancel_asked": row.cancel_asked,
        "error": row.error,
    })
}

fn state_name(state: JobState) -> &'static str {
    STATES.iter().find(|(known, _)| *known == state).map_or("unknown", |(_, name)| name)
}

const STATES: [(JobState, &str); 4] = [
    (JobState::Queued, "queued"),
    (JobState::Running, "running"),
    (JobState::Succeeded, "succeeded"),
    (JobState::Failed, "failed"),
];
