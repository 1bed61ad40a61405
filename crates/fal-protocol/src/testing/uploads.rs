//! What an upload in parts promises, one property each, and single cases.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use http::{StatusCode, header};
use proptest::prelude::*;
use serde_json::Value;

use super::driver::{Driver, Entry, Input, ms};
use super::machines::{Start, UPLOAD_BYTES, UPLOAD_PART_BYTES, stored};
use super::promises::calm;
use super::properties::run_to_end;
use super::script::{Knobs, knobs, play, steps};
use super::service::{self, Asked, answer, asked, etag_of, part_number};
use crate::Output;
use crate::error::{Aftermath, ErrorKind};
use crate::upload::{Event, Plan, Route, Upload, UploadState};
use crate::wire::{Body, Failure, FailureKind, Request};

proptest! {
    /// Parts cover the file, arrive once, and are put together in order, each under the name that the store
    /// gave it.
    #[test]
    fn every_part_arrives_once_and_in_order(knobs in knobs(), steps in steps(), pick in 0_usize..6) {
        let begin = STARTS[pick];
        let driver = run_to_end(begin, &knobs, &steps);
        assert_parts_hold(&driver, &BTreeSet::new());
    }

    /// Wherever an upload stops, another machine goes on with what is missing, and it is the same file.
    #[test]
    fn what_was_begun_can_be_finished(knobs in knobs(), steps in steps(), pick in 0_usize..6) {
        let start = knobs.start();
        let mut first = Driver::new(STARTS[pick](&start), start.now, start.deadline);
        play(&mut first, &steps);
        first.give(Input::Cancel);
        let Some(state) = first.machine.state().cloned() else { return Ok(()) };
        assert_parts_hold(&first, &BTreeSet::new());
        let text = state.to_string();
        prop_assert!(!text.contains(service::SECRET), "{}", text);
        prop_assert_eq!(&text.parse::<UploadState>().unwrap(), &state);
        let arrived = arrived(&first);
        prop_assert!(arrived.keys().eq(have(&state).iter()), "{:?} of {:?}", arrived, state);

        let calm = Knobs { deadline_ms: None, ..knobs };
        let begun = calm.start();
        let body = Body::Source { range: 0..UPLOAD_BYTES };
        let mut second = Driver::new(begun.resume_with(state.clone(), body), begun.now, None);
        second.drive_well();
        let uploaded = second.done.as_ref().unwrap().as_ref().unwrap();
        prop_assert_eq!((&*uploaded.url, uploaded.parts), (state.file_url(), state.plan().parts()));
        assert_parts_hold(&second, &have(&state));
        prop_assert!(second.machine.state().is_none(), "there is nothing to go on with");
    }
}

#[test]
fn parts_go_out_at_once_up_to_the_limit() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_parts(), start.now, None);
    assert!(driver.answer_well());
    assert_eq!(open_parts(&driver), [1, 2]);
    let second = id_of_part(&driver, 2);
    driver.give(Input::Response(second, part_answer(2)));
    assert_eq!(open_parts(&driver), [1, 3]);
    let told = driver.events().last();
    assert_eq!(told, Some(&Event::PartDone { number: 2, done: 1, parts: 3 }));
    driver.drive_well();
    let complete = driver.sends().find(|(_, request)| asked(request) == Asked::Complete).unwrap().1;
    assert_eq!(
        complete.uri,
        "https://v3.fal.media/files/a.png/complete?signature=signed-for-one-hour"
    );
    assert_eq!(complete.body, Body::Bytes(Bytes::from_static(
        br#"{"parts":[{"partNumber":1,"etag":"\"e1\""},{"partNumber":2,"etag":"\"e2\""},{"partNumber":3,"etag":"\"e3\""}]}"#,
    )));
}

#[test]
fn a_part_is_repeated_while_others_go_on() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_parts(), start.now, None);
    assert!(driver.answer_well());
    let first = id_of_part(&driver, 1);
    driver.give(Input::Failure(first, Failure::read(FailureKind::Closed, "reset")));
    assert!(matches!(driver.events().last(), Some(Event::PartFailed { number: 1, .. })));
    assert_eq!(open_parts(&driver), [2], "a part that rests keeps its place");
    assert!(driver.pass_to_timeout());
    assert_eq!(open_parts(&driver), [1, 2]);
}

