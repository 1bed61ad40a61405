//! Ctrl-C and SIGTERM.

#![cfg(unix)]

use std::time::Duration;

use fal_mock::MockFal;

use crate::service::{self, Reply};
use crate::support::{Running, Said, fal_cli};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_ctrl_c_cancels_the_job() {
    for signal in ["INT", "TERM"] {
        let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
        let url = mock.url();
        let mut command = fal_cli(&url);
        let mut running = Running::start(command.args(["run", "fal-ai/flux/dev", "prompt=x"]));
        running.until("started");
        running.signal(signal);
        let said = running.end().expect(130);
        let job = mock.jobs().remove(0);
        assert!(job.cancel_asked);
        let handle = format!("fal-ai/flux/dev/requests/{}", job.request_id);
        assert_eq!(said.last("error")["kind"], "cancelled");
        let cancelling = said.lines().into_iter().find(|line| line["event"] == "cancelling");
        assert_eq!(cancelling.unwrap()["handle"]["request_id"], job.request_id.to_string());
        assert!(
            said.stderr.contains(&format!("fal-cli result {handle} --wait")),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn the_second_ctrl_c_leaves_at_once() {
    let url = service::start(|_, request| match request.starts_with("POST ") {
        true => Reply::Json(200, r#"{"status":"IN_QUEUE","request_id":"r1"}"#.into()),
        false => Reply::Hold,
    });
    let mut command = fal_cli(&url);
    let mut running = Running::start(command.args(["run", "fal-ai/flux/dev", "prompt=x"]));
    running.until("submitted");
    running.signal("INT");
    running.until("cancelling");
    running.signal("INT");
    let said = running.end().expect(130);
    assert!(said.stderr.contains("left without waiting"), "{}", said.stderr);
    assert!(
        said.stderr.contains("fal-cli result fal-ai/flux/dev/requests/r1 --wait"),
        "{}",
        said.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_waiting_leaves_the_job() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    let url = mock.url();
    let said = Said::of(fal_cli(&url).args(["submit", "-r", "fal-ai/flux/dev", "prompt=x"]));
    let handle = said.expect(0).stdout.trim().to_owned();
    for args in [["result", "--wait"], ["status", "--watch"]] {
        let mut running = Running::start(fal_cli(&url).args(args).arg(&handle));
        running.until("started");
        running.signal("INT");
        let said = running.end().expect(130);
        assert!(said.stderr.contains("the job goes on"), "{}", said.stderr);
    }
    assert!(!mock.jobs()[0].cancel_asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_closes_a_direct_run() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    let running = Running::start(command.args(["run", "--direct", "fal-ai/flux/dev", "prompt=x"]));
    while mock.counters().runs == 0 {
        tokio::task::yield_now().await;
    }
    running.signal("INT");
    let said = running.end().expect(130);
    assert!(said.stderr.contains("stops the run"), "{}", said.stderr);
    while mock.counters().runs_abandoned == 0 {
        tokio::task::yield_now().await;
    }
}
