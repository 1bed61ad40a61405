//! The helpers for tests in Python and JavaScript, in real runs of pytest and Vitest with the official clients.
//!
//! The tests lie in `tests/clients/pytest` and `tests/clients/vitest`; what they need comes from `cargo xtask setup`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::tls::Folder;

#[test]
fn pytest_runs_each_test_in_a_world_of_its_own() {
    let Some(python) = python() else { return };
    // Several at once: each worker has a mock.
    let output =
        pytest(&python, "").args(["-n", "2", "test_app.py"]).output().expect("pytest runs");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let passed = number_before(&said, " passed").unwrap_or_else(|| panic!("{said}"));
    assert!(passed >= 20, "{said}");
    assert!(!said.contains("skipped") && !said.contains("xfailed"), "{said}");
}

#[test]
fn a_failed_test_in_pytest_tells_what_the_mock_saw() {
    let Some(python) = python() else { return };
    let output = pytest(&python, "failing").output().expect("pytest runs");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("3 failed, 1 passed"), "{said}");
    for word in [
        "-- fal-mock --",
        "POST   200 fal.run/fal-ai/flux/dev",
        "acme/app succeeded",
        "no requests came in",
        "  requests with operation submit: wanted 1, got 2",
        "not as expected: requests with operation submit: wanted 1, got 2",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("fal-mock-"), "no key is told: {said}");
}

#[test]
fn pytest_uses_the_mock_that_it_is_told_of() {
    let Some(python) = python() else { return };
    let mock = Running::start();
    let one = "test_app.py::test_a_picture_can_be_downloaded";
    let output = pytest(&python, "").args([one, "--fal-mock-url", &mock.url]).output();
    let output = output.expect("pytest runs");
    assert!(output.status.success(), "{}", text(&output));

    let output = pytest(&python, "").arg(one).env("FAL_MOCK_URL", &mock.url).output();
    let output = output.expect("pytest runs");
    assert!(output.status.success(), "{}", text(&output));

    drop(mock.child);
    let nobody = "http://127.0.0.1:1";
    let output = pytest(&python, "").args([one, "--fal-mock-url", nobody]).output();
    let said = text(&output.expect("pytest runs"));
    assert!(said.contains("no mock answers at http://127.0.0.1:1"), "{said}");
    assert!(said.contains("start it with `fal-mock`, or unset FAL_MOCK_URL"), "{said}");

    let output = pytest(&python, "").arg(one).env("FAL_MOCK_BIN", "/nowhere/fal-mock").output();
    let said = text(&output.expect("pytest runs"));
    assert!(said.contains("FAL_MOCK_BIN names /nowhere/fal-mock"), "{said}");

    let output = pytest(&python, "").arg(one).env_remove("FAL_MOCK_BIN").env("PATH", "").output();
    let said = text(&output.expect("pytest runs"));
    assert!(said.contains("`pip install fal-mock`, or name the program by FAL_MOCK_BIN"), "{said}");
}

#[test]
fn vitest_runs_each_test_in_a_world_of_its_own() {
    let Some(project) = Project::new("whole") else { return };
    let output = project.vitest().output().expect("node runs");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let passed = said.lines().find(|line| line.trim_start().starts_with("Tests "));
    let passed = passed.and_then(|line| number_before(line, " passed"));
    assert!(passed.is_some_and(|passed| passed >= 20), "{said}");
    assert!(!said.contains("skipped"), "{said}");
}

#[test]
fn a_failed_test_in_vitest_tells_what_the_mock_saw() {
    let Some(project) = Project::new("failing") else { return };
    let output = project.vitest().args(["--root", "failing"]).output();
    let output = output.expect("node runs");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("3 failed"), "{said}");
    for word in [
        "POST 200 fal.run/acme/fixture",
        "POST 200 queue.fal.run/acme/hooks",
        "not as expected:",
        "wanted 1, got 2",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// The hooks of another program for tests, that needs no packages.
#[test]
fn the_tests_of_node_take_the_hooks_too() {
    let Some(project) = Project::new("node") else { return };
    let test = project.folder.0.join("hooks.mjs");
    let source = r#"
        import assert from "node:assert";
        import * as hooks from "node:test";
        import { createFalClient } from "@fal-ai/client";
        import { useFal } from "fal-mock/testing";
        // Jest waits for a callback where a hook has a parameter.
        const register = (hook) => assert.equal(hook.length, 0);
        useFal({}, { beforeEach: register, afterEach: register });
        const fal = useFal({ run_time: "2h" }, hooks);
        for (const number of [1, 2]) {
          hooks.test(`world ${number}`, async () => {
            assert.equal(process.env.FAL_KEY, fal.key);
            await createFalClient(fal.config()).subscribe("acme/app", { input: { number } });
            assert.equal((await fal.jobs()).length, 1);
          });
        }
        hooks.after(() => assert.throws(() => fal.key, /in tests and their hooks only/));
    "#;
    fs::write(&test, source).expect("there is room");
    let output = project.node().arg("--test").arg(&test).output().expect("node runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("pass 2"), "{}", text(&output));
}

#[test]
fn a_mock_ends_with_its_input_if_it_is_told_to() {
    let mut mock = Running::start();
    drop(mock.child.0.stdin.take());
    let status = mock.child.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn live_tells_whether_a_mock_answers() {
    let live = |url: &str| fal_mock(&["live", "--url", url]).output().expect("it runs");
    let mock = Running::start();
    let output = live(&mock.url);
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), ""));
    let url = mock.url.clone();
    drop(mock);
    let output = live(&url);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(&url), "{}", text(&output));
    assert_eq!(live("ftp://127.0.0.1").status.code(), Some(1));
}

