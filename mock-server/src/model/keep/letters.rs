//! Deliveries as rows: each with its body once, and with where it stands.

use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::super::Model;
use super::super::webhook::{Deliveries, Delivery, DeliveryState};
use super::rows::DeliveryRow;
use super::{Table, Writes, code};

impl Deliveries {
    /// Begins to note what changes; all that is there counts as new.
    pub(super) fn keep_anew(&mut self) {
        self.log = Some(self.all.keys().map(|number| (*number, true)).collect());
    }
}

impl Model {
    pub(super) fn delivery_rows(&mut self, writes: &mut Writes) {
        let Some(touched) = self.deliveries.log.as_mut().filter(|log| !log.is_empty()) else {
            return;
        };
        for (number, is_new) in std::mem::take(touched) {
            let key = u128::from(number);
            let Some(delivery) = self.deliveries.all.get(&number) else {
                writes.drop(Table::Deliveries, key);
                writes.drop(Table::Letters, key);
                continue;
            };
            // The body never changes.
            if is_new {
                let body = delivery.body.clone();
                writes.put_body(Table::Letters, key, Vec::new(), body);
            }
            let row = self.delivery_row(delivery);
            writes.put(Table::Deliveries, key, code::write(&row));
        }
    }

    fn delivery_row(&self, delivery: &Delivery) -> DeliveryRow {
        DeliveryRow {
            request_id: delivery.request_id,
            url: delivery.url.to_string().into(),
            state: match delivery.state {
                DeliveryState::InFlight => IN_FLIGHT,
                DeliveryState::Resting => RESTING,
                DeliveryState::Delivered => DELIVERED,
                DeliveryState::GivenUp => GIVEN_UP,
                DeliveryState::Refused(_) => REFUSED,
            },
            attempts: delivery.attempts.clone(),
            tries: delivery.tries,
            epoch: delivery.epoch,
            until: delivery.until.map(|until| self.wall(until)),
            next: delivery.next.map(|next| self.wall(next)),
        }
    }

    /// A delivery as it was. One that was in flight is so still, without an exchange.
    pub(super) fn delivery_of(
        &self,
        row: DeliveryRow,
        body: Bytes,
        instant: impl Fn(SystemTime) -> Option<Instant>,
    ) -> Option<Delivery> {
        let url = row.url.parse().ok()?;
        if row.attempts.iter().any(|attempt| attempt.bytes > body.len()) {
            return None;
        }
        let state = match row.state {
            IN_FLIGHT => DeliveryState::InFlight,
            RESTING => DeliveryState::Resting,
            DELIVERED => DeliveryState::Delivered,
            GIVEN_UP => DeliveryState::GivenUp,
            REFUSED => match self.config.webhook_hosts.refusal(&url) {
                Some(why) => DeliveryState::Refused(why),
                // Hosts may be called now that might not be before, but this news is old.
                None => DeliveryState::GivenUp,
            },
            _ => return None,
        };
        Some(Delivery {
            request_id: row.request_id,
            url,
            body,
            state,
            attempts: row.attempts,
            tries: row.tries,
            epoch: row.epoch,
            exchange: 0,
            until: row.until.and_then(&instant),
            next: row.next.and_then(&instant),
            planned: Default::default(),
            put_off: None,
        })
    }
}

const IN_FLIGHT: u8 = 0;
const RESTING: u8 = 1;
const DELIVERED: u8 = 2;
const GIVEN_UP: u8 = 3;
const REFUSED: u8 = 4;
