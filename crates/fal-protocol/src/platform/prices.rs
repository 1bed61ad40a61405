//! Prices and estimates.

use serde_json::{Map, Value, json};

use super::{json, list, next_cursor, text};
use crate::EndpointId;
use crate::error::{InputError, ProtocolError};

/// What a unit of one endpoint costs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Price {
    /// The endpoint.
    pub endpoint_id: Box<str>,
    /// The price of one unit, 0 or more.
    pub unit_price: f64,
    /// What is counted, such as `images`, `seconds` or `1m tokens`; free text, at times empty (observed).
    pub unit: Box<str>,
    /// Three letters, such as `USD`.
    pub currency: Box<str>,
}

/// Prices. Endpoints without one are left out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PricesPage {
    /// The prices.
    pub prices: Vec<Price>,
    /// Where the next page begins; `None` on the last one.
    pub next_cursor: Option<Box<str>>,
}

impl PricesPage {
    /// Reads a page. Entries without endpoint or price are passed over.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it is no object with a list of prices.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "a page of prices";
        let page = json(EXPECTED, body)?;
        let price = |value: &Value| {
            Some(Price {
                endpoint_id: text(value, "endpoint_id")?,
                unit_price: value.get("unit_price")?.as_f64()?,
                unit: text(value, "unit").unwrap_or_default(),
                currency: text(value, "currency").unwrap_or_default(),
            })
        };
        let prices = list(&page, "prices", EXPECTED, body)?.iter().filter_map(price).collect();
        Ok(Self { prices, next_cursor: next_cursor(&page) })
    }
}

/// What an estimate is made of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Estimate {
    /// So many calls of each endpoint, at what calls have cost this account so far.
    Calls(Vec<(EndpointId, u64)>),
    /// So many units of each endpoint, at its price.
    Units(Vec<(EndpointId, f64)>),
}

impl Estimate {
    pub(super) fn json(&self) -> Result<Value, InputError> {
        let (name, field, endpoints) = match self {
            Self::Calls(endpoints) => {
                let quantity = |(id, calls): &(EndpointId, u64)| (id.to_string(), (*calls).into());
                let quantities: Vec<(String, Value)> = endpoints.iter().map(quantity).collect();
                if endpoints.iter().any(|(_, calls)| *calls == 0) {
                    return Err(InputError::option("calls", "there must be at least one"));
                }
                ("historical_api_price", "call_quantity", quantities)
            }
            Self::Units(endpoints) => {
                if endpoints.iter().any(|(_, units)| !units.is_finite() || *units < UNITS_MIN) {
                    let problem = format_args!("it must be {UNITS_MIN} or more");
                    return Err(InputError::option("units", problem));
                }
                let quantity = |(id, units): &(EndpointId, f64)| (id.to_string(), json!(units));
                ("unit_price", "unit_quantity", endpoints.iter().map(quantity).collect())
            }
        };
        if endpoints.is_empty() {
            return Err(InputError::option("endpoint ids", "there must be at least one"));
        }
        let endpoints: Map<String, Value> =
            endpoints.into_iter().map(|(id, quantity)| (id, json!({ field: quantity }))).collect();
        Ok(json!({ "estimate_type": name, "endpoints": endpoints }))
    }
}

/// What something would cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// All of it, 0 or more.
    pub total_cost: f64,
    /// Three letters, such as `USD`.
    pub currency: Box<str>,
}

impl Cost {
    /// Reads an estimate.
    ///
    /// # Errors
    /// [`ProtocolError::Body`] when it has no cost.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        const EXPECTED: &str = "an estimate";
        let value = json(EXPECTED, body)?;
        let total_cost = value.get("total_cost").and_then(Value::as_f64);
        let total_cost = total_cost
            .ok_or_else(|| ProtocolError::body(EXPECTED, "there is no total_cost", body))?;
        Ok(Self { total_cost, currency: text(&value, "currency").unwrap_or_default() })
    }
}

/// Fewest units that can be estimated (documented).
const UNITS_MIN: f64 = 0.000_001;
