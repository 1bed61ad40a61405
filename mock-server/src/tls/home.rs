//! Where the mock keeps what must outlive it, and how it writes there.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Where the program keeps its certificate authority unless told otherwise; it need not exist.
///
/// `$XDG_DATA_HOME/fal-mock` or `~/.local/share/fal-mock`; on macOS `~/Library/Application Support/fal-mock`,
/// on Windows `%LOCALAPPDATA%\\fal-mock`. `None` where the environment names no home.
#[must_use]
pub fn data_dir() -> Option<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        absolute("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("fal-mock"))
}

/// Makes a directory that only this user can enter. One that is there stays as it is.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    private_dirs().recursive(true).create(dir).map_err(|error| named(&error, dir))
}

/// The same for one that nobody may have made before.
///
/// # Errors
/// `AlreadyExists` if there is something of that name.
pub(crate) fn make_fresh_dir(dir: &Path) -> io::Result<()> {
    private_dirs().create(dir).map_err(|error| named(&error, dir))
}

fn private_dirs() -> fs::DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Writes a new file that only this user can read. Other processes see all of it or nothing.
///
/// # Errors
/// `AlreadyExists` if there is a file of that name.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let (part, mut opened) = open_part(file)?;
    let written = opened.write_all(bytes).and_then(|()| opened.sync_all()).and_then(|()| {
        // Unlike a renaming, this never replaces a file.
        fs::hard_link(&part, file).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            // A file system without links.
            _ => fs::rename(&part, file),
        })
    });
    let _ = fs::remove_file(&part);
    written.map_err(|error| named(&error, file))
}

/// Writes a file, in place of one that may be there, at once.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let (part, mut opened) = open_part(file)?;
    let written = opened.write_all(bytes).and_then(|()| fs::rename(&part, file));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.map_err(|error| named(&error, file))
}

/// A file beside `file` that nobody else writes or reads.
fn open_part(file: &Path) -> io::Result<(PathBuf, File)> {
    use std::sync::atomic::{AtomicU32, Ordering};

    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let part = file.with_extension(format!("{}-{number}.part", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(&part).map_err(|error| named(&error, file))?;
    Ok((part, opened))
}

fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
