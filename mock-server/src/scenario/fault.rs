//! Faults: what goes wrong, with which requests, and when. The vocabulary is closed.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::error;
use super::operation::{Operation, Operations};
use super::read::{Fields, Object, Path, Reader};
use super::rule::{count, read_name};
use super::timeline::{COPIES_MAX, Webhook};
use super::tree::{Data, Node};
use super::when::{self, When};
use crate::model::{Failure, JobState};

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static Kind,
    pub(crate) action: Action,
    pub(crate) on: Operations,
    pub(crate) when: When,
    pub(crate) trigger: Trigger,
    /// How far into the exchange it happens.
    pub(crate) after: After,
}

/// Which of the requests that fit it happens to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trigger {
    /// Empty means every one.
    pub(crate) nth: Vec<NonZeroU64>,
    pub(crate) every: Option<NonZeroU64>,
    pub(crate) times: Option<NonZeroU64>,
    pub(crate) probability: Option<f64>,
    pub(crate) state: Option<JobState>,
}

/// How far into an exchange a fault happens. Zero where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct After {
    /// Bytes of the answer's body.
    pub(crate) bytes: Option<u64>,
    /// Events of a stream.
    pub(crate) events: Option<u64>,
    pub(crate) time: Option<Duration>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// The request is refused so, and nothing is done.
    Fail(Arc<Failure>),
    /// The same by what stands before the service: HTML, and no request id.
    Ingress(StatusCode),
    /// The connection is reset once the head of the request is there, and nothing is done.
    Refuse,
    /// Everything is done; the connection is reset in the middle of the answer.
    Reset,
    /// Everything is done; the connection is reset before the answer.
    AcceptThenReset,
    /// The answer stops for a time, or for ever.
    Stall(Option<Duration>),
    /// The answer comes with so many bytes in a second.
    Slow(NonZeroU64),
    /// The answer ends before its announced length.
    Truncate,
    /// The answer, or one of its events, is no JSON.
    CorruptJson,
    /// A value in the answer, or in one of its events, has another type: that at this pointer, or one by chance.
    WrongType(Option<Box<str>>),
    /// An event comes so many times more.
    DuplicateEvent(u32),
    /// An event does not come.
    DropEvent,
    /// The answer is written in pieces of so many bytes.
    Split(NonZeroU64),
    /// The service closes the session.
    WsClose { code: u16, reason: Box<str> },
    /// The runner of the call goes away: a job is queued again, a direct call fails.
    RunnerLost,
    /// A delivery goes wrong.
    Webhook(Webhook),
}

/// A word of the vocabulary.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Keys that only some faults have.
    pub(crate) takes: &'static [&'static str],
    /// Those of them that must be there.
    pub(crate) needs: &'static [&'static str],
    /// What it can happen to, and does where nothing is named.
    pub(crate) on: Operations,
    /// Keys of `after`.
    pub(crate) after: &'static [&'static str],
}

const fn kind(
    name: &'static str,
    takes: &'static [&'static str],
    needs: &'static [&'static str],
    on: Operations,
    after: &'static [&'static str],
) -> Kind {
    Kind { name, takes, needs, on, after }
}

const REQUESTS: Operations = Operations::REQUESTS;
const WITH_FRAMES: Operations = REQUESTS.and(Operations::of(&[Operation::Frame]));
/// Those whose answers have a body.
const BODIES: Operations = Operations::BODIES;
const BODIES_AND_FRAMES: Operations = BODIES.and(Operations::of(&[Operation::Frame]));
const WEBHOOK: Operations = Operations::WEBHOOK;
/// Those whose answers are JSON.
const JSON: Operations = Operations::of(&[
    Operation::Submit,
    Operation::Status,
    Operation::StatusStream,
    Operation::Result,
    Operation::Cancel,
    Operation::Run,
    Operation::Stream,
    Operation::UploadInitiate,
    Operation::UploadComplete,
    Operation::Token,
    Operation::Platform,
]);

