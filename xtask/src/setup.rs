//! The packages of the JavaScript client tests, in `target/ci-tools`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::command::{at_root, is_installed, run};
use crate::tree::root;

/// What to do where Node.js is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// Say so and go on.
    Optional,
    /// Fail.
    Required,
}

/// Installs what `tests/clients/js/package-lock.json` pins, unless that was done before.
pub(crate) fn setup(node: Node) -> Outcome {
    let from = root().join("tests/clients/js");
    let to = root().join("target/ci-tools/js");
    if !from.join(LOCK).exists() {
        eprintln!("no JavaScript packages are pinned in {}: nothing to install", from.display());
        return Ok(());
    }
    if !is_installed("node") || !is_installed("npm") {
        let reason =
            "node or npm is not installed, so the official JavaScript client cannot be tested";
        if node == Node::Required {
            return Err(reason.into());
        }
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    if is_current(&from, &to) {
        eprintln!("{} is up to date", to.display());
        return Ok(());
    }
    copy_manifests(&from, &to)?;
    let mut npm = at_root(Command::new("npm"));
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&to);
    run(&mut npm)?;
    // Last, so that an interrupted installation is done again.
    write_stamp(&from, &to)
}

/// Whether the packages installed are those that the lock file names now.
fn is_current(from: &Path, to: &Path) -> bool {
    match (fs::read(from.join(LOCK)), fs::read(to.join(STAMP))) {
        (Ok(wanted), Ok(installed)) => wanted == installed,
        _ => false,
    }
}

fn copy_manifests(from: &Path, to: &Path) -> Outcome {
    let failed = |error| format!("{} could not be prepared: {error}", to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for name in [MANIFEST, LOCK] {
        fs::copy(from.join(name), to.join(name)).map_err(failed)?;
    }
    Ok(())
}

fn write_stamp(from: &Path, to: &Path) -> Outcome {
    fs::copy(from.join(LOCK), to.join(STAMP))
        .map(|_| ())
        .map_err(|error| format!("{} could not be written: {error}", to.join(STAMP).display()))
}

const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";
/// A copy of the lock file whose packages are installed.
const STAMP: &str = ".installed-lock.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_follows_the_lock_file() {
        let base = std::env::temp_dir().join(format!("xtask-setup-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join(MANIFEST), "{}").unwrap();
        fs::write(from.join(LOCK), "1").unwrap();
        assert!(!is_current(&from, &to), "nothing is installed");
        copy_manifests(&from, &to).unwrap();
        assert!(!is_current(&from, &to), "an interrupted installation does not count");
        write_stamp(&from, &to).unwrap();
        assert!(is_current(&from, &to));
        fs::write(from.join(LOCK), "2").unwrap();
        assert!(!is_current(&from, &to), "the lock file has changed");
        fs::remove_dir_all(base).unwrap();
    }
}
