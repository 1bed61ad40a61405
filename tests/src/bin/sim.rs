//! Plays many broken worlds and says how often one call became two jobs.

use std::io::Write;
use std::process::ExitCode;

use fal_conformance::sim::{Plan, Rules, run, shrink, survey};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let mut out = std::io::stdout().lock();
    // A reader that goes away, such as `head`, is no failure.
    let mut say = |line: String| drop(writeln!(out, "{line}"));
    if let Some(seed) = number("--seed") {
        let plan = Plan::new(seed);
        let report = run(&plan, Rules::Default);
        report.said.iter().for_each(|line| say(line.clone()));
        say(format!("{:?}, {} jobs, problems: {:?}", report.ending, report.jobs, report.problems));
        return ExitCode::SUCCESS;
    }
    let seeds = number("--seeds").unwrap_or(SEEDS);
    let mut is_broken = false;
    for rules in Rules::ALL {
        let summary = survey(rules, 0, seeds);
        say(format!("{rules}: {summary}"));
        if rules == Rules::Default {
            for (seed, problem) in &summary.broken {
                is_broken = true;
                let least = shrink(&Plan::new(*seed), rules);
                say(format!("seed {seed}: {problem}\nwith as little as {least:#?}"));
            }
        }
    }
    if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Worlds played unless `--seeds` says otherwise.
const SEEDS: u64 = 10_000;
