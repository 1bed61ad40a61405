//! The receiving end: what to answer, and what to do at most once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use fal_client::Client;
use fal_client::webhook::{Delivery, VerifyError, Webhooks};
use tokio::sync::mpsc;

/// Takes deliveries at `POST /fal` and passes each job's first one on to `jobs`.
pub(crate) fn router(client: &Client, jobs: mpsc::Sender<Delivery>) -> Router {
    let receiver = Receiver { webhooks: client.webhooks(), jobs, done: Mutex::default() };
    Router::new()
        .route("/fal", post(receive))
        // A payload may hold whole files as data URIs.
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(Arc::new(receiver))
}

struct Receiver {
    webhooks: Webhooks,
    jobs: mpsc::Sender<Delivery>,
    /// The jobs that were passed on. In earnest this is a unique column of a database.
    done: Mutex<HashSet<Box<str>>>,
}

/// The body is taken as raw bytes: the same JSON written anew has another signature.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let delivery = match receiver.webhooks.verify(&headers, &body).await {
        Ok(delivery) => delivery,
        // It comes again, when the keys may be in reach.
        Err(VerifyError::KeysUnavailable(_)) => return StatusCode::SERVICE_UNAVAILABLE,
        // From fal, and of a kind that this program does not know: it would not get better.
        Err(VerifyError::Malformed(_)) => return StatusCode::OK,
        Err(_) => return StatusCode::UNAUTHORIZED,
    };
    // Room first, then the note that it is done: what is noted must not be lost.
    let Ok(room) = receiver.jobs.try_reserve() else { return StatusCode::SERVICE_UNAVAILABLE };
    let is_new = receiver
        .done
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(delivery.request_id.clone());
    if is_new {
        room.send(delivery);
    }
    StatusCode::OK
}
