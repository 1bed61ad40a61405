#![doc = include_str!("../README.md")]

mod body;
mod chunks;
mod config;
mod connect;
mod error;
mod exchange;
mod http1;
mod http2;
mod idle;
mod io;
mod origin;
mod pool;
mod source;
mod tls;
mod transport;
#[cfg(feature = "websocket")]
mod websocket;

pub use chunks::Chunks;
pub use config::Config;
pub use error::TransportError;
pub use exchange::{Answer, Exchange, OnSent};
pub use source::{BlockFuture, ReadAt, Source};
pub use transport::Transport;
#[cfg(feature = "websocket")]
pub use websocket::{Upgrade, WebSocket};
