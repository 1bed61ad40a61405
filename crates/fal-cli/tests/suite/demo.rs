//! The demo.

use fal_mock::MockFal;
use serde_json::{Value, json};

use crate::support::{Folder, Said, fal_cli, png_size};

#[test]
fn the_demo_needs_nothing_and_makes_a_picture() {
    let folder = Folder::new();
    // No key, and a base URL and a proxy that lead nowhere: the demo heeds none of them.
    let mut command = fal_cli("http://127.0.0.1:1");
    command.env_remove("FAL_KEY").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let said = Said::of(command.arg("demo").current_dir(folder.path())).expect(0);
    let names = folder.names();
    let [name] = &names[..] else { panic!("one file: {names:?}") };
    assert!(name.starts_with("fal-demo-") && name.ends_with(".png"), "{name}");
    assert_eq!(png_size(&folder.path().join(name)), (768, 1024));
    for fact in ["uploaded portrait.png", "position 2", "log: Step 1 of 3", "billed units  1", name]
    {
        assert!(said.stderr.contains(fact), "{fact:?} is not in: {}", said.stderr);
    }
    let result = said.last("result");
    assert_eq!(result["saved"][0]["path"], name.as_str());
    assert_eq!(result["output"]["images"][0]["width"], 768);
    let uploads = said.lines().iter().filter(|line| line["event"] == "uploaded").count();
    assert_eq!(uploads, 3);
}

#[test]
fn a_live_demo_is_not_paid_for_by_accident() {
    let said = Said::of(fal_cli("http://127.0.0.1:1").args(["demo", "--live"])).expect(2);
    assert!(said.stderr.contains("--yes"), "{}", said.stderr);
    let keyless = Said::of(fal_cli("").env_remove("FAL_KEY").args(["demo", "--live"])).expect(3);
    assert!(keyless.stderr.contains("FAL_KEY"), "{}", keyless.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_demo_of_another_model_sends_a_prompt_only() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let mut command = fal_cli(&mock.url());
    command.args(["demo", "--live", "--yes", "--endpoint", "fal-ai/flux/schnell", "--out"]);
    let said = Said::of(command.arg(folder.path())).expect(0);
    assert!(said.last("result")["saved"][0]["path"].is_string());
    let job = mock.jobs().remove(0);
    let input: Value = serde_json::from_slice(&job.input).unwrap();
    assert_eq!(job.endpoint, "fal-ai/flux/schnell");
    assert_eq!(input, json!({ "prompt": input["prompt"] }));
    assert_eq!(folder.names().len(), 1);
}

#[test]
fn help_teaches_without_colours() {
    let long = Said::of(fal_cli("").arg("--help")).expect(0);
    for part in ["Examples:", "FAL_KEY", "HANDLE", "Exit codes", "JSON lines"] {
        assert!(long.stdout.contains(part), "{part}");
    }
    for command in ["demo", "run", "submit", "status", "result", "cancel", "upload", "codegen"] {
        let said = Said::of(fal_cli("").args([command, "--help"])).expect(0);
        assert!(said.stdout.contains("--base-url") && !said.stdout.contains("--key"));
        assert!(long.stdout.contains(&format!("\n  {command} ")), "{command}");
    }
    for command in ["run", "submit"] {
        let said = Said::of(fal_cli("").args([command, "--help"])).expect(0);
        assert!(said.stdout.contains("key@file"), "{}", said.stdout);
    }
    Said::of(fal_cli("").arg("--version")).expect(0);
}
