//! Reads documents and tables from files and folders.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::model::{Catalog, Loaded};

/// Where model documents come from: a file, a folder, or bytes at hand.
///
/// A text is a path; a document at hand is given as bytes.
#[derive(Clone)]
#[non_exhaustive]
pub enum Source {
    /// A file, or a folder whose files ending in `.json` are read, those of its own folders not.
    Path(PathBuf),
    /// The bytes of a document, or of a list of models.
    Bytes(Bytes),
}

impl Source {
    /// Adds what is there to a catalog.
    pub(crate) fn add_to(&self, catalog: &mut Catalog) -> io::Result<Loaded> {
        match self {
            Self::Bytes(bytes) => catalog.add(bytes).map_err(invalid),
            Self::Path(path) if path.is_dir() => add_folder(catalog, path),
            Self::Path(path) => {
                let bytes = read(path)?;
                catalog.add(&bytes).map_err(|error| invalid(format!("{}: {error}", path.display())))
            }
        }
    }

    pub(crate) fn add_prices_to(&self, catalog: &mut Catalog) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => catalog.add_prices(bytes).map_err(invalid),
            Self::Path(path) => {
                let bytes = read(path)?;
                let named = |error| invalid(format!("{}: {error}", path.display()));
                catalog.add_prices(&bytes).map_err(named)
            }
        }
    }
}

/// A folder is taken as it is: files that hold no document are listed and do no harm.
fn add_folder(catalog: &mut Catalog, folder: &Path) -> io::Result<Loaded> {
    let named = |error: io::Error| invalid(format!("{}: {error}", folder.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        if path.extension().is_some_and(|end| end == "json") && path.is_file() {
            paths.push(path);
        }
    }
    // The order of a folder is the file system's; which of two documents of one endpoint counts must not be.
    paths.sort_unstable();
    let mut loaded = Loaded::default();
    for path in paths {
        match catalog.add(&read(&path)?) {
            Ok(more) => loaded.merge(more),
            Err(error) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                loaded.unusable.push((name, error.to_string()));
            }
        }
    }
    Ok(loaded)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| invalid(format!("{}: {error}", path.display()));
    let length = fs::metadata(path).map_err(named)?.len();
    if length > FILE_BYTES_MAX {
        return Err(invalid(format!("{} is longer than {FILE_BYTES_MAX} bytes", path.display())));
    }
    fs::read(path).map_err(named)
}

/// One kind for all of them, so that who starts a mock can tell them from troubles with its port.
fn invalid(problem: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&str> for Source {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&'static [u8]> for Source {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Bytes(Bytes::from_static(bytes))
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// Longest file that is read: 256 MiB, several times a list of all models.
const FILE_BYTES_MAX: u64 = 256 << 20;
