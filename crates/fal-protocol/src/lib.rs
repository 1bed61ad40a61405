#![doc = include_str!("../README.md")]

pub mod auth;
pub mod endpoint;
pub mod error;
pub mod headers;
pub mod queue;
pub mod rand;
pub mod wire;

pub use auth::{Credentials, Key};
pub use endpoint::EndpointId;
pub use error::{ApiError, Error, ErrorKind, InputError, ProtocolError};
