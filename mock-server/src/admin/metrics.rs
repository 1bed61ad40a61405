//! Counts in the text format of Prometheus, for all tenants.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::http::Shared;
use crate::model::{Counters, TenantId};

/// The text at `/metrics`.
pub(crate) fn metrics(shared: &Arc<Shared>) -> String {
    let worlds: Vec<(String, Counters, [u64; 4])> =
        shared.with_worlds(TenantId::FIRST, |worlds, _| {
            let ids: Vec<TenantId> = worlds.tenants().map(|view| view.id).collect();
            ids.into_iter()
                .filter_map(|id| {
                    let world = worlds.get(id)?;
                    let view = world.view(id);
                    let gauges = [
                        view.jobs as u64,
                        view.files as u64,
                        view.stored_bytes as u64,
                        world.model.spooled_bytes(),
                    ];
                    Some((view.name, world.model.counters().clone(), gauges))
                })
                .collect()
        });
    let mut out = String::new();
    for (name, help, value) in COUNTERS {
        let _ = writeln!(
            out,
            "# HELP fal_mock_{name}_total {help}\n# TYPE fal_mock_{name}_total counter"
        );
        for (tenant, counters, _) in &worlds {
            let _ =
                writeln!(out, "fal_mock_{name}_total{{tenant=\"{tenant}\"}} {}", value(counters));
        }
    }
    for (at, (name, help)) in GAUGES.iter().enumerate() {
        let _ = writeln!(out, "# HELP fal_mock_{name} {help}\n# TYPE fal_mock_{name} gauge");
        for (tenant, _, gauges) in &worlds {
            let _ = writeln!(out, "fal_mock_{name}{{tenant=\"{tenant}\"}} {}", gauges[at]);
        }
    }
    let refused = shared.gate().refused_total();
    let _ = write!(
        out,
        "# HELP fal_mock_refused_connects_total Connections to hosts that are not fal's.\n\
         # TYPE fal_mock_refused_connects_total counter\nfal_mock_refused_connects_total {refused}\n"
    );
    out
}

/// One count: its name, what it counts, where it stands.
type Count = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTERS: [Count; 12] = [
    ("submits", "Jobs accepted by the queue.", |counters| counters.submits),
    ("runs", "Direct runs accepted.", |counters| counters.runs),
    ("runs_abandoned", "Direct runs whose caller went away.", |counters| counters.runs_abandoned),
    ("model_streams", "Model streams accepted.", |counters| counters.model_streams),
    ("jobs_completed", "Jobs that ended, well or not.", |counters| counters.completed),
    ("cancels", "Cancels that found an unfinished job.", |counters| counters.cancels),
    ("status_streams", "Status streams opened.", |counters| counters.streams),
    ("sessions", "Realtime sessions accepted.", |counters| counters.sessions),
    ("uploads", "Uploads taken.", |counters| counters.uploads),
    ("upload_parts", "Parts of uploads taken.", |counters| counters.parts),
    ("downloads", "Downloads served.", |counters| counters.downloads),
    ("evicted", "Jobs and files dropped for lack of room.", |counters| counters.evicted),
];

const GAUGES: [(&str, &str); 4] = [
    ("jobs", "Jobs that are kept."),
    ("files", "Files that are kept."),
    ("stored_bytes", "Bytes of inputs, results and files in memory."),
    ("spooled_bytes", "Bytes of files on the disk."),
];
