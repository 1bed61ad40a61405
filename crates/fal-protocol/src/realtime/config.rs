use std::time::Duration;

use http::{Method, header};

use crate::EndpointId;
use crate::error::InputError;
use crate::hosts::Host;
use crate::settings::Settings;
use crate::token::{self, TOKEN_LIFETIME_DEFAULT, Token};
use crate::wire::{Expect, Request};

/// What a [`Session`](super::Session) connects to, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The endpoint, with or without `/realtime` at its end.
    pub endpoint: EndpointId,
    /// What follows the id in the address, instead of `/realtime`; see [`target`]. Default none.
    pub path: Option<Box<str>>,
    /// How the connection is allowed. Default: a token that the machine asks for.
    pub auth: Auth,
    /// What becomes of messages that cannot be sent yet. Default [`Queue::Latest`].
    pub queue: Queue,
    /// Sends at most one message in this time: the first at once, then always the newest. Default none.
    ///
    /// Precedent: the JS client, which has 128 ms unless it is told otherwise.
    pub throttle: Option<Duration>,
    /// How many inputs the service keeps before it drops the oldest: [`MAX_BUFFERING_MIN`] to
    /// [`MAX_BUFFERING_MAX`]. Default none: the app decides. fal recommends 2.
    ///
    /// Source: `realtime.ts` of `@fal-ai/client` 1.10.1 (official client source).
    pub max_buffering: Option<u8>,
    /// Asks for a new token after 90 % of the lifetime of the one in use, and connects again with the
    /// one at hand. Default false: a new token for each connection.
    ///
    /// The JS client refreshes always, and then drops the token with the connection, so that none of
    /// these tokens is ever used.
    pub refresh: bool,
    /// Longest wait for the answer to a handshake. Default [`HANDSHAKE_TIMEOUT_DEFAULT`].
    pub handshake_timeout: Duration,
    /// Longest wait for the peer's close. Default [`CLOSE_TIMEOUT_DEFAULT`].
    pub close_timeout: Duration,
    /// Longest message taken. Default [`Settings::result_bytes_max`].
    pub message_bytes_max: Option<usize>,
}

impl Config {
    /// A session with the defaults of all.
    #[must_use]
    pub const fn new(endpoint: EndpointId) -> Self {
        Self {
            endpoint,
            path: None,
            auth: Auth::Token { lifetime: TOKEN_LIFETIME_DEFAULT, route: token::Route::Both },
            queue: Queue::Latest,
            throttle: None,
            max_buffering: None,
            refresh: false,
            handshake_timeout: HANDSHAKE_TIMEOUT_DEFAULT,
            close_timeout: CLOSE_TIMEOUT_DEFAULT,
            message_bytes_max: None,
        }
    }
}

/// How a connection is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// A short-lived token that the machine asks the service for, in the address.
    Token {
        /// How long it is valid.
        lifetime: Duration,
        /// How it is asked for.
        route: token::Route,
    },
    /// A token that somebody else has: [`Event::TokenWanted`](super::Event::TokenWanted) is answered by
    /// [`handle_token`](super::Session::handle_token).
    Provided {
        /// How long it is valid; `None` if nobody knows, so that it is never refreshed.
        lifetime: Option<Duration>,
    },
    /// The credentials themselves in a header, as every other request has them. For servers alone.
    ///
    /// Source: `client.py` of `fal-client` 1.0.3, `use_jwt=False` (official client source).
    Header,
}

impl Auth {
    /// How long a token is valid, if that is known and there is one.
    pub(super) const fn lifetime(&self) -> Option<Duration> {
        match self {
            Self::Token { lifetime, .. } => Some(*lifetime),
            Self::Provided { lifetime } => *lifetime,
            Self::Header => None,
        }
    }
}

/// What becomes of messages that cannot be sent yet. Whatever is dropped is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Queue {
    /// Only the newest is kept: for frames of a camera, where the last one counts.
    ///
    /// Precedent: the official clients that queue at all.
    Latest,
    /// All are kept, in order. One beyond the limit is dropped.
    All {
        /// Most messages kept; at least one.
        messages_max: usize,
    },
}

