use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::error::{ErrorKind, InputError};
use fal_protocol::options::Options;
use fal_protocol::stream::{self, Streamed};
use fal_protocol::wire::{Failure, FailureKind};
use fal_protocol::{Answer, EndpointId, Token};
use futures_core::Stream;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::event::Event;
use crate::machines::Step;
use crate::output::Output;
use crate::plan::{OnUpdate, Plan, input_setter, plan_setters, tell};
use crate::prepare::{Prepare, PrepareStep};
use crate::run::RUN_DEADLINE_DEFAULT;
use crate::typed::{Call, FromOutput, Typed};
use crate::workflow::Workflow;

/// A streamed run: [`start`](Self::start) it and take its items as they come, or `.await` it for the last.
///
/// Nothing is queued: what breaks cannot be taken up again, and what has begun is never repeated. Dropping
/// it closes the connection, which stops the model.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// #[derive(serde::Deserialize)]
/// struct Text { output: String }
///
/// let mut stream = client.stream("fal-ai/any-llm").input(serde_json::json!({ "prompt": "hi" })).start();
/// while let Some(item) = stream.next_item().await {
///     println!("{}", item?.json::<Text>()?.output);
/// }
/// let output = stream.await?;
/// assert!(!output.value()?["partial"].as_bool().unwrap_or(true));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// On awaiting: every [`ErrorKind`] of a [`Client::run`]; a stream that is cut, even between two items, is
/// [`ErrorKind::Transport`].
#[must_use = "nothing happens until it is awaited or started"]
pub struct StreamRun<O = Output> {
    plan: Plan,
    method: Method,
    query: Vec<(String, String)>,
    token: Option<Token>,
    idle_timeout: Option<Duration>,
    output: PhantomData<fn() -> O>,
}

impl StreamRun {
    input_setter!();

    /// Reads each event, and the output, as a type.
    pub fn output_as<T: DeserializeOwned + Send + 'static>(self) -> StreamRun<Typed<T>> {
        let Self { plan, method, query, token, idle_timeout, .. } = self;
        StreamRun { plan, method, query, token, idle_timeout, output: PhantomData }
    }

    /// Begins, and reads the events as those of a workflow.
    pub fn workflow(self) -> Workflow {
        Workflow::new(self.start())
    }
}

impl<O: FromOutput> StreamRun<O> {
    pub(crate) fn new(client: Client, call: impl Call<Output = O>) -> Self {
        let plan = Plan::of(client, call, RUN_DEADLINE_DEFAULT);
        let (method, query) = (Method::POST, Vec::new());
        Self { plan, method, query, token: None, idle_timeout: None, output: PhantomData }
    }

    plan_setters!();

    /// Sets the HTTP method. Default POST. Models differ in which others they take. A GET carries no body, so
    /// its input goes into [`query`](Self::query).
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Adds a parameter to the query, encoded.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Identifies the caller by a token for this model, such as one made on a server, instead of the client's
    /// credentials. It goes into the address, which logs and errors do not show.
    pub fn token(mut self, token: impl AsRef<str>) -> Self {
        match Token::parse(token.as_ref()) {
            Ok(token) => self.token = Some(token),
            Err(error) => self.plan.refuse(error.into()),
        }
        self
    }

    /// Gives up when nothing arrives for so long once the stream has begun; any byte counts. Default: only
    /// the deadline, because models may think for long.
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Begins. The result is a `Stream` of items that can then be awaited for the output.
    pub fn start(mut self) -> Streaming<O> {
        let stage = match self.plan.begin() {
            Err(error) => Stage::Over(Some(Err(error))),
            Ok((endpoint, prepare, deadline)) => {
                let options = std::mem::take(&mut self.plan.options);
                let Self { method, query, token, idle_timeout, .. } = self;
                let goal = Goal { endpoint, method, options, query, token, idle_timeout, deadline };
                let goal = Box::new(goal);
                Stage::Preparing { prepare: Box::new(prepare), goal }
            }
        };
        let (client, on_update) = (self.plan.client, self.plan.on_update);
        Streaming { client, stage, on_update, headers: None, output: PhantomData }
    }
}

