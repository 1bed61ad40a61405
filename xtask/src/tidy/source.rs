//! Rules about Rust sources.

use super::Problem;
use crate::tree::File;

/// Every rule about one source file. `tests` are the paths that [`test_modules`] found.
pub(super) fn check(file: &File, tests: &[String]) -> Vec<Problem> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let mut problems = unsafe_code(file, &code);
    problems.extend(length(file));
    let is_test = || {
        let is_in = |module: &String| {
            file.path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']))
        };
        tests.iter().any(is_in)
    };
    if file.path.starts_with(CORE_SOURCES) && !is_test() {
        problems.extend(environment(file, &code));
    }
    if file.path.starts_with(MOCK_SOURCES) && !is_test() {
        problems.extend(codecs(file, &code));
    }
    problems
}

/// Paths, without their ending, of the modules that are compiled for tests only.
pub(super) fn test_modules(files: &[File]) -> Vec<String> {
    let mut modules = Vec::new();
    let is_ruled = |path: &str| path.starts_with(CORE_SOURCES) || path.starts_with(MOCK_SOURCES);
    for file in files.iter().filter(|file| is_ruled(&file.path) && file.is_rust()) {
        let stem = file.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "lib" | "mod")) => folder,
            _ => stem,
        };
        for rest in code_of(&file.text).split("#[cfg(test)]\nmod ").skip(1) {
            let name = &rest[..rest.find(|c| !is_name_char(c)).unwrap_or(rest.len())];
            if rest[name.len()..].starts_with(';') {
                modules.push(format!("{folder}/{name}"));
            }
        }
    }
    modules
}

/// Long files that are listed with a reason, and are no longer long or no longer there.
pub(super) fn stale_exceptions(files: &[File]) -> Vec<Problem> {
    let is_long =
        |path: &str| files.iter().any(|file| file.path == path && lines(file) > LINES_MAX);
    let stale = LONG_FILES.iter().filter(|(path, _)| !is_long(path));
    stale
        .map(|(path, _)| Problem::of(path, "it is not long: take it off the list in xtask"))
        .collect()
}

fn length(file: &File) -> Option<Problem> {
    let is_listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    (lines(file) > LINES_MAX && !is_listed).then(|| {
        let message =
            format!("{} lines: look for the second idea (at most {LINES_MAX})", lines(file));
        Problem::of(&file.path, message)
    })
}

fn lines(file: &File) -> usize {
    file.text.lines().count()
}

/// The compiler forbids it too, in every crate that takes the workspace's lints.
fn unsafe_code(file: &File, code: &str) -> Vec<Problem> {
    let is_word = |line: &str| line.split(|c: char| !is_name_char(c)).any(|word| word == "unsafe");
    code.lines()
        .enumerate()
        .filter(|(_, line)| is_word(line))
        .map(|(at, _)| Problem::at(&file.path, at + 1, "unsafe code is not used here"))
        .collect()
}

/// What the core must be given as an argument.
fn environment(file: &File, code: &str) -> Vec<Problem> {
    let code = without_tests(code);
    let mut problems = Vec::new();
    let mut report = |at: usize, name: &str| {
        let line = code[..at].matches('\n').count() + 1;
        problems.push(Problem::at(
            &file.path,
            line,
            format!("the core has no `{name}`: take it as an argument"),
        ));
    };
    for (at, _) in code.match_indices("std::") {
        for name in first_names(&code[at + "std::".len()..]) {
            if CORE_MODULES.contains(&name) {
                report(at, &format!("std::{name}"));
            }
        }
    }
    for call in CORE_CALLS {
        for (at, _) in code.match_indices(call) {
            report(at, call.trim_matches(['.', '(']));
        }
    }
    problems
}

/// What the mock may not share with the clients: a field misspelled in a shared type would agree with
/// itself.
fn codecs(file: &File, code: &str) -> Vec<Problem> {
    let code = without_tests(code);
    let mut problems = Vec::new();
    for (at, path) in code.match_indices("fal_protocol::") {
        for name in first_names(&code[at + path.len()..]) {
            if !MOCK_SHARES.contains(&name) {
                let line = code[..at].matches('\n').count() + 1;
                let message = format!("the mock shares no `fal_protocol::{name}` with clients");
                problems.push(Problem::at(&file.path, line, message));
            }
        }
    }
    problems
}

