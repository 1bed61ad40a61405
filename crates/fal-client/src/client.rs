use std::env;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use fal_protocol::error::InputError;
use fal_protocol::hosts::Hosts;
use fal_protocol::queue::Handle;
use fal_protocol::retry::RetryPolicy;
use fal_protocol::{Credentials, EndpointId, Key, Settings};
use http::HeaderValue;

use crate::credentials::{Authorizing, CredentialsProvider, Provider};
use crate::download::Download;
use crate::environment::{self, Found};
use crate::error::Error;
use crate::model::{Documents, Kept, ModelRequest};
use crate::platform::Platform;
use crate::proxy::ProxyConfig;
use crate::queue::Queue;
use crate::run::Run;
use crate::stream::StreamRun;
use crate::subscribe::Subscribe;
use crate::transport::Transport;
use crate::typed::{Call, Endpoint, Typed};
use crate::upload::{Tokens, Upload, UploadSource};

/// Calls fal.ai. Cheap to clone; clones share connections, the retry budget and the token for uploads.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let url = mock.url();
/// use fal_client::Client;
/// use serde_json::json;
///
/// let client = Client::builder().base_url(url).key("id:secret").build()?;
/// let output = client.subscribe("fal-ai/flux/dev").input(json!({ "prompt": "a cat" })).await?;
/// println!("{}", output.value()?["images"][0]["url"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    settings: Arc<Settings>,
    upload_tokens: Tokens,
    documents: Arc<Documents>,
    kept: Kept,
    #[cfg(feature = "webhook")]
    webhook_keys: crate::webhook::Keys,
}

impl Client {
    /// A client as the environment says.
    ///
    /// | Variable | Meaning |
    /// |---|---|
    /// | `FAL_KEY` | the API key, `id:secret` |
    /// | `FAL_KEY_ID` and `FAL_KEY_SECRET` | its halves, if `FAL_KEY` is not set |
    /// | `FAL_HOME_DIR` | with the feature `login`: where the login of fal's own program is, which counts if there is no key; default `~/.fal` |
    /// | `FAL_FORCE_AUTH_BY_USER` | `1`: that login counts and keys do not |
    /// | `FAL_BASE_URL` | one origin for all of fal's hosts, such as `http://127.0.0.1:8787` of a mock |
    /// | `FAL_SCHEMA` | a document, a dump or a folder of them, from which alone [`model`](Self::model) takes its documents |
    /// | `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` | as `fal_transport_hyper::Config::from_env` |
    ///
    /// Variables that are set to nothing count as not set.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) without a key, and
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) when a value has no usable form.
    #[cfg(feature = "hyper")]
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().from_env()?.build()
    }

    /// A client to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Puts a job into the queue, follows it and takes its result.
    ///
    /// `call` is the id of an endpoint, or an input that knows its own: see [`typed`](crate::typed).
    pub fn subscribe<C: Call>(&self, call: C) -> Subscribe<C::Output> {
        Subscribe::new(self.clone(), call)
    }

    /// Follows a job that was submitted before, here or anywhere, and takes its result.
    pub fn attach(&self, handle: Handle) -> Subscribe {
        Subscribe::attach(self.clone(), handle)
    }

    /// The steps of the queue one by one: submit, status, watch, result, cancel.
    ///
    /// # Errors
    /// [`InputError::EndpointId`] when `endpoint` is none.
    pub fn queue(&self, endpoint: impl AsRef<str>) -> Result<Queue, InputError> {
        Ok(Queue::new(self.clone(), EndpointId::parse(endpoint.as_ref())?))
    }

    /// The same for the model of a typed input, whose results are typed too.
    ///
    /// # Errors
    /// [`InputError::EndpointId`] when [`Endpoint::ID`] is none.
    pub fn queue_of<E: Endpoint>(&self) -> Result<Queue<Typed<E::Output>>, InputError> {
        Ok(Queue::new(self.clone(), EndpointId::parse(E::ID)?))
    }

    /// Runs a model directly: no queue, no way to come back, the answer on the same connection. For
    /// models that take seconds.
    ///
    /// `call` is the id of an endpoint, or an input that knows its own: see [`typed`](crate::typed).
    pub fn run<C: Call>(&self, call: C) -> Run<C::Output> {
        Run::new(self.clone(), call)
    }

    /// Runs a model that streams: text as it is written, pictures as they become clear, sound as it is
    /// made.
    ///
    /// `call` is the id of an endpoint, or an input that knows its own: see [`typed`](crate::typed).
    pub fn stream<C: Call>(&self, call: C) -> StreamRun<C::Output> {
        StreamRun::new(self.clone(), call)
    }

    /// Puts a file where models can read it.
    pub fn upload(&self, source: impl Into<UploadSource>) -> Upload {
        Upload::new(self.clone(), source.into())
    }

    /// Fetches a file that an output names: an address, a data URI, or a reference to a [`MediaFile`] or to one
    /// of the types of [`media`](crate::media). Sends no credentials.
    ///
    /// [`MediaFile`]: crate::MediaFile
    pub fn download(&self, url: impl Into<String>) -> Download {
        Download::new(self.clone(), url.into())
    }

    /// What a model takes and gives, for checks before anything is paid for; see [`model`](crate::model).
    pub fn model(&self, endpoint: impl AsRef<str>) -> ModelRequest {
        ModelRequest::new(self.clone(), endpoint.as_ref())
    }

    /// The platform API: the catalogue, prices, request history, and the storage of the account.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform::new(self.clone())
    }

    /// A short-lived token for these apps, such as `fal-ai/fast-lcm-diffusion/realtime`, that a browser can
    /// have instead of the key.
    pub fn token(
        &self,
        apps: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> crate::token::TokenRequest {
        crate::token::TokenRequest::new(self.clone(), apps)
    }

    /// A realtime session: inputs and outputs in milliseconds over one connection.
    #[cfg(feature = "realtime")]
    pub fn realtime(&self, endpoint: impl AsRef<str>) -> crate::realtime::RealtimeBuilder {
        crate::realtime::RealtimeBuilder::new(self.clone(), endpoint.as_ref())
    }

    /// Runs over one WebSocket: several inputs ahead, answered in order.
    #[cfg(feature = "realtime")]
    pub fn ws(&self, endpoint: impl AsRef<str>) -> crate::ws::WsBuilder {
        crate::ws::WsBuilder::new(self.clone(), endpoint.as_ref())
    }

    /// Verifies what webhooks receive. Clones of a client share the keys for it.
    #[cfg(feature = "webhook")]
    #[must_use]
    pub fn webhooks(&self) -> crate::webhook::Webhooks {
        crate::webhook::Webhooks::new(self.clone())
    }

    #[cfg(feature = "webhook")]
    pub(crate) const fn webhook_keys(&self) -> &crate::webhook::Keys {
        &self.webhook_keys
    }

    pub(crate) fn documents(&self) -> (&Documents, &Kept) {
        (&self.documents, &self.kept)
    }

    pub(crate) const fn upload_tokens(&self) -> &Tokens {
        &self.upload_tokens
    }

    pub(crate) const fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.transport)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Configures a [`Client`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    settings: Settings,
    has_credentials: bool,
    provider: Option<Provider>,
    /// Why the environment gave no credentials.
    without: Option<Box<str>>,
    transport: Option<Arc<dyn Transport>>,
    proxy: Option<ProxyConfig>,
    documents: Option<Documents>,
    problem: Option<InputError>,
    #[cfg(feature = "hyper")]
    connections: fal_transport_hyper::Config,
}

