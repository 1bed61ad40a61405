use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::driver::Machine;
use super::service;
use crate::machine::{AttemptFailed, Output};
use crate::platform::{Ask, Estimate, ModelsQuery, Question};
use crate::queue::{
    Cancel, CancelOutcome, Check, CheckConfig, Completed, Event, Fetch, FetchConfig, Finished,
    Handle, OnDeadline, Status, Submit, SubmitConfig, Subscribe, SubscribeConfig, Watch,
    WatchConfig,
};
use crate::run::{self, Run};
use crate::stream::{self, Stream, Streamed};
use crate::token::{self, Mint, Token};
use crate::upload::{self, CdnToken, Route, Upload, UploadState, Uploaded};
use crate::wire::{Body, ExchangeId, Failure, Head, Response};
use crate::{Answer, Settings};

macro_rules! machine {
    ($machine:ty, $event:ty, $value:ty $(, $optional:item)*) => {
        impl Machine for $machine {
            type Event = $event;
            type Value = $value;
            fn on_response(&mut self, now: Instant, id: ExchangeId, response: Response) {
                self.handle_response(now, id, response);
            }
            fn on_failure(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
                self.handle_failure(now, id, failure);
            }
            fn on_timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }
            fn poll(&mut self) -> Output<$event, $value> {
                self.poll_output()
            }
            fn state(&self) -> &'static str {
                self.state_name()
            }
            $($optional)*
        }
    };
}

macro_rules! streaming_machine {
    ($machine:ty, $event:ty, $value:ty $(, $optional:item)*) => {
        machine!(
            $machine, $event, $value,
            fn on_head(&mut self, now: Instant, id: ExchangeId, head: &Head) {
                self.handle_head(now, id, head);
            },
            fn on_chunk(&mut self, now: Instant, id: ExchangeId, chunk: Bytes) {
                self.handle_chunk(now, id, chunk);
            },
            fn on_end(&mut self, now: Instant, id: ExchangeId) {
                self.handle_end(now, id);
            }
            $(, $optional)*
        );
    };
}

machine!(Ask, AttemptFailed, Answer);
machine!(Run, AttemptFailed, Answer);
machine!(Submit, Event, Handle);
machine!(Fetch, Event, Answer);
machine!(Cancel, Event, CancelOutcome);
machine!(Check, Event, Status);
machine!(Mint, AttemptFailed, Token);
machine!(
    Upload,
    upload::Event,
    Uploaded,
    fn on_progress(&mut self, now: Instant, id: ExchangeId, bytes: u64) {
        self.handle_progress(now, id, bytes);
    },
    fn on_cancel(&mut self, now: Instant) {
        self.handle_cancel(now);
    },
    fn open_max(&self) -> usize {
        self.open_max()
    }
);
#[cfg(feature = "webhook")]
machine!(crate::webhook::Verify, AttemptFailed, crate::webhook::Checked);
streaming_machine!(Watch, Event, Completed);
streaming_machine!(Stream, stream::Event, Streamed);
streaming_machine!(
    Subscribe,
    Event,
    Finished,
    fn on_cancel(&mut self, now: Instant) {
        self.handle_cancel(now);
    }
);

/// What all kinds of machines need to begin.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) now: Instant,
    pub(super) seed: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) deadline: Option<Instant>,
    /// Opens status streams, goes on asking for a result that is not ready, cancels on deadline.
    pub(super) is_eager: bool,
}

