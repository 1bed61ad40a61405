//! Programs: the input on stdin, log lines on stderr, the output on stdout, files in a folder.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, Command};

use super::super::Shared;
use super::super::receive::BATCH_BYTES;
use super::{
    Cause, LINE_BYTES_MAX, OUTPUT_BYTES_MAX, Teller, failure, is_json, lost, server_error,
    stopped_event,
};
use crate::model::{Blob, Made, Work, WorkEvent, files_named, level};

/// Does one attempt.
pub(super) async fn run(
    work: &Work,
    command: &[Box<str>],
    folder: Option<&Path>,
    teller: &Teller,
    ending: impl Future<Output = Cause>,
) -> WorkEvent {
    let failed = |why: String| WorkEvent::Failed(server_error(&why));
    let Some((program, arguments)) = command.split_first() else {
        return failed("The command of the back end is empty".to_owned());
    };
    let out = match OutFolder::new() {
        Ok(out) => out,
        Err(error) => return failed(format!("No folder can be made for files: {error}")),
    };
    let mut command = Command::new(&**program);
    command
        .args(arguments.iter().map(|argument| &**argument))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .env("FAL_REQUEST_ID", work.request_id.to_string())
        .env("FAL_ENDPOINT", &*work.endpoint)
        .env("FAL_ATTEMPT", work.attempt.to_string())
        .env("FAL_OUTPUT_DIR", &out.path);
    // The key that the mock may have been started with is nothing for a model.
    for name in ["FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET"] {
        command.env_remove(name);
    }
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    #[cfg(unix)]
    command.process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("{program} cannot be started: {error}")),
    };
    let mut group = Group::of(&child);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return failed(format!("{program} has no pipes"));
    };
    let feeding = async {
        // A program that does not want its input is free not to read it.
        let _ = stdin.write_all(&work.input).await;
        drop(stdin);
    };
    let talking = async { tokio::join!(feeding, read_output(stdout), read_lines(stderr, teller)) };
    tokio::pin!(talking, ending);
    let mut talked = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            all = &mut talking, if talked.is_none() => talked = Some(all),
            cause = &mut ending => {
                group.stop(&mut child).await;
                return stopped_event(work, cause);
            }
        }
    };
    group.has_ended();
    let talked = match talked {
        Some(talked) => Some(talked),
        // Others that it has started may hold its pipes open.
        None => tokio::time::timeout(PIPES_TIME_MAX, &mut talking).await.ok(),
    };
    let status = match status {
        Ok(status) => status,
        Err(error) => return failed(format!("{program} cannot be waited for: {error}")),
    };
    let Some(((), output, last_line)) = talked else {
        return failed(format!("{program} has ended, but others hold its output open"));
    };
    match output {
        Err(error) => failed(format!("The output of {program} cannot be read: {error}")),
        Ok(_) if !status.success() => {
            ended(program, status, output.unwrap_or_default(), &last_line)
        }
        Ok(output) if !is_json(&output) => {
            failed(format!("{program} wrote no JSON to its standard output"))
        }
        Ok(output) => match files(&out.path, &output, teller).await {
            Ok(files) => WorkEvent::Done(Made { output, files, units: None }),
            Err(why) => failed(why),
        },
    }
}

/// What a program means that did not succeed.
fn ended(program: &str, status: ExitStatus, output: Bytes, last_line: &str) -> WorkEvent {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match status.code() {
        None => {
            let why = format!("{program} was killed: {status}");
            lost(unavailable, "runner_disconnected", &why)
        }
        Some(TRY_AGAIN) => {
            let why = format!("{program} asks to be tried again: {last_line}");
            lost(unavailable, "runner_scheduling_failure", &why)
        }
        Some(code) => {
            let stated: serde_json::Value = serde_json::from_slice(&output).unwrap_or_default();
            match &stated["detail"] {
                serde_json::Value::Null => {
                    let why = format!("{program} ended with exit code {code}: {last_line}");
                    WorkEvent::Failed(server_error(why.trim_end_matches([':', ' '])))
                }
                // The model says itself what is wrong; a list is about the input.
                detail => {
                    let status = match detail.is_array() {
                        true => StatusCode::UNPROCESSABLE_ENTITY,
                        false => StatusCode::INTERNAL_SERVER_ERROR,
                    };
                    WorkEvent::Failed(failure(status, output, None))
                }
            }
        }
    }
}

async fn read_output(pipe: impl AsyncRead + Unpin) -> io::Result<Bytes> {
    let mut output = Vec::new();
    let mut pipe = pipe.take(OUTPUT_BYTES_MAX as u64 + 1);
    pipe.read_to_end(&mut output).await?;
    if output.len() > OUTPUT_BYTES_MAX {
        let why = format!("it is longer than {OUTPUT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let start = output.len() - output.trim_ascii_start().len();
    let end = output.trim_ascii_end().len();
    Ok(Bytes::from(output).slice(start.min(end)..end))
}

/// Tells lines as they come. Returns the last.
async fn read_lines(pipe: impl AsyncRead + Unpin, teller: &Teller) -> String {
    let mut pipe = BufReader::new(pipe);
    let mut last = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        // What is longer comes in pieces.
        let mut piece = (&mut pipe).take(LINE_BYTES_MAX as u64);
        match piece.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            teller.log(level_of(text), text);
            text.clone_into(&mut last);
        }
    }
}

