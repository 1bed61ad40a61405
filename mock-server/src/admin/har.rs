//! The journal as an HTTP Archive (HAR 1.2), which browsers' tools read.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::clock::time_text;
use super::{Call, JSON, Problem, Reply};
use crate::model::parameters;
use crate::world::{Entry, Message};

pub(super) fn export(call: &Call<'_>) -> Result<Reply, Problem> {
    let entries: Vec<Value> =
        call.world(|world, _| world.journal.entries().map(show_entry).collect())?;
    let archive = json!({ "log": {
        "version": "1.2",
        "creator": { "name": "fal-mock", "version": env!("CARGO_PKG_VERSION") },
        "entries": entries,
    }});
    Ok(Reply::Document(JSON, archive.to_string().into()))
}

fn show_entry(entry: Entry<'_>) -> Value {
    let took = entry.took.map_or(0.0, |took| took.as_secs_f64() * 1000.0);
    let mark = if entry.query.is_empty() { "" } else { "?" };
    let query: Vec<Value> = parameters(entry.query)
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let mut request = json!({
        "method": entry.method.as_str(),
        "url": format!("https://{}{}{mark}{}", entry.host, entry.path, entry.query),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&entry.request),
        "queryString": query,
        "headersSize": -1,
        "bodySize": entry.request.body_len,
    });
    if entry.request.body_len > 0 {
        let (text, encoding) = text_of(&entry.request);
        request["postData"] = json!({ "mimeType": kind(&entry.request), "text": text });
        if let Some(encoding) = encoding {
            // HAR has no member for it here; browsers write the same comment.
            request["postData"]["comment"] = encoding.into();
        }
    }
    let (text, encoding) = text_of(&entry.response);
    let mut content = json!({
        "size": entry.response.body_len,
        "mimeType": kind(&entry.response),
        "text": text,
    });
    if let Some(encoding) = encoding {
        content["encoding"] = encoding.into();
    }
    let status = StatusCode::from_u16(entry.status).ok();
    json!({
        "startedDateTime": time_text(entry.at),
        "time": took,
        "request": request,
        "response": {
            "status": entry.status,
            "statusText": status.and_then(|status| status.canonical_reason()).unwrap_or_default(),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": headers(&entry.response),
            "content": content,
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": entry.response.body_len,
        },
        "cache": {},
        "timings": { "send": 0, "wait": took, "receive": 0 },
    })
}

fn headers(message: &Message<'_>) -> Vec<Value> {
    message.headers().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn kind(message: &Message<'_>) -> String {
    let mut headers = message.headers();
    headers.find(|(name, _)| *name == "content-type").map_or_else(String::new, |(_, value)| value)
}

/// The body as text, and how that is encoded if it is not the text itself.
fn text_of(message: &Message<'_>) -> (String, Option<&'static str>) {
    match std::str::from_utf8(message.body) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (BASE64_STANDARD.encode(message.body), Some("base64")),
    }
}
