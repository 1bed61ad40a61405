//! What a request is about, before it is answered.

use bytes::Bytes;
use fal_protocol::EndpointId;
use http::{HeaderMap, Method};

use super::exchange::{Host, Request};
use super::id::RequestId;
use super::job::{Job, Outcome, State};
use super::queue::{is_prefix_of, split_job_path};
use super::token::Route;
use super::{JobState, Model, run};
use crate::scenario::{Facts, Input, Operation};

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) operation: Operation,
    pub(crate) endpoint: Box<str>,
    headers: HeaderMap,
    input: Bytes,
    state: Option<JobState>,
    /// The job, where there is one.
    pub(crate) request_id: Option<RequestId>,
}

impl About {
    /// About a job, in what the service does by itself.
    pub(crate) fn job(operation: Operation, id: RequestId, job: &Job) -> Self {
        Self {
            operation,
            endpoint: job.endpoint.as_str().into(),
            headers: job.headers.iter().cloned().collect(),
            input: job.input.clone(),
            state: Some(state_of(job)),
            request_id: Some(id),
        }
    }

    /// The same about a message in an exchange that began like this.
    pub(crate) fn frame(&self) -> Self {
        Self { operation: Operation::Frame, ..self.clone() }
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&Facts<'_>) -> T) -> T {
        let input = Input::new(&self.input);
        f(&Facts {
            operation: self.operation,
            endpoint: &self.endpoint,
            headers: &self.headers,
            input: &input,
            state: self.state,
        })
    }

    /// Whom a fault happens to, in its account.
    pub(crate) fn whom(&self) -> String {
        match self.request_id {
            Some(id) => format!("{} {id}", self.operation),
            None if self.endpoint.is_empty() => self.operation.to_string(),
            None => format!("{} {}", self.operation, self.endpoint),
        }
    }
}

impl Model {
    /// What a request is about, as far as its address and method tell.
    pub(crate) fn about(&self, request: &Request<'_>, is_upgrade: bool) -> About {
        let mut about = About {
            operation: Operation::Platform,
            endpoint: "".into(),
            headers: request.headers.clone(),
            input: request.body.clone(),
            state: None,
            request_id: None,
        };
        let path = request.path.trim_matches('/');
        let endpoint = || EndpointId::parse(path).ok();
        let name = |endpoint: &EndpointId| Box::from(endpoint.as_str());
        match request.host {
            _ if is_upgrade => {
                about.operation = Operation::Realtime;
                about.endpoint = endpoint().as_ref().map(name).unwrap_or_default();
            }
            Host::Queue => match split_job_path(path) {
                Some((prefix, id, tail)) => {
                    about.operation = match tail {
                        "status" => Operation::Status,
                        "status/stream" => Operation::StatusStream,
                        "cancel" => Operation::Cancel,
                        _ => Operation::Result,
                    };
                    let job = RequestId::parse(id)
                        .and_then(|id| self.jobs.get(id).map(|job| (id, job)))
                        .filter(|(_, job)| is_prefix_of(prefix, &job.endpoint));
                    match job {
                        Some((id, job)) => {
                            about.endpoint = job.endpoint.as_str().into();
                            about.input = job.input.clone();
                            about.state = Some(state_of(job));
                            about.request_id = Some(id);
                        }
                        None => about.endpoint = prefix.into(),
                    }
                }
                None => {
                    about.operation = Operation::Submit;
                    about.endpoint = endpoint().as_ref().map(name).unwrap_or_default();
                }
            },
            Host::Run => {
                let endpoint = endpoint();
                let stream = endpoint.as_ref().and_then(run::streamed);
                about.operation = if stream.is_some() { Operation::Stream } else { Operation::Run };
                let endpoint = stream.flatten().or(endpoint);
                about.endpoint = endpoint.as_ref().map(name).unwrap_or_default();
            }
            Host::Rest | Host::Cdn | Host::Gcs => {
                about.operation = of_storage(request);
                about.input = Bytes::new();
            }
            Host::Ws => about.operation = Operation::Realtime,
            Host::Api | Host::Site => {}
        }
        about
    }
}

/// What is asked of the hosts that know files.
fn of_storage(request: &Request<'_>) -> Operation {
    let path = request.path.trim_end_matches('/');
    let (is_put, is_post) = (*request.method == Method::PUT, *request.method == Method::POST);
    if request.host == Host::Rest {
        return match path {
            path if Route::of(path).is_some() => Operation::Token,
            "/storage/auth/token" => Operation::Token,
            path if path.ends_with("/complete") => Operation::UploadComplete,
            path if path.starts_with("/storage/upload/multipart/") => Operation::UploadPart,
            path if path.starts_with("/storage/upload/") => Operation::UploadInitiate,
            _ => Operation::Platform,
        };
    }
    let is_part = path.contains("/multipart/") || request.parameter("partNumber").is_some();
    match path {
        path if is_post && path.ends_with("/complete") => Operation::UploadComplete,
        path if is_post && path.ends_with("/multipart") => Operation::UploadInitiate,
        _ if is_put && is_part => Operation::UploadPart,
        _ if is_put || is_post => Operation::UploadPut,
        _ => Operation::Download,
    }
}

/// Where a job stands, as far as that is known without working out what came of it.
const fn state_of(job: &Job) -> JobState {
    match &job.state {
        State::Queued { .. } => JobState::Queued,
        State::Running { .. } => JobState::Running,
        State::Done { outcome: Outcome::Failed(_), .. } => JobState::Failed,
        State::Done { .. } => JobState::Succeeded,
    }
}
