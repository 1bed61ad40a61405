//! `realtime` and `token`: what they refuse before anything is sent, and how they fail.

use crate::support::{Said, fal_cli};

#[test]
fn what_cannot_be_sent_is_told_before_anything_is() {
    // Nothing listens here.
    let base = "http://127.0.0.1:9";
    for (args, words) in [
        (&["realtime", "acme/paint", "image_url@a.png"][..], "no files"),
        (&["realtime", "acme/paint", "a=1", "--max-buffering", "61"], "max_buffering"),
        (&["realtime", "nonsense", "a=1"], "endpoint id"),
        (&["token", "nonsense"], "endpoint id"),
        (&["token", "acme/paint", "--duration", "10ms"], "second"),
    ] {
        let said = Said::of(fal_cli(base).args(args)).expect(2);
        assert!(said.stderr.contains(words), "{args:?}: {}", said.stderr);
    }
}

#[test]
fn service_out_of_reach_is_a_network_problem() {
    let base = "http://127.0.0.1:9";
    let said = Said::of(fal_cli(base).args(["realtime", "acme/paint", "a=1"])).expect(6);
    assert!(said.lines().iter().any(|line| line["event"] == "retrying"), "{said:?}");
    assert_eq!(said.last("error")["kind"], "network");
    Said::of(fal_cli(base).args(["token", "acme/paint"])).expect(6);
}

#[test]
fn line_that_is_no_json_is_told() {
    let mut command = fal_cli("http://127.0.0.1:9");
    let said = crate::support::with_stdin(command.args(["realtime", "acme/paint"]), b"\nhello\n");
    let said = said.expect(2);
    assert!(said.stderr.contains("not JSON"), "{}", said.stderr);
}
