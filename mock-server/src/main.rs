//! The binary: flags, one server, a clean stop; programs under a server of their own.

mod program;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fal_mock::model::{RealtimeConfig, RealtimeMode, RetryProfile, WebhookHosts, WebhookLayout};
use fal_mock::scenario::Scenario;
use fal_mock::{
    ClockMode, MockFal, RECORD_CALLS_MAX, Record, Replay, ReplayMatch, ReplayTiming, parse_duration,
};
use fal_protocol::schema::Mode;

use program::{Check, Env, Exec, Live};

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(code) = program::manual(<Cli as clap::CommandFactory>::command()) {
        return code;
    }
    let cli = Cli::parse();
    if let Some(Task::Check(flags)) = &cli.command {
        return program::check(flags);
    }
    let workers = match &cli.command {
        Some(Task::Serve(Serve { service, .. }) | Task::Exec(Exec { service, .. })) => {
            service.workers
        }
        Some(_) => 1,
        None => cli.serve.service.workers,
    };
    // One thread is the first, whose memory glibc's allocator takes from the kernel in larger pieces.
    let runtime = match workers {
        0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        _ => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
        }
    };
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}")),
    };
    match cli.command {
        None => runtime.block_on(run(cli.serve)),
        Some(Task::Serve(flags)) => runtime.block_on(run(flags)),
        Some(Task::Exec(flags)) => runtime.block_on(program::exec(flags)),
        Some(Task::Env(flags)) => runtime.block_on(program::env(flags)),
        Some(Task::Live(flags)) => runtime.block_on(program::live(flags)),
        Some(Task::Check(flags)) => program::check(&flags),
    }
}

/// The mock that flags ask for, without its address; or what is wrong with its scenarios.
fn builder(flags: &Service) -> Result<fal_mock::Builder, String> {
    let mut builder = MockFal::builder()
        .isolated(flags.isolated)
        .allow_exec(flags.allow_exec)
        .far_backends(flags.backend_hosts == BackendHosts::Any)
        .queue_time(flags.queue_time)
        .run_time(flags.run_time)
        .require_key(!flags.public)
        .webhook_hosts(flags.webhook_hosts.into())
        .webhook_retry(flags.webhook_retry.into())
        .webhook_layout(flags.webhook_layout.into(), flags.webhook_null_error)
        .strict(flags.strict)
        .validation(flags.validation.into())
        .passthrough(flags.passthrough);
    if let Some(seed) = flags.seed {
        builder = builder.seed(seed);
    }
    if let Some(clock) = flags.clock {
        builder = builder.clock(clock);
    }
    for path in &flags.openapi {
        builder = builder.openapi(path.clone());
    }
    for path in &flags.prices {
        builder = builder.prices(path.clone());
    }
    if let Some(runners) = flags.runners {
        builder = builder.runners(runners);
    }
    if let Some(reason) = &flags.locked {
        builder = builder.locked(reason);
    }
    for app in &flags.public_models {
        builder = builder.public_model(app);
    }
    for app in &flags.private_models {
        builder = builder.private_model(app);
    }
    if flags.instant {
        builder = builder.instant();
    }
    if let Some(dir) = &flags.spool_dir {
        builder = builder.spool_dir(dir.clone());
    }
    if let Some(dir) = &flags.record {
        let mut record = Record::new(dir).calls_max(flags.record_max_calls);
        record.upstream.clone_from(&flags.record_upstream);
        record.cost_max = flags.record_max_cost;
        builder = builder.record(record);
    }
    if let Some(dir) = &flags.replay {
        let replay = Replay::new(dir).matching(flags.replay_match).timing(flags.replay_timing);
        builder = builder.replay(replay);
    }
    if let Some(path) = &flags.state {
        builder = builder.state(path.clone());
    }
    let mut realtime = RealtimeConfig::default();
    realtime.modes.clone_from(&flags.realtime_mode);
    realtime.session_timeout = Some(flags.session_timeout);
    for scenario in Scenario::find_all(&flags.scenario).map_err(|error| error.to_string())? {
        builder = builder.scenario(scenario);
    }
    Ok(builder.realtime(realtime).spool_bytes(flags.spool_bytes))
}

