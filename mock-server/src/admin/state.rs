//! A tenant's state as a whole: thrown away, kept, brought back.

use serde_json::json;

use super::{Call, Problem, Reply};
use crate::world::SNAPSHOTS_MAX;

pub(super) fn reset(call: &Call<'_>) -> Result<Reply, Problem> {
    match call.parameter("scope").as_deref().unwrap_or("all") {
        "all" => {
            call.shared.cut_all(call.tenant);
            call.world(|world, real| {
                world.reset(real);
                world.journal.clear();
            })?;
        }
        "requests" => call.world(|world, _| {
            world.journal.clear();
            world.tell_reset();
        })?,
        "ledger" => call.model(|model| model.clear_ledger())?,
        other => {
            let detail = format!("scope must be all, requests or ledger, not {other:?}");
            return Err(Problem::invalid(detail));
        }
    }
    Ok(Reply::Nothing)
}

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    call.world(|world, _| {
        let names: Vec<&str> = world.snapshots().collect();
        Reply::Json(json!({ "snapshots": names }))
    })
}

pub(super) fn take(call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.segments[0];
    if name.len() > NAME_BYTES_MAX {
        let detail = format!("the name of a snapshot has at most {NAME_BYTES_MAX} characters");
        return Err(Problem::invalid(detail));
    }
    let full = || {
        Problem::conflict(format!(
            "there are {SNAPSHOTS_MAX} snapshots: delete one that is not needed"
        ))
    };
    call.world(|world, real| world.take_snapshot(real, name))?.ok_or_else(full)?;
    Ok(Reply::Nothing)
}

pub(super) fn restore(call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.segments[0];
    if !call.world(|world, _| world.snapshots().any(|known| known == name))? {
        return Err(unknown(name));
    }
    call.shared.cut_all(call.tenant);
    let restored = call.world(|world, real| world.restore_snapshot(real, name))?;
    restored.map(|()| Reply::Nothing).ok_or_else(|| unknown(name))
}

pub(super) fn forget(call: &Call<'_>) -> Result<Reply, Problem> {
    let name = call.segments[0];
    match call.world(|world, _| world.drop_snapshot(name))? {
        true => Ok(Reply::Nothing),
        false => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Problem {
    Problem::missing(format!("there is no snapshot {name:?}"))
}

/// Longest name of a snapshot.
const NAME_BYTES_MAX: usize = 100;
