use std::time::{Instant, SystemTime};

use http::HeaderMap;

use super::plan::PART_BYTES_DEFAULT;
use super::route::Route;
use super::token::CdnToken;
use crate::error::InputError;
use crate::lifecycle::Lifecycle;
use crate::wire::Body;

/// What to upload, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name that the file gets, such as `pose.png`.
    pub file_name: String,
    /// Its media type, such as `image/png`.
    pub content_type: String,
    /// Its content: bytes, or a range of what the shell can read.
    pub body: Body,
    /// How long it lives and who may read it. Default: as the account says.
    pub lifecycle: Option<Lifecycle>,
    /// The ways to go, each one after those before it have failed for good. Default [`Route::Initiate`] alone,
    /// as the official JavaScript client; [`Route::CDN_THEN_GCS`] is the order of the Python client.
    ///
    /// Unlike there, everything that a route does is part of it: the call for a token, and parts.
    pub routes: Vec<Route>,
    /// Files of **more** bytes than this go in parts. Default [`Route::multipart_over`].
    pub multipart_over: Option<u64>,
    /// Bytes of a part, 1 or more. Default [`PART_BYTES_DEFAULT`]. Stores of the S3 family want 5 MiB or more
    /// (inferred); the largest files get larger parts, see [`Plan::new`](super::Plan::new).
    pub part_bytes: u64,
    /// Parts under way at once, 1 to [`PARALLEL_MAX`]. Default [`PARALLEL_DEFAULT`].
    pub parallel: usize,
    /// The time of day at the start. Without it nobody knows whether a token is still good: one at hand is not
    /// used, and none is renewed on the way. Default none.
    pub wall: Option<SystemTime>,
    /// The token that an earlier upload left in [`Upload::token`](super::Upload::token). Default none.
    pub token: Option<CdnToken>,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Config {
    /// This file, without a deadline, everything else as usual.
    #[must_use]
    pub fn new(file_name: impl Into<String>, content_type: impl Into<String>, body: Body) -> Self {
        Self {
            file_name: file_name.into(),
            content_type: content_type.into(),
            body,
            lifecycle: None,
            routes: vec![Route::Initiate],
            multipart_over: None,
            part_bytes: PART_BYTES_DEFAULT,
            parallel: PARALLEL_DEFAULT,
            wall: None,
            token: None,
            deadline: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), InputError> {
        if self.routes.is_empty() {
            return Err(InputError::option("route", "there is none"));
        }
        if self.part_bytes == 0 {
            return Err(InputError::option("part size", "a part has at least one byte"));
        }
        if !(1..=PARALLEL_MAX).contains(&self.parallel) {
            let problem = format_args!("1 to {PARALLEL_MAX} can go out at once");
            return Err(InputError::option("parallel parts", problem));
        }
        Ok(())
    }

    /// Both names of the lifecycle header, or none.
    pub(super) fn lifecycle_headers(&self) -> Result<HeaderMap, InputError> {
        self.lifecycle.as_ref().map_or_else(|| Ok(HeaderMap::new()), Lifecycle::upload_headers)
    }
}

/// Parts under way at once, unless told otherwise: 4.
///
/// The JavaScript client sends one at a time, the Python client ten (official client source). Four fill most
/// lines, and leave each part the time that it needs.
pub const PARALLEL_DEFAULT: usize = 4;

/// Most parts under way at once: 32.
pub const PARALLEL_MAX: usize = 32;
