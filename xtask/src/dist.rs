//! What is given to others: the program, its pages, and the packages that carry it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::command::{at_root, cargo, is_installed, output_of, run};
use crate::tree::root;

/// Builds all of it for `target`, a triple, else for this machine.
pub(crate) fn dist(target: Option<&str>) -> Outcome {
    let host = host()?;
    let target = target.unwrap_or(&host);
    // Beside it are files that cargo makes on the way.
    let folder = root().join("target/dist").join(target);
    let program = program(target, &folder)?;
    manual(&folder)?;
    if is_of(target, &host) {
        python(&program, &folder)?;
        npm(&program, &folder)?;
    } else {
        eprintln!("skipped: packages are made on a machine of their kind, and this one is {host}");
    }
    report(&folder)
}

/// The triple of this machine.
fn host() -> Result<String, String> {
    let said = output_of(&mut at_root({
        let mut rustc = Command::new("rustc");
        rustc.arg("-vV");
        rustc
    }))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| format!("rustc names no host: {said}"))
}

/// Whether machines of `host` run what is built for `target`: another C library changes nothing.
fn is_of(target: &str, host: &str) -> bool {
    let system = |triple: &str| {
        let parts: Vec<&str> = triple.split('-').collect();
        (parts.first().map(|part| (*part).to_owned()), parts.get(2).map(|part| (*part).to_owned()))
    };
    system(target) == system(host)
}

/// The program, stripped.
fn program(target: &str, folder: &Path) -> Result<PathBuf, String> {
    // Named always, so that the place of the program is always of the same form.
    let build =
        ["build", "--profile", "dist", "--locked", "--package", "fal-mock", "--target", target];
    let mut build = cargo(&build);
    build.args(["--bin", "fal-mock"]);
    if target.contains("-musl") && !is_installed(&linker_of(target)) && is_installed("musl-gcc") {
        // What Debian's package musl-tools calls it; C in dependencies needs it.
        build.env(format!("CC_{}", target.replace('-', "_")), "musl-gcc");
    }
    run(&mut build)?;
    let name = if target.contains("-windows-") { "fal-mock.exe" } else { "fal-mock" };
    let built = root().join("target").join(target).join("dist").join(name);
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let program = folder.join(name);
    fs::copy(&built, &program).map_err(|error| failed(&program, &error))?;
    Ok(program)
}

fn linker_of(target: &str) -> String {
    let machine = target.split('-').next().unwrap_or_default();
    format!("{machine}-linux-musl-gcc")
}

/// Manual pages and completions.
fn manual(folder: &Path) -> Outcome {
    let write = ["run", "--quiet", "--locked", "--package", "fal-mock", "--features", "manual"];
    run(cargo(&write).args(["--", "manual"]).arg(folder))
}

/// The wheel.
fn python(program: &Path, folder: &Path) -> Outcome {
    let Some(python) = ["python3", "python"].into_iter().find(|name| is_installed(name)) else {
        eprintln!("skipped: Python is not installed, so there is no wheel");
        return Ok(());
    };
    let mut pip = at_root(Command::new(python));
    pip.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--no-index", "--wheel-dir"])
        .arg(folder)
        .arg("./mock-server/python")
        .env("FAL_MOCK_BIN", program);
    run(&mut pip)
}

/// The packages for npm.
fn npm(program: &Path, folder: &Path) -> Outcome {
    if !is_installed("node") || !is_installed("npm") {
        eprintln!("skipped: node or npm is not installed, so there are no packages for npm");
        return Ok(());
    }
    let mut node = at_root(Command::new("node"));
    run(node.arg("mock-server/npm/pack.mjs").arg(program).arg(folder))
}

/// Says what there is.
fn report(folder: &Path) -> Outcome {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let mut files: Vec<(PathBuf, u64)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .filter(|(_, metadata)| metadata.is_file())
        .map(|(path, metadata)| (path, metadata.len()))
        .collect();
    files.sort();
    eprintln!("\n{}:", folder.display());
    for (path, bytes) in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        eprintln!("  {:>7.1} MiB  {name}", bytes as f64 / f64::from(1 << 20));
    }
    eprintln!("               man/, completions/");
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_run_what_is_built_for_their_kind() {
        let gnu = "x86_64-unknown-linux-gnu";
        assert!(is_of("x86_64-unknown-linux-musl", gnu) && is_of(gnu, gnu));
        assert!(!is_of("aarch64-unknown-linux-gnu", gnu) && !is_of("x86_64-pc-windows-msvc", gnu));
    }

    #[test]
    fn this_machine_has_a_triple() {
        assert!(host().unwrap().split('-').count() >= 3);
    }
}
