//! Streams that back ends fill.
//!
//! A stream begins with its first event, so that what fails before is an answer with a status, as it is at the service.
//! After a silence it begins with a comment, and what fails from then on is an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;

use super::exchange::{Door, Head, Output, Request, Response};
use super::failure::Failure;
use super::id::RequestId;
use super::ledger::CallWay;
use super::lifecycle::Keep;
use super::plan::{Plan, RULE};
use super::stream::KEEP_ALIVE;
use super::work::{Doing, Work, WorkEvent};
use super::{Due, Model, Open, app_of, feed, reply, run, script};
use crate::scenario::Backend;

/// A stream that a back end fills.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(super) endpoint: EndpointId,
    id: RequestId,
    pub(super) ledger: u64,
    door: Door<'static>,
    keep: Option<Box<Keep>>,
    pub(super) work: Option<Doing>,
    /// Until the first bytes are sent.
    head: Option<Head>,
    /// Whether there was an event.
    has_event: bool,
    last_at: Instant,
    /// When its runner is lost, if a scenario says so.
    lost_at: Option<Instant>,
    /// The planned event that counts; earlier ones are stale.
    due: Option<Instant>,
}

impl Relay {
    /// Sends bytes, after the head if they are the first.
    fn send(&mut self, exchange: u64, now: Instant, bytes: Bytes) -> impl Iterator<Item = Output> {
        self.last_at = now;
        let head = self.head.take().map(|head| Output::Stream { id: exchange, head });
        head.into_iter().chain([Output::Event { id: exchange, bytes }])
    }
}

impl Model {
    /// Begins to fill a stream; answers a call that fails at once.
    pub(super) fn relay_work(
        &mut self,
        exchange: u64,
        request: Request<'_>,
        endpoint: EndpointId,
        keep: Option<Box<Keep>>,
        plan: &Plan,
        backend: Arc<Backend>,
    ) -> Option<Response> {
        let id = RequestId::mint(&mut self.job_ids);
        self.counters.model_streams += 1;
        let ledger = self.ledger.called(self.now, CallWay::Stream, &endpoint, id, &request.body);
        if let Err(failure) = self.check_input(&backend, &endpoint, &request.body) {
            self.ledger.ended(ledger, &endpoint, None);
            let mut response = reply::failure(id, &failure);
            plan.stamp(response.headers_mut());
            return Some(response);
        }
        let mut head: Head = feed::head(id);
        plan.stamp(head.headers_mut());
        let cold = self.take_runner(endpoint.app()).unwrap_or_default();
        app_of(&mut self.apps, endpoint.app()).running += 1;
        let work = Work {
            backend,
            request_id: id,
            endpoint: endpoint.as_str().into(),
            input: request.body,
            attempt: 1,
            is_stream: true,
        };
        let work = self.begin_call(exchange, work, cold);
        let requeue = plan.rule.as_ref().and_then(|rule| rule.timeline.requeue.first().copied());
        let lost = requeue.into_iter().chain(plan.lost_after).min();
        let relay = Relay {
            endpoint,
            id,
            ledger,
            door: request.door.into_owned(),
            keep,
            work: Some(work),
            head: Some(head),
            has_event: false,
            last_at: self.now,
            lost_at: lost.and_then(|after| self.now.checked_add(cold.saturating_add(after))),
            due: None,
        };
        self.open.insert(exchange, Open::Relay(Box::new(relay)));
        self.plan_relay(exchange);
        None
    }

    /// Something has come of the work on a stream.
    pub(super) fn relay_worked(&mut self, exchange: u64, event: WorkEvent) {
        let Some(Open::Relay(relay)) = self.open.get_mut(&exchange) else { return };
        match event {
            WorkEvent::Log { .. } => {}
            WorkEvent::Piece(data) => {
                relay.has_event = true;
                self.out.extend(relay.send(exchange, self.now, feed::event(&data)));
            }
            WorkEvent::Done(made) => {
                let Some(Open::Relay(mut relay)) = self.open.remove(&exchange) else { return };
                // What came piece by piece was all.
                let is_said = made.output.is_empty() && relay.has_event;
                let worked = self.worked(made, relay.id, relay.keep.as_deref());
                if !is_said {
                    let last = feed::event(&one_line(worked.publish(&relay.door)));
                    self.out.extend(relay.send(exchange, self.now, last));
                }
                self.out.push_back(Output::End { id: exchange });
                self.ledger.ended(relay.ledger, &relay.endpoint, Some(worked.units()));
                self.release(relay.endpoint.app());
            }
            WorkEvent::Failed(failure) | WorkEvent::Lost(failure) => {
                self.relay_failed(exchange, &failure);
            }
            WorkEvent::Stopped => self.relay_failed(exchange, &run::runner_lost()),
        }
    }

    fn relay_failed(&mut self, exchange: u64, failure: &Failure) {
        let Some(Open::Relay(relay)) = self.open.remove(&exchange) else { return };
        match relay.head {
            Some(mut head) => {
                let mut response = reply::failure(relay.id, failure);
                if let Some(rule) = head.headers_mut().remove(RULE) {
                    response.headers_mut().insert(RULE, rule);
                }
                self.out.push_back(Output::Reply { id: exchange, response });
            }
            None => {
                let event = script::failed(None, failure);
                self.out.extend(event.map(|bytes| Output::Event { id: exchange, bytes }));
                self.out.push_back(Output::End { id: exchange });
            }
        }
        self.ledger.ended(relay.ledger, &relay.endpoint, None);
        self.leave_call(&relay.endpoint, relay.work.as_ref());
    }

    /// A planned event of a stream has come.
    pub(super) fn relay_due(&mut self, exchange: u64, at: Instant) {
        let Some(Open::Relay(relay)) = self.open.get_mut(&exchange) else { return };
        if relay.due != Some(at) {
            return;
        }
        if relay.lost_at.is_some_and(|lost| lost <= self.now) {
            return self.relay_failed(exchange, &run::runner_lost());
        }
        if self.now.saturating_duration_since(relay.last_at) >= self.config.ping_interval {
            let comment = Bytes::from_static(KEEP_ALIVE);
            self.out.extend(relay.send(exchange, self.now, comment));
        }
        self.plan_relay(exchange);
    }

    fn plan_relay(&mut self, exchange: u64) {
        let ping: Duration = self.config.ping_interval;
        let Some(Open::Relay(relay)) = self.open.get_mut(&exchange) else { return };
        let ping = relay.last_at.checked_add(ping);
        relay.due = relay.lost_at.into_iter().chain(ping).min();
        if let Some(at) = relay.due {
            self.plan(at, Due::Feed(exchange));
        }
    }
}

/// The same JSON without its line breaks, which can only stand between tokens.
fn one_line(mut json: Vec<u8>) -> Vec<u8> {
    json.retain(|byte| !matches!(byte, b'\n' | b'\r'));
    json
}
