//! Credentials that are asked for when they are needed: before every attempt.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fal_protocol::Credentials;
use fal_protocol::wire::Failure;

use crate::transport::{Answer, Exchange, Transport};

/// Why a provider had no credentials. Its text is told to the caller, so it must hold no secret.
pub type CredentialsError = Box<dyn StdError + Send + Sync>;

/// Knows who calls at the moment of each attempt: for keys that rotate, tokens that expire, vaults.
///
/// Any function that gives a future of credentials is one:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// use fal_client::{Client, Credentials, CredentialsError, Key};
///
/// async fn current_key() -> Result<Credentials, CredentialsError> {
///     let text = String::from("id:secret"); // What a vault says now.
///     Ok(Key::parse(&text)?.into())
/// }
///
/// let client =
///     Client::builder().base_url(mock.url()).credentials_provider(current_key).build()?;
/// client.run("fal-ai/flux/schnell").input(serde_json::json!({ "prompt": "a cat" })).await?;
/// # Ok(())
/// # }
/// ```
///
/// It is asked once for each request to one of fal's configured hosts, also for each repeat of one, and never
/// for anything else. Cache what is slow to get. It has 30 s, or half of
/// [`attempt_timeout`](crate::Builder::attempt_timeout) if that is less.
#[async_trait]
pub trait CredentialsProvider: Send + Sync {
    /// Who calls now.
    ///
    /// # Errors
    /// Nothing is sent then. A submit, run or stream fails at once; reads of a job that exists ask again, as
    /// after a network failure, and fail when their attempts are used up. The error is
    /// [`ErrorKind::Transport`](crate::ErrorKind::Transport) with
    /// [`FailureKind::Credentials`](crate::FailureKind::Credentials).
    async fn credentials(&self) -> Result<Credentials, CredentialsError>;
}

#[async_trait]
impl<F, Fut> CredentialsProvider for F
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<Credentials, CredentialsError>> + Send,
{
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        self().await
    }
}

/// A provider that can be cloned and printed.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Arc<dyn CredentialsProvider>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider(***)")
    }
}

/// A transport that asks for credentials where a request wants some. So whatever drives a machine need not
/// know of them.
#[derive(Debug)]
pub(crate) struct Authorizing {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) provider: Provider,
    /// How long the provider may take. Less than the machines wait for an answer, so that they learn that
    /// nothing was sent.
    pub(crate) time_max: Duration,
}

impl Authorizing {
    pub(crate) fn new(
        inner: Arc<dyn Transport>,
        provider: Provider,
        attempt_timeout: Duration,
    ) -> Self {
        Self { inner, provider, time_max: PROVIDER_TIME_MAX.min(attempt_timeout / 2) }
    }

    async fn ask(&self) -> Result<Credentials, Failure> {
        let asked = tokio::time::timeout(self.time_max, self.provider.0.credentials()).await;
        match asked {
            Ok(Ok(Credentials::Deferred)) => {
                Err(Failure::credentials("the provider of credentials deferred them again"))
            }
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(Failure::credentials(error.to_string())),
            Err(_) => {
                let message = format!("the provider gave none within {:?}", self.time_max);
                Err(Failure::credentials(message))
            }
        }
    }
}

#[async_trait]
impl Transport for Authorizing {
    async fn send(self: Arc<Self>, mut exchange: Exchange) -> Result<Answer, Failure> {
        if exchange.request.wants_credentials {
            exchange.request.authorize(&self.ask().await?);
        }
        Arc::clone(&self.inner).send(exchange).await
    }
}

/// Longest time that a provider may take.
const PROVIDER_TIME_MAX: Duration = Duration::from_secs(30);
