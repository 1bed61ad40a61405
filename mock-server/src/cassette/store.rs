//! The directory of cassettes, read and written.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Asked, Cassette, Content, Encoded, Entry, VERSION, json};
use crate::tls::replace;

/// All cassettes of a directory, and the directory.
///
/// What is recorded again replaces what an earlier run has recorded of the same request, and what this run records of it
/// stands in order behind each other.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    cassettes: BTreeMap<String, Vec<Held>>,
    index: Index,
    /// Requests that this run has recorded.
    fresh: HashSet<String>,
    last: u64,
}

#[derive(Debug)]
struct Held {
    number: u64,
    /// What was asked, by which entries are sorted.
    key: String,
    entry: Entry,
}

/// Names one entry for as long as the store is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    cassette: String,
    number: u64,
}

/// Which file stands for which address of the service, without its query.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    fal_mock_files: u32,
    pub(crate) files: BTreeMap<String, Indexed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Indexed {
    /// Its name under `files/`.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) content_type: String,
}

impl Store {
    /// Opens a directory to be added to; makes it if there is none.
    ///
    /// # Errors
    /// `InvalidData`, when it cannot be made, read or written, or a file in it is no cassette.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let why = |error: io::Error| cannot("record into", dir, &error);
        fs::create_dir_all(dir.join(FILES)).map_err(why)?;
        // Whatever is wrong with the disk shows now, and not when an answer has been paid for.
        let probe = dir.join(FILES).join("probe");
        replace(&probe, &[b' '; PROBE_BYTES]).map_err(why)?;
        fs::remove_file(&probe).map_err(why)?;
        Self::read(dir)
    }

    /// Reads a directory.
    ///
    /// # Errors
    /// `InvalidData`, when there is none, or a file in it is no cassette.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        if !dir.is_dir() {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err(cannot("read recordings in", dir, &missing));
        }
        let mut store = Self {
            dir: dir.to_owned(),
            cassettes: BTreeMap::new(),
            index: Index { fal_mock_files: VERSION, files: BTreeMap::new() },
            fresh: HashSet::new(),
            last: 0,
        };
        store.read_folder(dir, "", 0).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => error,
            _ => cannot("read recordings in", dir, &error),
        })?;
        Ok(store)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        for name in names {
            let path = folder.join(&name);
            let below = format!("{prefix}{name}");
            let wrong = |why: &dyn std::fmt::Display| {
                let text = format!("{}: {why}", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            };
            if path.is_dir() {
                if below != FILES && depth < DEPTH_MAX {
                    self.read_folder(&path, &format!("{below}/"), depth + 1)?;
                }
                continue;
            }
            if !name.ends_with(".json") {
                continue;
            }
            if fs::metadata(&path)?.len() > CASSETTE_BYTES_MAX {
                return wrong(&format!("longer than {CASSETTE_BYTES_MAX} bytes"));
            }
            let text = fs::read_to_string(&path)?;
            if below == INDEX {
                match serde_json::from_str(&text) {
                    Ok(index) => self.index = index,
                    Err(error) => return wrong(&format!("this is no list of files: {error}")),
                }
                continue;
            }
            match Cassette::parse(&text) {
                Ok(cassette) => {
                    if self.cassettes.len() >= CASSETTES_MAX {
                        return wrong(&format!("there are more than {CASSETTES_MAX} cassettes"));
                    }
                    let held = cassette.entries.into_iter().map(|entry| {
                        self.last += 1;
                        Held { number: self.last, key: key(&entry.request), entry }
                    });
                    let held = held.collect();
                    self.cassettes.insert(below, held);
                }
                Err(why) => return wrong(&format!("this is no cassette: {why}")),
            }
        }
        Ok(())
    }

    /// Every entry with the name of its cassette and its place there, which counts from 1.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, usize, &Entry)> {
        self.cassettes.iter().flat_map(|(name, held)| {
            held.iter().enumerate().map(|(at, held)| (&**name, at + 1, &held.entry))
        })
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// Adds an entry to the cassette of `endpoint` and writes it.
    ///
    /// # Errors
    /// When that cannot be done; the entry is in memory even so, and written with the next one.
    pub(crate) fn add(
        &mut self,
        host: &str,
        endpoint: &str,
        entry: Entry,
    ) -> (Handle, io::Result<()>) {
        let cassette = cassette_name(host, endpoint);
        let held = self.cassettes.entry(cassette.clone()).or_default();
        let key = key(&entry.request);
        if self.fresh.len() < FRESH_MAX && self.fresh.insert(key.clone()) {
            held.retain(|held| held.key != key);
        }
        self.last += 1;
        let handle = Handle { cassette, number: self.last };
        // Sorted by what was asked, so that calls at the same time lead to the same file.
        let at = held.partition_point(|held| held.key <= key);
        held.insert(at, Held { number: self.last, key, entry });
        let written = self.write(&handle.cassette);
        (handle, written)
    }

    /// Changes an entry and writes its cassette.
    pub(crate) fn change(
        &mut self,
        handle: &Handle,
        change: impl FnOnce(&mut Entry),
    ) -> io::Result<()> {
        let held = self.cassettes.get_mut(&handle.cassette).into_iter().flatten();
        match held.into_iter().find(|held| held.number == handle.number) {
            Some(held) => change(&mut held.entry),
            // Recorded again meanwhile.
            None => return Ok(()),
        }
        self.write(&handle.cassette)
    }

    fn write(&self, cassette: &str) -> io::Result<()> {
        let entries = self.cassettes.get(cassette).into_iter().flatten();
        let cassette_of = Cassette {
            fal_mock_cassette: VERSION,
            entries: entries.map(|held| held.entry.clone()).collect(),
        };
        let path = self.dir.join(cassette);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
            })?;
        }
        replace(&path, cassette_of.render().as_bytes())
    }

    /// Writes the file of a body, if it has one.
    pub(crate) fn keep(&self, encoded: Encoded) -> io::Result<Content> {
        if let (Content::File(name), Some(bytes)) = (&encoded.content, &encoded.file) {
            let path = self.dir.join(FILES).join(name);
            if !path.exists() {
                replace(&path, bytes)?;
            }
        }
        Ok(encoded.content)
    }

    /// Writes what stands at an address of the service.
    pub(crate) fn keep_file(
        &mut self,
        url: &str,
        content_type: &str,
        bytes: Bytes,
    ) -> io::Result<()> {
        let len = bytes.len() as u64;
        let Content::File(file) = self.keep(Encoded::file(bytes, content_type))? else {
            return Ok(());
        };
        let indexed = Indexed { file, bytes: len, content_type: content_type.to_owned() };
        if self.index.files.get(url) == Some(&indexed) {
            return Ok(());
        }
        self.index.files.insert(url.to_owned(), indexed);
        self.index.fal_mock_files = VERSION;
        let text = serde_json::to_string(&self.index).map_err(io::Error::other)?;
        replace(&self.dir.join(INDEX), json::pretty(&text).as_bytes())
    }

    /// The bytes of a file under `files/`.
    ///
    /// # Errors
    /// `InvalidData`, when it is not there or its name leads elsewhere.
    pub(crate) fn file(&self, name: &str) -> io::Result<Bytes> {
        let path = self.dir.join(FILES).join(name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
        if name.starts_with('.') || !name.chars().all(is_plain) {
            let why = format!("{}: no name of a file of a recording", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        fs::read(&path).map(Bytes::from).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        })
    }
}

