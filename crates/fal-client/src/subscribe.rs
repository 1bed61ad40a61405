use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::error::{Aftermath, ErrorKind, InputError};
use fal_protocol::options::Options;
use fal_protocol::queue::{self, Handle, OnDeadline, SubmitConfig, SubscribeConfig};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::event::Event;
use crate::machines::Step;
use crate::output::Output;
use crate::plan::{OnUpdate, Plan, input_setter, plan_setters, queue_setters, start_setters, tell};
use crate::prepare::{Prepare, PrepareStep};
use crate::typed::{Call, FromOutput, Typed};

/// A job to be done: `.await` it for its [`Output`], or [`start`](Self::start) it and follow its events.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// use std::time::Duration;
/// use fal_client::Event;
///
/// let output = client
///     .subscribe("fal-ai/flux/dev")
///     .input(serde_json::json!({ "prompt": "a cat" }))
///     .deadline(Duration::from_secs(300))
///     .on_update(|event| if let Event::Log(line) = event { eprintln!("{}", line.message) })
///     .await?;
/// println!("{:?} {:?}", output.request_id(), output.files());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// On awaiting: every [`ErrorKind`] but `NotReady` and `Decode`. Once a job was accepted, the error has its
/// handle.
#[must_use = "nothing happens until it is awaited or started"]
pub struct Subscribe<O = Output> {
    plan: Plan,
    config: SubscribeConfig,
    /// Set when the job exists already.
    handle: Option<Handle>,
    output: PhantomData<fn() -> O>,
}

impl Subscribe {
    pub(crate) fn attach(client: Client, handle: Handle) -> Self {
        let mut subscribe = Self::new(client, handle.endpoint.as_str());
        subscribe.handle = Some(handle);
        subscribe
    }

    input_setter!();

    /// Reads the output as a type.
    pub fn output_as<T: DeserializeOwned + Send + 'static>(self) -> Subscribe<Typed<T>> {
        let Self { plan, config, handle, .. } = self;
        Subscribe { plan, config, handle, output: PhantomData }
    }
}

impl<O: FromOutput> Subscribe<O> {
    pub(crate) fn new(client: Client, call: impl Call<Output = O>) -> Self {
        let plan = Plan::of(client, call, DEADLINE_DEFAULT);
        Self { plan, config: SubscribeConfig::default(), handle: None, output: PhantomData }
    }

    plan_setters!();
    start_setters!();
    queue_setters!();

    /// Sets what becomes of the job when the deadline passes. Default: it is cancelled.
    pub const fn on_deadline(mut self, on_deadline: OnDeadline) -> Self {
        self.config.on_deadline = on_deadline;
        self
    }

    /// Whether the model's log lines are asked for. Default true.
    pub const fn logs(mut self, logs: bool) -> Self {
        self.config.watch.logs = logs;
        self
    }

    /// Whether the status stream is tried before polling. Default true.
    pub const fn status_stream(mut self, stream: bool) -> Self {
        self.config.watch.stream = stream;
        self
    }

    /// Sets the rest between two polls, where polling is needed. Default 500 ms, growing to 2 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.config.watch.poll_interval = interval;
        self.config.watch.poll_interval_max = self.config.watch.poll_interval_max.max(interval);
        self
    }

    /// Begins. The result is a `Stream` of events that can then be awaited for the output.
    pub fn start(mut self) -> Subscription<O> {
        if self.handle.is_some() {
            // The input of a job that was submitted before is not known here.
            self.plan.model = None;
        }
        let stage = match self.plan.begin() {
            Err(error) => Stage::Over(Some(Err(error))),
            Ok((endpoint, prepare, deadline)) => {
                self.config.deadline = deadline;
                let options = std::mem::take(&mut self.plan.options);
                let goal = Box::new(Goal { endpoint, options, config: self.config });
                match self.handle {
                    None => Stage::Preparing { prepare: Box::new(prepare), goal },
                    Some(handle) => goal.attach(&self.plan.client, handle),
                }
            }
        };
        let (client, on_update) = (self.plan.client, self.plan.on_update);
        Subscription { client, stage, on_update, output: PhantomData }
    }
}

impl<O> fmt::Debug for Subscribe<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("endpoint", &self.plan.endpoint)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl<O: FromOutput> IntoFuture for Subscribe<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.start().into_future()
    }
}

