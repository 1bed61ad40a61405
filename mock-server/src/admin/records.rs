//! What was asked, delivered and kept.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::clock::time_text;
use super::{Call, JSON, LIMIT_MAX, Problem, Reply};
use crate::model::{
    Control, DeliveryResult, DeliveryState, DeliveryView, FileView, Model, key_set, tenant_of_file,
};
use crate::world::{Entry, Message};

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = limit(call)?;
    let after = call.number("after")?.unwrap_or(0) as u64;
    let (host, text) = (call.parameter("host"), call.parameter("text"));
    let status = match call.parameter("status") {
        None => None,
        Some(text) => Some(read_status(&text)?),
    };
    let is_wanted = |entry: &Entry<'_>| {
        entry.number > after
            && host.as_ref().is_none_or(|host| **host == *entry.host)
            && status.is_none_or(|(from, to)| (from..=to).contains(&entry.status))
            && text.as_ref().is_none_or(|text| {
                entry.path.contains(&**text)
                    || entry.host.contains(&**text)
                    || entry.query.contains(&**text)
            })
    };
    call.world(|world, _| {
        let entries = world.journal.entries().rev().filter(is_wanted);
        let requests: Vec<Value> = entries.take(limit).map(show_row).collect();
        Reply::Json(json!({ "requests": requests, "total": world.journal.total() }))
    })
}

pub(super) fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let text = call.segments[0];
    let number =
        text.parse::<u64>().map_err(|_| Problem::missing(format!("{text:?} is no number")))?;
    let found = call.world(|world, _| {
        world.journal.get(number).map(|entry| {
            let mut body = show_row(entry);
            body["request"] = show_message(&entry.request);
            body["response"] = show_message(&entry.response);
            body
        })
    })?;
    let missing = || {
        Problem::missing(format!(
            "there is no request {number}: it was never there, or is forgotten"
        ))
    };
    found.map(Reply::Json).ok_or_else(missing)
}

pub(super) fn clear(call: &Call<'_>) -> Result<Reply, Problem> {
    call.world(|world, _| {
        world.journal.clear();
        world.tell_reset();
    })?;
    Ok(Reply::Nothing)
}

pub(super) fn deliveries(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = limit(call)?;
    let all = call.model(|model| model.deliveries())?;
    let show = |one: &DeliveryView| {
        let mut row = show_delivery(one);
        row["body"] = body_json(&one.body);
        row
    };
    let shown: Vec<Value> = all.iter().rev().take(limit).map(show).collect();
    Ok(Reply::Json(json!({ "deliveries": shown, "total": all.len() })))
}

/// A delivery with what its receiver checks: the bytes of the body, and the headers of each attempt.
pub(super) fn delivery(call: &Call<'_>) -> Result<Reply, Problem> {
    let text = call.segments[0];
    let number =
        text.parse::<u64>().map_err(|_| Problem::missing(format!("{text:?} is no number")))?;
    let found = call.model(|model| {
        let one = model.delivery(number)?;
        let verify = |attempt| model.signature_holds(&one, attempt);
        let verifies: Vec<bool> = one.attempts.iter().map(verify).collect();
        Some((one, verifies))
    })?;
    let (one, verifies) = found.ok_or_else(|| {
        Problem::missing(format!(
            "there is no delivery {number}: it was never there, is forgotten, or was made anew"
        ))
    })?;
    let mut body = show_delivery(&one);
    body["body"] = body_json(&one.body);
    body["body_text"] = String::from_utf8_lossy(&one.body).into();
    let attempts = body["attempts"].as_array_mut().into_iter().flatten();
    for ((shown, attempt), verifies) in attempts.zip(&one.attempts).zip(verifies) {
        shown["bytes"] = attempt.bytes.into();
        shown["verifies"] = verifies.into();
        shown["headers"] = one.signed(attempt).into_iter().map(|pair| json!(pair)).collect();
    }
    Ok(Reply::Json(body))
}

pub(super) fn show_delivery(one: &DeliveryView) -> Value {
    let attempts: Vec<Value> = one
        .attempts
        .iter()
        .map(|attempt| {
            let (status, error) = match &attempt.result {
                Some(DeliveryResult::Answered(status)) => (Some(status.as_u16()), None),
                Some(DeliveryResult::Failed(why)) => (None, Some(why)),
                None => (None, None),
            };
            json!({ "at": time_text(attempt.at), "status": status, "error": error })
        })
        .collect();
    let (state, why) = match &one.state {
        DeliveryState::InFlight => ("in-flight", None),
        DeliveryState::Resting => ("resting", None),
        DeliveryState::Delivered => ("delivered", None),
        DeliveryState::GivenUp => ("given-up", None),
        DeliveryState::Refused(why) => ("refused", Some(*why)),
    };
    json!({
        "number": one.number,
        "request_id": one.request_id.to_string(),
        "url": one.url,
        "state": state,
        "why": why,
        "attempts": attempts,
    })
}

