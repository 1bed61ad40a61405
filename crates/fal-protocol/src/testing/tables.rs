//! The tables in the machines' pages against what the machines do.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::driver::{Machine, Move};
use super::machines::Start;
use super::properties::run_to_end;
use super::script::{knobs, steps};
use crate::upload::Upload;

#[test]
fn table_of_run() {
    let moves = observe(Start::run);
    compare(include_str!("../run.rs"), &moves);
    // The deadline is not the call's own.
    let own = moves.into_iter().filter(|(_, input, _)| *input != "deadline").collect();
    compare(include_str!("../call.rs"), &own);
}

#[test]
fn table_of_ask() {
    compare(include_str!("../platform/ask.rs"), &observe(Start::ask));
}

#[test]
fn table_of_submit() {
    compare(include_str!("../queue/submit.rs"), &observe(Start::submit));
}

#[test]
fn table_of_watch() {
    compare(include_str!("../queue/watch.rs"), &observe(Start::watch));
}

#[test]
fn table_of_fetch() {
    compare(include_str!("../queue/fetch.rs"), &observe(Start::fetch));
}

#[test]
fn table_of_cancel() {
    compare(include_str!("../queue/cancel.rs"), &observe(Start::cancel));
}

#[test]
fn table_of_check() {
    compare(include_str!("../queue/check.rs"), &observe(Start::check));
}

#[test]
fn table_of_subscribe() {
    let mut moves = observe(Start::subscribe);
    moves.extend(observe(Start::attach));
    compare(include_str!("../queue/subscribe.rs"), &moves);
}

#[test]
fn table_of_stream() {
    let mut moves = observe(Start::stream);
    moves.extend(observe(Start::narrow_stream));
    compare(include_str!("../stream.rs"), &moves);
}

#[test]
fn table_of_upload() {
    let starts: [fn(&Start) -> Upload; 9] = [
        Start::upload,
        Start::upload_parts,
        Start::upload_cdn,
        Start::upload_cdn_parts,
        Start::upload_gcs,
        Start::upload_gcs_parts,
        Start::upload_one_part,
        Start::upload_resumed,
        Start::upload_almost_done,
    ];
    let moves = starts.into_iter().flat_map(|start| observe_in(SCRIPTS / 4, start)).collect();
    compare(include_str!("../upload/mod.rs"), &moves);
}

#[test]
fn table_of_mint() {
    compare(include_str!("../token.rs"), &observe(Start::mint));
}

#[cfg(feature = "webhook")]
#[test]
fn table_of_verify() {
    compare(include_str!("../webhook/machine.rs"), &observe(Start::verify));
}

#[test]
fn wrong_tables_are_noticed() {
    let table = "//! | State | Input | Next |\n//! |---|---|---|\n//! | A, B | x | A, C | why |\n";
    let good = BTreeSet::from([("A", "x", "A"), ("A", "x", "C"), ("B", "x", "A"), ("B", "x", "C")]);
    assert_eq!(difference(table, &good), "");
    let unseen = good.iter().copied().skip(1).collect();
    assert_eq!(difference(table, &unseen), "never seen: A, x -> A\n");
    let more = good.into_iter().chain([("C", "y", "A")]).collect();
    assert_eq!(difference(table, &more), "not in the table: C, y -> A\n");
}

/// All moves of many random scripts, the same ones in every run.
fn observe<M: Machine>(begin: fn(&Start) -> M) -> BTreeSet<Move> {
    observe_in(SCRIPTS, begin)
}

fn observe_in<M: Machine>(scripts: usize, begin: fn(&Start) -> M) -> BTreeSet<Move> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut moves = BTreeSet::new();
    for _ in 0..scripts {
        let tree = (knobs(), steps()).new_tree(&mut runner).expect("any value is good");
        let (knobs, steps) = tree.current();
        moves.extend(run_to_end(begin, &knobs, &steps).moves);
    }
    moves
}

#[track_caller]
pub(super) fn compare(source: &str, moves: &BTreeSet<Move>) {
    let difference = difference(source, moves);
    assert!(difference.is_empty(), "\n{difference}");
}

fn difference(source: &str, moves: &BTreeSet<Move>) -> String {
    let table = read(source);
    let mut text = String::new();
    for (state, input, next) in table.difference(moves) {
        text.push_str(&format!("never seen: {state}, {input} -> {next}\n"));
    }
    for (state, input, next) in moves.difference(&table) {
        text.push_str(&format!("not in the table: {state}, {input} -> {next}\n"));
    }
    text
}

/// The moves that the first table of a page allows: every state of a row with every input and every
/// next state.
fn read(source: &str) -> BTreeSet<(&str, &str, &str)> {
    let rows = source.lines().skip_while(|line| !line.starts_with("//! |"));
    let rows = rows.map_while(|line| line.strip_prefix("//! |")).skip(2);
    let mut moves = BTreeSet::new();
    for row in rows {
        let cells: Vec<Vec<&str>> =
            row.split('|').take(3).map(|cell| cell.split(',').map(str::trim).collect()).collect();
        for state in &cells[0] {
            for input in &cells[1] {
                moves.extend(cells[2].iter().map(|next| (*state, *input, *next)));
            }
        }
    }
    assert!(!moves.is_empty(), "there is no table");
    moves
}

/// Scripts per machine: the rarest move comes up in one of a few hundred.
const SCRIPTS: usize = 4_000;
