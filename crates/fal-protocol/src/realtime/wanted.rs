//! What a session without a usable token waits for.

use std::time::Instant;

use crate::token::Mint;
use crate::wire::ExchangeId;

/// A token that is asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    Mint(Box<Mint>),
    Provider { id: ExchangeId, until: Option<Instant> },
}

impl Wanted {
    pub(super) fn is_provider(&self, wanted: ExchangeId) -> bool {
        matches!(self, Self::Provider { id, .. } if *id == wanted)
    }

    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Mint(mint) => mint.solo.until(),
            Self::Provider { until, .. } => *until,
        }
    }
}