impl Builder {
    /// Takes over what the environment says; see [`Client::from_env`]. What was set before stays.
    ///
    /// # Errors
    /// As [`Client::from_env`], but a missing key is no error yet.
    #[cfg(feature = "hyper")]
    pub fn from_env(mut self) -> Result<Self, Error> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        if !self.has_credentials {
            let found = environment::find(
                variable,
                #[cfg(feature = "login")]
                crate::login::LoginFile::find,
            )?;
            match found {
                Found::Key(key) => self = self.credentials(key),
                #[cfg(feature = "login")]
                Found::Login(file) => self = self.credentials_provider(file),
                Found::Nothing(problem) => self.without = Some(problem),
            }
        }
        if self.settings.hosts == Hosts::fal()
            && let Some(base) = variable("FAL_BASE_URL")
        {
            self.settings.hosts = Hosts::under(&base)?;
        }
        if self.documents.is_none()
            && let Some(path) = variable("FAL_SCHEMA")
        {
            self.documents = Some(Documents::at(path));
        }
        self.connections = fal_transport_hyper::Config::from_env();
        Ok(self)
    }

    /// Sets the API key, `id:secret`.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        match Key::parse(key.as_ref()) {
            Ok(key) => self.credentials(key),
            Err(problem) => {
                self.problem = self.problem.or(Some(problem));
                self
            }
        }
    }

    /// Sets who calls; [`Credentials::Anonymous`] for public models, or behind a proxy that adds the key.
    pub fn credentials(mut self, credentials: impl Into<Credentials>) -> Self {
        self.settings.credentials = credentials.into();
        self.has_credentials = true;
        self.provider = None;
        self
    }

    /// Sets who is asked for credentials before every attempt, instead of fixed ones.
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider + 'static) -> Self {
        self = self.credentials(Credentials::Deferred);
        self.provider = Some(Provider(Arc::new(provider)));
        self
    }

    /// Reaches all of fal's hosts under one origin, as a mock server offers them.
    pub fn base_url(mut self, base: impl AsRef<str>) -> Self {
        match Hosts::under(base.as_ref()) {
            Ok(hosts) => self.settings.hosts = hosts,
            Err(problem) => self.problem = self.problem.or(Some(problem)),
        }
        self
    }

    /// Sets where each of fal's services is.
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.settings.hosts = hosts;
        self
    }

    /// Sends calls to this address, where a proxy adds the key: see [`ProxyConfig`]. The client then needs
    /// none, and keeps one that it has.
    pub fn proxy_url(mut self, url: impl AsRef<str>) -> Self {
        match ProxyConfig::new(url) {
            Ok(proxy) => self.proxy(proxy),
            Err(problem) => {
                self.problem = self.problem.or(Some(problem));
                self
            }
        }
    }

    /// The same with more to say about it.
    pub fn proxy(mut self, proxy: ProxyConfig) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Sets the rules for repeats.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = retry;
        self
    }

    /// Sets the longest wait for one answer. Default 60 s. Not for direct runs.
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.attempt_timeout = timeout;
        self
    }

    /// Sets the longest wait for the answer of a direct run. Default 61 min.
    pub const fn run_timeout(mut self, timeout: Duration) -> Self {
        self.settings.run_timeout = timeout;
        self
    }

    /// Sets the longest result taken. Default 256 MiB.
    pub const fn result_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.result_bytes_max = bytes;
        self
    }

    /// Sets the `User-Agent`. Default: `fal-client/{version} (rust)`.
    pub fn user_agent(mut self, user_agent: HeaderValue) -> Self {
        self.settings.user_agent = user_agent;
        self
    }

    /// Sets where the documents of models come from. Default: from the service, kept for an hour.
    pub fn documents(mut self, documents: Documents) -> Self {
        self.documents = Some(documents);
        self
    }

    /// Sets how exchanges are performed, instead of over hyper.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets how connections are made: proxies, extra roots, limits.
    #[cfg(feature = "hyper")]
    pub fn connections(mut self, connections: fal_transport_hyper::Config) -> Self {
        self.connections = connections;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`ErrorKind::Input`](crate::ErrorKind::Input) for the first setting that had no usable form, and
    /// [`Error::Config`](crate::Error::Config) without credentials or a transport.
    pub fn build(mut self) -> Result<Client, Error> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        if !self.has_credentials && self.proxy.is_none() {
            return Err(Error::config(self.without.unwrap_or_else(|| environment::NO_KEY.into())));
        }
        if self.settings.credentials == Credentials::Deferred && self.provider.is_none() {
            return Err(Error::config(
                "deferred credentials need a provider: `credentials_provider`",
            ));
        }
        if self.settings.user_agent == Settings::default().user_agent {
            self.settings.user_agent = HeaderValue::from_static(USER_AGENT);
        }
        let transport = match self.transport {
            Some(transport) => transport,
            #[cfg(feature = "hyper")]
            None => {
                let transport = fal_transport_hyper::Transport::new(self.connections);
                Arc::new(transport.map_err(|e| Error::config(e.to_string()))?)
            }
            #[cfg(not(feature = "hyper"))]
            None => return Err(Error::config("there is no transport: give the builder one")),
        };
        let transport = match self.proxy {
            None => transport,
            Some(proxy) => {
                // A connection that fails here is the proxy's, and fal's backup hosts are no way around it.
                self.settings.hosts = self.settings.hosts.without_backups();
                proxy.over(transport, self.settings.hosts.clone())
            }
        };
        let transport = match self.provider {
            Some(provider) => {
                Arc::new(Authorizing::new(transport, provider, self.settings.attempt_timeout))
            }
            None => transport,
        };
        Ok(Client {
            transport,
            settings: Arc::new(self.settings),
            upload_tokens: Tokens::default(),
            documents: Arc::new(self.documents.unwrap_or_default()),
            kept: Kept::default(),
            #[cfg(feature = "webhook")]
            webhook_keys: crate::webhook::Keys::default(),
        })
    }
}

/// Spreads the retries of many clients; guessing it gains nothing.
pub(crate) fn new_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

const USER_AGENT: &str = concat!("fal-client/", env!("CARGO_PKG_VERSION"), " (rust)");
