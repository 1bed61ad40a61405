//! Exit codes: stable, so that scripts can branch on them.

use std::process::ExitCode;

use fal_client::FailureKind;
use fal_client::{Error, ErrorKind, ErrorType, InputError};

/// How a command ended. [`TABLE`] says the same to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Other = 1,
    Usage = 2,
    Key = 3,
    Refused = 4,
    Failed = 5,
    Network = 6,
    Deadline = 7,
    Unknown = 8,
    NotReady = 9,
    File = 10,
    Cancelled = 130,
}

impl Exit {
    /// What an error of the client means.
    pub(crate) fn of(error: &Error) -> Self {
        let kind = match error {
            Error::Call(e) => e.kind(),
            Error::File { .. } => return Self::File,
            Error::Check(_) => return Self::Usage,
            Error::Document { .. } => return Self::Failed,
            _ => return Self::Other,
        };
        match kind {
            ErrorKind::Api(api) => {
                let status = api.status.map(|status| status.as_u16());
                Self::of_answer(status, api.error_type.as_ref())
            }
            ErrorKind::Transport(failure) if failure.kind == FailureKind::Source => Self::File,
            ErrorKind::Transport(failure) if failure.kind == FailureKind::Credentials => Self::Key,
            ErrorKind::Transport(_) => Self::Network,
            ErrorKind::Protocol(_) => Self::Failed,
            ErrorKind::Input(InputError::Key { .. }) => Self::Key,
            ErrorKind::Input(_) => Self::Usage,
            ErrorKind::SubmitUnknown { .. } => Self::Unknown,
            ErrorKind::NotReady => Self::NotReady,
            ErrorKind::Closed(_) => Self::Failed,
            ErrorKind::Deadline { .. } => Self::Deadline,
            ErrorKind::Cancelled { .. } => Self::Cancelled,
            _ => Self::Other,
        }
    }

    fn of_answer(status: Option<u16>, error_type: Option<&ErrorType>) -> Self {
        if error_type == Some(&ErrorType::CLIENT_CANCELLED) {
            return Self::Cancelled;
        }
        match status {
            Some(401..=403) => Self::Key,
            // Both say "not now", not "not this".
            Some(408 | 429) => Self::Failed,
            Some(400..500) => Self::Refused,
            Some(_) => Self::Failed,
            // Only the job's status named the failure; all that a repeat cannot mend is the input's.
            None if error_type.and_then(ErrorType::is_transient) == Some(false) => Self::Refused,
            None => Self::Failed,
        }
    }

    /// The name under `kind` in JSON lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Key => "key",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Network => "network",
            Self::Deadline => "deadline",
            Self::Unknown => "submit_unknown",
            Self::NotReady => "not_ready",
            Self::File => "file",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The codes with their names in JSON lines, for `--help`.
pub(crate) const TABLE: &str = "\
Exit codes (and the `kind` of an error in JSON lines):
  0    done
  1    other           something else went wrong on this side
  2    usage           a flag, a key=value, JSON or a handle cannot be read, or the input does not fit the
                       model's document; nothing was sent
  3    key             no key or login, or one that the service does not accept (401, 402, 403)
  4    refused         the service refused the request or the model its input (400, 404, 422, ...)
  5    failed          the job or the service failed (5xx), or has no room now (429)
  6    network         no answer; nothing was paid, or the job goes on and its handle is printed
  7    deadline        --deadline passed
  8    submit_unknown  the submit went out and its answer is lost: look before you repeat it
  9    not_ready       `result` without --wait, and the job has not completed
  10   file            a local file or folder cannot be read or written
  130  cancelled       Ctrl-C or SIGTERM, or the job was cancelled from elsewhere";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_whose_fault_they_are() {
        let of = |status, name: Option<&str>| {
            Exit::of_answer(status, name.map(ErrorType::new).as_ref()) as u8
        };
        for (status, expected) in [
            (401, 3),
            (402, 3),
            (403, 3),
            (400, 4),
            (404, 4),
            (422, 4),
            (429, 5),
            (500, 5),
            (504, 5),
        ] {
            assert_eq!(of(Some(status), None), expected, "{status}");
        }
        assert_eq!(of(Some(499), Some("client_cancelled")), 130);
        assert_eq!(of(None, Some("content_policy_violation")), 4);
        assert_eq!(of(None, Some("runner_server_error")), 5);
        assert_eq!(of(None, None), 5);
    }

    #[test]
    fn every_code_is_in_the_table() {
        for exit in [
            Exit::Other,
            Exit::Usage,
            Exit::Key,
            Exit::Refused,
            Exit::Failed,
            Exit::Network,
            Exit::Deadline,
            Exit::Unknown,
            Exit::NotReady,
            Exit::File,
            Exit::Cancelled,
        ] {
            let line = format!("\n  {:<4} {} ", exit as u8, exit.name());
            assert!(TABLE.contains(&line), "{line:?}");
            let row = format!("\n| {} | `{}` |", exit as u8, exit.name());
            assert!(include_str!("../README.md").contains(&row), "{row:?}");
        }
    }
}
