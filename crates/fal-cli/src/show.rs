//! What is told, and where: results and JSON lines on stdout, progress and problems on stderr.

mod line;
mod live;
mod words;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use fal_client::{Event, Handle, Output, StreamItem};
use serde_json::value::RawValue;

use crate::exit::Exit;
use crate::flags::Global;
use crate::job_name;
use crate::json;
use crate::problem::Problem;
use crate::save::Saved;

pub(crate) use line::Line;
pub(crate) use live::Bar;
use live::Live;

/// Everything that a command tells.
#[derive(Debug)]
pub(crate) struct Show {
    out: Out,
    notes: Notes,
    began: Instant,
    /// Whether every event gets a line of its own, on a terminal too.
    tells_all: bool,
    last_progress: Option<Instant>,
    global: Global,
    /// The job that it was last told of.
    handle: Option<Handle>,
    /// The text of a stream so far, as it stands on the terminal.
    text: String,
    /// Raw bytes are on stdout: no line may follow them.
    has_bytes: bool,
    /// Why stdout takes no more. A reader that went away ends the output, not the job.
    stdout_error: Option<io::Error>,
}

/// What stdout gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    /// The result, for people.
    Pretty,
    /// One JSON object per event.
    Lines,
    /// The result as it came.
    Result,
}

/// How progress is told on stderr.
#[derive(Debug)]
enum Notes {
    /// One line that changes, with others scrolling above it.
    Live(Live),
    /// A line per event.
    Plain,
    Silent,
}

impl Show {
    pub(crate) fn new(global: &Global) -> Self {
        let out = match io::stdout().is_terminal() {
            _ if global.json => Out::Lines,
            _ if global.result_only => Out::Result,
            true => Out::Pretty,
            false => Out::Lines,
        };
        let notes = match io::stderr().is_terminal() {
            _ if global.quiet => Notes::Silent,
            true => Notes::Live(Live::new()),
            // Whoever reads the lines has no use for them twice.
            false if out == Out::Lines => Notes::Silent,
            false => Notes::Plain,
        };
        Self {
            out,
            notes,
            began: Instant::now(),
            tells_all: false,
            last_progress: None,
            global: global.clone(),
            handle: None,
            text: String::new(),
            has_bytes: false,
            stdout_error: None,
        }
    }

    /// Gives every event a line of its own, on stderr too unless the flags ask for less.
    pub(crate) fn tell_all(&mut self) {
        self.tells_all = true;
        if matches!(self.notes, Notes::Silent) && !self.global.quiet && !self.global.json {
            self.notes = Notes::Plain;
        }
    }

