//! Has work done by the back ends of apps: servers and programs.

mod exec;
mod http;

use std::borrow::Cow;
use std::sync::Arc;

use ::http::StatusCode;
use bytes::Bytes;
use fal_transport_hyper::{Config, Transport};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Shared;
use crate::model::{Failure, TenantId, Work, WorkEvent};
use crate::scenario::Doer;

/// Work to be done.
#[derive(Debug)]
pub(crate) struct Order {
    /// The tenant, and which of its services.
    pub(crate) whose: (TenantId, u32),
    pub(crate) id: u64,
    pub(crate) work: Box<Work>,
    /// Told when nobody wants it any more.
    pub(crate) stopped: oneshot::Receiver<()>,
}

/// Tells the model what comes of work.
struct Teller {
    shared: Arc<Shared>,
    whose: (TenantId, u32),
    id: u64,
}

impl Teller {
    fn tell(&self, event: WorkEvent) {
        self.shared.was_worked(self.whose, self.id, event);
    }

    fn log(&self, level: &'static str, message: &str) {
        self.tell(WorkEvent::Log { level, message: message.into() });
    }
}

/// Why work ends before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Unwanted,
    OutOfTime,
}

/// Has work done until dropped; dropping stops what is under way. How much is done at once the model decides, by the
/// runners of apps.
pub(crate) async fn work_all(shared: Arc<Shared>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut under_way = JoinSet::new();
    // Proxies of the environment are for what is far away.
    let transport = Transport::new(Config::default()).map_err(|error| error.to_string());
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                under_way.spawn(perform(Arc::clone(&shared), transport.clone(), order));
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn perform(shared: Arc<Shared>, transport: Result<Transport, String>, order: Order) {
    let Order { whose, id, work, stopped } = order;
    let teller = Teller { shared, whose, id };
    let time_max = work.backend.time_max;
    let ending = async {
        tokio::select! {
            _ = stopped => Cause::Unwanted,
            () = tokio::time::sleep(time_max) => Cause::OutOfTime,
        }
    };
    let end = match (&work.backend.doer, &transport) {
        (Doer::Exec { command, folder }, _) => {
            exec::run(&work, command, folder.as_deref(), &teller, ending).await
        }
        (Doer::Http(uri), Ok(transport)) => tokio::select! {
            end = http::run(&work, uri, transport, &teller) => end,
            cause = ending => stopped_event(&work, cause),
        },
        (Doer::Http(_), Err(error)) => WorkEvent::Failed(server_error(error)),
    };
    teller.tell(end);
}

fn stopped_event(work: &Work, cause: Cause) -> WorkEvent {
    match cause {
        Cause::Unwanted => WorkEvent::Stopped,
        Cause::OutOfTime => {
            let why = format!("The back end was not done within {:?}", work.backend.time_max);
            lost(StatusCode::GATEWAY_TIMEOUT, "request_timeout", &why)
        }
    }
}

fn lost(status: StatusCode, error_type: &str, why: &str) -> WorkEvent {
    WorkEvent::Lost(Failure::request_error(status, error_type, why))
}

/// A back end that does not keep to the rules.
fn server_error(why: &str) -> Failure {
    Failure::request_error(StatusCode::INTERNAL_SERVER_ERROR, "runner_server_error", why)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// Calls a failure what it says itself, with a body that is JSON in any case.
fn failure(status: StatusCode, body: Bytes, error_type: Option<&str>) -> Failure {
    let stated = serde_json::from_slice::<serde_json::Value>(&body);
    let said = stated.as_ref().ok().and_then(|stated| {
        let detail = &stated["detail"];
        detail.as_str().or_else(|| detail[0]["msg"].as_str())
    });
    let said = said.map_or_else(|| String::from_utf8_lossy(&body), Cow::Borrowed);
    let error: String = said.trim().chars().take(SUMMARY_CHARS_MAX).collect();
    match &stated {
        Ok(stated) => {
            let error_type = error_type.or_else(|| stated["error_type"].as_str());
            Failure::new(status, body, &error, error_type)
        }
        Err(_) => {
            let text = serde_json::json!({ "detail": error }).to_string();
            Failure::new(status, text, &error, error_type)
        }
    }
}

/// Longest output: 64 MiB.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// Longest line of a log.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Of a failed answer so much stands in the status of its job.
const SUMMARY_CHARS_MAX: usize = 500;
