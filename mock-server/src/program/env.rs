//! `fal-mock env`: the variables for programs under a mock that runs.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use fal_mock::environment::{Environment, Runtime, Shell, fresh_key};
use http::Uri;

use super::ask::{Mock, Problem};
use super::exec::key;

/// Print the variables that lead programs to a mock that runs.
///
/// They are those of fal-mock exec. The files that they name are written into a directory of this user's data,
/// such as ~/.local/share/fal-mock/env, and stay.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Env {
    /// The address of the mock.
    #[arg(long, default_value = "http://127.0.0.1:8787", value_name = "URL")]
    url: Uri,

    /// The shell that is to read them.
    #[arg(long, value_enum, default_value_t = Shells::Bash)]
    shell: Shells,

    /// The kind of program that they are for. Default: every kind.
    #[arg(long, value_enum)]
    runtime: Option<Runtimes>,

    /// The key that programs get as FAL_KEY, of the form id:secret. Default: a fresh one.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,

    /// Where the files are written that the variables name.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// [`Shell`] as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shells {
    /// And zsh, dash and others of that family.
    Bash,
    Fish,
    Powershell,
}

/// [`Runtime`] as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Runtimes {
    Python,
    Node,
    Curl,
    Rust,
}

/// Prints them.
pub(crate) async fn env(flags: Env) -> ExitCode {
    match script(flags).await {
        Ok(script) => {
            let mut out = io::stdout().lock();
            match out.write_all(script.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "fal-mock: {error}");
            ExitCode::from(EXIT_NO_MOCK)
        }
    }
}

async fn script(flags: Env) -> Result<String, Problem> {
    let at = Mock::at(&flags.url)?;
    let (url, authority) = (at.url(), at.authority);
    let certificate = certificate(&at).await.map_err(|error| {
        format!("no mock answers at {url} ({error}): start it with `fal-mock`, or name its --url")
    })?;
    let dir = match flags.dir {
        Some(dir) => dir,
        // By port, so that settings for two mocks do not mix.
        None => fal_mock::data_dir()
            .ok_or("no home directory is known: name a place for files with --dir")?
            .join(format!("env/{}", authority.replace([':', '[', ']'], "-"))),
    };
    let key = flags.key.unwrap_or_else(fresh_key);
    let environment = Environment::kept_in(&dir, &url, &certificate, &key)?;
    let shell = match flags.shell {
        Shells::Bash => Shell::Bash,
        Shells::Fish => Shell::Fish,
        Shells::Powershell => Shell::PowerShell,
    };
    let runtime = flags.runtime.map(|runtime| match runtime {
        Runtimes::Python => Runtime::Python,
        Runtimes::Node => Runtime::Node,
        Runtimes::Curl => Runtime::Curl,
        Runtimes::Rust => Runtime::Rust,
    });
    Ok(environment.script(shell, runtime))
}

/// The certificate of the mock's authority.
async fn certificate(at: &Mock<'_>) -> Result<String, Problem> {
    let text = String::from_utf8(at.get("/__mock/v1/ca.pem", CERTIFICATE_BYTES_MAX).await?)?;
    if !text.starts_with("-----BEGIN CERTIFICATE-----") {
        return Err("what answers there is no fal-mock".into());
    }
    Ok(text)
}

const EXAMPLES: &str = "\
Examples:
  eval \"$(fal-mock env)\"                                      bash, zsh
  fal-mock env --shell fish --runtime python | source
  fal-mock env --shell powershell | Out-String | Invoke-Expression

Exit codes: 0, or 2 if no mock answers there or a flag is wrong.";

/// clap uses the same for wrong flags.
const EXIT_NO_MOCK: u8 = 2;

/// A certificate takes less than 2 KiB.
const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
