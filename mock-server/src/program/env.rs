//! `fal-mock env`: the variables for programs under a mock that runs.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use fal_mock::environment::{Environment, Runtime, Shell, fresh_key};
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

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

async fn script(flags: Env) -> Result<String, Box<dyn Error + Send + Sync>> {
    let Some(authority) = flags.url.authority().filter(|_| flags.url.scheme_str() == Some("http"))
    else {
        return Err("--url must be an address such as http://127.0.0.1:8787".into());
    };
    let url = format!("http://{authority}");
    let fetching =
        tokio::time::timeout(ANSWER_TIME_MAX, certificate(&flags.url, authority.as_str()));
    let certificate = match fetching.await {
        Ok(Ok(certificate)) => certificate,
        Ok(Err(error)) => {
            let text = format!(
                "no mock answers at {url} ({error}): start it with `fal-mock`, or name its --url"
            );
            return Err(text.into());
        }
        Err(_) => return Err(format!("{url} did not answer in time").into()),
    };
    let dir = match flags.dir {
        Some(dir) => dir,
        // By port, so that settings for two mocks do not mix.
        None => fal_mock::data_dir()
            .ok_or("no home directory is known: name a place for files with --dir")?
            .join(format!("env/{}", authority.as_str().replace([':', '[', ']'], "-"))),
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
async fn certificate(url: &Uri, authority: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get("/__mock/v1/ca.pem").header(header::HOST, authority);
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let body =
        Limited::new(response.into_body(), CERTIFICATE_BYTES_MAX).collect().await?.to_bytes();
    let text = String::from_utf8(body.into())?;
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

/// Until the mock has answered.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A certificate takes less than 2 KiB.
const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
