//! Programs that shall reach a mock and believe that it is fal, under a mock of their own or under one that
//! runs; and scenarios, before anything runs.

mod ask;
mod check;
mod env;
mod exec;
mod live;
#[cfg(feature = "manual")]
mod manual;
mod signals;
mod watch;

pub(crate) use check::{Check, check};
pub(crate) use env::{Env, env};
pub(crate) use exec::{Exec, exec};
pub(crate) use live::{Live, live};
#[cfg(feature = "manual")]
pub(crate) use manual::manual;
pub(crate) use watch::watch;
