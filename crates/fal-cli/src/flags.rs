//! The flags of every command, and the help that explains them.

mod call;
mod platform;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fal_client::Expires;
use http::HeaderName;

use crate::lifecycle::Reader;
use crate::{exit, input};

pub(crate) use call::{Call, Given, OnDeadline, Priority, Run, Stream, Submit};
pub(crate) use platform::Switch;
pub(crate) use webhook::{Webhook, WebhookListen, WebhookVerify};

/// fal.ai from the command line: run models, keep jobs, save what they make.
///
/// Nothing that was paid for is lost: the job's handle is told before any waiting and again in every
/// failure, and `fal-cli result HANDLE` takes the result later, from any machine. Nothing is paid
/// twice: a submit whose answer is lost is not repeated.
#[derive(Debug, Parser)]
#[command(name = "fal-cli", version, propagate_version = true, after_long_help = after_help(), after_help = SEE_MORE)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Reach all of fal's hosts below this address, such as a mock at http://127.0.0.1:8787 [env: FAL_BASE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Everywhere")]
    pub(crate) base_url: Option<String>,

    /// Write JSON lines to stdout, one object per event; the default when stdout is no terminal
    #[arg(long, global = true, conflicts_with = "result_only", help_heading = "Everywhere")]
    pub(crate) json: bool,

    /// Write only the result to stdout: the model's output as it came, the handle, the addresses
    #[arg(short = 'r', long, global = true, help_heading = "Everywhere")]
    pub(crate) result_only: bool,

    /// Tell no progress on stderr; errors are told all the same
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a whole run, offline: uploads, queue, logs, a real picture on disk; takes a second or two
    ///
    /// Starts a mock of fal.ai inside this process, uploads a picture, a pose and an archive to it,
    /// runs fal-ai/controlnet-ip-adapter through its queue, and saves the picture that comes out.
    /// No key, no network, no cost. With --live the same goes to the real service.
    Demo(Demo),
    /// Run a model: upload the files, submit, follow, print the result and save its media
    ///
    /// Ctrl-C asks the service to cancel the job; a second one leaves at once and the job goes on.
    /// The job's handle is told as soon as there is one: `fal-cli result HANDLE --wait` comes back.
    Run(Run),
    /// Run a model that streams, and print what it makes as it comes
    ///
    /// On a terminal a text grows in place and other events are JSON; else each event is a JSON line.
    /// Sound and other raw bytes go to --out, or to stdout when that is no terminal. There is no queue
    /// and no handle: Ctrl-C stops the model, and a stream that breaks cannot be taken up again.
    Stream(Stream),
    /// Send inputs over one connection and print what comes back: models that answer in milliseconds
    ///
    /// The input is built from the arguments, or each line of stdin is one, as JSON. Outputs are printed
    /// as they come; pictures and other bytes in them go to --out. Ends when every input has its output
    /// and there are no more; Ctrl-C closes the connection in order.
    Realtime(RealtimeFlags),
    /// Print a short-lived token that a browser can have instead of the key
    ///
    /// It may call the named apps and no others. A realtime connection needs the whole path, such as
    /// fal-ai/fast-lcm-diffusion/realtime.
    Token(TokenFlags),
    /// Put a job into the queue and print its handle
    ///
    /// On a terminal and with -r the handle is text (fal-ai/flux/dev/requests/ID), else JSON lines;
    /// `fal-cli result` takes either.
    Submit(Submit),
    /// Tell where a job is
    ///
    /// Asking is free, and a job that failed is an answer too: the exit code is 0. With --watch it
    /// tells whether the job failed.
    Status(Status),
    /// Take the result of a job
    ///
    /// The service keeps a result for an hour, one of 10 KB and more for six minutes.
    Result(ResultFlags),
    /// Ask the service to cancel a job
    ///
    /// A job that waits never runs; one that runs is told to stop and may finish all the same. What
    /// the service says is an answer: the exit code is 0 unless it does not know the job.
    Cancel(Cancel),
    /// Put files where models can read them, and print their addresses, in order
    ///
    /// `run` and `submit` do this by themselves for key@file. The addresses are public to whoever
    /// knows them, unless --acl says otherwise; but a model that may not read a file cannot use it.
    /// Files of more than 90 MiB go in parts, each repeated on its own. When such an upload stops or
    /// fails, what it takes to go on is saved, and the command that goes on is printed. The saved file
    /// is a secret: it holds a signed address.
    Upload(Upload),
    /// Find models; needs no key
    ///
    /// Words are looked for in name, description and category. With -r it prints the ids alone, one per line.
    Models(Models),
    /// Show what a model takes and gives: types, defaults, ranges, choices; needs no key
    ///
    /// With -r it prints the model's OpenAPI document as it came; the line of --json has it as `document`.
    Schema(SchemaFlags),
    /// Write typed Rust for models: inputs with builders and limits, outputs, calls; needs no key
    ///
    /// Without --out it goes to stdout, with -r and nothing else. The documents come from the service, from --schema or
    /// from FAL_SCHEMA; without models named, all that are there are taken. The crate that holds the code
    /// needs fal-client. A build script does the same with the crate fal-codegen.
    Codegen(Codegen),
    /// Tell what models cost per unit, and with --calls or --units what so many would cost
    Pricing(Pricing),
    /// Tell how many requests wait for an app of your own
    Queue(Queue),
    /// Serve a proxy that adds the key, for browsers and other programs that must not hold it
    ///
    /// Clients send each call here with the real address in x-fal-target-url: `proxyUrl` of fal's own clients,
    /// `proxy_url` of this one. The key comes from FAL_KEY. Callers must be known: by the secret of
    /// FAL_PROXY_SECRET (at least 16 characters) as `Authorization: Bearer SECRET` (or `Key SECRET`, which
    /// is what fal's clients make of their credentials), or by what --auth-url says. Ctrl-C ends it once the
    /// calls under way are done, a second one at once.
    #[command(after_help = SEE_MORE)]
    Proxy(Proxy),
    /// Receive what webhooks send, and check it
    #[command(subcommand)]
    Webhook(Webhook),
}

