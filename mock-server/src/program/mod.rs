//! Programs that shall reach a mock and believe that it is fal: under a mock of their own, or under one that
//! runs.

mod env;
mod exec;
mod signals;

pub(crate) use env::{Env, env};
pub(crate) use exec::{Exec, exec};
