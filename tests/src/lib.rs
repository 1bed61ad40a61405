//! What a fal.ai client, gateway or server must do, as data and as tests.

pub mod machines;
pub mod sim;
pub mod vectors;

/// The blocks of the root README, as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
