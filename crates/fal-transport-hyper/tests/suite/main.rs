//! The transport against real sockets: hand-written peers that say exactly these bytes.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod answers;
mod hazards;
mod phases;
mod pool;
mod proxy;
mod support;
mod tls;
mod upload;
#[cfg(feature = "websocket")]
mod websocket;
