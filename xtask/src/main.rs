//! The workspace's own chores: `cargo xtask help` lists them.

mod ci;
mod command;
mod dist;
mod metadata;
mod purity;
mod setup;
mod spdx;
mod tidy;
mod tree;

use std::process::ExitCode;

use crate::setup::Missing;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["ci"] => ci::ci(),
        ["test"] => ci::test(),
        ["tidy"] => tidy::tidy(),
        ["kill"] => kill("100"),
        ["kill", times] => kill(times),
        ["purity"] => purity::purity(),
        ["bench"] => bench("cpu", &[]),
        ["bench", "validation"] => bench("validation", &[]),
        ["bench", "mock"] => bench_mock(),
        ["bench", "upload"] => bench("upload", &[]),
        ["bench", "upload", mib] => bench("upload", &["--", mib]),
        ["dist"] => dist::dist(None),
        ["dist", target] if !target.starts_with('-') => dist::dist(Some(target)),
        ["codegen-all"] => codegen_all(&[]),
        ["codegen-all", "--clippy"] => codegen_all(&["--", "--clippy"]),
        ["validation"] => validation(),
        ["setup"] => setup::setup(Missing::Fatal),
        [] | ["help" | "--help" | "-h"] => {
            eprint!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => Err(format!("`{}` is not a task\n\n{HELP}", arguments.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Kills a mock with a state so often, under load, and looks whether anything was lost.
fn kill(times: &str) -> Outcome {
    let test =
        ["test", "--package", "fal-mock", "--test", "contract", "kill::", "--", "--nocapture"];
    command::run(command::cargo(&test).env("FAL_MOCK_KILLS", times))
}

/// Runs one bench of the workspace in the release profile.
fn bench(name: &str, more: &[&str]) -> Outcome {
    let arguments = ["bench", "--package", "fal-conformance", "--bench", name];
    command::run(&mut command::cargo(&[&arguments, more].concat()))
}

/// Builds the mock as its users have it, and puts it under load.
fn bench_mock() -> Outcome {
    let build = [
        "build",
        "--release",
        "--package",
        "fal-mock",
        "--message-format",
        "json-render-diagnostics",
    ];
    let messages = command::output_of(&mut command::cargo(&build))?;
    // The last one that names a program names the binary; where cargo puts it is its business.
    let program = messages.lines().rev().find_map(|line| {
        let start = line.find("\"executable\":\"")? + "\"executable\":\"".len();
        Some(line[start..].split('"').next()?.replace("\\\\", "\\"))
    });
    let program = program.ok_or("cargo did not say where the mock is")?;
    let arguments = ["bench", "--package", "fal-conformance", "--bench", "mock"];
    command::run(command::cargo(&arguments).env("FAL_MOCK_BIN", program))
}

/// Generates, compiles and plays the types of every document that is there.
fn codegen_all(more: &[&str]) -> Outcome {
    let arguments = ["run", "--quiet", "--package", "fal-codegen-check", "--bin", "codegen-all"];
    command::run(&mut command::cargo(&[&arguments, more].concat()))
}

/// Compares validation with pydantic over the whole corpus, where a plain test takes a sample.
fn validation() -> Outcome {
    setup::setup(Missing::Fatal)?;
    let arguments = [
        "test",
        "--package",
        "fal-conformance",
        "--test",
        "suite",
        "schema::",
        "--",
        "--nocapture",
    ];
    command::run(command::cargo(&arguments).env("FAL_VALIDATION", "all"))
}

/// How a task ends: well, or with what to tell the person who ran it.
type Outcome = Result<(), String>;

const HELP: &str = "\
usage: cargo xtask TASK

  ci      every gate, in order; what the hosted workflow runs
  test    setup, then every test
  tidy    rules about the tree that no compiler knows
  kill [TIMES]
          kills a mock with a state under load, 100 times, and looks whether anything was lost
  purity  what the compiled core imports from its environment: nothing
  bench   CPU of mock and client beside bare hyper, as ratios
  bench mock
          the mock's start, memory, waits and streams at once, hours of its time
  bench upload [MIB]
          throughput and memory of a large upload beside bare hyper
  bench validation
          inputs validated per second beside the crate jsonschema
  dist [TARGET]
          the stripped program, manual pages, completions, a wheel and packages for npm, below target/dist
  codegen-all [--clippy]
          types of every model document that is there: generated, compiled, and their examples played
  validation
          our validation beside jsonschema, and beside pydantic over the whole corpus
  setup   installs the pinned packages of the tests with official clients
";
