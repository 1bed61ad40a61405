//! Inputs as flags of the model, its help, and checks before anything is sent.

use fal_mock::MockFal;
use serde_json::{Value, json};

use crate::support::{Folder, Said, fal_cli};

/// A model of the mock's own catalogue.
const SCHNELL: &str = "fal-ai/flux/schnell";

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_the_model_are_typed_by_its_document() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for command in ["run", "submit"] {
        let said = Said::of(fal_cli(&mock.url()).args([command, SCHNELL]).args([
            "--prompt",
            "7",
            "--num-images",
            "2",
            "--image-size.width",
            "64",
            "--image_size.height=32",
            "--no-enable-safety-checker",
            "--sync-mode",
            "seed=5",
            "--output-format",
            "png",
        ]));
        said.expect(0);
        let input: Value = serde_json::from_slice(&mock.jobs().pop().unwrap().input).unwrap();
        let expected = json!({
            "prompt": "7", "num_images": 2, "image_size": { "width": 64, "height": 32 },
            "enable_safety_checker": false, "sync_mode": true, "seed": 5, "output_format": "png",
        });
        assert_eq!(input, expected);
    }
    let said = Said::of(fal_cli(&mock.url()).args(["stream", "fal-ai/any-llm", "--prompt", "hi"]));
    assert_eq!(said.expect(0).last("result")["event"], "result");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_flags_upload_files() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let picture = folder.file("a.png", b"\x89PNG");
    let mut command = fal_cli(&mock.url());
    command.args(["submit", "fal-ai/flux/dev/image-to-image", "--prompt", "x", "--image-url"]);
    Said::of(command.arg(format!("@{picture}"))).expect(0);
    let input: Value = serde_json::from_slice(&mock.jobs()[0].input).unwrap();
    assert!(input["image_url"].as_str().unwrap().starts_with(&mock.url()), "{input}");
    assert_eq!(mock.counters().uploads, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_would_refuse_is_not_sent() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for command in ["run", "submit"] {
        let mut call = fal_cli(&mock.url());
        call.args([command, SCHNELL, "promt=a cat", "num_images=9", "output_format=jpg"]);
        let said = Said::of(&mut call).expect(2);
        let error = said.last("error");
        let of = |name: &str| -> Vec<&Value> {
            error["fields"].as_array().unwrap().iter().map(|field| &field[name]).collect()
        };
        assert_eq!(of("path"), ["prompt", "num_images", "output_format"]);
        assert_eq!(of("suggestion"), [&json!("promt"), &json!(null), &json!("\"jpeg\"")]);
        for line in [
            "error: the input does not fit fal-ai/flux/schnell",
            "\n  num_images: 9 is not allowed; allowed: 1 to 4",
            "did you mean it by `promt`?",
            "--no-check sends it all the same",
        ] {
            assert!(said.stderr.contains(line), "{line}: {}", said.stderr);
        }
    }
    assert_eq!(mock.submits(), 0);
    let mut call = fal_cli(&mock.url());
    Said::of(call.args(["submit", SCHNELL, "promt=a cat", "--no-check"])).expect(0);
    assert_eq!(mock.submits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slips_in_flags_are_told_with_what_was_meant() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for (args, message, hint) in [
        (&["--promt", "x"][..], "no input --promt", "did you mean --prompt?"),
        (&["--prompt", "x", "--num-image", "2"], "no input --num-image", "--num-images?"),
        (&["--prompt", "x", "--deadlin", "1m"], "no input --deadlin", "--deadline?"),
        (&["--prompt"], "--prompt needs a value: TEXT", "--help lists the inputs"),
    ] {
        let said = Said::of(fal_cli(&mock.url()).args(["run", SCHNELL]).args(args)).expect(2);
        assert!(said.stderr.contains(message) && said.stderr.contains(hint), "{}", said.stderr);
    }
    // Unknown fields are ignored by the service, so they are told and sent.
    let mut call = fal_cli(&mock.url());
    let said = Said::of(call.args(["run", SCHNELL, "prompt=x", "sed=3", "-r"])).expect(0);
    assert!(
        said.stderr.contains("warning: sed: ") && said.stderr.contains("`seed`?"),
        "{}",
        said.stderr
    );
    let mut call = fal_cli(&mock.url());
    let said = Said::of(call.args(["run", SCHNELL, "prompt=x", "sed=3"])).expect(0);
    let first = &said.lines()[0];
    assert_eq!((&first["event"], &first["path"]), (&json!("input_warning"), &json!("sed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_document_everything_works_untyped() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let mut call = fal_cli(&mock.url());
    call.args(["run", "acme/unknown", "--prompt", "a cat", "--num-images", "2", "--fast", "-r"]);
    let said = Said::of(&mut call).expect(0);
    let input: Value = serde_json::from_slice(&mock.jobs()[0].input).unwrap();
    assert_eq!(input, json!({ "prompt": "a cat", "num_images": 2, "fast": true }));
    assert!(said.stderr.contains("unchecked: no document of acme/unknown"), "{}", said.stderr);
    let mut call = fal_cli(&mock.url());
    let said = Said::of(call.args(["run", "acme/unknown", "--prompt=x"])).expect(0);
    let first = &said.lines()[0];
    assert_eq!(first["event"], "unchecked");
    assert!(first["reason"].as_str().unwrap().contains("acme/unknown"), "{first}");
    let mut call = fal_cli(&mock.url());
    let said = Said::of(call.args(["run", "acme/unknown", "--deadlin", "10m"])).expect(2);
    assert!(said.stderr.contains("did you mean --deadline?"), "{}", said.stderr);
    assert_eq!(mock.submits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_on_disk_are_used_instead_of_the_services() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let folder = Folder::new();
    let document = json!({
        "info": { "x-fal-metadata": { "endpointId": "acme/paint" } },
        "paths": { "/acme/paint": { "post": { "requestBody": { "content": { "application/json": { "schema": {
            "type": "object", "required": ["colour"],
            "properties": { "colour": { "type": "string", "enum": ["red", "blue"] } }
        } } } } } } }
    });
    let file = folder.file("acme__paint.json", document.to_string().as_bytes());
    let place = folder.path().to_string_lossy().into_owned();
    let run = ["run", "acme/paint", "--colour", "rad"];
    for said in [
        Said::of(fal_cli(&mock.url()).args(run).args(["--schema", &file])),
        Said::of(fal_cli(&mock.url()).args(run).args(["--schema", &place])),
        Said::of(fal_cli(&mock.url()).args(run).env("FAL_SCHEMA", &place)),
    ] {
        let said = said.expect(2);
        assert!(
            said.stderr.contains("allowed: red, blue; did you mean `\"red\"`?"),
            "{}",
            said.stderr
        );
    }
    for args in [
        ["schema", "acme/paint", "--schema", &file],
        ["run", "acme/paint", "--help", "--schema=/nowhere"],
    ] {
        let said = Said::of(fal_cli(&mock.url()).args(args));
        let code = if args[0] == "schema" { 0 } else { 10 };
        let said = said.expect(code);
        if code == 0 {
            assert_eq!(said.last("result")["document"], document);
        }
    }
    assert_eq!((mock.requests().len(), mock.submits()), (0, 0), "the service was not asked");
    let other = ["run", "acme/other", "a=1", "--schema", &place];
    let said = Said::of(fal_cli(&mock.url()).args(other)).expect(5);
    assert!(said.stderr.contains("no document of acme/other"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_a_model_lists_its_inputs() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    for (columns, flag) in [("60", "--help"), ("100", "-h")] {
        let mut call = fal_cli(&mock.url());
        let said = Said::of(call.args(["run", SCHNELL, flag]).env("COLUMNS", columns)).expect(0);
        let text = &said.stdout;
        for part in [
            "Usage: fal-cli run fal-ai/flux/schnell --prompt TEXT",
            "Required inputs:\n  --prompt TEXT\n        What to make.\n        [string]\n",
            "\n  --num-images N\n        How many pictures.\n        [integer; 1 to 4; default: 1]\n",
            "\n  --[no-]sync-mode\n",
            "--image-size.width N",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // The order is the document's.
        let at = |name: &str| text.find(name).unwrap();
        assert!(
            at("  --num-inference-steps") < at("  --image-size")
                && at("  --image-size") < at("  --seed")
        );
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns.parse().unwrap(), "{text}");
    }
    let said = Said::of(fal_cli(&mock.url()).args(["run", "acme/unknown", "--help"])).expect(0);
    for part in ["no document of acme/unknown", "key=value", "--deadline <TIME>"] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    let said = Said::of(fal_cli(&mock.url()).args(["run", "--help"])).expect(0);
    assert!(said.stdout.contains("fal-cli run MODEL --help"), "{}", said.stdout);
    assert_eq!(mock.submits(), 0);
}
