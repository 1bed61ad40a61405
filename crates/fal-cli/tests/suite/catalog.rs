//! `models`, `schema`, `pricing` and `queue`, against the mock.

use std::fs;

use fal_mock::MockFal;
use serde_json::{Value, json};

use crate::support::{Folder, Said, fal_cli};

#[tokio::test(flavor = "multi_thread")]
async fn models_are_found_without_a_key() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let models = |args: &[&str]| {
        let mut command = fal_cli(&mock.url());
        command.arg("models").args(args).env_remove("FAL_KEY");
        Said::of(&mut command).expect(0)
    };
    let all = models(&["--limit", "1000"]).last("result");
    let all = all["models"].as_array().unwrap();
    assert_eq!(all.len(), mock.catalog().len());
    assert!(all.iter().all(|model| model["endpoint_id"].is_string()));
    let category = all[0]["category"].as_str().unwrap();
    let some = models(&["--category", category, "--status", "active"]).last("result");
    let some = some["models"].as_array().unwrap();
    assert!(!some.is_empty() && some.len() < all.len());
    assert!(some.iter().all(|model| model["category"] == category));
    let ids = models(&["-r", "--limit", "2"]);
    assert_eq!(ids.stdout.lines().count(), 2);
    assert!(ids.stdout.lines().all(|id| id.contains('/') && !id.contains(' ')));
    let none = models(&["no", "such", "model", "anywhere"]).last("result");
    assert_eq!(none["models"], Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_shown_without_a_key() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let list = Said::of(fal_cli(&mock.url()).args(["models", "-r", "--limit", "1000"]));
    for id in list.expect(0).stdout.lines() {
        let mut command = fal_cli(&mock.url());
        let said = Said::of(command.args(["schema", id]).env_remove("FAL_KEY")).expect(0);
        let document = said.last("result")["document"].clone();
        assert!(document["paths"].is_object(), "{id}");
        let raw = Said::of(fal_cli(&mock.url()).args(["schema", "-r", id])).expect(0);
        let raw: Value = serde_json::from_str(&raw.stdout).unwrap();
        assert_eq!(raw, document);
    }
    let said = Said::of(fal_cli(&mock.url()).args(["schema", "acme/nobody"])).expect(4);
    assert!(said.stderr.contains("fal-cli models"), "{}", said.stderr);
    Said::of(fal_cli(&mock.url()).args(["schema", "no slash"])).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_written_from_documents_of_the_service_and_of_the_disk() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let codegen = |args: &[&str]| {
        let mut command = fal_cli(&mock.url());
        command.arg("codegen").args(args).current_dir(folder.path()).env_remove("FAL_KEY");
        Said::of(&mut command)
    };
    let ids = ["fal-ai/flux/schnell", "fal-ai/any-llm"];
    let line = codegen(&[ids[0], ids[1], "--out", "fal.rs"]).expect(0).last("result");
    assert_eq!(line["types"], json!(["AnyLlm", "FluxSchnell"]));
    assert_eq!((&line["path"], &line["written"]), (&json!("fal.rs"), &json!(true)));
    let code = fs::read_to_string(folder.path().join("fal.rs")).unwrap();
    assert!(code.contains("pub fn new(prompt: impl Into<String>) -> Self"), "{code}");
    let again = codegen(&[ids[1], ids[0], "--out", "fal.rs"]).expect(0).last("result");
    assert_eq!(again["written"], false);
    codegen(&[ids[0], ids[1], "--out", "fal.rs", "--check"]).expect(0);
    let stale = codegen(&[ids[0], "--out", "fal.rs", "--check"]).expect(1);
    assert!(stale.stderr.contains("fal.rs is not what the documents say"), "{}", stale.stderr);
    assert_eq!(fs::read_to_string(folder.path().join("fal.rs")).unwrap(), code);

    let document = Said::of(fal_cli(&mock.url()).args(["schema", "-r", ids[0]])).expect(0).stdout;
    fs::write(folder.path().join("one.json"), document).unwrap();
    let alone = codegen(&["-r", ids[0]]).expect(0).stdout;
    for args in [
        &["-r", "--schema", "one.json"][..],
        &["-r", "--schema", "one.json", ids[0]],
        &["-r", "--schema", "."],
    ] {
        assert_eq!(codegen(args).expect(0).stdout, alone, "{args:?}");
    }
    let bare = codegen(&["-r", "--no-descriptions", ids[0]]).expect(0).stdout;
    assert!(alone.contains("What to make.") && !bare.contains("What to make."));

    codegen(&[]).expect(2);
    codegen(&["no slash"]).expect(2);
    codegen(&["acme/nobody"]).expect(4);
    codegen(&["--schema", "nowhere.json"]).expect(10);
    codegen(&[ids[0], "--check"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_and_estimates_are_told() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let pricing = |args: &[&str]| Said::of(fal_cli(&mock.url()).arg("pricing").args(args));
    let line = pricing(&["fal-ai/flux/schnell"]).expect(0).last("result");
    let price = &line["prices"][0];
    assert_eq!(price["endpoint_id"], "fal-ai/flux/schnell");
    let unit_price = price["unit_price"].as_f64().unwrap();
    assert!(unit_price > 0.0 && line.get("estimate").is_none());
    let line = pricing(&["fal-ai/flux/schnell", "--units", "10"]).expect(0).last("result");
    let cost = line["estimate"]["total_cost"].as_f64().unwrap();
    assert!((cost - 10.0 * unit_price).abs() < 1e-9, "{line}");
    let text = pricing(&["-r", "fal-ai/flux/schnell", "--calls", "3"]).expect(0).stdout;
    assert!(text.contains("fal-ai/flux/schnell") && text.contains("3 calls of each"), "{text}");
    pricing(&["no slash"]).expect(2);
    pricing(&["fal-ai/flux/schnell", "--units", "0"]).expect(2);
    let mut command = fal_cli(&mock.url());
    Said::of(command.args(["pricing", "fal-ai/flux/schnell"]).env_remove("FAL_KEY")).expect(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_a_queue_is_told() {
    let mock = MockFal::builder().run_time(std::time::Duration::from_secs(3600)).runners(1);
    let mock = mock.start().await.unwrap();
    for _ in 0..3 {
        Said::of(fal_cli(&mock.url()).args(["submit", "acme/own", "prompt=x"])).expect(0);
    }
    // The first of them leaves the queue as soon as the runner has taken it.
    loop {
        let said = Said::of(fal_cli(&mock.url()).args(["queue", "acme/own"])).expect(0);
        let size = said.last("result")["queue_size"].as_u64().unwrap();
        assert!((2..=3).contains(&size), "{size}");
        if size == 2 {
            break;
        }
    }
}
