//! Plays machine vectors against the machines of `fal-protocol`.

mod config;
mod describe;
mod message;
mod play;

pub use play::run;
