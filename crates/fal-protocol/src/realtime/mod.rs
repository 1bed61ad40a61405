//! Realtime: inputs and outputs over one WebSocket, for models that answer in milliseconds. Behind the
//! feature `realtime`.
//!
//! [`Session`] is the machine; [`Frame`] says what a message means, [`encode`] and [`decode`] turn
//! types into msgpack and back, and [`Value`] is any message as a tree.

mod codec;
mod config;
mod event;
mod frame;
mod session;
mod value;
mod wanted;

pub use codec::{DEPTH_MAX, DecodeError, decode, encode};
pub use config::{
    Auth, CLOSE_TIMEOUT_DEFAULT, Config, HANDSHAKE_TIMEOUT_DEFAULT, MAX_BUFFERING_MAX,
    MAX_BUFFERING_MIN, QUEUE_MESSAGES_DEFAULT, Queue, handshake, target,
};
pub use event::{Closed, Ended, Event, Traffic, WhyDropped};
pub use frame::{Frame, Meta};
pub use session::Session;
pub use value::{VALUES_MAX, Value};