async fn run(flags: Serve) -> ExitCode {
    // Before the port is announced: whoever reads it may ask for a stop at once.
    let stop = stop_signal();
    let builder = match builder(&flags.service) {
        Ok(builder) => builder.host(flags.host).port(flags.port),
        Err(problem) => return complain(&problem),
    };
    let mock = match start(builder, flags.service.ca_dir.clone()).await {
        Ok(mock) => mock,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return complain(&format!(
                "port {} on {} is taken: stop what listens there, or use --port 0 for any free port",
                flags.port, flags.host
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return complain(&error.to_string());
        }
        Err(error) => {
            return complain(&format!(
                "cannot listen on {} port {}: {error}",
                flags.host, flags.port
            ));
        }
    };
    if !flags.host.is_loopback() {
        let more =
            if flags.service.passthrough { ", and this machine's way to others" } else { "" };
        warn(&format!(
            "{} is not a loopback address, so others on the network can use this mock{more}",
            flags.host
        ));
    }
    // A reader that has gone is no reason to stop serving.
    let _ = announce(&mock, flags.quiet);
    let is_watched = flags.service.watch;
    // At once, since whoever records goes on for nothing, and may pay for it.
    let trouble = async {
        let problem = mock.recording_problem().await;
        warn(&format!("not all is recorded any more: {problem}"));
        std::future::pending().await
    };
    tokio::select! {
        () = trouble => {}
        () = stop => {}
        () = end_of_input(), if flags.stop_on_eof => {}
        () = program::watch(&mock, flags.service.scenario), if is_watched => {}
    }
    report_recording(&mock);
    mock.stop().await;
    ExitCode::SUCCESS
}

/// Starts with the authority in `ca_dir`, else with that of this user, else with one in memory.
async fn start(builder: fal_mock::Builder, ca_dir: Option<PathBuf>) -> io::Result<MockFal> {
    if let Some(dir) = ca_dir {
        return builder.ca_dir(dir).start().await;
    }
    let Some(dir) = fal_mock::data_dir() else { return builder.start().await };
    match builder.clone().ca_dir(dir).start().await {
        Ok(mock) => Ok(mock),
        Err(error) => {
            // Nobody asked for that directory, so there is no reason to give up.
            let mock = builder.start().await?;
            warn(&format!("the certificate for TLS will be gone with this mock: {error}"));
            Ok(mock)
        }
    }
}

/// Says what was recorded, and what could not be.
fn report_recording(mock: &MockFal) {
    let Some(recorded) = mock.recorded() else { return };
    let mut text = format!("recorded {} entries, sent {} calls", recorded.entries, recorded.calls);
    if recorded.cost > 0.0 {
        let _ = write!(text, " for about {:.4} USD", recorded.cost);
    }
    if recorded.refused > 0 {
        let _ = write!(text, ", refused {} because of a limit", recorded.refused);
    }
    let _ = writeln!(io::stderr().lock(), "fal-mock: {text}");
    for problem in &recorded.problems {
        warn(problem);
    }
}

fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "fal-mock: warning: {text}");
}

