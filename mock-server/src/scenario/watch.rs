//! Scenario files that may change while they are played.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::{LoadError, Scenario};

/// Looks after scenario files, and after the files that they name.
///
/// It compares times and lengths. Notices of the file system would come sooner, and not at all from mounts of containers
/// and of the network.
#[derive(Debug)]
pub struct Watch {
    what: Vec<PathBuf>,
    /// The files that the scenarios name. Where one is wrong nobody knows them all: then everything beside it counts.
    named: Vec<PathBuf>,
    seen: Vec<Seen>,
    /// What was wrong when it was looked at last, so that it is told once.
    problem: Option<LoadError>,
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
        let mut watch = Self { what, named: Vec::new(), seen: Vec::new(), problem: None };
        let _ = watch.read();
        watch
    }

    /// Everything anew, if anything has changed since it was looked at last. The same mistake is told once.
    pub fn look(&mut self) -> Option<Result<Vec<Scenario>, LoadError>> {
        if self.state() == self.seen {
            return None;
        }
        let before = self.problem.take();
        let found = self.read();
        match &found {
            Err(error) if before.as_ref() == Some(error) => None,
            _ => Some(found),
        }
    }

    fn read(&mut self) -> Result<Vec<Scenario>, LoadError> {
        let found = Scenario::find_all(&self.what);
        match &found {
            Ok(scenarios) => {
                self.named = scenarios.iter().flat_map(|scenario| scenario.named.clone()).collect();
                self.problem = None;
            }
            Err(error) => {
                let folder = |path: &PathBuf| {
                    let parent = path.parent()?;
                    let is_here = parent.as_os_str().is_empty();
                    Some(if is_here { PathBuf::from(".") } else { parent.to_owned() })
                };
                self.named
                    .extend(self.what.iter().filter(|path| !path.is_dir()).filter_map(folder));
                self.named.extend(self.what.iter().filter(|path| path.is_dir()).cloned());
                self.named.sort_unstable();
                self.named.dedup();
                self.problem = Some(error.clone());
            }
        }
        self.seen = self.state();
        found
    }

    fn state(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for path in &self.what {
            // New files of a folder count as well.
            let files = Scenario::files(path).unwrap_or_default();
            files.into_iter().for_each(|file| add(file, &mut all));
        }
        for path in &self.named {
            match path.is_dir() {
                true => {
                    let entries = fs::read_dir(path).into_iter().flatten().flatten();
                    entries.take(ENTRIES_MAX).for_each(|entry| add(entry.path(), &mut all));
                }
                false => add(path.clone(), &mut all),
            }
        }
        all.sort_unstable();
        all
    }
}

fn add(path: PathBuf, all: &mut Vec<Seen>) {
    let Ok(meta) = fs::metadata(&path) else { return };
    if meta.is_file() {
        all.push(Seen { path, len: meta.len(), modified: meta.modified().ok() });
    }
}

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_once_and_mistakes_are_told_once() {
        let folder = std::env::temp_dir().join(format!("fal-mock-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.yaml");
        let write = |text: &str| fs::write(&file, text).unwrap();
        let beside = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("rules: [{when: a, output: {file: out.json}}]");
        beside("out.json", "1");
        let mut watch = Watch::new(vec![file.clone(), "happy-path".into()]);
        assert!(watch.look().is_none());
        beside("log.txt", "of a program");
        assert!(watch.look().is_none(), "what is named nowhere does not count");
        beside("out.json", "1000");
        assert!(watch.look().unwrap().is_ok());
        write("rules: [{when: a, output: {file: out.json}}, {when: b}]");
        let all = watch.look().unwrap().unwrap();
        // A file comes after what comes with the mock, and so counts for more.
        assert_eq!((all.len(), all[1].rules.len(), &*all[0].name), (2, 2, "happy-path"));
        assert!(watch.look().is_none());
        write("rules: [{wen: a}]");
        assert!(watch.look().unwrap().unwrap_err().to_string().contains("did you mean \"when\""));
        assert!(watch.look().is_none());
        beside("log.txt", "of a program that goes on");
        assert!(watch.look().is_none(), "the same mistake");
        write("rules: [{when: a, output: {file: new.json}}]");
        assert!(watch.look().unwrap().unwrap_err().to_string().contains("new.json"));
        beside("new.json", "{}");
        assert!(watch.look().unwrap().is_ok(), "the file that was missing");
        fs::remove_file(&file).unwrap();
        assert!(watch.look().unwrap().unwrap_err().to_string().contains("is no file"));
        write("rules: [{when: a}]");
        assert!(watch.look().unwrap().is_ok());
        let mut watch = Watch::new(vec![folder.clone()]);
        beside("b.yaml", "rules: [{when: b}]");
        assert_eq!(watch.look().unwrap().unwrap().len(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
