//! `stream`: items as they come, and how it ends.

use std::fs;

use fal_mock::MockFal;
use fal_mock::model::{Control, StreamFailure};
use serde_json::Value;

use crate::support::{Folder, Running, Said, fal_cli};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_json_lines_and_a_file() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let file = folder.path().join("events.json");
    let mut command = fal_cli(&mock.url());
    command.args(["stream", "fal-ai/any-llm", "prompt=a cat", "--out"]).arg(&file);
    let said = Said::of(&mut command).expect(0);
    let lines = said.lines();
    let (result, items) = lines.split_last().unwrap();
    assert_eq!((&result["event"], &result["items"]), (&"result".into(), &items.len().into()));
    assert!(result["request_id"].is_string());
    assert!(items.len() > 2 && items.iter().all(|item| item["event"] == "item"), "{items:?}");
    assert_eq!(items.last().unwrap()["data"]["partial"], false);
    let saved = fs::read_to_string(&file).unwrap();
    let saved: Vec<Value> = saved.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(saved, items.iter().map(|item| item["data"].clone()).collect::<Vec<_>>());

    let said = Said::of(&mut command).expect(10);
    assert_eq!((said.errors(), mock.counters().model_streams), (1, 1), "nothing is overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_the_exit_codes_of_all_commands() {
    // What was written just before a cut may be lost with it, so there is time between them.
    let run_time = std::time::Duration::from_millis(200);
    let mock = MockFal::builder().run_time(run_time).start().await.unwrap();
    let stream = |more: &str| {
        Said::of(fal_cli(&mock.url()).args(["stream", "acme/app", "--no-check", more]))
    };
    stream("seed=x").expect(4);
    mock.control(Control::BreakNextStream(StreamFailure::Cut));
    let said = stream("seed=1").expect(6);
    let error = said.last("error");
    assert!(error["request_id"].is_string(), "{error}");
    assert_eq!(said.lines().len(), 3, "what came before the cut is told");
    let said = Said::of(fal_cli(&mock.url()).args(["stream", "-r", "-q", "acme/app", "seed=1"]));
    let said = said.expect(0);
    assert!(said.lines().iter().all(|line| line["images"].is_array()), "{}", said.stdout);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_the_model() {
    let run_time = std::time::Duration::from_secs(4);
    let mock = MockFal::builder().run_time(run_time).start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    let mut running = Running::start(command.args(["stream", "acme/app", "prompt=x"]));
    running.until("item");
    running.signal("INT");
    let said = running.end();
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(said.last("error")["kind"], "cancelled");
}
