//! CPU of the mock per request, and of the client per job, beside bare hyper doing the same bytes.
//!
//! Each contestant is a process of its own, and its CPU is what the kernel says that its threads used.
//! Rounds are interleaved, because a shared machine drifts; the ratio of medians is the figure to quote.
//! `cargo xtask bench` runs it in the release profile.

mod clients;
mod contestant;
mod load;
mod servers;

use std::io::Write;

use contestant::Contestant;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", name] => servers::serve(name),
        ["call", name, base, cycles] => clients::call(name, base, cycles.parse()?),
        [] => report(),
        _ => Err(format!("unknown arguments: {arguments:?}").into()),
    }
}

fn report() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ROUNDS} interleaved rounds, medians; microseconds of CPU\n")?;
    writeln!(out, "| mock server, per request | limit | mock | ratio |\n|---|---:|---:|---:|")?;
    let mut limit = vec![Vec::new(); load::LOADS.len()];
    let mut mock = vec![Vec::new(); load::LOADS.len()];
    for _ in 0..ROUNDS {
        for (name, samples) in [("limit", &mut limit), ("mock", &mut mock)] {
            let server = Contestant::server(name)?;
            let job = load::complete_a_job(server.port)?;
            load::run(server.port, &[load::Kind::Status], &job, REQUESTS / 10)?;
            for ((_, kinds), samples) in load::LOADS.iter().zip(samples.iter_mut()) {
                let before = server.cpu()?;
                load::run(server.port, kinds, &job, REQUESTS)?;
                samples.push((server.cpu()? - before).as_secs_f64() * 1e6 / REQUESTS as f64);
            }
        }
    }
    for (((name, _), limit), mock) in load::LOADS.iter().zip(&mut limit).zip(&mut mock) {
        let (limit, mock) = (median(limit), median(mock));
        writeln!(out, "| {name} | {limit:.2} | {mock:.2} | {:.2} |", mock / limit)?;
    }

    writeln!(out, "\n| client, per job | limit | client | ratio |\n|---|---:|---:|---:|")?;
    for (label, limit_name, client_name) in [
        ("submit, three polls, result", "limit-poll", "client-poll"),
        ("submit, status stream, result", "limit-stream", "client-stream"),
    ] {
        let (mut limit, mut client) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (name, samples) in [(limit_name, &mut limit), (client_name, &mut client)] {
                let server = Contestant::server("queue")?;
                samples.push(contestant::call(name, server.port, CYCLES)?);
            }
        }
        let (limit, client) = (median(&mut limit), median(&mut client));
        writeln!(out, "| {label} | {limit:.1} | {client:.1} | {:.2} |", client / limit)?;
    }
    Ok(())
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

const ROUNDS: usize = 5;
const REQUESTS: usize = 60_000;
const CYCLES: usize = 10_000;
