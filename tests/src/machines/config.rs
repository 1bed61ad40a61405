use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fal_protocol::auth::Key;
use fal_protocol::queue::{
    Cancel, Fetch, FetchConfig, Handle, OnDeadline, Submit, SubmitConfig, Subscribe,
    SubscribeConfig, Watch, WatchConfig,
};
use fal_protocol::realtime::{self, Auth, Queue, Session};
use fal_protocol::run::{self, Run};
use fal_protocol::stream::{self, Stream};
use fal_protocol::token::{self, Mint};
use fal_protocol::upload::{self, CdnToken, Upload, UploadState};
use fal_protocol::wire::Body;
use fal_protocol::{EndpointId, Hosts, Settings, Token, ws};
use http::{Method, StatusCode};
use serde_json::Value;

use super::options::{lifecycle, options};
use super::play::Machine;

/// The machine of this name, with these settings. Names that are not known are refused, so that a
/// misspelled one cannot pass as the default.
pub(super) fn begin(
    name: &str,
    seed: u64,
    config: &Value,
    now: Instant,
) -> Result<Box<dyn Machine>, String> {
    for key in config.as_object().into_iter().flatten().map(|(key, _)| key) {
        if !KEYS.contains(&key.as_str()) {
            return Err(format!("the config names {key:?}, which no machine has"));
        }
    }
    let config = Config { json: config, now };
    let settings = Arc::new(config.settings()?);
    let wrong = |error: fal_protocol::InputError| error.to_string();
    Ok(match name {
        "run" => Box::new(Run::new(now, seed, &settings, config.run()?).map_err(wrong)?),
        "stream" => Box::new(Stream::new(now, seed, &settings, config.stream()?).map_err(wrong)?),
        "token" => Box::new(Mint::new(now, seed, &settings, config.token()?).map_err(wrong)?),
        "realtime/session" => Box::new(super::message::Realtime::new(
            Session::new(seed, &settings, config.session()?).map_err(wrong)?,
        )),
        "ws/runs" => Box::new(super::message::Ws(
            ws::Runs::new(now, seed, &settings, config.ws()?).map_err(wrong)?,
        )),
        "upload" => Box::new(match config.json.get("resume") {
            None => Upload::new(now, seed, &settings, config.upload()?).map_err(wrong)?,
            Some(state) => {
                let state: UploadState = state.to_string().parse().map_err(wrong)?;
                Upload::resume(now, seed, &settings, config.upload()?, state).map_err(wrong)?
            }
        }),
        "queue/submit" => {
            Box::new(Submit::new(now, seed, &settings, config.submit()?).map_err(wrong)?)
        }
        "queue/watch" => Box::new(
            Watch::new(now, seed, &settings, config.handle()?, config.watch()).map_err(wrong)?,
        ),
        "queue/fetch" => {
            let mut fetch = FetchConfig::default();
            fetch.not_ready_interval = config.time("not_ready_interval_ms");
            fetch.deadline = config.deadline();
            Box::new(Fetch::new(now, seed, &settings, config.handle()?, fetch).map_err(wrong)?)
        }
        "queue/cancel" => {
            let (handle, deadline) = (config.handle()?, config.deadline());
            Box::new(Cancel::new(now, seed, &settings, handle, deadline).map_err(wrong)?)
        }
        "queue/subscribe" => {
            let (submit, subscribe) = (config.submit()?, config.subscribe());
            Box::new(Subscribe::new(now, seed, &settings, submit, subscribe).map_err(wrong)?)
        }
        "queue/attach" => {
            let (handle, subscribe) = (config.handle()?, config.subscribe());
            Box::new(Subscribe::attach(now, seed, &settings, handle, subscribe).map_err(wrong)?)
        }
        other => return Err(format!("there is no machine {other:?}")),
    })
}

struct Config<'a> {
    json: &'a Value,
    now: Instant,
}

