use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// Signs as the service does.
fn sign(body: &[u8], seconds: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(REQUEST_ID, HeaderValue::from_static("r-1"));
    headers.insert(USER_ID, HeaderValue::from_static("user_1"));
    headers.insert(TIMESTAMP, HeaderValue::from(seconds));
    headers.insert(SIGNATURE, HeaderValue::from_str(&"00".repeat(64)).unwrap());
    let message = SignedHeaders::parse(&headers).unwrap().message(body);
    let signature = key().sign(&message).to_bytes();
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    headers.insert(SIGNATURE, HeaderValue::from_str(&hex).unwrap());
    headers
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn keys() -> KeySet {
    use base64::Engine as _;
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key().verifying_key());
    let text = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
    KeySet::parse(text.as_bytes()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

const NOW: u64 = 1_800_000_000;
const BODY: &[u8] = br#"{"request_id":"r-1","status":"OK","payload":{"a":[1,2]}}"#;

#[test]
fn output_is_a_slice_of_the_body() {
    let body = Bytes::from_static(BODY);
    let verified = verify(&sign(BODY, NOW), &body, &keys(), at(NOW)).unwrap();
    assert_eq!((&*verified.request_id, verified.seconds), ("r-1", NOW));
    let delivery = verified.delivery(&body).unwrap();
    let Ok(Payload::Output(output)) = delivery.outcome else { panic!("{delivery:?}") };
    assert_eq!(output.body, r#"{"a":[1,2]}"#);
    assert!(body.as_ptr_range().contains(&output.body.as_ptr()));
}

#[test]
fn every_header_may_occur_once() {
    for name in [REQUEST_ID, USER_ID, TIMESTAMP, SIGNATURE] {
        let mut headers = sign(BODY, NOW);
        let again = headers[&name].clone();
        headers.append(name.clone(), again);
        let error = verify(&headers, BODY, &keys(), at(NOW)).unwrap_err();
        let WebhookError::HeaderRepeated { name: told } = error else { panic!("{error}") };
        assert_eq!(told, name.as_str());
    }
}

#[test]
fn texts_need_not_be_ascii() {
    let mut headers = sign(BODY, NOW);
    headers.insert(USER_ID, HeaderValue::from_bytes("é".as_bytes()).unwrap());
    assert_eq!(verify(&headers, BODY, &keys(), at(NOW)), Err(WebhookError::Signature));
    headers.insert(USER_ID, HeaderValue::from_bytes(&[0xff]).unwrap());
    let error = verify(&headers, BODY, &keys(), at(NOW)).unwrap_err();
    assert!(matches!(error, WebhookError::HeaderMalformed { .. }), "{error}");
}

#[test]
fn a_clock_before_1970_is_only_early() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
    let error = verify(&sign(BODY, NOW), BODY, &keys(), before).unwrap_err();
    assert_eq!(error, WebhookError::Future { ahead: Duration::from_secs(NOW) });
}

#[test]
fn any_flipped_bit_is_noticed() {
    let headers = sign(BODY, NOW);
    let holds = |headers: &HeaderMap, body: &[u8]| verify(headers, body, &keys(), at(NOW)).is_ok();
    assert!(holds(&headers, BODY));
    for index in 0..BODY.len() {
        let mut body = BODY.to_vec();
        body[index] ^= 1;
        assert!(!holds(&headers, &body), "byte {index} of the body");
    }
    for name in [REQUEST_ID, USER_ID, TIMESTAMP, SIGNATURE] {
        for index in 0..headers[&name].len() {
            let mut value = headers[&name].as_bytes().to_vec();
            value[index] ^= 1;
            let mut headers = headers.clone();
            headers.insert(name.clone(), HeaderValue::from_bytes(&value).unwrap());
            assert!(!holds(&headers, BODY), "byte {index} of {name}");
        }
    }
}

proptest! {
    #[test]
    fn anything_is_judged(
        values in proptest::collection::vec((0..5_usize, proptest::collection::vec(32..=255_u8, 0..140)), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..80),
        now in any::<u32>(),
    ) {
        let names = [REQUEST_ID, USER_ID, TIMESTAMP, SIGNATURE, HeaderName::from_static("other")];
        let mut headers = sign(&body, u64::from(now));
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(&names[name], value);
            }
        }
        let _ = verify(&headers, &body, &keys(), at(u64::from(now)));
        let _ = (KeySet::parse(&body), Delivery::parse(&body.into()));
    }

    #[test]
    fn keys_and_deliveries_are_read_from_any_json(
        text in r#"\{("keys"|"status"|"request_id"|"payload"|"error"):(\[\{"kty":"OKP","crv":"Ed25519","x":"[A-Za-z_=-]{0,50}"\}\]|"[A-Z ]{0,9}[0-9]{0,9}"|null|[0-9]{1,9}),"request_id":"r","status":"(OK|ERROR)"\}"#,
    ) {
        let body = Bytes::from(text);
        let _ = KeySet::parse(&body);
        if let Ok(delivery) = Delivery::parse(&body) {
            prop_assert_eq!(&*delivery.request_id, "r");
        }
    }

    #[test]
    fn whole_seconds_decide_about_the_age(now in NOW - 1000..NOW + 1000, nanos in 0..1_000_000_000_u32) {
        let wall = at(now) + Duration::new(0, nanos);
        let result = verify(&sign(BODY, NOW), BODY, &keys(), wall);
        prop_assert_eq!(result.is_ok(), now.abs_diff(NOW) <= AGE_MAX.as_secs());
    }
}