/// A job under way: a `Stream` of its events; await it for the output.
///
/// Dropping it ends all local work at once and leaves the job running; its handle was the first event.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// let mut job = client.subscribe("fal-ai/flux/dev").input(serde_json::json!({ "prompt": "a cat" })).start();
/// while let Some(event) = job.next_event().await {
///     println!("{event:?}");
/// }
/// let output = job.await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends all local work"]
pub struct Subscription<O = Output> {
    client: Client,
    stage: Stage,
    on_update: Option<OnUpdate>,
    output: PhantomData<fn() -> O>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "moved twice in a job's life; a box would not be smaller"
)]
enum Stage {
    Preparing { prepare: Box<Prepare>, goal: Box<Goal> },
    Driving(Box<Driver<queue::Subscribe>>),
    Over(Option<Result<Output, Error>>),
}

/// What is to be submitted once the input is ready.
struct Goal {
    endpoint: EndpointId,
    options: Options,
    config: SubscribeConfig,
}

impl Goal {
    fn submit(self, client: &Client, input: Bytes) -> Stage {
        let span = tracing::debug_span!("subscribe", endpoint = %self.endpoint);
        let mut submit = SubmitConfig::new(self.endpoint, input);
        submit.options = self.options;
        let machine =
            queue::Subscribe::new(now(), new_seed(), client.settings(), submit, self.config);
        Self::drive(client, machine, span)
    }

    fn attach(self, client: &Client, handle: Handle) -> Stage {
        let span = tracing::debug_span!("attach", endpoint = %self.endpoint, request_id = %handle.request_id);
        let machine =
            queue::Subscribe::attach(now(), new_seed(), client.settings(), handle, self.config);
        Self::drive(client, machine, span)
    }

    fn drive(
        client: &Client,
        machine: Result<queue::Subscribe, InputError>,
        span: tracing::Span,
    ) -> Stage {
        match machine {
            Ok(machine) => Stage::Driving(Box::new(Driver::new(machine, client.transport(), span))),
            Err(error) => Stage::Over(Some(Err(error.into()))),
        }
    }
}

impl<O> Subscription<O> {
    /// The next event; `None` once the job has ended, and then awaiting gives the output at once.
    pub async fn next_event(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The job, as soon as the service has accepted it.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        match &self.stage {
            Stage::Driving(driver) => driver.machine().handle(),
            Stage::Preparing { .. } | Stage::Over(None) => None,
            Stage::Over(Some(Ok(output))) => output.handle(),
            Stage::Over(Some(Err(error))) => error.handle(),
        }
    }

    /// Wants no result any more: the service is asked to cancel the job, which takes at most 5 s. Go on
    /// polling or awaiting; it ends as [`ErrorKind::Cancelled`] with what the service said.
    pub fn cancel(&mut self) {
        match &mut self.stage {
            Stage::Preparing { .. } => {
                let aftermath = Aftermath::NothingSubmitted;
                self.stage =
                    Stage::Over(Some(Err(Error::from(ErrorKind::Cancelled { aftermath }))));
            }
            Stage::Driving(driver) => driver.machine_mut().handle_cancel(now()),
            Stage::Over(_) => {}
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            let event = match &mut self.stage {
                Stage::Over(_) => return Poll::Ready(None),
                Stage::Preparing { prepare, .. } => match ready!(prepare.poll_step(cx)) {
                    PrepareStep::Event(event) => event,
                    PrepareStep::Done(Err(error)) => {
                        self.stage = Stage::Over(Some(Err(error)));
                        continue;
                    }
                    PrepareStep::Done(Ok(input)) => {
                        if let Stage::Preparing { goal, .. } =
                            std::mem::replace(&mut self.stage, Stage::Over(None))
                        {
                            self.stage = goal.submit(&self.client, input);
                        }
                        continue;
                    }
                },
                Stage::Driving(driver) => match ready!(driver.poll_step(cx)) {
                    Step::Event(event) => event.into(),
                    Step::Done(result) => {
                        self.stage =
                            Stage::Over(Some(result.map(Output::from).map_err(Error::from)));
                        continue;
                    }
                },
            };
            tell(&mut self.on_update, &event);
            return Poll::Ready(Some(event));
        }
    }
}

impl<O> Stream for Subscription<O> {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl<O: FromOutput> IntoFuture for Subscription<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            while self.next_event().await.is_some() {}
            match self.stage {
                Stage::Over(Some(result)) => result.and_then(O::from_output),
                _ => Err(Error::config("the output was taken already")),
            }
        })
    }
}

impl<O> fmt::Debug for Subscription<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("handle", &self.handle()).finish_non_exhaustive()
    }
}

/// How long a job may take unless told otherwise: 24 hours.
///
/// Nothing waits for ever. Precedent: none; fal's queue drops no request, and its longest trainings take
/// hours.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(24 * 3600);