impl Config<'_> {
    fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        if let Some(base) = self.text("hosts_under") {
            settings.hosts = Hosts::under(base).map_err(|error| error.to_string())?;
        }
        if self.flag("key").unwrap_or(true) {
            settings.credentials = Key::parse("id:secret").map_err(|e| e.to_string())?.into();
        }
        if let Some(token) = self.secret("bearer")? {
            settings.credentials = token.into();
        }
        let number = |name| self.json[name].as_u64().map(|number| number as u32);
        let retry = &mut settings.retry;
        retry.attempts_paid = number("attempts_paid").unwrap_or(retry.attempts_paid);
        retry.attempts_read = number("attempts_read").unwrap_or(retry.attempts_read);
        retry.repeat_unknown_submits = self.flag("repeat_unknown_submits").unwrap_or(false);
        retry.repeat_ingress_submits = self.flag("repeat_ingress_submits").unwrap_or(false);
        for (status, repeat) in self.json["status_rules"].as_object().into_iter().flatten() {
            let status = StatusCode::try_from(status.as_str()).map_err(|e| e.to_string())?;
            let repeat = repeat.as_bool().ok_or("a status rule is true or false")?;
            *retry = retry.clone().with_status_rule(status, repeat);
        }
        for (name, field) in [
            ("attempt_timeout_ms", &mut settings.attempt_timeout),
            ("cancel_timeout_ms", &mut settings.cancel_timeout),
        ] {
            *field = self.time(name).unwrap_or(*field);
        }
        Ok(settings)
    }

    fn run(&self) -> Result<run::Config, String> {
        let mut config = run::Config::new(self.endpoint()?, self.input());
        if let Some(method) = self.text("method") {
            config.method = Method::try_from(method).map_err(|error| error.to_string())?;
        }
        config.options = options(self.json)?;
        config.deadline = self.deadline();
        Ok(config)
    }

    fn stream(&self) -> Result<stream::Config, String> {
        let mut config = stream::Config::new(self.endpoint()?, self.input());
        if let Some(method) = self.text("method") {
            config.method = Method::try_from(method).map_err(|error| error.to_string())?;
        }
        if self.json.get("input").is_some_and(Value::is_null) {
            config.input = None;
        }
        config.options = options(self.json)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let query = self.json["query"].as_object().into_iter().flatten();
        config.query = query.map(|(name, value)| (name.clone(), text(value))).collect();
        config.token = self.secret("token")?;
        config.idle_timeout = self.time("idle_timeout_ms");
        config.deadline = self.deadline();
        Ok(config)
    }

    fn submit(&self) -> Result<SubmitConfig, String> {
        let mut config = SubmitConfig::new(self.endpoint()?, self.input());
        config.options = options(self.json)?;
        config.deadline = self.deadline();
        Ok(config)
    }

    fn watch(&self) -> WatchConfig {
        let mut config = WatchConfig::default();
        config.stream = self.flag("stream").unwrap_or(config.stream);
        config.logs = self.flag("logs").unwrap_or(config.logs);
        config.poll_interval = self.time("poll_interval_ms").unwrap_or(config.poll_interval);
        config.deadline = self.deadline();
        config
    }

    fn subscribe(&self) -> SubscribeConfig {
        let mut config = SubscribeConfig::default();
        config.watch = self.watch();
        config.deadline = self.deadline();
        if self.flag("leave_on_deadline") == Some(true) {
            config.on_deadline = OnDeadline::Leave;
        }
        config
    }

    fn token(&self) -> Result<token::Config, String> {
        let mut config = token::Config::new(vec![self.endpoint()?]);
        config.lifetime = self.time("lifetime_ms").unwrap_or(config.lifetime);
        config.route = self.route()?;
        config.deadline = self.deadline();
        Ok(config)
    }

    fn route(&self) -> Result<token::Route, String> {
        Ok(match self.text("route") {
            None => token::Route::Both,
            Some("realtime") => token::Route::Realtime,
            Some("alias") => token::Route::Alias,
            Some(other) => return Err(format!("there is no route {other:?}")),
        })
    }

    fn session(&self) -> Result<realtime::Config, String> {
        let mut config = realtime::Config::new(self.endpoint()?);
        let lifetime = self.time("lifetime_ms");
        config.auth = match self.text("auth") {
            None | Some("token") => {
                let lifetime = lifetime.unwrap_or(token::TOKEN_LIFETIME_DEFAULT);
                Auth::Token { lifetime, route: self.route()? }
            }
            Some("provided") => Auth::Provided { lifetime },
            Some("header") => Auth::Header,
            Some(other) => return Err(format!("there is no auth {other:?}")),
        };
        config.path = self.text("path").map(Into::into);
        config.throttle = self.time("throttle_ms");
        config.refresh = self.flag("refresh").unwrap_or(false);
        if let Some(messages_max) = self.json["queue_messages_max"].as_u64() {
            config.queue = Queue::All { messages_max: messages_max as usize };
        }
        config.max_buffering = self.json["max_buffering"].as_u64().map(|number| number as u8);
        config.handshake_timeout =
            self.time("handshake_timeout_ms").unwrap_or(config.handshake_timeout);
        config.close_timeout = self.time("close_timeout_ms").unwrap_or(config.close_timeout);
        Ok(config)
    }

    fn ws(&self) -> Result<ws::Config, String> {
        let mut config = ws::Config::new(self.endpoint()?);
        config.path = self.text("path").map(Into::into);
        config.idle_timeout = self.time("idle_timeout_ms");
        config.deadline = self.deadline();
        Ok(config)
    }

    fn upload(&self) -> Result<upload::Config, String> {
        let body = match self.text("body") {
            Some(text) => Body::Bytes(Bytes::copy_from_slice(text.as_bytes())),
            None => Body::Source { range: 0..self.json["body_bytes"].as_u64().unwrap_or(9) },
        };
        let name = self.text("file_name").unwrap_or("a.png");
        let mut config =
            upload::Config::new(name, self.text("content_type").unwrap_or("image/png"), body);
        let wrong = |error: fal_protocol::InputError| error.to_string();
        if let Some(routes) = self.json["routes"].as_array() {
            let routes = routes.iter().map(|route| route.as_str().unwrap_or_default().parse());
            config.routes = routes.collect::<Result<_, _>>().map_err(wrong)?;
        }
        config.multipart_over = self.json["multipart_over"].as_u64();
        config.part_bytes = self.json["part_bytes"].as_u64().unwrap_or(config.part_bytes);
        config.parallel = self.json["parallel"].as_u64().map_or(config.parallel, |n| n as usize);
        config.lifecycle = lifecycle(self.json)?;
        if let Some(seconds) = self.json["wall_s"].as_u64() {
            config.wall = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        }
        if let Some(token) = self.json.get("token") {
            let token = CdnToken::parse(token.to_string().as_bytes());
            config.token = Some(token.map_err(|error| error.to_string())?);
        }
        config.deadline = self.deadline();
        Ok(config)
    }

    fn handle(&self) -> Result<Handle, String> {
        match &self.json["handle"] {
            Value::Null => "acme/paint/requests/r-1".parse(),
            Value::String(text) => text.parse(),
            json => json.to_string().parse(),
        }
        .map_err(|error: fal_protocol::InputError| error.to_string())
    }

    fn endpoint(&self) -> Result<EndpointId, String> {
        let endpoint = self.text("endpoint").unwrap_or("acme/paint");
        endpoint.parse().map_err(|error: fal_protocol::InputError| error.to_string())
    }

    fn input(&self) -> Bytes {
        let input = self
            .json
            .get("input")
            .map_or_else(|| r#"{"prompt":"a cat"}"#.to_owned(), Value::to_string);
        Bytes::from(input)
    }

    fn deadline(&self) -> Option<Instant> {
        self.time("deadline_ms").map(|deadline| self.now + deadline)
    }

    fn time(&self, name: &str) -> Option<Duration> {
        self.json[name].as_u64().map(Duration::from_millis)
    }

    fn secret(&self, name: &str) -> Result<Option<Token>, String> {
        self.text(name).map(Token::parse).transpose().map_err(|error| error.to_string())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.json[name].as_str()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.json[name].as_bool()
    }
}

const KEYS: &[&str] = &[
    "acl",
    "attempt_timeout_ms",
    "attempts_paid",
    "attempts_read",
    "auth",
    "bearer",
    "body",
    "body_bytes",
    "cancel_timeout_ms",
    "close_timeout_ms",
    "content_type",
    "deadline_ms",
    "disable_fallback",
    "endpoint",
    "expires",
    "file_name",
    "handle",
    "handshake_timeout_ms",
    "hint",
    "hosts_under",
    "idle_timeout_ms",
    "input",
    "key",
    "leave_on_deadline",
    "lifetime_ms",
    "logs",
    "max_buffering",
    "max_queue_length",
    "method",
    "multipart_over",
    "no_retry",
    "not_ready_interval_ms",
    "parallel",
    "part_bytes",
    "path",
    "poll_interval_ms",
    "priority",
    "query",
    "queue_messages_max",
    "refresh",
    "repeat_ingress_submits",
    "repeat_unknown_submits",
    "resume",
    "retry_budgets",
    "route",
    "routes",
    "start_timeout_ms",
    "status_rules",
    "store_io",
    "stream",
    "tags",
    "throttle_ms",
    "token",
    "wall_s",
    "webhook",
];
