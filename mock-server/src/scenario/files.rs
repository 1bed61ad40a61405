//! Files that a scenario names.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;

/// Where a scenario's files are looked for.
pub(crate) trait Files {
    /// The bytes of a file.
    fn read(&self, name: &str) -> Result<Bytes, String>;
    /// The path of a file or folder that is there.
    fn find(&self, name: &str) -> Result<PathBuf, String>;
    /// The folder that they stand in, where there is one.
    fn folder(&self) -> Option<PathBuf> {
        None
    }
}

/// For scenarios that did not come from a file.
#[derive(Debug)]
pub(crate) struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Bytes, String> {
        Err(NO_FILES.to_owned())
    }

    fn find(&self, _: &str) -> Result<PathBuf, String> {
        Err(NO_FILES.to_owned())
    }
}

const NO_FILES: &str =
    "a scenario that does not come from a file names no files: write the value here";

/// Files beside a scenario.
#[derive(Debug)]
pub(crate) struct Beside {
    folder: PathBuf,
    /// What was looked for.
    named: RefCell<Vec<PathBuf>>,
}

impl Beside {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder, named: RefCell::new(Vec::new()) }
    }

    /// Every path that was looked for.
    pub(crate) fn into_named(self) -> Vec<PathBuf> {
        self.named.into_inner()
    }
}

impl Files for Beside {
    fn read(&self, name: &str) -> Result<Bytes, String> {
        let path = self.find(name)?;
        let named = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let length = fs::metadata(&path).map_err(named)?.len();
        if length > OUTPUT_BYTES_MAX {
            return Err(format!("{} is longer than {OUTPUT_BYTES_MAX} bytes", path.display()));
        }
        fs::read(&path).map(Into::into).map_err(named)
    }

    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        self.named.borrow_mut().push(path.clone());
        match path.exists() {
            true => Ok(path),
            false => Err(format!("there is no {}", path.display())),
        }
    }

    fn folder(&self) -> Option<PathBuf> {
        // The empty path means this one, but cannot be changed to.
        Some(self.folder.clone()).filter(|folder| !folder.as_os_str().is_empty())
    }
}

/// Files at hand, for tests.
#[cfg(test)]
pub(crate) struct FilesOf<'a>(pub(crate) Vec<(&'a str, &'a [u8])>);

#[cfg(test)]
impl Files for FilesOf<'_> {
    fn read(&self, name: &str) -> Result<Bytes, String> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found
            .map(|(_, bytes)| Bytes::copy_from_slice(bytes))
            .ok_or_else(|| format!("there is no {name}"))
    }

    fn find(&self, name: &str) -> Result<PathBuf, String> {
        self.read(name).map(|_| name.into())
    }
}

/// Longest file that an output names: 64 MiB.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 64 << 20;
