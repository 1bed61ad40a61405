//! The mock through real sockets: doors, TLS, tunnels, streams, ranges, refusals, limits, stopping.

mod backends;
mod client;
mod control;
mod documents;
mod doors;
mod equal;
mod events;
mod exchanges;
mod exec;
mod faults;
#[path = "../../../tests/suite/schema/figures.rs"]
mod figures;
mod helpers;
mod inputs;
mod kill;
mod media;
mod packages;
mod platform;
mod process;
mod programs;
mod record;
mod scenarios;
mod secure;
mod sockets;
mod state;
mod storage;
mod tenants;
mod tls;
mod tunnel;
mod webhook;

use fal_mock::MockFal;

/// A mock whose jobs complete at once.
async fn instant() -> MockFal {
    MockFal::builder().instant().start().await.expect("a free port")
}
