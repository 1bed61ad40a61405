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

/// A whole upload and its download pass through a process whose memory hardly grows.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_stays_flat_under_a_long_upload() {
    use crate::client::{open, path_of, post};

    const LEN: usize = 48 << 20;
    const GROWTH_MAX: u64 = 20 << 20;

    let dir = std::env::temp_dir().join(format!("fal-mock-memory-{}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_fal-mock"))
        .args(["--port", "0", "--quiet", "--ca-dir"])
        .arg(&dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let port: u16 = first.rsplit(':').next().unwrap().parse().unwrap();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    };
    let body = r#"{"content_type":"video/mp4","file_name":"a.mp4"}"#;
    let started = post(port, "/rest.fal.ai/storage/upload/initiate", body).await.json();
    let path = |name: &str| path_of(started[name].as_str().unwrap(), port);
    let before = peak();
    let put = open(port, http::Request::put(path("upload_url")), vec![7; LEN]).await.unwrap();
    assert_eq!(put.head.status, http::StatusCode::OK);
    let mut file = open(port, http::Request::get(path("file_url")), "").await.unwrap();
    let mut read = 0;
    while let Some(bytes) = file.next().await.unwrap() {
        assert!(bytes.iter().all(|byte| *byte == 7));
        read += bytes.len();
    }
    assert_eq!(read, LEN);
    let growth = peak() - before;
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    assert!(growth < GROWTH_MAX, "{growth} more bytes for {LEN}");
}
