//! What shall have happened in the end.

use std::fmt::Write as _;

use http::StatusCode;

use super::faults::Faults;
use super::operation::{Operation, Operations};
use super::read::{Object, Path, Reader};
use super::rule::Rules;
use super::tree::{Data, Node};
use super::when::{Facts, When, operations};

/// What shall have happened in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    /// Every fault happened at least once. Default: yes.
    pub(crate) all_faults_fired: Option<bool>,
    /// Every rule decided about a call at least once. Default: no.
    pub(crate) all_rules_used: Option<bool>,
    /// Requests, and how many of them there are.
    pub(crate) requests: Vec<Counted>,
    /// Requests that come one after the other, with any others between them.
    pub(crate) order: Vec<Ordered>,
}

/// Requests, and how many of them there are.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    what: Request,
    min: u64,
    max: u64,
}

/// A step of an order.
#[derive(Clone, Debug)]
pub(crate) struct Ordered(Request);

#[derive(Clone, Debug)]
struct Request {
    /// As the file says it, for messages.
    text: Box<str>,
    when: When,
    status: Option<u16>,
}

pub(crate) const EXPECT: Object =
    Object { name: "expect", keys: &["all_faults_fired", "all_rules_used", "requests", "order"] };

pub(crate) const EXPECTED: Object = Object {
    name: "expected",
    keys: &["operation", "endpoint", "headers", "input", "status", "count"],
};

pub(crate) const STEP: Object =
    Object { name: "step", keys: &["operation", "endpoint", "headers", "input", "status"] };

pub(crate) const COUNT: Object = Object { name: "count", keys: &["min", "max"] };

impl Expect {
    pub(crate) fn read(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Self {
        let Some(fields) = reader.fields(node, path, &EXPECT) else { return Self::default() };
        let mut flag = |key: &str| {
            let node = fields.get(key)?;
            reader.bool(node, &path.key(key))
        };
        let (all_faults_fired, all_rules_used) = (flag("all_faults_fired"), flag("all_rules_used"));
        let requests = fields.get("requests").map_or_else(Vec::new, |node| {
            reader.list(node, &path.key("requests"), REQUESTS_MAX, counted)
        });
        let order = fields.get("order").map_or_else(Vec::new, |node| {
            reader.list(node, &path.key("order"), REQUESTS_MAX, |reader, node, path| {
                if let Data::Text(_) = node.data {
                    let operations = operations(reader, node, path, ALL);
                    let when = When::default().or_operations(operations);
                    let text = operations.to_string().into();
                    return Some(Ordered(Request { text, when, status: None }));
                }
                request(reader, node, path, &STEP).map(Ordered)
            })
        });
        Self { all_faults_fired, all_rules_used, requests, order }
    }

    /// Only what is expected of requests.
    pub(crate) fn requests_alone(&self) -> Self {
        Self {
            all_faults_fired: Some(false),
            all_rules_used: Some(false),
            requests: self.requests.clone(),
            order: self.order.clone(),
        }
    }

    /// The expectations of both, where they differ those of the later one.
    pub(crate) fn merge(&mut self, later: &Self) {
        self.all_faults_fired = later.all_faults_fired.or(self.all_faults_fired);
        self.all_rules_used = later.all_rules_used.or(self.all_rules_used);
        self.requests.extend_from_slice(&later.requests);
        if !later.order.is_empty() {
            self.order.clone_from(&later.order);
        }
    }
}

const ALL: Operations = Operations::of(&Operation::ALL);

fn counted(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Counted> {
    let what = request(reader, node, path, &EXPECTED)?;
    let Data::Map(map) = &node.data else { return None };
    let count = map.iter().find(|(key, _)| &*key.text == "count");
    let (min, max) = match count {
        None => (1, u64::MAX),
        Some((_, node)) => read_count(reader, node, &path.key("count"))?,
    };
    Some(Counted { what, min, max })
}

fn read_count(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<(u64, u64)> {
    let Data::Map(_) = node.data else {
        let count = reader.whole(node, path, 0, u64::MAX)?;
        return Some((count, count));
    };
    let fields = reader.fields(node, path, &COUNT)?;
    let mut bound = |key: &str, default| match fields.get(key) {
        Some(node) => reader.whole(node, &path.key(key), 0, u64::MAX),
        None => Some(default),
    };
    let (min, max) = (bound("min", 0)?, bound("max", u64::MAX)?);
    if min > max {
        reader.wrong(node.span, path, "min is above max");
        return None;
    }
    Some((min, max))
}

fn request(reader: &mut Reader, node: &Node, path: &Path<'_>, object: &Object) -> Option<Request> {
    let fields = reader.fields(node, path, object)?;
    let when = When::from_fields(reader, &fields, path, ALL);
    let status = match fields.get("status") {
        Some(node) => {
            let status = reader.whole(node, &path.key("status"), 100, 599)?;
            u16::try_from(status).ok()
        }
        None => None,
    };
    let mut text = String::new();
    for (key, node) in fields.iter().filter(|(key, _)| &*key.text != "count") {
        let _ = write!(
            text,
            "{}{} {}",
            if text.is_empty() { "" } else { ", " },
            key.text,
            node.to_json()
        );
    }
    Some(Request { text: text.replace('"', "").into(), when, status })
}

/// What was expected, and the requests that it was met by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// What was expected, in a few words.
    pub what: String,
    /// The numbers of the requests, in the journal.
    pub requests: Vec<u64>,
}

/// Whether what was expected has happened, and what shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What has not happened, one sentence each.
    pub unmet: Vec<String>,
    /// Each kind of requests that was counted.
    pub counted: Vec<Evidence>,
    /// Each step of the order: the request that it was, if it came.
    pub order: Vec<Evidence>,
}

impl Verdict {
    /// Whether all of it has happened.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.unmet.is_empty()
    }

