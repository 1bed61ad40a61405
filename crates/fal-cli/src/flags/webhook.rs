//! The flags of `webhook`.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::SEE_MORE;

/// What can be done with deliveries.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Verify a saved delivery with fal's keys and print it
    ///
    /// Exit code 0: it is from fal; 4: it is not, or not of now; 6: the keys are out of reach.
    #[command(after_help = SEE_MORE)]
    Verify(WebhookVerify),
    /// Receive deliveries, verify each and tell it
    ///
    /// Answers 200 to what is from fal, 401 to what is not, 503 when fal's keys are out of reach or a file
    /// cannot be written: then it comes again. fal calls public addresses only; a mock calls this machine.
    /// Ctrl-C ends it.
    #[command(after_help = SEE_MORE)]
    Listen(WebhookListen),
}

/// Flags of `webhook listen`.
#[derive(Debug, Args)]
pub(crate) struct WebhookListen {
    /// The port; 0 takes any free one, which is told
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,

    /// The interface; others than loopback let the network in
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) host: IpAddr,

    /// End after so many verified deliveries, duplicates not counted [default: Ctrl-C]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroU64>,

    /// Write every request here before it is answered, one file each, for `webhook verify --request`
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,
}

/// Flags of `webhook verify`.
#[derive(Debug, Args)]
pub(crate) struct WebhookVerify {
    /// The delivery in one file: the head of the request, an empty line, the body byte for byte
    #[arg(long, value_name = "FILE", conflicts_with_all = ["headers", "body"], required_unless_present = "headers")]
    pub(crate) request: Option<PathBuf>,

    /// The headers of the delivery: a file with one `Name: value` per line; other lines are passed over
    #[arg(long, value_name = "FILE", requires = "body")]
    pub(crate) headers: Option<PathBuf>,

    /// The body of the delivery, byte for byte
    #[arg(long, value_name = "FILE", requires = "headers")]
    pub(crate) body: Option<PathBuf>,

    /// Take it as if it had arrived when it was signed: a saved delivery is too old after five minutes
    #[arg(long)]
    pub(crate) any_age: bool,
}
