//! What the process is, and what it has done.

use serde_json::{Map, json};

use super::{Call, Problem, Reply};
use crate::environment;
use crate::model::Catalog;

pub(super) fn ready(call: &Call<'_>) -> Result<Reply, Problem> {
    let models = call.model(|model| model.config().catalog.len())?;
    Ok(Reply::Json(json!({
        "status": "ready",
        "version": env!("CARGO_PKG_VERSION"),
        "models": models,
    })))
}

/// What leads programs here. The caller writes the files: the mock may be on another machine, and reads no paths.
pub(super) fn env(call: &Call<'_>) -> Result<Reply, Problem> {
    let Some(dir) = call.parameter("dir") else {
        return Err(Problem::invalid("dir must name the folder where you will write the files"));
    };
    let key = call.parameter("key").unwrap_or_else(environment::fresh_key);
    let node_options = call.parameter("node_options").unwrap_or_default();
    let gate = call.shared.gate();
    // Where nobody else can be reached, nobody else has to be trusted.
    let files = environment::files(gate.tls().ca_pem(), gate.passthrough());
    let dir = dir.trim_end_matches(['/', '\\']);
    let [own, bundle, preload] = files.each_ref().map(|(name, _)| format!("{dir}/{name}"));
    let url = format!("http://{}", call.authority());
    let variables =
        environment::variables(&url, &key, [&own, &bundle, &preload], &node_options).into_iter();
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into()));
    Ok(Reply::Json(json!({
        "variables": variables.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>(),
        "files": files.collect::<Map<_, _>>(),
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