/// The first line ends in the port, for programs; the others are for people.
fn announce(mock: &MockFal, quiet: bool) -> io::Result<()> {
    let url = mock.url();
    let mut text = format!("fal-mock listens on {url}\n");
    if !quiet {
        let _ = write!(
            text,
            "
  JavaScript   fal.config({{ proxyUrl: {{ url: '{url}/api/fal/proxy', when: 'always' }}, credentials: 'any:key' }})
  Rust, CLI    FAL_BASE_URL={url}, or Hosts::under(\"{url}\")
  curl         curl -H 'Authorization: Key any:key' -d '{{\"prompt\":\"a cat\"}}' {url}/fal.run/fal-ai/flux/dev
  others       HTTPS_PROXY={url}, and trust {url}/__mock/v1/ca.pem

Any key of the form id:secret is accepted. Stop with Ctrl-C.
"
        );
        summarise(mock, &mut text);
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What was loaded, if anything was asked for, and the first few things that could not be used.
fn summarise(mock: &MockFal, text: &mut String) {
    let loaded = mock.loaded();
    if loaded.documents == 0 && loaded.unusable.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\nModels: {} documents loaded ({} with defects that were worked around), {} unusable.\n",
        loaded.documents,
        loaded.with_defects,
        loaded.unusable.len()
    );
    for (name, why) in loaded.unusable.iter().take(UNUSABLE_SHOWN) {
        let _ = writeln!(text, "  {name}: {why}");
    }
    if loaded.unusable.len() > UNUSABLE_SHOWN {
        let _ = writeln!(text, "  and {} more", loaded.unusable.len() - UNUSABLE_SHOWN);
    }
}

/// How many unusable documents are named at the start.
const UNUSABLE_SHOWN: usize = 10;

fn complain(problem: &str) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "fal-mock: {problem}");
    ExitCode::from(EXIT_CANNOT_LISTEN)
}

/// Resolves at the end of standard input.
///
/// A thread of its own reads it: the runtime would wait for its own at the end, and a read cannot be called off.
async fn end_of_input() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An input that cannot be read has ended as well.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

/// Resolves at Ctrl-C, and at SIGTERM where there is one. Listens from the call on.
#[cfg(unix)]
fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};

    let signals = [signal(SignalKind::interrupt()), signal(SignalKind::terminate())];
    async move {
        // Without a handler the signal ends the process by itself, which is also a stop.
        let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Resolves at Ctrl-C.
#[cfg(not(unix))]
async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// A fal.ai on your desk: answers the queue, run and storage hosts offline, with real pictures.
///
/// Hosts of the service are reached below its address (http://127.0.0.1:8787/queue.fal.run/...), by the
/// header x-fal-target-url, which official clients send to a proxy, or by their own names with the mock as
/// HTTPS_PROXY. A job waits, runs and completes as it does at fal.ai; nothing costs money and nothing
/// leaves the machine.
#[derive(Debug, Parser)]
#[command(name = "fal-mock", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,

    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Listen until Ctrl-C or SIGTERM; what fal-mock does without a command.
    Serve(Serve),
    Exec(Exec),
    Env(Env),
    Live(Live),
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Interface to listen on; others than loopback let the network in.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,

    /// Port to listen on; 0 takes any free one. The first line on stdout ends in the port.
    #[arg(long, default_value_t = 8787)]
    port: u16,

    /// Print the first line only.
    #[arg(long)]
    quiet: bool,

    /// Stop when standard input ends, as it does when the program that started the mock is gone, however it went.
    #[arg(long)]
    stop_on_eof: bool,

    #[command(flatten)]
    service: Service,
}

/// How the service behaves, whoever it is for.
#[derive(Debug, clap::Args)]
struct Service {
    /// How time passes: real, scaled:N (so many times as fast), virtual (only when the control API moves it) or
    /// virtual:auto (to the next event, as soon as nothing else can happen).
    /// Default: as the scenario says, else real.
    #[arg(long, value_name = "CLOCK")]
    clock: Option<ClockMode>,

    /// Play this scenario: a file, a folder of them, or the name of one that comes with the mock, such as flaky-network;
    /// repeatable. Files come before folders, those before names, and later ones before earlier ones.
    #[arg(long, value_name = "NAME|FILE|DIR")]
    scenario: Vec<PathBuf>,

    /// Play scenarios anew when their files change. Where a file is wrong the one before goes on.
    #[arg(long, requires = "scenario")]
    watch: bool,

