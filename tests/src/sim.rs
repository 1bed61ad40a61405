//! The client's machine and the mock's model, joined by a network that loses things.
//!
//! Both ends and the network run in one thread and in virtual time, and everything that goes wrong
//! follows from one seed. So a failure is a number, and a number can be shrunk to the few faults that
//! matter.

mod plan;
mod world;

pub use plan::{Exchange, Fault, Plan};
pub use world::{Ending, Report, run};

use std::fmt;
use std::time::Duration;

use fal_protocol::retry::RetryPolicy;
use http::StatusCode;

/// Whose rules for repeats the client follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rules {
    /// Ours, as they are by default.
    Default,
    /// Those of the official JavaScript client.
    ///
    /// Source: `request.ts` and `retry.ts` of `@fal-ai/client` 1.10.1 (official client source).
    JavaScript,
    /// Those of the official Python client.
    ///
    /// Source: `client.py` of `fal-client` 1.0.3 (official client source).
    Python,
}

impl Rules {
    /// All of them, ours first.
    pub const ALL: [Self; 3] = [Self::Default, Self::JavaScript, Self::Python];

    fn policy(self) -> RetryPolicy {
        let statuses = |policy: RetryPolicy, codes: &[StatusCode]| {
            codes.iter().fold(policy, |policy, code| policy.with_status_rule(*code, true))
        };
        let bold = RetryPolicy::default()
            .with_repeat_unknown_submits(true)
            .with_repeat_ingress_submits(true);
        match self {
            Self::Default => RetryPolicy::default(),
            Self::JavaScript => statuses(
                bold.with_attempts_paid(4)
                    .with_attempts_read(4)
                    .with_backoff(Duration::from_secs(1), Duration::from_secs(60)),
                &[
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ],
            ),
            Self::Python => statuses(
                bold.with_attempts_paid(10)
                    .with_attempts_read(10)
                    .with_backoff(Duration::from_millis(100), Duration::from_secs(30)),
                &[StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS],
            ),
        }
    }

    /// How long an answer is waited for. The JavaScript client waits without end, which the longest
    /// simulated job stands for.
    const fn attempt_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Default => 60,
            Self::JavaScript => 600,
            Self::Python => 120,
        })
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "this client",
            Self::JavaScript => "the official JavaScript client's rules",
            Self::Python => "the official Python client's rules",
        })
    }
}

/// What many seeds came to under the same rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many worlds were played.
    pub seeds: u64,
    /// In how many of them the one subscribe made two jobs or more.
    pub twins: u64,
    /// In how many of them it ended with the result.
    pub succeeded: u64,
    /// In how many of them a job was made whose end says nothing of it.
    pub lost: u64,
    /// The first seeds that broke a promise of this client, with what is wrong.
    pub broken: Vec<(u64, String)>,
}

/// Plays the worlds `first..first + seeds`.
#[must_use]
pub fn survey(rules: Rules, first: u64, seeds: u64) -> Summary {
    let mut summary = Summary { seeds, ..Summary::default() };
    for seed in first..first + seeds {
        let report = run(&Plan::new(seed), rules);
        summary.twins += u64::from(report.jobs > 1);
        summary.succeeded += u64::from(report.ending == Ending::Result);
        summary.lost += u64::from(report.is_lost);
        if let Some(problem) = report.problems.first()
            && summary.broken.len() < BROKEN_SHOWN_MAX
        {
            summary.broken.push((seed, problem.clone()));
        }
    }
    summary
}

/// The same world with as few faults as still break the same promise.
#[must_use]
pub fn shrink(plan: &Plan, rules: Rules) -> Plan {
    let mut least = plan.clone();
    loop {
        let smaller = least.simpler().find(|plan| !run(plan, rules).problems.is_empty());
        match smaller {
            Some(plan) => least = plan,
            None => return least,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64| 100.0 * part as f64 / self.seeds.max(1) as f64;
        write!(
            f,
            "two jobs for one call in {} of {} ({:.2} %); result in {:.2} %; a job that nobody was told of in {}",
            self.twins,
            self.seeds,
            share(self.twins),
            share(self.succeeded),
            self.lost,
        )
    }
}

/// Broken seeds that a summary names.
const BROKEN_SHOWN_MAX: usize = 5;