/// A mock as helpers start it.
struct Running {
    child: Ending,
    url: String,
}

impl Running {
    fn start() -> Self {
        let mut child = fal_mock(&["--port", "0", "--quiet", "--stop-on-eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mock starts");
        let mut first = String::new();
        let out = child.stdout.take().expect("it was piped");
        let child = Ending(child);
        BufReader::new(out).read_line(&mut first).expect("it says where it listens");
        let url = first.trim().rsplit(' ').next().expect("a line has a word").to_owned();
        Self { child, url }
    }
}

/// Ended when dropped.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fal_mock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fal-mock"));
    command.args(arguments).env("XDG_DATA_HOME", std::env::temp_dir());
    command
}

/// A folder as that of somebody's project, where the packages are found.
struct Project {
    folder: Folder,
}

impl Project {
    fn new(name: &str) -> Option<Self> {
        let packages = workspace().join("target/ci-tools/js");
        let vitest = packages.join("node_modules/vitest/vitest.mjs");
        if is_missing(&vitest) {
            return None;
        }
        let folder = Folder(packages.join(format!("helpers-{name}-{}", std::process::id())));
        copy(&workspace().join("tests/clients/vitest"), &folder.0);
        let own = folder.0.join("node_modules/fal-mock");
        copy(&workspace().join("mock-server/npm/fal-mock"), &own);
        Some(Self { folder })
    }

    fn node(&self) -> Command {
        let mut command = clean("node");
        command.current_dir(&self.folder.0);
        command
    }

    fn vitest(&self) -> Command {
        let mut command = self.node();
        command.args([text_of(Path::new("../node_modules/vitest/vitest.mjs")), "run"]);
        command
    }
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("there is a folder") {
        let from = entry.expect("the folder can be read").path();
        let to = to.join(from.file_name().expect("it has a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, to).expect("there is room");
        }
    }
}

/// The Python of `cargo xtask setup`, if pytest is there.
fn python() -> Option<PathBuf> {
    let python = workspace().join("target/ci-tools/python/bin");
    (!is_missing(&python.join("pytest"))).then(|| python.join("python"))
}

/// A run of pytest in a folder below `tests/clients/pytest`.
fn pytest(python: &Path, folder: &str) -> Command {
    let mut command = clean(text_of(python));
    command
        .args(["-m", "pytest", "-p", "no:cacheprovider", "--color=no"])
        .current_dir(workspace().join("tests/clients/pytest").join(folder))
        .env("PYTHONPATH", workspace().join("mock-server/python"))
        // No file of the tree is to change.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("FAL_KEY", "a-real-key:that-must-not-be-used");
    command
}

/// A program with the mock of this build, and nothing of what is set around these tests.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("FAL_MOCK_BIN", env!("CARGO_BIN_EXE_fal-mock"))
        .env("XDG_DATA_HOME", std::env::temp_dir())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    for name in ["FAL_MOCK_URL", "FAL_RUN_HOST", "HTTPS_PROXY", "NODE_OPTIONS", "CI"] {
        command.env_remove(name);
    }
    command
}

/// Whether what `cargo xtask setup` installs is not there; in CI it must be.
fn is_missing(path: &Path) -> bool {
    if path.exists() {
        return false;
    }
    let reason = format!("{} is not there: run `cargo xtask setup`", path.display());
    assert!(std::env::var("CI").is_err(), "{reason}");
    eprintln!("skipped: {reason}");
    true
}

fn number_before(text: &str, word: &str) -> Option<u32> {
    let before = &text[..text.find(word)?];
    let digits = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    before[digits..].parse().ok()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("names here are ASCII")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