pub(super) fn keys(call: &Call<'_>) -> Result<Reply, Problem> {
    let keys = call.model(|model| model.webhook_keys())?;
    Ok(Reply::Document(JSON, key_set(&keys).into()))
}

pub(super) fn rotate_key(call: &Call<'_>) -> Result<Reply, Problem> {
    call.world(|world, real| {
        let now = world.input(real);
        world.model.handle_control(now, Control::RotateWebhookKey)
    })?;
    Ok(Reply::Nothing)
}

pub(super) fn files(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = limit(call)?;
    let door = call.door();
    let files = call.model(|model| model.files(&door))?;
    let shown: Vec<Value> = files.iter().rev().take(limit).map(show_file).collect();
    Ok(Reply::Json(json!({ "files": shown, "total": files.len() })))
}

pub(super) fn show_file(file: &FileView) -> Value {
    json!({
        "id": file.id,
        "url": file.url,
        "content_type": file.content_type,
        "bytes": file.bytes,
        "is_complete": file.is_complete,
        "parts": file.parts.len(),
        "expires_at": file.expires_at.map(time_text),
    })
}

/// What is in a file. It stands in no journal, and its list of readers does not count.
pub(super) async fn content(call: &Call<'_>) -> Result<Reply, Problem> {
    let url = call
        .parameter("url")
        .ok_or_else(|| Problem::invalid("say which file: ?url=https://v3.fal.media/files/…"))?;
    if let Some(at) = url.find("/files/") {
        crate::http::make(call.shared, &url[at..]).await;
    }
    let tenant = tenant_of_file(&url).unwrap_or(call.tenant);
    let look = |model: &mut Model| model.look(&url, call.method, call.headers);
    let found = call.shared.with_world(tenant, |world, real| {
        world.tick_to(real);
        look(&mut world.model)
    });
    let (head, pieces) = found.flatten().ok_or_else(|| {
        Problem::missing(format!("there is no file at {url}, or its upload is not complete"))
    })?;
    Ok(Reply::File(head, pieces))
}

/// How many entries a list may have.
pub(super) fn limit(call: &Call<'_>) -> Result<usize, Problem> {
    Ok(call.number("limit")?.unwrap_or(LIMIT).min(LIMIT_MAX))
}

/// A status, or a class of them such as `4xx`.
fn read_status(text: &str) -> Result<(u16, u16), Problem> {
    let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
    match (class, text.parse::<u16>()) {
        (Some(class @ 1..=5), _) => Ok((class * 100, class * 100 + 99)),
        (_, Ok(status)) => Ok((status, status)),
        _ => Err(Problem::invalid(format!("status must be one such as 422 or 4xx, not {text:?}"))),
    }
}

pub(super) fn show_row(entry: Entry<'_>) -> Value {
    json!({
        "number": entry.number,
        "at": time_text(entry.at),
        "took_seconds": entry.took.map(|took| took.as_secs_f64()),
        "method": entry.method.as_str(),
        "host": entry.host,
        "path": entry.path,
        "query": entry.query,
        "status": entry.status,
        "is_cut": entry.is_cut,
        "request_bytes": entry.request.body_len,
        "response_bytes": entry.response.body_len,
    })
}

fn show_message(message: &Message<'_>) -> Value {
    let headers: Vec<Value> = message.headers().map(|(name, value)| json!([name, value])).collect();
    json!({
        "headers": headers,
        "body": body_json(message.body),
        "is_truncated": (message.body.len() as u64) < message.body_len,
    })
}

/// A body as JSON if it is some, else as a text, else as base64.
pub(super) fn body_json(body: &[u8]) -> Value {
    match (serde_json::from_slice::<Value>(body), std::str::from_utf8(body)) {
        (Ok(value), _) => json!({ "json": value }),
        (_, Ok(text)) => json!({ "text": text }),
        _ => json!({ "base64": BASE64_STANDARD.encode(body) }),
    }
}

/// Entries of a list unless more are asked for.
const LIMIT: usize = 100;