/// The vocabulary.
pub(crate) const KINDS: [Kind; 23] = [
    kind("status", &["status", "message", "body", "headers"], &["status"], REQUESTS, &[]),
    kind("error-type", &["type", "status", "message", "body", "headers"], &["type"], REQUESTS, &[]),
    kind("rate-limit", &["retry_after"], &[], REQUESTS, &[]),
    kind("ingress", &["status"], &[], REQUESTS, &[]),
    kind("refuse", &[], &[], REQUESTS, &[]),
    kind("reset", &[], &[], WITH_FRAMES, &["bytes", "events"]),
    kind("accept-then-reset", &[], &[], REQUESTS, &[]),
    kind("stall", &["for"], &[], BODIES_AND_FRAMES, &["bytes", "events"]),
    kind("slow", &["bytes_per_second"], &["bytes_per_second"], BODIES, &["bytes"]),
    kind("truncate", &[], &[], BODIES, &["bytes", "events"]),
    kind("corrupt-json", &[], &[], JSON.and(Operations::of(&[Operation::Frame])), &["events"]),
    kind("wrong-type", &["pointer"], &[], JSON, &["events"]),
    kind("duplicate-event", &["copies"], &[], Operations::STREAMS, &["events"]),
    kind("drop-event", &[], &[], Operations::STREAMS, &["events"]),
    kind("split", &["bytes"], &[], BODIES, &[]),
    kind("ws-close", &["code", "reason"], &[], Operations::of(&[Operation::Frame]), &[]),
    kind("runner-lost", &[], &[], Operations::CALLS, &["time"]),
    kind("webhook-duplicate", &["copies"], &[], WEBHOOK, &[]),
    kind("webhook-reorder", &[], &[], WEBHOOK, &[]),
    kind("webhook-late", &["for"], &["for"], WEBHOOK, &[]),
    kind("webhook-wrong-key", &[], &[], WEBHOOK, &[]),
    kind("webhook-expired", &[], &[], WEBHOOK, &[]),
    kind("webhook-truncated", &[], &[], WEBHOOK, &[]),
];

pub(crate) const FAULT: Object = Object {
    name: "fault",
    keys: &[
        "name",
        "fault",
        "on",
        "when",
        "nth",
        "every",
        "times",
        "probability",
        "while",
        "after",
        "status",
        "type",
        "message",
        "body",
        "headers",
        "retry_after",
        "for",
        "bytes_per_second",
        "bytes",
        "pointer",
        "copies",
        "code",
        "reason",
    ],
};

/// Keys that every fault has.
pub(crate) const COMMON: usize = 10;

pub(crate) const AFTER: Object = Object { name: "after", keys: &["bytes", "events", "time"] };

pub(crate) const FAULT_WHEN: Object =
    Object { name: "faultWhen", keys: &["endpoint", "headers", "input"] };

impl Fault {
    /// `name` is what it is called where it says nothing.
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        path: &Path<'_>,
        name: String,
    ) -> Option<Self> {
        let fields = reader.fields(node, path, &FAULT)?;
        let Some(kind) = fields.get("fault") else {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            reader.wrong(node.span, path, format!("say which fault: {}", names.join(", ")));
            return None;
        };
        let words: Vec<(&'static str, &'static Kind)> =
            KINDS_STATIC.iter().map(|kind| (kind.name, kind)).collect();
        let kind = reader.word(kind, &path.key("fault"), "fault", &words)?;
        for (key, node) in fields.iter() {
            let is_param = FAULT.keys[COMMON..].contains(&&*key.text);
            if is_param && !kind.takes.contains(&&*key.text) {
                let takes = match kind.takes {
                    [] => "takes none of its own".to_owned(),
                    takes => format!("takes {}", takes.join(", ")),
                };
                let message = format!("{} has no {}: it {takes}", kind.name, key.text);
                reader.wrong(key.span, &path.key(&key.text), message);
            } else if &*key.text == "after" && kind.after.is_empty() {
                let message = format!("{} happens at once: it has no after", kind.name);
                reader.wrong(node.span, &path.key("after"), message);
            }
        }
        for key in kind.needs {
            if fields.get(key).is_none() {
                reader.wrong(node.span, path, format!("{} needs {key}", kind.name));
            }
        }
        let name = read_name(reader, fields.get("name"), &path.key("name"), name);
        let on = fields
            .get("on")
            .map_or(kind.on, |node| when::operations(reader, node, &path.key("on"), kind.on));
        let when = fields.get("when").map_or_else(When::default, |node| {
            let path = path.key("when");
            match node.data {
                Data::Map(_) => match reader.fields(node, &path, &FAULT_WHEN) {
                    Some(fields) => When::from_fields(reader, &fields, &path, Operations::NONE),
                    None => When::default(),
                },
                _ => When::read(reader, node, &path, Operations::NONE),
            }
        });
        let trigger = Trigger::read(reader, &fields, path);
        let after = match fields.get("after") {
            Some(node) if !kind.after.is_empty() => {
                After::read(reader, node, &path.key("after"), kind)
            }
            _ => After::default(),
        };
        let action = action(reader, kind, &fields, path)?;
        Some(Self { name, kind, action, on, when, trigger, after })
    }
}

