//! The commands of the root README, run as a reader would run them.
//!
//! Its Rust blocks are doctests of this package. Every command is either run or known not to be: one that
//! is neither fails the test, so that none is passed over in silence.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod blocks;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use self::blocks::{Line, commands};

#[test]
fn commands_of_the_readme_run() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let Ok(text) = fs::read_to_string(&path) else {
        assert!(env::var("CI").is_err(), "there is no {}", path.display());
        eprintln!("skipped: there is no {}", path.display());
        return;
    };
    assert!(
        include_str!("../src/lib.rs").contains("README.md"),
        "the README's Rust blocks are doctests of this package: include them in src/lib.rs"
    );
    let lines = commands(&text);
    assert!(!lines.is_empty() || !text.contains("console"), "its commands were not found");
    let session = Session::new();
    check(session, &lines).unwrap_or_else(|problem| panic!("{problem}"));
}

/// Runs commands in order. Says of the first that ends otherwise than its reader is told.
fn check(mut session: Session, lines: &[Line]) -> Result<(), String> {
    for line in lines {
        match session.perform(line)? {
            Performed::Done => eprintln!("run: {}", line.command),
            Performed::LeftOut(reason) => eprintln!("not run ({reason}): {}", line.command),
        }
    }
    Ok(())
}

/// What the reader of one README does: a folder, and the servers that were started.
struct Session {
    folder: PathBuf,
    servers: Vec<Server>,
}

struct Server {
    child: Child,
    /// Where it was to listen, by its flags, and where it does.
    address: (String, String),
}