#[test]
fn the_last_failure_of_a_part_gives_up_the_others() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_parts(), start.now, None);
    assert!(driver.answer_well());
    let second = id_of_part(&driver, 2);
    driver.give(Input::Response(second, answer(403, "")));
    assert!(driver.is_done());
    assert!(driver.outputs().any(|output| matches!(output, Output::Abort { .. })));
    assert_eq!(
        driver.machine.state().map(UploadState::parts_done),
        Some(0),
        "it can be gone on with"
    );
}

#[test]
fn progress_is_of_all_parts_and_goes_back_with_a_repeat() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_parts(), start.now, None);
    assert!(driver.answer_well());
    let sent = |driver: &Driver<Upload>| match driver.events().last() {
        Some(Event::Sent { bytes, total: UPLOAD_BYTES }) => *bytes,
        other => panic!("{other:?}"),
    };
    let (first, second) = (id_of_part(&driver, 1), id_of_part(&driver, 2));
    driver.give(Input::Progress(first, 4));
    assert_eq!(sent(&driver), 4);
    driver.give(Input::Progress(second, 10));
    assert_eq!(sent(&driver), 14);
    driver.give(Input::Response(second, part_answer(2)));
    driver.give(Input::Progress(first, 5));
    assert_eq!(sent(&driver), 15);
    driver.give(Input::Failure(first, Failure::read(FailureKind::Closed, "reset")));
    let third = id_of_part(&driver, 3);
    driver.give(Input::Progress(third, 1));
    assert_eq!(sent(&driver), 11);
}

#[test]
fn a_lost_answer_to_the_end_is_no_failure() {
    for (lost, is_done) in [(Some(false), false), (Some(true), true), (None, false)] {
        let start = calm().start();
        let mut driver = Driver::new(start.upload_almost_done(), start.now, None);
        let id = driver.open.as_ref().unwrap().0;
        if let Some(may_have_arrived) = lost {
            let failure = match may_have_arrived {
                true => Failure::read(FailureKind::Timeout, "late"),
                false => Failure::connect(FailureKind::Refused, "refused"),
            };
            driver.give(Input::Failure(id, failure));
            assert!(driver.pass_to_timeout());
        }
        let id = driver.open.as_ref().unwrap().0;
        driver.give(Input::Response(id, answer(404, "")));
        assert_eq!(matches!(driver.done, Some(Ok(_))), is_done, "{lost:?}: {:?}", driver.done);
    }
}

#[test]
fn a_token_that_was_kept_and_is_refused_is_asked_for_anew_once() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_cdn_parts(), start.now, None);
    assert_eq!(asked_now(&driver), Asked::Create);
    respond(&mut driver, 401);
    assert_eq!(asked_now(&driver), Asked::CdnToken);
    assert!(driver.answer_well());
    assert_eq!(asked_now(&driver), Asked::Create);
    respond(&mut driver, 401);
    assert!(matches!(driver.events().last(), Some(Event::RouteFailed { next: Route::Gcs, .. })));
    assert!(driver.machine.token().is_none(), "nobody is to use it again");
}

#[test]
fn a_token_about_to_end_is_renewed_between_parts() {
    let start = Start { is_eager: false, ..calm().start() };
    let mut driver = Driver::new(start.upload_cdn_parts(), start.now, None);
    // The token is good for a day, and two parts take that long.
    assert!(driver.answer_well() && driver.answer_well());
    for _ in 0..1500 {
        driver.now += ms(59_000);
        let open: Vec<_> = driver.open.iter().chain(&driver.others).map(|(id, _)| *id).collect();
        open.into_iter().for_each(|id| driver.give(Input::Progress(id, 1)));
    }
    assert_eq!(open_parts(&driver), [1, 2, 3]);
    driver.drive_well();
    assert!(matches!(driver.done, Some(Ok(_))), "all parts had begun");
    let tokens = |driver: &Driver<Upload>| {
        driver.sends().filter(|(_, request)| asked(request) == Asked::CdnToken).count()
    };
    assert_eq!(tokens(&driver), 1);

    let start = calm().start();
    let mut driver = Driver::new(start.upload_cdn_parts(), start.now, None);
    assert!(driver.answer_well());
    for _ in 0..1500 {
        driver.now += ms(59_000);
        let open: Vec<_> = driver.open.iter().chain(&driver.others).map(|(id, _)| *id).collect();
        open.into_iter().for_each(|id| driver.give(Input::Progress(id, 1)));
    }
    assert_eq!(open_parts(&driver), [1, 2]);
    driver.drive_well();
    assert!(matches!(driver.done, Some(Ok(_))));
    assert_eq!(tokens(&driver), 1, "the third part got a new one");
}

