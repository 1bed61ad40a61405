//! A scenario that is being played: what was decided and counted so far.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::StatusCode;

use super::Scenario;
use super::app::App;
use super::expect::Expectations;
use super::faults::{Account, Effect, Faults};
use super::operation::Operation;
use super::rule::{NearMiss, Rule, Rules};
use super::when::Facts;

/// A scenario that is being played.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    scenario: Arc<Scenario>,
    rules: Rules,
    faults: Faults,
    expectations: Expectations,
    /// The last calls that no rule decided about.
    uncovered: VecDeque<Uncovered>,
}

/// A call that no rule decided about.
#[derive(Clone, Debug)]
struct Uncovered {
    at: Instant,
    operation: Operation,
    endpoint: Box<str>,
    nearest: Vec<NearMiss>,
}

/// What can be seen of a rule that is being played.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleView {
    /// What it is called.
    pub name: String,
    /// How many calls it decided about.
    pub decided: u64,
}

/// What can be seen of a fault that is being played.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultView {
    /// What it is called.
    pub name: String,
    /// Its word in the vocabulary, such as `reset`.
    pub fault: &'static str,
    /// How many requests its conditions fitted.
    pub fitted: u64,
    /// How often it happened.
    pub fired: u64,
    /// The last times, up to 100.
    pub firings: Vec<FiringView>,
}

/// One time that a fault happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FiringView {
    /// When, by the clock of the world.
    pub at: SystemTime,
    /// What it happened to: an operation, and the job or the endpoint.
    pub whom: String,
}

/// What can be seen of a call that no rule decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UncoveredView {
    /// When, by the clock of the world.
    pub at: SystemTime,
    /// What was asked.
    pub operation: Operation,
    /// The endpoint.
    pub endpoint: String,
    /// The rules that came nearest and why they did not fit, the nearest first, up to 3.
    pub nearest: Vec<String>,
}

/// What can be seen of a scenario that is being played.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlayView {
    /// What it is called; several that are played as one are joined by `+`.
    pub name: String,
    /// Its rules, in the order in which they are asked.
    pub rules: Vec<RuleView>,
    /// Its faults, in the order in which they are asked.
    pub faults: Vec<FaultView>,
    /// The last calls that no rule decided about, the oldest first, up to 100.
    pub uncovered: Vec<UncoveredView>,
    /// What was expected and has not happened, one sentence each.
    pub unmet: Vec<String>,
}

impl Play {
    /// From the start. `seed` counts where the scenario has none of its own.
    pub(crate) fn new(scenario: Arc<Scenario>, seed: u64) -> Self {
        Self {
            rules: Rules::new(scenario.rules.iter().cloned()),
            faults: Faults::new(scenario.seed.unwrap_or(seed), scenario.faults.iter().cloned()),
            expectations: Expectations::new(scenario.expect.clone()),
            uncovered: VecDeque::new(),
            scenario,
        }
    }

    /// The rule that decides about a call. Calls that have none are remembered where there are rules at all.
    pub(crate) fn rule(&mut self, now: Instant, facts: &Facts<'_>) -> Option<Arc<Rule>> {
        let rule = self.rules.decide(facts);
        if rule.is_none() && !self.rules.is_empty() {
            if self.uncovered.len() == UNCOVERED_MAX {
                self.uncovered.pop_front();
            }
            self.uncovered.push_back(Uncovered {
                at: now,
                operation: facts.operation,
                endpoint: facts.endpoint.into(),
                nearest: self.rules.nearest(facts),
            });
        }
        rule
    }

    /// The rules that came nearest to a call that none decided about.
    pub(crate) fn nearest(&self, facts: &Facts<'_>) -> Vec<NearMiss> {
        self.rules.nearest(facts)
    }

    /// The first thing that is said about an endpoint.
    pub(crate) fn of_endpoint<T>(
        &self,
        endpoint: &str,
        get: impl Fn(&App) -> Option<T>,
    ) -> Option<T> {
        self.scenario.apps.iter().filter(|app| app.fits(endpoint)).find_map(|app| get(app))
    }

    /// The first thing that is said about an app (`owner/alias`) as a whole.
    pub(crate) fn of_app<T>(&self, app: &str, get: impl Fn(&App) -> Option<T>) -> Option<T> {
        self.scenario.apps.iter().filter(|entry| entry.fits_app(app)).find_map(|entry| get(entry))
    }

    /// Whether exchanges have to be looked at one by one.
    pub(crate) fn is_watching(&self) -> bool {
        !self.faults.is_empty() || self.expectations.is_listening()
    }

    pub(crate) fn fault(&mut self, facts: &Facts<'_>) -> Option<Effect> {
        self.faults.decide(facts)
    }

    /// Writes down that a fault happened, and returns for which time.
    pub(crate) fn fired(&mut self, now: Instant, effect: &Effect, whom: &str) -> u64 {
        self.faults.fired(now, effect, whom)
    }

    pub(crate) fn note(&mut self, facts: &Facts<'_>, status: Option<StatusCode>) {
        if self.expectations.is_listening() {
            self.expectations.note(facts, status);
        }
    }

    #[cfg(test)]
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    #[cfg(test)]
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What can be seen of it. `wall` says what the wall shows at an instant.
    pub(crate) fn view(&self, wall: impl Fn(Instant) -> SystemTime) -> PlayView {
        let rule =
            |(rule, decided): (&Arc<Rule>, u64)| RuleView { name: rule.name.to_string(), decided };
        let fault = |account: Account<'_>| FaultView {
            name: account.fault.name.to_string(),
            fault: account.fault.kind.name,
            fitted: account.fitted,
            fired: account.fired,
            firings: account
                .firings
                .iter()
                .map(|firing| FiringView { at: wall(firing.at), whom: firing.whom.to_string() })
                .collect(),
        };
        let uncovered = |call: &Uncovered| UncoveredView {
            at: wall(call.at),
            operation: call.operation,
            endpoint: call.endpoint.to_string(),
            nearest: call.nearest.iter().map(ToString::to_string).collect(),
        };
        PlayView {
            name: self.scenario.name.clone(),
            rules: self.rules.decided().map(rule).collect(),
            faults: self.faults.accounts().map(fault).collect(),
            uncovered: self.uncovered.iter().map(uncovered).collect(),
            unmet: self.unmet(),
        }
    }

    /// What was expected and has not happened, one sentence each.
    pub(crate) fn unmet(&self) -> Vec<String> {
        self.expectations.unmet(&self.rules, &self.faults)
    }
}

/// Calls without a rule that are remembered.
const UNCOVERED_MAX: usize = 100;
