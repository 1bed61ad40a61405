//! The crate `fal` of crates.io, built apart from the workspace.

use std::fs;
use std::process::Command;

use super::{Missing, is_current, write_stamp};
use crate::Outcome;
use crate::command::{at_root, cargo, run};
use crate::tree::root;

/// Builds what `tests/clients/rust/Cargo.lock` pins.
///
/// That crate speaks TLS through OpenSSL, whose headers are not everywhere: without them it is left out.
pub(super) fn setup() -> Outcome {
    let from = root().join("tests/clients/rust");
    let to = root().join("target/ci-tools/rust");
    // The script too: it is part of what is built.
    let (pins, stamp) = (from.join("Cargo.lock"), to.join(".built-lock"));
    let (source, built) = (from.join("src/main.rs"), to.join(".built-main.rs"));
    if is_current(&pins, &stamp) && is_current(&source, &built) {
        eprintln!("{} is up to date", to.display());
        return Ok(());
    }
    let mut probe = at_root(Command::new("pkg-config"));
    if !probe.args(["--exists", "openssl"]).status().is_ok_and(|status| status.success()) {
        return Missing::Tolerated.report(
            "the headers of OpenSSL are not installed (on Debian: pkg-config and libssl-dev), so the crate \
             `fal` cannot be tested",
        );
    }
    fs::create_dir_all(&to)
        .map_err(|error| format!("{} could not be made: {error}", to.display()))?;
    let mut build = cargo(&["build", "--locked", "--manifest-path"]);
    run(build.arg(from.join("Cargo.toml")).arg("--target-dir").arg(&to))?;
    write_stamp(&source, &built)?;
    write_stamp(&pins, &stamp)
}