fn cannot(what: &str, dir: &Path, error: &io::Error) -> io::Error {
    let text = format!("cannot {what} {}: {error}", dir.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// What a request asks, for order and comparison.
fn key(asked: &Asked) -> String {
    let body = match &asked.body {
        None => String::new(),
        Some(Content::File(name)) => name.clone(),
        Some(inline) => inline.inline().unwrap_or_default().into_owned(),
    };
    [&*asked.method, &*asked.path, &*asked.query, &*body].join("\n")
}

/// Where the recordings of an endpoint are.
fn cassette_name(host: &str, endpoint: &str) -> String {
    let mut name = host.to_owned();
    for segment in endpoint.split('/').filter(|segment| !segment.is_empty()).take(DEPTH_MAX) {
        name.push('/');
        let is_plain = |at: usize, c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || (c == '.' && at > 0)
        };
        let chars = segment.chars().take(SEGMENT_CHARS_MAX).enumerate();
        name.extend(chars.map(|(at, c)| if is_plain(at, c) { c } else { '_' }));
    }
    name.push_str(".json");
    name
}

const FILES: &str = "files";
const INDEX: &str = "files.json";

/// Written at the start to see whether the disk takes it.
const PROBE_BYTES: usize = 4096;

/// Folders below each other.
const DEPTH_MAX: usize = 10;

/// Longest name of a folder.
const SEGMENT_CHARS_MAX: usize = 100;

/// Cassettes of one directory.
pub(crate) const CASSETTES_MAX: usize = 10_000;

/// Longest cassette: 256 MiB.
const CASSETTE_BYTES_MAX: u64 = 256 << 20;

/// Requests of one run whose earlier recordings are replaced.
const FRESH_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassette::Answered;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("fal-mock-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn entry(body: &str, status: u16) -> Entry {
        let body = Encoded::text(body, "application/json").content;
        Entry {
            request: Asked {
                method: "POST".into(),
                host: "fal.run".into(),
                path: "/a/b".into(),
                query: String::new(),
                headers: BTreeMap::new(),
                body: Some(body.clone()),
            },
            response: Answered {
                after_ms: 5,
                status,
                headers: BTreeMap::new(),
                body: Some(body),
                chunks: None,
            },
            job: None,
        }
    }

    fn statuses(store: &Store) -> Vec<u16> {
        store.entries().map(|(_, _, entry)| entry.response.status).collect()
    }

    #[test]
    fn what_is_written_reads_back_and_is_replaced_by_the_next_run() {
        let folder = Folder::new("store");
        let mut store = Store::open(&folder.0).unwrap();
        for (body, status) in [(r#"{"p": 2.50}"#, 200), (r#"{"p":1}"#, 201), (r#"{"p":1}"#, 202)] {
            store.add("fal.run", "a/b", entry(body, status)).1.unwrap();
        }
        store.keep_file("https://v3.fal.media/f.png", "image/png", "PNG".into()).unwrap();
        let text = fs::read_to_string(folder.0.join("fal.run/a/b.json")).unwrap();
        assert!(text.contains("\"p\": 2.50"), "numbers stay as they are: {text}");

        let mut store = Store::open(&folder.0).unwrap();
        assert_eq!(statuses(&store), [201, 202, 200]);
        let indexed = &store.index().files["https://v3.fal.media/f.png"];
        assert_eq!(store.file(&indexed.file).unwrap(), "PNG");
        let (handle, _) = store.add("fal.run", "a/b", entry(r#"{"p":1}"#, 203));
        assert_eq!(statuses(&store), [203, 200]);
        store.change(&handle, |entry| entry.response.status = 204).unwrap();
        assert_eq!(statuses(&Store::read(&folder.0).unwrap()), [204, 200]);
        let again = Store::open(&folder.0).unwrap();
        again.write("fal.run/a/b.json").unwrap();
        let other = fs::read_to_string(folder.0.join("fal.run/a/b.json")).unwrap();
        assert_eq!(Cassette::parse(&other).unwrap().render(), other);
    }

    #[test]
    fn what_cannot_be_used_is_told_at_the_start() {
        let folder = Folder::new("broken");
        let wrong = |result: io::Result<Store>, word: &str| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(word), "{error}");
        };
        wrong(Store::read(&folder.0), "cannot read recordings in");
        fs::create_dir_all(folder.0.join("fal.run")).unwrap();
        let file = folder.0.join("fal.run/a.json");
        for (text, word) in [
            ("{", "no cassette"),
            (r#"{"fal_mock_cassette":2,"entries":[]}"#, "version 2"),
            (r#"{"fal_mock_cassette":1,"entries":[],"x":1}"#, "unknown field"),
        ] {
            fs::write(&file, text).unwrap();
            wrong(Store::open(&folder.0), word);
        }
        // A file where a folder should be.
        wrong(Store::open(&file), "cannot record into");
        let store = Store::read(&folder.0);
        assert!(store.is_err());
        fs::remove_file(&file).unwrap();
        let store = Store::read(&folder.0).unwrap();
        for name in ["../a", ".a", "nowhere.png", "a/b"] {
            assert!(store.file(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_of_cassettes_stay_below_their_folder() {
        for (endpoint, want) in [
            ("fal-ai/flux/dev", "h/fal-ai/flux/dev.json"),
            ("../../etc", "h/_./_./etc.json"),
            ("a b/ü", "h/a_b/_.json"),
            ("/", "h.json"),
        ] {
            assert_eq!(cassette_name("h", endpoint), want);
        }
    }
}
