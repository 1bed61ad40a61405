//! What endpoints cost: as a table says, else as is usual for their category.

use std::fmt;

use serde_json::Value;

use super::Catalog;

/// The price of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Price {
    pub(crate) unit_price: f64,
    pub(crate) unit: Box<str>,
    pub(crate) currency: Box<str>,
}

impl Price {
    /// For an endpoint that no table names. The units are the commonest of the service's, the prices
    /// round figures of ours.
    pub(crate) fn usual(category: &str) -> Self {
        let (unit_price, unit) = match category {
            "text-to-image" | "image-to-image" => (0.025, "images"),
            "training" => (0.005, "steps"),
            "llm" | "vision" | "text-to-text" => (0.5, "1m tokens"),
            "text-to-speech" => (0.05, "1000 characters"),
            _ if category.ends_with("-to-video") => (0.1, "seconds"),
            _ if category.ends_with("-to-audio") => (0.02, "seconds"),
            _ if category.ends_with("-to-3d") => (0.1, "generations"),
            _ => (0.01, "requests"),
        };
        Self { unit_price, unit: unit.into(), currency: CURRENCY.into() }
    }
}

/// Why a table of prices cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PricesError {
    /// The bytes are not JSON.
    NotJson(Box<str>),
    /// There is no list under `prices`.
    NoList,
    /// The entry of this index lacks a member, or a member has the wrong form.
    BadEntry(usize),
}

impl fmt::Display for PricesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(problem) => write!(f, "the table of prices is not JSON: {problem}"),
            Self::NoList => f.write_str("the table of prices has no list `prices`"),
            Self::BadEntry(index) => write!(
                f,
                "entry {index} of the prices needs `endpoint_id`, `unit_price` of 0 or more, `unit`, \
                 and may have a `currency` of three letters"
            ),
        }
    }
}

impl std::error::Error for PricesError {}

impl Catalog {
    /// Adds a table of prices in the form of `GET /v1/models/pricing`: `{"prices": [{"endpoint_id",
    /// "unit_price", "unit", "currency"}]}`, the currency being `USD` if absent. Returns how many it has.
    ///
    /// # Errors
    /// If the bytes are no such table; then nothing is added.
    pub fn add_prices(&mut self, table: &[u8]) -> Result<usize, PricesError> {
        let table: Value = serde_json::from_slice(table)
            .map_err(|error| PricesError::NotJson(error.to_string().into()))?;
        let list = table.get("prices").and_then(Value::as_array).ok_or(PricesError::NoList)?;
        let mut prices = Vec::with_capacity(list.len());
        for (index, entry) in list.iter().enumerate() {
            prices.push(read(entry).ok_or(PricesError::BadEntry(index))?);
        }
        let count = prices.len();
        self.prices.extend(prices);
        Ok(count)
    }
}

fn read(entry: &Value) -> Option<(Box<str>, Price)> {
    let unit_price = entry.get("unit_price")?.as_f64().filter(|price| *price >= 0.0)?;
    let currency = match entry.get("currency") {
        Some(currency) => currency.as_str().filter(|name| name.len() == 3)?,
        None => CURRENCY,
    };
    let price =
        Price { unit_price, unit: entry.get("unit")?.as_str()?.into(), currency: currency.into() };
    Some((entry.get("endpoint_id")?.as_str()?.into(), price))
}

/// The currency where none is said.
pub(crate) const CURRENCY: &str = "USD";
