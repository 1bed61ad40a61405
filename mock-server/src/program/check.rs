//! `fal-mock check`: what is wrong with scenario files.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use fal_mock::scenario::{Problems, Scenario};

/// Read scenario files and say everything that is wrong with them.
///
/// A folder stands for its scenarios: files that end in .yaml, .yml or .scenario.json, and those called scenario.yaml,
/// .yml or .json in its own folders. A name stands for a scenario that comes with the mock.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// Print one JSON array: an object with file, line, column, path and message for each problem.
    #[arg(long)]
    json: bool,

    /// Print the JSON Schema of scenario files instead, for editors.
    #[arg(long, conflicts_with = "paths")]
    schema: bool,

    /// Files, folders, and names.
    #[arg(required_unless_present = "schema", value_name = "FILE|DIR|NAME")]
    paths: Vec<PathBuf>,
}

/// Exit code 1 if anything is wrong.
pub(crate) fn check(flags: &Check) -> ExitCode {
    let mut out = io::stdout().lock();
    if flags.schema {
        // A reader that has gone wants no more.
        let _ = out.write_all(fal_mock::scenario::SCHEMA.as_bytes());
        return ExitCode::SUCCESS;
    }
    let mut right = Vec::new();
    let mut wrong: Vec<Problems> = Vec::new();
    for path in &flags.paths {
        if !path.exists()
            && let Some(scenario) = path.to_str().and_then(Scenario::bundled)
        {
            right.push((path.display().to_string(), scenario));
            continue;
        }
        match Scenario::files(path) {
            Ok(files) => {
                for file in files {
                    match Scenario::load(&file) {
                        Ok(scenario) => right.push((file.display().to_string(), scenario)),
                        Err(problems) => wrong.push(problems),
                    }
                }
            }
            Err(problems) => wrong.push(problems),
        }
    }
    let text = match flags.json {
        true => {
            let all: Vec<serde_json::Value> = wrong
                .iter()
                .flat_map(|problems| problems.to_json().as_array().cloned().unwrap_or_default())
                .collect();
            format!("{}\n", serde_json::Value::Array(all))
        }
        false => {
            let mut lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            lines.extend(
                right.iter().map(|(file, scenario)| format!("{file}: {}", scenario.summary())),
            );
            format!("{}\n", lines.join("\n"))
        }
    };
    let _ = out.write_all(text.as_bytes());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_WRONG) }
}

/// Something is wrong with a scenario.
const EXIT_WRONG: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  fal-mock check scenario.yaml
  fal-mock check --json tests/scenarios/       for editors and CI
  fal-mock check --schema > scenario.schema.json

Exit codes: 0 if all is right, 1 if anything is wrong, 2 if a flag is.";
