//! What happens, as events.

use serde_json::{Value, json};

use super::clock::time_text;
use super::{Call, Problem, Reply, jobs, records, tenants};
use crate::http::LISTENERS_MAX;
use crate::model::Change;
use crate::world::{News, What};

pub(super) fn listen(call: &Call<'_>) -> Result<Reply, Problem> {
    let tenant = call.names_tenant.then_some(call.tenant);
    let last_id = call.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    call.shared.listen(tenant, last_id).map(Reply::Events).ok_or_else(|| {
        Problem::conflict(format!("{LISTENERS_MAX} listen already: close those that are done"))
    })
}

/// The kind of an event, and its data: the tenant, and a row under the name of its kind.
pub(crate) fn event(news: &News<'_>) -> (&'static str, Value) {
    let (kind, name, row) = match &news.what {
        What::Model(Change::Job(row)) => ("job", "job", jobs::show_row(row)),
        What::Model(Change::JobGone(id)) => ("job-gone", "request_id", id.to_string().into()),
        What::Model(Change::Delivery(one)) => ("delivery", "delivery", records::show_delivery(one)),
        What::Model(Change::DeliveryGone(number)) => ("delivery-gone", "number", (*number).into()),
        What::Model(Change::File(file)) => ("file", "file", records::show_file(file)),
        What::Model(Change::FileGone(id)) => ("file-gone", "id", id.as_str().into()),
        What::Model(Change::Fault(fired)) => {
            let row = json!({
                "name": fired.name,
                "fault": fired.fault,
                "number": fired.number,
                "at": time_text(fired.at),
                "whom": fired.whom,
                "request_id": fired.request_id.map(|id| id.to_string()),
            });
            ("fault", "fault", row)
        }
        What::Request(entry) => ("request", "request", records::show_row(*entry)),
        What::Clock { mode, is_frozen, now } => {
            let mode = mode.to_string();
            let row = json!({ "mode": mode, "frozen": is_frozen, "now": time_text(*now) });
            ("clock", "clock", row)
        }
        What::Made(view) => ("tenant", "row", tenants::show_one(view)),
        What::Ended => return ("tenant-ended", json!({ "tenant": news.name })),
        What::Reset | What::Model(Change::Missed) => {
            return ("reset", json!({ "tenant": news.name }));
        }
    };
    (kind, json!({ "tenant": news.name, name: row }))
}
