//! Machine: verify a delivery, and ask for fal's keys where they are needed.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Asking | success | Over | `Done(Checked)`, unless it is no set of keys |
//! | Asking | redirect | Asking, Over | followed, or refused |
//! | Asking | refusal, failure, timeout | Resting, Over | as [`crate::retry`] says; Abort first if it was the timeout |
//! | Resting | timeout | Asking | the next attempt |
//! | Asking, Resting | deadline | Over | with an Abort of what is open |
//!
//! Where the delivery is malformed or too old, or the keys at hand suffice, it is over at once and
//! sends nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use super::{KeySet, SignedHeaders, Verified, WebhookError};
use crate::call::Call;
use crate::error::{Aftermath, Error, ErrorKind, InputError};
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out, Output};
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::solo::{Kind, Solo};
use crate::wire::{ExchangeId, Expect, Failure, Request, Response};

/// What to verify.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyConfig {
    /// All headers of the delivery.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Bytes,
    /// The keys that an earlier machine has left in [`Checked::keys`]. Default none.
    pub keys: Option<CachedKeys>,
    /// When to give up asking for keys. fal waits 15 s for the answer to a delivery.
    pub deadline: Option<Instant>,
}

impl VerifyConfig {
    /// A delivery to be verified with keys that are asked for, without a deadline.
    #[must_use]
    pub const fn new(headers: HeaderMap, body: Bytes) -> Self {
        Self { headers, body, keys: None, deadline: None }
    }
}

/// Keys, and when they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedKeys {
    /// The keys.
    pub keys: KeySet,
    /// When they were asked for.
    pub since: SystemTime,
}

impl CachedKeys {
    /// These keys, asked for at that time.
    #[must_use]
    pub const fn new(keys: KeySet, since: SystemTime) -> Self {
        Self { keys, since }
    }

    /// How old they are; `None` if they seem to be from the future, so that nobody knows.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.since).ok()
    }
}

/// What came of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Whether the delivery is from fal and of now.
    pub result: Result<Verified, WebhookError>,
    /// The keys to give to the next machine: the latest, if there are any.
    pub keys: Option<CachedKeys>,
}

/// Verifies one delivery. Does no I/O and reads no clock; see [`crate::machine`] for the contract.
///
/// Its end is an [`Error`] only if it needed keys and got none: then nobody knows whether the
/// delivery is from fal. Answer it with a 5xx, and it comes again.
///
/// Keys are asked for when none are at hand, when those are older than [`KEYS_AGE_MAX`], and when
/// they do not match and are older than [`KEYS_REFRESH_MIN`].
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Verify {
    state: State,
}

#[derive(Debug)]
enum State {
    /// `None` once told.
    Decided(Option<Box<Checked>>),
    Asking(Box<Solo<Keys>>),
}

#[derive(Debug)]
struct Keys {
    signed: SignedHeaders,
    body: Bytes,
    wall: SystemTime,
}

impl Verify {
    /// Begins. `wall` is the time of day at `now`.
    ///
    /// # Errors
    /// [`InputError`] when the keys have no usable address.
    pub fn new(
        now: Instant,
        wall: SystemTime,
        seed: u64,
        settings: &Arc<Settings>,
        config: VerifyConfig,
    ) -> Result<Self, InputError> {
        let uri = settings.hosts.uri(Host::Rest, KEYS_PATH, &[])?;
        let VerifyConfig { headers, body, keys, deadline } = config;
        let state = match decide(&headers, &body, keys, wall) {
            Ok(checked) => State::Decided(Some(Box::new(checked))),
            Err(signed) => {
                // Everybody may read the keys, so nobody is told who asks.
                let mut request = Request::new(Method::GET, uri)
                    .with_header(header::ACCEPT, HeaderValue::from_static("application/json"))
                    .with_expect(Expect::Whole { bytes_max: KEYS_BYTES_MAX });
                request.headers.insert(header::USER_AGENT, settings.user_agent.clone());
                let call = Call::new(settings, Purpose::Keys, request, seed, deadline);
                let kind = Keys { signed, body, wall };
                let solo = Solo::begin(now, kind, call, deadline, Ids::default());
                State::Asking(Box::new(solo))
            }
        };
        Ok(Self { state })
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        if let State::Asking(solo) = &mut self.state {
            solo.handle_response(now, id, response);
        }
    }

    /// An exchange ended without an answer.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        if let State::Asking(solo) = &mut self.state {
            solo.handle_failure(now, id, failure);
        }
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::Asking(solo) = &mut self.state {
            solo.handle_timeout(now);
        }
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<AttemptFailed, Checked> {
        match &mut self.state {
            State::Asking(solo) => solo.poll_output(),
            State::Decided(checked) => match checked.take() {
                Some(checked) => Output::Done(Ok(*checked)),
                None => Output::Wait { until: None },
            },
        }
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match &self.state {
            State::Asking(solo) => solo.state_name(),
            State::Decided(_) => "Over",
        }
    }
}

/// The verdict, if it can be given without asking for keys; else what is to be verified with them.
fn decide(
    headers: &HeaderMap,
    body: &[u8],
    keys: Option<CachedKeys>,
    wall: SystemTime,
) -> Result<Checked, SignedHeaders> {
    let age = keys.as_ref().and_then(|cached| cached.age(wall));
    let signed =
        SignedHeaders::parse(headers).and_then(|signed| signed.check_age(wall).map(|()| signed));
    let signed = match signed {
        Ok(signed) => signed,
        Err(error) => return Ok(Checked { result: Err(error), keys }),
    };
    match (keys, age) {
        (Some(cached), Some(age)) if age <= KEYS_AGE_MAX => {
            let result = signed.check_signature(body, &cached.keys);
            if result.is_ok() || age < KEYS_REFRESH_MIN {
                Ok(Checked { result, keys: Some(cached) })
            } else {
                Err(signed)
            }
        }
        _ => Err(signed),
    }
}

impl Kind for Keys {
    type Event = AttemptFailed;
    type Done = Checked;

    fn read(
        &mut self,
        response: Response,
        _: &mut Out<AttemptFailed, Checked>,
    ) -> Result<Checked, Error> {
        let keys = KeySet::parse(response.body()).map_err(ErrorKind::Protocol)?;
        let result = self.signed.check_signature(&self.body, &keys);
        Ok(Checked { result, keys: Some(CachedKeys::new(keys, self.wall)) })
    }

    fn aftermath(&self, _: &Call) -> Aftermath {
        Aftermath::NothingSubmitted
    }
}

/// Where the keys are, below the REST host.
///
/// Source: docs.fal.ai, webhooks page (documented; older pages name the host `rest.alpha.fal.ai`).
const KEYS_PATH: &str = ".well-known/jwks.json";

/// Keys are used no longer: 24 hours.
///
/// Source: docs.fal.ai, webhooks page (documented).
pub const KEYS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Keys that do not match are asked for again once they are this old: a minute. Otherwise whoever sends
/// wrong signatures could make every one of them a request to fal.
pub const KEYS_REFRESH_MIN: Duration = Duration::from_secs(60);

/// Longest set of keys that is taken.
pub const KEYS_BYTES_MAX: usize = 64 << 10;
