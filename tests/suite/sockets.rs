//! Our client over WebSockets, with services that do what a test says.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod mock;
mod realtime;
mod refusals;
mod ws;
