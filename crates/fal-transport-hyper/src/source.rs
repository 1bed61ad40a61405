//! Where the bytes of an upload come from.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Something that a request body can be read from, at any offset and more than once.
#[derive(Clone)]
pub struct Source(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    File(Arc<Path>),
    Bytes(Bytes),
    Custom(Arc<dyn ReadAt>),
}

impl Source {
    /// A file, opened once per exchange and read in blocks of 256 KiB on the blocking threads.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into().into()))
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Bytes(bytes.into()))
    }

    /// Anything else.
    #[must_use]
    pub fn custom(source: Arc<dyn ReadAt>) -> Self {
        Self(Kind::Custom(source))
    }
}

/// Prints neither path nor content: both can be private.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(_) => f.write_str("Source::File"),
            Kind::Bytes(bytes) => write!(f, "Source::Bytes({} bytes)", bytes.len()),
            Kind::Custom(_) => f.write_str("Source::Custom"),
        }
    }
}

/// Reads a block at an offset.
///
/// The transport asks for one block after the other, the next one while the last is being written,
/// and starts over when it repeats a request.
pub trait ReadAt: Send + Sync {
    /// Reads at most `bytes_max` bytes from `offset`; no bytes at all mean the end of the source.
    ///
    /// # Errors
    /// Whatever kept it from reading; the exchange fails with
    /// [`FailureKind::Source`](fal_protocol::wire::FailureKind::Source).
    fn read_at(&self, offset: u64, bytes_max: usize) -> BlockFuture;
}

/// What [`ReadAt::read_at`] answers.
pub type BlockFuture = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// A file of one exchange.
pub(crate) struct FileBlocks {
    path: Arc<Path>,
    // Locked by one blocking thread at a time, because the body asks for one block at a time.
    file: Arc<Mutex<Option<File>>>,
}

impl FileBlocks {
    pub(crate) fn new(path: Arc<Path>) -> Self {
        Self { path, file: Arc::default() }
    }
}

impl ReadAt for FileBlocks {
    fn read_at(&self, offset: u64, bytes_max: usize) -> BlockFuture {
        let path = Arc::clone(&self.path);
        let file = Arc::clone(&self.file);
        let reading = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let file = match &mut *file {
                Some(file) => file,
                none => none.insert(File::open(path)?),
            };
            file.seek(SeekFrom::Start(offset))?;
            let mut block = Vec::with_capacity(bytes_max);
            file.take(bytes_max as u64).read_to_end(&mut block)?;
            Ok(Bytes::from(block))
        });
        Box::pin(async move { reading.await.map_err(io::Error::other)? })
    }
}

/// The request's own body could not be read.
#[derive(Debug)]
pub(crate) enum SourceError {
    Io(io::Error),
    /// It ended before the range did.
    Short,
    /// The request has a range, the exchange no source.
    Missing,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) if e.kind() == io::ErrorKind::NotFound => f.write_str("no such file"),
            Self::Io(e) => write!(f, "the upload could not be read: {e}"),
            Self::Short => f.write_str("the upload is shorter than the range to be sent"),
            Self::Missing => f.write_str("the request sends a range, but no source was given"),
        }
    }
}

impl std::error::Error for SourceError {}

/// How much of an upload is read at once: 256 KiB.
///
/// Large enough that the cost per block vanishes, small enough that hundreds of uploads at once stay
/// in tens of megabytes.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