    /// Refuse calls that no rule of the scenario covers, with 404 and the rules that came nearest.
    #[arg(long)]
    isolated: bool,

    /// Let scenarios that come by the control API start programs (exec), too.
    #[arg(long)]
    allow_exec: bool,

    /// Where the servers of a scenario's apps (http) may be.
    #[arg(long, value_enum, default_value_t = BackendHosts::Near, value_name = "HOSTS")]
    backend_hosts: BackendHosts,

    /// How long a job waits in the queue although a runner is free.
    #[arg(long, default_value = "200ms", value_parser = parse_duration, value_name = "TIME")]
    queue_time: Duration,

    /// How long a run takes.
    #[arg(long, default_value = "800ms", value_parser = parse_duration, value_name = "TIME")]
    run_time: Duration,

    /// How many jobs of one app run at once; the others wait. Default: no limit.
    #[arg(long, value_name = "N")]
    runners: Option<usize>,

    /// Complete jobs while they are being submitted, and answer runs at once.
    #[arg(long)]
    instant: bool,

    /// What everything that looks random follows from: request ids, seeds, pictures.
    /// Default: as the scenario says, else 0.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Answer calls without a key as well.
    #[arg(long)]
    public: bool,

    /// Let this app (owner/alias) answer calls without a key; repeatable.
    #[arg(long = "public-model", value_name = "APP")]
    public_models: Vec<String>,

    /// Refuse this app (owner/alias) to whoever calls, with 403; repeatable.
    #[arg(long = "private-model", value_name = "APP")]
    private_models: Vec<String>,

    /// Lock the account behind every key for this reason, such as 'Exhausted balance': 403.
    #[arg(long, value_name = "REASON")]
    locked: Option<String>,

    /// Model documents: a file, or a folder of .json files; repeatable. Each endpoint then takes and gives
    /// what its document says.
    #[arg(long, value_name = "DIR|FILE")]
    openapi: Vec<PathBuf>,

    /// Prices in the form of GET /v1/models/pricing; repeatable.
    #[arg(long, value_name = "FILE")]
    prices: Vec<PathBuf>,

    /// Refuse endpoints that no document describes.
    #[arg(long)]
    strict: bool,

    /// How inputs are held against the document of their model.
    #[arg(long, value_enum, default_value_t = Validation::AsFal, value_name = "MODE")]
    validation: Validation,

    /// Which hosts webhooks may call over plain http.
    #[arg(long, value_enum, default_value_t = Hosts::Loopback, value_name = "HOSTS")]
    webhook_hosts: Hosts,

    /// How sessions of an endpoint work: unary, server-streaming, client-streaming or bidi; repeatable. Others
    /// work as their id says, such as acme/app-bidi, and are unary where it says nothing.
    #[arg(long, value_parser = mode, value_name = "ENDPOINT=MODE")]
    realtime_mode: Vec<(String, RealtimeMode)>,

    /// How long a session lasts without a new input.
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    session_timeout: Duration,

    /// How webhooks are repeated: as the documentation of which year says.
    #[arg(long, value_enum, default_value_t = Retry::Docs2026, value_name = "PRESET")]
    webhook_retry: Retry,

    /// How the bodies of webhooks are written.
    #[arg(long, value_enum, default_value_t = Layout::Captured, value_name = "LAYOUT")]
    webhook_layout: Layout,

    /// Write `"error": null` into webhooks about outputs, as some generations of the service did.
    #[arg(long)]
    webhook_null_error: bool,

    /// Where the certificate authority for TLS is kept, or made if there is none. Default: a directory of
    /// this user's data, such as ~/.local/share/fal-mock; for exec, one of its own in memory.
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,

    /// Where uploads of more than 1 MiB are kept, in a file without a name. Default: the system's folder for
    /// temporary files.
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,

    /// Keep jobs, files, deliveries and requests in this file, and go on with what is there: what was accepted
    /// outlives the process, however that ends. Long uploads are kept beside it, in FILE.files.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spool_dir", "replay"])]
    state: Option<PathBuf>,

