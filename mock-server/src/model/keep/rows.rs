//! What stands in each table, and how the model's own types stand in a row.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::super::exchange::{Door, Host};
use super::super::failure::Failure;
use super::super::files::Access;
use super::super::id::RequestId;
use super::super::lifecycle::{Acl, Decision, Keep, Lifecycle};
use super::super::media::Media;
use super::super::webhook::{DeliveryAttempt, DeliveryResult};
use super::code::{Field, row};

/// What is known of the service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// How often the service was started before.
    pub(crate) starts: u32,
    pub(crate) seed: u64,
    /// What the wall showed at the very first start: no time is before it.
    pub(crate) origin: SystemTime,
    /// What it showed last.
    pub(crate) wall: SystemTime,
    /// The time outside then.
    pub(crate) real: SystemTime,
    pub(crate) age: u64,
    pub(crate) tokens: u64,
    pub(crate) tokens_over: u64,
    pub(crate) rotations: u64,
}

row!(Marks { starts, seed, origin, wall, real, age, tokens, tokens_over, rotations });

/// A job as it was accepted. Its input follows.
#[derive(Debug)]
pub(super) struct JobRow {
    pub(super) id: RequestId,
    pub(super) endpoint: Box<str>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) sent: SystemTime,
    pub(super) is_low: bool,
    pub(super) start_by: Option<SystemTime>,
    pub(super) hook: Option<(Box<str>, Door<'static>)>,
    pub(super) keep: Option<Keep>,
    pub(super) queue_time: Duration,
    pub(super) run_time: Duration,
    pub(super) lost_after: Option<Duration>,
    /// The name of the rule that decided how it goes.
    pub(super) rule: Option<Box<str>>,
}

row!(JobRow {
    id,
    endpoint,
    headers,
    sent,
    is_low,
    start_by,
    hook,
    keep,
    queue_time,
    run_time,
    lost_after,
    rule,
});

/// Where a job stands.
#[derive(Debug)]
pub(super) struct StandRow {
    pub(super) past: Vec<(SystemTime, SystemTime)>,
    pub(super) cancel_asked: bool,
    pub(super) doom: Option<Failure>,
    pub(super) stand: Stand,
}

row!(StandRow { past, cancel_asked, doom, stand });

#[derive(Debug)]
pub(super) enum Stand {
    Queued { ticket: u64 },
    Running { since: SystemTime },
    Done(Box<DoneRow>),
}

/// What a back end has made of a job, before the output itself, and what it has said.
#[derive(Debug)]
pub(crate) struct WorkRow {
    pub(crate) has_output: bool,
    pub(crate) units: u64,
    pub(crate) files: Vec<(Box<str>, u128)>,
    pub(crate) lines: Vec<LineRow>,
}

/// A line that a back end has written.
#[derive(Debug)]
pub(crate) struct LineRow {
    pub(crate) at: SystemTime,
    pub(crate) level: Box<str>,
    pub(crate) message: Box<str>,
}

row!(LineRow { at, level, message });
row!(WorkRow { has_output, units, files, lines });

#[derive(Debug)]
pub(super) struct DoneRow {
    pub(super) run: Option<(SystemTime, SystemTime)>,
    /// Without one it ended as its input says.
    pub(super) failure: Option<Failure>,
    pub(super) ended: Option<SystemTime>,
    pub(super) until: Option<SystemTime>,
    pub(super) is_large: bool,
    pub(super) age: u64,
}

row!(DoneRow { run, failure, ended, until, is_large, age });

impl Field for Stand {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Queued { ticket } => {
                out.push(0);
                ticket.put(out);
            }
            Self::Running { since } => {
                out.push(1);
                since.put(out);
            }
            Self::Done(done) => {
                out.push(2);
                done.put(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(input)? {
            0 => Self::Queued { ticket: u64::take(input)? },
            1 => Self::Running { since: SystemTime::take(input)? },
            2 => Self::Done(Box::new(DoneRow::take(input)?)),
            _ => return None,
        })
    }
}

/// A file without its bytes.
#[derive(Debug)]
pub(super) struct FileRow {
    pub(super) key: u128,
    pub(super) host: Host,
    pub(super) rest: Box<str>,
    pub(super) keep: Option<Keep>,
    pub(super) until: Option<SystemTime>,
    pub(super) holds: Holds,
}

row!(FileRow { key, host, rest, keep, until, holds });

#[derive(Debug)]
pub(super) enum Holds {
    Awaited {
        content_type: Box<str>,
    },
    /// Its parts have rows of their own.
    Parts {
        id: u128,
        access: Access,
        content_type: Box<str>,
    },
    Uploaded {
        content_type: Box<str>,
        etag: Box<str>,
        blobs: Vec<u64>,
    },
    /// What a model made, not its bytes: those are made again.
    Made(Box<Media>),
    Gone,
}

impl Field for Holds {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Awaited { content_type } => {
                out.push(0);
                content_type.put(out);
            }
            Self::Parts { id, access, content_type } => {
                out.push(1);
                id.put(out);
                access.put(out);
                content_type.put(out);
            }
            Self::Uploaded { content_type, etag, blobs } => {
                out.push(2);
                content_type.put(out);
                etag.put(out);
                blobs.put(out);
            }
            Self::Made(media) => {
                out.push(3);
                media.put(out);
            }
            Self::Gone => out.push(4),
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(input)? {
            0 => Self::Awaited { content_type: Field::take(input)? },
            1 => Self::Parts {
                id: Field::take(input)?,
                access: Field::take(input)?,
                content_type: Field::take(input)?,
            },
            2 => Self::Uploaded {
                content_type: Field::take(input)?,
                etag: Field::take(input)?,
                blobs: Field::take(input)?,
            },
            3 => Self::Made(Box::new(Media::take(input)?)),
            4 => Self::Gone,
            _ => return None,
        })
    }
}

