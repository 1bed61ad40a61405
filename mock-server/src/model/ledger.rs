//! What calls would have cost, and which of them were made twice.
//!
//! A twin is a call with the same body to the same endpoint within [`TWIN_TIME`]: at the real service somebody would
//! have paid twice. Only work that ended well is paid for, as the service does it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use fal_protocol::EndpointId;

use super::Model;
use super::id::{IdMap, RequestId, digest};

/// The last calls, and sums over all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    rows: VecDeque<Row>,
    /// The number of the last row; they count up from 1.
    last: u64,
    /// The last row with each body that is still there.
    by_body: IdMap<u128, u64>,
    sums: BTreeMap<Box<str>, Sum>,
}

#[derive(Clone, Debug)]
struct Row {
    at: Instant,
    endpoint: EndpointId,
    way: CallWay,
    request_id: RequestId,
    body: u128,
    twin_of: Option<u64>,
    paid: Paid,
}

/// How a model was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallWay {
    /// Through the queue.
    Submit,
    /// Directly.
    Run,
    /// As a stream.
    Stream,
    /// In a session over WebSocket: one call, however many inputs it has.
    Realtime,
}

/// What came of a call, for its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paid {
    /// It has not ended yet.
    Open,
    /// It failed, or its caller went away: nothing.
    Nothing,
    /// It ended well: so many units of the endpoint's price.
    Units(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    calls: u64,
    twins: u64,
    units: u64,
    twin_units: u64,
}

/// A call in the ledger.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LedgerRow {
    /// Counts up from 1.
    pub number: u64,
    /// When it was made.
    pub at: SystemTime,
    /// The endpoint id, in its slash form.
    pub endpoint: String,
    /// How it was made.
    pub way: CallWay,
    /// Its id.
    pub request_id: RequestId,
    /// The call before it with the same body to the same endpoint, if that was within [`TWIN_TIME`].
    pub twin_of: Option<u64>,
    /// What came of it.
    pub paid: Paid,
    /// What it would have cost by the table of prices, if the endpoint has a price.
    pub cost: Option<f64>,
}

/// All calls of an endpoint.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LedgerSum {
    /// The endpoint id; [`OTHERS`] for all that came after [`ENDPOINTS_MAX`] others.
    pub endpoint: String,
    /// How many there were.
    pub calls: u64,
    /// How many of them were twins of another one.
    pub twins: u64,
    /// Units of those that ended well.
    pub units: u64,
    /// What they would have cost.
    pub cost: Option<f64>,
    /// What the twins among them would have cost.
    pub twin_cost: Option<f64>,
    /// What the price is for, such as `images`.
    pub unit: Option<String>,
    /// Such as `USD`.
    pub currency: Option<String>,
}

impl Ledger {
    /// Writes down a call; returns its number.
    pub(crate) fn called(
        &mut self,
        now: Instant,
        way: CallWay,
        endpoint: &EndpointId,
        request_id: RequestId,
        body: &[u8],
    ) -> u64 {
        let number = self.last + 1;
        let body = digest(0, &[endpoint.as_str().as_bytes(), body]);
        let before = self.by_body.insert(body, number);
        let is_close = |row: &Row| now.saturating_duration_since(row.at) <= TWIN_TIME;
        let twin_of = before.filter(|number| self.row(*number).is_some_and(is_close));
        self.add(Row {
            at: now,
            endpoint: endpoint.clone(),
            way,
            request_id,
            body,
            twin_of,
            paid: Paid::Open,
        })
    }

    /// Writes down what begins without a body and so is nobody's twin; returns its number.
    pub(crate) fn opened(
        &mut self,
        now: Instant,
        way: CallWay,
        endpoint: &EndpointId,
        request_id: RequestId,
    ) -> u64 {
        self.add(Row {
            at: now,
            endpoint: endpoint.clone(),
            way,
            request_id,
            body: 0,
            twin_of: None,
            paid: Paid::Open,
        })
    }

    fn add(&mut self, row: Row) -> u64 {
        let number = self.last + 1;
        let endpoint = row.endpoint.clone();
        let twin_of = row.twin_of;
        let sum = self.sum(endpoint.as_str());
        sum.calls += 1;
        sum.twins += u64::from(twin_of.is_some());
        self.rows.push_back(row);
        self.last = number;
        if self.rows.len() > ROWS_MAX
            && let Some(oldest) = self.rows.pop_front()
        {
            let number = self.last - self.rows.len() as u64;
            if self.by_body.get(&oldest.body) == Some(&number) {
                self.by_body.remove(&oldest.body);
            }
        }
        number
    }

    /// A call has ended: well, for so many units, or not.
    pub(crate) fn ended(&mut self, number: u64, endpoint: &EndpointId, units: Option<u64>) {
        let position = self.position(number);
        let row = position.and_then(|at| self.rows.get_mut(at));
        // Ended before; what is put back into the queue ends once.
        if row.as_ref().is_some_and(|row| row.paid != Paid::Open) {
            return;
        }
        let is_twin = row.as_ref().is_some_and(|row| row.twin_of.is_some());
        if let Some(row) = row {
            row.paid = units.map_or(Paid::Nothing, Paid::Units);
        }
        let sum = self.sum(endpoint.as_str());
        sum.units += units.unwrap_or(0);
        if is_twin {
            sum.twin_units += units.unwrap_or(0);
        }
    }

