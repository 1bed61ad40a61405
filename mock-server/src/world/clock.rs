//! How the time of a world passes, seen from the real one.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How the time of a world passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ClockMode {
    /// As everywhere.
    #[default]
    Real,
    /// So many times as fast: [`SCALE_MIN`] to [`SCALE_MAX`].
    Scaled(f64),
    /// Only when told to.
    Virtual,
    /// When told to, and by itself to the next event that somebody waits for, as soon as nothing else can happen:
    /// no request or delivery is under way.
    Auto,
}

impl fmt::Display for ClockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real"),
            Self::Scaled(factor) => write!(f, "scaled:{factor}"),
            Self::Virtual => f.write_str("virtual"),
            Self::Auto => f.write_str("virtual:auto"),
        }
    }
}

impl FromStr for ClockMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "real" => return Ok(Self::Real),
            "virtual" => return Ok(Self::Virtual),
            "virtual:auto" => return Ok(Self::Auto),
            _ => {}
        }
        let factor = text.strip_prefix("scaled:").ok_or_else(|| {
            format!("{text:?} is no clock: give real, scaled:N, virtual or virtual:auto")
        })?;
        factor
            .parse::<f64>()
            .ok()
            .filter(|factor| (SCALE_MIN..=SCALE_MAX).contains(factor))
            .map(Self::Scaled)
            .ok_or_else(|| {
                format!("{factor:?} is no scale: give a number from {SCALE_MIN} to {SCALE_MAX}")
            })
    }
}

/// Maps real time to the time of a world. Neither runs back.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    mode: ClockMode,
    frozen: bool,
    /// The same moment in the real time and in that of the world.
    anchor: (Instant, Instant),
    /// How often it was set, stopped or moved.
    moves: u64,
}

impl Clock {
    /// A clock at which both times are the same now.
    pub(crate) const fn new(mode: ClockMode, real: Instant) -> Self {
        Self { mode, frozen: false, anchor: (real, real), moves: 0 }
    }

    pub(crate) const fn mode(&self) -> ClockMode {
        self.mode
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Counts what happens to it other than that time passes.
    pub(crate) const fn moves(&self) -> u64 {
        self.moves
    }

    /// How fast it runs by itself.
    fn rate(&self) -> f64 {
        match self.mode {
            _ if self.frozen => 0.0,
            ClockMode::Real => 1.0,
            ClockMode::Scaled(factor) => factor,
            ClockMode::Virtual | ClockMode::Auto => 0.0,
        }
    }

    /// The time of the world at a real moment.
    pub(crate) fn at(&self, real: Instant) -> Instant {
        let since = real.saturating_duration_since(self.anchor.0);
        let passed = match self.rate() {
            0.0 => return self.anchor.1,
            1.0 => Some(since),
            rate => Duration::try_from_secs_f64(since.as_secs_f64() * rate).ok(),
        };
        passed.and_then(|passed| self.anchor.1.checked_add(passed)).unwrap_or(self.anchor.1)
    }

    /// The real moment at which the world's time will be `at`; `None` if it stands still until then.
    pub(crate) fn real(&self, at: Instant) -> Option<Instant> {
        let left = at.saturating_duration_since(self.anchor.1);
        match self.rate() {
            0.0 => left.is_zero().then_some(self.anchor.0),
            1.0 => self.anchor.0.checked_add(left),
            rate => {
                // Rounded up, so that the alarm never rings before its time.
                let left = Duration::try_from_secs_f64(left.as_secs_f64() / rate).ok()?;
                self.anchor.0.checked_add(left + Duration::from_nanos(1000))
            }
        }
    }

    /// Goes on from here in another way.
    pub(crate) fn set_mode(&mut self, real: Instant, mode: ClockMode) {
        self.anchor = (real, self.at(real));
        self.moves += 1;
        self.mode = mode;
    }

    /// Stops it, or lets it go on from where it stopped.
    pub(crate) fn freeze(&mut self, real: Instant, frozen: bool) {
        self.anchor = (real, self.at(real));
        self.moves += 1;
        self.frozen = frozen;
    }

    /// Sets it to a moment of the world, also to one that is past: the world goes back with it.
    pub(crate) const fn set(&mut self, real: Instant, to: Instant) {
        self.anchor = (real, to);
        self.moves += 1;
    }

    /// Moves it forward to a moment of the world; one that is past changes nothing.
    pub(crate) fn jump(&mut self, real: Instant, to: Instant) {
        self.anchor = (real, self.at(real).max(to));
        self.moves += 1;
    }
}

/// The slowest scale: a thousandth.
pub const SCALE_MIN: f64 = 0.001;

/// The fastest scale: a million, which is eleven days in a second.
pub const SCALE_MAX: f64 = 1e6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modes_read_back() {
        for mode in [ClockMode::Real, ClockMode::Scaled(60.0), ClockMode::Virtual, ClockMode::Auto]
        {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for wrong in ["", "scaled", "scaled:0", "scaled:x", "scaled:1e7", "scaled:NaN", "auto"] {
            assert!(wrong.parse::<ClockMode>().is_err(), "{wrong}");
        }
    }

    /// What is done to a clock.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass(u64),
        Mode(ClockMode),
        Freeze(bool),
        Jump(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..10_000_000_u64).prop_map(Step::Pass),
            prop_oneof![
                Just(ClockMode::Real),
                (0.01..1000.0).prop_map(ClockMode::Scaled),
                Just(ClockMode::Virtual),
                Just(ClockMode::Auto)
            ]
            .prop_map(Step::Mode),
            any::<bool>().prop_map(Step::Freeze),
            (0..10_000_000_u64).prop_map(Step::Jump),
        ]
    }

    proptest! {
        #[test]
        fn time_never_runs_back_and_alarms_never_ring_early(
            steps in proptest::collection::vec(step(), 1..50),
            ahead in 0..10_000_000_u64,
        ) {
            let mut real = Instant::now();
            let mut clock = Clock::new(ClockMode::Real, real);
            let mut last = clock.at(real);
            for step in steps {
                match step {
                    Step::Pass(micros) => real += Duration::from_micros(micros),
                    Step::Mode(mode) => clock.set_mode(real, mode),
                    Step::Freeze(frozen) => clock.freeze(real, frozen),
                    Step::Jump(micros) => {
                        let to = clock.at(real) + Duration::from_micros(micros);
                        clock.jump(real, to);
                        prop_assert_eq!(clock.at(real), to);
                    }
                }
                let now = clock.at(real);
                prop_assert!(now >= last);
                last = now;
                let due = now + Duration::from_micros(ahead);
                match clock.real(due) {
                    Some(alarm) => prop_assert!(clock.at(alarm.max(real)) >= due),
                    None => prop_assert_eq!(clock.at(real + Duration::from_secs(3600)), now),
                }
            }
        }
    }
}
