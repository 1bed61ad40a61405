use fal_conformance::vectors::Vector;
use fal_protocol::stream::workflow::WorkflowEvent;
use serde_json::Value;

use super::{bytes_of, errors, expect};

/// The event is read as expected.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let expected = vector.part("expect");
    let event = WorkflowEvent::parse(&bytes_of(&vector.part("given")["data"]));
    let Ok(event) = event else { return expect(expected, "kind", "refused") };
    expect(expected, "is_last", event.is_last())?;
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|e| e.to_string());
    match &event {
        WorkflowEvent::Submitted { node_id, app_id, request_id } => {
            expect(expected, "kind", "submitted")?;
            expect(expected, "node_id", &**node_id)?;
            expect(expected, "app_id", &**app_id)?;
            expect(expected, "request_id", &**request_id)
        }
        WorkflowEvent::Completed { node_id, output } => {
            expect(expected, "kind", "completed")?;
            expect(expected, "node_id", &**node_id)?;
            expect(expected, "output", json(output)?)
        }
        WorkflowEvent::Output { output } => {
            expect(expected, "kind", "output")?;
            expect(expected, "output", json(output)?)
        }
        WorkflowEvent::Failed { node_id, error } => {
            expect(expected, "kind", "failed")?;
            expect(expected, "node_id", &**node_id)?;
            expect(&expected["error"], "status", error.status.map(|status| status.as_u16()))?;
            errors::compare(&expected["error"], error)
        }
        WorkflowEvent::Other { .. } => expect(expected, "kind", "other"),
        _ => Err("there is a new kind of event".into()),
    }
}
