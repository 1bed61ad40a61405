//! How a job goes, and how its end is reported.

use std::sync::Arc;
use std::time::Duration;

use super::read::{Object, Path, Reader};
use super::tree::{Data, Node};
use crate::model::ATTEMPTS_MAX;

/// How a job goes. What is absent goes as everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// Queue positions that are shown, spread evenly over the queue time.
    pub(crate) positions: Option<Vec<usize>>,
    pub(crate) queue_time: Option<Duration>,
    pub(crate) run_time: Option<Duration>,
    /// In the order of their times, for the run time that stands here.
    pub(crate) logs: Option<Arc<[LogLine]>>,
    /// How far into each attempt its runner is lost, one after the other.
    pub(crate) requeue: Vec<Duration>,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) at: When,
    pub(crate) message: Box<str>,
    pub(crate) level: &'static str,
    pub(crate) source: Box<str>,
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// So long after its start.
    After(Duration),
    /// After that part of it, in thousandths.
    Part(u32),
}

impl When {
    /// The time since the start of a run that takes `run_time`.
    pub(crate) fn since_start(self, run_time: Duration) -> Duration {
        match self {
            Self::After(time) => time,
            Self::Part(part) => run_time * part / PARTS,
        }
    }
}

pub(crate) const TIMELINE: Object =
    Object { name: "timeline", keys: &["positions", "queue_time", "run_time", "logs", "requeue"] };

pub(crate) const LOG: Object = Object { name: "log", keys: &["at", "message", "level", "source"] };

impl Timeline {
    /// The lines in the order of their times for a run of `run_time`.
    pub(crate) fn logs(&self, run_time: Duration) -> Option<Arc<[LogLine]>> {
        let logs = self.logs.as_ref()?;
        let time = |line: &LogLine| line.at.since_start(run_time);
        if logs.is_sorted_by_key(time) {
            return Some(Arc::clone(logs));
        }
        // Parts and times were put in order for another run time.
        let mut logs = logs.to_vec();
        logs.sort_by_key(time);
        Some(logs.into())
    }

