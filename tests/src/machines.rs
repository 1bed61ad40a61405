//! Plays machine vectors against the machines of `fal-protocol`.

mod config;
mod describe;
mod play;

pub use play::run;