enum Performed {
    Done,
    LeftOut(&'static str),
}

impl Session {
    fn new() -> Self {
        let number = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let number = number.expect("the clock is past 1970").as_nanos();
        let folder = env::temp_dir().join(format!("fal-readme-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { folder, servers: Vec::new() }
    }

    fn perform(&mut self, line: &Line) -> Result<Performed, String> {
        let words: Vec<&str> = line.command.split_whitespace().collect();
        // Variables before the command are kept for the shell.
        let at = words.iter().take_while(|word| is_assignment(word)).count();
        let command = match &words[at..] {
            ["cargo", "run", ..] => match built_binary(&line.command, &words) {
                Some(Ok(command)) => command,
                Some(Err(missing)) => return missing_binary(&missing),
                None => return Err(format!("no package is named: {}", line.command)),
            },
            [name @ ("fal-mock" | "fal-cli"), ..] => match binary(name) {
                Ok(path) => line.command.replacen(name, &quoted(&path), 1),
                Err(missing) => return missing_binary(&missing),
            },
            [name @ ("curl" | "node"), ..] if !is_installed(name) => {
                return Ok(Performed::LeftOut("it is not installed"));
            }
            [
                "curl" | "node" | "cat" | "echo" | "export" | "ls" | "file" | "true" | "false",
                ..,
            ] => line.command.clone(),
            ["cargo", "xtask", task, ..] => {
                let tasks = include_str!("../../xtask/src/main.rs");
                return match tasks.contains(&format!("[\"{task}\"]")) {
                    true => Ok(Performed::LeftOut("it would run this test again")),
                    false => Err(format!("xtask has no such task: {}", line.command)),
                };
            }
            ["cargo", "test" | "build" | "clippy" | "doc" | "bench", ..] => {
                return Ok(Performed::LeftOut("it would build everything again"));
            }
            ["cargo", "add" | "install", ..]
            | ["git" | "cd" | "npm" | "npx" | "pip" | "docker" | "rustup", ..] => {
                return Ok(Performed::LeftOut("it needs the network, or another folder"));
            }
            _ => return Err(format!("neither run nor known not to be: {}", line.command)),
        };
        match is_server(&words) {
            true => self.serve(&command),
            false => self.run(&command, line.exit_code),
        }
    }

    /// Starts a mock on a free port, whatever port the reader is told to take.
    fn serve(&mut self, command: &str) -> Result<Performed, String> {
        let command = command.trim_end_matches('&').trim_end();
        let port = command.split("--port ").nth(1).and_then(|rest| rest.split(' ').next());
        let told = format!("127.0.0.1:{}", port.unwrap_or("8787"));
        let command = match port {
            Some(port) => command.replacen(&format!("--port {port}"), "--port 0", 1),
            None => format!("{command} --port 0"),
        };
        let mut server = self.shell(&format!("exec {command}"));
        let child = server.stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{command}: {error}"))?;
        let mut first = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut first).map_err(|error| error.to_string())?;
        let found = first.trim_end().rsplit('/').next().unwrap_or_default().to_owned();
        self.servers.push(Server { child, address: (told, found.clone()) });
        match found.contains(':') {
            true => Ok(Performed::Done),
            false => Err(format!("{command} did not say where it listens: {first:?}")),
        }
    }

    fn run(&self, command: &str, exit_code: i32) -> Result<Performed, String> {
        let mut command = command.to_owned();
        for Server { address: (told, found), .. } in &self.servers {
            let port = told.rsplit(':').next().unwrap_or_default();
            command = command.replace(told, found).replace(&format!("localhost:{port}"), found);
        }
        let output =
            self.shell(&command).output().map_err(|error| format!("{command}: {error}"))?;
        match output.status.code() {
            Some(code) if code == exit_code => Ok(Performed::Done),
            code => Err(format!(
                "{command}\nended with {code:?} instead of {exit_code}\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).current_dir(&self.folder).stdin(Stdio::null());
        // A call that leaves this machine would be a mistake of the README: none could be paid with this.
        shell.env("FAL_KEY", "any:key");
        if let Some(server) = self.servers.last() {
            let url = format!("http://{}", server.address.1);
            shell.env("FAL_BASE_URL", url);
        }
        shell
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // Gone already, or it goes now.
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    })
}

/// Whether a command starts a mock that stays.
fn is_server(words: &[&str]) -> bool {
    let is_mock = words.contains(&"fal-mock");
    is_mock && !words.iter().any(|word| ["--help", "--version", "exec"].contains(word))
}

/// `cargo run … -p X … -- arguments` as the binary that is built already.
fn built_binary(command: &str, words: &[&str]) -> Option<Result<String, String>> {
    let at = words.iter().position(|word| ["-p", "--package", "--bin"].contains(word))?;
    let name = words.get(at + 1)?;
    let start = command.find("cargo run")?;
    let arguments = command[start..].split_once(" -- ").map_or("", |(_, arguments)| arguments);
    Some(binary(name).map(|path| format!("{}{} {arguments}", &command[..start], quoted(&path))))
}

/// A binary of the workspace beside this test's own.
fn binary(name: &str) -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let folder = own.ancestors().nth(2).ok_or("this test lies in no target folder")?;
    let path = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if path.exists() { Ok(path) } else { Err(format!("{} is not built", path.display())) }
}

/// Built by `cargo test --workspace`, which is what runs in CI.
fn missing_binary(missing: &str) -> Result<Performed, String> {
    match env::var("CI") {
        Ok(_) => Err(missing.to_owned()),
        Err(_) => Ok(Performed::LeftOut("it is not built")),
    }
}

fn is_installed(name: &str) -> bool {
    let version = Command::new(name).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn run(text: &str) -> Result<(), String> {
        let lines = commands(text);
        assert!(!lines.is_empty());
        check(Session::new(), &lines)
    }

    #[test]
    fn exit_codes_are_compared() {
        assert_eq!(run("```sh\ntrue\nX=1 false # exit code 1\n```"), Ok(()));
        assert!(run("```sh\nfalse\n```").unwrap_err().contains("Some(1) instead of 0"));
        assert!(run("```console\n$ true # exit code 1\n```").is_err());
    }

    #[test]
    fn unknown_commands_are_failures() {
        assert!(run("```sh\nfrobnicate --all\n```").unwrap_err().contains("neither"));
        assert!(run("```sh\ncargo xtask frobnicate\n```").unwrap_err().contains("no such task"));
        assert_eq!(run("```sh\ncargo xtask ci\n```"), Ok(()));
    }

    #[test]
    fn a_mock_is_started_and_reached() {
        if binary("fal-mock").is_err() || !is_installed("curl") {
            eprintln!("skipped: fal-mock is not built, or curl is not installed");
            return;
        }
        let text = "```console
$ cargo run --release -p fal-mock -- --instant &
fal-mock listens on http://127.0.0.1:8787
$ curl -sf http://127.0.0.1:8787/ -o page
$ cat page
$ curl -sf http://localhost:8787/nothing # exit code 22
```";
        assert_eq!(run(text), Ok(()));
    }
}
