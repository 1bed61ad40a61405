//! Failures as files write them, by fal's own names.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::read::{Fields, Object, Path, Reader, unknown};
use super::tree::{Data, Node};
use crate::model::Failure;
use crate::render;

/// A failure by a name.
struct Known {
    name: &'static str,
    status: u16,
    family: Family,
    message: &'static str,
}

/// The two forms in which fal's failures come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// A list under `detail`, by the model; whether repeating may help is said.
    Model(bool),
    /// A text under `detail` and `error_type`, by the infrastructure.
    Request,
}

const fn model(name: &'static str, status: u16, retryable: bool, message: &'static str) -> Known {
    Known { name, status, family: Family::Model(retryable), message }
}

const fn request(name: &'static str, status: u16, message: &'static str) -> Known {
    Known { name, status, family: Family::Request, message }
}

/// Source: docs.fal.ai, errors and request-errors pages (documented); the texts are ours, and where the
/// documentation leaves open whether repeating helps, 5xx say yes.
const KNOWN: [Known; 45] = [
    model("internal_server_error", 500, true, "The model failed"),
    model("generation_timeout", 504, true, "The generation took too long"),
    model("downstream_service_error", 400, true, "A service that the model uses failed"),
    model("downstream_service_unavailable", 500, true, "A service that the model uses is away"),
    model("content_policy_violation", 422, false, "The input violates the content policy"),
    model("no_media_generated", 422, false, "No media was generated"),
    model("image_too_small", 422, false, "The image is too small"),
    model("image_too_large", 422, false, "The image is too large"),
    model("image_load_error", 422, false, "The image could not be loaded"),
    model("file_download_error", 422, false, "The file could not be downloaded"),
    model("face_detection_error", 422, false, "No face was found in the image"),
    model("file_too_large", 422, false, "The file is too large"),
    model("greater_than", 422, false, "The value is too small"),
    model("greater_than_equal", 422, false, "The value is too small"),
    model("less_than", 422, false, "The value is too large"),
    model("less_than_equal", 422, false, "The value is too large"),
    model("multiple_of", 422, false, "The value is no multiple of what it should be"),
    model("sequence_too_short", 422, false, "The list is too short"),
    model("sequence_too_long", 422, false, "The list is too long"),
    model("one_of", 422, false, "The value is none of those allowed"),
    model("feature_not_supported", 422, false, "The model does not support this"),
    model("invalid_archive", 422, false, "The archive could not be read"),
    model("archive_file_count_below_minimum", 422, false, "The archive has too few files"),
    model("archive_file_count_exceeds_maximum", 422, false, "The archive has too many files"),
    model("audio_duration_too_long", 422, false, "The audio is too long"),
    model("audio_duration_too_short", 422, false, "The audio is too short"),
    model("video_duration_too_long", 422, false, "The video is too long"),
    model("video_duration_too_short", 422, false, "The video is too short"),
    model("unsupported_audio_format", 422, false, "The format of the audio is not supported"),
    model("unsupported_image_format", 422, false, "The format of the image is not supported"),
    model("unsupported_video_format", 422, false, "The format of the video is not supported"),
    model("concurrent_requests_limit", 429, true, "The limit of concurrent requests is reached"),
    request("request_timeout", 504, "The request took too long"),
    request("startup_timeout", 504, "The runner did not become ready in time"),
    request("runner_scheduling_failure", 503, "No runner could be allocated"),
    request("runner_connection_timeout", 503, "Connecting to the runner timed out"),
    request("runner_disconnected", 503, "The runner went away"),
    request("runner_connection_refused", 503, "The runner refused the connection"),
    request("runner_connection_error", 503, "The connection to the runner failed"),
    request("runner_incomplete_response", 502, "The answer of the runner was cut short"),
    request("runner_server_error", 500, "The runner failed"),
    request("internal_error", 500, "An internal error occurred"),
    request("client_disconnected", 499, "The caller closed the connection"),
    request("client_cancelled", 499, "The request was cancelled by its caller"),
    request("bad_request", 400, "The request is malformed"),
];

pub(crate) const ERROR: Object =
    Object { name: "error", keys: &["type", "status", "message", "body", "headers"] };

