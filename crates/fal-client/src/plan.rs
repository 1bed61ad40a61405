//! What submit, subscribe and run have in common before they begin.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::options::Options;

use crate::client::Client;
use crate::drive::now;
use crate::error::Error;
use crate::event::Event;
use crate::input::{Input, IntoInput};
use crate::model::Model;
use crate::prepare::{Prepare, PrepareStep};
use crate::typed::Call;

pub(crate) type OnUpdate = Box<dyn FnMut(&Event) + Send>;

pub(crate) struct Plan {
    pub(crate) client: Client,
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) input: Input,
    pub(crate) options: Options,
    pub(crate) deadline: Duration,
    pub(crate) on_update: Option<OnUpdate>,
    /// What the input must fit.
    pub(crate) model: Option<Model>,
    /// The first thing that the caller got wrong: told when the call is awaited.
    problem: Option<Error>,
}

impl Plan {
    pub(crate) fn new(client: Client, endpoint: &str, deadline: Duration) -> Self {
        let (endpoint, problem) = match EndpointId::parse(endpoint) {
            Ok(endpoint) => (Some(endpoint), None),
            Err(error) => (None, Some(error.into())),
        };
        let (input, options) = (Input::default(), Options::default());
        Self { client, endpoint, input, options, deadline, on_update: None, model: None, problem }
    }

    /// For a call, which may bring its input.
    pub(crate) fn of(client: Client, call: impl Call, deadline: Duration) -> Self {
        let mut plan = Self::new(client, call.endpoint(), deadline);
        match call.into_input() {
            Ok(input) => plan.input = input.unwrap_or_default(),
            Err(error) => plan.refuse(error.into()),
        }
        plan
    }

    pub(crate) fn set_input(&mut self, input: impl IntoInput) {
        match input.into_input() {
            Ok(input) => self.input = input,
            Err(error) => self.refuse(error.into()),
        }
    }

    pub(crate) fn set_tag(&mut self, key: &str, value: &str) {
        if let Err(error) = self.options.tags.insert(key, value) {
            self.refuse(error.into());
        }
    }

    pub(crate) fn set_header(&mut self, name: &str, value: &str) {
        if let Err(error) = self.options.set_header(name, value) {
            self.refuse(error.into());
        }
    }

    /// Begins, and waits until the files of the input are where they belong.
    pub(crate) async fn ready(&mut self) -> Result<(EndpointId, Bytes, Option<Instant>), Error> {
        let (endpoint, mut prepare, deadline) = self.begin()?;
        loop {
            match std::future::poll_fn(|cx| prepare.poll_step(cx)).await {
                PrepareStep::Event(event) => self.tell(event),
                PrepareStep::Done(input) => return Ok((endpoint, input?, deadline)),
            }
        }
    }

    pub(crate) fn tell(&mut self, event: impl Into<Event>) {
        tell(&mut self.on_update, &event.into());
    }

    /// Begins: the deadline counts from here.
    pub(crate) fn begin(&mut self) -> Result<(EndpointId, Prepare, Option<Instant>), Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let endpoint =
            self.endpoint.take().ok_or_else(|| Error::config("the call has begun already"))?;
        let warnings = match self.model.take() {
            None => Vec::new(),
            Some(model) if *model.endpoint() != endpoint => {
                let problem = format!("a call of {endpoint} is checked by {}", model.endpoint());
                return Err(Error::config(problem));
            }
            Some(model) => model.check(&self.input)?.warnings,
        };
        let deadline = now().checked_add(self.deadline);
        let input = std::mem::take(&mut self.input);
        let prepare = Prepare::new(&self.client, input, warnings, deadline);
        Ok((endpoint, prepare, deadline))
    }

    pub(crate) fn refuse(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }
}

pub(crate) fn tell(on_update: &mut Option<OnUpdate>, event: &Event) {
    if let Some(on_update) = on_update {
        on_update(event);
    }
}

/// The setter of a call by id. The type has a field `plan`.
macro_rules! input_setter {
    () => {
        /// Sets the model's input: anything that is `Serialize`, or an [`Input`](crate::Input) with files.
        /// Default: `{}`.
        pub fn input(mut self, input: impl crate::IntoInput) -> Self {
            self.plan.set_input(input);
            self
        }
    };
}

/// The setters that every call has. The type has a field `plan`.
macro_rules! plan_setters {
    () => {
        /// Checks the input by the model's document first: what the service would refuse is
        /// [`Error::Check`](crate::Error::Check), and nothing is uploaded, sent or paid for. What it would ignore is
        /// told as [`Event::InputWarning`](crate::Event::InputWarning).
        pub fn checked(mut self, model: &crate::Model) -> Self {
            self.plan.model = Some(model.clone());
            self
        }

        /// Sets lifetime and readers of the files that the model makes. Default: as the account says.
        pub fn lifecycle(mut self, lifecycle: crate::Lifecycle) -> Self {
            self.plan.options.lifecycle = lifecycle;
            self
        }

        /// Sets whether input and output are kept in the account's history. Default: as the account says.
        pub const fn store_io(mut self, store: bool) -> Self {
            self.plan.options.store_io = Some(store);
            self
        }

        /// Lets no other model answer when this one fails.
        pub const fn disable_fallback(mut self) -> Self {
            self.plan.options.disable_fallback = true;
            self
        }

        /// Adds a tag that the service keeps with the request; see [`Tags`](crate::Tags) for what is allowed.
        pub fn tag(mut self, key: &str, value: &str) -> Self {
            self.plan.set_tag(key, value);
            self
        }

        /// Adds a header of your own; it reaches the model's app.
        pub fn header(mut self, name: &str, value: &str) -> Self {
            self.plan.set_header(name, value);
            self
        }

        /// Sets when to give up, counted from the start of the call.
        pub const fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.plan.deadline = deadline;
            self
        }

        /// Sets who hears what happens.
        pub fn on_update(mut self, on_update: impl FnMut(&crate::Event) + Send + 'static) -> Self {
            self.plan.on_update = Some(Box::new(on_update));
            self
        }
    };
}

/// The setters about the start, which a stream does not have.
macro_rules! start_setters {
    () => {
        /// Bounds the wait for a runner to *start*, not the run itself. More than 0.1 s.
        pub const fn start_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.plan.options.start_timeout = Some(timeout);
            self
        }

        /// Prefers runners that advertise this hint, such as a loaded LoRA.
        pub fn hint(mut self, hint: impl Into<String>) -> Self {
            self.plan.options.hint = Some(hint.into());
            self
        }
    };
}

/// The setters that only the queue knows.
macro_rules! queue_setters {
    () => {
        /// Sets the order among the waiting jobs of the endpoint.
        pub const fn priority(mut self, priority: crate::Priority) -> Self {
            self.plan.options.priority = Some(priority);
            self
        }

        /// Sets how often the platform repeats a failed attempt by itself. Default: as the app says.
        pub const fn platform_retries(mut self, retries: crate::PlatformRetries) -> Self {
            self.plan.options.platform_retries = Some(retries);
            self
        }

        /// Has the service call this address on completion.
        pub fn webhook(mut self, url: impl Into<String>) -> Self {
            self.plan.options.webhook = Some(url.into());
            self
        }

        /// Refuses with 429 when more requests than this wait already.
        pub const fn max_queue_length(mut self, length: u32) -> Self {
            self.plan.options.max_queue_length = Some(length);
            self
        }
    };
}

pub(crate) use {input_setter, plan_setters, queue_setters, start_setters};
