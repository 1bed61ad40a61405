//! The input of a model: `--input` first, then the fields; files are checked before anything is sent.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use fal_client::{FileInput, Input};
use serde_json::Value;

use crate::args::{Field, FileArg, Tree};
use crate::problem::Problem;

/// Reads the whole input. Every file that it names exists and can be read.
pub(crate) fn read(input: Option<&str>, fields: Vec<Field>) -> Result<Input, Problem> {
    let base = input.map(read_json).transpose()?;
    let tree = Tree::build(base, fields).map_err(Problem::usage)?;
    let readers_of_stdin = usize::from(input.is_some_and(|text| text == "-" || text == "@-"))
        + tree.files().iter().filter(|(_, file)| file.path == "-").count();
    if readers_of_stdin > 1 {
        return Err(Problem::usage("stdin (-) can be read for one thing only"));
    }
    for (key, file) in tree.files() {
        if file.path != "-" {
            check_file(&file.path).map_err(|mut problem| {
                problem.message = format!("{} (for {key})", problem.message);
                problem
            })?;
        }
    }
    into_input(tree)
}

/// Reads an input that takes no files: a realtime connection uploads none.
pub(crate) fn read_plain(input: Option<&str>, fields: &[String]) -> Result<Value, Problem> {
    let fields: Result<Vec<Field>, String> = fields.iter().map(|text| Field::parse(text)).collect();
    let base = input.map(read_json).transpose()?;
    let tree = fields.and_then(|fields| Tree::build(base, fields)).map_err(Problem::usage)?;
    plain(tree).ok_or_else(|| {
        let problem = "a realtime connection takes no files: upload them first, or give data URIs";
        Problem::usage(problem).with_hint("fal-cli upload FILE prints an address for key=ADDRESS")
    })
}

