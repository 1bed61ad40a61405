//! JSON lines: one object per event, its name first.

use std::time::Instant;

use fal_client::Event;
use fal_client::model::Finding;
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem::Problem;

/// One line under construction. Fields stand in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Line(String);

impl Line {
    pub(crate) fn new(event: &str, began: Instant) -> Self {
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Self(format!("{{\"event\":{}", encoded(event))).with("elapsed_ms", &elapsed)
    }

    pub(crate) fn with(self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.raw(name, &encoded(value))
    }

    /// Adds nothing for `None`.
    pub(crate) fn maybe(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, &value),
            None => self,
        }
    }

    /// Adds JSON that is on one line already.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> Self {
        self.0.push(',');
        self.0.push_str(&encoded(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The line of an event.
pub(crate) fn of(event: &Event, began: Instant) -> Option<Line> {
    let line = |name: &str| Line::new(name, began);
    Some(match event {
        Event::InputWarning(finding) => line("input_warning")
            .with("path", &finding.path)
            .with("message", &finding.message)
            .maybe("suggestion", finding.suggestion.as_deref()),
        Event::Uploading { name, sent, total } => {
            line("uploading").with("name", name).with("sent", sent).with("total", total)
        }
        Event::PartUploaded { name, number, done, parts } => line("part_uploaded")
            .with("name", name)
            .with("number", number)
            .with("done", done)
            .with("parts", parts),
        Event::PartRetrying { name, number, attempt, rest, cause } => line("part_retrying")
            .with("name", name)
            .with("number", number)
            .with("attempt", attempt)
            .with("rest_ms", &u64::try_from(rest.as_millis()).unwrap_or(u64::MAX))
            .with("cause", cause),
        Event::RouteFailed { name, route, next, cause } => line("route_failed")
            .with("name", name)
            .with("route", route.as_str())
            .with("next", next.as_str())
            .with("cause", cause),
        Event::Uploaded { name, url } => line("uploaded").with("name", name).with("url", url),
        Event::Submitted(handle) => line("submitted").with("handle", handle),
        Event::Queued { position } => line("queued").with("position", position),
        Event::Started => line("started"),
        Event::Log(log) => line("log")
            .with("message", &log.message)
            .maybe("level", log.level.as_deref())
            .maybe("timestamp", log.timestamp.as_deref())
            .maybe("source", log.source.as_deref()),
        Event::UnknownStatus(text) => line("unknown_status").with("status", text),
        Event::Completed(completed) => line("completed")
            .with("failed", &completed.failure.is_some())
            .maybe("inference_time", completed.inference_time()),
        Event::NotReady => line("not_ready"),
        Event::Retrying { attempt, rest, cause } => line("retrying")
            .with("attempt", attempt)
            .with("rest_ms", &u64::try_from(rest.as_millis()).unwrap_or(u64::MAX))
            .with("cause", cause),
        _ => return None,
    })
}

/// What a check found, as a program reads it.
fn of_finding(finding: &Finding) -> Value {
    json!({
        "path": finding.path, "message": finding.message, "type": finding.kind.error_type(),
        "allowed": finding.allowed, "suggestion": finding.suggestion,
    })
}

/// The last line of a command that fails.
pub(super) fn of_problem(problem: &Problem, began: Instant) -> Line {
    let error = problem.error.as_deref();
    let fields: Vec<Value> = match problem.review() {
        Some(review) => review.problems.iter().map(of_finding).collect(),
        None => problem
            .fields()
            .iter()
            .map(|field| {
                json!({ "path": field.path(), "message": field.message, "type": field.error_type.as_str() })
            })
            .collect(),
    };
    let request_id =
        error.and_then(|error| error.request_id()).or_else(|| Some(&problem.handle()?.request_id));
    Line::new("error", began)
        .with("kind", problem.exit.name())
        .with("exit_code", &(problem.exit as u8))
        .with("message", &problem.message)
        .maybe("status", error.and_then(|error| error.status()).map(|status| status.as_u16()))
        .maybe("error_type", error.and_then(|error| error.error_type()).map(|name| name.as_str()))
        .maybe("request_id", request_id)
        .with("fields", &fields)
        .maybe("handle", problem.handle())
        .with("hints", &problem.hints)
}

fn encoded(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("texts, numbers and handles are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_first_and_order_is_kept() {
        let line = Line::new("a\"b", Instant::now()).with("z", "1\n2").maybe("none", None::<u8>);
        let text = line.raw("a", "[1]").finish();
        assert!(text.starts_with("{\"event\":\"a\\\"b\",\"elapsed_ms\":"), "{text}");
        assert!(text.ends_with(",\"z\":\"1\\n2\",\"a\":[1]}"), "{text}");
        serde_json::from_str::<Value>(&text).unwrap();
    }
}