#[test]
fn content_that_cannot_be_read_is_no_fault_of_the_route() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_cdn(), start.now, None);
    let id = driver.open.as_ref().unwrap().0;
    driver.give(Input::Failure(id, Failure::read(FailureKind::Source, "no such file")));
    assert!(driver.is_done());
    assert!(!driver.events().any(|event| matches!(event, Event::RouteFailed { .. })));
}

#[test]
fn a_cancel_keeps_what_it_takes_to_go_on() {
    let start = calm().start();
    let mut driver = Driver::new(start.upload_parts(), start.now, None);
    assert!(driver.answer_well());
    let second = id_of_part(&driver, 2);
    driver.give(Input::Response(second, part_answer(2)));
    driver.give(Input::Cancel);
    let aftermath = Aftermath::NothingSubmitted;
    let error = driver.done.as_ref().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Cancelled { aftermath });
    assert_eq!(have(driver.machine.state().unwrap()), BTreeSet::from([2]));
}

#[test]
fn states_of_other_files_are_refused() {
    let start = calm().start();
    let body = Body::Source { range: 0..UPLOAD_BYTES + 1 };
    let state = stored(Route::Initiate, "[null,null,null]");
    let error = start.try_resume(state.clone(), body).unwrap_err();
    assert!(error.to_string().contains("26"), "{error}");
    let plain =
        state.to_string().replace("https://v3.fal.media/files/a.png?", "http://v3.fal.media/a?");
    let body = Body::Source { range: 0..UPLOAD_BYTES };
    start.try_resume(plain.parse().unwrap(), body.clone()).unwrap_err();
    // The CDN's token does not go wherever a file says.
    let text = stored(Route::Cdn, "[null,null,null]").to_string();
    let text = text.replace("https://v3.fal.media/files/a.png?", "https://evil.test/a?");
    start.try_resume(text.parse().unwrap(), body).unwrap_err();
}

const STARTS: [fn(&Start) -> Upload; 6] = [
    Start::upload_parts,
    Start::upload_cdn_parts,
    Start::upload_gcs_parts,
    Start::upload_one_part,
    Start::upload_cdn,
    Start::upload,
];

/// What was sent and answered, by the current route: nothing twice that had arrived, everything where the
/// plan says, and all of it in the end. `before` had arrived earlier.
fn assert_parts_hold(driver: &Driver<Upload>, before: &BTreeSet<u32>) {
    let mut arrived: BTreeMap<u32, String> =
        before.iter().map(|number| (*number, format!("e{number}"))).collect();
    let mut open: BTreeMap<_, &Request> = BTreeMap::new();
    for (_, entry) in &driver.trace {
        match entry {
            Entry::Out(Output::Event(Event::RouteFailed { .. })) => arrived.clear(),
            Entry::Out(Output::Send { id, request }) => {
                if let Some(number) = part_number(request) {
                    assert!(!arrived.contains_key(&number), "part {number} had arrived");
                    assert_range(number, request);
                }
                if asked(request) == Asked::Complete {
                    assert_complete(request, &arrived);
                }
                open.insert(*id, request);
            }
            Entry::In(Input::Response(id, response)) => {
                let number = open.remove(id).and_then(|request| match asked(request) {
                    Asked::Put => part_number(request),
                    _ => None,
                });
                if let Some(number) = number.filter(|_| response.status().is_success())
                    && let Some(etag) = etag_in(response)
                {
                    arrived.insert(number, etag);
                }
            }
            _ => {}
        }
    }
}