/// The tree as JSON; `None` if there is a file in it.
fn plain(tree: Tree) -> Option<Value> {
    Some(match tree {
        Tree::Json(value) => value,
        Tree::File(_) => return None,
        Tree::List(items) => items.into_iter().map(plain).collect::<Option<_>>()?,
        Tree::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Some((name, plain(value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}

/// A file that is there, is one, and can be read.
pub(crate) fn check_file(path: &str) -> Result<(), Problem> {
    let refuse = |error: io::Error| Problem::file(path, &error);
    let file = File::open(path).map_err(refuse)?;
    let found = file.metadata().map_err(refuse)?;
    if found.is_dir() {
        return Err(Problem::file(path, &io::Error::other("this is a folder, not a file")));
    }
    if !found.is_file() {
        let hint = "give it through stdin: key@-";
        return Err(
            Problem::file(path, &io::Error::other("this is not a regular file")).with_hint(hint)
        );
    }
    Ok(())
}

/// A file for the client, its content read already if it is stdin.
pub(crate) fn file_input(path: &str, content_type: Option<&str>) -> Result<FileInput, Problem> {
    let file = match path {
        "-" => {
            let guess = content_type.unwrap_or("application/octet-stream");
            Input::bytes(read_stdin_bytes()?, guess).named("stdin")
        }
        path => Input::file(path),
    };
    Ok(match content_type {
        Some(content_type) => file.content_type(content_type),
        None => file,
    })
}

/// All of stdin.
pub(crate) fn read_stdin_bytes() -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| Problem::file("stdin", &error))?;
    Ok(bytes)
}

/// All of stdin, which must be text.
pub(crate) fn read_stdin_text() -> Result<String, Problem> {
    io::read_to_string(io::stdin().lock()).map_err(|error| Problem::file("stdin", &error))
}

fn read_json(argument: &str) -> Result<Value, Problem> {
    let (text, place) = match argument {
        "-" | "@-" => (read_stdin_text()?, "stdin"),
        json if json.trim_start().starts_with(['{', '[', '"']) => (json.to_owned(), "--input"),
        path => {
            let path = path.strip_prefix('@').unwrap_or(path);
            let text = std::fs::read_to_string(Path::new(path));
            (text.map_err(|error| Problem::file(path, &error))?, path)
        }
    };
    // A byte order mark is what Windows editors write first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text).map_err(|error| {
        let problem = Problem::usage(format!("{place} is not JSON: {error}"));
        match excerpt(text, error.line(), error.column()) {
            Some(excerpt) => problem.with_hint(excerpt),
            None => problem,
        }
    })
}

/// The text around a place, on one line.
fn excerpt(text: &str, line: usize, column: usize) -> Option<String> {
    let line_text = text.lines().nth(line.checked_sub(1)?)?;
    let line_text = line_text.get(..column.min(line_text.len()))?;
    let skip = line_text.chars().count().saturating_sub(EXCERPT_CHARS_MAX);
    let before: String = line_text.chars().skip(skip).collect();
    (!before.trim().is_empty()).then(|| format!("the problem is at the end of: {}", before.trim()))
}

fn into_input(tree: Tree) -> Result<Input, Problem> {
    Ok(match tree {
        Tree::Json(value) => value.into(),
        Tree::File(FileArg { path, content_type }) => {
            file_input(&path, content_type.as_deref())?.into()
        }
        Tree::List(items) => {
            let items: Result<Vec<Input>, Problem> = items.into_iter().map(into_input).collect();
            items?.into()
        }
        Tree::Object(fields) => {
            fields.into_iter().try_fold(Input::default(), |input, (name, value)| {
                Ok::<_, Problem>(input.with(name, into_input(value)?))
            })?
        }
    })
}

/// How much of a line is shown before the place where JSON breaks off.
const EXCERPT_CHARS_MAX: usize = 60;

/// The rules, as `--help` tells them.
pub(crate) const HELP: &str = "\
Input, in this order:
  --input FILE          a JSON file; also @FILE, - for stdin, or the JSON itself
  --num-images 2        the model's own inputs as flags: `fal-cli run MODEL --help` lists them with types,
                        defaults and limits; --no-x for booleans, repeated for lists, @file for media
  key=value             JSON if it is JSON (7, true, \"2024\", [1,2]), else text
  key:=JSON             must be JSON: a slip is told instead of being sent as text
  key@file              the file is uploaded and its address put here; key@- is stdin;
                        key@file;type=image/png states the media type
  a.b=1                 dots lead into objects
  list[]=1 list[]@file  [] adds to a list, in order

Examples:
  fal-cli run fal-ai/flux/dev prompt='a cat' image_size.width=512 image_size.height=512 --out .
  fal-cli run fal-ai/flux/dev --input base.json seed=7 --deadline 2m
  fal-cli run fal-ai/flux-pro/kontext/multi prompt='both' image_urls[]@a.png image_urls[]@b.png
  echo '{\"prompt\":\"a cat\"}' | fal-cli run fal-ai/flux/dev --input - -r | jq -r .images[0].url

Every file and --out are checked before anything is submitted, and so is the input by the model's
document, which comes from the service, from --schema PATH or from FAL_SCHEMA: a document, a dump of
the catalogue or a folder of them. Without a document flags are taken by their looks, and nothing is
checked but by the model; --no-check asks for that. `fal-cli --help` explains the
output and the exit codes.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn bad_json_is_told_with_its_place() {
        let problem = read(Some("{\"prompt\": \"a\",\n \"seed\": 1 2}"), Vec::new()).unwrap_err();
        assert_eq!(problem.exit, Exit::Usage);
        assert!(problem.message.contains("line 2 column 12"), "{}", problem.message);
        assert!(problem.hints[0].ends_with("\"seed\": 1 2"), "{:?}", problem.hints);
    }

    #[test]
    fn missing_files_and_folders_are_told_with_their_field() {
        let field = |path: &str| vec![Field::parse(&format!("image_url@{path}")).unwrap()];
        let problem = read(None, field("/nowhere/x.png")).unwrap_err();
        assert_eq!(problem.exit, Exit::File);
        assert!(problem.message.contains("(for image_url)"), "{}", problem.message);
        let folder = read(None, field(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(folder.message.contains("folder"), "{}", folder.message);
    }

    #[test]
    fn stdin_is_read_once() {
        let fields = ["a@-", "b@-"].map(|text| Field::parse(text).unwrap());
        let problem = read(None, fields.into()).unwrap_err();
        assert!(problem.message.contains("stdin"), "{}", problem.message);
    }
}
