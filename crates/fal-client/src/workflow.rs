//! Workflows: streams whose events say what each step did.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use fal_protocol::Answer;
use fal_protocol::error::{self as core, ErrorKind};
use fal_protocol::stream::workflow::WorkflowEvent;
use fal_protocol::wire::{Failure, FailureKind};
use http::StatusCode;

use crate::error::Error;
use crate::output::Output;
use crate::stream::Streaming;

/// A workflow under way: take its events as they come, or `.await` it for the output of the whole.
///
/// A step that fails is an error here, although its event comes inside a stream whose status is 200. So is a
/// stream that ends before the workflow has.
///
/// ```no_run
/// # async fn example(client: fal_client::Client) -> Result<(), fal_client::Error> {
/// use fal_client::WorkflowEvent;
///
/// let input = serde_json::json!({ "prompt": "a cat" });
/// let mut workflow = client.stream("workflows/acme/cats").input(input).workflow();
/// while let Some(event) = workflow.next_event().await {
///     if let WorkflowEvent::Completed { node_id, .. } = event? {
///         println!("{node_id} is done");
///     }
/// }
/// let output = workflow.await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it stops the workflow"]
pub struct Workflow {
    streaming: Streaming,
    /// What its last event said.
    end: Option<Result<Bytes, Error>>,
}

impl Workflow {
    pub(crate) const fn new(streaming: Streaming) -> Self {
        Self { streaming, end: None }
    }

    /// The next event; `None` once the workflow has ended. An error is told once, and awaiting tells it again.
    /// Events after the last one are passed over.
    pub async fn next_event(&mut self) -> Option<Result<WorkflowEvent, Error>> {
        if self.end.is_some() {
            return None;
        }
        let item = match self.streaming.next_item().await {
            Some(Ok(item)) => item,
            Some(Err(error)) => return Some(self.fail(error)),
            None => return self.ended(),
        };
        Some(match WorkflowEvent::parse(item.bytes()) {
            Err(error) => self.fail(ErrorKind::Protocol(error).into()),
            Ok(WorkflowEvent::Failed { node_id, mut error }) => {
                if !node_id.is_empty() {
                    error.message = format!("step {node_id}: {}", error.message).into();
                }
                let error = core::Error::new(ErrorKind::Api(error));
                self.fail(error.with_request_id(self.request_id().map(Into::into)).into())
            }
            Ok(event) => {
                if let WorkflowEvent::Output { output } = &event {
                    self.end = Some(Ok(output.clone()));
                }
                Ok(event)
            }
        })
    }

    /// The request id, as soon as the stream has begun.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.streaming.request_id()
    }

    /// The stream has ended in order, but not with the workflow's output.
    fn ended(&mut self) -> Option<Result<WorkflowEvent, Error>> {
        let message = "the stream ended before the workflow's output";
        let error =
            core::Error::new(ErrorKind::Transport(Failure::read(FailureKind::Closed, message)));
        Some(self.fail(error.with_request_id(self.request_id().map(Into::into)).into()))
    }

    fn fail(&mut self, error: Error) -> Result<WorkflowEvent, Error> {
        self.end = Some(Err(error.clone()));
        Err(error)
    }

    async fn finish(mut self) -> Result<Output, Error> {
        while let Some(event) = self.next_event().await {
            event?;
        }
        match self.end.take() {
            // It is there, so nothing that still becomes of the connection can take it back.
            Some(Ok(output)) => {
                let headers = self.streaming.headers().cloned().unwrap_or_default();
                Ok(Output::direct(Answer::from_parts(StatusCode::OK, headers, output)))
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::config("the output was taken already")),
        }
    }
}

impl IntoFuture for Workflow {
    type Output = Result<Output, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}

impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow").field("request_id", &self.request_id()).finish_non_exhaustive()
    }
}
