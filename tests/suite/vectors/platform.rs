use std::time::Duration;

use fal_conformance::vectors::Vector;
use fal_protocol::lifecycle::{Acl, Decision};
use fal_protocol::platform::{
    Cost, Deleted, Estimate, Meta, Model, ModelsPage, ModelsQuery, PricesPage, Question, QueueSize,
    RequestRecord, RequestsPage, RequestsQuery, SignedUrl, SortBy, StorageSettings, parse_acl,
};
use fal_protocol::{EndpointId, Hosts, ProtocolError};
use serde_json::{Value, json};

use super::{bytes_of, expect};

/// What is `given` to ask makes the expected request, or the body given says what is expected.
pub(super) fn run(vector: &Vector) -> Result<(), String> {
    let (given, expected) = (vector.part("given"), vector.part("expect"));
    match given.get("ask") {
        Some(ask) => compare_request(ask, expected),
        None => compare_answer(given, expected),
    }
}

fn compare_request(ask: &Value, expected: &Value) -> Result<(), String> {
    let question = match question(ask)? {
        Ok(_) if expected["refused"] == true => return Err("it was taken".into()),
        Ok(question) => question,
        Err(_) if expected["refused"] == true => return Ok(()),
        Err(error) => return Err(format!("it was refused: {error}")),
    };
    let uri = question.uri(&Hosts::fal()).map_err(|error| error.to_string())?;
    if uri.host() != Some("api.fal.ai") {
        return Err(format!("it goes to {uri}"));
    }
    let query: Vec<Value> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| json!([name, decode(value)]))
        .collect();
    let found = json!({
        "method": question.method().as_str(),
        "path": uri.path(),
        "query": query,
        "body": question.body(),
    });
    expect(expected, "request", found)
}

type Asked = Result<Question, fal_protocol::InputError>;

/// The outer error is of the vector, the inner one is what it may be about.
fn question(ask: &Value) -> Result<Asked, String> {
    let text = |name: &str| ask[name].as_str().map(str::to_owned);
    let url = ask["url"].as_str().unwrap_or_default();
    let ids = ask["endpoint_ids"].as_array().into_iter().flatten();
    let ids = ids.map(|id| EndpointId::parse(id.as_str().unwrap_or_default()));
    let ids: Vec<_> = ids.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let limit = ask["limit"].as_u64().and_then(|limit| u32::try_from(limit).ok());
    let flag = |name: &str| ask[name].as_bool().unwrap_or(false);
    Ok(match ask["what"].as_str().expect("the schema requires it") {
        "models" => {
            let mut query = ModelsQuery::default();
            query.text = text("text");
            query.category = text("category");
            query.status = text("status");
            query.endpoint_ids = ids;
            query.limit = limit;
            query.cursor = text("cursor").map(Into::into);
            query.openapi = flag("openapi");
            query.enterprise_status = flag("enterprise_status");
            Question::models(&query)
        }
        "prices" => Question::prices(&ids, ask["cursor"].as_str()),
        "estimate" => Question::estimate(&estimate(ask)?),
        "queue_size" => {
            let app = EndpointId::parse(ask["app"].as_str().unwrap_or_default());
            app.map(|app| Question::queue_size(&app))
        }
        "requests" => {
            let mut query = RequestsQuery::default();
            query.endpoint_ids = ids;
            query.start = text("start");
            query.end = text("end");
            query.status = text("status");
            query.request_id = text("request_id");
            query.payloads = flag("payloads");
            query.sort_by = match ask["sort_by"].as_str() {
                Some("duration") => Some(SortBy::Duration),
                Some(_) => Some(SortBy::EndedAt),
                None => None,
            };
            query.limit = limit;
            Question::requests(&query)
        }
        "delete_payloads" => Question::delete_payloads(&text("request_id").unwrap_or_default()),
        "acl" => Question::acl(url),
        "set_acl" => Question::set_acl(url, &acl(&ask["acl"])?),
        "sign" => {
            let seconds = ask["seconds"].as_u64().unwrap_or_default();
            Question::sign(url, Duration::from_secs(seconds))
        }
        "storage_settings" => Ok(Question::storage_settings()),
        "set_storage_settings" => {
            let given = &ask["settings"];
            let mut settings = StorageSettings::default();
            settings.expiration_secs = given["expiration_duration_seconds"].as_u64();
            settings.initial_acl = match &given["initial_acl"] {
                Value::Null => None,
                given => Some(acl(given)?),
            };
            Question::set_storage_settings(&settings)
        }
        "meta" => Ok(Question::meta()),
        other => return Err(format!("there is no question {other:?}")),
    })
}

fn estimate(ask: &Value) -> Result<Estimate, String> {
    let parse = |id: &str| EndpointId::parse(id).map_err(|error| error.to_string());
    let of = |name: &str| ask[name].as_object().into_iter().flatten();
    if ask.get("units").is_some() {
        let units = of("units")
            .map(|(id, units)| Ok((parse(id)?, units.as_f64().expect("the schema requires it"))));
        return Ok(Estimate::Units(units.collect::<Result<_, String>>()?));
    }
    let calls = of("calls")
        .map(|(id, calls)| Ok((parse(id)?, calls.as_u64().expect("the schema requires it"))));
    Ok(Estimate::Calls(calls.collect::<Result<_, String>>()?))
}