    pub(crate) fn read(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Self {
        let Some(fields) = reader.fields(node, path, &TIMELINE) else { return Self::default() };
        let mut time = |key: &str| {
            let node = fields.get(key)?;
            reader.time(node, &path.key(key))
        };
        let (queue_time, run_time) = (time("queue_time"), time("run_time"));
        let positions = fields.get("positions").map(|node| {
            reader.list(node, &path.key("positions"), POSITIONS_MAX, |reader, node, path| {
                let position = reader.whole(node, path, 0, POSITION_MAX)?;
                usize::try_from(position).ok()
            })
        });
        if let (Some(positions), Some(node)) = (&positions, fields.get("positions"))
            && positions.is_empty()
        {
            reader.wrong(
                node.span,
                &path.key("positions"),
                "give at least one position, such as [2, 1, 0]",
            );
        }
        let logs = fields.get("logs").map(|node| {
            let mut logs = reader.list(node, &path.key("logs"), LOGS_MAX, log_line);
            // Lines are written in the order of their times.
            let run_time = run_time.unwrap_or(Duration::from_secs(1));
            logs.sort_by_key(|line| line.at.since_start(run_time));
            logs.into()
        });
        let requeue = fields.get("requeue").map_or_else(Vec::new, |node| {
            let max = ATTEMPTS_MAX - 1;
            reader.one_or_more(node, &path.key("requeue"), max, |reader, node, path| {
                reader.time(node, path)
            })
        });
        Self { positions, queue_time, run_time, logs, requeue }
    }
}

fn log_line(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<LogLine> {
    // A text alone is a line at the start.
    if let Data::Text(text) = &node.data {
        return Some(LogLine {
            at: When::Part(0),
            message: text.clone(),
            level: LEVELS[0].1,
            source: SOURCE.into(),
        });
    }
    let fields = reader.fields(node, path, &LOG)?;
    let at = match fields.get("at") {
        Some(node) => moment(reader, node, &path.key("at")),
        None => Some(When::Part(0)),
    };
    let Some(message) = fields.get("message") else {
        reader.wrong(node.span, path, "give the line its message");
        return None;
    };
    let message = reader.text(message, &path.key("message"), "a text")?;
    let level = match fields.get("level") {
        Some(node) => reader.word(node, &path.key("level"), "level", &LEVELS)?,
        None => LEVELS[0].1,
    };
    let source = match fields.get("source") {
        Some(node) => reader.text(node, &path.key("source"), "a text")?,
        None => SOURCE,
    };
    Some(LogLine { at: at?, message: message.into(), level, source: source.into() })
}

/// `1.5s` or `50%`.
fn moment(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<When> {
    if let Data::Text(text) = &node.data
        && let Some(number) = text.strip_suffix('%')
    {
        let percent = number.trim().parse::<f64>().ok().filter(|part| (0.0..=100.0).contains(part));
        return match percent {
            // In range, so the cast loses digits only.
            Some(percent) => Some(When::Part((percent * f64::from(PARTS) / 100.0).round() as u32)),
            None => {
                reader.wrong(node.span, path, "give a part of the run from 0% to 100%");
                None
            }
        };
    }
    reader.time(node, path).map(When::After)
}

/// How the end of a job is reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Webhook {
    /// How often each delivery is made beside the first time.
    pub(crate) duplicate: u32,
    /// It comes after the next delivery.
    pub(crate) reorder: bool,
    /// It comes so much later.
    pub(crate) late: Duration,
    /// It is signed with a key that is in no set of keys.
    pub(crate) wrong_key: bool,
    /// Its timestamp is older than receivers accept.
    pub(crate) expired: bool,
    /// Its body is cut short, after it was signed.
    pub(crate) truncated: bool,
}

pub(crate) const WEBHOOK: Object = Object {
    name: "webhook",
    keys: &["duplicate", "reorder", "late", "wrong_key", "expired", "truncated"],
};

impl Webhook {
    /// What both want.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self {
            duplicate: self.duplicate.max(other.duplicate),
            reorder: self.reorder || other.reorder,
            late: self.late.max(other.late),
            wrong_key: self.wrong_key || other.wrong_key,
            expired: self.expired || other.expired,
            truncated: self.truncated || other.truncated,
        }
    }

    pub(crate) fn read(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Self {
        let mut webhook = Self::default();
        let Some(fields) = reader.fields(node, path, &WEBHOOK) else { return webhook };
        if let Some(node) = fields.get("duplicate") {
            let copies = reader.whole(node, &path.key("duplicate"), 1, COPIES_MAX);
            webhook.duplicate = copies.and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        }
        if let Some(node) = fields.get("late") {
            webhook.late = reader.time(node, &path.key("late")).unwrap_or_default();
        }
        for (key, flag) in [
            ("reorder", &mut webhook.reorder),
            ("wrong_key", &mut webhook.wrong_key),
            ("expired", &mut webhook.expired),
            ("truncated", &mut webhook.truncated),
        ] {
            if let Some(node) = fields.get(key) {
                *flag = reader.bool(node, &path.key(key)).unwrap_or_default();
            }
        }
        webhook
    }
}

/// Levels of log lines.
///
/// Source: types of the official JavaScript client (client source).
pub(crate) const LEVELS: [(&str, &str); 6] = [
    ("INFO", "INFO"),
    ("DEBUG", "DEBUG"),
    ("WARN", "WARN"),
    ("ERROR", "ERROR"),
    ("STDOUT", "STDOUT"),
    ("STDERR", "STDERR"),
];

/// Who writes log lines.
const SOURCE: &str = "USER";

const PARTS: u32 = 1000;

/// Positions of one timeline.
const POSITIONS_MAX: usize = 1000;

/// The largest position.
const POSITION_MAX: u64 = 1_000_000;

/// Lines of one timeline.
const LOGS_MAX: usize = 10_000;

/// Copies of one delivery.
pub(crate) const COPIES_MAX: u64 = 100;