    /// Something happened during a call.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Event::Submitted(handle) = event {
            self.handle = Some(handle.clone());
        }
        if let Some(line) = line::of(event, self.began)
            && self.is_due(event)
        {
            self.line(line);
        }
        let text = words::of(event);
        match &mut self.notes {
            Notes::Live(live) => {
                let scrolls = self.tells_all || words::stays(event);
                if let Some(text) = text.filter(|_| scrolls) {
                    live.print(&self.began, &text);
                }
                live.event(event);
            }
            Notes::Plain => {
                if let Some(text) = text {
                    self.note(&text);
                }
            }
            Notes::Silent => {}
        }
    }

    /// Whether progress is told now: its end always, the way there a few times a second.
    fn is_due(&mut self, event: &Event) -> bool {
        let Event::Uploading { sent, total, .. } = event else { return true };
        let now = Instant::now();
        let is_due = sent == total
            || self.last_progress.is_none_or(|last| now.duration_since(last) >= PROGRESS_INTERVAL);
        if is_due {
            self.last_progress = Some(now);
        }
        is_due
    }

    /// Tells people something, on stderr.
    pub(crate) fn note(&self, text: &str) {
        match &self.notes {
            Notes::Live(live) => live.print(&self.began, text),
            Notes::Plain => say(&words::timed(&self.began, text)),
            Notes::Silent => {}
        }
    }

    /// Tells people something at the end: no time before it, no live line after it.
    pub(crate) fn closing_note(&mut self, text: &str) {
        if let Notes::Live(live) = &mut self.notes {
            live.clear();
        }
        if !matches!(self.notes, Notes::Silent) {
            say(&words::clean(text));
        }
    }

    /// What is being done now, on the live line.
    pub(crate) fn doing(&mut self, text: &str) {
        if let Notes::Live(live) = &mut self.notes {
            live.status(text);
        }
    }

    /// A delivery to a webhook: its line, or `words` for people, or the body alone.
    pub(crate) fn received(&mut self, line: Line, words: &str, body: &[u8]) {
        match self.out {
            Out::Lines => {
                self.note(words);
                self.line(line);
            }
            Out::Pretty => self.write(&words::clean(words)),
            Out::Result => {
                self.note(words);
                self.write(&words::clean(&String::from_utf8_lossy(body)));
            }
        }
    }

    /// A bar for a file on its way in.
    pub(crate) fn bar(&mut self, name: &str) -> Bar {
        match &mut self.notes {
            Notes::Live(live) => live.bar(name),
            _ => Bar::hidden(),
        }
    }

    /// A JSON line about something, where stdout gets them.
    pub(crate) fn line(&mut self, line: Line) {
        if self.out == Out::Lines && !self.has_bytes {
            self.write(&line.finish());
        }
    }

    /// A JSON line of this name, to be filled.
    pub(crate) fn new_line(&self, event: &str) -> Line {
        Line::new(event, self.began)
    }

    /// The first Ctrl-C.
    pub(crate) fn cancelling(&mut self, handle: Option<&Handle>, command: Option<&str>) {
        let line = self.new_line("cancelling").maybe("handle", handle);
        self.line(line);
        match command {
            Some(command) => {
                self.note("cancelling the job; Ctrl-C again leaves it running");
                self.note(&format!("if it completes all the same: {command}"));
            }
            None => self.note("cancelling; Ctrl-C again leaves at once"),
        }
        self.doing("cancelling");
    }

    /// The output of a model.
    pub(crate) fn output(&mut self, output: &Output, saved: &[Saved]) {
        self.clear();
        // Only what is JSON can be shown as such; some models answer other media.
        let json = output.json::<&RawValue>().ok().map(RawValue::get);
        self.handle = output.handle().cloned();
        match self.out {
            Out::Lines => {
                let line = self.new_line("result").maybe("request_id", output.request_id());
                let line = line
                    .maybe("billable_units", output.billable_units())
                    .maybe("inference_time", output.inference_time())
                    .maybe("served_from", output.served_from());
                let hints: Vec<&str> = output.runner_hints().collect();
                let line = line
                    .maybe("runner_hints", (!hints.is_empty()).then_some(hints))
                    .maybe("handle", output.handle());
                let line = match json {
                    Some(json) => line.raw("output", &json::compact(json)),
                    None => line
                        .raw("output", "null")
                        .maybe("content_type", output.content_type())
                        .with("bytes", &output.bytes().len()),
                };
                let saved: Vec<_> = saved.iter().map(Saved::json).collect();
                self.line(line.with("saved", &saved));
            }
            Out::Result => {
                self.write_bytes(output.bytes());
                if json.is_some() {
                    self.write("");
                }
            }
            Out::Pretty => match json {
                Some(json) => self.write(&json::pretty(json)),
                None => self.closing_note(&format!(
                    "the output is {} bytes of {}: save it with --out, or redirect stdout with -r",
                    output.bytes().len(),
                    output.content_type().unwrap_or("an unknown type")
                )),
            },
        }
    }

    /// Whether stdout takes raw bytes.
    pub(crate) fn takes_bytes(&self) -> bool {
        self.out == Out::Result || self.out == Out::Lines && !self.global.json
    }

    /// A part of a stream.
    pub(crate) fn item(&mut self, item: &StreamItem) {
        self.clear();
        if !item.is_event() {
            self.has_bytes = true;
            return self.write_bytes(item.bytes());
        }
        // Only what is JSON can be shown as such; few models send anything else.
        let json = item.json::<&RawValue>().ok().map(RawValue::get);
        match self.out {
            Out::Lines => {
                let line = self.new_line("item").maybe("name", item.name());
                let line = match json {
                    Some(json) => line.raw("data", &json::compact(json)),
                    None => line.with("data", &String::from_utf8_lossy(item.bytes())),
                };
                self.line(line);
            }
            Out::Result => {
                self.write_bytes(item.bytes());
                self.write("");
            }
            Out::Pretty => match item.json::<Text>() {
                Ok(text) => self.grow(text.output),
                Err(_) => {
                    self.items_over();
                    let text = json.map(json::pretty);
                    self.write(&words::clean(
                        &text.unwrap_or_else(|| String::from_utf8_lossy(item.bytes()).into()),
                    ));
                }
            },
        }
    }

    /// Writes what is new of a text; one that does not go on from what stands there begins a line.
    fn grow(&mut self, text: String) {
        if !text.starts_with(&self.text) {
            self.items_over();
        }
        self.write_bytes(words::steady(&text[self.text.len()..]).as_bytes());
        self.text = text;
    }

    /// No part of the stream follows: ends the line of its text.
    pub(crate) fn items_over(&mut self) {
        if !std::mem::take(&mut self.text).is_empty() {
            self.write("");
        }
    }

    /// The end of the demo: facts for people, the output for programs.
    pub(crate) fn demo_output(&mut self, output: &Output, saved: &Saved, facts: &str) {
        self.clear();
        if self.out == Out::Pretty {
            self.write(&words::clean(facts));
        } else {
            self.output(output, std::slice::from_ref(saved));
            self.closing_note(facts);
        }
    }

    /// Another result: a JSON line for programs, text for people and for `-r`.
    pub(crate) fn answer(&mut self, line: Line, pretty: &str, result: &str) {
        self.clear();
        match self.out {
            Out::Lines => self.line(line),
            Out::Pretty => self.write(&words::clean(pretty)),
            Out::Result => self.write(result),
        }
    }

    /// Help, as text whatever the flags say.
    pub(crate) fn help(&mut self, text: &str) {
        self.clear();
        self.write(&words::clean(text));
    }

    /// Why the command fails. The last thing that is told.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        self.clear();
        let line = line::of_problem(problem, self.began);
        self.line(line);
        let mut text =
            format!("{} {}", words::label("error:", words::RED), words::clean(&problem.message));
        if problem.review().is_none() && problem.fields().len() > 1 {
            for field in problem.fields() {
                text.push_str("\n  ");
                text.push_str(&words::clean(&field.to_string()));
            }
        }
        for line in problem.lines() {
            text.push_str(&format!("\n  {}", words::clean(&line)));
        }
        if let Some(handle) = problem.handle() {
            text.push_str(&format!("\n  job: {handle}"));
        }
        for hint in &problem.hints {
            text.push_str(&format!(
                "\n{} {}",
                words::label("hint:", words::CYAN),
                words::clean(hint)
            ));
        }
        say(&text);
    }

    /// Ends the output, and tells if it could not all be written.
    pub(crate) fn finish(&mut self) -> Result<(), Problem> {
        self.clear();
        let Some(error) = &self.stdout_error else { return Ok(()) };
        let later = self.handle.as_ref().map(|handle| job_name::later(handle, &self.global));
        if error.kind() == io::ErrorKind::BrokenPipe {
            // What was read may have been all that was wanted, but perhaps not even the handle was.
            if let Some(later) = later {
                say(&format!("stdout was closed early; {later}"));
            }
            return Ok(());
        }
        let problem = Problem::new(Exit::File, format!("cannot write to stdout: {error}"));
        let problem = problem.with_handle(self.handle.as_ref());
        Err(match later {
            Some(later) => problem.with_hint(later),
            None => problem,
        })
    }

    fn clear(&mut self) {
        if let Notes::Live(live) = &mut self.notes {
            live.clear();
        }
    }

    fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
        self.write_bytes(b"\n");
    }

    /// Flushes at once: a reader must see the handle before anything else can happen.
    fn write_bytes(&mut self, bytes: &[u8]) {
        if self.stdout_error.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        self.stdout_error = written.err();
    }
}

/// What models that write text send: all of it so far.
#[derive(Debug, serde::Deserialize)]
struct Text {
    output: String,
}

/// A line on stderr. When that is gone too, there is nobody left to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Between two JSON lines about bytes sent.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