fn acl(given: &Value) -> Result<Acl, String> {
    let decision = |value: &Value| {
        let word = value.as_str().unwrap_or_default().parse::<Decision>();
        word.map_err(|error| error.to_string())
    };
    let mut acl = Acl::new(decision(&given["default"])?);
    for rule in given["rules"].as_array().into_iter().flatten() {
        let user = rule["user"].as_str().unwrap_or_default();
        acl = acl.rule(user, decision(&rule["decision"])?);
    }
    Ok(acl)
}

fn compare_answer(given: &Value, expected: &Value) -> Result<(), String> {
    let body = bytes_of(&given["body"]);
    let found = match read(given["answer_to"].as_str().expect("the schema requires it"), &body) {
        Ok(_) if expected["malformed"] == true => return Err("it was taken".into()),
        Ok(found) => found,
        Err(_) if expected["malformed"] == true => return Ok(()),
        Err(error) => return Err(format!("it was refused: {error}")),
    };
    for (name, wanted) in expected.as_object().into_iter().flatten() {
        // Lists of objects are compared member by member: a vector names those that matter to it.
        let is_list = matches!(name.as_str(), "models" | "requests");
        match (is_list, wanted.as_array(), found[name].as_array()) {
            (true, Some(wanted), Some(found)) if wanted.len() == found.len() => {
                for (wanted, found) in wanted.iter().zip(found) {
                    for (member, _) in wanted.as_object().into_iter().flatten() {
                        expect(wanted, member, found[member].clone())?;
                    }
                }
            }
            _ => expect(expected, name, found[name].clone())?,
        }
    }
    Ok(())
}

fn read(what: &str, body: &[u8]) -> Result<Value, ProtocolError> {
    Ok(match what {
        "models" => {
            let page = ModelsPage::parse(body)?;
            let models: Vec<Value> = page.models.iter().map(describe_model).collect();
            json!({ "models": models, "next_cursor": page.next_cursor })
        }
        "prices" => {
            let page = PricesPage::parse(body)?;
            let prices = page.prices.iter();
            let prices = prices.map(|p| json!([p.endpoint_id, p.unit_price, p.unit, p.currency]));
            json!({ "prices": prices.collect::<Vec<_>>(), "next_cursor": page.next_cursor })
        }
        "estimate" => {
            let cost = Cost::parse(body)?;
            json!({ "total_cost": cost.total_cost, "currency": cost.currency })
        }
        "queue_size" => json!({ "queue_size": QueueSize::parse(body)?.queue_size }),
        "requests" => {
            let page = RequestsPage::parse(body)?;
            let requests: Vec<Value> = page.requests.iter().map(describe_request).collect();
            json!({ "requests": requests, "next_cursor": page.next_cursor })
        }
        "delete_payloads" => {
            let files = Deleted::parse(body)?.files;
            let files: Vec<Value> =
                files.iter().map(|file| json!([file.url, file.problem])).collect();
            json!({ "deleted": files })
        }
        "acl" | "set_acl" => json!({ "acl": describe_acl(&parse_acl(body)?) }),
        "sign" => json!({ "signed_url": SignedUrl::parse(body)?.reveal() }),
        "storage_settings" | "set_storage_settings" => {
            let settings = StorageSettings::parse(body)?;
            json!({ "settings": {
                "expiration_duration_seconds": settings.expiration_secs,
                "initial_acl": settings.initial_acl.as_ref().map(describe_acl),
            } })
        }
        "meta" => json!({ "webhook_ip_ranges": Meta::parse(body)?.webhook_ip_ranges }),
        other => panic!("the schema allows no answer to {other:?}"),
    })
}

fn describe_model(model: &Model) -> Value {
    let metadata = model.metadata.clone().unwrap_or_default();
    let (document, document_error) = match &model.openapi {
        Some(Ok(_)) => (true, None),
        Some(Err(error)) => (false, Some(&error.code)),
        None => (false, None),
    };
    let enterprise_status =
        model.enterprise_status.as_ref().and_then(|status| status.as_ref().ok());
    json!({
        "endpoint_id": model.endpoint_id,
        "known": model.metadata.is_some(),
        "document": document,
        "document_error": document_error,
        "enterprise_status": enterprise_status,
        "display_name": metadata.display_name,
        "category": metadata.category,
        "status": metadata.status,
        "tags": metadata.tags,
        "is_favorited": metadata.is_favorited,
        "kind": metadata.kind,
        "group": metadata.group.map(|group| group.key),
        "duration_estimate": metadata.duration_estimate,
    })
}

fn describe_request(request: &RequestRecord) -> Value {
    json!({
        "request_id": request.request_id,
        "endpoint_id": request.endpoint_id,
        "ended_at": request.ended_at,
        "status_code": request.status_code,
        "duration": request.duration,
        "input": request.input,
        "output": request.output,
    })
}

fn describe_acl(acl: &Acl) -> Value {
    let rules = acl.rules.iter();
    let rules = rules.map(|rule| json!({ "user": rule.user, "decision": rule.decision.as_str() }));
    json!({ "default": acl.default.as_str(), "rules": rules.collect::<Vec<_>>() })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let pair = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                let pair = std::str::from_utf8(&pair).expect("two digits");
                u8::from_str_radix(pair, 16).expect("two digits")
            }
            other => other,
        });
    }
    String::from_utf8(bytes).expect("text was encoded")
}
