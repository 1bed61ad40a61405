//! The files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the workspace.
pub(crate) struct File {
    /// Relative to the root, with `/` between its parts.
    pub(crate) path: String,
    /// The content.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace")
}

/// Every text file below the root that people write, sorted by path.
pub(crate) fn files() -> Result<Vec<File>, String> {
    let mut paths = Vec::new();
    walk(root(), &mut paths).map_err(|error| format!("the tree cannot be read: {error}"))?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        // Anything that is not text (pictures, sounds) has no rules here.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let path = path.strip_prefix(root()).expect("the walk starts at the root");
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        files.push(File { path: parts.join("/"), text });
    }
    Ok(files)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
            walk(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// Folders that hold what machines write.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", ".venv"];
