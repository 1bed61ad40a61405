//! Our own client against the mock, through sockets.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod callers;
mod calls;
mod custom;
mod endings;
mod files;
mod model;
mod platform;
mod proxy;
mod realtime;
mod streams;
mod typed;
mod uploads;
mod wire;
mod workflows;
