use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::Failure;

fn response(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response {
    let mut builder = http::Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Bytes::from_static(body.as_bytes())).unwrap()
}

const NO: Verdict = Verdict::Final;
const YES: Verdict = Verdict::Retry { after: None };
const PAGE: &str = "<html><body>nginx</body></html>";

#[test]
fn table_of_answers() {
    use Purpose::{Cancel, Platform, Put, Result, Run, Status, Submit};
    let id = ("x-fal-request-id", "r");
    let typed = r#"{"detail":"x","error_type":"runner_disconnected"}"#;
    for (purpose, status, headers, body, verdict) in [
        (Submit, 429, vec![], r#"{"detail":"full"}"#, YES),
        (Run, 429, vec![id], "", YES),
        (Submit, 503, vec![], PAGE, Verdict::Unknown),
        (Run, 502, vec![], "", Verdict::Unknown),
        (Submit, 503, vec![id], "", NO),
        (Submit, 503, vec![id, ("x-fal-needs-retry", "1")], "", YES),
        (Run, 500, vec![("x-fal-retryable", "true")], "", YES),
        (Run, 429, vec![("x-fal-needs-retry", "0")], "", NO),
        (Submit, 503, vec![], typed, NO),
        (Submit, 500, vec![], "", NO),
        (Submit, 409, vec![], "", NO),
        (Status, 500, vec![id], "", YES),
        (Status, 503, vec![id], typed, YES),
        (Status, 502, vec![], PAGE, YES),
        (Status, 404, vec![], r#"{"status":"NOT_FOUND"}"#, NO),
        (Status, 401, vec![], r#"{"detail":"no"}"#, NO),
        (Status, 504, vec![("x-fal-request-timeout-type", "user")], "", NO),
        (Status, 504, vec![("x-fal-request-timeout-type", "other")], "", YES),
        (Run, 504, vec![("x-fal-request-timeout-type", "other")], "", NO),
        (Cancel, 503, vec![], PAGE, YES),
        (Cancel, 400, vec![], r#"{"status":"ALREADY_COMPLETED"}"#, NO),
        (Put, 500, vec![], "", YES),
        (Put, 403, vec![], "", NO),
        (Platform, 429, vec![], r#"{"error":{"type":"rate_limited","message":"m"}}"#, YES),
        (Platform, 500, vec![], r#"{"error":{"type":"server_error","message":"m"}}"#, YES),
        (Platform, 500, vec![], r#"{"error":{"type":"not_implemented","message":"m"}}"#, NO),
        (Platform, 502, vec![], PAGE, YES),
        (Platform, 400, vec![], r#"{"error":{"type":"validation_error","message":"m"}}"#, NO),
        (Platform, 404, vec![], r#"{"error":{"type":"not_found","message":"m"}}"#, NO),
        (Run, 500, vec![], r#"{"error":{"type":"server_error","message":"m"}}"#, NO),
        (Result, 503, vec![], PAGE, YES),
        (Result, 503, vec![id], typed, NO),
        (Result, 503, vec![id, ("x-fal-needs-retry", "1")], "", NO),
        (Result, 429, vec![id], r#"{"detail":"stored"}"#, NO),
        (Result, 502, vec![], typed, NO),
        (Result, 500, vec![], PAGE, NO),
    ] {
        let judged =
            RetryPolicy::default().judge_response(purpose, &response(status, &headers, body));
        assert_eq!(judged, verdict, "{purpose:?} {status} {headers:?} {body}");
    }
}

#[test]
fn table_of_failures() {
    let policy = RetryPolicy::default();
    let refused = Failure::connect(FailureKind::Refused, "refused");
    let tls = Failure::connect(FailureKind::Tls, "not trusted");
    let closed = Failure::read(FailureKind::Closed, "closed");
    let large = Failure::read(FailureKind::TooLarge, "large");
    assert_eq!(policy.judge_failure(Purpose::Submit, &refused), YES);
    assert_eq!(policy.judge_failure(Purpose::Status, &tls), NO);
    assert_eq!(policy.judge_failure(Purpose::Submit, &closed), Verdict::Unknown);
    assert_eq!(policy.judge_failure(Purpose::Status, &closed), YES);
    assert_eq!(policy.judge_failure(Purpose::Status, &large), NO);
    let bold = policy.with_repeat_unknown_submits(true);
    assert_eq!(bold.judge_failure(Purpose::Submit, &closed), YES);
}

#[test]
fn opt_in_and_rules_of_the_user_win() {
    let ingress = response(502, &[], PAGE);
    let bold = RetryPolicy::default().with_repeat_ingress_submits(true);
    assert_eq!(bold.judge_response(Purpose::Submit, &ingress), YES);
    let never = RetryPolicy::default().with_status_rule(StatusCode::TOO_MANY_REQUESTS, false);
    let word = response(429, &[("x-fal-needs-retry", "1")], "");
    assert_eq!(never.judge_response(Purpose::Run, &word), NO);
}

#[test]
fn retry_after_is_read_and_cut() {
    let policy = RetryPolicy::default();
    for (header, value, after) in [
        ("retry-after", "2", Some(2)),
        ("retry-after", "86400", Some(300)),
        ("x-ratelimit-reset", "7", Some(7)),
        ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("retry-after", "-1", None),
        ("retry-after", "NaN", None),
    ] {
        let judged = policy.judge_response(Purpose::Status, &response(429, &[(header, value)], ""));
        assert_eq!(judged, Verdict::Retry { after: after.map(Duration::from_secs) }, "{value}");
    }
}

#[test]
fn budget_runs_dry_and_refills() {
    let budget = RetryBudget::new(12);
    let shared = budget.clone();
    assert!(budget.withdraw() && shared.withdraw());
    assert!(!budget.withdraw(), "2 tokens are left");
    (0..3).for_each(|_| budget.deposit());
    assert!(shared.withdraw());
    (0..100).for_each(|_| budget.deposit());
    assert_eq!(budget.tokens(), 12, "never above its capacity");
}

proptest! {
    #[test]
    fn backoff_stays_in_bounds(attempt in 0_u32..10_000, seed: u64) {
        let policy = RetryPolicy::default();
        let rest = policy.backoff(attempt, &mut SplitMix64::new(seed));
        prop_assert!(rest <= policy.backoff_max);
        prop_assert!(rest >= policy.backoff_base.mul_f64(0.75).min(policy.backoff_max));
    }
}
