//! `fal-mock exec`: one program under a mock of its own.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use fal_mock::MockFal;
use fal_mock::environment::fresh_key;
use tokio::process::{Child, Command};

use super::signals::Signals;
use crate::{Service, builder};

/// Run a program that believes to reach fal, under a mock of its own.
///
/// The mock listens on a free port. The program's variables lead its connections to fal's hosts there, by TLS and
/// with the real names (HTTPS_PROXY, SSL_CERT_FILE, NODE_OPTIONS and more), whatever client it uses, and refuse
/// those to other hosts but this machine. FAL_KEY is a fresh one: a real key never reaches the program, unless --key gives
/// it one, which --record needs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Exec {
    /// The key that the program gets as FAL_KEY, of the form id:secret. Default: a fresh one.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,

    /// Do not say at the end which connections were refused.
    #[arg(long)]
    quiet: bool,

    #[command(flatten)]
    pub(crate) service: Service,

    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Runs the program; its exit code is the result.
pub(crate) async fn exec(flags: Exec) -> ExitCode {
    // Before there is a program that they could miss.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("cannot listen for signals: {error}")),
    };
    let mut builder = match builder(&flags.service) {
        Ok(builder) => builder,
        Err(problem) => return complain(&problem),
    };
    if let Some(dir) = flags.service.ca_dir {
        builder = builder.ca_dir(dir);
    }
    let mock = match builder.start().await {
        Ok(mock) => mock,
        Err(error) => return complain(&format!("cannot start the mock: {error}")),
    };
    let environment = match mock.environment(&flags.key.unwrap_or_else(fresh_key)) {
        Ok(environment) => environment,
        Err(error) => return complain(&format!("cannot prepare the environment: {error}")),
    };
    let Some((name, arguments)) = flags.command.split_first() else {
        return complain("no program was named");
    };
    let mut command = std::process::Command::new(name);
    environment.apply(command.args(arguments));
    let child = Command::from(command).kill_on_drop(true).spawn();
    let code = match child {
        Ok(child) if flags.service.watch => tokio::select! {
            code = watch(child, signals) => code,
            // It never ends.
            () = super::watch(&mock, flags.service.scenario) => ExitCode::from(EXIT_OWN),
        },
        Ok(child) => watch(child, signals).await,
        Err(error) => return cannot_run(&name.to_string_lossy(), &error),
    };
    crate::report_recording(&mock);
    if !flags.quiet {
        report(&mock);
    }
    let unmet = mock.unmet();
    for problem in &unmet {
        say(&format!("expected otherwise: {problem}"));
    }
    // What the program has to say itself counts for more.
    let code = match unmet.is_empty() || code != ExitCode::SUCCESS {
        true => code,
        false => ExitCode::from(EXIT_UNMET),
    };
    mock.stop().await;
    drop(environment);
    code
}

/// Waits for the program, and passes on what it is told meanwhile.
async fn watch(mut child: Child, mut signals: Signals) -> ExitCode {
    let id = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return match status {
                Ok(status) => code_of(status),
                Err(error) => complain(&format!("lost sight of the program: {error}")),
            },
            signal = signals.next() => signals.pass_on(signal, id),
        }
    }
}

#[cfg(unix)]
fn code_of(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;

    // As shells do it.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_OWN))
}

#[cfg(not(unix))]
fn code_of(status: std::process::ExitStatus) -> ExitCode {
    // Codes are 32 bits wide here; those that do not fit are failures of some kind.
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn cannot_run(name: &str, error: &io::Error) -> ExitCode {
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    let text = match is_missing {
        true => format!(
            "{name}: not found: there is no such program, or it names an interpreter that is not there"
        ),
        false => format!("{name}: cannot be run: {error}"),
    };
    say(&text);
    ExitCode::from(if is_missing { EXIT_NOT_FOUND } else { EXIT_NOT_RUN })
}

/// Says what wanted to leave the machine.
fn report(mock: &MockFal) {
    let refused = mock.refused();
    if refused.is_empty() {
        return;
    }
    let shown = refused.iter().take(REFUSED_SHOWN);
    let list: Vec<String> =
        shown.map(|refused| format!("{} ({})", refused.target, refused.count)).collect();
    let more = refused.len().saturating_sub(REFUSED_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    say(&format!(
        "refused {} connections to hosts that are not fal's: {}{more}; --passthrough lets them through",
        mock.refused_connects(),
        list.join(", ")
    ));
}

fn say(text: &str) {
    // A reader that has gone is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "fal-mock: {text}");
}

fn complain(problem: &str) -> ExitCode {
    say(problem);
    ExitCode::from(EXIT_OWN)
}

pub(super) fn key(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(text.to_owned()),
        _ => Err("a key has the form id:secret".to_owned()),
    }
}

const EXAMPLES: &str = "\
Examples:
  fal-mock exec -- python app.py
  fal-mock exec --instant -- node app.mjs
  fal-mock exec --scenario accepted-then-cut -- pytest
  fal-mock exec --run-time 5s -- sh -c 'curl -H \"Authorization: Key $FAL_KEY\" -d {} https://fal.run/a/b'

Signals are passed on; Ctrl-C in a terminal reaches the program by itself.
Exit codes: the program's own; 3 if that is 0 and what the scenario expects has not happened; 128 and the signal's number if one ended it; 127 if there is no such program,
126 if it cannot be run; 125 if the mock cannot start, 2 if a flag is wrong.";

/// The program ended well, and what the scenario expects has not happened.
const EXIT_UNMET: u8 = 3;

/// There is no such program.
const EXIT_NOT_FOUND: u8 = 127;

/// It is there and cannot be run.
const EXIT_NOT_RUN: u8 = 126;

/// The failure is the mock's; `env`, `timeout` and others use the same.
const EXIT_OWN: u8 = 125;

/// Refused hosts that are named at the end.
const REFUSED_SHOWN: usize = 10;