    fn row(&self, number: u64) -> Option<&Row> {
        self.rows.get(self.position(number)?)
    }

    fn position(&self, number: u64) -> Option<usize> {
        let first = self.last + 1 - self.rows.len() as u64;
        usize::try_from(number.checked_sub(first)?).ok()
    }

    fn sum(&mut self, endpoint: &str) -> &mut Sum {
        if !self.sums.contains_key(endpoint) {
            let name = if self.sums.len() < ENDPOINTS_MAX { endpoint } else { OTHERS };
            return self.sums.entry(name.into()).or_default();
        }
        self.sums.get_mut(endpoint).expect("it was found")
    }
}

impl Model {
    /// The last calls, the oldest first, up to [`ROWS_MAX`].
    #[must_use]
    pub fn ledger(&mut self) -> Vec<LedgerRow> {
        self.read_all();
        let ledger = &self.ledger;
        let first = ledger.last + 1 - ledger.rows.len() as u64;
        let numbered = ledger.rows.iter().zip(first..);
        numbered
            .map(|(row, number)| LedgerRow {
                number,
                at: self.wall(row.at),
                endpoint: row.endpoint.as_str().to_owned(),
                way: row.way,
                request_id: row.request_id,
                twin_of: row.twin_of,
                paid: row.paid,
                cost: match row.paid {
                    Paid::Open => None,
                    Paid::Nothing => Some(0.0),
                    Paid::Units(units) => self
                        .config
                        .catalog
                        .price(row.endpoint.as_str())
                        .map(|price| price.unit_price * units as f64),
                },
            })
            .collect()
    }

    /// What each endpoint was called for, in the order of their ids.
    #[must_use]
    pub fn ledger_sums(&mut self) -> Vec<LedgerSum> {
        self.read_all();
        let sums = self.ledger.sums.iter();
        sums.map(|(endpoint, sum)| {
            let price = self.config.catalog.price(endpoint);
            let cost = |units: u64| price.as_ref().map(|price| price.unit_price * units as f64);
            LedgerSum {
                endpoint: endpoint.to_string(),
                calls: sum.calls,
                twins: sum.twins,
                units: sum.units,
                cost: cost(sum.units),
                twin_cost: cost(sum.twin_units),
                unit: price.as_ref().map(|price| price.unit.to_string()),
                currency: price.as_ref().map(|price| price.currency.to_string()),
            }
        })
        .collect()
    }

    /// Forgets all calls.
    pub fn clear_ledger(&mut self) {
        self.ledger = Ledger { last: self.ledger.last, ..Ledger::default() };
    }

    /// Works out what was put off until somebody asks, so that it is known what was made.
    fn read_all(&mut self) {
        for id in self.jobs.unread() {
            self.read(id);
        }
    }
}

/// Calls with the same body within this time are twins: 10 minutes. A client that repeats does so within minutes.
pub const TWIN_TIME: Duration = Duration::from_secs(600);

/// Calls that the ledger shows; its sums are over all.
pub const ROWS_MAX: usize = 10_000;

/// Endpoints with a sum of their own.
pub const ENDPOINTS_MAX: usize = 1000;

/// The sum over all further endpoints.
pub const OTHERS: &str = "(others)";

#[cfg(test)]
mod tests {
    use fal_protocol::rand::SplitMix64;

    use super::*;

    fn call(ledger: &mut Ledger, now: Instant, endpoint: &str, body: &str) -> u64 {
        let endpoint = EndpointId::parse(endpoint).unwrap();
        let id = RequestId::mint(&mut SplitMix64::new(0));
        ledger.called(now, CallWay::Submit, &endpoint, id, body.as_bytes())
    }

    #[test]
    fn the_same_body_at_the_same_endpoint_is_a_twin_for_a_while() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let one = call(&mut ledger, now, "a/b", "x");
        for (later, endpoint, body, twin_of) in [
            (0, "a/b", "y", None),
            (0, "a/c", "x", None),
            (1, "a/b", "x", Some(one)),
            (600, "a/b", "x", Some(4)),
            (1201, "a/b", "x", None),
        ] {
            let number = call(&mut ledger, now + Duration::from_secs(later), endpoint, body);
            assert_eq!(ledger.row(number).unwrap().twin_of, twin_of, "{later} {endpoint} {body}");
        }
        let endpoint = EndpointId::parse("a/b").unwrap();
        for number in [1, 4, 4] {
            ledger.ended(number, &endpoint, Some(2));
        }
        ledger.ended(5, &endpoint, None);
        let sum = ledger.sums["a/b"];
        assert_eq!((sum.calls, sum.twins, sum.units, sum.twin_units), (5, 2, 4, 2));
    }

    #[test]
    fn it_is_bounded() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for number in 0..ROWS_MAX + 100 {
            call(
                &mut ledger,
                now,
                &format!("a/e{}", number % (ENDPOINTS_MAX + 50)),
                &number.to_string(),
            );
        }
        assert_eq!((ledger.rows.len(), ledger.by_body.len()), (ROWS_MAX, ROWS_MAX));
        assert_eq!(ledger.sums.len(), ENDPOINTS_MAX + 1);
        assert!(
            ledger.sums[OTHERS].calls > 0 && ledger.row(100).is_none() && ledger.row(101).is_some()
        );
    }
}