impl<O> fmt::Debug for StreamRun<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRun").field("endpoint", &self.plan.endpoint).finish_non_exhaustive()
    }
}

impl<O: FromOutput> IntoFuture for StreamRun<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.start().into_future()
    }
}

/// A stream under way: a `Stream` of its items; await it for the output.
///
/// The last item of the `Stream` is the error, if there is one. Awaiting gives the last event as
/// [`Output`], or what is left of a raw stream in one piece: all of it, if no item was taken before.
#[must_use = "dropping it stops the model"]
pub struct Streaming<O = Output> {
    client: Client,
    stage: Stage,
    on_update: Option<OnUpdate>,
    headers: Option<HeaderMap>,
    output: PhantomData<fn() -> O>,
}

enum Stage {
    Preparing { prepare: Box<Prepare>, goal: Box<Goal> },
    Driving(Box<Driver<stream::Stream>>),
    Over(Option<Result<Streamed, Error>>),
}

/// What is to be streamed once the input is ready.
struct Goal {
    endpoint: EndpointId,
    method: Method,
    options: Options,
    query: Vec<(String, String)>,
    token: Option<Token>,
    idle_timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Goal {
    fn begin(self, client: &Client, input: Bytes) -> Stage {
        let span = tracing::debug_span!("stream", endpoint = %self.endpoint);
        let mut config = stream::Config::new(self.endpoint, input);
        if matches!(self.method, Method::GET | Method::HEAD) {
            // What cannot be sent must not be dropped without a word.
            if config.input.as_deref().is_some_and(|input| input != b"{}") {
                let problem = "a GET carries no body: give the input as `query`".into();
                return Stage::Over(Some(Err(InputError::Body { problem }.into())));
            }
            config.input = None;
        }
        config.method = self.method;
        config.options = self.options;
        config.query = self.query;
        config.token = self.token;
        config.idle_timeout = self.idle_timeout;
        config.deadline = self.deadline;
        match stream::Stream::new(now(), new_seed(), client.settings(), config) {
            Ok(machine) => Stage::Driving(Box::new(Driver::new(machine, client.transport(), span))),
            Err(error) => Stage::Over(Some(Err(error.into()))),
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Streaming<Typed<T>> {
    /// The next event as a value; `None` once the stream has ended. Models that stream send outputs that are not
    /// finished, such as the text so far.
    ///
    /// One that does not fit is [`Error::Decode`], and the stream goes on: what it was is in the error.
    pub async fn next_value(&mut self) -> Option<Result<T, Error>> {
        let item = match self.next_item().await? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        let headers = self.headers.clone().unwrap_or_default();
        let output = Output::direct(Answer::from_parts(StatusCode::OK, headers, item.data));
        Some(output.json().map_err(Error::from))
    }
}

impl<O> Streaming<O> {
    /// The next item; `None` once the stream has ended. An error is told once, and awaiting tells it again.
    pub async fn next_item(&mut self) -> Option<Result<StreamItem, Error>> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The request id, as soon as the stream has begun.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.header(fal_protocol::headers::REQUEST_ID)
    }

    /// The media type, as soon as the stream has begun: `text/event-stream`, or that of the raw chunks.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.header(header::CONTENT_TYPE)
    }

    /// All headers of the answer, once the stream has begun.
    pub(crate) const fn headers(&self) -> Option<&HeaderMap> {
        self.headers.as_ref()
    }

    fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.as_ref()?.get(name)?.to_str().ok()
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<StreamItem, Error>>> {
        loop {
            match &mut self.stage {
                Stage::Over(_) => return Poll::Ready(None),
                Stage::Preparing { prepare, .. } => match ready!(prepare.poll_step(cx)) {
                    PrepareStep::Event(event) => tell(&mut self.on_update, &event),
                    PrepareStep::Done(Err(error)) => return self.fail(error),
                    PrepareStep::Done(Ok(input)) => {
                        if let Stage::Preparing { goal, .. } =
                            std::mem::replace(&mut self.stage, Stage::Over(None))
                        {
                            self.stage = goal.begin(&self.client, input);
                        }
                        // What cannot begin is told like everything that fails.
                        if let Stage::Over(Some(Err(error))) = &self.stage {
                            return Poll::Ready(Some(Err(error.clone())));
                        }
                    }
                },
                Stage::Driving(driver) => match ready!(driver.poll_step(cx)) {
                    Step::Event(stream::Event::Opened { headers }) => self.headers = Some(headers),
                    Step::Event(stream::Event::Item(event)) => {
                        let name = event.name.map(|name| name.to_string());
                        let data = event.data.into_bytes();
                        return Poll::Ready(Some(Ok(StreamItem { data, name, is_event: true })));
                    }
                    Step::Event(stream::Event::Chunk(data)) => {
                        let item = StreamItem { data, name: None, is_event: false };
                        return Poll::Ready(Some(Ok(item)));
                    }
                    Step::Event(stream::Event::AttemptFailed(failed)) => {
                        tell(&mut self.on_update, &Event::from(failed));
                    }
                    Step::Event(_) => {}
                    Step::Done(Ok(streamed)) => self.stage = Stage::Over(Some(Ok(streamed))),
                    Step::Done(Err(error)) => return self.fail(error.into()),
                },
            }
        }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<StreamItem, Error>>> {
        self.stage = Stage::Over(Some(Err(error.clone())));
        Poll::Ready(Some(Err(error)))
    }

    /// Takes what is left: the result, and all raw chunks.
    async fn finish(mut self) -> Result<O, Error>
    where
        O: FromOutput,
    {
        let (mut chunks, mut bytes) = (VecDeque::new(), 0);
        while let Some(item) = self.next_item().await {
            let item = item?;
            if !item.is_event {
                bytes += item.data.len();
                if bytes > self.client.settings().result_bytes_max {
                    let message = "the stream is longer than a result may be";
                    let failure = Failure::read(FailureKind::TooLarge, message);
                    return Err(Error::from(ErrorKind::Transport(failure)));
                }
                chunks.push_back(item.data);
            }
        }
        let Stage::Over(Some(result)) = self.stage else {
            return Err(Error::config("the output was taken already"));
        };
        let mut streamed = result?;
        let body = match streamed.last.take() {
            Some(event) => event.data.into_bytes(),
            None if chunks.len() == 1 => chunks.pop_front().unwrap_or_default(),
            None => {
                let mut body = Vec::with_capacity(bytes);
                chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
                body.into()
            }
        };
        O::from_output(Output::direct(streamed.into_answer(body)))
    }
}

impl<O> Stream for Streaming<O> {
    type Item = Result<StreamItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl<O: FromOutput> IntoFuture for Streaming<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}

impl<O> fmt::Debug for Streaming<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("request_id", &self.request_id()).finish_non_exhaustive()
    }
}

/// What came of a stream at one time: an event, or a piece of raw bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamItem {
    data: Bytes,
    name: Option<String>,
    is_event: bool,
}

impl StreamItem {
    #[cfg(feature = "realtime")]
    pub(crate) const fn new(data: Bytes, name: Option<String>, is_event: bool) -> Self {
        Self { data, name, is_event }
    }

    /// Reads the data as a type; it may borrow from it (`&str`, `&RawValue`).
    ///
    /// # Errors
    /// As `serde_json`: not JSON, or not of this type. The stream goes on.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.data)
    }

    /// The data as it came. Where raw bytes are cut means nothing.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The data as it came, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.data
    }

    /// The name of the event, which few models give.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it is a whole event, and not a piece of raw bytes.
    #[must_use]
    pub const fn is_event(&self) -> bool {
        self.is_event
    }
}

/// Prints the length of the data only.
impl fmt::Debug for StreamItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamItem")
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("name", &self.name)
            .field("is_event", &self.is_event)
            .finish()
    }
}
