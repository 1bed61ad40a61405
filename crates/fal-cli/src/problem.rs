//! What went wrong, as people and programs are told.

use fal_client::FailureKind;
use fal_client::model::Review;
use fal_client::{Aftermath, CancelOutcome, Error, ErrorKind, FieldError, Handle};

use crate::exit::Exit;
use crate::flags::Global;
use crate::job_name;

/// Why a command ended without what was asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// What can be done, one per line.
    pub(crate) hints: Vec<String>,
    /// What the client said, for the parts of it that programs read.
    pub(crate) error: Option<Box<Error>>,
    /// The job, where it is known without an error of the client.
    handle: Option<Box<Handle>>,
}

impl Problem {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, message, hints: Vec::new(), error: None, handle: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something about a local file.
    pub(crate) fn file(path: impl AsRef<std::path::Path>, source: &std::io::Error) -> Self {
        Self::new(Exit::File, format!("{}: {source}", path.as_ref().display()))
    }

    /// What the client said, with what can be done about it.
    pub(crate) fn of(error: Error, global: &Global) -> Self {
        let mut problem = Self::new(Exit::of(&error), error.to_string());
        if let Error::Check(check) = &error {
            problem.message = format!("the input does not fit {}", check.endpoint());
        } else if error.fields().len() > 1 {
            // Each stands on its own line below.
            let status = error.status().map(|status| format!("{status}: ")).unwrap_or_default();
            let request = error.request_id().map(|id| format!(" (request {id})"));
            problem.message = format!(
                "{status}the input has {} problems{}",
                error.fields().len(),
                request.unwrap_or_default()
            );
        }
        problem.hints = hints(&error, global);
        problem.error = Some(Box::new(error));
        problem
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn with_handle(mut self, handle: Option<&Handle>) -> Self {
        self.handle = handle.cloned().map(Box::new);
        self
    }

    /// The job that it is about.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.handle.as_deref().or_else(|| self.error.as_ref()?.handle())
    }

    /// What a check by the model's document found.
    pub(crate) fn review(&self) -> Option<&Review> {
        match self.error.as_deref() {
            Some(Error::Check(check)) => Some(check.review()),
            _ => None,
        }
    }

    /// The same, a line for each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let review = self.review().map(ToString::to_string).unwrap_or_default();
        review.lines().map(str::to_owned).collect()
    }

    /// The problems of the input, if the model named some.
    pub(crate) fn fields(&self) -> &[FieldError] {
        self.error.as_ref().map_or(&[], |error| error.fields())
    }
}

fn hints(error: &Error, global: &Global) -> Vec<String> {
    let mut hints = Vec::new();
    let mut later = false;
    match error.kind() {
        Some(ErrorKind::Transport(failure)) => {
            hints.extend(network_hint(failure.kind, global));
            later = true;
        }
        Some(ErrorKind::Api(api)) => match api.status.map(|status| status.as_u16()) {
            Some(401) => hints.push(KEY_HINT.to_owned()),
            Some(402 | 403) => {
                hints.extend(api.denied().map(|denied| denied.advice().to_owned()));
            }
            Some(404) if error.handle().is_some() => hints.push(
                "the service keeps a result for an hour, one of 10 KB and more for six minutes"
                    .to_owned(),
            ),
            Some(404) => {
                hints.push("look up the name of the model at https://fal.ai/models".to_owned())
            }
            Some(429) => {
                hints.push("the service is busy with other requests: try later".to_owned())
            }
            _ if api.is_retryable() => {
                hints.push("the service says that this passes: try again".to_owned());
            }
            _ => {}
        },
        Some(ErrorKind::SubmitUnknown { .. }) => hints.push(
            "the job may exist: look at https://fal.ai/dashboard/requests before you repeat it"
                .to_owned(),
        ),
        Some(ErrorKind::Deadline { aftermath } | ErrorKind::Cancelled { aftermath }) => {
            later = !matches!(aftermath, Aftermath::Asked(CancelOutcome::Cancelled));
        }
        Some(ErrorKind::NotReady) => later = true,
        Some(ErrorKind::Protocol(_)) if global.base_url.is_some() => {
            hints.push("is this really the address of a fal service or mock?".to_owned());
            later = true;
        }
        _ => later = true,
    }
    if later && let Some(handle) = error.handle() {
        hints.push(job_name::later(handle, global));
    }
    hints
}

fn network_hint(kind: FailureKind, global: &Global) -> Option<String> {
    let base = global.base_url.clone().or_else(|| std::env::var("FAL_BASE_URL").ok());
    let base = base.filter(|base| !base.trim().is_empty());
    Some(match (kind, base) {
        (FailureKind::Refused | FailureKind::Closed | FailureKind::Timeout, Some(base)) => format!(
            "is fal-mock running at {}? Start it with: cargo run -p fal-mock",
            job_name::shown(&base)
        ),
        (FailureKind::Dns, Some(base)) => {
            format!("check the name in the base URL {}", job_name::shown(&base))
        }
        (FailureKind::Tls, _) => {
            "if a proxy or firewall looks into TLS, name its certificate with SSL_CERT_FILE"
                .to_owned()
        }
        (FailureKind::Proxy, _) => "check HTTPS_PROXY, and NO_PROXY for exceptions".to_owned(),
        (FailureKind::Dns | FailureKind::Refused | FailureKind::Timeout, None) => {
            "check the network; behind a proxy, set HTTPS_PROXY".to_owned()
        }
        _ => return None,
    })
}

/// How to get a key to work.
pub(crate) const KEY_HINT: &str = "get a key at https://fal.ai/dashboard/keys and set it: \
     export FAL_KEY=id:secret (a mock takes any id:secret)";
