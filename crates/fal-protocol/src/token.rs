//! Machine: a short-lived token, with which a browser or a WebSocket may call some apps and no others.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(Token)` |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal | Asking, Resting, Over | a 404 or 405 is asked by the older route, else as [`crate::retry`] says |
//! | Asking | failure, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |
//!
//! What is sent and answered:
//!
//! | Route | Request | Answer |
//! |---|---|---|
//! | [`Realtime`](Route::Realtime) | `POST /tokens/realtime`, `{"allowed_apps":["owner/app/realtime"],"duration":120}` | `{"token":"…"}` |
//! | [`Alias`](Route::Alias) | `POST /tokens/`, `{"allowed_apps":["app"],"token_expiration":120}` | `"…"` |
//!
//! Each route's answer is understood on the other too, and so are `{"detail":"…"}`, which old proxies
//! made of it, and the bare text.
//!
//! Source: `auth.ts` of `@fal-ai/client` 1.10.1 and `client.py` of `fal-client` 1.0.3 (official client
//! source) for the second; docs.fal.ai, real-time pages (documented) for the first.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::EndpointId;
use crate::call::{Call, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError, ProtocolError};
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Reading, Solo, solo_methods};
use crate::wire::Response;

/// A token that stands in for a key: a short-lived one of this machine, or one of a login. Prints as `***`.
///
/// It is said to be a JWT; what is in it is not published, and nobody here looks.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Takes a token; white space around it is dropped.
    ///
    /// # Errors
    /// [`InputError::Option`] when it is empty, longer than [`TOKEN_BYTES_MAX`] or no visible ASCII. The
    /// error does not show it.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        Self::check(text).map_err(|problem| InputError::option("token", problem))
    }

    fn check(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            return Err("it has a character that no token has");
        }
        Ok(Self(text.into()))
    }

    /// The text: a secret as long as it is valid.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a token is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// [`Realtime`](Self::Realtime), and [`Alias`](Self::Alias) where the service does not know that
    /// (404 or 405).
    #[default]
    Both,
    /// The route of the newer documentation: apps by their full path.
    Realtime,
    /// The route of the official clients: apps by their alias alone.
    Alias,
}

/// What token to ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What it may call: `owner/alias`, with a path or without; 1 to [`TOKEN_APPS_MAX`].
    pub apps: Vec<EndpointId>,
    /// How long it is valid, in whole seconds, rounded up; at least [`TOKEN_LIFETIME_MIN`]. Default 120 s, as the official
    /// clients. Which lifetimes the service allows is not published.
    pub lifetime: Duration,
    /// How it is asked for.
    pub route: Route,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Config {
    /// A token for these apps, without a deadline.
    #[must_use]
    pub const fn new(apps: Vec<EndpointId>) -> Self {
        Self { apps, lifetime: TOKEN_LIFETIME_DEFAULT, route: Route::Both, deadline: None }
    }
}

/// Asks for one token. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
///
/// It needs the account's key, so it belongs on a server; what comes out may go to a browser.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Mint {
    pub(crate) solo: Solo<Minting>,
}

