//! Prices and estimates, from the table of the catalog.

use serde_json::{Map, Value};

use super::super::Model;
use super::super::catalog::{CURRENCY, Catalog, Price};
use super::super::exchange::Request;
use super::{Refusal, endpoint_ids};
use crate::render;

impl Model {
    /// The prices of some endpoints. Those that are not known are left out.
    pub(super) fn list_prices(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let ids = endpoint_ids(request)?;
        if ids.is_empty() {
            return Err(Refusal::invalid("endpoint_id: at least one value is required"));
        }
        let mut out = b"{\"prices\":[".to_vec();
        let start = out.len();
        for (id, price) in ids.iter().filter_map(|id| Some((id, self.config.catalog.price(id)?))) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"endpoint_id\":");
            render::push_string(&mut out, id);
            out.extend_from_slice(b",\"unit_price\":");
            push_float(&mut out, price.unit_price);
            out.extend_from_slice(b",\"unit\":");
            render::push_string(&mut out, &price.unit);
            out.extend_from_slice(b",\"currency\":");
            render::push_string(&mut out, &price.currency);
            out.push(b'}');
        }
        if out.len() == start {
            return Err(Refusal::not_found("No pricing is known for these endpoints"));
        }
        out.extend_from_slice(b"],\"next_cursor\":null,\"has_more\":false}");
        Ok(out)
    }

    /// What a number of calls, or of units, would cost. A call counts as one unit, because there is no
    /// history of calls to take an average of.
    pub(super) fn estimate(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let body: Value = serde_json::from_slice(&request.body)
            .map_err(|error| Refusal::invalid(format!("The body is not JSON: {error}")))?;
        let kind = body.get("estimate_type").and_then(Value::as_str).unwrap_or_default();
        let (kind, member, min) = match kind {
            "historical_api_price" => ("historical_api_price", "call_quantity", CALLS_MIN),
            "unit_price" => ("unit_price", "unit_quantity", UNITS_MIN),
            _ => {
                let message = "estimate_type: must be 'historical_api_price' or 'unit_price'";
                return Err(Refusal::invalid(message));
            }
        };
        let endpoints = body.get("endpoints").and_then(Value::as_object);
        let endpoints = endpoints
            .filter(|endpoints| !endpoints.is_empty())
            .ok_or_else(|| Refusal::invalid("endpoints: must name at least one endpoint"))?;
        let (total, currency) = total(&self.config.catalog, endpoints, member, min)?;
        let mut out = b"{\"estimate_type\":".to_vec();
        render::push_string(&mut out, kind);
        out.extend_from_slice(b",\"total_cost\":");
        push_float(&mut out, total);
        out.extend_from_slice(b",\"currency\":");
        render::push_string(&mut out, &currency);
        out.push(b'}');
        Ok(out)
    }
}

/// The sum over all endpoints, in the currency of the first.
fn total(
    catalog: &Catalog,
    endpoints: &Map<String, Value>,
    member: &str,
    min: f64,
) -> Result<(f64, Box<str>), Refusal> {
    let (mut total, mut currency) = (0.0, None);
    for (id, wanted) in endpoints {
        let is_whole = member == "call_quantity";
        let quantity = wanted
            .get(member)
            .and_then(Value::as_f64)
            .filter(|quantity| *quantity >= min && (!is_whole || quantity.fract() == 0.0))
            .ok_or_else(|| {
                Refusal::invalid(format!("endpoints.{id}.{member}: must be {min} or more"))
            })?;
        let Price { unit_price, currency: of_this, .. } = catalog
            .price(id)
            .ok_or_else(|| Refusal::not_found(format!("No pricing is known for {id}")))?;
        total += unit_price * quantity;
        currency.get_or_insert(of_this);
    }
    // Sums of decimal fractions have a tail that no bill shows.
    let total = (total * ROUNDING).round() / ROUNDING;
    Ok((total, currency.unwrap_or_else(|| CURRENCY.into())))
}

fn push_float(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(Value::from(number).to_string().as_bytes());
}

/// Fewest calls of an estimate.
///
/// Source: the platform's own OpenAPI document, as for [`UNITS_MIN`] (documented).
const CALLS_MIN: f64 = 1.0;

/// Fewest units of an estimate.
const UNITS_MIN: f64 = 0.000_001;

/// Estimates are rounded to a billionth.
const ROUNDING: f64 = 1e9;
