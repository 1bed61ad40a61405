//! The gates, in order.

use std::time::{Duration, Instant};

use crate::command::{cargo, run};
use crate::setup::{Missing, setup};
use crate::{Outcome, purity, tidy};

/// Every gate. Stops at the first that fails.
pub(crate) fn ci() -> Outcome {
    perform(&[
        Step {
            name: "format",
            help: "run `cargo fmt --all`",
            run: || run(&mut cargo(&["fmt", "--all", "--check"])),
        },
        Step { name: "tidy", help: "each line above names a file and a rule", run: tidy::tidy },
        Step {
            name: "clippy",
            help: "run `cargo clippy --workspace --all-targets --all-features`",
            run: || {
                run(&mut cargo(&[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--all-features",
                    "--",
                    "-D",
                    "warnings",
                ]))
            },
        },
        Step {
            name: "docs",
            help: "run `cargo doc --workspace --no-deps`; every warning counts",
            run: || {
                run(cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
                    .env("RUSTDOCFLAGS", "-D warnings"))
            },
        },
        Step {
            name: "setup",
            help: "the client tests need Node.js 20, npm, Python 3.11 or newer, and package registries",
            run: || setup(Missing::Fatal),
        },
        TEST,
        Step {
            name: "core without features",
            help: "run `cargo test -p fal-protocol --no-default-features`",
            run: || run(&mut cargo(&["test", "-p", "fal-protocol", "--no-default-features"])),
        },
        Step {
            name: "purity",
            help: "the core must not reach for its environment: pass the value as an argument",
            run: purity::purity,
        },
    ])
}

/// Every test, for a newcomer: without Node.js or Python the tests that need them are left out.
pub(crate) fn test() -> Outcome {
    perform(&[
        Step { name: "setup", help: "run `cargo xtask setup`", run: || setup(Missing::Tolerated) },
        TEST,
    ])
}

const TEST: Step = Step {
    name: "test",
    help: "run the failed test alone with `cargo test -p CRATE NAME`",
    run: || run(&mut cargo(&["test", "--workspace", "--all-features"])),
};

struct Step {
    name: &'static str,
    /// What to do when it fails.
    help: &'static str,
    run: fn() -> Outcome,
}

fn perform(steps: &[Step]) -> Outcome {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n==== {}/{} {}", index + 1, steps.len(), step.name);
        let start = Instant::now();
        if let Err(problem) = (step.run)() {
            return Err(format!("{problem}\n\n{} failed. What to do: {}", step.name, step.help));
        }
        times.push((step.name, start.elapsed()));
        eprintln!("==== {} passed in {:.1} s", step.name, start.elapsed().as_secs_f64());
    }
    eprintln!("\nall {} steps passed", steps.len());
    for (name, time) in times {
        eprintln!("  {:>7.1} s  {name}", time.as_secs_f64());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_failure_stops_and_says_what_to_do() {
        let steps = [
            Step { name: "one", help: "", run: || Ok(()) },
            Step { name: "two", help: "mend it", run: || Err("it broke".into()) },
            Step { name: "three", help: "", run: || panic!("it must not be reached") },
        ];
        let error = perform(&steps).unwrap_err();
        assert_eq!(error, "it broke\n\ntwo failed. What to do: mend it");
        assert_eq!(perform(&steps[..1]), Ok(()));
    }
}
