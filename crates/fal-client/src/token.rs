use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use fal_protocol::EndpointId;
use fal_protocol::error::InputError;
use fal_protocol::token::{Config, Mint, Route, TOKEN_LIFETIME_DEFAULT, Token};

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;

/// A short-lived token that a browser can have instead of the key. Await it.
///
/// ```no_run
/// # async fn run(client: fal_client::Client) -> Result<(), fal_client::Error> {
/// use std::time::Duration;
///
/// let token = client.token(["fal-ai/fast-lcm-diffusion/realtime"])
///     .duration(Duration::from_secs(60))
///     .await?;
/// println!("{}", token.as_str()); // For the page that asked for it, and for nobody else.
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// On awaiting: [`ErrorKind::Api`](crate::ErrorKind::Api) when the service refuses, such as 401 for a
/// key that it does not know, and every kind of a call that reads.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct TokenRequest {
    client: Client,
    apps: Result<Vec<EndpointId>, InputError>,
    duration: Duration,
    route: Route,
    deadline: Duration,
}

impl TokenRequest {
    pub(crate) fn new(client: Client, apps: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let apps = apps.into_iter().map(|app| EndpointId::parse(app.as_ref())).collect();
        let duration = TOKEN_LIFETIME_DEFAULT;
        Self { client, apps, duration, route: Route::Both, deadline: TOKEN_DEADLINE_DEFAULT }
    }

    /// Sets how long it is valid, in whole seconds, rounded up; a second at least. Default 120 s.
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Sets how it is asked for. Default: by the newer route, and by the older one where the service
    /// does not know that.
    pub const fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Sets when to give up, counted from the start of the call. Default
    /// [`TOKEN_DEADLINE_DEFAULT`].
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl IntoFuture for TokenRequest {
    type Output = Result<Token, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut config = Config::new(self.apps?);
            config.lifetime = self.duration;
            config.route = self.route;
            config.deadline = now().checked_add(self.deadline);
            let settings = self.client.settings();
            let machine = Mint::new(now(), new_seed(), settings, config)?;
            let span = tracing::debug_span!("token");
            Driver::new(machine, self.client.transport(), span).finish(drop).await
        })
    }
}

/// When a call for a token gives up, unless one says otherwise: a minute.
pub const TOKEN_DEADLINE_DEFAULT: Duration = Duration::from_secs(60);
