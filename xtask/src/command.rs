//! Starting other programs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;

/// The cargo that started this program, else the one on the path; at the root, without input.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = at_root(Command::new(program));
    command.args(arguments);
    command
}

/// `command`, at the root of the workspace and without input.
pub(crate) fn at_root(mut command: Command) -> Command {
    command.current_dir(crate::tree::root()).stdin(Stdio::null());
    command
}

/// Runs `command` with its output shown.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let name = name_of(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` failed ({status})")),
        Err(error) => Err(format!("`{name}` could not be started: {error}")),
    }
}

/// Runs `command` and returns what it wrote to its standard output.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    let name = name_of(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("`{name}` could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` failed ({})", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program answers `--version`.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_command() {
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err();
        assert!(error.starts_with("`tool` could not be started"), "{error}");
        let error = run(cargo(&["no-such-subcommand"]).stderr(Stdio::null())).unwrap_err();
        assert!(error.starts_with("`cargo no-such-subcommand` failed"), "{error}");
        assert!(!is_installed("/nonexistent/tool"));
    }
}
