//! The workspace's own tests across crates.

mod back_end;
mod client;
mod corpus;
mod gallery;
mod js_client;
mod js_realtime;
mod machines;
mod methods;
mod odd_http;
mod page;
mod py_client;
mod readme;
mod recordings;
mod schema;
mod simulation;
mod sockets;
mod support;
mod vectors;
