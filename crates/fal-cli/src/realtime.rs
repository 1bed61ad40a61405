//! `realtime`: messages over one connection; `token`: what a browser has instead of the key.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use fal_client::realtime::Value as Tree;
use fal_client::realtime::{
    QUEUE_MESSAGES_DEFAULT, Queue, Realtime, RealtimeEvent, RealtimeOutput,
};
use fal_client::{Error, ErrorKind};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, RealtimeFlags, TokenFlags};
use crate::input;
use crate::json as text;
use crate::problem::Problem;
use crate::save;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn realtime(
    global: &Global,
    flags: RealtimeFlags,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let mut inputs = Inputs::new(&flags)?;
    if let Some(dir) = &flags.out {
        save::prepare(dir)?;
    }
    let client = connect::client(global)?;
    let mut signals = Signals::new()?;
    let mut builder = client.realtime(&flags.endpoint);
    builder = builder.queue(Queue::All { messages_max: QUEUE_MESSAGES_DEFAULT });
    if let Some(path) = &flags.path {
        builder = builder.path(path);
    }
    if let Some(number) = flags.max_buffering {
        builder = builder.max_buffering(number);
    }
    if flags.key_in_header {
        builder = builder.key_in_header();
    }
    let mut session = builder.start().map_err(|error| Problem::of(error, global))?;
    show.doing("waiting for an input");
    let mut tally = Tally::default();
    let problem = loop {
        let is_due = tally.unanswered() < u64::from(flags.ahead) && !inputs.is_over;
        if inputs.is_over && tally.unanswered() == 0 && !flags.until_end {
            break None;
        }
        tokio::select! {
            biased;
            () = signals.next() => {
                break Some(Problem::new(Exit::Cancelled, "cancelled; the connection was closed"));
            }
            event = session.next_event() => {
                let Some(event) = event else { break None };
                match take(event, &flags, &mut tally, show) {
                    Ok(Next::Go) => {}
                    Ok(Next::Ended) if flags.until_end || inputs.is_over => {
                        break tally.lost();
                    }
                    Ok(Next::Ended) => {
                        if let Some(problem) = tally.lost() {
                            break Some(problem);
                        }
                        tally = Tally { outputs: tally.outputs, ..Tally::default() };
                    }
                    Err(Trouble::Service(error)) => break Some(Problem::of(error, global)),
                    Err(Trouble::Here(problem)) => break Some(problem),
                }
            }
            input = inputs.next(), if is_due => match input? {
                Some(input) => {
                    tally.sent += 1;
                    send(&session, &input).await.map_err(|error| Problem::of(error, global))?;
                    show.doing("waiting for an output");
                }
                None => inputs.is_over = true,
            },
        }
    };
    // With 1000, and the peer is waited for: it may have been told of an error meanwhile.
    session.close().await.map_err(|error| Problem::of(error, global))?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    let line = show.new_line("result").with("outputs", &tally.outputs);
    show.line(line);
    Ok(Exit::Ok)
}

pub(crate) async fn token(
    global: &Global,
    flags: TokenFlags,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let client = connect::quick_client(global)?;
    let token = client.token(&flags.apps).duration(flags.duration).await;
    let token = token.map_err(|error| Problem::of(error, global))?;
    let line = show.new_line("result").with("token", token.as_str());
    let line = line.with("expires_in", &flags.duration.as_secs_f64().ceil());
    show.answer(line, token.as_str(), token.as_str());
    Ok(Exit::Ok)
}

async fn send(session: &Realtime, input: &Value) -> Result<(), Error> {
    session.send(input).await
}

/// What went over the connection that is open now, and came of all of them.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    received: u64,
    outputs: u64,
}

impl Tally {
    const fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// A model that is done may have made more of its input than one output, but not less.
    fn lost(&self) -> Option<Problem> {
        (self.unanswered() > 0).then(|| {
            let message = format!(
                "the connection ended before {} of {} inputs had an output",
                self.unanswered(),
                self.sent
            );
            Problem::new(Exit::Failed, message)
        })
    }
}

enum Next {
    Go,
    Ended,
}

enum Trouble {
    Service(Error),
    Here(Problem),
}

fn take(
    event: RealtimeEvent,
    flags: &RealtimeFlags,
    tally: &mut Tally,
    show: &mut Show,
) -> Result<Next, Trouble> {
    match event {
        RealtimeEvent::Connected => {
            show.line(show.new_line("connected"));
            show.note("connected");
        }
        RealtimeEvent::Output(output) => {
            tally.received += 1;
            tally.outputs += 1;
            tell(&output, flags.out.as_deref(), show).map_err(Trouble::Here)?;
        }
        RealtimeEvent::Meta(meta) => {
            let line = show.new_line("meta").maybe("action", meta.action.as_deref());
            show.line(line.maybe("timing", meta.timing));
        }
        RealtimeEvent::PeerError { error, .. } => {
            return Err(Trouble::Service(ErrorKind::Api(error).into()));
        }
        RealtimeEvent::Malformed { error, .. } => {
            return Err(Trouble::Service(ErrorKind::Protocol(error).into()));
        }
        RealtimeEvent::Failed { error, .. } => return Err(Trouble::Service(error)),
        RealtimeEvent::Ended(ended) => {
            let line = show.new_line("ended").maybe("reason", ended.reason.as_deref());
            let line = line.maybe("code", ended.close.as_ref().and_then(|close| close.code));
            let line = line.with("sent", &ended.traffic.sent);
            show.line(line.with("received", &ended.traffic.received));
            show.note(ended.reason.as_deref().unwrap_or("the service ended the connection"));
            return Ok(Next::Ended);
        }
        RealtimeEvent::Dropped { number, .. } => {
            show.line(show.new_line("dropped").with("number", &number));
            show.note(&format!("input {number} was dropped"));
        }
        RealtimeEvent::Retrying { attempt, rest, cause } => {
            let line = show.new_line("retrying").with("attempt", &attempt);
            let rest_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
            show.line(line.with("rest_ms", &rest_ms).with("cause", &*cause));
            show.note(&format!("trying again: {cause}"));
        }
        _ => {}
    }
    Ok(Next::Go)
}

