//! `run`: inputs, results, files.

use std::fs;

use fal_mock::MockFal;
use serde_json::{Value, json};

use crate::support::{Folder, Running, Said, fal_cli, png_size, with_stdin};

#[tokio::test(flavor = "multi_thread")]
async fn run_saves_pictures_and_overwrites_none() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let out = folder.path().join("new/out");
    for run in 1..=2 {
        let mut command = fal_cli(&mock.url());
        command.args(["run", "fal-ai/flux/dev", "prompt=a cat", "num_images=2", "seed=7"]);
        command.args(["image_size.width=64", "image_size.height=32", "--out"]).arg(&out);
        let said = Said::of(&mut command).expect(0);
        let result = said.last("result");
        assert_eq!(result["saved"].as_array().map(Vec::len), Some(2), "{result}");
        assert_eq!(result["output"]["seed"], 7);
        for saved in result["saved"].as_array().unwrap() {
            assert_eq!(png_size(saved["path"].as_str().unwrap().as_ref()), (64, 32));
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2 * run);
    }
    assert_eq!(mock.submits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn piped_output_is_json_lines_that_end_in_the_result() {
    let mock = MockFal::builder().queue_time(ms(30)).run_time(ms(50)).start().await.unwrap();
    let run = ["run", "fal-ai/flux/dev", "prompt=a cat", "--no-check"];
    let said = Said::of(fal_cli(&mock.url()).args(run)).expect(0);
    let lines = said.lines();
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!((events[0], *events.last().unwrap()), ("submitted", "result"));
    for event in ["queued", "started", "log", "completed"] {
        assert!(events.contains(&event), "no {event} in {events:?}");
    }
    let result = said.last("result");
    assert_eq!(result["handle"], lines[0]["handle"]);
    assert_eq!(result["request_id"], mock.jobs()[0].request_id.to_string());
    assert!(said.stderr.is_empty(), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn result_only_is_the_output_and_direct_runs_have_no_job() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for more in [&[][..], &["--direct"], &["--poll", "--no-logs", "--priority", "low"]] {
        let mut command = fal_cli(&mock.url());
        command.args(["run", "-r", "-q", "fal-ai/flux/dev", "prompt=x"]).args(more);
        let said = Said::of(&mut command).expect(0);
        let output: Value = serde_json::from_str(&said.stdout).unwrap();
        assert!(output["images"][0]["url"].is_string(), "{output}");
        assert!(said.stderr.is_empty(), "{}", said.stderr);
    }
    assert_eq!((mock.submits(), mock.counters().runs), (2, 1));
    let said = Said::of(fal_cli(&mock.url()).args(["run", "-r", "fal-ai/flux/dev", "prompt=x"]));
    for part in ["submitted as fal-ai/flux/dev/requests/", "log: Step 1 of 3", "completed"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert!(mock.jobs()[1].is_low_priority);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_merged_and_files_uploaded() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let base =
        folder.file("base.json", br#"{ "prompt": "old", "size": { "width": 1 }, "seed": 1 }"#);
    let picture = folder.file("a b.png", b"\x89PNG");
    let mut command = fal_cli(&mock.url());
    command.args(["submit", "fal-ai/any/model", "--input", &base, "prompt=new", "size.height:=2"]);
    command.args([&format!("urls[]@{picture}"), "urls[]@-;type=image/png"]);
    command.args(["--hint", "my-lora", "--header", "x-trace: 42", "--start-timeout", "30s"]);
    with_stdin(&mut command, b"\x89PNG").expect(0);
    let job = mock.jobs().remove(0);
    let mut input: Value = serde_json::from_slice(&job.input).unwrap();
    let urls = input.as_object_mut().unwrap().remove("urls").unwrap();
    assert_eq!(input, json!({ "prompt": "new", "size": { "width": 1, "height": 2 }, "seed": 1 }));
    let urls: Vec<&str> = urls.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(urls.len(), 2);
    assert!(urls.iter().all(|url| url.starts_with(&mock.url())), "{urls:?}");
    assert_eq!(mock.counters().uploads, 2);
    let header = |name: &str| {
        job.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.to_str().unwrap())
    };
    assert_eq!(header("x-fal-runner-hint"), Some("my-lora"));
    assert_eq!(header("x-fal-request-start-timeout"), Some("30"));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_comes_from_stdin_too() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    command.args(["run", "fal-ai/flux/dev", "--input", "-", "seed=5", "-r"]);
    let said = with_stdin(&mut command, br#"{"prompt":"piped"}"#).expect(0);
    let output: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&output["prompt"], &output["seed"]), (&json!("piped"), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_output_and_not_the_job() {
    let mock = MockFal::builder().queue_time(ms(20)).run_time(ms(200)).start().await.unwrap();
    let folder = Folder::new();
    let mut command = fal_cli(&mock.url());
    command.args(["run", "fal-ai/flux/dev", "prompt=x", "image_size.width=32"]);
    command.args(["image_size.height=32", "--out"]).arg(folder.path());
    let mut running = Running::start(&mut command);
    running.until("submitted");
    let said = running.end_unread();
    assert_eq!(said.code, Some(0), "{said:?}");
    let later = format!("fal-cli result fal-ai/flux/dev/requests/{}", mock.jobs()[0].request_id);
    assert!(said.stderr.contains(&later) && said.errors() == 0, "{}", said.stderr);
    assert_eq!(folder.names().len(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_stdout_is_told() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for command in ["run", "submit"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut binary = fal_cli(&mock.url());
        let said = Said::of(binary.args([command, "fal-ai/flux/dev", "prompt=x"]).stdout(full));
        let said = said.expect(10);
        assert!(said.stderr.contains("cannot write to stdout"), "{}", said.stderr);
        let id = mock.jobs().pop().unwrap().request_id;
        assert!(said.stderr.contains(&format!("requests/{id} --wait")), "{}", said.stderr);
    }
}

const fn ms(ms: u64) -> std::time::Duration {
    std::time::Duration::from_millis(ms)
}