/// `WARNING:` and the like at the beginning, as the usual loggers write it.
fn level_of(line: &str) -> &'static str {
    let word = line.trim_start_matches('[').split([':', ']', ' ']).next().unwrap_or_default();
    let is_shouted = word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    level(word).filter(|_| is_shouted).unwrap_or("INFO")
}

/// The files that an output names.
async fn files(
    folder: &Path,
    output: &[u8],
    teller: &Teller,
) -> Result<Vec<(Box<str>, Blob)>, String> {
    let mut files = Vec::new();
    let mut left = FILES_BYTES_MAX;
    for name in files_named(output) {
        let is_plain = !name.is_empty()
            && !name.starts_with('.')
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_plain {
            return Err(format!(
                "The output names the file {name:?}: names have letters, digits and . _ - only"
            ));
        }
        let path = folder.join(&name);
        let unread = |why: String| format!("The output names the file {name}, but {why}");
        let len = match fs::metadata(&path) {
            Ok(found) if found.is_file() => found.len(),
            Ok(_) => return Err(unread("that is no file".to_owned())),
            Err(error) => return Err(unread(format!("it is not in FAL_OUTPUT_DIR: {error}"))),
        };
        left = left.checked_sub(len).ok_or_else(|| {
            unread(format!("all files together are longer than {FILES_BYTES_MAX} bytes"))
        })?;
        let shared = Arc::clone(&teller.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let bytes = Bytes::from(fs::read(path)?);
            keep(&shared, bytes)
        });
        let blob = reading.await.map_err(|error| unread(error.to_string()))?;
        files.push((name.as_str().into(), blob.map_err(|error| unread(error.to_string()))?));
    }
    Ok(files)
}

/// Long files go where long uploads go.
fn keep(shared: &Shared, bytes: Bytes) -> io::Result<Blob> {
    if bytes.len() <= BATCH_BYTES {
        return Ok(Blob::memory(bytes));
    }
    let mut writer = shared.spool().writer()?;
    while writer.reserve(bytes.len()).is_err() {
        if !shared.make_room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
    }
    writer.write(&[bytes])?;
    Ok(Blob::Spooled(writer.finish()))
}

/// A folder of one attempt, gone with it.
struct OutFolder {
    path: PathBuf,
}

impl OutFolder {
    fn new() -> io::Result<Self> {
        /// Ids of jobs repeat, in mocks of one process and in runs of one mock.
        static LAST: AtomicU64 = AtomicU64::new(0);

        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt as _;
            builder.mode(0o700);
        }
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let name = format!("fal-mock-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match builder.create(&path) {
                Ok(()) => return Ok(Self { path }),
                // One that a killed process has left.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        // What cannot be removed is in the way of nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A program and those that it has started. Killed when dropped, unless it has ended.
struct Group {
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { id: id.and_then(rustix::process::Pid::from_raw) }
    }

    fn has_ended(&mut self) {
        self.id = None;
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(id) = self.id {
            // It may have ended in this moment.
            let _ = rustix::process::kill_process_group(id, signal);
        }
    }

    /// Asks it to end; after [`STOP_TIME_MAX`] it is not asked any more.
    async fn stop(&mut self, child: &mut Child) {
        self.signal(rustix::process::Signal::TERM);
        if tokio::time::timeout(STOP_TIME_MAX, child.wait()).await.is_err() {
            self.signal(rustix::process::Signal::KILL);
            let _ = child.wait().await;
        }
        self.has_ended();
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn has_ended(&mut self) {}

    async fn stop(&mut self, child: &mut Child) {
        // It may have ended in this moment.
        let _ = child.kill().await;
    }
}

/// The exit code of programs that may be tried again, by sysexits.h.
const TRY_AGAIN: i32 = 75;

/// How long a program may take to end after it was asked to.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the pipes of a program that has ended are read.
const PIPES_TIME_MAX: Duration = Duration::from_secs(1);

/// Files of one call, all together: 256 MiB.
const FILES_BYTES_MAX: u64 = 256 << 20;

/// Longest name of a file.
const NAME_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::level_of;

    #[test]
    fn levels_are_read_as_loggers_write_them() {
        for (line, want) in [
            ("step 1 of 3", "INFO"),
            ("WARNING:root:low memory", "WARNING"),
            ("[ERROR] no", "ERROR"),
            ("CRITICAL: no", "ERROR"),
            ("DEBUG x", "DEBUG"),
            ("Error: no", "INFO"),
            ("", "INFO"),
        ] {
            assert_eq!(level_of(line), want, "{line:?}");
        }
    }
}
