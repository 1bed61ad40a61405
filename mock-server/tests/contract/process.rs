//! The binary: its first line, its exit codes, its way out.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

#[test]
fn the_first_line_ends_in_the_port_and_a_signal_stops_cleanly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fal-mock"))
        .args(["--port", "0", "--quiet"])
        .env("XDG_DATA_HOME", std::env::temp_dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let port: u16 = first.rsplit(':').next().unwrap().parse().unwrap();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    if cfg!(unix) {
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(lines.next().is_none(), "quiet means one line");
    } else {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_taken_port_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output =
        Command::new(env!("CARGO_BIN_EXE_fal-mock")).args(["--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&port) && text.contains("--port 0"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_and_version_are_there() {
    let run = |flag| Command::new(env!("CARGO_BIN_EXE_fal-mock")).arg(flag).output().unwrap();
    let help = String::from_utf8(run("--help").stdout).unwrap();
    for word in ["--queue-time", "--runners", "Examples:", "Exit codes", "x-fal-target-url", "exec"]
    {
        assert!(help.contains(word), "{word}");
    }
    assert!(String::from_utf8(run("--version").stdout).unwrap().starts_with("fal-mock "));
}
