#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod __fuzz;
pub mod answer;
pub mod auth;
mod call;
#[cfg(feature = "data-uri")]
pub mod data_uri;
pub mod endpoint;
pub mod error;
pub mod headers;
pub mod hosts;
pub mod lifecycle;
pub mod machine;
pub mod media;
pub mod options;
pub mod platform;
pub mod proxy;
pub mod queue;
pub mod rand;
#[cfg(feature = "realtime")]
pub mod realtime;
pub mod retry;
pub mod run;
pub mod schema;
pub mod settings;
mod solo;
pub mod sse;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod token;
pub mod upload;
#[cfg(feature = "webhook")]
pub mod webhook;
pub mod wire;
pub mod ws;

pub use answer::Answer;
pub use auth::{Credentials, Key};
pub use endpoint::EndpointId;
pub use error::{ApiError, Error, ErrorKind, InputError, ProtocolError};
pub use hosts::Hosts;
pub use machine::Output;
pub use settings::Settings;
pub use token::Token;
