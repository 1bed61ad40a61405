//! Flags about what the platform is asked for.

use clap::{Args, ValueEnum};
use fal_client::{Acl, Expires, InputError, PLATFORM_ATTEMPTS_MAX, RetryBudgets};

/// What every call may ask of the platform.
#[derive(Debug, Args)]
pub(crate) struct Platform {
    /// Whether input and output are kept in the account's history [default: as the account says]
    #[arg(long, value_name = "on|off")]
    pub(crate) store_io: Option<Switch>,

    /// When the files of the result vanish: seconds, immediate, 1h, 1d, 7d, 30d, 1y, never (as the account
    /// says) or unlimited
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<Expires>,

    /// Who may read the files of the result: allow, forbid or hide, with exceptions, such as forbid,acme=allow
    #[arg(long, value_name = "WHO", value_parser = acl)]
    pub(crate) acl: Option<Acl>,

    /// Let no other model answer when this one fails
    #[arg(long)]
    pub(crate) no_fallback: bool,

    /// Keep this tag with the request; up to 10
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// Reads `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give it as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads a tag, and refuses what the service would drop.
fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = pair(text)?;
    fal_client::Tags::default().insert(&key, &value).map_err(|error| error.to_string())?;
    Ok((key, value))
}

/// Reads `server_error=2`.
pub(super) fn budget(text: &str) -> Result<(String, u8), String> {
    let (condition, attempts) = pair(text)?;
    let attempts = attempts.parse().ok().filter(|attempts| *attempts <= PLATFORM_ATTEMPTS_MAX);
    let attempts = attempts.ok_or("the number is from 0 to 10")?;
    let mut budgets = RetryBudgets::default();
    budgets.set(&condition, attempts).map_err(|error| error.to_string())?;
    Ok((condition, attempts))
}

/// Reads `forbid` and `forbid,acme=allow`.
fn acl(text: &str) -> Result<Acl, String> {
    let decision = |text: &str| text.parse().map_err(|error: InputError| error.to_string());
    let mut parts = text.split(',');
    let mut acl = Acl::new(decision(parts.next().unwrap_or_default())?);
    for part in parts {
        let (user, word) = pair(part)?;
        acl = acl.rule(user, decision(&word)?);
    }
    let lifecycle = fal_client::Lifecycle::default().acl(acl.clone());
    lifecycle.header().map(|_| acl).map_err(|error| error.to_string())
}