    /// How much of uploads is kept there; beyond it the oldest file goes.
    #[arg(long, default_value = "16G", value_parser = size, value_name = "SIZE")]
    spool_bytes: u64,

    /// Let requests that use the mock as their proxy through to hosts that are not fal's.
    #[arg(long)]
    passthrough: bool,

    /// Send every call to the real service, with the key of its caller, and keep what comes back in DIR. This costs what
    /// the calls cost.
    #[arg(long, value_name = "DIR", conflicts_with = "replay")]
    record: Option<PathBuf>,

    /// Where the service is that is recorded, if not at its own names: its hosts stand below this address, as they do
    /// below a mock.
    #[arg(long, value_name = "URL", requires = "record")]
    record_upstream: Option<String>,

    /// How many submits, runs and model streams are sent while recording; further ones are refused.
    #[arg(long, default_value_t = RECORD_CALLS_MAX, value_name = "N", requires = "record")]
    record_max_calls: u64,

    /// What they may cost together. Prices are those of --prices, else those that the platform API tells; a call whose
    /// price nobody knows counts as 1 USD.
    #[arg(long, value_name = "USD", value_parser = usd, requires = "record")]
    record_max_cost: Option<f64>,

    /// Answer models from the recordings in DIR.
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,

    /// Which recording answers: strict (of the same input) or nearest (the fewest fields differ).
    #[arg(long, default_value = "strict", value_name = "HOW", requires = "replay")]
    replay_match: ReplayMatch,

    /// When: recorded (after the time that the service took, by --clock) or instant.
    #[arg(long, default_value = "recorded", value_name = "WHEN", requires = "replay")]
    replay_timing: ReplayTiming,

    /// Threads that serve connections. The world has one lock, so more of them help with TLS and long uploads only.
    #[arg(long, default_value_t = 1, value_name = "N")]
    workers: usize,
}

/// [`Mode`] as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Validation {
    /// As the service does it: what can be converted is, unknown fields are ignored.
    AsFal,
    /// By the letter of the document.
    Strict,
    /// As the service, and values that a newer version of the model may take are taken.
    Lenient,
}

impl From<Validation> for Mode {
    fn from(validation: Validation) -> Self {
        match validation {
            Validation::AsFal => Self::AsFal,
            Validation::Strict => Self::Strict,
            Validation::Lenient => Self::Lenient,
        }
    }
}

/// [`WebhookHosts`] as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Hosts {
    /// This machine only: nothing leaves it.
    Loopback,
    /// Every host.
    Any,
}

/// Where back ends may be, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BackendHosts {
    /// On this machine or in a private network.
    Near,
    /// Anywhere: inputs of calls go there.
    Any,
}

/// [`RetryProfile`] as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Retry {
    /// 31 retries while the result can be read.
    #[value(name = "docs-2026")]
    Docs2026,
    /// 10 retries within two hours.
    #[value(name = "docs-2024")]
    Docs2024,
}

impl From<Retry> for RetryProfile {
    fn from(retry: Retry) -> Self {
        match retry {
            Retry::Docs2026 => Self::docs_2026(),
            Retry::Docs2024 => Self::docs_2024(),
        }
    }
}

/// [`WebhookLayout`] as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Layout {
    /// Sorted and spaced, as one that was captured.
    Captured,
    /// In the order of the documentation, without spaces.
    Compact,
}

impl From<Layout> for WebhookLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Captured => Self::Captured,
            Layout::Compact => Self::Compact,
        }
    }
}

