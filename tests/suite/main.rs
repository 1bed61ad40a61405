//! The workspace's own tests across crates.

mod client;
mod js_client;
mod odd_http;
mod readme;
mod support;
mod vectors;
