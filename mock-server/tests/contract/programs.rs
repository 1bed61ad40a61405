//! Programs in the shape that fal's documentation shows, one per feature: unmodified, each under a mock of its own.
//!
//! They lie in `tests/clients/programs`; the official clients come from `cargo xtask setup`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::tls::Folder;

#[test]
fn python_programs_run_as_they_are() {
    let python = tools().join("python/bin/python");
    let Some(programs) = programs("python", &python) else { return };
    for program in &programs {
        check(program, &[text(&python), text(program)]);
    }
    assert_eq!(programs.len(), EXPECTED.len() - ONLY_IN_NODE.len());
}

#[test]
fn node_programs_run_as_they_are() {
    let packages = tools().join("js");
    let Some(sources) = programs("node", &packages.join("node_modules/@fal-ai/client")) else {
        return;
    };
    // Node looks for packages in the folders above the program.
    let folder = packages.join(format!("programs-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("there is room");
    let _removed = Folder(folder.clone());
    for source in &sources {
        let program = folder.join(source.file_name().expect("it is a file"));
        fs::copy(source, &program).expect("there is room");
        check(&program, &["node", WEBSOCKET_FLAG, text(&program)]);
    }
    assert_eq!(sources.len(), EXPECTED.len() - ONLY_IN_PYTHON.len());
}

/// The crate `fal`, whose checks are in `tests/clients/rust`.
#[test]
fn crate_of_another_author_gets_what_it_expects() {
    let program = tools().join("rust/debug").join(if cfg!(windows) {
        "fal-crate-contract.exe"
    } else {
        "fal-crate-contract"
    });
    if !program.exists() {
        // Not even in CI must it be there: it needs OpenSSL's headers.
        eprintln!("skipped: {} is not there: run `cargo xtask setup`", program.display());
        return;
    }
    let output = under_mock("fal-crate", &[text(&program)]);
    let said = String::from_utf8_lossy(&output.stdout);
    let mut ids = Vec::new();
    for line in said.lines() {
        let check: serde_json::Value = serde_json::from_str(line).expect("a check is JSON");
        assert_eq!(check["ok"], true, "{check}");
        ids.push(check["id"].as_str().expect("a check has an id").to_owned());
    }
    assert_eq!(ids, ["run", "error", "queue", "cancel"], "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

/// Each says at least this, in this order.
const EXPECTED: [(&str, &[&str]); 10] = [
    ("asynchronous", &["InProgress", "Completed", "https://v3.fal.media/files/"]),
    ("cancel", &["cancelled: "]),
    ("errors", &["422 ", "prompt"]),
    ("queue_steps", &["status: ", "https://v3.fal.media/files/"]),
    ("realtime", &["images"]),
    ("run", &["https://v3.fal.media/files/"]),
    ("stream", &["cats", "cats"]),
    ("subscribe", &["request: ", "log: ", "https://v3.fal.media/files/", " 7"]),
    ("upload", &["https://v3.fal.media/files/"]),
    ("webhook", &["IN_QUEUE", "OK"]),
];

/// Before version 22 Node.js has WebSockets only with this flag, and later ones take it too.
const WEBSOCKET_FLAG: &str = "--experimental-websocket";

const ONLY_IN_PYTHON: [&str; 2] = ["asynchronous", "webhook"];
const ONLY_IN_NODE: [&str; 0] = [];

#[track_caller]
fn check(program: &Path, command: &[&str]) {
    let name = text(Path::new(program.file_stem().expect("it is a file")));
    let (_, expected) = EXPECTED.iter().find(|(known, _)| *known == name).unwrap_or_else(|| {
        panic!("{name} is not listed here");
    });
    let ending = program.extension().map_or("", |ending| text(Path::new(ending)));
    let output = under_mock(&format!("{name}-{ending}"), command);
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}\n{complaints}", output.status);
    let mut rest = &*said;
    for word in *expected {
        let Some(at) = rest.find(word) else {
            panic!("{name} does not say {word:?} where it should:\n{said}\n{complaints}");
        };
        rest = &rest[at + word.len()..];
    }
    assert!(!complaints.contains("refused"), "{name} reached for another host: {complaints}");
}

/// Runs a program under a mock of its own, with a home of its own.
fn under_mock(name: &str, command: &[&str]) -> Output {
    let home = Folder::new(&format!("programs-{name}"));
    let mut mock = Command::new(env!("CARGO_BIN_EXE_fal-mock"));
    // A log line is seen by a client that asks twice a second.
    mock.args(["exec", "--queue-time", "50ms", "--run-time", "900ms", "--"])
        .args(command)
        .env("XDG_DATA_HOME", &home.0)
        .env("FAL_KEY", "a-real-key:that-must-not-be-used")
        .stdin(Stdio::null());
    mock.output().expect("the mock starts")
}

/// The programs of a language, if its client is installed; in CI it must be.
fn programs(language: &str, client: &Path) -> Option<Vec<PathBuf>> {
    if !client.exists() {
        let reason = format!("{} is not there: run `cargo xtask setup`", client.display());
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    let folder = workspace().join("tests/clients/programs").join(language);
    let entries = fs::read_dir(folder).expect("there are programs");
    let mut programs: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    programs.retain(|path| path.extension().is_some_and(|end| end == "py" || end == "mjs"));
    programs.sort();
    Some(programs)
}

fn tools() -> PathBuf {
    workspace().join("target/ci-tools")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("names here are ASCII")
}
