//! `codegen`: typed Rust for models.

use std::fs;
use std::path::Path;

use fal_codegen::{Code, Generator};

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Codegen, Global};
use crate::problem::Problem;
use crate::schema;
use crate::show::{Line, Show};

pub(crate) async fn codegen(
    global: &Global,
    flags: Codegen,
    show: &mut Show,
) -> Result<Exit, Problem> {
    let path = flags.schema.or_else(connect::schema_path);
    let mut generator = Generator::new().descriptions(!flags.no_descriptions);
    if flags.endpoints.is_empty() {
        let path = path.as_deref().ok_or_else(|| {
            Problem::usage("name models, or with --schema where the documents of all are")
        })?;
        let added = if path.is_dir() { generator.folder(path) } else { generator.file(path) };
        generator = added.map_err(wrong)?;
    } else {
        let client = connect::open_client(global)?;
        for endpoint in &flags.endpoints {
            let found = schema::find(&client, endpoint, path.as_deref(), global, show).await?;
            generator = generator.model(found.schema).map_err(wrong)?;
        }
    }
    let code = generator.generate().map_err(wrong)?;
    match flags.out {
        None => {
            let line = line(&code, show).with("code", code.text());
            show.answer(line, code.text(), code.text());
        }
        Some(out) if flags.check => check(&code, &out, show)?,
        Some(out) => {
            let is_new = code.write(&out).map_err(wrong)?;
            let what = if is_new { "wrote" } else { "nothing has changed in" };
            let text = format!("{what} {}: {}", out.display(), types(&code));
            let line = line(&code, show).with("path", &out).with("written", &is_new);
            show.answer(line, &text, &out.display().to_string());
        }
    }
    Ok(Exit::Ok)
}

/// Whether a file is what would be written.
fn check(code: &Code, out: &Path, show: &mut Show) -> Result<(), Problem> {
    let known = fs::read(out).map_err(|error| Problem::file(out, &error))?;
    if known != code.text().as_bytes() {
        let message = format!("{} is not what the documents say now", out.display());
        return Err(Problem::new(Exit::Other, message).with_hint("write it without --check"));
    }
    let line = line(code, show).with("path", out).with("written", &false);
    let text = format!("{} is what the documents say: {}", out.display(), types(code));
    show.answer(line, &text, &out.display().to_string());
    Ok(())
}

fn line(code: &Code, show: &Show) -> Line {
    let ids: Vec<&str> = code.endpoints().iter().map(|endpoint| endpoint.id.as_str()).collect();
    let inputs: Vec<&str> = code.endpoints().iter().map(|endpoint| &*endpoint.input).collect();
    show.new_line("result").with("endpoint_ids", &ids).with("types", &inputs)
}

/// The names of the inputs, which is what a program begins with.
fn types(code: &Code) -> String {
    let inputs: Vec<&str> = code.endpoints().iter().map(|endpoint| &*endpoint.input).collect();
    inputs.join(", ")
}

fn wrong(error: fal_codegen::Error) -> Problem {
    match &error {
        fal_codegen::Error::File { path, source } => Problem::file(path, source),
        fal_codegen::Error::Empty { .. } => Problem::usage(error.to_string()),
        _ => Problem::new(Exit::Failed, error.to_string()),
    }
}
