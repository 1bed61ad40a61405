//! The real binary against a mock in this process.

mod catalog;
mod demo;
mod first_input;
mod inputs;
mod jobs;
mod listen;
mod platform;
mod problems;
mod proxy;
mod proxy_js;
mod realtime;
mod realtime_mock;
mod run;
mod run_ws;
mod service;
mod stop;
mod stream;
mod support;
mod upload;
mod webhook;
