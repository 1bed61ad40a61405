//! What the calls of a tenant would have cost.

use serde_json::{Value, json};

use super::clock::time_text;
use super::records::limit;
use super::{Call, Problem, Reply};
use crate::model::{CallWay, LedgerRow, LedgerSum, Paid};

pub(super) fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = limit(call)?;
    let only_twins = match call.parameter("twins").as_deref() {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(other) => {
            return Err(Problem::invalid(format!("twins must be true or false, not {other:?}")));
        }
    };
    let (rows, sums) = call.model(|model| (model.ledger(), model.ledger_sums()))?;
    let wanted = rows.iter().rev().filter(|row| !only_twins || row.twin_of.is_some());
    let calls: Vec<Value> = wanted.take(limit).map(show_row).collect();
    let total = |value: fn(&LedgerSum) -> u64| sums.iter().map(value).sum::<u64>();
    let cost = |value: fn(&LedgerSum) -> Option<f64>| sums.iter().filter_map(value).sum::<f64>();
    Ok(Reply::Json(json!({
        "calls": total(|sum| sum.calls),
        "twins": total(|sum| sum.twins),
        "cost": cost(|sum| sum.cost),
        "twin_cost": cost(|sum| sum.twin_cost),
        "endpoints": sums.iter().map(show_sum).collect::<Vec<_>>(),
        "last": calls,
    })))
}

fn show_row(row: &LedgerRow) -> Value {
    json!({
        "number": row.number,
        "at": time_text(row.at),
        "endpoint": row.endpoint,
        "way": match row.way {
            CallWay::Submit => "submit",
            CallWay::Run => "run",
            CallWay::Stream => "stream",
            CallWay::Realtime => "realtime",
        },
        "request_id": row.request_id.to_string(),
        "twin_of": row.twin_of,
        "units": match row.paid {
            Paid::Open => Value::Null,
            Paid::Nothing => json!(0),
            Paid::Units(units) => json!(units),
        },
        "cost": row.cost,
    })
}

fn show_sum(sum: &LedgerSum) -> Value {
    json!({
        "endpoint": sum.endpoint,
        "calls": sum.calls,
        "twins": sum.twins,
        "units": sum.units,
        "unit": sum.unit,
        "cost": sum.cost,
        "twin_cost": sum.twin_cost,
        "currency": sum.currency,
    })
}