impl From<Hosts> for WebhookHosts {
    fn from(hosts: Hosts) -> Self {
        match hosts {
            Hosts::Loopback => Self::Loopback,
            Hosts::Any => Self::Any,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  fal-mock                                   on port 8787, a job takes a second
  fal-mock --port 0 --instant --quiet        for scripts: any port, no waiting
  fal-mock --openapi documents/ --strict     only the models whose documents lie there
  fal-mock --runners 1 --run-time 10s        a busy endpoint: jobs queue up
  fal-mock --record tapes/                   record what the real service answers
  fal-mock --replay tapes/                   and answer from that
  fal-mock exec -- python app.py             a program under a mock of its own
  fal-mock --scenario flaky-network --watch  one request in twenty is lost
  fal-mock check tests/scenarios/            what is wrong with scenario files
  eval \"$(fal-mock env)\"                    this shell's programs, under a mock that runs
  curl -H 'Authorization: Key any:key' -d '{\"prompt\":\"a cat\"}' \\
    http://127.0.0.1:8787/fal.run/fal-ai/flux/dev

TIME is a number with ms, s, m or h, such as 200ms or 1.5s. SIZE is one with K, M or G, such as 512M.
Exit codes: 0 after Ctrl-C or SIGTERM, 2 when it cannot listen, or a flag or a document is wrong. Those of
exec and env stand in their own help.";

/// The exit code for a taken port; clap uses the same for wrong flags.
const EXIT_CANNOT_LISTEN: u8 = 2;

/// Reads an amount of money.
fn usd(text: &str) -> Result<f64, String> {
    let amount = text.parse::<f64>().ok().filter(|usd| usd.is_finite() && *usd >= 0.0);
    amount.ok_or_else(|| "give an amount of US dollars, such as 2.50".to_owned())
}

/// Reads `512M`, `16G`, or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("give a whole number with K, M or G, such as 512M".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    number.checked_mul(factor).ok_or_else(|| "that is too much".to_owned())
}

/// Reads `acme/app=bidi`.
fn mode(text: &str) -> Result<(String, RealtimeMode), String> {
    let (endpoint, mode) =
        text.split_once('=').ok_or("give an endpoint and a mode: acme/app=bidi")?;
    Ok((endpoint.trim_matches('/').to_owned(), mode.parse()?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
        for words in [&["fal-mock"][..], &["fal-mock", "serve"]] {
            let flags = ["--queue-time", "1.5s", "--run-time", "0", "--port", "0"];
            let cli = Cli::parse_from(words.iter().chain(&flags));
            let serve = match cli.command {
                Some(Task::Serve(serve)) => serve,
                Some(other) => panic!("{other:?}"),
                None => cli.serve,
            };
            let times = (serve.service.queue_time, serve.service.run_time, serve.port);
            assert_eq!(times, (Duration::from_millis(1500), Duration::ZERO, 0));
        }
    }

    #[test]
    fn flags_of_a_program_are_its_own() {
        let words = ["fal-mock", "exec", "--instant", "--", "curl", "--port", "--", "-x"];
        let Some(Task::Exec(exec)) = Cli::parse_from(words).command else { panic!("not exec") };
        assert!(exec.service.instant);
        assert_eq!(exec.command, ["curl", "--port", "--", "-x"]);
        for wrong in
            [&["exec"][..], &["exec", "--port", "1", "--", "a"], &["env", "--shell", "cmd"]]
        {
            assert!(Cli::try_parse_from(std::iter::once(&"fal-mock").chain(wrong)).is_err());
        }
    }

    #[test]
    fn sizes_have_units() {
        let sizes = ["5", "2K", "3M", "1G"].map(|text| size(text).ok());
        assert_eq!(sizes, [5, 2 << 10, 3 << 20, 1 << 30].map(Some));
        assert_eq!(["", "G", "1.5G", "1T", "-1", "99999999999G"].map(|t| size(t).ok()), [None; 6]);
    }

    #[test]
    fn modes_belong_to_endpoints() {
        let bidi = Ok(("acme/app".to_owned(), RealtimeMode::Bidi));
        assert_eq!(mode("acme/app=bidi"), bidi);
        assert!(mode("bidi").is_err() && mode("acme/app=both").is_err());
    }
}