/// A failure by its name alone, for the model's own use.
pub(crate) fn named(name: &str) -> Option<Failure> {
    let known = KNOWN.iter().find(|known| known.name == name)?;
    Some(build(Some(known), name, status(known.status), known.message))
}

/// The names of all documented failures.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// A type, a status, or a map that says more.
pub(crate) fn read(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Failure> {
    match &node.data {
        Data::Text(name) => known(reader, name, node, path, false)
            .map(|known| build(Some(known), known.name, status(known.status), known.message)),
        Data::Number(_) => read_status(reader, node, path).map(bare),
        Data::Map(_) => {
            let fields = reader.fields(node, path, &ERROR)?;
            if !fields.has("type") && !fields.has("status") {
                reader.wrong(node.span, path, "give an error its type or its status");
                return None;
            }
            from_fields(reader, &fields, path)
        }
        _ => {
            let what = node.kind();
            let message = format!(
                "give the type of an error, such as content_policy_violation, a status, or a map with \
                 {}; this is {what}",
                ERROR.keys.join(", ")
            );
            reader.wrong(node.span, path, message);
            None
        }
    }
}

/// The same where the keys stand among others.
pub(crate) fn from_fields(
    reader: &mut Reader,
    fields: &Fields<'_>,
    path: &Path<'_>,
) -> Option<Failure> {
    let before = reader.problems.len();
    let given = fields.get("status").map(|node| read_status(reader, node, &path.key("status")));
    let mut name = None;
    let mut kind = None;
    if let Some(node) = fields.get("type") {
        let path = path.key("type");
        name = reader.text(node, &path, "the type of an error");
        if let Some(name) = name {
            kind = known(reader, name, node, &path, given.is_some());
        }
    }
    let message =
        fields.get("message").and_then(|node| reader.text(node, &path.key("message"), "a text"));
    let status = given.flatten().or_else(|| kind.map(|kind| status(kind.status)));
    let mut failure = match (name, status) {
        (Some(name), Some(status)) => {
            let message =
                message.or_else(|| kind.map(|kind| kind.message)).unwrap_or("The request failed");
            build(kind, name, status, message)
        }
        (None, Some(status)) => match message {
            Some(message) => Failure::new(status, render::detail(message), message, None),
            None => bare(status),
        },
        (_, None) => return None,
    };
    if let Some(node) = fields.get("body") {
        failure.body = match &node.data {
            Data::Text(text) => Bytes::from(text.to_string()),
            _ => Bytes::from(reader.json(node).to_string()),
        };
    }
    if let Some(node) = fields.get("headers") {
        for (name, value) in headers(reader, node, &path.key("headers")) {
            failure.headers.retain(|(other, _)| *other != name);
            failure.headers.push((name, value));
        }
    }
    (reader.problems.len() == before).then_some(failure)
}

fn known(
    reader: &mut Reader,
    name: &str,
    node: &Node,
    path: &Path<'_>,
    has_status: bool,
) -> Option<&'static Known> {
    let found = KNOWN.iter().find(|known| known.name == name);
    if found.is_none() && !has_status {
        let names: Vec<&str> = names().collect();
        let hint = unknown("type of error", name, &names);
        let message = format!("{hint} One that fal does not document needs a status");
        reader.wrong(node.span, path, message);
    }
    found
}

fn read_status(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<StatusCode> {
    let number = reader.whole(node, path, 400, 599)?;
    u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok())
}

/// Headers that an answer gets.
pub(crate) fn headers(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let Some(map) = reader.map(node, path, "a map of headers and their values") else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (key, node) in map.iter() {
        let path = path.key(&key.text);
        let text = match &node.data {
            Data::Text(text) => text.to_string(),
            Data::Number(_) | Data::Bool(_) => node.to_json().to_string(),
            _ => {
                reader.wrong(node.span, &path, format!("give a text; this is {}", node.kind()));
                continue;
            }
        };
        match (HeaderName::try_from(&*key.text), HeaderValue::try_from(text)) {
            (Ok(name), _) if FRAMING.contains(&name.as_str()) => {
                let message = format!("{name} follows from the body: a fault can make it wrong");
                reader.wrong(key.span, &path, message);
            }
            (Ok(name), Ok(value)) => all.push((name, value)),
            (Err(_), _) => {
                reader.wrong(key.span, &path, format!("{:?} is no name of a header", key.text));
            }
            (_, Err(_)) => reader.wrong(node.span, &path, "no header can carry this value"),
        }
    }
    all
}

