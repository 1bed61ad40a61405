use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use fal_protocol::EndpointId;
use fal_protocol::queue::{
    self, CancelOutcome, CheckConfig, Completed, FetchConfig, Handle, Status, SubmitConfig,
    WatchConfig,
};

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::event::Event;
use crate::input::IntoInput;
use crate::output::Output;
use crate::plan::{OnUpdate, Plan, input_setter, plan_setters, queue_setters, start_setters, tell};
use crate::subscribe::DEADLINE_DEFAULT;
use crate::typed::{Call, FromOutput, Typed};

/// The queue of one endpoint, step by step.
///
/// A job is named by its [`Handle`], or by its bare request id.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// let queue = client.queue("fal-ai/flux/dev")?;
/// let handle = queue.submit(serde_json::json!({ "prompt": "a cat" })).await?;
/// queue.watch(&handle).await?;
/// let status = queue.status(&*handle.request_id, true).await?;
/// assert!(!status.logs.is_empty());
/// let output = queue.result(&handle).await?;
/// assert_eq!(queue.cancel(&handle).await?, fal_client::CancelOutcome::AlreadyCompleted);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Queue<O = Output> {
    client: Client,
    endpoint: EndpointId,
    output: PhantomData<fn() -> O>,
}

impl Queue {
    /// Puts a job into the queue; await it for its handle.
    pub fn submit(&self, input: impl IntoInput) -> Submit {
        let endpoint = self.endpoint.as_str();
        let plan = Plan::new(self.client.clone(), endpoint, STEP_DEADLINE_DEFAULT);
        Submit { plan }.input(input)
    }
}

impl<T> Queue<Typed<T>>
where
    Typed<T>: FromOutput,
{
    /// Puts a job into the queue; await it for its handle. The input is one of those that give this output, and
    /// says itself which endpoint it is for.
    pub fn submit(&self, input: impl Call<Output = Typed<T>>) -> Submit {
        Submit { plan: Plan::of(self.client.clone(), input, STEP_DEADLINE_DEFAULT) }
    }
}

impl<O: FromOutput> Queue<O> {
    pub(crate) const fn new(client: Client, endpoint: EndpointId) -> Self {
        Self { client, endpoint, output: PhantomData }
    }

    /// Reads where a job is, once; with its log lines so far if `logs`.
    ///
    /// # Errors
    /// Every [`ErrorKind`](crate::ErrorKind) of a read; an unknown job is an `Api` error with status 404.
    pub async fn status(&self, job: impl IntoHandle, logs: bool) -> Result<Status, Error> {
        let handle = job.into_handle(&self.endpoint);
        let span = tracing::debug_span!("status", request_id = %handle.request_id);
        let mut config = CheckConfig::default();
        config.logs = logs;
        config.deadline = now().checked_add(STEP_DEADLINE_DEFAULT);
        let machine = queue::Check::new(now(), new_seed(), self.client.settings(), handle, config)?;
        Driver::new(machine, self.client.transport(), span).finish(drop).await
    }

    /// Follows a job until it has completed; await it.
    pub fn watch(&self, job: impl IntoHandle) -> Watch {
        Watch {
            client: self.client.clone(),
            handle: job.into_handle(&self.endpoint),
            config: WatchConfig::default(),
            deadline: DEADLINE_DEFAULT,
            on_update: None,
        }
    }

    /// Takes the result of a job that has completed.
    ///
    /// # Errors
    /// [`ErrorKind::NotReady`](crate::ErrorKind::NotReady) before it has, `Api` when it failed or its result is
    /// no longer kept, and every kind of a read.
    pub async fn result(&self, job: impl IntoHandle) -> Result<O, Error> {
        let handle = job.into_handle(&self.endpoint);
        let span = tracing::debug_span!("result", request_id = %handle.request_id);
        let mut config = FetchConfig::default();
        config.deadline = now().checked_add(DEADLINE_DEFAULT);
        let machine =
            queue::Fetch::new(now(), new_seed(), self.client.settings(), handle.clone(), config)?;
        let answer = Driver::new(machine, self.client.transport(), span).finish(drop).await?;
        O::from_output(Output::queued(answer, handle, serde_json::Value::Null))
    }

