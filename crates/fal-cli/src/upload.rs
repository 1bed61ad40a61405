//! `upload`: files put where models can read them.

use std::path::Path;

use fal_client::{Client, Event, Upload, Uploading};

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, Upload as Flags};
use crate::input;
use crate::job_name::quoted;
use crate::lifecycle;
use crate::problem::Problem;
use crate::resume;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn upload(
    global: &Global,
    flags: Flags,
    show: &mut Show,
) -> Result<Exit, Problem> {
    for (is_given, flag) in [(flags.name.is_some(), "--name"), (flags.resume.is_some(), "--resume")]
    {
        if is_given && flags.files.len() > 1 {
            return Err(Problem::usage(format!("{flag} is for one file, and these are several")));
        }
    }
    if flags.files.iter().filter(|file| *file == "-").count() > 1 {
        return Err(Problem::usage("stdin (-) can be read for one thing only"));
    }
    for path in flags.files.iter().filter(|file| *file != "-") {
        input::check_file(path)?;
    }
    let lifecycle = lifecycle::read(flags.lifecycle.as_deref(), flags.expires, &flags.acl)?;
    let state = flags.resume.as_deref().map(resume::read).transpose()?.flatten();
    let client = connect::client(global)?;
    let stdin = match flags.files.iter().any(|file| file == "-") {
        true => Some(input::read_stdin_bytes()?),
        false => None,
    };
    let mut signals = Signals::new()?;
    let mut urls = Vec::new();
    for path in &flags.files {
        let (mut upload, name) = begin(&client, &flags, path, stdin.as_deref());
        if let Some(lifecycle) = &lifecycle {
            upload = upload.lifecycle(lifecycle.clone());
        }
        if let Some(state) = &state {
            upload = upload.resume(state.clone());
        }
        show.doing("uploading");
        let url = follow(upload.start(), &mut signals, path, &flags, global, show).await;
        let url = url.map_err(|problem| with_urls(problem, &urls))?;
        show.event(&Event::Uploaded { name, url: url.clone() });
        urls.push(url);
    }
    if let Some(file) = &flags.resume {
        resume::remove(file)?;
    }
    let line = show.new_line("result").with("urls", &urls);
    let text = urls.join("\n");
    show.answer(line, &text, &text);
    Ok(Exit::Ok)
}

/// The upload of one file as the flags describe it, and the file's name.
fn begin(client: &Client, flags: &Flags, path: &str, stdin: Option<&[u8]>) -> (Upload, String) {
    let (mut upload, mut name) = match stdin {
        Some(bytes) if path == "-" => {
            (client.upload(bytes.to_vec()).named("stdin"), "stdin".into())
        }
        _ => {
            let name = Path::new(path).file_name().unwrap_or_default();
            (client.upload(path), name.to_string_lossy().into_owned())
        }
    };
    if let Some(given) = &flags.name {
        upload = upload.named(given);
        name.clone_from(given);
    }
    if let Some(content_type) = &flags.content_type {
        upload = upload.content_type(content_type);
    }
    if !flags.route.is_empty() {
        upload = upload.routes(flags.route.clone());
    }
    if let Some(bytes) = flags.part_size {
        // Whoever names a size wants parts of it.
        upload = upload.part_bytes(bytes).multipart_over(bytes);
    }
    if let Some(parts) = flags.parallel {
        upload = upload.parallel(parts);
    }
    (upload, name)
}

/// Follows one upload to its end. Where it stops in the middle, what it takes to go on is saved.
async fn follow(
    mut upload: Uploading,
    signals: &mut Signals,
    path: &str,
    flags: &Flags,
    global: &Global,
    show: &mut Show,
) -> Result<String, Problem> {
    let stopped = loop {
        tokio::select! {
            biased;
            () = signals.next() => break true,
            event = upload.next_event() => match event {
                Some(event) => show.event(&event),
                None => break false,
            },
        }
    };
    // Parts of what was piped in cannot be told from those of something else.
    let state = upload.state().filter(|state| path != "-" && state.parts_done() > 0);
    let problem = match stopped {
        true => {
            drop(upload);
            Problem::new(Exit::Cancelled, "cancelled; the upload was stopped")
        }
        false => match upload.await {
            Ok(url) => return Ok(url),
            Err(error) => Problem::of(error, global),
        },
    };
    let Some(state) = state else { return Err(problem) };
    let saved = match &flags.resume {
        Some(file) => resume::write(file, &state).map(|()| file.clone()),
        None => resume::write_new(&state),
    };
    match saved {
        Ok(file) => {
            let line = show.new_line("paused").with("state", &file.to_string_lossy());
            let line = line.with("parts_done", &state.parts_done());
            show.line(line.with("parts", &state.plan().parts()));
            Err(problem.with_hint(go_on(&file, path, &state, global)))
        }
        Err(unsaved) => Err(problem
            .with_hint(format!("what it takes to go on could not be saved: {}", unsaved.message))),
    }
}

/// The command that goes on, to be pasted into a shell.
fn go_on(file: &Path, path: &str, state: &fal_client::UploadState, global: &Global) -> String {
    let base = global.base_url.as_deref();
    let base = base.map(|base| format!(" --base-url {}", quoted(base))).unwrap_or_default();
    format!(
        "{} of {} parts are there; go on within the hour with: fal-cli upload --resume {} {}{base}",
        state.parts_done(),
        state.plan().parts(),
        quoted(&file.to_string_lossy()),
        quoted(path),
    )
}

/// The files before the one that failed are where models can read them.
fn with_urls(problem: Problem, urls: &[String]) -> Problem {
    match urls {
        [] => problem,
        urls => problem.with_hint(format!("these are uploaded: {}", urls.join(" "))),
    }
}
