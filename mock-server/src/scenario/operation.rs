//! What a request to the service is about.

use std::fmt;

/// What a request is about, or what the service does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `POST` to the queue.
    Submit,
    /// Status of a queued job.
    Status,
    /// Status of a queued job as a stream of events.
    StatusStream,
    /// Result of a queued job.
    Result,
    /// Cancel of a queued job.
    Cancel,
    /// Direct call.
    Run,
    /// Stream of a model.
    Stream,
    /// Handshake of a WebSocket.
    Realtime,
    /// Message of the service in a session.
    Frame,
    /// Start of an upload, in one piece or in parts.
    UploadInitiate,
    /// Data of an upload in one piece.
    UploadPut,
    /// One part of an upload.
    UploadPart,
    /// Parts of an upload are put together.
    UploadComplete,
    /// Download of a file.
    Download,
    /// Token for sessions, streams or uploads.
    Token,
    /// Attempt to deliver a webhook.
    Webhook,
    /// Platform API and documents of models.
    Platform,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Submit,
        Self::Status,
        Self::StatusStream,
        Self::Result,
        Self::Cancel,
        Self::Run,
        Self::Stream,
        Self::Realtime,
        Self::Frame,
        Self::UploadInitiate,
        Self::UploadPut,
        Self::UploadPart,
        Self::UploadComplete,
        Self::Download,
        Self::Token,
        Self::Webhook,
        Self::Platform,
    ];

    /// Its name in scenario files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Status => "status",
            Self::StatusStream => "status-stream",
            Self::Result => "result",
            Self::Cancel => "cancel",
            Self::Run => "run",
            Self::Stream => "stream",
            Self::Realtime => "realtime",
            Self::Frame => "frame",
            Self::UploadInitiate => "upload-initiate",
            Self::UploadPut => "upload-put",
            Self::UploadPart => "upload-part",
            Self::UploadComplete => "upload-complete",
            Self::Download => "download",
            Self::Token => "token",
            Self::Webhook => "webhook",
            Self::Platform => "platform",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operations(u32);

impl Operations {
    pub(crate) const NONE: Self = Self(0);
    /// Calls of a model by HTTP.
    pub(crate) const CALLS: Self =
        Self::of(&[Operation::Submit, Operation::Run, Operation::Stream]);
    /// What a rule decides about: calls of a model, of which each input of a session is one.
    pub(crate) const DECIDED: Self = Self::CALLS.and(Self::of(&[Operation::Realtime]));
    pub(crate) const UPLOADS: Self = Self::of(&[
        Operation::UploadInitiate,
        Operation::UploadPut,
        Operation::UploadPart,
        Operation::UploadComplete,
    ]);
    /// Those that answer with a stream of pieces.
    pub(crate) const STREAMS: Self =
        Self::of(&[Operation::StatusStream, Operation::Stream, Operation::Frame]);
    pub(crate) const WEBHOOK: Self = Self::of(&[Operation::Webhook]);
    /// Those that a peer sees as an answer to an HTTP request.
    pub(crate) const REQUESTS: Self =
        Self(Self::of(&Operation::ALL).0 & !Self::of(&[Operation::Frame, Operation::Webhook]).0);

    /// Those of them that answer with a body.
    pub(crate) const BODIES: Self = Self(Self::REQUESTS.0 & !Self::of(&[Operation::Realtime]).0);

    pub(crate) const fn of(list: &[Operation]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < list.len() {
            bits |= 1 << list[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    pub(crate) const fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u32) != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL.into_iter().filter(move |operation| self.has(*operation))
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, operation) in self.iter().enumerate() {
            write!(f, "{}{operation}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// The names of operations in files, and one for all steps of an upload.
pub(crate) fn words() -> Vec<(&'static str, Operations)> {
    let single = Operation::ALL.map(|operation| (operation.name(), Operations::of(&[operation])));
    single.into_iter().chain([("upload", Operations::UPLOADS)]).collect()
}
