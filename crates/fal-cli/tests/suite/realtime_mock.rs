//! `realtime` and `token` against the mock.

use std::fs;

use fal_mock::MockFal;

use crate::support::{Folder, Said, fal_cli, with_stdin};

#[tokio::test(flavor = "multi_thread")]
async fn inputs_become_outputs_and_pictures_become_files() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let mut command = fal_cli(&mock.url());
    command.args(["realtime", "acme/paint", "--out"]).arg(folder.path());
    let lines = b"{\"prompt\":\"a cat\"}\n\n{\"prompt\":\"a dog\"}\n";
    let said = with_stdin(&mut command, lines).expect(0);
    assert_eq!(said.last("result")["outputs"], 2);
    let outputs: Vec<_> =
        said.lines().into_iter().filter(|line| line["event"] == "output").collect();
    assert_eq!(outputs.len(), 2);
    for output in outputs {
        let path = output["saved"][0]["path"].as_str().unwrap();
        assert!(fs::read(path).unwrap().starts_with(b"\x89PNG"), "{output}");
        assert_eq!(output["data"]["images"][0]["content"]["path"], path);
    }
    assert_eq!(folder.names(), ["output-2.png", "output.png"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_input_from_the_arguments_is_enough() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    let said = Said::of(command.args(["realtime", "-r", "acme/paint", "prompt=a cat"])).expect(0);
    let output: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert!(output["images"][0]["content"]["bytes"].is_u64(), "{output}");
    let mut command = fal_cli(&mock.url());
    command.args(["realtime", "acme/film-server-streaming", "prompt=x", "--until-end"]);
    let said = Said::of(&mut command).expect(0);
    assert!(said.last("result")["outputs"].as_u64().unwrap() > 1);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_closes_the_connection() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut command = fal_cli(&mock.url());
    command.args(["realtime", "--json", "acme/paint", "prompt=x", "--until-end"]);
    let mut running = crate::support::Running::start(&mut command);
    running.until("output");
    assert_eq!(mock.sessions().len(), 1);
    running.signal("INT");
    let said = running.end();
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(said.last("error")["kind"], "cancelled");
    assert!(mock.sessions().is_empty(), "the peer was waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_printed_once() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let args = ["token", "-r", "acme/paint/realtime", "--duration", "60s"];
    let said = Said::of(fal_cli(&mock.url()).args(args)).expect(0);
    assert!(said.stdout.trim().len() > 10 && said.stdout.lines().count() == 1, "{said:?}");
}