impl Start {
    pub(super) fn run(&self) -> Run {
        let mut config = run::Config::new("fal-ai/flux/dev".parse().unwrap(), input());
        config.deadline = self.deadline;
        if !self.is_eager {
            config.method = http::Method::GET;
        }
        Run::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    pub(super) fn ask(&self) -> Ask {
        let question = match self.is_eager {
            true => Question::models(&ModelsQuery::default()),
            false => {
                Question::estimate(&Estimate::Calls(vec![("fal-ai/flux/dev".parse().unwrap(), 1)]))
            }
        };
        Ask::new(self.now, self.seed, &self.settings, question.unwrap(), self.deadline).unwrap()
    }

    pub(super) fn stream(&self) -> Stream {
        let mut config = stream::Config::new("fal-ai/flux/dev".parse().unwrap(), input());
        config.deadline = self.deadline;
        if self.is_eager {
            config.idle_timeout = Some(super::driver::ms(60_000));
        }
        Stream::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    /// The same where every event but the shortest is too long.
    pub(super) fn narrow_stream(&self) -> Stream {
        let settings = Settings { result_bytes_max: 60, ..(*self.settings).clone() };
        Self { settings: Arc::new(settings), ..self.clone() }.stream()
    }

    pub(super) fn submit(&self) -> Submit {
        let config = SubmitConfig { deadline: self.deadline, ..submit_config() };
        Submit::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    pub(super) fn watch(&self) -> Watch {
        let config = WatchConfig { deadline: self.deadline, ..self.watch_config() };
        Watch::new(self.now, self.seed, &self.settings, handle(), config).unwrap()
    }

    pub(super) fn fetch(&self) -> Fetch {
        let config = FetchConfig {
            not_ready_interval: self.is_eager.then_some(super::driver::ms(500)),
            deadline: self.deadline,
        };
        Fetch::new(self.now, self.seed, &self.settings, handle(), config).unwrap()
    }

    pub(super) fn check(&self) -> Check {
        let config = CheckConfig { logs: self.is_eager, deadline: self.deadline };
        Check::new(self.now, self.seed, &self.settings, handle(), config).unwrap()
    }

    pub(super) fn cancel(&self) -> Cancel {
        Cancel::new(self.now, self.seed, &self.settings, handle(), self.deadline).unwrap()
    }

    pub(super) fn subscribe(&self) -> Subscribe {
        let config = self.subscribe_config();
        Subscribe::new(self.now, self.seed, &self.settings, submit_config(), config).unwrap()
    }

    pub(super) fn attach(&self) -> Subscribe {
        let config = self.subscribe_config();
        Subscribe::attach(self.now, self.seed, &self.settings, handle(), config).unwrap()
    }

    pub(super) fn upload(&self) -> Upload {
        let body = if self.is_eager {
            Body::Bytes(Bytes::from_static(b"a picture"))
        } else {
            Body::Source { range: 0..1_000_000 }
        };
        let mut config = upload::Config::new("a.png", "image/png", body);
        config.deadline = self.deadline;
        Upload::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    pub(super) fn mint(&self) -> Mint {
        let apps = vec!["fal-ai/flux/realtime".parse().unwrap(), "acme/paint".parse().unwrap()];
        let mut config = token::Config::new(apps);
        config.deadline = self.deadline;
        if !self.is_eager {
            config.route = token::Route::Alias;
        }
        Mint::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    /// In three parts, two of them at once unless it is not eager.
    pub(super) fn upload_parts(&self) -> Upload {
        self.upload_by(&[Route::Initiate], true)
    }

    /// By the CDN, with a token at hand if it is eager; then by the older store.
    pub(super) fn upload_cdn(&self) -> Upload {
        self.upload_by(&Route::CDN_THEN_GCS, false)
    }

    pub(super) fn upload_cdn_parts(&self) -> Upload {
        self.upload_by(&Route::CDN_THEN_GCS, true)
    }

    /// By the older store, then by the CDN.
    pub(super) fn upload_gcs_parts(&self) -> Upload {
        self.upload_by(&[Route::Gcs, Route::Cdn], true)
    }

    /// The same in one piece.
    pub(super) fn upload_gcs(&self) -> Upload {
        self.upload_by(&[Route::Gcs, Route::Cdn], false)
    }

    /// In a single part, and then by the CDN: soon at its end.
    pub(super) fn upload_one_part(&self) -> Upload {
        let mut config = self.upload_config(&[Route::Initiate, Route::Cdn], true);
        config.part_bytes = UPLOAD_BYTES;
        Upload::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    /// The second of three parts has arrived already.
    pub(super) fn upload_resumed(&self) -> Upload {
        let route = if self.seed.is_multiple_of(2) { Route::Cdn } else { Route::Initiate };
        self.resume(stored(route, r#"[null,"e2",null]"#))
    }

    /// All parts have arrived.
    pub(super) fn upload_almost_done(&self) -> Upload {
        self.resume(stored(Route::Cdn, r#"["e1","e2","e3"]"#))
    }

    fn resume(&self, stored: UploadState) -> Upload {
        let body = self.upload_config(&[], true).body;
        self.resume_with(stored, body)
    }

    pub(super) fn resume_with(&self, stored: UploadState, body: Body) -> Upload {
        self.try_resume(stored, body).unwrap()
    }

    pub(super) fn try_resume(
        &self,
        stored: UploadState,
        body: Body,
    ) -> Result<Upload, crate::InputError> {
        let mut config = self.upload_config(&[], true);
        config.body = body;
        Upload::resume(self.now, self.seed, &self.settings, config, stored)
    }

    fn upload_by(&self, routes: &[Route], in_parts: bool) -> Upload {
        let config = self.upload_config(routes, in_parts);
        Upload::new(self.now, self.seed, &self.settings, config).unwrap()
    }

    fn upload_config(&self, routes: &[Route], in_parts: bool) -> upload::Config {
        let body = if self.is_eager {
            Body::Bytes(Bytes::from_static(b"aaaaaaaaaabbbbbbbbbbccccc"))
        } else {
            Body::Source { range: 0..UPLOAD_BYTES }
        };
        let mut config = upload::Config::new("a.png", "image/png", body);
        config.routes = routes.to_vec();
        config.multipart_over = in_parts.then_some(UPLOAD_BYTES - 1);
        config.part_bytes = UPLOAD_PART_BYTES;
        config.parallel = if self.is_eager { 2 } else { 3 };
        config.wall = Some(std::time::SystemTime::UNIX_EPOCH);
        config.token =
            self.is_eager.then(|| CdnToken::parse(service::CDN_TOKEN.as_bytes()).unwrap());
        config.deadline = self.deadline;
        config
    }

    #[cfg(feature = "webhook")]
    pub(super) fn verify(&self) -> crate::webhook::Verify {
        use crate::webhook::{REQUEST_ID, SIGNATURE, TIMESTAMP, USER_ID, Verify, VerifyConfig};
        let wall = std::time::SystemTime::UNIX_EPOCH + super::driver::ms(1_000_000);
        let mut headers = http::HeaderMap::new();
        for (name, value) in [(REQUEST_ID, "r1"), (USER_ID, "u"), (TIMESTAMP, "1000")] {
            headers.insert(name, http::HeaderValue::from_static(value));
        }
        let signature = "00".repeat(64).parse().expect("digits are a header");
        headers.insert(SIGNATURE, signature);
        let mut config = VerifyConfig::new(headers, input());
        config.deadline = self.deadline;
        Verify::new(self.now, wall, self.seed, &self.settings, config).unwrap()
    }

    fn subscribe_config(&self) -> SubscribeConfig {
        SubscribeConfig {
            watch: self.watch_config(),
            deadline: self.deadline,
            on_deadline: if self.is_eager { OnDeadline::Cancel } else { OnDeadline::Leave },
        }
    }

    fn watch_config(&self) -> WatchConfig {
        WatchConfig { stream: self.is_eager, ..WatchConfig::default() }
    }
}

/// An upload in three parts, of which those with an etag have arrived.
pub(super) fn stored(route: Route, etags: &str) -> UploadState {
    let id = if route == Route::Cdn { r#""upload_id":"mp_77","# } else { "" };
    let text = format!(
        r#"{{"version":1,"route":"{route}","file_name":"a.png","content_type":"image/png",{id}
            "total":{UPLOAD_BYTES},"part_bytes":{UPLOAD_PART_BYTES},"etags":{etags},
            "file_url":"https://v3.fal.media/files/a.png",
            "target":"https://v3.fal.media/files/a.png?signature={}"}}"#,
        service::SIGNATURE
    );
    text.parse().unwrap()
}

/// What goes in parts: 25 bytes in parts of 10.
pub(super) const UPLOAD_BYTES: u64 = 25;
pub(super) const UPLOAD_PART_BYTES: u64 = 10;

pub(super) fn handle() -> Handle {
    "fal-ai/flux/dev/requests/r1".parse().unwrap()
}

fn submit_config() -> SubmitConfig {
    SubmitConfig::new("fal-ai/flux/dev".parse().unwrap(), input())
}

fn input() -> Bytes {
    Bytes::from_static(br#"{"prompt":"a cat"}"#)
}
