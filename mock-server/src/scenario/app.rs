//! What a scenario says about apps and about time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::backend::Backend;
use super::files::Files;
use super::glob::Glob;
use super::output::documents;
use super::read::{Object, Path, Reader};
use super::tree::{Data, Node};
use super::when::globs;
use crate::model::parse_time;
use crate::world::ClockMode;

/// What is so for all calls of some endpoints, where no rule says more.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) endpoint: Vec<Glob>,
    pub(crate) openapi: Vec<PathBuf>,
    pub(crate) runners: Option<usize>,
    /// How much longer a call waits that no warm runner is there for.
    pub(crate) cold_start: Option<Duration>,
    /// How long a runner stays warm after a call. Default: for ever.
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) queue_time: Option<Duration>,
    pub(crate) run_time: Option<Duration>,
    /// Who does the work, if outputs are not to be made up.
    pub(crate) backend: Option<Arc<Backend>>,
}

pub(crate) const APP: Object = Object {
    name: "app",
    keys: &[
        "endpoint",
        "openapi",
        "runners",
        "cold_start",
        "keep_alive",
        "queue_time",
        "run_time",
        "http",
        "exec",
        "timeout",
    ],
};

impl App {
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        path: &Path<'_>,
        disk: &dyn Files,
    ) -> Option<Self> {
        let fields = reader.fields(node, path, &APP)?;
        let endpoint = match fields.get("endpoint") {
            Some(node) => globs(reader, node, &path.key("endpoint")),
            None => {
                reader.wrong(node.span, path, "give the app its endpoint, such as fal-ai/flux/**");
                Vec::new()
            }
        };
        let openapi = fields
            .get("openapi")
            .map_or_else(Vec::new, |node| documents(reader, node, &path.key("openapi"), disk));
        let runners = fields.get("runners").and_then(|node| {
            let runners = reader.whole(node, &path.key("runners"), 1, RUNNERS_MAX)?;
            usize::try_from(runners).ok()
        });
        let backend = Backend::read(reader, &fields, path, disk).map(Arc::new);
        let mut time = |key: &str| {
            let node = fields.get(key)?;
            reader.time(node, &path.key(key))
        };
        Some(Self {
            endpoint,
            openapi,
            runners,
            cold_start: time("cold_start"),
            keep_alive: time("keep_alive"),
            queue_time: time("queue_time"),
            run_time: time("run_time"),
            backend,
        })
    }

    pub(crate) fn fits_app(&self, app: &str) -> bool {
        self.endpoint.iter().any(|glob| glob.fits_app(app))
    }

    pub(crate) fn fits(&self, endpoint: &str) -> bool {
        self.endpoint.iter().any(|glob| glob.fits(endpoint))
    }
}

/// How the time of a world passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Clock {
    pub(crate) mode: Option<ClockMode>,
    /// What the wall clock shows at the start.
    pub(crate) start: Option<SystemTime>,
}

pub(crate) const CLOCK: Object = Object { name: "clock", keys: &["mode", "start"] };

impl Clock {
    pub(crate) fn read(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Self {
        if let Data::Text(_) = node.data {
            return Self { mode: mode(reader, node, path), start: None };
        }
        let Some(fields) = reader.fields(node, path, &CLOCK) else { return Self::default() };
        Self {
            mode: fields.get("mode").and_then(|node| mode(reader, node, &path.key("mode"))),
            start: fields.get("start").and_then(|node| {
                let path = path.key("start");
                let want = "a time by RFC 3339, such as 2026-01-31T12:00:00Z";
                let text = reader.text(node, &path, want)?;
                let time = text.contains('T').then(|| parse_time(text)).flatten();
                if time.is_none() || !is_zoned(text) {
                    reader.wrong(node.span, &path, format!("{text:?} is no time: give {want}"));
                    return None;
                }
                time
            }),
        }
    }
}

fn is_zoned(text: &str) -> bool {
    let clock = text.split_once('T').map_or("", |(_, clock)| clock);
    clock.ends_with(['Z', 'z']) || clock.contains(['+', '-'])
}

fn mode(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<ClockMode> {
    let text = reader.text(node, path, "real, scaled:N, virtual or virtual:auto")?;
    text.parse().map_err(|why: String| reader.wrong(node.span, path, why)).ok()
}

/// Runners of one app.
const RUNNERS_MAX: u64 = 1_000_000;
