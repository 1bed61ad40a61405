//! The scenario of a tenant: what is played, what happened of it, and another one on top.

use http::StatusCode;
use serde_json::{Value, json};

use super::clock::time_text;
use super::{Call, Problem, Reply};
use crate::scenario::{Evidence, FaultView, PlayView, Problems, RuleView, Scenario, UncoveredView};

pub(super) fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::Json(match play(call)? {
        Some(play) => json!({
            "name": play.name,
            "rules": play.rules.iter().map(rule).collect::<Vec<_>>(),
            "faults": play.faults.iter().map(fault).collect::<Vec<_>>(),
            "unmet": play.unmet,
        }),
        None => json!({ "name": null, "rules": [], "faults": [], "unmet": [] }),
    }))
}

/// The body is YAML or JSON; without one, the name is that of a scenario that comes with the mock. What is said on the
/// command line stays below it.
pub(super) fn put(call: &Call<'_>) -> Result<Reply, Problem> {
    let mut source = text(call)?;
    let name = call.parameter("name");
    if let (Some(name), true) = (&name, source.is_empty()) {
        source = Scenario::bundled_source(name).ok_or_else(|| {
            let names: Vec<&str> = Scenario::bundled_names().collect();
            Problem::missing(format!(
                "no scenario {name} comes with the mock: these do: {}",
                names.join(", ")
            ))
        })?;
    }
    let name = name.unwrap_or_else(|| "admin".to_owned());
    let scenario = Scenario::parse(&name, source).map_err(wrong)?;
    let refusal = call.model(|model| {
        scenario.backend_refusal(model.config().allow_exec, model.config().far_backends)
    })?;
    if let Some(why) = refusal {
        return Err(Problem::new(StatusCode::FORBIDDEN, why));
    }
    call.world(|world, real| world.set_scenario_layer(real, Some(scenario)))?;
    show(call)
}

pub(super) fn clear(call: &Call<'_>) -> Result<Reply, Problem> {
    call.world(|world, real| world.set_scenario_layer(real, None))?;
    Ok(Reply::Nothing)
}

pub(super) fn faults(call: &Call<'_>) -> Result<Reply, Problem> {
    let faults = play(call)?.map(|play| play.faults).unwrap_or_default();
    Ok(Reply::Json(json!({ "faults": faults.iter().map(fault).collect::<Vec<_>>() })))
}

pub(super) fn unmatched(call: &Call<'_>) -> Result<Reply, Problem> {
    let calls = play(call)?.map(|play| play.uncovered).unwrap_or_default();
    Ok(Reply::Json(json!({ "calls": calls.iter().rev().map(uncovered).collect::<Vec<_>>() })))
}

pub(super) fn verify(call: &Call<'_>) -> Result<Reply, Problem> {
    let unmet = play(call)?.map(|play| play.unmet).unwrap_or_default();
    Ok(Reply::Json(json!({ "met": unmet.is_empty(), "unmet": unmet })))
}

/// The body is what stands under `expect` in a scenario.
pub(super) fn verify_these(call: &Call<'_>) -> Result<Reply, Problem> {
    let source = text(call)?;
    let expect = Scenario::parse_expect(source).map_err(wrong)?;
    let verdict = call.world(|world, real| {
        world.tick_to(real);
        world.verify(&expect)
    })?;
    let evidence = |all: &[Evidence]| -> Vec<Value> {
        all.iter().map(|one| json!({ "what": one.what, "requests": one.requests })).collect()
    };
    Ok(Reply::Json(json!({
        "met": verdict.is_met(),
        "unmet": verdict.unmet,
        "counted": evidence(&verdict.counted),
        "order": evidence(&verdict.order),
    })))
}

fn text<'a>(call: &Call<'a>) -> Result<&'a str, Problem> {
    std::str::from_utf8(call.body)
        .map_err(|error| Problem::invalid(format!("the body is not UTF-8: {error}")))
}

fn wrong(problems: Problems) -> Problem {
    let all = problems.to_json().as_array().cloned().unwrap_or_default();
    Problem::invalid(problems.to_string()).with_problems(all)
}

fn play(call: &Call<'_>) -> Result<Option<PlayView>, Problem> {
    call.model(|model| model.play_view())
}

fn rule(rule: &RuleView) -> Value {
    json!({ "name": rule.name, "decided": rule.decided })
}

fn fault(fault: &FaultView) -> Value {
    let firings: Vec<Value> = fault
        .firings
        .iter()
        .map(|firing| json!({ "at": time_text(firing.at), "whom": firing.whom }))
        .collect();
    json!({
        "name": fault.name,
        "fault": fault.fault,
        "fitted": fault.fitted,
        "fired": fault.fired,
        "firings": firings,
    })
}

fn uncovered(call: &UncoveredView) -> Value {
    json!({
        "at": time_text(call.at),
        "operation": call.operation.name(),
        "endpoint": call.endpoint,
        "nearest": call.nearest,
    })
}
