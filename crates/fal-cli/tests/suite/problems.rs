//! What goes wrong: exit codes, one error line, nothing submitted that cannot succeed.

use std::time::Duration;

use fal_mock::MockFal;

use crate::service::{self, Reply};
use crate::support::{Folder, Said, fal_cli};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_mock_is_a_network_error_with_a_hint() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let url = mock.url();
    mock.stop().await;
    let said = Said::of(fal_cli(&url).args(["run", "fal-ai/flux/dev", "prompt=x"])).expect(6);
    assert_eq!(said.errors(), 1, "{}", said.stderr);
    assert!(
        said.stderr.contains("is fal-mock running") && said.stderr.contains(&url),
        "{}",
        said.stderr
    );
    assert_eq!(said.last("error")["kind"], "network");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_missing_malformed_or_wrong() {
    let mock = MockFal::builder().instant().key("other:key").start().await.unwrap();
    let url = mock.url();
    let run = ["run", "fal-ai/flux/dev", "prompt=x"];
    let wrong = Said::of(fal_cli(&url).args(run)).expect(3);
    assert_eq!(wrong.last("error")["status"], 401);
    let missing = Said::of(fal_cli(&url).env_remove("FAL_KEY").args(run)).expect(3);
    let malformed = Said::of(fal_cli(&url).env("FAL_KEY", "no-colon").args(run)).expect(3);
    assert!(!malformed.stderr.contains("no-colon"), "{}", malformed.stderr);
    for said in [wrong, missing, malformed] {
        assert_eq!(said.errors(), 1, "{}", said.stderr);
        assert!(said.stderr.contains("export FAL_KEY="), "{}", said.stderr);
    }
    assert_eq!(mock.submits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_inputs_name_every_field() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    let said =
        Said::of(command.args(["run", "fal-ai/controlnet-ip-adapter", "seed=x", "--no-check"]))
            .expect(4);
    let error = said.last("error");
    assert_eq!((&error["kind"], &error["status"]), (&"refused".into(), &422.into()));
    let paths: Vec<&str> =
        error["fields"].as_array().unwrap().iter().filter_map(|f| f["path"].as_str()).collect();
    for field in
        ["prompt", "reference_image_url", "reference_pose_image_url", "ip_archive_url", "seed"]
    {
        assert!(paths.contains(&field), "{field}: {paths:?}");
        assert!(said.stderr.contains(&format!("\n  {field}: ")), "{field}: {}", said.stderr);
    }
    assert_eq!(error["handle"]["request_id"], mock.jobs()[0].request_id.to_string());
    assert_eq!(error["request_id"], error["handle"]["request_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_problems_are_told_before_anything_is_sent() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let file = folder.file("file", b"x");
    let bad = folder.file("bad.json", b"{\n  \"prompt\": \"x\" \"seed\": 1\n}");
    let here = folder.path().to_string_lossy().into_owned();
    let run =
        |args: &[&str]| Said::of(fal_cli(&mock.url()).args(["run", "fal-ai/flux/dev"]).args(args));
    for (args, code, part) in [
        (&["image_url@/nowhere/a.png"][..], 10, "(for image_url)"),
        (&[&format!("image_url@{here}")], 10, "folder"),
        (&["--input", "/nowhere/a.json"], 10, "/nowhere/a.json"),
        (&["prompt=x", "--out", &format!("{file}/out")], 10, "cannot save to"),
        (&["--input", &bad], 2, "line 2 column 17"),
        (&["--input", "{\"a\":"], 2, "--input is not JSON"),
        (&["prompt"], 2, "key=value"),
        (&["a:=[1"], 2, "must stand JSON"),
        (&["a=1", "a=2"], 2, "twice"),
        (&["--deadline", "10"], 2, "such as 90s"),
        (&["--header", "none"], 2, "name: value"),
        (&["--header", "authorization: x"], 2, "authorization"),
        (&["--start-timeout", "50ms"], 2, "0.1 s"),
        (&["--direct", "--webhook", "http://x"], 2, "--webhook"),
    ] {
        let said = run(args).expect(code);
        assert!(said.stderr.contains(part), "{args:?}: {}", said.stderr);
        assert_eq!(said.errors(), 1, "{args:?}: {}", said.stderr);
    }
    Said::of(fal_cli(&mock.url()).args(["run", "not an id"])).expect(2);
    Said::of(fal_cli("not a url").args(["run", "fal-ai/flux/dev"])).expect(2);
    let said =
        Said::of(fal_cli("http://me:pass@x/?sig=q").args(["run", "fal-ai/flux/dev"])).expect(2);
    assert!(!said.stderr.contains("pass") && !said.stderr.contains("sig"), "{}", said.stderr);
    Said::of(fal_cli(&mock.url()).args(["result", "7d0c"])).expect(2);
    assert_eq!((mock.submits(), mock.counters().uploads), (0, 0));
    assert_eq!(folder.names(), ["bad.json", "file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_job_or_leaves_it() {
    let mock = MockFal::builder().run_time(Duration::from_secs(3600)).start().await.unwrap();
    for (index, policy) in ["cancel", "leave"].into_iter().enumerate() {
        let mut command = fal_cli(&mock.url());
        command.args(["run", "fal-ai/flux/dev", "prompt=x", "--deadline", "400ms"]);
        let said = Said::of(command.args(["--on-deadline", policy])).expect(7);
        let job = mock.jobs().remove(index);
        assert_eq!(job.cancel_asked, policy == "cancel");
        let error = said.last("error");
        assert_eq!(error["handle"]["request_id"], job.request_id.to_string());
        assert!(
            said.stderr.contains("fal-cli result fal-ai/flux/dev/requests/"),
            "{}",
            said.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_no_refusal() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    mock.fail_next(fal_mock::model::Failure::request_error(status, "runner_server_error", "boom"));
    let said =
        Said::of(fal_cli(&mock.url()).args(["run", "fal-ai/flux/dev", "prompt=x"])).expect(5);
    assert_eq!(said.last("error")["error_type"], "runner_server_error");
    let handle = said.last("error")["handle"].to_string();
    // Asking is no failure; waiting for the job is.
    Said::of(fal_cli(&mock.url()).args(["status", &handle])).expect(0);
    Said::of(fal_cli(&mock.url()).args(["status", "--watch", &handle])).expect(5);
}

#[test]
fn a_submit_without_an_answer_is_not_repeated() {
    let url = service::start(|_, _| Reply::Close);
    let said = Said::of(fal_cli(&url).args(["run", "fal-ai/flux/dev", "prompt=x"])).expect(8);
    assert_eq!(said.last("error")["kind"], "submit_unknown");
    assert!(said.stderr.contains("dashboard"), "{}", said.stderr);
}

#[test]
fn what_cannot_be_saved_is_printed_with_its_address() {
    let url = service::start(|base, request| {
        let is = |part: &str| request.contains(part);
        match request.starts_with("POST ") {
            true => Reply::Json(200, r#"{"request_id":"r1"}"#.into()),
            false if is("/gone") => Reply::Json(404, "{}".into()),
            false if is("/status/stream") => Reply::Json(404, "{}".into()),
            false if is("/status") => Reply::Json(200, r#"{"status":"COMPLETED"}"#.into()),
            false => {
                let (text, gone) = ("data:text/plain,hello", format!("{base}/gone.png?sig=x9"));
                let output =
                    serde_json::json!({ "gone": { "url": gone }, "text": { "url": text } });
                Reply::Json(200, output.to_string())
            }
        }
    });
    let folder = Folder::new();
    let mut command = fal_cli(&url);
    command.args(["run", "fal-ai/flux/dev", "prompt=x", "--out"]).arg(folder.path());
    let said = Said::of(&mut command).expect(10);
    assert_eq!(folder.names(), ["text.txt"], "the one that could be saved, and no empty file");
    let lines = said.lines();
    let result = &lines[lines.len() - 2];
    assert_eq!(result["event"], "result");
    assert_eq!(result["output"]["gone"]["url"], format!("{url}/gone.png?sig=x9"));
    assert_eq!(said.last("error")["kind"], "file");
    assert!(said.stderr.contains("/gone.png") && !said.stderr.contains("x9"), "{}", said.stderr);
}
