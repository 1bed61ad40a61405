//! Throughput and memory of a large upload: the client in one piece and in parts, and the mock, beside a bare
//! hyper PUT of the same bytes from the same file to a bare hyper server.
//!
//! Each contestant is a process of its own; its peak of resident memory is what the kernel says. Rounds are
//! interleaved, because a shared machine drifts; the ratio of medians is the figure to quote.
//! `cargo xtask bench upload [MIB]` runs it in the release profile.

mod puts;
mod servers;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", name] => servers::serve(name),
        ["put", name, base, path] => puts::put(name, base, path.as_ref()),
        [] => report(MIB_DEFAULT),
        [mib] => report(mib.parse()?),
        _ => Err(format!("unknown arguments: {arguments:?}").into()),
    }
}

/// Who sends to whom.
const CONTESTS: [(&str, &str, &str); 5] = [
    ("limit: bare hyper to bare hyper", "limit", "limit"),
    ("client in one piece to bare hyper", "whole", "limit"),
    ("client in parts, four at once, to bare hyper", "parts", "limit"),
    ("bare hyper to the mock", "limit", "mock"),
    ("client in parts to the mock", "parts", "mock"),
];

/// What one upload took.
struct Sample {
    seconds: f64,
    client_kib: u64,
    server_kib: u64,
}

fn report(mib: u64) -> Result<(), Error> {
    let file = LargeFile::new(mib)?;
    let mut samples: Vec<Vec<Sample>> = CONTESTS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, client, server), samples) in CONTESTS.iter().zip(&mut samples) {
            samples.push(contest(client, server, &file)?);
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{mib} MiB from a file, {ROUNDS} interleaved rounds, medians\n")?;
    writeln!(out, "| | MiB/s | ratio | client peak, MiB | server peak, MiB |")?;
    writeln!(out, "|---|---:|---:|---:|---:|")?;
    let limit = median(&samples[0]);
    for ((label, ..), samples) in CONTESTS.iter().zip(&samples) {
        let seconds = median(samples);
        let peak =
            |kib: fn(&Sample) -> u64| samples.iter().map(kib).max().unwrap_or(0) as f64 / 1024.0;
        writeln!(
            out,
            "| {label} | {:.0} | {:.2} | {:.1} | {:.1} |",
            mib as f64 / seconds,
            limit / seconds,
            peak(|sample| sample.client_kib),
            peak(|sample| sample.server_kib),
        )?;
    }
    Ok(())
}

fn contest(client: &str, server: &str, file: &LargeFile) -> Result<Sample, Error> {
    let mut child = role(&["serve", server])?.stdout(Stdio::piped()).spawn()?;
    let result = against(&mut child, client, file);
    // It may have ended by itself; then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
    result
}

fn against(server: &mut Child, client: &str, file: &LargeFile) -> Result<Sample, Error> {
    let mut line = String::new();
    let stdout = server.stdout.take().ok_or("the child has an output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let base = format!("http://127.0.0.1:{}", line.trim());
    let path = file.0.to_str().ok_or("the path is text")?;
    let output = role(&["put", client, &base, path])?.output()?;
    if !output.status.success() {
        return Err(format!("{client}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let said = String::from_utf8(output.stdout)?;
    let (seconds, kib) = said.trim().split_once(' ').ok_or("it says two numbers")?;
    let server_kib = peak_kib(&server.id().to_string())?;
    Ok(Sample { seconds: seconds.parse()?, client_kib: kib.parse()?, server_kib })
}

/// This program in another role.
fn role(arguments: &[&str]) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

/// The most memory that a process has had resident, in KiB.
pub(crate) fn peak_kib(process: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("the kernel counts it")?.trim().trim_end_matches(" kB").parse()?)
}

fn median(samples: &[Sample]) -> f64 {
    let mut seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// A sparse file that goes away.
struct LargeFile(PathBuf);

impl LargeFile {
    fn new(mib: u64) -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("fal-bench-upload-{}", std::process::id()));
        std::fs::File::create(&path)?.set_len(mib << 20)?;
        Ok(Self(path))
    }
}

impl Drop for LargeFile {
    fn drop(&mut self) {
        // Nothing depends on it any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

const ROUNDS: usize = 3;
const MIB_DEFAULT: u64 = 2048;
