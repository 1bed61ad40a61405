#![doc = include_str!("../README.md")]

mod client;
mod content_type;
mod credentials;
mod download;
mod drive;
mod environment;
mod error;
mod event;
mod files;
#[cfg(feature = "hyper")]
mod hyper;
mod input;
#[cfg(feature = "login")]
pub mod login;
mod machines;
pub mod model;
mod output;
mod plan;
pub mod platform;
mod prepare;
mod proxy;
mod queue;
#[cfg(feature = "realtime")]
pub mod realtime;
mod run;
#[cfg(feature = "realtime")]
mod socket;
mod stream;
mod subscribe;
mod token;
pub mod transport;
pub mod typed;
mod upload;
#[cfg(feature = "webhook")]
pub mod webhook;
mod workflow;
#[cfg(feature = "realtime")]
pub mod ws;

pub use client::{Builder, Client};
pub use credentials::{CredentialsError, CredentialsProvider};
pub use download::{DOWNLOAD_BYTES_MAX, DOWNLOAD_DEADLINE_DEFAULT, Download};
pub use error::{DecodeError, Error};
pub use event::Event;
pub use fal_protocol::stream::workflow::WorkflowEvent;
pub use files::MediaFile;
pub use input::{FileInput, Input, IntoInput};
pub use model::Model;
pub use output::Output;
pub use proxy::ProxyConfig;
pub use queue::{IntoHandle, Queue, STEP_DEADLINE_DEFAULT, Submit, Watch};
pub use run::{RUN_DEADLINE_DEFAULT, Run};
pub use stream::{StreamItem, StreamRun, Streaming};
pub use subscribe::{DEADLINE_DEFAULT, Subscribe, Subscription};
pub use token::{TOKEN_DEADLINE_DEFAULT, TokenRequest};
pub use upload::{UPLOAD_DEADLINE_DEFAULT, Upload, UploadSource, Uploading};
pub use workflow::Workflow;

pub use fal_protocol::error::{
    Aftermath, ApiError, Denied, ErrorKind, ErrorType, FieldError, InputError, ProtocolError,
};
pub use fal_protocol::hosts::{Host, Hosts};
pub use fal_protocol::lifecycle::{Acl, Decision, Expires, Lifecycle};
pub use fal_protocol::media;
pub use fal_protocol::options::{
    PLATFORM_ATTEMPTS_MAX, PlatformRetries, Priority, RetryBudgets, Tags,
};
pub use fal_protocol::queue::{
    CancelOutcome, Completed, Handle, LogLine, OnDeadline, State, Status,
};
pub use fal_protocol::retry::RetryPolicy;
pub use fal_protocol::token::{Route as TokenRoute, Token};
pub use fal_protocol::upload::{
    PARALLEL_DEFAULT, PARALLEL_MAX, PART_BYTES_DEFAULT, PARTS_MAX, Route, STATE_BYTES_MAX,
    UploadState,
};
pub use fal_protocol::wire::{Failure, FailureKind, Phase, Sent};
pub use fal_protocol::{Credentials, EndpointId, Key};
