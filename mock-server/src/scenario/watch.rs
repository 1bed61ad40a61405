//! Scenario files that may change while they are played.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{LoadError, Scenario};

/// Looks after scenario files.
///
/// It compares times and lengths of everything that lies beside them, so that files that a scenario names count, too.
/// Notices of the file system would come sooner, and not at all from mounts of containers and of the network.
#[derive(Debug)]
pub struct Watch {
    what: Vec<PathBuf>,
    seen: Vec<Seen>,
}

/// A file as it was seen last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
}

impl Watch {
    /// Looks after files, folders, and names of scenarios that come with the mock, which never change.
    #[must_use]
    pub fn new(what: Vec<PathBuf>) -> Self {
        let seen = look(&what);
        Self { what, seen }
    }

    /// Everything anew, if anything has changed since it was looked at last.
    pub fn look(&mut self) -> Option<Result<Vec<Scenario>, LoadError>> {
        let seen = look(&self.what);
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        Some(Scenario::find_all(&self.what))
    }
}

fn look(what: &[PathBuf]) -> Vec<Seen> {
    let mut all = Vec::new();
    for path in what {
        match path.is_dir() {
            true => {
                add(path, &mut all);
                for folder in folders(path) {
                    add(&folder, &mut all);
                }
            }
            false if path.exists() => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                add(parent.unwrap_or_else(|| Path::new(".")), &mut all);
            }
            // A name, or a file that is being written anew.
            false => {}
        }
    }
    all.sort_unstable();
    all
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().take(ENTRIES_MAX);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn add(folder: &Path, all: &mut Vec<Seen>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES_MAX) {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_file() {
            let modified = meta.modified().ok();
            all.push(Seen { path: entry.path(), len: meta.len(), modified });
        }
    }
}

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_once_and_mistakes_are_told() {
        let folder = std::env::temp_dir().join(format!("fal-mock-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.yaml");
        let write = |text: &str| fs::write(&file, text).unwrap();
        write("rules: [{when: a, output: {file: out.json}}]");
        fs::write(folder.join("out.json"), "1").unwrap();
        let mut watch = Watch::new(vec![file.clone(), "happy-path".into()]);
        assert!(watch.look().is_none());
        write("rules: [{when: a, output: {file: out.json}}, {when: b}]");
        let all = watch.look().unwrap().unwrap();
        // A file comes after what comes with the mock, and so counts for more.
        assert_eq!((all.len(), all[1].rules.len(), &*all[0].name), (2, 2, "happy-path"));
        assert!(watch.look().is_none());
        write("rules: [{wen: a}]");
        assert!(watch.look().unwrap().unwrap_err().to_string().contains("did you mean \"when\""));
        assert!(watch.look().is_none());
        fs::write(folder.join("out.json"), "1000").unwrap();
        assert!(watch.look().unwrap().is_err());
        fs::remove_file(&file).unwrap();
        assert!(watch.look().unwrap().unwrap_err().to_string().contains("is no file"));
        write("rules: [{when: a}]");
        assert!(watch.look().unwrap().is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
