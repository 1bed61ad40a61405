//! Plays machine vectors against the machines of `fal-protocol`.

mod config;
mod describe;
mod message;
mod options;
mod play;

pub use describe::denied;
pub use play::run;
