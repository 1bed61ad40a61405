//! What the flags ask of the platform, and who calls.

use std::fs;

use fal_mock::MockFal;
use serde_json::Value;

use crate::support::{Folder, Said, fal_cli};

#[tokio::test(flavor = "multi_thread")]
async fn flags_reach_the_platform() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let url = mock.url();
    let run = [
        "run",
        "fal-ai/flux/dev",
        "prompt=x",
        "--hint",
        "lora-7",
        "--retry",
        "server_error=2",
        "--store-io",
        "off",
        "--expires",
        "1d",
        "--acl",
        "forbid,acme=allow",
        "--no-fallback",
        "--tag",
        "Team=growth",
        "--tag",
        "run=42",
    ];
    let told = Said::of(fal_cli(&url).args(run)).expect(0).last("result");
    assert_eq!(told["served_from"], "fal-mock");
    assert_eq!(told["runner_hints"], serde_json::json!(["lora-7"]));
    let job = &mock.jobs()[0];
    let tags = [("team".to_owned(), "growth".to_owned()), ("run".to_owned(), "42".to_owned())];
    assert_eq!(job.tags(), tags);
    assert_eq!(job.store_io(), Some(false));
    assert!(job.is_fallback_disabled() && !job.is_never_retried());
    assert_eq!(job.retry_budgets(), [("server_error", 2)]);
    assert_eq!(job.lifecycle().unwrap()["initial_acl"]["rules"][0]["user"], "acme");

    Said::of(fal_cli(&url).args(["submit", "fal-ai/flux/dev", "--no-retry"])).expect(0);
    assert!(mock.jobs()[1].is_never_retried());
    let direct = ["run", "--direct", "fal-ai/flux/dev", "prompt=x", "--tag", "a=b"];
    Said::of(fal_cli(&url).args(direct)).expect(0);
    let stream = ["stream", "fal-ai/flux/dev", "prompt=x", "--tag", "a=b", "--query", "q=1"];
    Said::of(fal_cli(&url).args(stream)).expect(0);
}

#[test]
fn what_the_platform_would_pass_over_is_refused_here() {
    for flags in [
        &["--tag", "fal.x=1"][..],
        &["--tag", "a"],
        &["--retry", "anything=1"],
        &["--retry", "timeout=11"],
        &["--no-retry", "--retry", "timeout=1"],
        &["--expires", "2h"],
        &["--acl", "everybody"],
        &["--acl", "allow,=forbid"],
        &["--direct", "--no-retry"],
    ] {
        let mut command = fal_cli("http://127.0.0.1:1");
        Said::of(command.args(["run", "fal-ai/flux/dev"]).args(flags)).expect(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_counts_where_there_is_no_key() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let url = mock.url();
    let folder = Folder::new();
    // {"exp":4102444800}, the year 2100, and {"exp":1}.
    let (good, old) = ("e30.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln", "e30.eyJleHAiOjF9.c2ln");
    let call = |text: &str, forced: bool, key: Option<&str>, code| {
        let path = folder.file("auth0_token", text.as_bytes());
        let mut command = fal_cli(&url);
        command.env_remove("FAL_KEY").env("FAL_HOME_DIR", folder.path());
        if forced {
            command.env("FAL_FORCE_AUTH_BY_USER", "1");
        }
        if let Some(key) = key {
            command.env("FAL_KEY", key);
        }
        let said =
            Said::of(command.args(["run", "--direct", "fal-ai/flux/dev", "prompt=x"])).expect(code);
        assert_eq!(fs::read_to_string(path).unwrap(), text, "it is never written");
        assert!(!said.stderr.contains("refresh-secret"), "{}", said.stderr);
        said
    };
    call(&format!("refresh-secret\r\n\r\n{good}\r\n"), false, None, 0);
    call(&format!("refresh-secret\n{good}"), true, Some("not used"), 0);
    call(&format!("refresh-secret\n{old}"), false, Some("id:secret"), 0);
    for (text, words) in [
        (format!("refresh-secret\n{old}"), "expired"),
        ("refresh-secret".to_owned(), "no access token yet"),
        (String::new(), "empty"),
    ] {
        let said = call(&text, false, None, 3);
        assert!(
            said.stderr.contains(words) && said.stderr.contains("fal auth login"),
            "{}",
            said.stderr
        );
        let error: Value = said.last("error");
        assert_eq!(error["kind"], "key");
    }
    let mut command = fal_cli(&url);
    command.env("FAL_FORCE_AUTH_BY_USER", "1").args(["run", "--direct", "fal-ai/flux/dev"]);
    let said = Said::of(&mut command).expect(3);
    assert!(
        said.stderr.contains("fal auth login") && said.stderr.contains("FAL_KEY"),
        "{}",
        said.stderr
    );
    let said =
        Said::of(fal_cli(&url).env_remove("FAL_KEY").args(["run", "fal-ai/flux/dev"])).expect(3);
    assert!(said.stderr.contains("FAL_KEY"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do() {
    let mock = MockFal::builder().instant().locked("Exhausted balance").start().await.unwrap();
    let said = Said::of(fal_cli(&mock.url()).args(["run", "fal-ai/flux/dev"])).expect(3);
    assert!(
        said.stderr.contains("Exhausted balance") && said.stderr.contains("billing"),
        "{}",
        said.stderr
    );
}
