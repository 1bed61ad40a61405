//! Jobs step by step, and across processes.

use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::model::{Control, JobState};
use serde_json::Value;

use crate::support::{Folder, Running, Said, fal_cli, with_stdin};

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_the_queue_one_by_one() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    let url = mock.url();
    let said = Said::of(fal_cli(&url).args(["submit", "-r", "fal-ai/flux/dev", "prompt=x"]));
    let handle = said.expect(0).stdout.trim().to_owned();
    let job = mock.jobs().remove(0);
    assert_eq!(handle, format!("fal-ai/flux/dev/requests/{}", job.request_id));

    let said = Said::of(fal_cli(&url).args(["result", &handle])).expect(9);
    let error = said.last("error");
    assert_eq!((error["kind"].as_str(), error["exit_code"].as_u64()), (Some("not_ready"), Some(9)));
    assert!(said.stderr.contains(&format!("fal-cli result {handle} --wait")), "{}", said.stderr);

    assert!(mock.control(Control::Finish { request_id: job.request_id }));
    let said = Said::of(fal_cli(&url).args(["status", &handle, "--logs"])).expect(0);
    let status = said.last("status");
    assert_eq!(status["status"], "COMPLETED");
    assert!(!status["logs"].as_array().unwrap().is_empty(), "{status}");
    assert_eq!(
        Said::of(fal_cli(&url).args(["status", "-r", &handle])).expect(0).stdout,
        "COMPLETED\n"
    );
    Said::of(fal_cli(&url).args(["status", "--watch", &handle])).expect(0).last("status");

    let said = Said::of(fal_cli(&url).args(["result", &handle])).expect(0);
    assert!(said.last("result")["output"]["images"][0]["url"].is_string());
    let said = Said::of(fal_cli(&url).args(["cancel", &handle])).expect(0);
    assert_eq!(said.last("result")["outcome"], "already_completed");
    assert_eq!(mock.submits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_is_cancelled() {
    let mock = MockFal::builder().queue_time(Duration::from_secs(3600)).start().await.unwrap();
    let url = mock.url();
    let submitted = Said::of(fal_cli(&url).args(["submit", "fal-ai/flux/dev", "prompt=x"]));
    let submitted = submitted.expect(0).stdout;
    // The lines that one command printed name the job to the next.
    let said = with_stdin(fal_cli(&url).args(["cancel", "-"]), submitted.as_bytes()).expect(0);
    assert_eq!(said.last("result")["outcome"], "cancelled");
    let folder = Folder::new();
    let file = folder.file("job.json", submitted.as_bytes());
    let said = Said::of(fal_cli(&url).args(["result", &format!("@{file}")])).expect(130);
    assert_eq!(said.last("error")["error_type"], "client_cancelled");
    let unknown = "fal-ai/flux/dev/requests/00000000-0000-4000-8000-000000000000";
    for command in ["status", "result", "cancel"] {
        let said = Said::of(fal_cli(&url).args([command, unknown])).expect(4);
        assert_eq!(said.errors(), 1, "{}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_loses_nothing_and_is_not_paid_twice() {
    let mock = MockFal::builder().run_time(Duration::from_millis(500)).start().await.unwrap();
    let url = mock.url();
    let mut running = Running::start(fal_cli(&url).args(["run", "fal-ai/flux/dev", "prompt=x"]));
    let handle = running.until("submitted")["handle"].to_string();
    running.kill();
    let said = Said::of(fal_cli(&url).args(["result", "--wait", &handle])).expect(0);
    assert!(said.last("result")["output"]["images"][0]["url"].is_string());
    let jobs = mock.jobs();
    assert_eq!((jobs.len(), jobs[0].state), (1, JobState::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_print_their_addresses() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let (a, b) = (folder.file("a.png", b"\x89PNG"), folder.file("b.txt", b"text"));
    let said = Said::of(fal_cli(&mock.url()).args(["upload", &a, &b])).expect(0);
    let urls = said.last("result")["urls"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = urls.iter().filter_map(Value::as_str).collect();
    assert!(names[0].ends_with("a.png") && names[1].ends_with("b.txt"), "{names:?}");
    let mut command = fal_cli(&mock.url());
    command.args(["upload", "-", "--name", "piped.wav", "--content-type", "audio/wav", "-r"]);
    let said = with_stdin(&mut command, b"RIFF").expect(0);
    assert!(said.stdout.trim_end().ends_with("piped.wav"), "{}", said.stdout);
    assert_eq!(mock.counters().uploads, 3);
    Said::of(fal_cli(&mock.url()).args(["upload", &a, &b, "--name", "x"])).expect(2);
}
