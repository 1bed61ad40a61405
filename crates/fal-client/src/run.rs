use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use fal_protocol::run;
use http::Method;
use serde::de::DeserializeOwned;

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;
use crate::output::Output;
use crate::plan::{Plan, input_setter, plan_setters, start_setters};
use crate::typed::{Call, FromOutput, Typed};

/// A direct run: `.await` it for its [`Output`].
///
/// Nothing is queued, so there is no way to come back to it: what takes longer than seconds belongs into
/// [`Client::subscribe`]. Dropping the future closes the connection, which stops the model.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// let output = client.run("fal-ai/flux/schnell").input(serde_json::json!({ "prompt": "a cat" })).await?;
/// println!("{:?} for {:?} units", output.files(), output.billable_units());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Run<O = Output> {
    plan: Plan,
    method: Method,
    output: PhantomData<fn() -> O>,
}

impl Run {
    input_setter!();

    /// Reads the output as a type.
    pub fn output_as<T: DeserializeOwned + Send + 'static>(self) -> Run<Typed<T>> {
        Run { plan: self.plan, method: self.method, output: PhantomData }
    }
}

impl<O: FromOutput> Run<O> {
    pub(crate) fn new(client: Client, call: impl Call<Output = O>) -> Self {
        let plan = Plan::of(client, call, RUN_DEADLINE_DEFAULT);
        Self { plan, method: Method::POST, output: PhantomData }
    }

    plan_setters!();
    start_setters!();

    /// Sets the HTTP method. Default POST. Models differ in which others they take.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }
}

impl<O> fmt::Debug for Run<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("endpoint", &self.plan.endpoint).finish_non_exhaustive()
    }
}

impl<O: FromOutput> IntoFuture for Run<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let (endpoint, input, deadline) = self.plan.ready().await?;
            let span = tracing::debug_span!("run", endpoint = %endpoint);
            let mut config = run::Config::new(endpoint, input);
            config.method = self.method;
            config.options = self.plan.options.clone();
            config.deadline = deadline;
            let machine = run::Run::new(now(), new_seed(), self.plan.client.settings(), config)?;
            let driver = Driver::new(machine, self.plan.client.transport(), span);
            let answer = driver.finish(|event| self.plan.tell(event)).await?;
            O::from_output(Output::direct(answer))
        })
    }
}

/// How long a direct run may take unless told otherwise: 61 minutes, because fal ends it after 60.
pub const RUN_DEADLINE_DEFAULT: Duration = Duration::from_secs(61 * 60);
