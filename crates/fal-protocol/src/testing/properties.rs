use proptest::prelude::*;

use super::driver::{Driver, Entry, Input, Machine};
use super::machines::Start;
use super::script::{Knobs, Step, knobs, play, steps};
use crate::machine::Output;

/// How a script goes on when its steps are used up.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Silence,
    Well,
}

/// Plays a script twice and holds the machine to the whole contract.
fn check<M: Machine>(begin: fn(&Start) -> M, knobs: &Knobs, steps: &[Step], ending: Ending) {
    let (first, second) = (run(begin, knobs, steps, ending), run(begin, knobs, steps, ending));
    assert!(first.outputs().eq(second.outputs()), "the same inputs led to other outputs");
}

pub(super) fn run_to_end<M: Machine>(
    begin: fn(&Start) -> M,
    knobs: &Knobs,
    steps: &[Step],
) -> Driver<M> {
    run(begin, knobs, steps, Ending::Silence)
}

fn run<M: Machine>(
    begin: fn(&Start) -> M,
    knobs: &Knobs,
    steps: &[Step],
    ending: Ending,
) -> Driver<M> {
    let start = knobs.start();
    let mut driver = Driver::new(begin(&start), start.now, start.deadline);
    play(&mut driver, steps);
    let was_done = driver.is_done();
    let resumed = driver.now;
    match ending {
        Ending::Silence => {
            driver.drive_in_silence();
            if let Some(deadline) = driver.deadline.filter(|_| !was_done) {
                let limit = deadline.max(resumed) + start.settings.cancel_timeout;
                assert!(driver.now <= limit, "it ended {:?} late", driver.now - limit);
            }
        }
        Ending::Well => driver.drive_well(),
    }
    let is_free = knobs.deadline_ms.is_none() && !steps.iter().any(|s| matches!(s, Step::Cancel));
    let is_lost = has_failed_job(&driver) || has_refused_stream(&driver);
    if is_free && !was_done && matches!(ending, Ending::Well) && !is_lost {
        assert!(matches!(driver.done, Some(Ok(_))), "it ended as {:?}", driver.done);
    }
    driver
}

/// Whether a status said that the job failed: then the best of ends is its error.
fn has_failed_job<M: Machine>(driver: &Driver<M>) -> bool {
    driver.outputs().any(|output| match output {
        Output::Event(event) => format!("{event:?}").contains("failure: Some"),
        _ => false,
    })
}

/// Whether a streamed answer began as a refusal: then what follows is no more than its body.
fn has_refused_stream<M: Machine>(driver: &Driver<M>) -> bool {
    driver.trace.iter().any(|(_, entry)| match entry {
        Entry::In(Input::Head(_, head)) => !head.status().is_success(),
        _ => false,
    })
}

macro_rules! contract {
    ($($test:ident: $machine:ident),*) => {
        proptest! {
            $(
                #[test]
                fn $test(
                    knobs in knobs(),
                    steps in steps(),
                    ending in prop_oneof![Just(Ending::Silence), Just(Ending::Well)],
                ) {
                    check(Start::$machine, &knobs, &steps, ending);
                }
            )*
        }
    };
}

contract!(
    ask_keeps_the_contract: ask,
    run_keeps_the_contract: run,
    stream_keeps_the_contract: stream,
    submit_keeps_the_contract: submit,
    watch_keeps_the_contract: watch,
    fetch_keeps_the_contract: fetch,
    cancel_keeps_the_contract: cancel,
    check_keeps_the_contract: check,
    subscribe_keeps_the_contract: subscribe,
    attach_keeps_the_contract: attach,
    upload_keeps_the_contract: upload,
    mint_keeps_the_contract: mint,
    upload_in_parts_keeps_the_contract: upload_parts,
    upload_by_the_cdn_keeps_the_contract: upload_cdn,
    upload_in_parts_by_the_cdn_keeps_the_contract: upload_cdn_parts,
    upload_by_the_older_store_keeps_the_contract: upload_gcs_parts,
    resumed_upload_keeps_the_contract: upload_resumed
);