fn assert_range(number: u32, request: &Request) {
    let plans =
        [UPLOAD_PART_BYTES, UPLOAD_BYTES].map(|size| Plan::new(UPLOAD_BYTES, size).unwrap());
    let ranges = plans.map(|plan| plan.range(number));
    let is_one = |found: &Range<u64>| ranges.contains(found);
    match &request.body {
        Body::Empty => assert_eq!(asked(request), Asked::Place),
        Body::Source { range } => assert!(is_one(range), "part {number} is {range:?}"),
        Body::Bytes(bytes) => {
            let all = b"aaaaaaaaaabbbbbbbbbbccccc";
            let fits = |range: &Range<u64>| &all[range.start as usize..range.end as usize] == bytes;
            assert!(ranges.iter().any(fits), "part {number} is {bytes:?}");
        }
    }
}

fn assert_complete(request: &Request, arrived: &BTreeMap<u32, String>) {
    let Body::Bytes(body) = &request.body else { panic!("{request:?}") };
    let body: Value = serde_json::from_slice(body).unwrap();
    let parts = body["parts"].as_array().unwrap();
    let is_old = parts[0].get("part_number").is_some();
    let name = if is_old { "part_number" } else { "partNumber" };
    let listed: Vec<(u32, String)> = parts
        .iter()
        .map(|part| {
            let number = u32::try_from(part[name].as_u64().unwrap()).unwrap();
            let etag = part["etag"].as_str().unwrap().trim_matches('"').to_owned();
            (number, etag)
        })
        .collect();
    let expected: Vec<(u32, String)> = arrived.clone().into_iter().collect();
    assert_eq!(listed, expected, "every part that arrived, in order");
    assert!(matches!(listed.len(), 1 | 3) && listed.last().unwrap().0 as usize == listed.len());
}

/// The store's name for a part in its answer, unquoted.
fn etag_in(response: &crate::wire::Response) -> Option<String> {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let header = response.headers().get(header::ETAG).map(|etag| etag.to_str().unwrap());
    let etag = body["etag"].as_str().or(header)?;
    Some(etag.trim_matches('"').to_owned())
}

/// The parts that arrived by the last route.
fn arrived(driver: &Driver<Upload>) -> BTreeMap<u32, ()> {
    let mut arrived = BTreeMap::new();
    for event in driver.events() {
        match event {
            Event::RouteFailed { .. } => arrived.clear(),
            Event::PartDone { number, .. } => {
                arrived.insert(*number, ());
            }
            _ => {}
        }
    }
    arrived
}

/// The parts that a state says are there.
fn have(state: &UploadState) -> BTreeSet<u32> {
    let json: Value = serde_json::from_str(&state.to_string()).unwrap();
    let etags = json["etags"].as_array().unwrap();
    (1..).zip(etags).filter(|(_, etag)| !etag.is_null()).map(|(number, _)| number).collect()
}

fn part_answer(number: u32) -> crate::wire::Response {
    let body = serde_json::json!({ "partNumber": number, "etag": etag_of(number) }).to_string();
    answer(200, "").map(|_| Bytes::from(body))
}

/// The numbers of the parts that are under way.
fn open_parts(driver: &Driver<Upload>) -> Vec<u32> {
    let open = driver.open.iter().chain(&driver.others);
    let mut numbers: Vec<u32> = open.filter_map(|(_, request)| part_number(request)).collect();
    numbers.sort_unstable();
    numbers
}

#[track_caller]
fn id_of_part(driver: &Driver<Upload>, number: u32) -> crate::wire::ExchangeId {
    let mut open = driver.open.iter().chain(&driver.others);
    open.find(|(_, request)| part_number(request) == Some(number)).expect("it is under way").0
}

#[track_caller]
fn asked_now(driver: &Driver<Upload>) -> Asked {
    asked(&driver.open.as_ref().expect("an open exchange").1)
}

#[track_caller]
fn respond(driver: &mut Driver<Upload>, status: u16) {
    let id = driver.open.as_ref().expect("an open exchange").0;
    let mut response = answer(200, "");
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    driver.give(Input::Response(id, response));
}
