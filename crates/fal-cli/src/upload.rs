//! `upload`: files put where models can read them.

use fal_client::Event;
use tokio::sync::mpsc;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, Upload};
use crate::input;
use crate::problem::Problem;
use crate::run::listen;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn upload(
    global: &Global,
    flags: Upload,
    show: &mut Show,
) -> Result<Exit, Problem> {
    if flags.name.is_some() && flags.files.len() > 1 {
        return Err(Problem::usage("--name is for one file; several would get the same name"));
    }
    if flags.files.iter().filter(|file| *file == "-").count() > 1 {
        return Err(Problem::usage("stdin (-) can be read for one thing only"));
    }
    for path in flags.files.iter().filter(|file| *file != "-") {
        input::check_file(path)?;
    }
    let client = connect::client(global)?;
    let stdin = match flags.files.iter().any(|file| file == "-") {
        true => Some(input::read_stdin_bytes()?),
        false => None,
    };
    let mut signals = Signals::new()?;
    let mut urls = Vec::new();
    for path in &flags.files {
        let (sender, events) = mpsc::unbounded_channel();
        let (mut upload, mut name) = match &stdin {
            Some(bytes) if path == "-" => {
                (client.upload(bytes.clone()).named("stdin"), "stdin".into())
            }
            _ => {
                let name = std::path::Path::new(path).file_name().unwrap_or_default();
                (client.upload(path.as_str()), name.to_string_lossy().into_owned())
            }
        };
        if let Some(given) = &flags.name {
            upload = upload.named(given);
            name.clone_from(given);
        }
        if let Some(content_type) = &flags.content_type {
            upload = upload.content_type(content_type);
        }
        let upload = upload.on_update(move |event: &Event| {
            // The receiver lives as long as the upload.
            let _ = sender.send(event.clone());
        });
        show.doing("uploading");
        match listen(upload.into_future(), events, &mut signals, show).await {
            Some(Ok(url)) => {
                show.event(&Event::Uploaded { name, url: url.clone() });
                urls.push(url);
            }
            Some(Err(error)) => return Err(Problem::of(error, global)),
            None => return Err(Problem::new(Exit::Cancelled, "cancelled; the upload was stopped")),
        }
    }
    let line = show.new_line("result").with("urls", &urls);
    let text = urls.join("\n");
    show.answer(line, &text, &text);
    Ok(Exit::Ok)
}