static KINDS_STATIC: [Kind; 23] = KINDS;

impl Trigger {
    fn read(reader: &mut Reader, fields: &Fields<'_>, path: &Path<'_>) -> Self {
        let mut trigger = Self::default();
        if let Some(node) = fields.get("nth") {
            let max = super::rule::NTH_MAX;
            trigger.nth = reader.one_or_more(node, &path.key("nth"), max, count);
        }
        if let Some(node) = fields.get("every") {
            trigger.every = count(reader, node, &path.key("every"));
            if fields.has("nth") {
                reader.wrong(node.span, &path.key("every"), "nth and every exclude each other");
            }
        }
        if let Some(node) = fields.get("times") {
            trigger.times = count(reader, node, &path.key("times"));
        }
        if let Some(node) = fields.get("probability") {
            let path = path.key("probability");
            let number = reader.number(node, &path);
            trigger.probability = number.filter(|number| *number > 0.0 && *number <= 1.0);
            if number.is_some() && trigger.probability.is_none() {
                reader.wrong(node.span, &path, "a probability is above 0 and at most 1");
            }
        }
        if let Some(node) = fields.get("while") {
            trigger.state = reader.word(node, &path.key("while"), "state", &STATES);
        }
        trigger
    }
}

impl After {
    fn read(reader: &mut Reader, node: &Node, path: &Path<'_>, kind: &Kind) -> Self {
        let mut after = Self::default();
        let Some(fields) = reader.fields(node, path, &AFTER) else { return after };
        for (key, node) in fields.iter() {
            let path = path.key(&key.text);
            if AFTER.keys.contains(&&*key.text) && !kind.after.contains(&&*key.text) {
                let message = format!("{} goes by {}", kind.name, kind.after.join(" or "));
                reader.wrong(key.span, &path, message);
                continue;
            }
            if matches!(node.data, Data::Null) {
                continue;
            }
            match &*key.text {
                "bytes" => after.bytes = reader.whole(node, &path, 0, u64::MAX),
                "events" => after.events = reader.whole(node, &path, 0, u64::MAX),
                "time" => after.time = reader.time(node, &path),
                _ => {}
            }
        }
        if fields.has("bytes") && fields.has("events") {
            reader.wrong(fields.span, path, "bytes and events exclude each other");
        }
        after
    }
}

