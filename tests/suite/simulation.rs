//! The client's machine against the mock's model, over a network that loses things.

use fal_conformance::sim::{Fault, Plan, Rules, run, shrink, survey};

#[test]
fn no_world_breaks_a_promise() {
    let summary = survey(Rules::Default, 0, SEEDS);
    println!("{}: {summary}", Rules::Default);
    if let Some((seed, problem)) = summary.broken.first() {
        let least = shrink(&Plan::new(*seed), Rules::Default);
        panic!("seed {seed}: {problem}\nthe same with as little as {least:#?}");
    }
    assert_eq!((summary.twins, summary.lost), (0, 0));
    assert!(summary.succeeded > SEEDS / 2, "a world in which nothing works shows nothing");
}

/// The same worlds do make two jobs of one call where an answer that was lost is asked for again: the
/// simulation can see what it looks for.
#[test]
fn bolder_rules_pay_twice() {
    for rules in [Rules::JavaScript, Rules::Python] {
        let summary = survey(rules, 0, SEEDS / 10);
        println!("{rules}: {summary}");
        assert!(summary.twins > 0, "{rules} made no twins");
    }
}

#[test]
fn same_seed_same_world() {
    for seed in 0..200 {
        let plan = Plan::new(seed);
        assert_eq!(run(&plan, Rules::Default), run(&plan, Rules::Default), "seed {seed}");
    }
}

#[test]
fn broken_worlds_shrink() {
    let is_broken = |plan: &Plan| run(plan, Rules::Python).jobs > 1;
    let faults = |plan: &Plan| plan.exchanges.iter().filter(|e| e.fault != Fault::None).count();
    let plan = (0..500).map(Plan::new).find(|plan| is_broken(plan) && faults(plan) > 5);
    let least = shrink(&plan.expect("bolder rules pay twice"), Rules::Python);
    assert_eq!(faults(&least), 1, "one lost answer is enough: {least:#?}");
    assert!(is_broken(&least));
}

/// Worlds in every run of the suite.
const SEEDS: u64 = 10_000;