    /// Asks the service to cancel a job. What it says is an answer, not an error.
    ///
    /// # Errors
    /// Every [`ErrorKind`](crate::ErrorKind) of a read.
    pub async fn cancel(&self, job: impl IntoHandle) -> Result<CancelOutcome, Error> {
        let handle = job.into_handle(&self.endpoint);
        let span = tracing::debug_span!("cancel", request_id = %handle.request_id);
        let deadline = now().checked_add(STEP_DEADLINE_DEFAULT);
        let machine =
            queue::Cancel::new(now(), new_seed(), self.client.settings(), handle, deadline)?;
        Driver::new(machine, self.client.transport(), span).finish(drop).await
    }
}

/// What names a job: its handle, or its bare request id.
pub trait IntoHandle {
    /// The handle, with `endpoint` where only an id is given.
    fn into_handle(self, endpoint: &EndpointId) -> Handle;
}

impl IntoHandle for Handle {
    fn into_handle(self, _endpoint: &EndpointId) -> Handle {
        self
    }
}

impl IntoHandle for &Handle {
    fn into_handle(self, _endpoint: &EndpointId) -> Handle {
        self.clone()
    }
}

impl IntoHandle for &str {
    fn into_handle(self, endpoint: &EndpointId) -> Handle {
        Handle::new(endpoint.clone(), self)
    }
}

/// A job to be submitted: `.await` it for its [`Handle`].
///
/// # Errors
/// On awaiting: [`ErrorKind::SubmitUnknown`](crate::ErrorKind::SubmitUnknown) when the service may have accepted it,
/// and every kind but `NotReady` and `Decode`.
#[must_use = "nothing happens until it is awaited"]
pub struct Submit {
    plan: Plan,
}

impl Submit {
    input_setter!();
    plan_setters!();
    start_setters!();
    queue_setters!();
}

impl fmt::Debug for Submit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("endpoint", &self.plan.endpoint).finish_non_exhaustive()
    }
}

impl IntoFuture for Submit {
    type Output = Result<Handle, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let (endpoint, input, deadline) = self.plan.ready().await?;
            let span = tracing::debug_span!("submit", endpoint = %endpoint);
            let mut config = SubmitConfig::new(endpoint, input);
            config.options = self.plan.options.clone();
            config.deadline = deadline;
            let machine =
                queue::Submit::new(now(), new_seed(), self.plan.client.settings(), config)?;
            let driver = Driver::new(machine, self.plan.client.transport(), span);
            driver.finish(|event| self.plan.tell(event)).await
        })
    }
}

/// A job to be followed: `.await` it for its end.
///
/// # Errors
/// On awaiting: `Api` when the job failed (its result has the details), and every kind of a read.
#[must_use = "nothing happens until it is awaited"]
pub struct Watch {
    client: Client,
    handle: Handle,
    config: WatchConfig,
    deadline: Duration,
    on_update: Option<OnUpdate>,
}

impl Watch {
    /// Whether the model's log lines are asked for. Default true.
    pub const fn logs(mut self, logs: bool) -> Self {
        self.config.logs = logs;
        self
    }

    /// Sets when to give up. The job goes on. Default 24 hours.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets who hears what happens.
    pub fn on_update(mut self, on_update: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_update = Some(Box::new(on_update));
        self
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl IntoFuture for Watch {
    type Output = Result<Completed, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let span = tracing::debug_span!("watch", request_id = %self.handle.request_id);
            self.config.deadline = now().checked_add(self.deadline);
            let settings = self.client.settings();
            let machine =
                queue::Watch::new(now(), new_seed(), settings, self.handle.clone(), self.config)?;
            let driver = Driver::new(machine, self.client.transport(), span);
            let completed = driver
                .finish(|event| tell(&mut self.on_update, &event.into()))
                .await?
                .into_result();
            completed.map_err(|error| error.with_handle(Some(self.handle)).into())
        })
    }
}

/// How long one step may take unless told otherwise: 10 minutes.
pub const STEP_DEADLINE_DEFAULT: Duration = Duration::from_secs(600);
