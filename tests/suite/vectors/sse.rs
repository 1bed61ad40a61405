use std::slice::from_ref;

use bytes::Bytes;
use fal_conformance::vectors::Vector;
use fal_protocol::sse::{Decoder, Item, Limits, SseError};
use serde_json::{Value, json};

use super::{bytes_of, expect};

/// The stream `given` decodes to the expected items: whole, byte by byte, split at every offset, and
/// with another event behind it.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let (given, expected) = (vector.part("given"), vector.part("expect"));
    let stream = bytes_of(&given["stream"]);
    let limits = limits_of(given);

    compare(expected, limits, from_ref(&stream)).map_err(|problem| format!("whole: {problem}"))?;
    let single: Vec<Bytes> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
    compare(expected, limits, &single).map_err(|problem| format!("byte by byte: {problem}"))?;
    for at in 0..=stream.len() {
        compare(expected, limits, &[stream.slice(..at), stream.slice(at..)])
            .map_err(|problem| format!("split at {at}: {problem}"))?;
    }

    let whole = decode(limits, from_ref(&stream)).0;
    let longer = decode(limits, &[stream, Bytes::from_static(b"\n\ndata: behind\n\n")]).0;
    let has_failed = whole.last().is_some_and(|item| item.get("error").is_some());
    if !longer.starts_with(&whole) || (longer.len() == whole.len()) != has_failed {
        return Err(format!("bytes behind it changed {whole:?} into {longer:?}"));
    }
    Ok(())
}

fn compare(expected: &Value, limits: Limits, chunks: &[Bytes]) -> Result<(), String> {
    let (items, decoder) = decode(limits, chunks);
    expect(expected, "items", items)?;
    expect(expected, "mid_event", decoder.is_mid_event())?;
    let last_id = decoder.last_event_id().map(|id| String::from_utf8_lossy(id).into_owned());
    expect(expected, "last_event_id", last_id)?;
    let retry = decoder.retry().map(|retry| u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
    expect(expected, "retry_ms", retry)
}

fn decode(limits: Limits, chunks: &[Bytes]) -> (Vec<Value>, Decoder) {
    let mut decoder = Decoder::new(limits);
    let mut items = Vec::new();
    for chunk in chunks {
        decoder.push(chunk.clone());
        while let Some(item) = decoder.next_event() {
            items.push(match item {
                Ok(Item::Event(event)) => {
                    let mut json = json!({"data": event.data.to_str()});
                    for (name, text) in [("name", event.name), ("id", event.id)] {
                        if let Some(text) = text {
                            json[name] = text.to_str().into();
                        }
                    }
                    json!({"event": json})
                }
                Ok(Item::Comment) => json!("comment"),
                Ok(other) => json!(format!("{other:?}")),
                Err(SseError::EventTooLong { .. }) => json!({"error": "event-too-long"}),
                Err(SseError::FieldTooLong { .. }) => json!({"error": "field-too-long"}),
                Err(other) => json!({"error": other.to_string()}),
            });
        }
    }
    (items, decoder)
}

fn limits_of(given: &Value) -> Limits {
    let limit = |name: &str| given[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let mut limits = Limits::default();
    if let Some(bytes) = limit("event_bytes_max") {
        limits = limits.with_event_bytes_max(bytes);
    }
    if let Some(bytes) = limit("field_bytes_max") {
        limits = limits.with_field_bytes_max(bytes);
    }
    limits
}
