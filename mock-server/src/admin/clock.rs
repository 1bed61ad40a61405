//! The clock of a tenant: read, stopped, moved.

use std::time::{Instant, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};

use super::tenants::read_time;
use super::{Call, LIMIT_MAX, Problem, Reply};
use crate::duration::parse_duration;
use crate::model::RequestId;
use crate::render;
use crate::world::{ClockMode, World};

pub(super) fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = call.number("limit")?.unwrap_or(LIMIT).min(LIMIT_MAX);
    call.world(|world, real| {
        world.tick_to(real);
        Reply::Json(view(world, real, limit))
    })
}

/// How time is to pass.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    mode: Option<String>,
    frozen: Option<bool>,
}

pub(super) fn change(call: &Call<'_>) -> Result<Reply, Problem> {
    let change: Change = call.json()?;
    let mode: Option<ClockMode> = match change.mode {
        None => None,
        Some(text) => Some(text.parse().map_err(Problem::invalid)?),
    };
    call.world(|world, real| {
        // What is due by now still happens in the old way.
        world.input(real);
        world.tick_to(real);
        mode.inspect(|mode| world.clock.set_mode(real, *mode));
        change.frozen.inspect(|frozen| world.clock.freeze(real, *frozen));
        Reply::Json(view(world, real, LIMIT))
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: String,
}

pub(super) async fn advance(call: &Call<'_>) -> Result<Reply, Problem> {
    let Advance { by } = call.json()?;
    let by = parse_duration(&by).map_err(|why| Problem::invalid(format!("by: {why}")))?;
    let to = call.world(|world, real| world.clock.at(real).checked_add(by))?;
    let to = to.ok_or_else(|| Problem::invalid("by: that is further than time goes"))?;
    moved(call, |_, _| Some(to), |_| false).await
}

/// Exactly one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunUntil {
    time: Option<String>,
    job: Option<String>,
    #[serde(default)]
    next: bool,
    #[serde(default)]
    idle: bool,
}

pub(super) async fn run_until(call: &Call<'_>) -> Result<Reply, Problem> {
    let progress = |world: &World, _: Instant| world.next_progress();
    match call.json()? {
        RunUntil { time: Some(time), job: None, next: false, idle: false } => {
            let time = read_time("time", &time)?;
            let to = call.world(|world, real| {
                let left = time.duration_since(world.wall(real)).unwrap_or_default();
                world.clock.at(real).checked_add(left)
            })?;
            let to = to.ok_or_else(|| Problem::invalid("time: that is further than time goes"))?;
            moved(call, |_, _| Some(to), |_| false).await
        }
        RunUntil { time: None, job: Some(job), next: false, idle: false } => {
            let id: RequestId = job
                .parse()
                .map_err(|_| Problem::invalid(format!("job: {job:?} is no request id")))?;
            let is_over = |world: &World| world.is_open(id) != Some(true);
            let reply = moved(call, progress, is_over).await?;
            match call.world(|world, _| world.is_open(id))? {
                None => Err(super::jobs::unknown(&job)),
                Some(true) => Err(Problem::conflict(
                    "nothing is planned that could end this job: finish or fail it by hand",
                )),
                Some(false) => Ok(reply),
            }
        }
        RunUntil { time: None, job: None, next: true, idle: false } => {
            let to = call.world(|world, _| world.next_due())?;
            let to = to.ok_or_else(|| Problem::conflict("nothing is planned"))?;
            moved(call, |_, _| Some(to), |_| false).await
        }
        RunUntil { time: None, job: None, next: false, idle: true } => {
            moved(call, progress, |_| false).await
        }
        _ => Err(Problem::invalid(
            "say until when: one of {\"time\": …}, {\"job\": …}, {\"next\": true}, {\"idle\": true}",
        )),
    }
}

async fn moved(
    call: &Call<'_>,
    to: impl Fn(&World, Instant) -> Option<Instant>,
    is_done: impl Fn(&World) -> bool,
) -> Result<Reply, Problem> {
    let before = call.world(|world, real| world.wall(real))?;
    let events = call.shared.advance(call.tenant, to, is_done).await;
    let events = events.ok_or_else(|| Problem::missing("the tenant has ended"))?;
    call.world(|world, real| {
        let by = world.wall(real).duration_since(before).unwrap_or_default();
        let mut body = view(world, real, LIMIT);
        body["moved_seconds"] = json!(by.as_secs_f64());
        body["events"] = events.into();
        Reply::Json(body)
    })
}

fn view(world: &World, real: Instant, limit: usize) -> Value {
    let now = world.clock.at(real);
    let waits: Vec<Value> = world
        .model
        .waits(limit)
        .iter()
        .map(|wait| {
            json!({
                "at": time_text(world.model.wall(wait.at)),
                "in_seconds": wait.at.saturating_duration_since(now).as_secs_f64(),
                "what": wait.what.name(),
                "is_progress": wait.what.is_progress(),
                "request_id": wait.request_id.map(|id| id.to_string()),
            })
        })
        .collect();
    json!({
        "mode": world.clock.mode().to_string(),
        "frozen": world.clock.is_frozen(),
        "now": time_text(world.wall(real)),
        "deliveries_under_way": world.deliveries_under_way(),
        "works_under_way": world.model.works_under_way(),
        "waits": waits,
    })
}

/// RFC 3339 in UTC.
pub(super) fn time_text(time: SystemTime) -> String {
    let mut out = Vec::with_capacity(27);
    render::push_timestamp(&mut out, time);
    String::from_utf8(out).expect("digits and signs")
}

/// Planned events that are shown unless more are asked for.
const LIMIT: usize = 100;
