//! What fuzzing begins with, played on stable: each seed through the target of its folder.

use std::fs;
use std::path::{Path, PathBuf};

use fal_protocol::__fuzz as targets;

#[test]
fn every_seed_is_taken() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/fal-protocol/fuzz/seeds");
    let mut played = 0;
    for folder in entries(&seeds) {
        let name = folder.file_name().expect("it is a folder").to_string_lossy().into_owned();
        let target = target(&name);
        for file in entries(&folder) {
            target(&fs::read(&file).expect("it belongs to the repository"));
            played += 1;
        }
    }
    assert!(played > 0, "no seeds were found");
}

/// A folder without a target is an error: its files would pass unread.
fn target(name: &str) -> fn(&[u8]) {
    match name {
        "api_error" => targets::api_error,
        "endpoint" => targets::endpoint,
        "sse" => targets::sse,
        "status" => targets::status,
        "frames" => targets::frames,
        "target" => targets::target,
        "webhook" => targets::webhook,
        "ws" => |bytes| targets::ws(std::time::Instant::now(), bytes),
        "upload" => |bytes| targets::upload(std::time::Instant::now(), bytes),
        other => panic!("no target for the seeds {other:?}"),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it belongs to the repository");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}
