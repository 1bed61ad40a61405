//! Our client against servers, proxies and networks that misbehave.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod answers;
mod connections;
mod redirects;
mod streams;
