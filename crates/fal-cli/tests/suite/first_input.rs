//! A person's first wrong input: what fal's own clients print, and what is printed here. The README shows it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fal_client::{Client, Error};
use fal_mock::MockFal;
use serde_json::{Value, json};

use crate::support::{Folder, Said, fal_cli};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_wrong_input_before_and_after() {
    if !python().is_file() || !javascript().join("node_modules/@fal-ai/client").is_dir() {
        let reason = "fal's own clients are not installed: run `cargo xtask setup`";
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let wrong = json!({ "promt": "a cat", "num_images": 9, "output_format": "jpg" });
    let told = told(&wrong).await;
    let [python, javascript, command, check] = &told;
    // Theirs come from the service, after a job was queued; none says what was meant.
    for official in [python, javascript] {
        assert_eq!(official.jobs, 1);
        assert!(official.text.contains("Field required"), "{}", official.text);
    }
    for ours in [command, check] {
        assert_eq!(ours.jobs, 0);
        for part in ["did you mean it by `promt`?", "allowed: 1 to 4", "did you mean `\"jpeg\"`?"] {
            assert!(ours.text.contains(part), "{part}: {}", ours.text);
        }
    }
    let mut page = format!("Three slips, `{wrong}`:\n\n");
    for (who, told) in WHO.iter().zip(&told) {
        let jobs = if told.jobs == 0 { "nothing sent" } else { "after a job was queued" };
        page += &format!("{who}, {jobs}:\n\n```text\n{}\n```\n\n", told.essence());
    }

    let ignored = json!({ "prompt": "a cat", "num_image": 4 });
    let told = self::told(&ignored).await;
    let jobs: Vec<u64> = told.iter().map(|told| told.jobs).collect();
    assert_eq!(jobs, [1, 1, 1, 0]);
    page += &format!("A slip that the service ignores, `{ignored}`:\n\n| | Prints |\n|---|---|\n");
    for (who, told) in WHO.iter().zip(&told) {
        let text = told.essence().replace('\n', "; ");
        assert_eq!(text.contains("num_images"), told.is_ours, "{text}");
        page += &format!("| {who} | {text} |\n");
    }
    check_readme("a first wrong input", &page);
}

const WHO: [&str; 4] = [
    "Python client 1.0.3",
    "JavaScript client 1.10.1",
    "`fal-cli run`",
    "`client.model(..).check(..)`",
];

async fn told(input: &Value) -> [Told; 4] {
    [
        by_python(input).await,
        by_javascript(input).await,
        by_command(input).await,
        by_check(input).await,
    ]
}

/// Compares the README's part of this name, or writes it with `FAL_WRITE_TABLES=1`.
#[track_caller]
fn check_readme(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let from = readme.find(&start).expect("the README has a place for it") + start.len();
    let to = from + readme[from..].find(&end).expect("the place has an end");
    if std::env::var_os("FAL_WRITE_TABLES").is_some() {
        fs::write(&path, format!("{}{page}{}", &readme[..from], &readme[to..])).unwrap();
    } else {
        let problem = "the README is out of date: FAL_WRITE_TABLES=1 writes it anew";
        assert_eq!(&readme[from..to], page, "{problem}");
    }
}

/// What was printed, and how many jobs were made for it.
#[derive(Debug)]
struct Told {
    text: String,
    jobs: u64,
    is_ours: bool,
}

impl Told {
    /// What is worth reading of it: of a traceback the error, of a run what was said of the input.
    fn essence(&self) -> String {
        let mut lines: Vec<&str> = self.text.lines().collect();
        if let Some(at) = lines.iter().position(|line| line.starts_with("ValidationError")) {
            let is_told = |line: &&str| {
                let word = line.trim_start();
                let is_noise = ["at ", "requestId:", "timeoutType:"]
                    .iter()
                    .any(|start| word.starts_with(start));
                // What follows names the version of Node.js.
                !is_noise && !line.is_empty() && !line.starts_with("Node.js")
            };
            let told: Vec<&str> = lines.drain(at..).filter(is_told).collect();
            // The brace stands at the end of the stack.
            return told.join("\n").replacen('\n', " {\n", 1);
        }
        if lines.first().is_some_and(|line| line.starts_with("Traceback")) {
            return lines.pop().unwrap_or_default().to_owned();
        }
        if let Some(at) = lines.iter().position(|line| line.contains("warning: ")) {
            let line = lines[at];
            return line[line.find("warning: ").unwrap_or_default()..].to_owned();
        }
        lines.join("\n")
    }
}

async fn by_python(input: &Value) -> Told {
    let mut command = Command::new(python());
    command.arg(script("first_input.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    official(command, input).await
}

async fn by_javascript(input: &Value) -> Told {
    let mut command = Command::new("node");
    command.arg(script("first_input.mjs")).arg(javascript());
    official(command, input).await
}

/// Runs a program as `fal-mock exec` does.
async fn official(mut command: Command, input: &Value) -> Told {
    let folder = Folder::new();
    let mock = MockFal::builder().instant().ca_dir(folder.path()).start().await.unwrap();
    command.args([SCHNELL, &input.to_string()]).stdin(Stdio::null());
    // It keeps the files that its variables name.
    let environment = mock.environment("any:key").unwrap();
    environment.apply(&mut command);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Told { text: text(&output), jobs: mock.submits(), is_ours: false }
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(all).unwrap()
}

async fn by_command(input: &Value) -> Told {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    command.args(["run", SCHNELL, "-r", "--input", &input.to_string()]);
    let said = Said::of(&mut command);
    Told { text: said.stderr, jobs: mock.submits(), is_ours: true }
}

async fn by_check(input: &Value) -> Told {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let client = Client::builder().base_url(mock.url()).key("id:secret").build().unwrap();
    let model = client.model(SCHNELL).await.unwrap();
    let text = match model.check(input) {
        Ok(review) => review.to_string(),
        Err(error @ Error::Check(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    };
    Told { text, jobs: mock.submits(), is_ours: true }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Where `cargo xtask setup` puts the packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools")
}

fn javascript() -> PathBuf {
    packages().join("js")
}

fn python() -> PathBuf {
    packages().join("python").join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// A model of the mock's own catalogue.
const SCHNELL: &str = "fal-ai/flux/schnell";
