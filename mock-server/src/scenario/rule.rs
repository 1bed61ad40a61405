//! Rules: which calls they are about, and how those go. The first that fits decides.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::error;
use super::files::Files;
use super::operation::Operations;
use super::output::Output;
use super::read::{Object, Path, Reader};
use super::timeline::{Timeline, Webhook};
use super::tree::Node;
use super::when::{Facts, When, WhyNot};
use crate::model::Failure;

/// How calls go that it fits.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) when: When,
    /// Which of the calls that fit; empty means every one.
    pub(crate) nth: Vec<NonZeroU64>,
    /// How many calls it decides about at most.
    pub(crate) times: Option<NonZeroU64>,
    pub(crate) timeline: Timeline,
    pub(crate) output: Output,
    pub(crate) error: Option<Arc<Failure>>,
    pub(crate) webhook: Webhook,
}

pub(crate) const RULE: Object = Object {
    name: "rule",
    keys: &["name", "when", "nth", "times", "timeline", "output", "error", "webhook"],
};

impl Rule {
    /// `name` is what it is called where it says nothing.
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        path: &Path<'_>,
        disk: &dyn Files,
        name: String,
    ) -> Option<Self> {
        let fields = reader.fields(node, path, &RULE)?;
        let name = read_name(reader, fields.get("name"), &path.key("name"), name);
        let when = match fields.get("when") {
            Some(node) => When::read(reader, node, &path.key("when"), Operations::DECIDED),
            None => {
                reader.wrong(node.span, path, "give the rule a when, such as when: fal-ai/flux/**");
                When::default()
            }
        };
        let nth = fields.get("nth").map_or_else(Vec::new, |node| {
            reader.one_or_more(node, &path.key("nth"), NTH_MAX, count)
        });
        let times = fields.get("times").and_then(|node| count(reader, node, &path.key("times")));
        if let (true, Some(times)) = (fields.has("nth"), fields.get("times")) {
            reader.wrong(times.span, &path.key("times"), "nth says already how often it counts");
        }
        let timeline = fields
            .get("timeline")
            .map(|node| Timeline::read(reader, node, &path.key("timeline")))
            .unwrap_or_default();
        let output = fields
            .get("output")
            .and_then(|node| Output::read(reader, node, &path.key("output"), disk))
            .unwrap_or_default();
        let error = fields
            .get("error")
            .and_then(|node| error::read(reader, node, &path.key("error")))
            .map(Arc::new);
        if let (true, Some(error)) = (fields.has("output"), fields.get("error")) {
            reader.wrong(
                error.span,
                &path.key("error"),
                "a call ends with an output or an error, not both",
            );
        }
        let webhook = fields
            .get("webhook")
            .map(|node| Webhook::read(reader, node, &path.key("webhook")))
            .unwrap_or_default();
        Some(Self { name, when, nth, times, timeline, output, error, webhook })
    }
}

/// A name that a header can carry.
pub(crate) fn read_name(
    reader: &mut Reader,
    node: Option<&Node>,
    path: &Path<'_>,
    default: String,
) -> Arc<str> {
    let Some(node) = node else { return default.into() };
    let Some(name) = reader.text(node, path, "a name") else { return default.into() };
    let is_plain = name.bytes().all(|b| (b' '..=b'~').contains(&b)) && name.trim() == name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_plain {
        let message = format!("a name has 1 to {NAME_BYTES_MAX} printable ASCII characters");
        reader.wrong(node.span, path, message);
    }
    name.into()
}

pub(crate) fn count(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<NonZeroU64> {
    NonZeroU64::new(reader.whole(node, path, 1, u64::MAX)?)
}

/// Rules at work, with what they have counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    rule: Arc<Rule>,
    /// Calls that its conditions fitted, whoever decided about them.
    fitted: u64,
    /// Calls that it decided about.
    decided: u64,
}

/// A rule that nearly fitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NearMiss {
    pub(crate) rule: Arc<str>,
    /// Never empty.
    pub(crate) why_not: Vec<WhyNot>,
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule)?;
        for (at, why_not) in self.why_not.iter().enumerate() {
            write!(f, "{}{why_not}", if at > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl Rules {
    pub(crate) fn new(rules: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        Self(rules.into_iter().map(|rule| Entry { rule, fitted: 0, decided: 0 }).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule that decides about a call: the first that fits. Every rule that fits counts the call.
    pub(crate) fn decide(&mut self, facts: &Facts<'_>) -> Option<Arc<Rule>> {
        let mut found = None;
        for entry in &mut self.0 {
            // Behind the rule that decides only those that count are looked at.
            if found.is_some() && entry.rule.nth.is_empty() || !entry.rule.when.fits(facts) {
                continue;
            }
            entry.fitted += 1;
            if found.is_none() && entry.is_due() {
                entry.decided += 1;
                found = Some(Arc::clone(&entry.rule));
            }
        }
        found
    }

    /// The rules that came nearest to a call that none of them decided about, the nearest first.
    pub(crate) fn nearest(&self, facts: &Facts<'_>) -> Vec<NearMiss> {
        let mut all: Vec<(usize, usize, NearMiss)> = self
            .0
            .iter()
            .enumerate()
            .map(|(at, entry)| {
                let mut why_not = entry.rule.when.why_not(facts);
                // How much fits counts for more than how little is missing: a rule for the endpoint says
                // more about a call than an empty one.
                let fitting = entry.rule.when.len() - why_not.len();
                why_not.extend(entry.why_not_due());
                let miss = NearMiss { rule: Arc::clone(&entry.rule.name), why_not };
                (miss.why_not.len() * 2, fitting, at, miss)
            })
            .filter(|(.., miss)| !miss.why_not.is_empty())
            .map(|(missing, fitting, at, miss)| (missing.saturating_sub(fitting), at, miss))
            .collect();
        all.sort_by_key(|(distance, at, _)| (*distance, *at));
        all.into_iter().take(NEAREST_MAX).map(|(.., miss)| miss).collect()
    }

    /// Every rule, and how many calls it decided about.
    pub(crate) fn decided(&self) -> impl Iterator<Item = (&Arc<Rule>, u64)> {
        self.0.iter().map(|entry| (&entry.rule, entry.decided))
    }
}

impl Entry {
    fn is_due(&self) -> bool {
        let nth = &self.rule.nth;
        (nth.is_empty() || nth.iter().any(|nth| nth.get() == self.fitted))
            && self.rule.times.is_none_or(|times| self.decided < times.get())
    }

    fn why_not_due(&self) -> Option<WhyNot> {
        let why_not = |field: &str, wanted: String, found: u64| WhyNot {
            field: field.into(),
            wanted: wanted.into(),
            found: found.to_string().into(),
        };
        if let Some(times) = self.rule.times.filter(|times| self.decided >= times.get()) {
            return Some(why_not("times", format!("below {times}"), self.decided));
        }
        let nth = &self.rule.nth;
        if !nth.is_empty() && !nth.iter().any(|nth| nth.get() == self.fitted) {
            let all: Vec<String> = nth.iter().map(ToString::to_string).collect();
            return Some(why_not("nth", all.join(" or "), self.fitted));
        }
        None
    }
}

/// Numbers of one `nth`.
pub(crate) const NTH_MAX: usize = 1000;

/// Longest name of a rule or fault.
pub(crate) const NAME_BYTES_MAX: usize = 100;

/// Rules that are named for a call that no rule covers.
pub(crate) const NEAREST_MAX: usize = 3;
