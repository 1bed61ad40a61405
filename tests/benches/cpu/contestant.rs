//! A process under measurement.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Error;

/// A server in a process of its own; ends with it.
pub(crate) struct Contestant {
    child: Child,
    pub(crate) port: u16,
}

impl Contestant {
    pub(crate) fn server(name: &str) -> Result<Self, Error> {
        let mut child = pinned("0", &["serve", name])?.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the child has an output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { port: line.trim().parse()?, child })
    }

    pub(crate) fn cpu(&self) -> Result<Duration, Error> {
        cpu_of(&self.child.id().to_string())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end: microseconds of CPU per job, start and warm-up left out.
pub(crate) fn call(name: &str, port: u16, cycles: usize) -> Result<f64, Error> {
    let base = format!("http://127.0.0.1:{port}");
    let output = pinned("1", &["call", name, &base, &cycles.to_string()])?.output()?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Time that the threads of a process have run, in nanoseconds as the scheduler counts it.
pub(crate) fn cpu_of(process: &str) -> Result<Duration, Error> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += stat.split_whitespace().next().ok_or("schedstat has fields")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// This program in another role, on a core of its own where the machine can do that.
fn pinned(core: &str, arguments: &[&str]) -> Result<Command, Error> {
    let own = std::env::current_exe()?;
    let can_pin =
        Command::new("taskset").args(["-c", core, "true"]).status().is_ok_and(|s| s.success());
    let mut command = if can_pin {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(own);
        command
    } else {
        Command::new(own)
    };
    command.args(arguments);
    Ok(command)
}