impl Command {
    /// The command and the model whose inputs are to be told.
    pub(crate) fn asked_for_help(&self) -> Option<(&'static str, &Given)> {
        let (name, given) = match self {
            Self::Run(run) => ("run", &run.call.given),
            Self::Submit(submit) => ("submit", &submit.call.given),
            Self::Stream(stream) => ("stream", &stream.given),
            _ => return None,
        };
        given.wants_help.then_some((name, given))
    }

    /// The model and the input of a call that takes one.
    pub(crate) const fn given_mut(&mut self) -> Option<&mut Given> {
        match self {
            Self::Run(run) => Some(&mut run.call.given),
            Self::Submit(submit) => Some(&mut submit.call.given),
            Self::Stream(stream) => Some(&mut stream.given),
            _ => None,
        }
    }
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Use the real service, which costs money; needs FAL_KEY
    #[arg(long)]
    pub(crate) live: bool,

    /// Agree to pay without being asked
    #[arg(long, requires = "live")]
    pub(crate) yes: bool,

    /// The model to run with --live; any other than the default gets a prompt only
    #[arg(long, value_name = "ENDPOINT", requires = "live")]
    pub(crate) endpoint: Option<String>,

    /// Where to save the picture: fal-demo-ID.png in this folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
}

/// Flags of `realtime`.
#[derive(Debug, Args)]
#[command(after_long_help = input::HELP, after_help = SEE_MORE)]
pub(crate) struct RealtimeFlags {
    /// The model, such as fal-ai/fast-lcm-diffusion
    pub(crate) endpoint: String,

    /// Its input: key=value, key:=JSON; see --help. Without any, each line of stdin is an input
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) fields: Vec<String>,

    /// The input as JSON: a file's name, @file, - for stdin, or the JSON itself; fields are added to it
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,

    /// Save the bytes of outputs here, such as pictures; nothing is ever overwritten
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// What follows the id in the address, instead of /realtime
    #[arg(long)]
    pub(crate) path: Option<String>,

    /// How many inputs the service keeps before it drops the oldest: 1 to 60 [default: the app's]
    #[arg(long, value_name = "N")]
    pub(crate) max_buffering: Option<u8>,

    /// How many inputs may be without an output before the next is sent
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) ahead: u32,

    /// Stay until the service ends the connection: for models that make many outputs of one input
    #[arg(long)]
    pub(crate) until_end: bool,

    /// Show the key itself instead of a short-lived token
    #[arg(long)]
    pub(crate) key_in_header: bool,
}

