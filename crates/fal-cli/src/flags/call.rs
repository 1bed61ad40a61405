//! The flags of calls that take an input.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::platform::{Platform, budget, pair};
use super::{SEE_MORE, duration, header};
use crate::command_line::Token;
use crate::input;

/// Flags of `run`.
#[derive(Debug, Args)]
#[command(after_long_help = input::HELP, after_help = SEE_MORE)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) call: Call,

    /// Save every media file of the result here; nothing is ever overwritten
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Give up after this time, such as 90s, 10m or 2h [default: 24h; 61m with --direct and --ws]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    /// What becomes of the job at the deadline
    #[arg(long, value_name = "WHAT", default_value = "cancel", conflicts_with_all = ["direct", "ws"])]
    pub(crate) on_deadline: OnDeadline,

    /// Run without the queue: one request, no handle, no way to come back; for models that take seconds
    #[arg(long, conflicts_with_all = ["priority", "webhook", "no_retry", "retries", "poll", "no_logs"])]
    pub(crate) direct: bool,

    /// As --direct, but over a WebSocket, wss://ws.fal.run: it carries the input, and no option of the platform
    /// and no header
    #[arg(long, conflicts_with_all = NOT_OVER_WS)]
    pub(crate) ws: bool,

    /// Do not ask for the model's log lines
    #[arg(long)]
    pub(crate) no_logs: bool,

    /// Poll the status instead of streaming it
    #[arg(long)]
    pub(crate) poll: bool,
}

/// Flags of `stream`.
#[derive(Debug, Args)]
#[command(after_long_help = input::HELP, after_help = SEE_MORE)]
pub(crate) struct Stream {
    #[command(flatten)]
    pub(crate) given: Given,

    /// Write what comes to this new file too: raw bytes as they are, events as lines of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Give up after this time, such as 90s, 10m or 2h [default: 61m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    /// Give up when nothing comes for so long once the stream has begun [default: the deadline alone]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// The HTTP method; a GET carries no input but --query
    #[arg(long, value_name = "NAME", default_value = "POST")]
    pub(crate) method: http::Method,

    /// Add a parameter to the query
    #[arg(long = "query", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) query: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) platform: Platform,

    /// Send a header of your own; not for secrets, flags are visible to other users
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
}

/// Flags of `submit`.
#[derive(Debug, Args)]
#[command(after_long_help = input::HELP, after_help = SEE_MORE)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) call: Call,
}

/// What run and submit send.
#[derive(Debug, Args)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) given: Given,

    /// `low` waits behind every other request of the model
    #[arg(long, value_name = "WHICH")]
    pub(crate) priority: Option<Priority>,

    /// Prefer runners that advertise this hint
    #[arg(long, value_name = "TEXT")]
    pub(crate) hint: Option<String>,

    /// Fail if no runner has started by then; the run itself is not bounded
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) start_timeout: Option<Duration>,

    /// Have the service call this address on completion
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,

    /// Have the platform repeat nothing when an attempt fails
    #[arg(long, conflicts_with = "retries")]
    pub(crate) no_retry: bool,

    /// Have the platform repeat so often: server_error=N, timeout=N or connection_error=N, up to 10; for apps
    /// of your own
    #[arg(long = "retry", value_name = "WHEN=N", value_parser = budget)]
    pub(crate) retries: Vec<(String, u8)>,

    #[command(flatten)]
    pub(crate) platform: Platform,

    /// Send a header of your own; not for secrets, flags are visible to other users
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
}

/// The model and its input.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// The model, such as fal-ai/flux/dev
    pub(crate) endpoint: String,

    /// Its input: --name VALUE as `fal-cli COMMAND MODEL --help` tells; key=value, key:=JSON, key@file as --help does
    #[arg(value_name = "INPUT")]
    pub(crate) fields: Vec<String>,

    /// The input as JSON: a file's name, @file, - for stdin, or the JSON itself; fields are added to it
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,

    /// Take the model's document from this file or folder, not from the service [env: FAL_SCHEMA]
    #[arg(long, value_name = "PATH")]
    pub(crate) schema: Option<PathBuf>,

    /// Send the input whatever the model's document says of it
    #[arg(long)]
    pub(crate) no_check: bool,

    /// What the command line has beside the flags of this program.
    #[arg(skip)]
    pub(crate) rest: Vec<Token>,

    /// Whether the model's inputs are asked for.
    #[arg(skip)]
    pub(crate) wants_help: bool,
}

/// What a run over a WebSocket cannot carry, or has no queue for.
const NOT_OVER_WS: [&str; 15] = [
    "direct",
    "priority",
    "hint",
    "start_timeout",
    "webhook",
    "no_retry",
    "retries",
    "poll",
    "no_logs",
    "store_io",
    "expires",
    "acl",
    "no_fallback",
    "tags",
    "headers",
];

/// What becomes of a job at the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDeadline {
    /// The service is asked to cancel it
    Cancel,
    /// It goes on; its handle is printed
    Leave,
}

/// Order among the waiting jobs of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Priority {
    /// The default of the service
    Normal,
    /// Behind every other
    Low,
}
