//! `fal-mock live`: whether a mock answers, for checks of health where there is no shell and no curl.

use std::io::{self, Write as _};
use std::process::ExitCode;

use http::Uri;

use super::ask::Mock;

/// Ask a mock whether it is there, as a container's check of its health does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 if it answers, 1 if it does not, 2 if a flag is wrong.")]
pub(crate) struct Live {
    /// The address of the mock.
    #[arg(long, default_value = "http://127.0.0.1:8787", value_name = "URL")]
    url: Uri,
}

/// Asks.
pub(crate) async fn live(flags: Live) -> ExitCode {
    let answer = match Mock::at(&flags.url) {
        Ok(mock) => mock.get("/__mock/v1/live", ANSWER_BYTES_MAX).await.map(drop),
        Err(problem) => Err(problem),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr().lock(), "fal-mock: {}: {problem}", flags.url);
            ExitCode::FAILURE
        }
    }
}

/// The answer is one short object.
const ANSWER_BYTES_MAX: usize = 4 << 10;
