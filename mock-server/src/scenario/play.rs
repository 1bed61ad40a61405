//! A scenario that is being played: what was decided and counted so far.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::Scenario;
use super::app::App;
use super::expect::Expectations;
use super::faults::{Effect, Faults};
use super::rule::{NearMiss, Rule, Rules};
use super::when::Facts;

/// A scenario that is being played.
#[derive(Debug)]
pub(crate) struct Play {
    scenario: Arc<Scenario>,
    rules: Rules,
    faults: Faults,
    expectations: Expectations,
}

impl Play {
    /// From the start. `seed` counts where the scenario has none of its own.
    pub(crate) fn new(scenario: Arc<Scenario>, seed: u64) -> Self {
        Self {
            rules: Rules::new(scenario.rules.iter().cloned()),
            faults: Faults::new(scenario.seed.unwrap_or(seed), scenario.faults.iter().cloned()),
            expectations: Expectations::new(scenario.expect.clone()),
            scenario,
        }
    }

    pub(crate) fn scenario(&self) -> &Arc<Scenario> {
        &self.scenario
    }

    /// The rule that decides about a call.
    pub(crate) fn rule(&mut self, facts: &Facts<'_>) -> Option<Arc<Rule>> {
        self.rules.decide(facts)
    }

    /// The rules that came nearest to a call that none decided about.
    pub(crate) fn nearest(&self, facts: &Facts<'_>) -> Vec<NearMiss> {
        self.rules.nearest(facts)
    }

    /// What is said about the app of an endpoint.
    pub(crate) fn app(&self, endpoint: &str) -> Option<&Arc<App>> {
        self.scenario.apps.iter().find(|app| app.fits(endpoint))
    }

    pub(crate) fn fault(&mut self, facts: &Facts<'_>) -> Option<Effect> {
        self.faults.decide(facts)
    }

    pub(crate) fn fired(&mut self, now: Instant, effect: &Effect, whom: &str) {
        self.faults.fired(now, effect, whom);
    }

    pub(crate) fn note(&mut self, facts: &Facts<'_>, status: Option<StatusCode>) {
        if self.expectations.is_listening() {
            self.expectations.note(facts, status);
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What was expected and has not happened, one sentence each.
    pub(crate) fn unmet(&self) -> Vec<String> {
        self.expectations.unmet(&self.rules, &self.faults)
    }
}
