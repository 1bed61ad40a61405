use std::fmt;
use std::fs::Metadata;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;

/// Where the content of a file comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum UploadSource {
    /// A local file, read as it goes out: memory stays flat.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl UploadSource {
    /// Whether it is the same content, without looking into files.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Debug for UploadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl From<PathBuf> for UploadSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&str> for UploadSource {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&std::path::Path> for UploadSource {
    fn from(path: &std::path::Path) -> Self {
        Self::File(path.into())
    }
}

impl From<Bytes> for UploadSource {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for UploadSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// What a file looked like: if it looks the same later, nobody has written to it.
///
/// Length and time of change. It is what rsync and make rely on, and costs no reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    len: u64,
    modified: Option<SystemTime>,
}

impl Look {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// As it is noted in an upload's state.
    pub(crate) fn note(&self) -> String {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let modified = self.modified.and_then(since).map_or(0, |since| since.as_nanos());
        format!("len={} mtime={modified}", self.len)
    }
}
