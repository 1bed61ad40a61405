//! The browser that the mock's page is tested in.

use std::path::Path;
use std::process::Command;

use super::Missing;
use crate::Outcome;
use crate::command::{at_root, is_installed, output_of, run};

/// Installs Debian's Chromium where that is possible: as root, with apt.
///
/// Debian keeps the latest version of a release only, so no other can be pinned; which one it is, is said. Where it is
/// missing the tests of the page are left out, in CI too.
pub(super) fn setup() -> Outcome {
    if !Path::new(PROGRAM).exists() {
        let is_root =
            output_of(at_root(Command::new("id")).arg("-u")).is_ok_and(|id| id.trim() == "0");
        if !is_root || !is_installed("apt-get") {
            return Missing::Tolerated.report(&format!(
                "there is no {PROGRAM}, so the mock's page cannot be tested; on Debian, as root: apt-get install chromium"
            ));
        }
        let apt = |arguments: &[&str]| {
            run(at_root(Command::new("apt-get"))
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(arguments))
        };
        let installed = apt(&["update", "--quiet"]).and_then(|()| {
            apt(&["install", "--yes", "--quiet", "--no-install-recommends", "chromium"])
        });
        if let Err(problem) = installed {
            return Missing::Tolerated
                .report(&format!("{problem}, so the mock's page cannot be tested"));
        }
    }
    let version = output_of(at_root(Command::new(PROGRAM)).arg("--version")).unwrap_or_default();
    eprintln!("{PROGRAM} is {}", version.trim());
    Ok(())
}

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/chromium";
