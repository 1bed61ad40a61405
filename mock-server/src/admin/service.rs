//! What the process is, and what it has done.

use serde_json::json;

use super::{Call, Problem, Reply};

pub(super) fn ready(call: &Call<'_>) -> Result<Reply, Problem> {
    let models = call.model(|model| model.config().catalog.len())?;
    Ok(Reply::Json(json!({
        "status": "ready",
        "version": env!("CARGO_PKG_VERSION"),
        "models": models,
    })))
}

pub(super) fn counters(call: &Call<'_>) -> Result<Reply, Problem> {
    let counters = call.model(|model| model.counters().clone())?;
    Ok(Reply::Json(json!({
        "submits": counters.submits,
        "runs": counters.runs,
        "runs_abandoned": counters.runs_abandoned,
        "model_streams": counters.model_streams,
        "model_streams_abandoned": counters.model_streams_abandoned,
        "completed": counters.completed,
        "cancels": counters.cancels,
        "streams": counters.streams,
        "run_tokens": counters.run_tokens,
        "sessions": counters.sessions,
        "session_inputs": counters.session_inputs,
        "session_inputs_dropped": counters.session_inputs_dropped,
        "session_outputs": counters.session_outputs,
        "fronts": counters.fronts,
        "uploads": counters.uploads,
        "parts": counters.parts,
        "tokens": counters.tokens,
        "downloads": counters.downloads,
        "evicted": counters.evicted,
        "refused_connects": call.shared.gate().refused_total(),
    })))
}
