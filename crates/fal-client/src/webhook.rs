//! Webhooks: whether a delivery is from fal, and what it says. Behind the feature `webhook`.
//!
//! Any HTTP server can receive deliveries: give [`Webhooks::verify`] the headers and the raw body of
//! the request, answer 200 soon (fal waits 15 s), and do the work later. Deliveries arrive at least once
//! and in no order.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = fal_mock::MockFal::builder().instant().start().await?;
//! # let url = mock.url();
//! use fal_client::Client;
//! use fal_client::webhook::{Payload, VerifyError};
//! use serde_json::json;
//! use tokio::net::TcpListener;
//!
//! let client = Client::builder().base_url(url).key("id:secret").build()?;
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let hook = format!("http://{}/hook", listener.local_addr()?);
//!
//! let input = json!({ "prompt": "a cat" });
//! let job = client.queue("fal-ai/flux/dev")?.submit(input).webhook(hook).await?;
//! let (headers, body) = receive(&listener).await?; // What your server does.
//!
//! let delivery = match client.webhooks().verify(&headers, &body).await {
//!     Ok(delivery) => delivery,                                       // Answer 200.
//!     Err(VerifyError::KeysUnavailable(e)) => return Err(e.into()),   // Answer 503: it comes again.
//!     Err(e) => return Err(e.into()),                                 // Answer 401.
//! };
//! assert_eq!(delivery.request_id, job.request_id);
//! if let Payload::Output(output) = delivery.outcome? {
//!     println!("{}", output.json::<serde_json::Value>()?["images"][0]["url"]);
//! }
//! # Ok(())
//! # }
//! # use bytes::Bytes;
//! # use http::{HeaderMap, HeaderName, HeaderValue};
//! # use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//! # async fn receive(listener: &tokio::net::TcpListener) -> std::io::Result<(HeaderMap, Bytes)> {
//! #     let (mut stream, _) = listener.accept().await?;
//! #     let (mut bytes, mut headers) = (Vec::new(), HeaderMap::new());
//! #     loop {
//! #         stream.read_buf(&mut bytes).await?;
//! #         let text = String::from_utf8_lossy(&bytes).into_owned();
//! #         let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
//! #         for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
//! #             let name: HeaderName = name.parse().unwrap();
//! #             headers.insert(name, HeaderValue::from_str(value).unwrap());
//! #         }
//! #         if headers["content-length"].to_str().unwrap() == body.len().to_string() {
//! #             stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
//! #             return Ok((headers, Bytes::from(body.to_owned())));
//! #         }
//! #     }
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::error::{self as core, ErrorKind, ProtocolError};
use fal_protocol::queue::Handle;
use fal_protocol::webhook::{CachedKeys, Verify, VerifyConfig};
use http::HeaderMap;
use serde_json::Value;

pub use fal_protocol::webhook::{Delivery, Payload, WebhookError};

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::output::Output;

/// Verifies deliveries with the keys of the service that the client calls.
///
/// Keys are kept for a day, and asked for again when a signature does not match them, but not more
/// often than once a minute.
#[derive(Clone, Debug)]
pub struct Webhooks {
    client: Client,
}

impl Webhooks {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Verifies a delivery and reads it. `body` is what was received, byte for byte.
    ///
    /// # Errors
    /// [`VerifyError`]; only [`VerifyError::KeysUnavailable`] may pass with time.
    pub async fn verify(&self, headers: &HeaderMap, body: &Bytes) -> Result<Delivery, VerifyError> {
        self.verify_at(headers, body, SystemTime::now()).await
    }

    /// The same for a delivery that arrived at that time, such as one that was saved.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_at(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        arrived: SystemTime,
    ) -> Result<Delivery, VerifyError> {
        let keys = self.client.webhook_keys();
        let mut config = VerifyConfig::new(headers.clone(), body.clone());
        config.keys = keys.load();
        config.deadline = now().checked_add(KEYS_DEADLINE);
        let settings = self.client.settings();
        let machine = Verify::new(now(), arrived, new_seed(), settings, config)
            .map_err(|error| VerifyError::KeysUnavailable(error.into()))?;
        let span = tracing::debug_span!("webhook");
        let checked = Driver::new(machine, self.client.transport(), span).finish(drop).await;
        let checked = checked.map_err(VerifyError::KeysUnavailable)?;
        keys.store(checked.keys);
        let verified = checked.result.map_err(VerifyError::Refused)?;
        verified.delivery(body).map_err(VerifyError::Malformed)
    }
}

/// What the queue would give for a delivery.
impl Webhooks {
    /// The job's output: what the delivery holds, or, where no delivery can hold it, what the queue has. A
    /// delivery does not tell the endpoint, so the caller must.
    ///
    /// # Errors
    /// As [`Client::attach`]: a job that failed is an error, with its handle.
    pub async fn output(
        &self,
        endpoint: impl AsRef<str>,
        delivery: Delivery,
    ) -> Result<Output, Error> {
        let handle = Handle::new(EndpointId::parse(endpoint.as_ref())?, delivery.request_id);
        match delivery.outcome {
            Ok(Payload::Output(answer)) => Ok(Output::queued(answer, handle, Value::Null)),
            Err(failure) => {
                let error = core::Error::new(ErrorKind::Api(failure));
                Err(error.with_handle(Some(handle)).into())
            }
            // Also what a later version may deliver: the queue has it in any case.
            Ok(_) => self.client.queue(handle.endpoint.as_str())?.result(&handle).await,
        }
    }
}

/// Why there is no delivery to act on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not from fal, or not of now. Answer it with 401.
    Refused(WebhookError),
    /// Nobody knows whether it is from fal, because its keys are out of reach. Answer it with 503, and
    /// it comes again.
    KeysUnavailable(Error),
    /// It is from fal, and says nothing that this version understands.
    Malformed(ProtocolError),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => f.write_str("the delivery is not to be trusted"),
            Self::KeysUnavailable(_) => {
                f.write_str("the keys that tell whether the delivery is from fal are out of reach")
            }
            Self::Malformed(_) => f.write_str("the delivery is from fal, but not understood"),
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::KeysUnavailable(error) => Some(error),
            Self::Malformed(error) => Some(error),
        }
    }
}

/// The keys that clones of a client share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Arc<Mutex<Option<CachedKeys>>>);

impl Keys {
    fn load(&self) -> Option<CachedKeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the latest: another verification may have asked later.
    fn store(&self, keys: Option<CachedKeys>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newer = |new: &CachedKeys| kept.as_ref().is_none_or(|old| old.since <= new.since);
        if keys.as_ref().is_some_and(is_newer) {
            *kept = keys;
        }
    }
}

/// How long keys may take: fal waits 15 s for the answer to a first delivery.
const KEYS_DEADLINE: Duration = Duration::from_secs(10);