fn action(
    reader: &mut Reader,
    kind: &Kind,
    fields: &Fields<'_>,
    path: &Path<'_>,
) -> Option<Action> {
    let copies = |reader: &mut Reader| match fields.get("copies") {
        Some(node) => reader
            .whole(node, &path.key("copies"), 1, COPIES_MAX)
            .and_then(|copies| u32::try_from(copies).ok())
            .unwrap_or(1),
        None => 1,
    };
    let time = |reader: &mut Reader, key: &str| {
        fields.get(key).and_then(|node| reader.time(node, &path.key(key)))
    };
    Some(match kind.name {
        "status" | "error-type" => {
            Action::Fail(Arc::new(error::from_fields(reader, fields, path)?))
        }
        "rate-limit" => Action::Fail(Arc::new(rate_limit(time(reader, "retry_after")))),
        "ingress" => {
            let status = match fields.get("status") {
                Some(node) => reader.whole(node, &path.key("status"), 502, 504)?,
                None => 503,
            };
            Action::Ingress(StatusCode::from_u16(u16::try_from(status).ok()?).ok()?)
        }
        "refuse" => Action::Refuse,
        "reset" => Action::Reset,
        "accept-then-reset" => Action::AcceptThenReset,
        "stall" => Action::Stall(time(reader, "for")),
        "slow" => Action::Slow(
            fields
                .get("bytes_per_second")
                .and_then(|node| count(reader, node, &path.key("bytes_per_second")))?,
        ),
        "truncate" => Action::Truncate,
        "corrupt-json" => Action::CorruptJson,
        "wrong-type" => Action::WrongType(fields.get("pointer").and_then(|node| {
            let path = path.key("pointer");
            let text = reader.text(node, &path, "a JSON pointer")?;
            reader.pointer(text, node.span, &path)
        })),
        "duplicate-event" => Action::DuplicateEvent(copies(reader)),
        "drop-event" => Action::DropEvent,
        "split" => Action::Split(match fields.get("bytes") {
            Some(node) => count(reader, node, &path.key("bytes"))?,
            None => NonZeroU64::MIN,
        }),
        "ws-close" => ws_close(reader, fields, path)?,
        "runner-lost" => Action::RunnerLost,
        "webhook-duplicate" => {
            Action::Webhook(Webhook { duplicate: copies(reader), ..Webhook::default() })
        }
        "webhook-reorder" => Action::Webhook(Webhook { reorder: true, ..Webhook::default() }),
        "webhook-late" => {
            Action::Webhook(Webhook { late: time(reader, "for")?, ..Webhook::default() })
        }
        "webhook-wrong-key" => Action::Webhook(Webhook { wrong_key: true, ..Webhook::default() }),
        "webhook-expired" => Action::Webhook(Webhook { expired: true, ..Webhook::default() }),
        "webhook-truncated" => Action::Webhook(Webhook { truncated: true, ..Webhook::default() }),
        _ => unreachable!("a word of the vocabulary"),
    })
}

/// 429 as the service has it, with `Retry-After` in whole seconds where a time is given.
fn rate_limit(retry_after: Option<Duration>) -> Failure {
    let failure = error::named("concurrent_requests_limit").expect("it is in the table");
    match retry_after {
        None => failure,
        Some(time) => {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            failure.with_header(HeaderName::from_static("retry-after"), HeaderValue::from(seconds))
        }
    }
}

fn ws_close(reader: &mut Reader, fields: &Fields<'_>, path: &Path<'_>) -> Option<Action> {
    let code = match fields.get("code") {
        Some(node) => {
            let path = path.key("code");
            let code = reader.whole(node, &path, 1000, 4999)?;
            if RESERVED_CODES.contains(&code) {
                let message =
                    format!("{code} is never sent (RFC 6455): give another, such as 1011");
                reader.wrong(node.span, &path, message);
                return None;
            }
            u16::try_from(code).ok()?
        }
        None => 1011,
    };
    let reason = match fields.get("reason") {
        Some(node) => {
            let path = path.key("reason");
            let reason = reader.text(node, &path, "a text")?;
            if reason.len() > REASON_BYTES_MAX {
                let message = format!("a reason is at most {REASON_BYTES_MAX} bytes long");
                reader.wrong(node.span, &path, message);
            }
            reason
        }
        None => "",
    };
    Some(Action::WsClose { code, reason: reason.into() })
}

/// States of a job by fal's names.
pub(crate) const STATES: [(&str, JobState); 3] = [
    ("IN_QUEUE", JobState::Queued),
    ("IN_PROGRESS", JobState::Running),
    ("COMPLETED", JobState::Succeeded),
];

/// Codes that stand for what no frame says, from RFC 6455.
const RESERVED_CODES: [u64; 4] = [1004, 1005, 1006, 1015];

/// Longest reason of a close, from RFC 6455.
const REASON_BYTES_MAX: usize = 123;
