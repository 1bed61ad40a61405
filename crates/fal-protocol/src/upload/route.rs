use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::InputError;

/// A way into fal's storage.
///
/// | Route | In one piece | In parts | Credentials on the content |
/// |---|---|---|---|
/// | `Initiate` | initiate, PUT | initiate, PUT per part, complete | none: the address is signed |
/// | `Gcs` | initiate, PUT | initiate, POST and PUT per part, complete | none |
/// | `Cdn` | token, POST | token, create, PUT per part, complete | the CDN's token |
///
/// As text: `initiate`, `gcs`, `cdn`.
///
/// Source: `storage.ts` of `@fal-ai/client` 1.10.1 (`Initiate`), `client.py` of `fal-client` 1.0.3 (`Cdn`, then
/// `Gcs`), `providers/fal.py` of fal's SDK (all three) (official client source).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Route {
    /// The REST host signs an address at the v3 store. The default: one credential less on the way, it works
    /// behind fal's stock proxies, and the official JavaScript client goes it.
    Initiate,
    /// The REST host signs an address at Google's store: the older way.
    Gcs,
    /// The REST host gives a token for the CDN, which takes the content.
    Cdn,
}

impl Route {
    /// The order of the official Python client: the CDN, and the older store when that fails.
    pub const CDN_THEN_GCS: [Self; 2] = [Self::Cdn, Self::Gcs];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiate => "initiate",
            Self::Gcs => "gcs",
            Self::Cdn => "cdn",
        }
    }

    /// Files of **more** bytes than this go in parts: 90 MiB by `Initiate`, 100 MiB by the others.
    ///
    /// Source: `storage.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3 and
    /// `providers/fal.py` of fal's SDK (official client source).
    #[must_use]
    pub const fn multipart_over(self) -> u64 {
        match self {
            Self::Initiate => 90 << 20,
            Self::Gcs | Self::Cdn => 100 << 20,
        }
    }

    /// The value of `storage_type` at the REST host.
    pub(super) const fn storage_type(self) -> &'static str {
        match self {
            Self::Initiate | Self::Cdn => "fal-cdn-v3",
            Self::Gcs => "gcs",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Route {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        [Self::Initiate, Self::Gcs, Self::Cdn]
            .into_iter()
            .find(|route| route.as_str() == text)
            .ok_or_else(|| InputError::option("route", "it is initiate, gcs or cdn"))
    }
}
