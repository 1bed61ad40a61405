//! The packages of the tests with official clients, in `target/ci-tools`, and the browser of the page's tests.

mod browser;
mod javascript;
mod python;
mod rust;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// What to do where Node.js or Python is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Say so and go on.
    Tolerated,
    /// Fail.
    Fatal,
}

impl Missing {
    fn report(self, reason: &str) -> Outcome {
        if self == Self::Fatal {
            return Err(reason.into());
        }
        eprintln!("skipped: {reason}");
        Ok(())
    }
}

/// Installs what is pinned in `tests/clients`, unless that was done before.
pub(crate) fn setup(missing: Missing) -> Outcome {
    documents();
    javascript::setup(missing)?;
    browser::setup()?;
    python::setup(missing)?;
    rust::setup()
}

/// Says so if there are no documents beside those of this repository: the tests that read them pass all the same.
fn documents() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/openapi");
    let folder = std::env::var_os("FAL_OPENAPI_CORPUS").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        let folder = folder.display();
        eprintln!(
            "skipped: published documents, since there is no {folder}; FAL_OPENAPI_CORPUS can name a folder of them"
        );
    }
}

/// Whether what is installed is what a file pins now: `stamp` is a copy of it, written when all was done.
fn is_current(pins: &Path, stamp: &Path) -> bool {
    match (fs::read(pins), fs::read(stamp)) {
        (Ok(wanted), Ok(installed)) => wanted == installed,
        _ => false,
    }
}

/// Says that all is done. Last, so that an interrupted installation is done again.
fn write_stamp(pins: &Path, stamp: &Path) -> Outcome {
    fs::copy(pins, stamp)
        .map(|_| ())
        .map_err(|error| format!("{} could not be written: {error}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_follows_the_pins() {
        let base = std::env::temp_dir().join(format!("xtask-setup-{}", std::process::id()));
        let (pins, stamp) = (base.join("pins"), base.join("stamp"));
        fs::create_dir_all(&base).unwrap();
        fs::write(&pins, "1").unwrap();
        assert!(!is_current(&pins, &stamp), "nothing is installed");
        write_stamp(&pins, &stamp).unwrap();
        assert!(is_current(&pins, &stamp));
        fs::write(&pins, "2").unwrap();
        assert!(!is_current(&pins, &stamp), "the pins have changed");
        fs::remove_dir_all(base).unwrap();
    }
}
