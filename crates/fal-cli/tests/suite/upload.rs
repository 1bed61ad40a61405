//! Large files: parts, stopping and going on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::service::{self, Reply};
use crate::support::{Folder, Running, Said, fal_cli};

/// A store that takes parts; the third gets no answer while `holds` is set. It notes what was asked.
fn store(holds: &Arc<AtomicBool>) -> (String, Arc<Mutex<Vec<String>>>) {
    let (holds, asked) = (Arc::clone(holds), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&asked);
    let url = service::start(move |base, request| {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        notes.lock().expect("no test failed while it held this").push(format!("{method} {target}"));
        match method {
            "PUT" if target.starts_with("/film/3?") && holds.load(Ordering::SeqCst) => Reply::Hold,
            "PUT" => Reply::Json(200, r#"{"etag":"\"e\""}"#.into()),
            _ => Reply::Json(
                200,
                format!(
                    r#"{{"file_url":"{base}/film","upload_url":"{base}/film?signature=very-secret"}}"#
                ),
            ),
        }
    });
    (url, asked)
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_what_it_takes_to_go_on() {
    for is_named in [true, false] {
        let holds = Arc::new(AtomicBool::new(true));
        let (url, asked) = store(&holds);
        let folder = Folder::new();
        let film = folder.file("my film.mp4", &[7; 45]);
        let named = folder.path().join("film.json").to_string_lossy().into_owned();
        let mut command = fal_cli(&url);
        command.env("TMPDIR", folder.path()).args([
            "upload",
            &film,
            "--part-size",
            "10",
            "--parallel",
            "2",
        ]);
        if is_named {
            command.args(["--resume", &named]);
        }
        let mut running = Running::start(&mut command);
        while running.until("part_uploaded")["done"] != 4 {}
        running.signal("INT");
        let said = running.end().expect(130);
        assert_eq!(said.last("error")["kind"], "cancelled");
        let paused =
            said.lines().into_iter().find(|line| line["event"] == "paused").expect("it says so");
        assert_eq!((&paused["parts_done"], &paused["parts"]), (&4.into(), &5.into()));
        let state = paused["state"].as_str().expect("a path").to_owned();
        assert_eq!(state == named, is_named, "{state}");
        assert!(!said.stdout.contains("very-secret") && !said.stderr.contains("very-secret"));
        let command = format!("fal-cli upload --resume {state} '{film}'");
        assert!(said.stderr.contains(&command), "{command}: {}", said.stderr);

        holds.store(false, Ordering::SeqCst);
        let before = asked.lock().expect("nothing failed").len();
        let said = Said::of(fal_cli(&url).args(["upload", &film, "--resume", &state])).expect(0);
        assert_eq!(said.last("result")["urls"][0], format!("{url}/film"));
        let asked = asked.lock().expect("nothing failed")[before..].to_vec();
        let query = "?signature=very-secret";
        assert_eq!(asked, [format!("PUT /film/3{query}"), format!("POST /film/complete{query}")]);
        let is_there = std::path::Path::new(&state).exists();
        assert!(!is_there, "it is of no more use");
    }
}

#[test]
fn slips_are_told_before_anything_is_sent() {
    let url = service::start(|_, request| panic!("this was asked: {request}"));
    let folder = Folder::new();
    let film = folder.file("film.mp4", b"film");
    let broken = folder.file("state.json", b"{}");
    for args in [
        &["--resume", &broken][..],
        &["--route", "tape"],
        &["--part-size", "0"],
        &["--part-size", "ten"],
        &["--parallel", "33"],
        &["--expires", "soon"],
        &["--acl", "maybe"],
        &["--acl", "allow", "--acl", "hide"],
        &["--lifecycle", "{\"expires\":5}"],
        &["--lifecycle", "{}", "--expires", "1h"],
        &["--resume", "x.json", &film],
    ] {
        Said::of(fal_cli(&url).args(["upload", &film]).args(args)).expect(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_reach_the_wire() {
    let holds = Arc::new(AtomicBool::new(false));
    let (url, asked) = store(&holds);
    let folder = Folder::new();
    let film = folder.file("film.mp4", &[7; 25]);
    let args =
        ["--part-size", "10", "--route", "initiate,cdn", "--expires", "1h", "--acl", "acme=allow"];
    let said = Said::of(fal_cli(&url).args(["upload", "-r", &film]).args(args)).expect(0);
    assert_eq!(said.stdout, format!("{url}/film\n"));
    let asked = asked.lock().expect("nothing failed").len();
    assert_eq!(asked, 5, "initiate, three parts, complete");
}