/// Flags of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenFlags {
    /// What it may call, such as fal-ai/fast-lcm-diffusion/realtime
    #[arg(value_name = "APP", required = true)]
    pub(crate) apps: Vec<String>,

    /// How long it is valid, in whole seconds
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "120s")]
    pub(crate) duration: Duration,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The job; see `fal-cli --help`
    pub(crate) handle: String,

    /// Show the model's log lines so far
    #[arg(long)]
    pub(crate) logs: bool,

    /// Follow the job until it has completed; the exit code then tells whether it failed
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Flags of `result`.
#[derive(Debug, Args)]
pub(crate) struct ResultFlags {
    /// The job; see `fal-cli --help`
    pub(crate) handle: String,

    /// Wait until the job has completed; Ctrl-C then leaves it running
    #[arg(long)]
    pub(crate) wait: bool,

    /// With --wait: give up after this time; the job goes on [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    pub(crate) deadline: Option<Duration>,

    /// Save every media file of the result here; nothing is ever overwritten
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Flags of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The job; see `fal-cli --help`
    pub(crate) handle: String,
}

/// Flags of `models`.
#[derive(Debug, Args)]
pub(crate) struct Models {
    /// What to look for [default: everything]
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,

    /// Only this category, such as text-to-image
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,

    /// Only models of this status [default: all]
    #[arg(long, value_name = "WHICH")]
    pub(crate) status: Option<ModelStatus>,

    /// Show at most so many, 1 to 100000
    #[arg(long, value_name = "N", default_value = "20", value_parser = limit)]
    pub(crate) limit: usize,
}

/// Whether a model is there to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelStatus {
    /// It is
    Active,
    /// It will go
    Deprecated,
}

impl ModelStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
        }
    }
}

/// Flags of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaFlags {
    /// The model, such as fal-ai/flux/dev
    pub(crate) endpoint: String,

    /// Take the document from this file or folder, not from the service [env: FAL_SCHEMA]
    #[arg(long, value_name = "PATH")]
    pub(crate) schema: Option<PathBuf>,
}

/// Flags of `codegen`.
#[derive(Debug, Args)]
pub(crate) struct Codegen {
    /// The models, such as fal-ai/flux/dev
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoints: Vec<String>,

    /// Write it here, unless the file holds it already
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Write nothing, and fail unless the file of --out is what would be written
    #[arg(long, requires = "out")]
    pub(crate) check: bool,

    /// Take the documents from this file or folder, not from the service [env: FAL_SCHEMA]
    #[arg(long, value_name = "PATH")]
    pub(crate) schema: Option<PathBuf>,

    /// Leave out the descriptions: they are the words of the models' authors
    #[arg(long)]
    pub(crate) no_descriptions: bool,
}

/// Flags of `pricing`.
#[derive(Debug, Args)]
pub(crate) struct Pricing {
    /// The models
    #[arg(value_name = "ENDPOINT", required = true)]
    pub(crate) endpoints: Vec<String>,

    /// Estimate what so many calls of each cost, by what calls have cost this account
    #[arg(long, value_name = "N", conflicts_with = "units")]
    pub(crate) calls: Option<u64>,

    /// Estimate what so many units of each cost
    #[arg(long, value_name = "X")]
    pub(crate) units: Option<f64>,
}

/// Flags of `queue`.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// The app: OWNER/NAME
    pub(crate) app: String,
}

