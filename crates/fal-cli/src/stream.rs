//! `stream`: a model's answer as it is made.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fal_client::{Aftermath, ErrorKind, StreamItem, Streaming, WorkflowEvent};
use serde_json::json;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, Stream};
use crate::given;
use crate::problem::Problem;
use crate::run::with_platform;
use crate::save;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn stream(
    global: &Global,
    mut flags: Stream,
    show: &mut Show,
) -> Result<Exit, Problem> {
    // A GET carries no input that a document speaks of.
    flags.given.no_check |= flags.method.is_safe();
    // What cannot be saved is better not paid for.
    let mut sink = flags.out.map(Sink::create).transpose()?;
    let client = connect::client(global)?;
    let input = given::read(global, &mut flags.given, "stream", show).await?;
    let mut signals = Signals::new()?;
    let mut call = client.stream(&flags.given.endpoint).input(input);
    if let Some(deadline) = flags.deadline {
        call = call.deadline(deadline);
    }
    if let Some(timeout) = flags.idle_timeout {
        call = call.idle_timeout(timeout);
    }
    call = with_platform!(call, flags.platform).method(flags.method.clone());
    for (name, value) in &flags.query {
        call = call.query(name, value);
    }
    for (name, value) in &flags.headers {
        call = call.header(name, value);
    }
    show.doing("streaming");
    let mut stream = call.start();
    let mut workflow = is_workflow(&flags.given.endpoint).then(Workflow::default);
    let (mut items, mut bytes) = (0_u64, 0);
    loop {
        let item = tokio::select! {
            biased;
            () = signals.next() => {
                let message = format!("cancelled; {}", Aftermath::Disconnected);
                return Err(Problem::new(Exit::Cancelled, message));
            }
            item = stream.next_item() => item,
        };
        let Some(item) = item else { break };
        let item = item.map_err(|error| {
            show.items_over();
            Problem::of(error, global)
        })?;
        items += 1;
        bytes += item.bytes().len();
        take(&item, &stream, &mut sink, show)?;
        if let Some(workflow) = &mut workflow {
            workflow.read(&item, &stream, global).inspect_err(|_| show.items_over())?;
        }
    }
    show.items_over();
    if let Some(workflow) = workflow {
        workflow.end(&stream)?;
    }
    let saved = sink.map(|sink| sink.path.to_string_lossy().into_owned());
    let line = show.new_line("result").maybe("request_id", stream.request_id());
    let line = line.maybe("content_type", stream.content_type());
    let line = line.with("items", &items).with("bytes", &bytes);
    show.line(line.maybe("saved", saved.map(|path| json!([{ "path": path, "bytes": bytes }]))));
    Ok(Exit::Ok)
}

/// Whether the events of this model are those of a workflow.
fn is_workflow(endpoint: &str) -> bool {
    endpoint.starts_with("workflows/")
}

/// What the events of a workflow have said: its failures come inside a stream that goes well.
#[derive(Debug, Default)]
struct Workflow {
    has_output: bool,
}

impl Workflow {
    fn read(
        &mut self,
        item: &StreamItem,
        stream: &Streaming,
        global: &Global,
    ) -> Result<(), Problem> {
        match WorkflowEvent::parse(item.bytes()) {
            Ok(WorkflowEvent::Failed { node_id, mut error }) => {
                error.message = format!("step {node_id}: {}", error.message).into();
                error.request_id = stream.request_id().map(Into::into);
                Err(Problem::of(fal_client::Error::from(ErrorKind::Api(error)), global))
            }
            Ok(WorkflowEvent::Output { .. }) => {
                self.has_output = true;
                Ok(())
            }
            // What is shown is shown as it came.
            _ => Ok(()),
        }
    }

    fn end(&self, stream: &Streaming) -> Result<(), Problem> {
        if self.has_output {
            return Ok(());
        }
        let request = stream.request_id().map(|id| format!(" (request {id})")).unwrap_or_default();
        let message = format!("the stream ended before the workflow's output{request}");
        Err(Problem::new(Exit::Network, message))
    }
}

/// Shows an event; puts raw bytes where they are wanted.
fn take(
    item: &StreamItem,
    stream: &Streaming,
    sink: &mut Option<Sink>,
    show: &mut Show,
) -> Result<(), Problem> {
    if sink.is_none() && !item.is_event() && !show.takes_bytes() {
        // A terminal cannot show them and JSON lines cannot hold them, but they are paid for.
        let name = format!("fal-stream.{}", ending(stream.content_type()));
        let path = save::reserve(Path::new("."), &name);
        let path = path.map_err(|error| Problem::file(&name, &error))?;
        show.note(&format!("saving to {}", path.display()));
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.map_err(|error| Problem::file(&path, &error))?;
        *sink = Some(Sink { path, file });
    }
    match sink {
        Some(sink) => {
            sink.write(item)?;
            if item.is_event() {
                show.item(item);
            }
        }
        None => show.item(item),
    }
    Ok(())
}

/// A file that is written as the stream goes on.
#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: File,
}

impl Sink {
    fn create(path: PathBuf) -> Result<Self, Problem> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| Problem::file(&path, &error))?;
        Ok(Self { path, file })
    }

    /// Raw bytes as they are; an event as a line of JSON.
    fn write(&mut self, item: &StreamItem) -> Result<(), Problem> {
        let end: &[u8] = if item.is_event() { b"\n" } else { b"" };
        let written = self.file.write_all(item.bytes()).and_then(|()| self.file.write_all(end));
        written.map_err(|error| Problem::file(&self.path, &error))
    }
}

/// The ending of a file of this media type.
fn ending(content_type: Option<&str>) -> &'static str {
    match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/wav" | "audio/x-wav" => "wav",
        "audio/pcm" => "pcm",
        "application/json" => "json",
        _ => "bin",
    }
}
