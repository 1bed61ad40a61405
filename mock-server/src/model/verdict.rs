//! What a document says of an input: fine, or the refusal in the service's own shape.

use fal_protocol::schema::{Mode, ModelSchema, Problem, Report};
use serde_json::Value;

use super::failure::Failure;
use super::input::type_page;
use crate::render;

/// The input with the document's defaults and coercions, or the 422 that its job ends with.
pub(crate) fn judge(schema: &ModelSchema, input: &Value, mode: Mode) -> Result<Value, Failure> {
    let report = schema.validate(input, mode);
    if report.is_valid() {
        return Ok(schema.complete(input));
    }
    Err(Failure::unprocessable(render(&report), &summary(&report)))
}

fn render(report: &Report<'_>) -> Vec<u8> {
    let mut out = b"{\"detail\":[".to_vec();
    for (index, problem) in report.problems().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(&mut out, problem);
    }
    out.extend_from_slice(b"]}");
    out
}

/// One entry, its members in the order in which the service writes them.
fn push(out: &mut Vec<u8>, problem: &Problem<'_>) {
    let mut entry = problem.to_json();
    let mut member = |out: &mut Vec<u8>, name: &str| {
        let text = entry[name].take().to_string();
        out.extend_from_slice(text.as_bytes());
    };
    out.extend_from_slice(b"{\"loc\":");
    member(out, "loc");
    out.extend_from_slice(b",\"msg\":");
    member(out, "msg");
    out.extend_from_slice(b",\"type\":");
    member(out, "type");
    out.extend_from_slice(b",\"url\":");
    render::push_string(out, &type_page(problem.error_type()));
    if problem.context().is_some() {
        out.extend_from_slice(b",\"ctx\":");
        member(out, "ctx");
    }
    out.extend_from_slice(b",\"input\":");
    member(out, "input");
    out.push(b'}');
}

/// The first problem as one sentence, for the status of the job.
fn summary(report: &Report<'_>) -> String {
    let Some(first) = report.problems().first() else { return String::new() };
    let text = first.to_string();
    let text = text.strip_prefix("body.").or_else(|| text.strip_prefix("body: ")).unwrap_or(&text);
    match report.problems().len() {
        1 => text.to_owned(),
        n => format!("{text} (and {} more)", n - 1),
    }
}
