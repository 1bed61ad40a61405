//! HANDLE on the command line: how a job is named there, and the command that comes back to it.

use std::path::Path;

use fal_client::Handle;
use serde_json::Value;

use crate::flags::Global;
use crate::input;
use crate::problem::Problem;

/// Reads HANDLE: text, an address, JSON, `@file` or `-`.
pub(crate) fn read(argument: &str) -> Result<Handle, Problem> {
    let (content, place) = match argument.strip_prefix('@') {
        _ if argument == "-" => (input::read_stdin_text()?, "stdin: ".to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(Path::new(path));
            (text.map_err(|error| Problem::file(path, &error))?, format!("{path}: "))
        }
        None => (argument.to_owned(), String::new()),
    };
    parse(&content).map_err(|problem| Problem::usage(format!("{place}{problem}")))
}

/// A handle, or the last one in JSON lines of `run` and `submit`.
fn parse(text: &str) -> Result<Handle, String> {
    let direct = text.parse::<Handle>();
    let Err(error) = direct else { return direct.map_err(|error| error.to_string()) };
    let in_line = |line: &str| -> Option<Handle> {
        let value: Value = serde_json::from_str(line).ok()?;
        serde_json::from_value(value.get("handle")?.clone()).ok()
    };
    text.lines().rev().find_map(in_line).ok_or_else(|| error.to_string())
}

/// The command that takes the result of a job later.
pub(crate) fn later(handle: &Handle, global: &Global) -> String {
    format!("take its result with: {}", command("result", handle, " --wait", global))
}

/// A command about a job, to be pasted into a shell. It reaches the same service.
pub(crate) fn command(verb: &str, handle: &Handle, more: &str, global: &Global) -> String {
    let base = global.base_url.as_deref();
    let base = base.map(|base| format!(" --base-url {}", quoted(&shown(base)))).unwrap_or_default();
    format!("fal-cli {verb} {}{more}{base}", quoted(&handle.to_string()))
}

/// An address without what may be secret in it: user, password and query.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[start..])
        }
        None => url.to_owned(),
    }
}

/// `text` as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:~+=@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_from_all_that_was_printed() {
        let text = "fal-ai/flux/dev/requests/7d0c";
        let handle: Handle = text.parse().unwrap();
        let json = serde_json::to_string(&handle).unwrap();
        let lines = format!(
            "{{\"event\":\"uploaded\"}}\n{{\"event\":\"submitted\",\"handle\":{json}}}\n\
             {{\"event\":\"queued\",\"position\":1}}\nnot json\n"
        );
        for form in [text, &format!("{text}\n"), &json, &lines] {
            assert_eq!(parse(form).as_ref(), Ok(&handle), "{form}");
        }
        for bad in ["", "7d0c", "{}", "{\"event\":\"queued\"}"] {
            parse(bad).unwrap_err();
        }
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("fal-ai/x/requests/1"), "fal-ai/x/requests/1");
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        assert_eq!(shown("https://me:pw@host:1/a?sig=x#y"), "https://host:1/a");
        assert_eq!(shown("http://host/a@b"), "http://host/a@b");
    }
}