/// Prints an output; bytes in it go to files, or are told by their length.
fn tell(output: &RealtimeOutput, dir: Option<&Path>, show: &mut Show) -> Result<(), Problem> {
    let tree = output.value().map_err(|error| {
        Problem::new(Exit::Failed, format!("an output cannot be read: {error}"))
    })?;
    let mut saved = Vec::new();
    let value = plain(&tree, None, dir, &mut saved)?;
    let json = value.to_string();
    let line = show.new_line("output").raw("data", &json);
    let line = match saved.is_empty() {
        true => line,
        false => line.with("saved", &saved),
    };
    show.answer(line, &text::pretty(&json), &json);
    for file in &saved {
        show.note(&format!("saved {}", file["path"].as_str().unwrap_or_default()));
    }
    Ok(())
}

/// The tree as JSON. `content_type` is what stands beside the bytes.
fn plain(
    tree: &Tree,
    content_type: Option<&str>,
    dir: Option<&Path>,
    saved: &mut Vec<Value>,
) -> Result<Value, Problem> {
    Ok(match tree {
        Tree::Bytes(bytes) => {
            let Some(dir) = dir else { return Ok(json!({ "bytes": bytes.len() })) };
            let path = store(bytes, content_type, dir)?;
            let file = json!({ "path": path.to_string_lossy(), "bytes": bytes.len() });
            saved.push(file.clone());
            file
        }
        Tree::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.push(plain(item, None, dir, saved)?);
            }
            Value::Array(list)
        }
        Tree::Map(members) => {
            let content_type = tree.get("content_type").and_then(Tree::as_text);
            let mut map = Map::new();
            for (name, value) in members {
                map.insert(name.clone(), plain(value, content_type, dir, saved)?);
            }
            Value::Object(map)
        }
        // What has no bytes below it is JSON as it is.
        other => serde_json::to_value(other).unwrap_or_default(),
    })
}

fn store(bytes: &[u8], content_type: Option<&str>, dir: &Path) -> Result<PathBuf, Problem> {
    let name = format!("output.{}", ending(content_type.unwrap_or_default()));
    let path = save::reserve(dir, &name).map_err(|error| Problem::file(dir.join(&name), &error))?;
    std::fs::write(&path, bytes).map_err(|error| Problem::file(&path, &error))?;
    Ok(path)
}

fn ending(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.rsplit('/').next().unwrap_or_default();
    let subtype: String = subtype.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    match subtype.as_str() {
        "" => "bin".to_owned(),
        "jpeg" => "jpg".to_owned(),
        _ => subtype,
    }
}

/// Where inputs come from: the fields, else the lines of stdin.
struct Inputs {
    first: Option<Value>,
    lines: Option<mpsc::Receiver<std::io::Result<String>>>,
    is_over: bool,
}

impl Inputs {
    fn new(flags: &RealtimeFlags) -> Result<Self, Problem> {
        if flags.fields.is_empty() && flags.input.is_none() {
            let (lines, inbox) = mpsc::channel(1);
            // Ends with the process: nobody can stop a read of stdin.
            std::thread::spawn(move || {
                for line in std::io::stdin().lock().lines() {
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
            });
            return Ok(Self { first: None, lines: Some(inbox), is_over: false });
        }
        let first = input::read_plain(flags.input.as_deref(), &flags.fields)?;
        Ok(Self { first: Some(first), lines: None, is_over: false })
    }

    /// The next one; `None` at the end. Empty lines are passed over.
    async fn next(&mut self) -> Result<Option<Value>, Problem> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(lines) = &mut self.lines else { return Ok(None) };
        loop {
            let Some(line) = lines.recv().await else { return Ok(None) };
            let line = line.map_err(|error| Problem::file("stdin", &error))?;
            if line.trim().is_empty() {
                continue;
            }
            let value = serde_json::from_str(&line)
                .map_err(|error| Problem::usage(format!("a line of stdin is not JSON: {error}")))?;
            return Ok(Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_come_from_the_media_type() {
        for (content_type, expected) in
            [("image/jpeg", "jpg"), ("image/png; x=y", "png"), ("", "bin"), ("audio/x-wav", "xwav")]
        {
            assert_eq!(ending(content_type), expected);
        }
    }
}
