//! `--out`: the media files of a result, saved under names that overwrite nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fal_client::{Client, MediaFile, Output};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::flags::Global;
use crate::problem::Problem;
use crate::show::Show;

/// A file that is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Where the output names it, as a JSON pointer.
    pointer: String,
}

impl Saved {
    pub(crate) fn json(&self) -> Value {
        json!({
            "path": self.path.to_string_lossy(), "bytes": self.bytes, "pointer": self.pointer,
        })
    }
}

/// Makes the folder and writes to it once: what cannot be saved is better not paid for.
pub(crate) fn prepare(dir: &Path) -> Result<(), Problem> {
    let refuse = |error: io::Error| {
        let mut problem = Problem::file(dir, &error);
        problem.message = format!("cannot save to {}", problem.message);
        problem
    };
    fs::create_dir_all(dir).map_err(refuse)?;
    let probe = reserve(dir, ".fal-cli-probe").map_err(refuse)?;
    let written = fs::write(&probe, b"probe");
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(refuse)
}

/// Saves every media file of an output. Goes on after a failure, so that one bad file costs no other.
pub(crate) async fn save(
    client: &Client,
    output: &Output,
    dir: &Path,
    global: &Global,
    show: &mut Show,
) -> (Vec<Saved>, Option<Problem>) {
    let mut saved = Vec::new();
    let mut first: Option<Problem> = None;
    let mut failed = 0;
    let is_json = output.json::<IgnoredAny>().is_ok();
    let files = output.files();
    let results = match is_json {
        true => files.len(),
        false => 1,
    };
    for index in 0..results {
        let result = match files.get(index) {
            Some(file) if is_json => {
                fetch(client, file, dir, &file.local_name(), global, show).await
            }
            _ => store(output, dir),
        };
        match result {
            Ok(file) => {
                tell(&file, show);
                saved.push(file);
            }
            Err(problem) => {
                failed += 1;
                first.get_or_insert(problem);
            }
        }
    }
    if results == 0 {
        show.note("the result names no media file to save");
    }
    let problem = first.map(|mut problem| {
        problem.message =
            format!("{failed} of {results} files of the result not saved: {}", problem.message);
        problem.exit = match problem.exit {
            Exit::Network => Exit::Network,
            _ => Exit::File,
        };
        let urls = files.iter().filter(|file| !file.url.starts_with("data:"));
        let urls: Vec<&str> = urls.map(|file| file.url.as_str()).take(URLS_SHOWN_MAX).collect();
        let problem = match urls.is_empty() {
            true => problem,
            false => problem.with_hint(format!(
                "the result is printed above; its files are at {}",
                urls.iter().map(|url| crate::job_name::shown(url)).collect::<Vec<_>>().join(" ")
            )),
        };
        problem.with_handle(output.handle())
    });
    (saved, problem)
}

/// Downloads one file to `name` in `dir`, or to that name with a number.
pub(crate) async fn fetch(
    client: &Client,
    file: &MediaFile,
    dir: &Path,
    name: &str,
    global: &Global,
    show: &mut Show,
) -> Result<Saved, Problem> {
    let path = reserve(dir, name).map_err(|error| Problem::file(dir.join(name), &error))?;
    let bar = show.bar(name);
    show.doing("downloading");
    let progress = bar.clone();
    let download =
        client.download(&file.url).on_progress(move |done, total| progress.set(done, total));
    let result = {
        // Removed again if the download fails or is dropped: an empty file is no result.
        let mut reserved = Reserved(Some(path.clone()));
        let result = download.to_file(&path).await;
        if result.is_ok() {
            reserved.0 = None;
        }
        result
    };
    bar.clear();
    let bytes = result.map_err(|error| Problem::of(error, global))?;
    Ok(Saved { path, bytes, pointer: file.pointer.clone() })
}

/// Tells of a saved file.
pub(crate) fn tell(saved: &Saved, show: &mut Show) {
    let line = show.new_line("saved").with("path", &saved.path.to_string_lossy());
    let line = line.with("bytes", &saved.bytes).with("pointer", &saved.pointer);
    show.line(line);
    show.note(&format!("saved {} ({})", saved.path.display(), size(saved.bytes)));
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut number = bytes as f64;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{number:.1} {}", UNITS[unit]) }
}

/// An output that is a file itself.
fn store(output: &Output, dir: &Path) -> Result<Saved, Problem> {
    let essence = output.content_type().unwrap_or_default().split(';').next().unwrap_or_default();
    let ending: String = essence
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(ENDING_CHARS_MAX)
        .collect();
    let name = format!("output.{}", if ending.is_empty() { "bin" } else { &ending });
    let path = reserve(dir, &name).map_err(|error| Problem::file(dir.join(&name), &error))?;
    let mut reserved = Reserved(Some(path.clone()));
    let written = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(output.bytes()));
    written.map_err(|error| Problem::file(&path, &error))?;
    reserved.0 = None;
    Ok(Saved { path, bytes: output.bytes().len() as u64, pointer: String::new() })
}

/// Makes an empty file under the first free one of `a.png`, `a-2.png`, `a-3.png`...
pub(crate) fn reserve(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    for number in 1..=NUMBER_MAX {
        let name = match number {
            1 => name.to_owned(),
            _ => format!("{stem}-{number}{ending}"),
        };
        let path = if dir == Path::new(".") { PathBuf::from(name) } else { dir.join(name) };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{NUMBER_MAX} files of this name exist already")))
}

/// A file that is removed unless it was filled.
struct Reserved(Option<PathBuf>);

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It may be gone already; then there is nothing to remove.
            let _ = fs::remove_file(path);
        }
    }
}

/// Files of one name in one folder.
const NUMBER_MAX: u32 = 10_000;
const URLS_SHOWN_MAX: usize = 20;
const ENDING_CHARS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let dir = std::env::temp_dir().join(format!("fal-cli-save-{}", std::process::id()));
        prepare(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "the probe is gone");
        let names: Vec<String> = (0..3)
            .map(|_| reserve(&dir, "a.b.png").unwrap())
            .chain([reserve(&dir, ".x").unwrap(), reserve(&dir, ".x").unwrap()])
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.b.png", "a.b-2.png", "a.b-3.png", ".x", ".x-2"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1023, 1024, 1_500_000, u64::MAX].map(size);
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "1.0 KiB", "1.4 MiB", "16777216.0 TiB"]);
    }
}
