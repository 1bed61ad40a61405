//! Packages of npm.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Missing, is_current, write_stamp};
use crate::Outcome;
use crate::command::{at_root, is_installed, run};
use crate::tree::root;

/// Installs what `tests/clients/js/package-lock.json` and `tests/page/package-lock.json` pin.
pub(super) fn setup(missing: Missing) -> Outcome {
    if !is_installed("node") || !is_installed("npm") {
        return missing.report(
            "node or npm is not installed, so neither the official JavaScript client nor the mock's page can be tested",
        );
    }
    install("tests/clients/js", "target/ci-tools/js")?;
    install("tests/page", "target/ci-tools/page")
}

fn install(from: &str, to: &str) -> Outcome {
    let (from, to) = (root().join(from), root().join(to));
    let (pins, stamp) = (from.join(LOCK), to.join(STAMP));
    if is_current(&pins, &stamp) {
        eprintln!("{} is up to date", to.display());
        return Ok(());
    }
    copy_manifests(&from, &to)?;
    let mut npm = at_root(Command::new("npm"));
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&to);
    run(&mut npm)?;
    write_stamp(&pins, &stamp)
}

fn copy_manifests(from: &Path, to: &Path) -> Outcome {
    let failed = |error| format!("{} could not be prepared: {error}", to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for name in [MANIFEST, LOCK] {
        fs::copy(from.join(name), to.join(name)).map_err(failed)?;
    }
    Ok(())
}

const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";
/// A copy of the lock file whose packages are installed.
const STAMP: &str = ".installed-lock.json";
