//! Machine: put a file where models can read it. Initiate, then one PUT to a signed address.
//!
//! | State | Input | Next | What happens |
//! |---|---|---|---|
//! | Initiating | success | Putting, Over | the bytes go out, unless the addresses cannot be used |
//! | Initiating | redirect, refusal, failure, timeout | Initiating, Over | as [`crate::retry`] says |
//! | Putting | redirect, refusal, failure, timeout | Putting, Over | likewise |
//! | Putting | progress | Putting | its time limit is put off |
//! | Putting | success | Over | `Done(Uploaded)` |
//! | Initiating, Putting | deadline | Over | with an Abort of what is open |
//!
//! The signed address gets no credentials, whatever host it names.
//!
//! Source: `storage.ts` of `@fal-ai/client` 1.10.1 (official client source).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde::Deserialize;

use crate::call::{Call, Settled, json_request};
use crate::error::{Aftermath, Error, ErrorKind, InputError, ProtocolError};
use crate::hosts::Host;
use crate::machine::{AttemptFailed, Ids, Out, Output, earliest, is_due};
use crate::rand::SplitMix64;
use crate::retry::Purpose;
use crate::settings::Settings;
use crate::wire::{Body, ExchangeId, Failure, Request, Response};

/// What to upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name that the file gets, such as `pose.png`.
    pub file_name: String,
    /// Its media type, such as `image/png`.
    pub content_type: String,
    /// Its content: bytes, or a range of what the shell can read.
    pub body: Body,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Config {
    /// This file, without a deadline.
    #[must_use]
    pub fn new(file_name: impl Into<String>, content_type: impl Into<String>, body: Body) -> Self {
        Self {
            file_name: file_name.into(),
            content_type: content_type.into(),
            body,
            deadline: None,
        }
    }
}

/// What happens during an upload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// So much of the file has gone out in the current attempt.
    Sent {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An exchange failed and is repeated.
    AttemptFailed(AttemptFailed),
}

impl From<AttemptFailed> for Event {
    fn from(failed: AttemptFailed) -> Self {
        Self::AttemptFailed(failed)
    }
}

/// A file that models can read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// Its public address: what to put into a model's input.
    pub url: String,
}

/// Uploads one file. Does no I/O and reads no clock; see [`crate::machine`] for the contract, and tell
/// [`handle_progress`](Self::handle_progress) how the body goes out.
#[derive(Debug)]
#[must_use = "a machine does nothing unless it is driven"]
pub struct Upload {
    settings: Arc<Settings>,
    config: Config,
    content_type: HeaderValue,
    call: Call,
    /// The public address, once the upload has been initiated.
    file_url: Option<String>,
    put_seed: u64,
    ids: Ids,
    out: Out<Event, Uploaded>,
    over: bool,
}

#[derive(Deserialize)]
struct Initiated {
    file_url: String,
    upload_url: String,
}

impl Upload {
    /// Begins.
    ///
    /// # Errors
    /// [`InputError::Option`] when the content type cannot stand in a header.
    pub fn new(
        now: Instant,
        seed: u64,
        settings: &Arc<Settings>,
        config: Config,
    ) -> Result<Self, InputError> {
        let content_type = HeaderValue::from_str(&config.content_type).map_err(|_| {
            InputError::option("content type", "it has a character that a header cannot carry")
        })?;
        let body = serde_json::json!({
            "content_type": config.content_type,
            "file_name": config.file_name,
        });
        let uri = settings.hosts.uri(
            Host::Rest,
            "storage/upload/initiate",
            &[("storage_type", "fal-cdn-v3")],
        )?;
        let body = Bytes::from(body.to_string());
        let request = json_request(settings, Method::POST, uri, HeaderMap::new(), Some(body));
        let mut seeds = SplitMix64::new(seed);
        let call =
            Call::new(settings, Purpose::Initiate, request, seeds.next_u64(), config.deadline);
        let mut upload = Self {
            settings: Arc::clone(settings),
            config,
            content_type,
            call,
            file_url: None,
            put_seed: seeds.next_u64(),
            ids: Ids::default(),
            out: Out::new(),
            over: false,
        };
        upload.call.start(now, &mut upload.ids, &mut upload.out);
        Ok(upload)
    }

