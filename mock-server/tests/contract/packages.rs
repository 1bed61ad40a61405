//! The packages that carry the program, packed and installed without the network; and what a newcomer does with one.
//!
//! They carry the program of this build. `FAL_WRITE_TABLES=1` writes the newcomer's steps into the README anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::tls::Folder;

#[test]
fn versions_agree() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).expect("it is there");
    let version = env!("CARGO_PKG_VERSION");
    let python = read("mock-server/python/pyproject.toml");
    assert!(python.lines().any(|line| line == format!("version = \"{version}\"")), "{python}");
    let npm: Value =
        serde_json::from_str(&read("mock-server/npm/fal-mock/package.json")).expect("it is JSON");
    assert_eq!(npm["version"], version);
    let platforms = npm["optionalDependencies"].as_object().expect("it has platforms");
    assert!(platforms.values().all(|platform| platform == version), "{platforms:?}");
    // What the wheel says is what the file says.
    assert!(python.contains("pytest = [\"pytest>=8\"]"));
    assert!(read("mock-server/python/build_wheel.py").contains("pytest>=8; extra == \"pytest\""));
}

#[test]
fn npm_packages_install_and_run() {
    if !has("npm") {
        return;
    }
    // Below the packages of `cargo xtask setup`, where the compiler of TypeScript finds what it needs.
    let tools = workspace().join("target/ci-tools/js");
    fs::create_dir_all(&tools).expect("there is room");
    let tools = fs::canonicalize(tools).expect("it is there");
    let folder = Folder(tools.join(format!("npm-{}", std::process::id())));
    let project = folder.0.join("project");
    fs::create_dir_all(&project).expect("there is room");
    let packed = folder.0.join("packed");
    let mut pack = Command::new("node");
    pack.arg(workspace().join("mock-server/npm/pack.mjs")).arg(program()).arg(&packed);
    well(&pack.output().expect("node runs"));

    fs::write(project.join("package.json"), r#"{ "private": true }"#).expect("there is room");
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund", "--silent"]);
    install.args(archives(&packed, "tgz")).current_dir(&project);
    well(&install.output().expect("npm runs"));

    // As `npx fal-mock` finds it, without asking the registry for anything.
    let script = project.join("node_modules/.bin/fal-mock");
    let version = well(&Command::new(&script).arg("--version").output().expect("it runs"));
    assert_eq!(version, concat!("fal-mock ", env!("CARGO_PKG_VERSION"), "\n"));
    let code = Command::new(&script).args(["exec", "--", "sh", "-c", "exit 7"]).status();
    assert_eq!(code.expect("it runs").code(), Some(7));

    let source = r#"
        const { Mock } = require("fal-mock/testing");
        (async () => {
          const mock = await Mock.start();
          const world = await mock.tenant();
          const { credentials, proxyUrl } = world.config();
          const answer = await fetch(proxyUrl.url, {
            method: "POST",
            headers: { authorization: `Key ${credentials}`, "x-fal-target-url": "https://fal.run/acme/app" },
            body: "{}",
          });
          console.log(answer.status, (await world.counters()).runs);
          await mock.stop();
        })();
    "#;
    let mut node = Command::new("node");
    node.args(["--eval", source]).current_dir(&project).env_remove("FAL_MOCK_URL");
    let said = well(&node.env_remove("FAL_MOCK_BIN").output().expect("node runs"));
    assert_eq!(said, "200 1\n");

    let compiler = tools.join("node_modules/typescript/bin/tsc");
    if !compiler.exists() {
        assert!(std::env::var("CI").is_err(), "run `cargo xtask setup`");
        eprintln!("skipped: {} is not there: run `cargo xtask setup`", compiler.display());
        return;
    }
    let types = |line: &str| {
        let source = format!("{TYPED}{line}\n");
        fs::write(project.join("typed.test.mts"), source).expect("there is room");
        let mut node = Command::new("node");
        node.arg(&compiler).args(["--noEmit", "--strict", "--module", "nodenext"]);
        node.args(["--target", "es2022", "--skipLibCheck", "typed.test.mts"]);
        node.current_dir(&project).output().expect("node runs")
    };
    well(&types(""));
    let output = types("withFal(base, { clock: 7 });");
    assert!(String::from_utf8_lossy(&output.stdout).contains("'number' is not assignable"));
}

/// A test in TypeScript.
const TYPED: &str = r#"
import { createFalClient } from "@fal-ai/client";
import { Mock, useFal, withFal, type Fal } from "fal-mock/testing";
import { expect, test as base } from "vitest";

const test = withFal(base, { clock: "virtual", run_time: "2h", scenario: new URL("file:///x.yaml") });
test("typed", async ({ fal }) => {
  createFalClient(fal.config());
  const id: string = fal.key;
  await fal.runUntil({ job: id });
  expect((await fal.now()).getTime()).toBeGreaterThan(0);
});
const later: Fal = useFal();
export const world: Promise<Fal> = Mock.start({ args: ["--strict"] }).then((mock) => mock.tenant(later.name));
"#;

#[test]
fn a_wheel_needs_a_program() {
    let Some(python) = python() else { return };
    let folder = Folder::new("no-program");
    let output = wheel(&python, Path::new("/nowhere"), &folder.0);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("FAL_MOCK_BIN must name the program"), "{said}");
}

