//! What a recording may cost, by count and by price.

use std::collections::BTreeMap;
use std::fmt;

use super::RECORD_UNKNOWN_COST;
use crate::model::Catalog;

/// What has been spent, and how much may be.
#[derive(Debug)]
pub(crate) struct Budget {
    calls_max: u64,
    cost_max: Option<f64>,
    calls: u64,
    cost: f64,
    refused: u64,
    /// What one unit of an endpoint costs; `None` where nobody could say.
    prices: BTreeMap<String, Option<f64>>,
}

/// Why a call is not sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    Calls { max: u64 },
    Cost { max: f64, spent: f64, next: f64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls { max } => write!(
                f,
                "fal-mock sent nothing: it has recorded the {max} calls that --record-max-calls allows; start it again with \
                 more if they may cost money"
            ),
            Self::Cost { max, spent, next } => write!(
                f,
                "fal-mock sent nothing: this call may cost {next:.4} USD, {spent:.4} USD are spent, and --record-max-cost \
                 allows {max:.4} USD"
            ),
        }
    }
}

impl Budget {
    /// `prices` counts where a table has been loaded for an endpoint.
    pub(crate) fn new(calls_max: u64, cost_max: Option<f64>, prices: &Catalog) -> Self {
        let prices = prices.listed_prices().map(|(id, price)| {
            let usd = (&*price.currency == "USD").then_some(price.unit_price);
            (id.to_owned(), usd)
        });
        Self { calls_max, cost_max, calls: 0, cost: 0.0, refused: 0, prices: prices.collect() }
    }

    pub(crate) const fn calls(&self) -> u64 {
        self.calls
    }

    pub(crate) const fn cost(&self) -> f64 {
        self.cost
    }

    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn knows(&self, endpoint: &str) -> bool {
        self.prices.contains_key(endpoint)
    }

    pub(crate) fn priced(&mut self, endpoint: &str, usd: Option<f64>) {
        if self.prices.len() < PRICES_MAX {
            let usd = usd.filter(|usd| usd.is_finite() && *usd >= 0.0);
            self.prices.insert(endpoint.to_owned(), usd);
        }
    }

    /// Counts a call, if it fits.
    pub(crate) fn admit(&mut self, endpoint: &str) -> Result<(), Refusal> {
        let next = self.unit(endpoint);
        let refusal = match self.cost_max {
            _ if self.calls >= self.calls_max => Some(Refusal::Calls { max: self.calls_max }),
            // Sums of prices are not exact.
            Some(max) if self.cost + next > max + 1e-9 => {
                Some(Refusal::Cost { max, spent: self.cost, next })
            }
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.refused += 1;
            return Err(refusal);
        }
        self.calls += 1;
        self.cost += next;
        Ok(())
    }

    /// Nothing of a call was sent.
    pub(crate) fn unsent(&mut self, endpoint: &str) {
        self.calls = self.calls.saturating_sub(1);
        self.cost = (self.cost - self.unit(endpoint)).max(0.0);
    }

    /// A call that was counted with one unit has come to so many.
    pub(crate) fn billed(&mut self, endpoint: &str, units: f64) {
        if units.is_finite() && units >= 0.0 {
            self.cost = (self.cost + (units - 1.0) * self.unit(endpoint)).max(0.0);
        }
    }

    fn unit(&self, endpoint: &str) -> f64 {
        match self.cost_max {
            None => 0.0,
            Some(_) => self.prices.get(endpoint).copied().flatten().unwrap_or(RECORD_UNKNOWN_COST),
        }
    }
}

/// Prices that are remembered.
const PRICES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(calls: u64, cost: Option<f64>) -> Budget {
        let mut catalog = Catalog::empty();
        let table = r#"{"prices":[{"endpoint_id":"a/b","unit_price":0.1,"unit":"images"},
            {"endpoint_id":"a/euro","unit_price":0.1,"unit":"images","currency":"EUR"}]}"#;
        catalog.add_prices(table.as_bytes()).unwrap();
        Budget::new(calls, cost, &catalog)
    }

    #[test]
    fn calls_are_counted() {
        let mut budget = budget(2, None);
        assert_eq!(budget.admit("a/b"), Ok(()));
        assert_eq!(budget.admit("a/b"), Ok(()));
        assert_eq!(budget.admit("a/b"), Err(Refusal::Calls { max: 2 }));
        budget.unsent("a/b");
        assert_eq!(budget.admit("a/b"), Ok(()));
        assert_eq!((budget.calls(), budget.refused(), budget.cost()), (2, 1, 0.0));
    }

    #[test]
    fn prices_are_counted() {
        let mut budget = budget(100, Some(0.5));
        assert!(budget.knows("a/b") && !budget.knows("a/c"));
        for _ in 0..3 {
            assert_eq!(budget.admit("a/b"), Ok(()));
        }
        // It made three pictures.
        budget.billed("a/b", 3.0);
        let text = budget.admit("a/b").unwrap_err().to_string();
        assert!(text.contains("0.1000 USD") && text.contains("0.5000 USD"), "{text}");
        budget.billed("a/b", 0.0);
        assert_eq!(budget.admit("a/b"), Ok(()));
        // Nobody knows what a euro is worth, nor what an unknown endpoint costs.
        for endpoint in ["a/euro", "a/c"] {
            assert!(matches!(budget.admit(endpoint), Err(Refusal::Cost { next: 1.0, .. })));
        }
        budget.priced("a/c", Some(0.0));
        assert_eq!(budget.admit("a/c"), Ok(()));
        budget.priced("a/d", Some(f64::NAN));
        assert!(budget.admit("a/d").is_err());
    }
}
