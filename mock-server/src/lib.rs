#![doc = include_str!("../README.md")]

mod admin;
mod cassette;
mod doors;
mod duration;
pub mod environment;
mod http;
mod load;
mod mock;
pub mod model;
mod page;
mod record;
mod render;
mod replay;
pub mod scenario;
mod state;
mod tenant;
mod tls;
mod world;

pub use self::http::Refused;
pub use duration::parse_duration;
pub use load::Source;
pub use mock::{Builder, MockFal};
pub use record::{RECORD_CALLS_MAX, RECORD_UNKNOWN_COST, Record, Recorded};
pub use replay::{ParseReplayError, Replay, ReplayMatch, ReplayTiming};
pub use tenant::{Clock, ClockView, Tenant};
pub use tls::data_dir;
pub use world::{
    ClockMode, SCALE_MAX, SCALE_MIN, Seen, Settings, TENANT_IDLE_MAX, TENANTS_KEPT_IDLE,
    TENANTS_MAX, TenantError, TenantView,
};

/// Tests move mocks between tasks and share them.
const _: () = {
    const fn is_shareable<T: Send + Sync>() {}
    is_shareable::<MockFal>();
    is_shareable::<model::Model>();
    is_shareable::<Tenant>();
};
