//! Our own client against the mock, through sockets.

mod calls;
mod custom;
mod endings;
mod files;
mod wire;
