//! The mock under load and over time: start, memory, many waits at once, many streams, hours of its own time.
//!
//! The binary runs as its users run it, in a process of its own; memory is what the kernel says is resident.
//! `cargo xtask bench mock` builds it and runs this in the release profile.

mod http;
mod mock;

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use http::Connection;
use mock::Mock;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(report())
}

async fn report() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| What | Measured |\n|---|---|")?;

    let (start, idle) = cold_start().await?;
    writeln!(out, "| start to first answer, median of {STARTS} | {:.1} ms |", millis(start))?;
    writeln!(out, "| resident memory, idle | {} |", mib(idle))?;

    let (first, last, rate) = many_requests().await?;
    writeln!(
        out,
        "| resident memory after {} and after {REQUESTS} requests, journal on | {} and {} |",
        REQUESTS / 4,
        mib(first),
        mib(last)
    )?;
    writeln!(out, "| requests per second meanwhile, {CLIENTS} connections | {rate:.0} |")?;

    let (time, late) = many_waits().await?;
    writeln!(
        out,
        "| {WAITS} runs at once, each of 1 s | {:.2} s in all, the last answer {:.0} ms after its time |",
        time.as_secs_f64(),
        millis(late)
    )?;

    let (each, reached) = many_streams().await?;
    writeln!(out, "| {STREAMS} open status streams | {:.1} KiB each |", each / 1024.0)?;
    writeln!(out, "| until one event has reached all of them | {:.0} ms |", millis(reached))?;

    let hours = ten_hours().await?;
    writeln!(out, "| 10 hours with 100 jobs, `virtual:auto` | {:.2} s |", hours.as_secs_f64())?;
    Ok(())
}

/// From the start of the process to the first answer, and what is resident a moment later.
async fn cold_start() -> Result<(Duration, u64), Error> {
    let (mut times, mut idle) = (Vec::new(), 0);
    for _ in 0..STARTS {
        let begin = Instant::now();
        let mock = Mock::start(&[])?;
        Connection::open(mock.port).await?.get("/__mock/v1/live").await?;
        times.push(begin.elapsed());
        idle = mock.resident()?;
    }
    times.sort();
    Ok((times[STARTS / 2], idle))
}

/// Memory after a quarter of many requests and after all; a thousand jobs are asked for over and over.
async fn many_requests() -> Result<(u64, u64, f64), Error> {
    let mock = Mock::start(&["--instant"])?;
    let mut connection = Connection::open(mock.port).await?;
    let mut jobs = Vec::new();
    for number in 0..1000 {
        let input = format!(r#"{{"prompt":"job {number}"}}"#);
        jobs.push(connection.submit("fal-ai/flux/dev", &input).await?);
    }
    let jobs = std::sync::Arc::new(jobs);
    let begin = Instant::now();
    let mut first = 0;
    for quarter in 0..4 {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (port, jobs) = (mock.port, std::sync::Arc::clone(&jobs));
            clients.spawn(async move {
                let mut connection = Connection::open(port).await?;
                for number in 0..REQUESTS / 4 / CLIENTS {
                    let job = &jobs[(number * CLIENTS + client) % jobs.len()];
                    let tail = if number % 4 == 0 { "" } else { "/status" };
                    let path = format!("/queue.fal.run/fal-ai/flux/requests/{job}{tail}");
                    connection.get(&path).await?;
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        if quarter == 0 {
            first = mock.resident()?;
        }
    }
    let rate = REQUESTS as f64 / begin.elapsed().as_secs_f64();
    Ok((first, mock.resident()?, rate))
}

/// Runs of a second, all at once: how long all of them take, and how late the last one is.
async fn many_waits() -> Result<(Duration, Duration), Error> {
    let mock = Mock::start(&["--run-time", "1s"])?;
    let mut connections = Vec::new();
    for _ in 0..WAITS {
        connections.push(Connection::open(mock.port).await?);
    }
    let begin = Instant::now();
    let mut runs = JoinSet::new();
    for (number, mut connection) in connections.into_iter().enumerate() {
        runs.spawn(async move {
            let begin = Instant::now();
            let input = format!(r#"{{"prompt":"run {number}"}}"#);
            connection.post("/fal.run/fal-ai/flux/dev", &input).await?;
            Ok::<_, Error>(begin.elapsed().saturating_sub(Duration::from_secs(1)))
        });
    }
    let mut late = Duration::ZERO;
    while let Some(run) = runs.join_next().await {
        late = late.max(run??);
    }
    Ok((begin.elapsed(), late))
}

/// What an open status stream costs, and how long one event takes to reach all.
async fn many_streams() -> Result<(f64, Duration), Error> {
    let mock = Mock::start(&["--clock", "virtual"])?;
    let mut control = Connection::open(mock.port).await?;
    let job = control.submit("fal-ai/flux/dev", r#"{"prompt":"watched"}"#).await?;
    let before = mock.resident()?;
    let path = format!("/queue.fal.run/fal-ai/flux/requests/{job}/status/stream");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut connection = Connection::open(mock.port).await?;
        connection.send("GET", &path, "").await?;
        connection.until("\n\n").await?;
        streams.push(connection);
    }
    let each = (mock.resident()? - before) as f64 / STREAMS as f64;
    let mut readers = JoinSet::new();
    for mut connection in streams {
        readers.spawn(async move { connection.until("COMPLETED").await });
    }
    let begin = Instant::now();
    control.post(&format!("/__mock/v1/jobs/{job}/finish"), "").await?;
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    Ok((each, begin.elapsed()))
}

/// A hundred jobs of six minutes, one after the other.
async fn ten_hours() -> Result<Duration, Error> {
    let flags = ["--clock", "virtual:auto", "--run-time", "6m", "--runners", "1"];
    let mock = Mock::start(&flags)?;
    let mut connection = Connection::open(mock.port).await?;
    let begin = Instant::now();
    for number in 0..100 {
        let input = format!(r#"{{"prompt":"job {number}"}}"#);
        connection.submit("fal-ai/flux/dev", &input).await?;
    }
    loop {
        let counters = connection.get("/__mock/v1/counters").await?;
        let counters: serde_json::Value = serde_json::from_slice(&counters)?;
        if counters["completed"] == 100 {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > Duration::from_secs(60) {
            return Err(format!("it stands still: {counters}").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

const STARTS: usize = 20;
const REQUESTS: usize = 200_000;
const CLIENTS: usize = 16;
const WAITS: usize = 1000;
const STREAMS: usize = 10_000;
