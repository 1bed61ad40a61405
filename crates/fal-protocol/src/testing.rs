//! One harness for all machines: it plays scripts of inputs and holds each machine to its contract.

mod cases;
mod driver;
mod machines;
mod promises;
mod properties;
mod script;
mod service;
#[cfg(feature = "realtime")]
mod session;
mod tables;
mod uploads;
mod ws;

pub(crate) use driver::epoch;
