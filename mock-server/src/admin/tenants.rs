//! Tenants: made, seen, ended.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Problem, Reply};
use crate::duration::parse_duration;
use crate::model::{TenantId, parse_time};
use crate::world::{Settings, TenantError, TenantView};

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let tenants: Vec<Value> = call.shared.with_worlds(TenantId::FIRST, |worlds, _| {
        worlds.tenants().map(|view| show_one(&view)).collect()
    });
    Ok(Reply::Json(json!({ "tenants": tenants })))
}

/// What a new tenant is to have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    name: Option<String>,
    key: Option<String>,
    seed: Option<u64>,
    clock: Option<String>,
    start: Option<String>,
    queue_time: Option<String>,
    run_time: Option<String>,
    runners: Option<usize>,
    instant: Option<bool>,
}

pub(super) fn add(call: &Call<'_>) -> Result<Reply, Problem> {
    let new: NewTenant = call.json()?;
    let time = |name: &str, text: Option<String>| {
        let read = |text: String| {
            parse_duration(&text).map_err(|why| Problem::invalid(format!("{name}: {why}")))
        };
        text.map(read).transpose()
    };
    let clock =
        |text: String| text.parse().map_err(|why| Problem::invalid(format!("clock: {why}")));
    let settings = Settings {
        name: new.name,
        key: new.key,
        seed: new.seed,
        clock: new.clock.map(clock).transpose()?,
        start: new.start.map(|text| read_time("start", &text)).transpose()?,
        queue_time: time("queue_time", new.queue_time)?,
        run_time: time("run_time", new.run_time)?,
        runners: new.runners,
        instant: new.instant,
    };
    let (tenant, key) = call.shared.add_tenant(&settings).map_err(|error| match error {
        TenantError::TooMany => Problem::conflict(error.to_string()),
        _ => Problem::invalid(error.to_string()),
    })?;
    let view = call.shared.with_world(tenant, |world, _| world.view(tenant));
    let mut body = view.map(|view| show_one(&view)).unwrap_or_default();
    body["key"] = key.into();
    Ok(Reply::Created(body))
}

pub(super) fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let view = call.shared.with_worlds(TenantId::FIRST, |worlds, _| {
        let tenant = worlds.by_name(call.segments[0])?;
        worlds.get(tenant).map(|world| world.view(tenant))
    });
    view.map(|view| Reply::Json(show_one(&view))).ok_or_else(|| unknown(call.segments[0]))
}

pub(super) fn end(call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.segments[0];
    let tenant = call.shared.with_worlds(TenantId::FIRST, |worlds, _| worlds.by_name(name));
    match tenant {
        None => Err(unknown(name)),
        Some(TenantId::FIRST) => {
            Err(Problem::conflict("the first tenant stays as long as the mock"))
        }
        Some(tenant) => {
            call.shared.end_tenant(tenant);
            Ok(Reply::Nothing)
        }
    }
}

pub(super) fn unknown(name: &str) -> Problem {
    Problem::missing(format!("there is no tenant {name:?}"))
}

/// A time of the wall, RFC 3339.
pub(super) fn read_time(name: &str, text: &str) -> Result<std::time::SystemTime, Problem> {
    parse_time(text).ok_or_else(|| {
        Problem::invalid(format!(
            "{name} must be a time such as 2030-01-02T03:04:05Z, not {text:?}"
        ))
    })
}

pub(super) fn show_one(view: &TenantView) -> Value {
    json!({
        "name": view.name,
        "jobs": view.jobs,
        "files": view.files,
        "requests": view.requests,
        "stored_bytes": view.stored_bytes,
    })
}
