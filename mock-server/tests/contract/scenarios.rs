//! Scenarios: files that are judged, and programs that meet them.

use std::path::Path;
use std::process::{Command, Output};

fn check(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fal-mock")).arg("check").args(words).output().expect("it runs")
}

#[test]
fn files_are_judged_from_the_command_line() {
    let folder = std::env::temp_dir().join(format!("fal-mock-check-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("good.yaml"), "rules:\n  - when: a/b\n    error: 500\n").unwrap();
    let good = check(&[&path("good.yaml"), "happy-path"]);
    assert_eq!(good.status.code(), Some(0));
    let text = String::from_utf8(good.stdout).unwrap();
    assert_eq!(text, format!("{}: right, 1 rule\nhappy-path: right, 1 app\n", path("good.yaml")));
    std::fs::write(path("bad.yaml"), "rules:\n  - wen: a/b\n").unwrap();
    let bad = check(&[&folder.display().to_string()]);
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    let place = format!("{}:2:5: rules[0].wen: ", path("bad.yaml"));
    assert!(
        text.contains(&place)
            && text.contains("    |     ^^^")
            && text.contains("good.yaml: right")
    );
    let json = check(&["--json", &path("bad.yaml"), &path("nowhere.yaml")]);
    assert_eq!(json.status.code(), Some(1));
    let list: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&list[0]["line"], &list[0]["column"]), (&2.into(), &5.into()));
    assert_eq!(list[2]["file"], path("nowhere.yaml").as_str());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(check(&[]).status.code(), Some(2));
    let schema: serde_json::Value = serde_json::from_slice(&check(&["--schema"]).stdout).unwrap();
    assert_eq!(schema["title"], "Scenario of fal-mock");
}

#[test]
fn the_gallery_is_right_where_it_lies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let output = check(&[folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