/// Flags of `proxy`.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8788")]
    pub(crate) listen: SocketAddr,

    /// Let only these endpoints run, such as fal-ai/flux/**; may be repeated [default: all]
    #[arg(long = "allow-endpoint", value_name = "GLOB")]
    pub(crate) endpoints: Vec<String>,

    /// Let calls reach only these addresses, such as queue.fal.run/**; may be repeated; the key goes to fal's
    /// hosts alone [default: runs, the queue, and the beginning of uploads]
    #[arg(long = "allow-url", value_name = "GLOB")]
    pub(crate) urls: Vec<String>,

    /// Give out tokens for realtime too: whoever has one needs the proxy no more until it expires
    #[arg(long)]
    pub(crate) allow_tokens: bool,

    /// Look for the secret in this header instead, as it is, without Bearer or Key before it
    #[arg(long, value_name = "NAME")]
    pub(crate) require_header: Option<HeaderName>,

    /// Ask this address about every call: it gets a GET with the caller's Authorization, Cookie and Origin, and
    /// x-fal-target-url; 2xx lets the call through
    #[arg(long, value_name = "URL")]
    pub(crate) auth_url: Option<http::Uri>,

    /// Serve whoever comes: all of them spend what the key pays for
    #[arg(long, conflicts_with_all = ["require_header", "auth_url"])]
    pub(crate) anonymous: bool,

    /// Let pages of this origin call, such as `https://app.example`; may be repeated [default: pages that come
    /// from the proxy's own address]
    #[arg(long = "origin", value_name = "ORIGIN", value_parser = origin)]
    pub(crate) origins: Vec<String>,

    /// Forward the caller's own Authorization in place of the key
    #[arg(long, conflicts_with = "anonymous")]
    pub(crate) forward_client_auth: bool,

    /// Forward this header of the caller too; may be repeated [default: x-fal-*, Accept, Content-Type]
    #[arg(long = "forward-header", value_name = "NAME")]
    pub(crate) forward_headers: Vec<HeaderName>,

    /// Refuse longer bodies with 413, such as 512k or 8m; a body is held in memory before it goes on
    #[arg(long, value_name = "BYTES", default_value = "32m", value_parser = bytes)]
    pub(crate) body_max: usize,

    /// Refuse with the codes of the documented formula (405, 412, 415) instead of those of fal's library (400)
    #[arg(long)]
    pub(crate) documented_codes: bool,
}

/// Flags of `upload`.
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// The files; - for stdin
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,

    /// The media type, such as image/png [default: by the name's ending]
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// The name that the file gets; for one file only [default: its own]
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// How long they live: seconds, immediate, 1h, 1d, 7d, 30d, 1y, unlimited, or never (as the account says)
    #[arg(long, value_name = "TIME", value_parser = fal_client::Expires::from_str)]
    pub(crate) expires: Option<Expires>,

    /// Who may read them: allow, forbid or hide for everybody, USER=allow for one; may be given several times
    #[arg(long, value_name = "WHO", value_parser = Reader::parse)]
    pub(crate) acl: Vec<Reader>,

    /// Lifetime and readers in one, as fal's JSON
    #[arg(long, value_name = "JSON", conflicts_with_all = ["expires", "acl"])]
    pub(crate) lifecycle: Option<String>,

    /// The way: initiate, gcs or cdn; of several with commas between them, the next when one fails
    #[arg(long, value_name = "ROUTES", value_delimiter = ',', value_parser = fal_client::Route::from_str)]
    pub(crate) route: Vec<fal_client::Route>,

    /// Send files of more than this in parts of this size, such as 16MiB [default: 10MiB, from 90MiB on]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) part_size: Option<u64>,

    /// How many parts go out at once [default: 4]
    #[arg(long, value_name = "N", value_parser = parallel)]
    pub(crate) parallel: Option<usize>,

    /// Go on with the upload that this file tells of, and keep there what it takes to go on again; one file
    #[arg(long, value_name = "STATE")]
    pub(crate) resume: Option<PathBuf>,
}

/// Reads `200ms`, `1.5s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number with ms, s, m or h, such as 90s or 10m".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

/// Reads a number of entries.
fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=100_000) => Ok(limit),
        _ => Err("give a number from 1 to 100000".to_owned()),
    }
}