impl Mint {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError::Option`] without apps, with too many, or with too short a lifetime.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: Config,
    ) -> Result<Self, InputError> {
        Self::begin(now, seed, settings, &config, Ids::default())
    }

    /// The same for a machine that has sent something before.
    pub(crate) fn begin(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: &Config,
        ids: Ids,
    ) -> Result<Self, InputError> {
        if config.apps.is_empty() || config.apps.len() > TOKEN_APPS_MAX {
            let problem = format!("a token is for 1 to {TOKEN_APPS_MAX} apps");
            return Err(InputError::option("apps", problem));
        }
        check_lifetime(config.lifetime)?;
        let (deadline, route) = (config.deadline, config.route);
        let call = |route| -> Result<Call, InputError> {
            let request = request(settings, config, route)?;
            Ok(Call::new(settings, Purpose::Token, request, seed, deadline))
        };
        let (first, older) = match route {
            Route::Alias => (call(Route::Alias)?, None),
            Route::Realtime => (call(Route::Realtime)?, None),
            Route::Both => (call(Route::Realtime)?, Some(Box::new(call(Route::Alias)?))),
        };
        Ok(Self { solo: Solo::begin(now, Minting { older }, first, deadline, ids) })
    }

    solo_methods!(AttemptFailed, Token);
}

/// What differs from other machines of one call.
#[derive(Debug)]
pub(crate) struct Minting {
    /// The call by the other route, as long as it may still be needed.
    older: Option<Box<Call>>,
}

impl Kind for Minting {
    type Event = AttemptFailed;
    type Done = Token;

    fn intercept(&mut self, response: &Response) -> Option<Reading<AttemptFailed, Token>> {
        let is_unknown = matches!(response.status().as_u16(), 404 | 405);
        if is_unknown { self.older.take().map(Reading::Instead) } else { None }
    }

    fn read(
        &mut self,
        response: Response,
        _: &mut Out<AttemptFailed, Token>,
    ) -> Result<Token, Error> {
        read(response.body()).map_err(|problem| {
            let (expected, problem) = ("a token", problem.into());
            // What came may hold one in a form that is not understood.
            let excerpt = "(not shown)".into();
            ErrorKind::Protocol(ProtocolError::Body { expected, problem, excerpt }).into()
        })
    }

    fn aftermath(&self, _: &Call) -> Aftermath {
        Aftermath::NothingSubmitted
    }
}

fn request(
    settings: &Settings,
    config: &Config,
    route: Route,
) -> Result<crate::wire::Request, InputError> {
    let seconds = config.lifetime.as_secs() + u64::from(config.lifetime.subsec_nanos() > 0);
    let (path, body) = match route {
        Route::Alias => {
            let apps: Vec<&str> = config.apps.iter().map(EndpointId::alias).collect();
            ("tokens/", json!({ "allowed_apps": apps, "token_expiration": seconds }))
        }
        _ => {
            let apps: Vec<&str> = config.apps.iter().map(EndpointId::as_str).collect();
            ("tokens/realtime", json!({ "allowed_apps": apps, "duration": seconds }))
        }
    };
    let uri = settings.hosts.uri(Host::Rest, path, &[])?;
    let body = Bytes::from(body.to_string());
    Ok(json_request(settings, Method::POST, uri, HeaderMap::new(), Some(body)))
}

/// Refuses a lifetime that would make a storm of calls.
pub(crate) fn check_lifetime(lifetime: Duration) -> Result<Duration, InputError> {
    if lifetime >= TOKEN_LIFETIME_MIN {
        return Ok(lifetime);
    }
    Err(InputError::option("lifetime", "a token lasts a second at least"))
}

/// The token in an answer of any of the four shapes.
fn read(body: &[u8]) -> Result<Token, &'static str> {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(members)) => {
            let member =
                ["token", "detail"].into_iter().find_map(|name| members.get(name)?.as_str());
            member.ok_or("it has no text under `token` or `detail`")?.to_owned()
        }
        Ok(_) => return Err("it is neither a text nor an object"),
        // The Swift client takes the text as it is.
        Err(_) => std::str::from_utf8(body).map_err(|_| "it is no text")?.to_owned(),
    };
    Token::check(&text)
}

/// How long a token is valid unless one says otherwise: 120 s.
///
/// Precedent: the JS and Python clients.
pub const TOKEN_LIFETIME_DEFAULT: Duration = Duration::from_secs(120);

/// Shortest lifetime of a token: a second.
pub const TOKEN_LIFETIME_MIN: Duration = Duration::from_secs(1);

/// Most apps that one token may be asked for.
pub const TOKEN_APPS_MAX: usize = 100;

/// Longest token that is taken: 8 KiB, because it travels in an address.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_shapes_are_understood() {
        for body in [
            r#""ey.a.b""#,
            r#"{"token":"ey.a.b","other":1}"#,
            r#"{"detail":"ey.a.b"}"#,
            "ey.a.b\n",
            r#"{"token":5,"detail":"ey.a.b"}"#,
        ] {
            assert_eq!(read(body.as_bytes()).unwrap().as_str(), "ey.a.b", "{body}");
        }
        for body in [
            "",
            r#""""#,
            "{}",
            r#"{"token":{"a":"ey"}}"#,
            "[\"ey.a.b\"]",
            "7",
            "<html>hello there</html>",
            "\"ey a\"",
            "{\"token\":\"ey",
        ] {
            read(body.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn lengths_have_a_limit() {
        assert!(Token::parse(&"x".repeat(TOKEN_BYTES_MAX)).is_ok());
        assert!(Token::parse(&"x".repeat(TOKEN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn tokens_never_print() {
        let token = Token::parse("very-secret").unwrap();
        assert!(!format!("{token:?} {token}").contains("secret"));
        assert!(!Token::parse("very secret").unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn impossible_tokens_are_refused() {
        let begin = |apps: usize, lifetime: Duration| {
            let endpoint: EndpointId = "acme/paint".parse().unwrap();
            let mut config = Config::new(vec![endpoint; apps]);
            config.lifetime = lifetime;
            let settings = Arc::new(Settings::default());
            Mint::new(crate::testing::epoch(), 1, &settings, config)
        };
        assert!(begin(TOKEN_APPS_MAX, TOKEN_LIFETIME_MIN).is_ok());
        for (apps, ms) in [(0, 1000), (TOKEN_APPS_MAX + 1, 1000), (1, 999)] {
            assert!(begin(apps, Duration::from_millis(ms)).is_err());
        }
    }
}