/// Everything that the README says a newcomer does, done.
#[test]
fn a_newcomer_gets_from_the_package_to_a_test() {
    let Some(python) = python() else { return };
    let folder = Folder::new("newcomer");
    let (project, wheels) = (folder.0.join("project"), folder.0.join("wheels"));
    fs::create_dir_all(&project).expect("there is room");
    well(&wheel(&python, program(), &wheels));
    for name in ["app.py", "test_app.py"] {
        let source = workspace().join("tests/clients/newcomer").join(name);
        fs::copy(source, project.join(name)).expect("there is room");
    }
    // What is not ours is installed already: pip sees the packages of `cargo xtask setup` and takes them as they are.
    let others = python.parent().and_then(Path::parent).expect("it is in bin").join("lib");
    let others = only_folder(&others).join("site-packages");
    let link = format!(
        "echo {} > \"$(echo .venv/lib/python*)/site-packages/others.pth\"\n\
         printf '#!/bin/sh\\nexec python -m pytest \"$@\"' > .venv/bin/pytest && chmod +x .venv/bin/pytest",
        text(&others)
    );

    let mut script = format!("PATH={}:$PATH\n", text(python.parent().expect("it is in bin")));
    for step in STEPS {
        // A character that nothing prints divides what is said.
        script += &format!("printf '\\036'\n{step}\nprintf '\\036%s' $?\n");
        if step.starts_with("python -m venv") {
            script += &format!("{link}\n");
        }
    }
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .current_dir(&project)
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", &wheels)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("XDG_DATA_HOME", &folder.0)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // A newcomer has none of these.
        .env("PYTEST_ADDOPTS", "-p no:asyncio -p no:xdist -p no:anyio -p no:cacheprovider")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    for name in ["FAL_KEY", "FAL_MOCK_URL", "FAL_MOCK_BIN", "PYTHONPATH", "CI", "PS1"] {
        shell.env_remove(name);
    }
    let output = shell.output().expect("there is a shell");
    let said = String::from_utf8(output.stdout).expect("it says text");
    let complaints = String::from_utf8_lossy(&output.stderr);
    let parts: Vec<&str> = said.split('\u{1e}').collect();
    // Not `console`: the blocks of that kind are run in one place, without its files.
    let mut transcript = String::from("```text\n");
    for (index, step) in STEPS.iter().enumerate() {
        let part = |at: usize| parts.get(2 * index + at).copied().unwrap_or_default();
        transcript += &format!("$ {step}\n{}", tidied(part(1)));
        let is_failed = step.starts_with("pytest");
        assert_eq!(part(2), if is_failed { "1" } else { "0" }, "{step}: {said}\n{complaints}");
    }
    transcript += "```\n";
    assert_eq!(complaints, "");
    check_readme(&transcript);
}

/// The last one fails on purpose: it finds what is wrong with the program.
const STEPS: [&str; 6] = [
    "cat app.py",
    "python -m venv .venv && . .venv/bin/activate",
    "pip install -q fal-client pytest fal-mock",
    "fal-mock exec -- python app.py \"a trip to the moon\"",
    "cat test_app.py",
    "pytest -q --show-capture=no",
];

/// Without what differs from run to run.
fn tidied(said: &str) -> String {
    let mut tidied = String::new();
    for line in said.lines() {
        let line = match line.rsplit_once(" in ") {
            Some((what, time)) if time.ends_with('s') && what.contains("passed") => {
                format!("{what} in 0.42s")
            }
            _ => line.trim_end().to_owned(),
        };
        tidied += &format!("{line}\n");
    }
    tidied
}

/// Compares the README's transcript with this one, or writes that.
#[track_caller]
fn check_readme(transcript: &str) {
    let path = workspace().join("README.md");
    let readme = fs::read_to_string(&path).expect("there is a README");
    let (start, end) = ("<!-- a first test -->\n", "<!-- end of a first test -->");
    let from = readme.find(start).expect("the README has a place for it") + start.len();
    let to = from + readme[from..].find(end).expect("the place has an end");
    if std::env::var_os("FAL_WRITE_TABLES").is_some() {
        let readme = format!("{}{transcript}{}", &readme[..from], &readme[to..]);
        fs::write(&path, readme).expect("the README can be written");
    } else {
        assert_eq!(
            &readme[from..to],
            transcript,
            "the README's first test is out of date: FAL_WRITE_TABLES=1 writes it anew"
        );
    }
}

/// The program of this build, without symbols if that can be done: they are most of it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_fal-mock"));
        let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fal-mock-stripped");
        let done = Command::new("strip").arg("-o").args([&stripped, built]).status();
        if done.is_ok_and(|status| status.success()) { stripped } else { built.to_owned() }
    })
}

/// Packs a wheel with a program.
fn wheel(python: &Path, program: &Path, folder: &Path) -> Output {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--no-index", "--wheel-dir"])
        .arg(folder)
        .arg(workspace().join("mock-server/python"))
        .env("FAL_MOCK_BIN", program)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    pip.output().expect("python runs")
}

/// What a program said that ended well.
#[track_caller]
fn well(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn archives(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("there is a folder");
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.extension().is_some_and(|end| end == ending));
    all
}

fn only_folder(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).expect("there is a folder").flatten();
    entries.next().expect("there is something in it").path()
}

/// The Python of `cargo xtask setup`, where there is a shell; in CI it must be there.
fn python() -> Option<PathBuf> {
    let python = workspace().join("target/ci-tools/python/bin/python");
    if python.exists() && has("sh") {
        return Some(std::path::absolute(python).expect("there is a folder"));
    }
    let reason = format!("{} is not there: run `cargo xtask setup`", python.display());
    assert!(std::env::var("CI").is_err(), "{reason}");
    eprintln!("skipped: {reason}");
    None
}

/// Whether a program is there; in CI it must be.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).args(["-c", "exit"]).output().is_ok();
    assert!(is_there || std::env::var("CI").is_err(), "{program} is not installed");
    is_there
}

fn text(path: &Path) -> &str {
    path.to_str().expect("names here are ASCII")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