    /// So many bytes of this exchange's body have gone out. The time limit starts anew.
    pub fn handle_progress(&mut self, now: Instant, id: ExchangeId, bytes: u64) {
        if self.file_url.is_some() && self.call.is_asking(id) {
            self.call.touch(now);
            self.out.push_back(Output::Event(Event::Sent { bytes, total: self.config.body.len() }));
        }
    }

    /// An answer arrived.
    pub fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
        let settled = self.call.handle_response(now, &mut self.ids, id, response, &mut self.out);
        self.settle(now, settled);
    }

    /// An exchange ended without an answer.
    pub fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        let settled = self.call.handle_failure(now, &mut self.ids, id, failure, &mut self.out);
        self.settle(now, settled);
    }

    /// An instant that the machine waited for has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.over && is_due(self.config.deadline, now) {
            let stopped = self.call.stop();
            self.out.extend(stopped.map(|id| Output::Abort { id }));
            let aftermath = Aftermath::NothingSubmitted;
            return self.finish(Err(ErrorKind::Deadline { aftermath }.into()));
        }
        let settled = self.call.handle_timeout(now, &mut self.ids, &mut self.out);
        self.settle(now, settled);
    }

    /// The next thing to do. Drain until [`Output::Wait`] or [`Output::Done`].
    pub fn poll_output(&mut self) -> Output<Event, Uploaded> {
        self.out.pop_front().unwrap_or_else(|| Output::Wait { until: self.until() })
    }

    #[cfg(test)]
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.file_url {
            _ if self.over => "Over",
            None => "Initiating",
            Some(_) => "Putting",
        }
    }

    fn until(&self) -> Option<Instant> {
        if self.over { None } else { earliest(self.call.until(), self.config.deadline) }
    }

    fn settle(&mut self, now: Instant, settled: Option<Settled>) {
        match (settled, self.file_url.take()) {
            (None, file_url) => self.file_url = file_url,
            (Some(Err(error)), _) => self.finish(Err(error)),
            (Some(Ok(_)), Some(url)) => self.finish(Ok(Uploaded { url })),
            (Some(Ok(response)), None) => match self.read_initiated(&response) {
                Ok((uri, file_url)) => {
                    self.file_url = Some(file_url);
                    self.put(now, uri);
                }
                Err(error) => self.finish(Err(ErrorKind::Protocol(error).into())),
            },
        }
    }

    fn put(&mut self, now: Instant, uri: Uri) {
        let request = Request::new(Method::PUT, uri)
            .with_header(header::CONTENT_TYPE, self.content_type.clone())
            .with_header(header::USER_AGENT, self.settings.user_agent.clone())
            .with_body(self.config.body.clone());
        self.call =
            Call::new(&self.settings, Purpose::Put, request, self.put_seed, self.config.deadline);
        self.call.start(now, &mut self.ids, &mut self.out);
    }

    /// Where to write, and where it can be read then.
    fn read_initiated(&self, response: &Response) -> Result<(Uri, String), ProtocolError> {
        // The body holds a signed address, which is a secret: it is never quoted.
        let refuse = |problem: &dyn std::fmt::Display| {
            ProtocolError::body(
                "upload addresses",
                problem,
                b"(not shown: it may hold a signature)",
            )
        };
        // serde's message may quote a text of the body, so it tells only where.
        let initiated: Initiated = serde_json::from_slice(response.body()).map_err(|e| {
            refuse(&format_args!("two addresses were expected at column {}", e.column()))
        })?;
        let uri: Uri = initiated.upload_url.parse().map_err(|e| refuse(&e))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.settings.hosts.allow_plain_http() => {}
            _ => return Err(refuse(&"upload_url is not an https address")),
        }
        Ok((uri, initiated.file_url))
    }

    fn finish(&mut self, result: Result<Uploaded, Error>) {
        self.over = true;
        self.out.push_back(Output::Done(result));
    }
}
