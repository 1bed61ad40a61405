//! Commands in the shell blocks of a Markdown text.

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) command: String,
    /// How it ends: 0, unless a comment `# exit code N` behind it says otherwise.
    pub(super) exit_code: i32,
}

/// The commands of all `console` and `sh` blocks, in order.
///
/// In a `console` block commands stand behind a `$`, and the rest is what they print. In a `sh` block every
/// line is a command. A backslash at the end joins the next line.
pub(super) fn commands(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut block = None;
    let mut unfinished: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(info) = trimmed.strip_prefix("```") {
            block = match block {
                Some(_) => None,
                None => Some(info.split([',', ' ']).next().unwrap_or_default().to_owned()),
            };
            continue;
        }
        let part = match (&unfinished, block.as_deref()) {
            (Some(_), _) => trimmed,
            (None, Some("console")) => match trimmed.strip_prefix("$ ") {
                Some(command) => command,
                None => continue,
            },
            (None, Some("sh" | "bash" | "shell")) => trimmed,
            _ => continue,
        };
        let whole = format!("{}{part}", unfinished.take().unwrap_or_default());
        match whole.strip_suffix('\\') {
            Some(begun) => unfinished = Some(begun.to_owned()),
            None => found.extend(parse(&whole)),
        }
    }
    found
}

fn parse(text: &str) -> Option<Line> {
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let (command, comment) = text.split_once(" # ").unwrap_or((text, ""));
    let exit_code = comment.trim().strip_prefix("exit code ").and_then(|code| code.parse().ok());
    Some(Line { command: command.trim().to_owned(), exit_code: exit_code.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found() {
        let text = r#"
Text with `$ nothing`.
```rust
$ nothing
```
```console
$ fal-mock --instant &
fal-mock listens on http://127.0.0.1:8787
$ curl -d '{"a": "b"}' \
    http://127.0.0.1:8787/  # what it is for
```
```sh
# a comment
FAL_KEY=a:b fal-cli status x # exit code 3

```
"#;
        let line = |command: &str, exit_code| Line { command: command.to_owned(), exit_code };
        let expected = [
            line("fal-mock --instant &", 0),
            line(r#"curl -d '{"a": "b"}' http://127.0.0.1:8787/"#, 0),
            line("FAL_KEY=a:b fal-cli status x", 3),
        ];
        assert_eq!(commands(text), expected);
        assert_eq!(commands("no blocks at all"), []);
    }
}
