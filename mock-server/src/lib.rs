#![doc = include_str!("../README.md")]

mod doors;
mod http;
mod mock;
pub mod model;
mod render;

pub use self::http::Seen;
pub use mock::{Builder, MockFal};