/// The names that can follow `std::`: one, or the first of each entry of a `{…}` group.
fn first_names(rest: &str) -> Vec<&str> {
    let name = |text: &str| -> usize { text.find(|c| !is_name_char(c)).unwrap_or(text.len()) };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![&rest[..name(rest)]];
    };
    let (mut names, mut depth, mut is_start) = (Vec::new(), 0_usize, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && is_name_char(c) => {
                names.push(&group[at..at + name(&group[at..])]);
                is_start = false;
            }
            _ => {}
        }
    }
    names
}

/// The part before the module of unit tests, which may open files.
fn without_tests(code: &str) -> &str {
    let start = code.find("#[cfg(test)]\nmod tests {");
    &code[..start.unwrap_or(code.len())]
}

/// The source with comments and the insides of strings blanked, line by line.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment_len(rest),
            '"' => string_len(rest, 1, "\"", true),
            'r' | 'b' | 'c' if !code.ends_with(is_name_char) => {
                prefixed_string_len(rest).unwrap_or(0)
            }
            '\'' => char_len(rest).unwrap_or(0),
            _ => 0,
        };
        if len == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..len].chars().filter(|c| *c == '\n'));
            rest = &rest[len..];
        }
    }
    code
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a string whose content starts at `from` and ends before `end`.
fn string_len(text: &str, from: usize, end: &str, has_escapes: bool) -> usize {
    let mut at = from;
    while at < text.len() {
        if has_escapes && text.as_bytes()[at] == b'\\' {
            at += 2;
        } else if text.as_bytes()[at..].starts_with(end.as_bytes()) {
            return at + end.len();
        } else {
            at += 1;
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, and so on.
fn prefixed_string_len(text: &str) -> Option<usize> {
    let letters = text.find(|c| !matches!(c, 'r' | 'b' | 'c'))?;
    let hashes = text[letters..].find(|c| c != '#')?;
    let is_raw = text[..letters].ends_with('r');
    if letters > 2 || !text[letters + hashes..].starts_with('"') || (hashes > 0 && !is_raw) {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(string_len(text, letters + hashes + 1, &end, !is_raw))
}

/// A character, not a lifetime.
fn char_len(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    match chars.next()?.1 {
        '\\' => Some(string_len(text, 1, "'", true)),
        _ => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

const CORE_SOURCES: &str = "crates/fal-protocol/src/";
const MOCK_SOURCES: &str = "mock-server/src/";

/// What the mock shares with clients on purpose: ids, schemas, the seeded generator, and the words that transports speak,
/// which know nothing of fal.
const MOCK_SHARES: [&str; 6] = ["EndpointId", "endpoint", "rand", "schema", "sse", "wire"];

/// Modules of the standard library that reach for the environment.
const CORE_MODULES: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];

/// Calls that do, by whatever path their type was named.
const CORE_CALLS: [&str; 9] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed(",
    "println!(",
    "eprintln!(",
    "dbg!(",
    "stdin()",
    "stdout()",
    "stderr()",
];

const LINES_MAX: usize = 800;

/// Files that are long for a reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[track_caller]
    fn check_core(text: &str, expected: &[(usize, &str)]) {
        let problems = check(&file("crates/fal-protocol/src/a.rs", text), &[]);
        let found: Vec<(usize, &str)> = problems
            .iter()
            .map(|p| (p.line, p.message.split('`').nth(1).unwrap_or(&p.message)))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn mock_shares_no_codecs() {
        let found = |path: &str, text: &str| check(&file(path, text), &[]).len();
        let bad = "use fal_protocol::queue::Status;\nuse fal_protocol::{EndpointId, webhook};\n";
        assert_eq!(found("mock-server/src/a.rs", bad), 2);
        assert_eq!(found("mock-server/tests/a.rs", bad), 0);
        let good = "use fal_protocol::{EndpointId, rand::SplitMix64};\n// fal_protocol::queue\n";
        assert_eq!(found("mock-server/src/a.rs", good), 0);
    }

    #[test]
    fn core_reaches_for_nothing() {
        check_core("use std::time::{Duration, Instant};\nfn f(now: Instant) {}\n", &[]);
        check_core("\nlet a = Instant::now();\n", &[(2, "Instant::now")]);
        check_core("let a = std::time::SystemTime::now();", &[(1, "SystemTime::now")]);
        check_core("use std::fs;", &[(1, "std::fs")]);
        check_core(
            "use std::{\n    fmt::{self, env},\n    net::TcpStream, thread};",
            &[(1, "std::net"), (1, "std::thread")],
        );
        check_core("let a = ::std::env::var(\"A\");", &[(1, "std::env")]);
        check_core("if start.elapsed() > limit {}", &[(1, "elapsed")]);
        check_core("println!(\"a\");", &[(1, "println!")]);
        check_core("// std::fs, Instant::now()\nlet a = \"std::env\"; /* std::net */", &[]);
        check_core("let a = 1;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", &[]);
        assert_eq!(check(&file("crates/fal-client/src/a.rs", "use std::fs;"), &[]), []);
    }

    #[test]
    fn only_modules_for_tests_are_exempt() {
        let files = [
            file(
                "crates/fal-protocol/src/lib.rs",
                "pub mod a;\n#[cfg(test)]\nmod testing;\nmod other;\n",
            ),
            file(
                "crates/fal-protocol/src/a.rs",
                "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod inline {}\n",
            ),
            file("crates/fal-protocol/src/b/mod.rs", "// #[cfg(test)]\nmod c;\n"),
            file("crates/fal-client/src/lib.rs", "#[cfg(test)]\nmod d;\n"),
        ];
        let modules = test_modules(&files);
        assert_eq!(modules, ["crates/fal-protocol/src/testing", "crates/fal-protocol/src/a/tests"]);
        for (path, is_exempt) in [
            ("crates/fal-protocol/src/testing.rs", true),
            ("crates/fal-protocol/src/testing/deep/a.rs", true),
            ("crates/fal-protocol/src/a/tests.rs", true),
            ("crates/fal-protocol/src/a.rs", false),
            ("crates/fal-protocol/src/testing_more.rs", false),
            ("crates/fal-protocol/src/b/tests.rs", false),
        ] {
            assert_eq!(
                check(&file(path, "use std::fs;"), &modules).is_empty(),
                is_exempt,
                "{path}"
            );
        }
    }

    #[test]
    fn unsafe_is_found_in_code_only() {
        let problems =
            check(&file("a.rs", "// unsafe\nlet unsafety = \"unsafe\";\nunsafe { f() }\n"), &[]);
        assert_eq!(problems, [Problem::at("a.rs", 3, "unsafe code is not used here")]);
        assert_eq!(check(&file("a.md", "unsafe"), &[]), []);
    }

    #[test]
    fn long_files_need_a_reason() {
        assert_eq!(check(&file("a.rs", &"a\n".repeat(LINES_MAX)), &[]), []);
        assert_eq!(check(&file("a.rs", &"a\n".repeat(LINES_MAX + 1)), &[]).len(), 1);
        let short: Vec<File> = LONG_FILES.iter().map(|(path, _)| file(path, "a\n")).collect();
        assert_eq!(stale_exceptions(&short).len(), LONG_FILES.len());
    }

    #[test]
    fn strings_and_comments_are_blanked() {
        for (source, code) in [
            ("a \"b\\\"c\" d", "a   d"),
            ("a r#\"b\"c\"# d", "a   d"),
            ("a br\"\\\" d", "a   d"),
            ("a b\"x\" c\"y\" d", "a     d"),
            ("a '\"' b '\\'' c", "a   b   c"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("a /* b /* c */ d */ e", "a   e"),
            ("a // b\nc", "a  \nc"),
            ("a \"b\nc\" d", "a  \n d"),
            ("number\"b\"", "number "),
            ("a \"unterminated", "a  "),
            ("r#type", "r#type"),
        ] {
            assert_eq!(code_of(source), code, "{source}");
        }
    }
}