/// Reads `5000`, `512KiB`, `16MiB`, `1GiB`: one byte or more.
fn size(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("give bytes, or a number with KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "it must be at least one byte, and less than 16 EiB".to_owned())
}

/// The same for what is held in memory.
fn bytes(text: &str) -> Result<usize, String> {
    size(text).and_then(|bytes| usize::try_from(bytes).map_err(|error| error.to_string()))
}

/// Reads `https://app.example` or `http://localhost:3000`.
fn origin(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['/', '@', '*', '?', ' ']) => Ok(text),
        _ => Err("give scheme and host, such as https://app.example".to_owned()),
    }
}

/// Reads a number of parts at once.
fn parallel(text: &str) -> Result<usize, String> {
    let range = 1..=fal_client::PARALLEL_MAX;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is a number from 1 to {}", fal_client::PARALLEL_MAX))
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("give it as 'name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

const SEE_MORE: &str = "Examples, rules and exit codes: --help";

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}", exit::TABLE)
}

const EXAMPLES: &str = "\
Examples:
  fal-cli demo
  fal-cli run fal-ai/flux/dev prompt='a cat in the rain' image_size.width=512 --out .
  fal-cli run fal-ai/face-to-sticker image_url@me.jpg prompt='a pirate' -r | jq .images[0].url
  job=$(fal-cli submit -r fal-ai/flux/dev prompt='a cat')
  fal-cli status \"$job\" --watch && fal-cli result \"$job\" --out .

The key is read from FAL_KEY alone (or FAL_KEY_ID and FAL_KEY_SECRET), never from a flag: flags are
visible to other users of the machine and stay in the shell's history. Get one at
https://fal.ai/dashboard/keys. A mock takes any id:secret. HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE
are heeded.

HANDLE names a job: fal-ai/flux/dev/requests/ID, an address of the job at the service, JSON,
@file with one of these or with the JSON lines of `run` or `submit`, or - for stdin.

On a terminal stdout gets the result, indented; progress goes to stderr. When stdout is no terminal,
or with --json, stdout gets JSON lines: {\"event\":\"submitted\",\"handle\":{...}} and so on; the last
is {\"event\":\"result\",...} or {\"event\":\"error\",...}. With -r stdout gets only the result, for | jq.
Problems are told on stderr in any case. NO_COLOR is heeded.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Flags::command().debug_assert();
        let args = ["fal-cli", "run", "fal-ai/flux/dev", "seed=-1", "--deadline", "10m", "-r"];
        let flags = Flags::parse_from(args);
        let Command::Run(run) = flags.command else { panic!("this is run") };
        assert_eq!(run.deadline, Some(Duration::from_secs(600)));
        assert!(flags.global.result_only);
    }

    #[test]
    fn no_flag_takes_the_key() {
        let mut command = Flags::command();
        let help = command.render_long_help().to_string();
        assert!(help.contains("FAL_KEY") && !help.contains("--key"), "{help}");
    }

    #[test]
    fn times_and_headers_are_read() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for bad in ["", "5", "s", "1d", "-1s", "1.2.3s", "1e3s"] {
            duration(bad).unwrap_err();
        }
        assert_eq!(header("X-A: b: c"), Ok(("X-A".to_owned(), "b: c".to_owned())));
        header("none").unwrap_err();
        assert_eq!((bytes("7"), bytes("2k"), bytes("8M")), (Ok(7), Ok(2048), Ok(8 << 20)));
        for bad in ["", "k", "1t", "-1", "99999999999999999999m"] {
            bytes(bad).unwrap_err();
        }
        assert_eq!(origin("https://App.example/"), Ok("https://app.example".to_owned()));
        for bad in ["app.example", "https://", "*", "https://a/b", "https://*.a", "ftp://a"] {
            origin(bad).unwrap_err();
        }
    }

    #[test]
    fn sizes_and_numbers_are_read() {
        assert_eq!((size("16MiB"), size("7"), size("1g")), (Ok(16 << 20), Ok(7), Ok(1 << 30)));
        for bad in ["", "0", "MiB", "1.5MiB", "-1", "1TB", "99999999999GiB"] {
            size(bad).unwrap_err();
        }
        assert_eq!((parallel("1"), parallel("32")), (Ok(1), Ok(32)));
        for bad in ["0", "33", "x"] {
            parallel(bad).unwrap_err();
        }
    }
}
