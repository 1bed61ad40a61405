#![doc = include_str!("../README.md")]

mod doors;
pub mod environment;
mod http;
mod load;
mod mock;
pub mod model;
mod render;
mod tls;

pub use self::http::{Refused, Seen};
pub use load::Source;
pub use mock::{Builder, MockFal};
pub use tls::data_dir;

/// Tests move mocks between tasks and share them.
const _: () = {
    const fn is_shareable<T: Send + Sync>() {}
    is_shareable::<MockFal>();
    is_shareable::<model::Model>();
};
