//! The scenarios that come with the mock.

use super::{Problems, Scenario};

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each.
        const ALL: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../scenarios/", $name, "/scenario.yaml")))),*
        ];
    };
}

bundled!(
    "accepted-then-cut",
    "cold-start",
    "content-policy",
    "flaky-network",
    "happy-path",
    "long-training",
    "lost-runner",
    "outage",
    "rate-limited",
    "slow-queue",
    "stalled-stream",
    "webhook-storm",
);

impl Scenario {
    /// The names of the scenarios that come with the mock, in alphabetical order.
    pub fn bundled_names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, _)| *name)
    }

    /// A scenario that comes with the mock; `None` if there is none of that name.
    #[must_use]
    pub fn bundled(name: &str) -> Option<Self> {
        let source = Self::bundled_source(name)?;
        let parsed: Result<Self, Problems> = Self::parse(name, source);
        Some(parsed.expect("the tests read all of them"))
    }

    /// The file of a scenario that comes with the mock.
    #[must_use]
    pub fn bundled_source(name: &str) -> Option<&'static str> {
        ALL.iter().find(|(other, _)| *other == name).map(|(_, source)| *source)
    }
}
