#![doc = include_str!("../README.md")]

mod doors;
mod http;
mod load;
mod mock;
pub mod model;
mod render;

pub use self::http::Seen;
pub use load::Source;
pub use mock::{Builder, MockFal};

/// Tests move mocks between tasks and share them.
const _: () = {
    const fn is_shareable<T: Send + Sync>() {}
    is_shareable::<MockFal>();
    is_shareable::<model::Model>();
};