impl Queue {
    /// How many messages are kept.
    pub(super) fn room(self) -> usize {
        match self {
            Self::Latest => 1,
            Self::All { messages_max } => messages_max.max(1),
        }
    }
}

/// The path that a connection leads to: the id and `/realtime`, which is not doubled.
///
/// A path of one's own takes the place of `/realtime`: slashes before it are dropped, an empty one adds
/// nothing, and one that the id already ends with is added all the same.
///
/// ```
/// use fal_protocol::realtime::target;
///
/// let path = |id: &str, path| target(&id.parse()?, path).map(|target| target.to_string());
/// assert_eq!(path("fal-ai/fast-sdxl", None)?, "fal-ai/fast-sdxl/realtime");
/// assert_eq!(path("fal-ai/flux-2/klein/realtime", None)?, "fal-ai/flux-2/klein/realtime");
/// assert_eq!(path("123-app", Some("//ws"))?, "123/app/ws");
/// assert_eq!(path("acme/app", Some(""))?, "acme/app");
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
///
/// # Errors
/// [`InputError::EndpointId`] when the whole is none: a path has the segments of an id.
///
/// Source: `realtime.ts` and `utils.ts` of `@fal-ai/client` 1.10.1 (official client source). The
/// Python client appends `/realtime` always, which breaks the ids of the catalogue that end so.
pub fn target(endpoint: &EndpointId, path: Option<&str>) -> Result<EndpointId, InputError> {
    endpoint.join(match path {
        Some(path) => path,
        None if endpoint.path().is_some_and(|p| p == REALTIME || p.ends_with("/realtime")) => "",
        None => REALTIME,
    })
}

/// The handshake of a connection to this target: with the token if there is one, else with the
/// credentials.
///
/// # Errors
/// [`InputError::Option`] for a `max_buffering` outside of its range, and [`InputError::Address`] when
/// the whole is longer than an address can be.
pub fn handshake(
    settings: &Settings,
    target: &EndpointId,
    token: Option<&Token>,
    max_buffering: Option<u8>,
    message_bytes_max: usize,
) -> Result<Request, InputError> {
    let buffering = max_buffering.map(check_buffering).transpose()?.map(|n| n.to_string());
    let mut query = Vec::new();
    query.extend(token.map(|token| ("fal_jwt_token", token.as_str())));
    query.extend(buffering.as_deref().map(|number| ("max_buffering", number)));
    let uri = settings.hosts.uri(Host::Run, target.as_str(), &query)?;
    let request =
        Request::new(Method::GET, uri).with_expect(Expect::WebSocket { message_bytes_max });
    Ok(match token {
        // Who has a token needs to show no key.
        Some(_) => request.with_header(header::USER_AGENT, settings.user_agent.clone()),
        None => settings.sign(request),
    })
}

pub(super) fn check_buffering(number: u8) -> Result<u8, InputError> {
    if (MAX_BUFFERING_MIN..=MAX_BUFFERING_MAX).contains(&number) {
        return Ok(number);
    }
    let problem = format!("{number} is not from {MAX_BUFFERING_MIN} to {MAX_BUFFERING_MAX}");
    Err(InputError::option("max_buffering", problem))
}

const REALTIME: &str = "realtime";

/// Smallest `max_buffering`.
pub const MAX_BUFFERING_MIN: u8 = 1;
/// Largest `max_buffering`.
pub const MAX_BUFFERING_MAX: u8 = 60;

/// Longest wait for the answer to a handshake: 90 s, because a runner may have to start first.
///
/// Precedent: the Python client. The raw sockets of newer JS clients have 15 s.
pub const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(90);

/// Longest wait for the peer's close: 5 s.
pub const CLOSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// A good limit for [`Queue::All`]: 64 messages.
pub const QUEUE_MESSAGES_DEFAULT: usize = 64;
