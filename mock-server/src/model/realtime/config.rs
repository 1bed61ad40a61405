//! How sessions behave: which mode an endpoint has, its times, and the switches of what is not known.

use std::str::FromStr;
use std::time::Duration;

/// How sessions behave. Change fields of [`RealtimeConfig::default`].
///
/// Source: `realtime.py` of fal's serverless SDK for modes and settings (official client source); what
/// the service in front of it does is inferred, and has a switch here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RealtimeConfig {
    /// Modes of endpoints: an id with or without its last path, such as `acme/app` or
    /// `acme/app/realtime`, and its mode. Others have the one of [`RealtimeMode::of`].
    pub modes: Vec<(String, RealtimeMode)>,
    /// How long one input takes, or one frame of a stream. Default: [`INPUT_TIME`]; zero if the service
    /// is [instant](super::super::Config::instant).
    pub input_time: Duration,
    /// Inputs that wait while another is worked on; the oldest is dropped for a new one. A client can
    /// only make it less, by `max_buffering`. Default: `None`, which drops nothing.
    pub buffering: Option<usize>,
    /// How long a session lasts without a new input; `None` is for ever. Default: [`SESSION_TIMEOUT`].
    pub session_timeout: Option<Duration>,
    /// How many waiting inputs share one output, which is that of the last. Default: 1.
    pub max_batch_size: usize,
    /// Whether outputs are followed by a message with the time that they took. Default: no.
    pub timings: bool,
    /// Whether the `request_id` of an input stands in its output. Default: yes.
    pub echo_request_id: bool,
    /// Whether an input in a text frame ends the session, as the SDK's own reader does. Default: no.
    pub strict_binary: bool,
    /// How outputs are written. Default: as their input was.
    pub output: OutputCodec,
    /// How a bad token is refused. Default: inside the session.
    pub refusal: TokenRefusal,
    /// Whether a session ends when its token runs out. Default: no.
    pub cut_expired: bool,
    /// Whether the end of a session is told in the form of older gateways, `{"status":"error",…}`.
    /// Default: no.
    pub legacy_end: bool,
    /// Longest message of a client; the session is closed with 1009 beyond it. Default:
    /// [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Sessions open at once; 429 beyond it. Default: [`SESSIONS_MAX`].
    pub sessions_max: usize,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            modes: Vec::new(),
            input_time: INPUT_TIME,
            buffering: None,
            session_timeout: Some(SESSION_TIMEOUT),
            max_batch_size: 1,
            timings: false,
            echo_request_id: true,
            strict_binary: false,
            output: OutputCodec::default(),
            refusal: TokenRefusal::default(),
            cut_expired: false,
            legacy_end: false,
            message_bytes_max: MESSAGE_BYTES_MAX,
            sessions_max: SESSIONS_MAX,
        }
    }
}

impl RealtimeConfig {
    /// The same with times that instants can be added to, and sizes above zero.
    pub(crate) fn bounded(mut self, time_max: Duration) -> Self {
        self.input_time = self.input_time.min(time_max);
        self.session_timeout = self.session_timeout.map(|time| time.min(time_max));
        self.max_batch_size = self.max_batch_size.max(1);
        self
    }

    /// The mode of an endpoint, given by its whole path.
    pub(crate) fn mode(&self, endpoint: &str) -> RealtimeMode {
        let is_named = |id: &str| {
            let rest = endpoint.strip_prefix(id);
            rest.is_some_and(|rest| rest.is_empty() || rest == "/realtime")
        };
        self.modes
            .iter()
            .rev()
            .find(|(id, _)| is_named(id))
            .map_or_else(|| RealtimeMode::of(endpoint), |(_, mode)| *mode)
    }
}

/// What a session does with its inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RealtimeMode {
    /// One output for each input, in order.
    #[default]
    Unary,
    /// One input, several outputs, the end.
    ServerStreaming,
    /// Inputs until there are no more for a while, one output, the end.
    ClientStreaming,
    /// Each input is worked on by itself and has two outputs, the first a draft.
    Bidi,
}

impl RealtimeMode {
    /// The mode that an endpoint's id says: one of its segments has the name of a mode at its end, such
    /// as `acme/captions-server-streaming/realtime`. All others are unary.
    #[must_use]
    pub fn of(endpoint: &str) -> Self {
        let named = |segment: &str| {
            MODES.iter().find(|(name, _)| {
                segment
                    .strip_suffix(name)
                    .is_some_and(|before| before.is_empty() || before.ends_with('-'))
            })
        };
        endpoint.split('/').find_map(named).map_or(Self::Unary, |(_, mode)| *mode)
    }

    /// Its name in ids and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).expect("every mode has a name").0
    }
}

impl FromStr for RealtimeMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        MODES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode).ok_or_else(|| {
            format!("{text:?} is none of unary, server-streaming, client-streaming, bidi")
        })
    }
}

/// How outputs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputCodec {
    /// MessagePack for inputs in binary frames, JSON for those in text frames.
    #[default]
    Mirror,
    /// Always MessagePack.
    Msgpack,
    /// Always JSON; pictures are data addresses then.
    Json,
}

/// How a session with a bad token is refused: unknown of the real service, so both are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// The handshake is accepted; one message says `Unauthorized`, and the session is closed with 1008.
    #[default]
    InSession,
    /// The handshake is answered with 401.
    Http,
}

const MODES: [(&str, RealtimeMode); 4] = [
    ("unary", RealtimeMode::Unary),
    ("server-streaming", RealtimeMode::ServerStreaming),
    ("client-streaming", RealtimeMode::ClientStreaming),
    ("bidi", RealtimeMode::Bidi),
];

/// How long one input takes: short enough for twenty frames a second.
pub const INPUT_TIME: Duration = Duration::from_millis(50);

/// How long a session lasts without a new input: observed are 2 to 30 s.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest message of a client: 32 MiB. The official clients have no limit.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Sessions open at once. Each has a connection and a task of its own.
pub const SESSIONS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_mode() {
        for (id, mode) in [
            ("acme/app/realtime", RealtimeMode::Unary),
            ("acme/x-server-streaming/realtime", RealtimeMode::ServerStreaming),
            ("acme/client-streaming", RealtimeMode::ClientStreaming),
            ("acme/app/bidi", RealtimeMode::Bidi),
            ("acme/rabidi/realtime", RealtimeMode::Unary),
            ("acme/bidirectional", RealtimeMode::Unary),
        ] {
            assert_eq!(RealtimeMode::of(id), mode, "{id}");
        }
        for (name, mode) in MODES {
            assert_eq!((name.parse(), mode.name()), (Ok(mode), name));
        }
        assert!("Unary".parse::<RealtimeMode>().is_err());
    }

    #[test]
    fn settings_come_before_ids_and_the_last_counts() {
        let modes = [
            ("acme/app", RealtimeMode::Bidi),
            ("acme/app/x", RealtimeMode::ClientStreaming),
            ("acme/app", RealtimeMode::ServerStreaming),
        ];
        let modes = modes.map(|(id, mode)| (id.to_owned(), mode)).to_vec();
        let config = RealtimeConfig { modes, ..RealtimeConfig::default() };
        for (id, mode) in [
            ("acme/app", RealtimeMode::ServerStreaming),
            ("acme/app/realtime", RealtimeMode::ServerStreaming),
            ("acme/app/x", RealtimeMode::ClientStreaming),
            ("acme/app/y", RealtimeMode::Unary),
            ("acme/app2/realtime", RealtimeMode::Unary),
        ] {
            assert_eq!(config.mode(id), mode, "{id}");
        }
    }
}
