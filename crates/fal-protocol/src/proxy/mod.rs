//! The server-side proxy: what it lets through, and how clients talk to it.
//!
//! Code in a browser must not hold the key, so it sends each call to an address of its own server, with the
//! real address in the header `x-fal-target-url`. That server adds the key and forwards the call. Here
//! are the decisions of both ends, without I/O:
//!
//! | Who | Asks | Gets |
//! |---|---|---|
//! | the server | [`Policy::judge`] about each call | a [`Forward`], or a [`Refusal`] |
//! | the server | [`Policy::answer_headers`] about each answer | the headers that may go back |
//! | the client | [`Route::take`] about each request | the request that goes to the proxy |
//!
//! ```
//! use fal_protocol::proxy::{Caller, Policy};
//! use fal_protocol::{Credentials, Key};
//! use http::{HeaderMap, HeaderValue, Method};
//!
//! let policy = Policy::default().with_endpoints(["fal-ai/flux/**"])?;
//! let key = Credentials::from(Key::parse("id:secret")?).header();
//!
//! let mut headers = HeaderMap::new();
//! let target = HeaderValue::from_static("https://queue.fal.run/fal-ai/flux/dev");
//! headers.insert("x-fal-target-url", target);
//!
//! // Who calls is for the server to find out: by its session, a cookie, a token of its own.
//! let forward = policy.judge(&Method::POST, &headers, Caller::Known, key.as_ref())?;
//! let request = forward.request(r#"{"prompt":"a cat"}"#.into());
//! assert_eq!(request.uri, "https://queue.fal.run/fal-ai/flux/dev");
//! assert!(request.headers["authorization"].is_sensitive());
//!
//! // Nobody in particular pays for nothing.
//! let refusal = policy.judge(&Method::POST, &headers, Caller::Anonymous, key.as_ref()).unwrap_err();
//! let answer = policy.refuse(&refusal);
//! assert_eq!((answer.status().as_u16(), &answer.body()[..14]), (401, &b"\"Unauthorized:"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is safe where the stock proxies are not:
//!
//! | Matter | `@fal-ai/server-proxy` 1.2.1 | Here |
//! |---|---|---|
//! | callers that nobody knows | served | refused, unless [`Policy::with_anonymous`] |
//! | a server without a key | sends `Key undefined` | refuses with 401 |
//! | the caller's own `Authorization` | wins over the key | not forwarded, unless [`Policy::with_forward_client_auth`] |
//! | `http://` targets | pass | refused, but for loopback |
//! | user names, ports, `..`, encoded slashes | whatever the URL library makes of them | refused |
//! | the key | goes wherever a pattern leads | goes to fal's hosts alone |
//! | endpoints that are not on the list | run by GET | refused, whatever the method |
//! | cookies and HSTS of the service | passed to the browser | dropped |
//!
//! Source: `@fal-ai/server-proxy` 1.2.1 and 1.3.0-alpha (official client source); docs.fal.ai,
//! server-side integration page (documented).

mod forward;
mod glob;
mod policy;
mod refusal;
mod route;
mod target;
#[cfg(test)]
mod tests;

pub use forward::Forward;
pub use glob::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use policy::{BODY_BYTES_MAX, Caller, PATTERNS_DEFAULT, PATTERNS_TOKENS, Policy};
pub use refusal::Refusal;
pub use route::Route;
pub use target::{TARGET_BYTES_MAX, Target, TargetError};

use http::HeaderName;

/// Where a call is meant to go: an absolute address with its query.
pub const TARGET_URL: HeaderName = HeaderName::from_static("x-fal-target-url");

/// Names the proxy to the service. What the service makes of it is not known.
pub const CLIENT_PROXY: HeaderName = HeaderName::from_static("x-fal-client-proxy");
