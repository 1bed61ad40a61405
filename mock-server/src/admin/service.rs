//! What the process is, and what it has done.

use serde_json::json;

use super::{Call, Problem, Reply};
use crate::model::Catalog;

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

/// The endpoints whose documents it knows.
pub(super) fn models(call: &Call<'_>) -> Result<Reply, Problem> {
    let ids = call.model(|model| {
        let ids = model.config().catalog.endpoint_ids();
        ids.map(str::to_owned).collect::<Vec<_>>()
    })?;
    Ok(Reply::Json(json!({ "endpoint_ids": ids })))
}

/// Adds documents, for this tenant, and if it is the first one also for those that are made later.
pub(super) fn add_models(call: &Call<'_>) -> Result<Reply, Problem> {
    // Read before anybody has to wait for it.
    let mut more = Catalog::empty();
    let loaded = more.add(call.body).map_err(|error| Problem::invalid(error.to_string()))?;
    add(call, &more)?;
    let unusable: Vec<_> =
        loaded.unusable.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
    Ok(Reply::Json(json!({
        "documents": loaded.documents,
        "with_defects": loaded.with_defects,
        "unusable": unusable,
    })))
}

/// Adds prices, likewise.
pub(super) fn add_prices(call: &Call<'_>) -> Result<Reply, Problem> {
    let mut more = Catalog::empty();
    let count = more.add_prices(call.body).map_err(|error| Problem::invalid(error.to_string()))?;
    add(call, &more)?;
    Ok(Reply::Json(json!({ "prices": count })))
}

fn add(call: &Call<'_>, more: &Catalog) -> Result<(), Problem> {
    let tenant = call.tenant;
    call.shared.with_worlds(tenant, |worlds, _| worlds.add_to_catalog(tenant, more));
    Ok(())
}
