use std::time::Duration;

use fal_protocol::rand::SplitMix64;

/// Everything that will happen in one world, beside what its two ends do themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Where it came from; also the seed of both ends.
    pub seed: u64,
    /// What becomes of the exchanges, in the order in which they begin; later ones go well.
    pub exchanges: Vec<Exchange>,
    /// When the service drops all connections, and for how long nobody can connect then.
    pub restarts: Vec<(Duration, Duration)>,
    /// When the running job loses its runner and goes back into the queue.
    pub requeues: Vec<Duration>,
    /// How long the job runs.
    pub run_time: Duration,
    /// Whether the job fails.
    pub is_failing: bool,
    /// When the caller's patience ends.
    pub deadline: Option<Duration>,
    /// When the caller cancels.
    pub cancel: Option<Duration>,
    /// Whether the client opens a status stream.
    pub streams: bool,
}

/// What becomes of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// What goes wrong.
    pub fault: Fault,
    /// How long the request travels.
    pub there: Duration,
    /// How long the answer, or the news of a failure, travels.
    pub back: Duration,
}

/// What can go wrong with an exchange. The vocabulary is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    None,
    /// Nobody accepts the connection.
    Refused,
    /// The connection breaks before the service has read the request; the client cannot know.
    RequestLost,
    /// The service does what was asked; the connection breaks before the answer.
    AnswerLost,
    /// The service does what was asked; no answer ever arrives.
    Silence,
    /// An ingress answers 502 in the service's place, and has passed the request on or not.
    Ingress {
        /// Whether the service has seen the request.
        passed_on: bool,
    },
    /// The service refuses with 429 and asks to wait for a second.
    RateLimited,
    /// The answer arrives twice.
    AnswerTwice,
    /// A stream breaks after so many events; any other answer arrives.
    StreamCut {
        /// Events that get through.
        after: u32,
        /// It ends as if it were complete.
        in_order: bool,
    },
}

impl Plan {
    /// The world of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed);
        // A third of the worlds is calm, so that the faults of others do not hide each other.
        let percent = [0, 5, 20, 50][rng.below(4) as usize];
        let exchanges = (0..EXCHANGES).map(|_| Exchange::draw(&mut rng, percent)).collect();
        let run_time = ms([100, 800, 5_000, 90_000][rng.below(4) as usize]);
        let mut maybe = |chance: u64, span_ms: u64| {
            let at = rng.below(span_ms);
            (rng.below(100) < chance).then_some(ms(at))
        };
        let restarts = [maybe(percent, 5_000), maybe(percent, 30_000)];
        let restarts = restarts.into_iter().flatten().map(|at| (at, ms(700))).collect();
        let requeues = [maybe(percent, 3_000), maybe(percent, 6_000)];
        let requeues = requeues.into_iter().flatten().collect();
        let deadline = maybe(30, 60_000);
        let cancel = maybe(10, 20_000);
        let is_failing = rng.below(100) < 10;
        let streams = rng.below(100) < 75;
        Self {
            seed,
            exchanges,
            restarts,
            requeues,
            run_time,
            is_failing,
            deadline,
            cancel,
            streams,
        }
    }

    /// What becomes of the exchange with this number, from 0.
    #[must_use]
    pub fn exchange(&self, index: usize) -> Exchange {
        let calm = Exchange { fault: Fault::None, there: ms(20), back: ms(20) };
        self.exchanges.get(index).copied().unwrap_or(calm)
    }

    /// Worlds in which one thing less goes wrong.
    pub(super) fn simpler(&self) -> impl Iterator<Item = Self> {
        let mut all = Vec::new();
        let mut push = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                all.push(plan);
            }
        };
        push(&|plan| plan.exchanges.clear());
        push(&|plan| plan.restarts.clear());
        push(&|plan| plan.requeues.clear());
        push(&|plan| plan.cancel = None);
        push(&|plan| plan.deadline = None);
        push(&|plan| plan.is_failing = false);
        for index in 0..self.exchanges.len() {
            push(&|plan| {
                plan.exchanges.remove(index);
            });
            push(&|plan| plan.exchanges[index].fault = Fault::None);
            push(&|plan| {
                (plan.exchanges[index].there, plan.exchanges[index].back) = (ms(20), ms(20))
            });
        }
        all.into_iter()
    }
}

impl Exchange {
    fn draw(rng: &mut SplitMix64, percent: u64) -> Self {
        let mut travel = || match rng.below(100) {
            // Longer than some limits of the client.
            0 => ms(rng.below(70_000)),
            1..10 => ms(rng.below(3_000)),
            _ => ms(1 + rng.below(120)),
        };
        let (there, back) = (travel(), travel());
        if rng.below(100) >= percent {
            return Self { fault: Fault::None, there, back };
        }
        let fault = match rng.below(9) {
            0 => Fault::Refused,
            1 => Fault::RequestLost,
            2 => Fault::AnswerLost,
            3 => Fault::Silence,
            4 => Fault::Ingress { passed_on: rng.below(2) == 0 },
            5 => Fault::RateLimited,
            6 => Fault::AnswerTwice,
            _ => Fault::StreamCut { after: rng.below(4) as u32, in_order: rng.below(2) == 0 },
        };
        Self { fault, there, back }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Exchanges that can go wrong: more than a patient client makes in a world that is half broken.
const EXCHANGES: usize = 64;
