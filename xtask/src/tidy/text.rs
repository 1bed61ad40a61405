//! Rules about any text: notes to oneself, links between files.

use super::Problem;
use crate::tree::File;

/// Every rule about one text. `exists` tells whether a path below the root is there.
pub(super) fn check(file: &File, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = notes(file);
    if file.is_markdown() {
        problems.extend(links(file, exists));
    }
    problems
}

/// Notes to oneself belong into the head or onto a list, not into the tree.
fn notes(file: &File) -> Vec<Problem> {
    if !NOTED.iter().any(|ending| file.path.ends_with(ending)) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let found = NOTES.iter().find(|note| {
            let mut words = line.match_indices(*note);
            words.any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        if let Some(note) = found {
            problems.push(Problem::at(&file.path, at + 1, format!("`{note}` is left over")));
        }
    }
    problems
}

/// Links to files that are not there.
fn links(file: &File, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut problems = Vec::new();
    let mut is_code = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for target in targets(line) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            if path.is_empty() || path.contains("::") || has_scheme(path) {
                continue;
            }
            let is_there = resolve(folder, path).is_some_and(|path| exists(&path));
            if !is_there {
                problems.push(Problem::at(
                    &file.path,
                    at + 1,
                    format!("the link to `{target}` leads nowhere"),
                ));
            }
        }
    }
    problems
}

/// The targets of `[text](target)` and `[name]: target` in a line, outside code spans.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (index, text) in line.split('`').enumerate() {
        // Between an odd and an even backtick is code; a link whose text ends in code starts after it.
        if index % 2 == 0 {
            found.extend(text.match_indices("](").map(|(at, _)| {
                let target = &text[at + 2..];
                target.split([')', ' ']).next().unwrap_or_default()
            }));
        }
    }
    if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
        // A sentence behind the colon is none.
        found.extend(Some(target.trim()).filter(|target| !target.contains(' ')));
    }
    found
}

fn has_scheme(target: &str) -> bool {
    let scheme = target.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// The path below the root that `target` names when written in `folder`; `None` outside the root.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

const NOTED: [&str; 7] = [".rs", ".md", ".toml", ".yml", ".yaml", ".js", ".py"];

// Put together here, so that this file does not break its own rule.
const NOTES: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("to", "do!(")];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn notes_are_found() {
        for note in NOTES {
            let problems = check(&file("a.rs", &format!("fine\n// {note} later")), |_| true);
            assert_eq!(problems, [Problem::at("a.rs", 2, format!("`{note}` is left over"))]);
        }
        assert_eq!(check(&file("a.rs", "let mastodon = autodo!();"), |_| true), []);
        assert_eq!(check(&file("a.png", NOTES[0]), |_| true), []);
    }

    #[track_caller]
    fn check_links(text: &str, dead: &[&str]) {
        let there = ["README.md", "docs/a.md", "docs/deep/b.md"];
        let problems = check(&file("docs/a.md", text), |path| there.contains(&path));
        let found: Vec<&str> =
            problems.iter().filter_map(|p| p.message.split('`').nth(1)).collect();
        assert_eq!(found, dead, "{text}");
    }

    #[test]
    fn dead_links_are_found() {
        check_links("[a](../README.md) [b](deep/b.md#part) [c](#here) [d](/README.md)", &[]);
        check_links("[a](https://example.com/x.md) [b](mailto:a@example.com)", &[]);
        check_links("[a](absent.md) and [b](README.md)", &["absent.md", "README.md"]);
        check_links("[`code`](absent.md \"title\")", &["absent.md"]);
        check_links("[a](../../outside.md)", &["../../outside.md"]);
        check_links("[name]: absent.md\n[other]: deep/b.md", &["absent.md"]);
        check_links("`[a](absent.md)`\n```\n[a](absent.md)\n```\n", &[]);
        check_links("[Type](crate::wire::Request)", &[]);
        check_links("[`Type`]: what it is in words", &[]);
    }
}