fn build(kind: Option<&Known>, name: &str, status: StatusCode, message: &str) -> Failure {
    match kind.map(|kind| kind.family) {
        Some(Family::Model(retryable)) => {
            let failure = Failure::model_error(status, name, message);
            let word = HeaderValue::from_static(if retryable { "true" } else { "false" });
            let failure = failure.with_header(HeaderName::from_static("x-fal-retryable"), word);
            match name {
                // Source: docs.fal.ai, concurrency page (documented).
                "concurrent_requests_limit" => failure.with_header(
                    HeaderName::from_static("x-fal-needs-retry"),
                    HeaderValue::from_static("1"),
                ),
                _ => failure,
            }
        }
        Some(Family::Request) => Failure::request_error(status, name, message),
        // Nobody knows of which family it is: by the status, as the service would sort it.
        None if status.is_server_error() => Failure::request_error(status, name, message),
        None => Failure::model_error(status, name, message),
    }
}

/// A status that says no more than itself.
pub(crate) fn bare(status: StatusCode) -> Failure {
    let reason = status.canonical_reason().unwrap_or("Error");
    Failure::new(status, render::detail(reason), reason, None)
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).expect("the table has three digits")
}

/// Headers that frame a body.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn failure(yaml: &str) -> Result<Failure, String> {
        let mut reader = Reader::default();
        let node = tree::parse(yaml).unwrap();
        let failure = read(&mut reader, &node, &Path::Root);
        match reader.problems.first() {
            Some(problem) => Err(problem.message.clone()),
            None => Ok(failure.unwrap()),
        }
    }

    fn header<'a>(failure: &'a Failure, name: &str) -> Option<&'a str> {
        let (_, value) = failure.headers.iter().find(|(other, _)| other == name)?;
        value.to_str().ok()
    }

    #[test]
    fn names_have_the_form_of_their_family() {
        let model = failure("content_policy_violation").unwrap();
        assert_eq!(model.status, 422);
        assert!(model.body.starts_with(b"{\"detail\":[{\"loc\":[\"body\"]"));
        assert_eq!(header(&model, "x-fal-retryable"), Some("false"));
        let request = failure("runner_disconnected").unwrap();
        assert_eq!(
            (request.status.as_u16(), request.error_type.as_deref()),
            (503, Some("runner_disconnected"))
        );
        assert_eq!(header(&request, "x-fal-error-type"), Some("runner_disconnected"));
        assert_eq!(failure("429").unwrap().body, "{\"detail\":\"Too Many Requests\"}");
        for name in names() {
            assert!(named(name).is_some_and(|failure| failure.status.as_u16() >= 400), "{name}");
        }
    }

    #[test]
    fn maps_say_more() {
        let yaml = "{type: internal_error, status: 502, message: m, headers: {Retry-After: 5}}";
        let full = failure(yaml).unwrap();
        assert_eq!((full.status.as_u16(), &*full.error), (502, "m"));
        assert_eq!(header(&full, "retry-after"), Some("5"));
        assert_eq!(failure("{status: 418, body: {a: 1}}").unwrap().body, "{\"a\":1}");
        assert_eq!(failure("{status: 502, body: <html>}").unwrap().body, "<html>");
        assert_eq!(failure("{status: 400, type: mine}").unwrap().status, 400);
        let again = failure("{type: one_of, headers: {x-fal-retryable: true}}").unwrap();
        assert_eq!(again.headers.len(), 1);
    }

    #[test]
    fn wrong_ones_are_told() {
        for (yaml, what) in [
            ("content_policy_violaton", "did you mean \"content_policy_violation\""),
            ("{type: mine}", "needs a status"),
            ("200", "from 400 to 599"),
            ("{message: x}", "its type or its status"),
            ("[]", "give the type of an error"),
            ("{status: 500, headers: {content-length: 5}}", "follows from the body"),
            ("{status: 500, headers: {'a b': x}}", "no name of a header"),
            ("{status: 500, headers: {a: [x]}}", "give a text"),
        ] {
            let problem = failure(yaml).unwrap_err();
            assert!(problem.contains(what), "{yaml}: {problem}");
        }
    }
}