/// A delivery without its body.
#[derive(Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) request_id: RequestId,
    pub(crate) url: Box<str>,
    pub(crate) state: u8,
    pub(crate) attempts: Vec<DeliveryAttempt>,
    pub(crate) tries: u32,
    pub(crate) epoch: u32,
    pub(crate) until: Option<SystemTime>,
    /// When the next attempt begins, while it rests.
    pub(crate) next: Option<SystemTime>,
}

row!(DeliveryRow { request_id, url, state, attempts, tries, epoch, until, next });

impl Field for DeliveryAttempt {
    fn put(&self, out: &mut Vec<u8>) {
        self.at.put(out);
        self.result.put(out);
        out.extend_from_slice(&self.signature);
        (self.bytes as u64).put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let (at, result) = (Field::take(input)?, Field::take(input)?);
        let (signature, rest) = input.split_first_chunk()?;
        *input = rest;
        let bytes = usize::try_from(u64::take(input)?).ok()?;
        Some(Self { at, result, signature: *signature, bytes })
    }
}

impl Field for DeliveryResult {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Answered(status) => {
                out.push(0);
                status.put(out);
            }
            Self::Failed(why) => {
                out.push(1);
                why.put(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(input)? {
            0 => Self::Answered(Field::take(input)?),
            1 => Self::Failed(Field::take(input)?),
            _ => return None,
        })
    }
}

impl Field for RequestId {
    fn put(&self, out: &mut Vec<u8>) {
        self.bits().put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        u128::take(input).map(Self::from_bits)
    }
}

impl Field for StatusCode {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_u16().put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Self::from_u16(u16::take(input)?).ok()
    }
}

impl Field for HeaderName {
    fn put(&self, out: &mut Vec<u8>) {
        Box::<str>::from(self.as_str()).put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Self::from_bytes(Box::<str>::take(input)?.as_bytes()).ok()
    }
}

impl Field for HeaderValue {
    fn put(&self, out: &mut Vec<u8>) {
        Box::<[u8]>::from(self.as_bytes()).put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Self::from_bytes(&Box::<[u8]>::take(input)?).ok()
    }
}

impl Field for Failure {
    fn put(&self, out: &mut Vec<u8>) {
        self.status.put(out);
        self.body.put(out);
        self.headers.put(out);
        self.error.put(out);
        self.error_type.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let mut failure = Self::new(StatusCode::take(input)?, Bytes::take(input)?, "", None);
        failure.headers = Field::take(input)?;
        failure.error = Field::take(input)?;
        failure.error_type = Field::take(input)?;
        Some(failure)
    }
}

impl Field for Decision {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Allow => 0,
            Self::Forbid => 1,
            Self::Hide => 2,
        });
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(input)? {
            0 => Self::Allow,
            1 => Self::Forbid,
            2 => Self::Hide,
            _ => return None,
        })
    }
}

impl Field for Acl {
    fn put(&self, out: &mut Vec<u8>) {
        self.default.put(out);
        let rules: Vec<(Box<str>, Decision)> =
            self.rules.iter().map(|(user, decision)| (user.as_str().into(), *decision)).collect();
        rules.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let default = Decision::take(input)?;
        let rules: Vec<(Box<str>, Decision)> = Field::take(input)?;
        let rules = rules.into_iter().map(|(user, decision)| (user.into(), decision)).collect();
        Some(Self { default, rules })
    }
}

impl Field for Keep {
    fn put(&self, out: &mut Vec<u8>) {
        self.lifetime.put(out);
        self.acl.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(Self { lifetime: Field::take(input)?, acl: Field::take(input)? })
    }
}

impl Field for Lifecycle {
    fn put(&self, out: &mut Vec<u8>) {
        self.lifetime.put(out);
        self.acl.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let lifetime: Option<Option<Duration>> = Field::take(input)?;
        Some(Self { lifetime, acl: Field::take(input)? })
    }
}

impl Field for Host {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self == Self::Gcs));
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        // Files are on no other host.
        Some(if bool::take(input)? { Self::Gcs } else { Self::Cdn })
    }
}

impl Field for Access {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Signature => 0,
            Self::Token => 1,
            Self::Key => 2,
        });
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(input)? {
            0 => Self::Signature,
            1 => Self::Token,
            2 => Self::Key,
            _ => return None,
        })
    }
}

impl Field for Door<'static> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Direct => out.push(0),
            Self::Named { is_secure, port } => {
                out.push(1);
                is_secure.put(out);
                port.put(out);
            }
            Self::Prefix { is_secure, authority } => {
                out.push(2);
                is_secure.put(out);
                Box::<str>::from(&**authority).put(out);
            }
            Self::Proxy { is_secure, authority } => {
                out.push(3);
                is_secure.put(out);
                Box::<str>::from(&**authority).put(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let authority = |input: &mut &[u8]| Some(Cow::Owned(Box::<str>::take(input)?.into()));
        Some(match u8::take(input)? {
            0 => Self::Direct,
            1 => Self::Named { is_secure: Field::take(input)?, port: Field::take(input)? },
            2 => Self::Prefix { is_secure: Field::take(input)?, authority: authority(input)? },
            3 => Self::Proxy { is_secure: Field::take(input)?, authority: authority(input)? },
            _ => return None,
        })
    }
}