    pub(crate) fn new(expect: &Expect) -> Self {
        let evidence =
            |what: &Request| Evidence { what: what.text.to_string(), requests: Vec::new() };
        Self {
            unmet: Vec::new(),
            counted: expect.requests.iter().map(|counted| evidence(&counted.what)).collect(),
            order: expect.order.iter().map(|step| evidence(&step.0)).collect(),
        }
    }
}

/// Expectations at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectations {
    expect: Expect,
    counts: Vec<u64>,
    /// Steps of the order that were made.
    steps: usize,
}

impl Expectations {
    pub(crate) fn new(expect: Expect) -> Self {
        Self { counts: vec![0; expect.requests.len()], steps: 0, expect }
    }

    /// Whether anybody wants to hear of requests.
    pub(crate) fn is_listening(&self) -> bool {
        !self.expect.requests.is_empty() || self.steps < self.expect.order.len()
    }

    /// A request has been answered so; without a status it was not.
    pub(crate) fn note(&mut self, facts: &Facts<'_>, status: Option<StatusCode>) {
        for (counted, count) in self.expect.requests.iter().zip(&mut self.counts) {
            *count += u64::from(counted.what.fits(facts, status));
        }
        if self.expect.order.get(self.steps).is_some_and(|step| step.0.fits(facts, status)) {
            self.steps += 1;
        }
    }

    /// The same, with the number of the request as evidence.
    pub(crate) fn note_as(
        &mut self,
        number: u64,
        facts: &Facts<'_>,
        status: Option<StatusCode>,
        verdict: &mut Verdict,
    ) {
        let (counts, steps) = (self.counts.clone(), self.steps);
        self.note(facts, status);
        let counted = counts.iter().zip(&self.counts).zip(&mut verdict.counted);
        for ((before, after), evidence) in counted {
            if after > before {
                evidence.requests.push(number);
            }
        }
        if self.steps > steps {
            verdict.order[steps].requests.push(number);
        }
    }

    /// What was expected and did not happen, one sentence each.
    pub(crate) fn unmet(&self, rules: &Rules, faults: &Faults) -> Vec<String> {
        let mut all = Vec::new();
        for (counted, count) in self.expect.requests.iter().zip(&self.counts) {
            let Counted { what, min, max } = counted;
            if !(*min..=*max).contains(count) {
                let wanted = match (*min, *max) {
                    (min, max) if min == max => min.to_string(),
                    (min, u64::MAX) => format!("at least {min}"),
                    (0, max) => format!("at most {max}"),
                    (min, max) => format!("{min} to {max}"),
                };
                all.push(format!("requests with {}: wanted {wanted}, got {count}", what.text));
            }
        }
        if let Some(step) = self.expect.order.get(self.steps) {
            let before = match self.steps {
                0 => String::new(),
                steps => format!(" after step {steps}, {}", self.expect.order[steps - 1].0.text),
            };
            all.push(format!("order: step {} never came{before}: {}", self.steps + 1, step.0.text));
        }
        if self.expect.all_faults_fired.unwrap_or(true) {
            for account in faults.accounts().filter(|account| account.fired == 0) {
                let why = match account.fitted {
                    0 => "no request fitted it".to_owned(),
                    1 => "1 request fitted it".to_owned(),
                    n => format!("{n} requests fitted it"),
                };
                let (name, kind) = (&account.fault.name, account.fault.kind.name);
                all.push(format!("the fault {name} ({kind}) never happened: {why}"));
            }
        }
        if self.expect.all_rules_used.unwrap_or(false) {
            for (rule, _) in rules.decided().filter(|(_, decided)| *decided == 0) {
                all.push(format!("the rule {} was never used", rule.name));
            }
        }
        all
    }
}

impl Request {
    fn fits(&self, facts: &Facts<'_>, status: Option<StatusCode>) -> bool {
        self.status.is_none_or(|wanted| status.is_some_and(|status| status.as_u16() == wanted))
            && self.when.fits(facts)
    }
}

/// Expected requests, and steps of an order.
const REQUESTS_MAX: usize = 1000;
