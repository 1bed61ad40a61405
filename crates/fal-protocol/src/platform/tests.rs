use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::EndpointId;
use crate::hosts::Hosts;
use crate::lifecycle::{Acl, Decision};

fn ids(count: usize) -> Vec<EndpointId> {
    (0..count).map(|number| format!("acme/app-{number}").parse().unwrap()).collect()
}

#[track_caller]
fn address(question: &Question) -> String {
    question.uri(&Hosts::fal()).unwrap().to_string()
}

#[test]
fn limits_hold_on_both_sides() {
    let with_ids = |count| ModelsQuery { endpoint_ids: ids(count), ..ModelsQuery::default() };
    Question::models(&with_ids(IDS_MAX)).unwrap();
    Question::models(&with_ids(IDS_MAX + 1)).unwrap_err();
    Question::prices(&ids(IDS_MAX), None).unwrap();
    Question::prices(&ids(IDS_MAX + 1), None).unwrap_err();
    Question::prices(&[], None).unwrap_err();
    let limit = |limit| ModelsQuery { limit: Some(limit), ..ModelsQuery::default() };
    Question::models(&limit(1)).unwrap();
    Question::models(&limit(0)).unwrap_err();
    let history = |limit| RequestsQuery {
        endpoint_ids: ids(1),
        limit: Some(limit),
        ..RequestsQuery::default()
    };
    Question::requests(&history(HISTORY_LIMIT_MAX)).unwrap();
    Question::requests(&history(HISTORY_LIMIT_MAX + 1)).unwrap_err();
    Question::requests(&RequestsQuery::default()).unwrap_err();
    let sign = |secs| Question::sign("https://v3.fal.media/files/a", Duration::from_secs(secs));
    sign(1).unwrap();
    sign(SIGNED_SECS_MAX).unwrap();
    sign(0).unwrap_err();
    sign(SIGNED_SECS_MAX + 1).unwrap_err();
    for bad in [Estimate::Calls(vec![]), Estimate::Calls(vec![(ids(1).remove(0), 0)])] {
        Question::estimate(&bad).unwrap_err();
    }
    for units in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        Question::estimate(&Estimate::Units(vec![(ids(1).remove(0), units)])).unwrap_err();
    }
    for bad in ["", "a/b", "../x", "a?b", &"a".repeat(65)] {
        Question::delete_payloads(bad).unwrap_err();
    }
    for bad in ["", "files/a", "ftp://x/y"] {
        Question::acl(bad).unwrap_err();
    }
    Question::sign("https://v3.fal.media/a?b=c", Duration::from_secs(9)).unwrap_err();
    Question::meta().with_idempotency_key("").unwrap_err();
    Question::meta().with_idempotency_key("a\nb").unwrap_err();
}

#[test]
fn documents_make_pages_small_unless_told_otherwise() {
    let mut query = ModelsQuery { openapi: true, ..ModelsQuery::default() };
    let asked = address(&Question::models(&query).unwrap());
    assert_eq!(asked, "https://api.fal.ai/v1/models?limit=10&expand=openapi-3.0");
    query.limit = Some(3);
    query.enterprise_status = true;
    let asked = address(&Question::models(&query).unwrap());
    assert!(asked.ends_with("?limit=3&expand=openapi-3.0&expand=enterprise_status"), "{asked}");
}

#[test]
fn signed_addresses_stay_hidden() {
    let signed = SignedUrl::parse(br#"{"signed_url":"https://x/a?identity=hidden"}"#).unwrap();
    assert_eq!(signed.reveal(), "https://x/a?identity=hidden");
    let question = Question::acl("https://x/a?identity=hidden").unwrap();
    let errors = [
        SignedUrl::parse(br#"{"signed":"hidden"}"#).unwrap_err(),
        SignedUrl::parse(b"hidden").unwrap_err(),
    ];
    let text = format!("{signed:?} {question:?} {errors:?}");
    assert!(!text.contains("identity=hidden") && !text.contains("\"hidden"), "{text}");
}

#[test]
fn readers_are_read_whole_or_not_at_all() {
    let acl = parse_acl(br#"{"default":"hide","rules":[{"user":"a","decision":"allow"}],"new":1}"#);
    assert_eq!(acl.unwrap(), Acl::new(Decision::Hide).rule("a", Decision::Allow));
    for bad in [
        r#"{}"#,
        r#"{"default":"blur"}"#,
        r#"{"default":"hide","rules":[{"user":"a","decision":"blur"}]}"#,
        r#"{"default":"hide","rules":[{"decision":"allow"}]}"#,
    ] {
        parse_acl(bad.as_bytes()).unwrap_err();
        let settings = format!(r#"{{"initial_acl":{bad}}}"#);
        StorageSettings::parse(settings.as_bytes()).unwrap_err();
    }
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in body()) {
        let body = body.as_bytes();
        if let Ok(page) = ModelsPage::parse(body) {
            for model in page.models {
                if let Some(Ok(document)) = model.openapi {
                    // Whether it is a good one is another matter.
                    let _ = document.schema();
                }
            }
        }
        let _ = (PricesPage::parse(body), RequestsPage::parse(body), Cost::parse(body));
        let _ = (Deleted::parse(body), QueueSize::parse(body), Meta::parse(body), parse_acl(body));
        let _ = (StorageSettings::parse(body), SignedUrl::parse(body));
    }
}

/// Names of the API over values of any type.
fn body() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(&["", "Mg==", "acme/app", "allow", "2026-05-01"][..])
            .prop_map(Value::from),
    ];
    let names = prop::sample::select(
        &[
            "models",
            "endpoint_id",
            "metadata",
            "openapi",
            "error",
            "code",
            "paths",
            "next_cursor",
            "has_more",
            "prices",
            "unit_price",
            "items",
            "request_id",
            "status_code",
            "cdn_delete_results",
            "link",
            "queue_size",
            "webhook_ip_ranges",
            "default",
            "rules",
            "user",
            "decision",
            "initial_acl",
            "signed_url",
            "group",
            "key",
            "tags",
            "enterprise_status",
            "total_cost",
        ][..],
    );
    let json = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6).prop_map(|map| {
                Value::Object(
                    map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                )
            }),
        ]
    });
    prop_oneof![4 => json.prop_map(|json| json.to_string()), 1 => "\\PC{0,20}"]
}
