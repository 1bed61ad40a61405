//! What fuzzing begins with, played on stable: each file of a corpus through the target of its folder.

use std::fs;
use std::path::{Path, PathBuf};

use fal_protocol::__fuzz as targets;

#[test]
fn every_file_of_the_corpora_is_taken() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/fal-protocol/fuzz/corpus");
    let mut played = 0;
    for folder in entries(&corpora) {
        let name = folder.file_name().expect("it is a folder").to_string_lossy().into_owned();
        let target = target(&name);
        for file in entries(&folder) {
            target(&fs::read(&file).expect("it belongs to the repository"));
            played += 1;
        }
    }
    assert!(played > 0, "no corpus was found");
}

/// A folder without a target is an error: its files would pass unread.
fn target(name: &str) -> fn(&[u8]) {
    match name {
        "api_error" => targets::api_error,
        "endpoint" => targets::endpoint,
        "sse" => targets::sse,
        "status" => targets::status,
        "target" => targets::target,
        other => panic!("no target for the corpus {other:?}"),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it belongs to the repository");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}
