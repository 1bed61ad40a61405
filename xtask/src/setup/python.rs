//! Packages of PyPI, in a virtual environment.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Missing, is_current, write_stamp};
use crate::Outcome;
use crate::command::{at_root, output_of, run};
use crate::tree::root;

/// Installs what `tests/clients/python/requirements.txt` pins.
pub(super) fn setup(missing: Missing) -> Outcome {
    let to = root().join("target/ci-tools/python");
    let (pins, stamp) = (
        root().join("tests/clients/python/requirements.txt"),
        to.join(".installed-requirements.txt"),
    );
    if is_current(&pins, &stamp) {
        eprintln!("{} is up to date", to.display());
        return Ok(());
    }
    let Some(python) = ["python3", "python"].into_iter().find(|name| is_new_enough(name)) else {
        return missing.report(
            "Python 3.11 or newer is not installed, so the official Python client cannot be tested",
        );
    };
    // What an interrupted installation left is of no use.
    if to.exists() {
        fs::remove_dir_all(&to)
            .map_err(|error| format!("{} could not be removed: {error}", to.display()))?;
    }
    let mut venv = at_root(Command::new(python));
    if let Err(problem) = run(venv.args(["-m", "venv"]).arg(&to)) {
        // A half of it may be there.
        let _ = fs::remove_dir_all(&to);
        return missing.report(&format!(
            "{problem}; on Debian and Ubuntu the package python3-venv has what it lacks"
        ));
    }
    let own = program(&to);
    let mut pip = at_root(Command::new(&own));
    // All is pinned, so nothing is looked for beyond the list; the second step finds what is missing in it.
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--requirement"]);
    run(pip.arg(&pins))?;
    run(at_root(Command::new(&own)).args(["-m", "pip", "check", "--disable-pip-version-check"]))?;
    write_stamp(&pins, &stamp)
}

/// The interpreter of a virtual environment.
fn program(folder: &Path) -> std::path::PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// Whether it is a Python that the pinned packages take.
fn is_new_enough(name: &str) -> bool {
    let script = "import sys; print(sys.version_info >= (3, 11))";
    output_of(at_root(Command::new(name)).args(["-c", script]))
        .is_ok_and(|output| output.trim() == "True")
}
