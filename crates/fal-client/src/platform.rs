//! The platform API: the catalogue, prices, request history, and the storage of an account.
//!
//! ```no_run
//! # async fn example() -> Result<(), fal_client::Error> {
//! use fal_client::Client;
//!
//! let client = Client::from_env()?;
//! let platform = client.platform();
//!
//! let mut models = platform.models().search("sticker").category("image-to-image").list();
//! while let Some(model) = models.next().await {
//!     println!("{}", model?.endpoint_id);
//! }
//! for price in platform.prices(["fal-ai/flux/dev"]).await? {
//!     println!("{} {} for each of {}", price.unit_price, price.currency, price.unit);
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fal_protocol::error::{ErrorKind, InputError, ProtocolError};
use fal_protocol::lifecycle::Acl;
use fal_protocol::platform::{
    self as core, Ask, IDS_MAX, ModelsQuery, PricesPage, Question, RequestsQuery,
};
use fal_protocol::{Answer, EndpointId};
use futures_core::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::{Client, new_seed};
use crate::drive::{Driver, now};
use crate::error::Error;

pub use fal_protocol::platform::{
    Cost, Deleted, DeletedFile, Document, Estimate, ExpansionError, Group, Meta, Metadata, Model,
    ModelsPage, Price, QueueSize, RequestRecord, RequestsPage, SignedUrl, SortBy, StorageSettings,
};

/// Asks the platform API. Cheap to make and to clone.
///
/// Reads are repeated as [`RetryPolicy`](crate::RetryPolicy) says; so are writes, because each of them puts a
/// state.
#[derive(Clone, Debug)]
pub struct Platform {
    client: Client,
    deadline: Duration,
}

impl Platform {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client, deadline: PLATFORM_DEADLINE_DEFAULT }
    }

    /// Sets when to give up a question, counted from its beginning. Default:
    /// [`PLATFORM_DEADLINE_DEFAULT`]. Each page of a list is a question.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The models of the catalogue. Needs no key.
    pub fn models(&self) -> Models {
        Models { platform: self.clone(), query: ModelsQuery::default(), problem: None }
    }

    /// One model, with its document if `with_document`. `None` when nothing is known of it. Needs no key.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when `endpoint` is no id, else as [`Models::page`].
    pub async fn model(
        &self,
        endpoint: impl AsRef<str>,
        with_document: bool,
    ) -> Result<Option<Model>, Error> {
        let id = EndpointId::parse(endpoint.as_ref())?;
        let mut query = ModelsQuery::default();
        query.openapi = with_document;
        query.endpoint_ids.push(id.clone());
        let answer = self.ask(Question::models(&query)?).await;
        let page = match answer {
            Ok(answer) => read(ModelsPage::parse(&answer.body))?,
            Err(error) if error.status().is_some_and(|status| status == 404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_it = |model: &Model| *model.endpoint_id == *id.as_str();
        // An id that the catalogue does not have comes back bare.
        let is_known =
            |model: &Model| model.metadata.is_some() || matches!(model.openapi, Some(Ok(_)));
        Ok(page.models.into_iter().find(|model| is_it(model) && is_known(model)))
    }

    /// What a unit of these endpoints costs. Those without a price are left out. More than 50 are asked for
    /// in several questions.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when one is no id, [`ErrorKind::Api`] with `not_found` when no price is known, and
    /// as every call.
    pub async fn prices(
        &self,
        endpoints: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Price>, Error> {
        let ids = parse_ids(endpoints)?;
        let mut prices = Vec::new();
        for ids in ids.chunks(IDS_MAX) {
            let mut turn = Turn::default();
            while let Some(cursor) = turn.next()? {
                let answer = self.ask(Question::prices(ids, cursor)?).await?;
                let page = read(PricesPage::parse(&answer.body))?;
                prices.extend(page.prices);
                turn.turn(page.next_cursor);
            }
        }
        Ok(prices)
    }

    /// What so many calls or units would cost.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] for an estimate of nothing, and as every call.
    pub async fn estimate(&self, estimate: &Estimate) -> Result<Cost, Error> {
        let answer = self.ask(Question::estimate(estimate)?).await?;
        read(Cost::parse(&answer.body))
    }

    /// How many requests wait for an app of one's own.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when `app` is no id, and as every call.
    pub async fn queue_size(&self, app: impl AsRef<str>) -> Result<u64, Error> {
        let app = EndpointId::parse(app.as_ref())?;
        let answer = self.ask(Question::queue_size(&app)).await?;
        Ok(read(QueueSize::parse(&answer.body))?.queue_size)
    }

    /// What this account has asked of these endpoints, at least one.
    pub fn requests(&self, endpoints: impl IntoIterator<Item = impl AsRef<str>>) -> Requests {
        let mut requests =
            Requests { platform: self.clone(), query: RequestsQuery::default(), problem: None };
        match parse_ids(endpoints) {
            Ok(ids) => requests.query.endpoint_ids = ids,
            Err(problem) => requests.problem = Some(problem),
        }
        requests
    }

    /// Removes what the service has stored of a request, and the files that it made. Needs a key with admin
    /// scope.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when this is no request id, and as every call.
    pub async fn delete_payloads(&self, request_id: impl AsRef<str>) -> Result<Deleted, Error> {
        let question = Question::delete_payloads(request_id.as_ref())?;
        // The same request has the same key, so that a repeat is no second deletion.
        let question = question.with_idempotency_key(request_id.as_ref())?;
        let answer = self.ask(question).await?;
        read(Deleted::parse(&answer.body))
    }

    /// Who may read a file.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] when `url` is no address, and as every call.
    pub async fn acl(&self, url: impl AsRef<str>) -> Result<Acl, Error> {
        let answer = self.ask(Question::acl(url.as_ref())?).await?;
        read(core::parse_acl(&answer.body))
    }

    /// Sets who may read a file; returns what was really set, which may be less.
    ///
    /// # Errors
    /// As [`acl`](Self::acl), and [`ErrorKind::Input`] for rules that cannot be.
    pub async fn set_acl(&self, url: impl AsRef<str>, acl: &Acl) -> Result<Acl, Error> {
        let answer = self.ask(Question::set_acl(url.as_ref(), acl)?).await?;
        read(core::parse_acl(&answer.body))
    }

    /// An address by which whoever has it may read a file, for 1 second to a week.
    ///
    /// # Errors
    /// As [`acl`](Self::acl), and [`ErrorKind::Input`] for another time or an address with a query.
    pub async fn sign(&self, url: impl AsRef<str>, time: Duration) -> Result<SignedUrl, Error> {
        let answer = self.ask(Question::sign(url.as_ref(), time)?).await?;
        read(SignedUrl::parse(&answer.body))
    }

    /// What holds for the account's files where a request says nothing else.
    ///
    /// # Errors
    /// As every call.
    pub async fn storage_settings(&self) -> Result<StorageSettings, Error> {
        let answer = self.ask(Question::storage_settings()).await?;
        read(StorageSettings::parse(&answer.body))
    }

    /// Replaces all of these settings; what is `None` is cleared.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] for settings that cannot be, and as every call.
    pub async fn set_storage_settings(
        &self,
        settings: &StorageSettings,
    ) -> Result<StorageSettings, Error> {
        let answer = self.ask(Question::set_storage_settings(settings)?).await?;
        read(StorageSettings::parse(&answer.body))
    }

    /// Facts about the service, such as the networks that webhooks come from. Needs no key.
    ///
    /// # Errors
    /// As every call.
    pub async fn meta(&self) -> Result<Meta, Error> {
        let answer = self.ask(Question::meta()).await?;
        read(Meta::parse(&answer.body))
    }

    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let span = tracing::debug_span!("platform", question = ?question);
        let deadline = now().checked_add(self.deadline);
        let machine = Ask::new(now(), new_seed(), self.client.settings(), question, deadline)?;
        Driver::new(machine, self.client.transport(), span).finish(drop).await
    }
}

/// A look into the catalogue. Without setters: all of it.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before `page` or `list`"]
pub struct Models {
    platform: Platform,
    query: ModelsQuery,
    problem: Option<InputError>,
}

impl Models {
    /// Only models with these words in name, description or category.
    pub fn search(mut self, words: impl Into<String>) -> Self {
        self.query.text = Some(words.into());
        self
    }

    /// Only models of this category, such as `text-to-image`.
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.query.category = Some(category.into());
        self
    }

    /// Only models of this status: `active` or `deprecated`.
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.query.status = Some(status.into());
        self
    }

    /// Only these models, at most 50. One that nothing is known of comes back without metadata.
    pub fn ids(mut self, endpoints: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        match parse_ids(endpoints) {
            Ok(ids) => self.query.endpoint_ids = ids,
            Err(problem) => self.problem = self.problem.or(Some(problem)),
        }
        self
    }

    /// Models on a page, from 1. Default: as the service likes, 10 with documents.
    pub const fn page_size(mut self, limit: u32) -> Self {
        self.query.limit = Some(limit);
        self
    }

    /// Begins with the page that this cursor names.
    pub fn cursor(mut self, cursor: impl Into<Box<str>>) -> Self {
        self.query.cursor = Some(cursor.into());
        self
    }

    /// Puts each model's OpenAPI document in.
    pub const fn with_documents(mut self) -> Self {
        self.query.openapi = true;
        self
    }

    /// Puts each model's readiness for enterprises in.
    pub const fn with_enterprise_status(mut self) -> Self {
        self.query.enterprise_status = true;
        self
    }

    /// One page.
    ///
    /// # Errors
    /// [`ErrorKind::Input`] for the first setting that had no usable form, [`ErrorKind::Api`] when the
    /// service refuses, and as every call.
    pub async fn page(self) -> Result<ModelsPage, Error> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        let answer = self.platform.ask(Question::models(&self.query)?).await?;
        read(ModelsPage::parse(&answer.body))
    }

    /// All pages, each asked for when it is needed.
    pub fn list(self) -> Listing<Model> {
        Listing::new(move |cursor| {
            let mut models = self.clone();
            models.query.cursor = cursor.or(models.query.cursor);
            async move {
                let page = models.page().await?;
                Ok((page.models, page.next_cursor))
            }
        })
    }
}

/// A look into the requests that an account has made.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before `page` or `list`"]
pub struct Requests {
    platform: Platform,
    query: RequestsQuery,
    problem: Option<InputError>,
}

impl Requests {
    /// Only requests from this time on: ISO 8601, or a day as `YYYY-MM-DD`. Default: 24 hours ago.
    pub fn since(mut self, start: impl Into<String>) -> Self {
        self.query.start = Some(start.into());
        self
    }

    /// Only requests before this time.
    pub fn until(mut self, end: impl Into<String>) -> Self {
        self.query.end = Some(end.into());
        self
    }

    /// Only requests that ended so: `success`, `error` or `user_error`.
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.query.status = Some(status.into());
        self
    }

    /// Only this request, of the last 90 days.
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.query.request_id = Some(request_id.into());
        self
    }

    /// Puts stored inputs and outputs in.
    pub const fn with_payloads(mut self) -> Self {
        self.query.payloads = true;
        self
    }

    /// Sets the order.
    pub const fn sort_by(mut self, sort_by: SortBy) -> Self {
        self.query.sort_by = Some(sort_by);
        self
    }

    /// Requests on a page, 1 to 100. Default 50.
    pub const fn page_size(mut self, limit: u32) -> Self {
        self.query.limit = Some(limit);
        self
    }

    /// Begins with the page that this cursor names.
    pub fn cursor(mut self, cursor: impl Into<Box<str>>) -> Self {
        self.query.cursor = Some(cursor.into());
        self
    }

    /// One page.
    ///
    /// # Errors
    /// As [`Models::page`].
    pub async fn page(self) -> Result<RequestsPage, Error> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        let answer = self.platform.ask(Question::requests(&self.query)?).await?;
        read(RequestsPage::parse(&answer.body))
    }

    /// All pages, each asked for when it is needed.
    pub fn list(self) -> Listing<RequestRecord> {
        Listing::new(move |cursor| {
            let mut requests = self.clone();
            requests.query.cursor = cursor.or(requests.query.cursor);
            async move {
                let page = requests.page().await?;
                Ok((page.requests, page.next_cursor))
            }
        })
    }
}

/// A list of many pages, as a stream of its entries. Ends after the first error.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Listing<T> {
    entries: Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>,
}

impl<T: Send + 'static> Listing<T> {
    fn new<F>(page: impl Fn(Option<Box<str>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(Vec<T>, Option<Box<str>>), Error>> + Send + 'static,
    {
        let pages = stream::try_unfold((page, Turn::default()), |(page, mut turn)| async move {
            let Some(cursor) = turn.next()? else { return Ok::<_, Error>(None) };
            let (entries, next) = page(cursor.map(Into::into)).await?;
            turn.turn(next);
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), (page, turn))))
        });
        Self { entries: Box::pin(pages.try_flatten()) }
    }

    /// The next entry. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        self.entries.next().await
    }
}

impl<T> Stream for Listing<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.entries.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

/// Where a reader of pages stands.
#[derive(Debug, Default)]
struct Turn {
    pages: u32,
    cursor: Option<Box<str>>,
    /// The last page named the page that it was itself.
    is_circle: bool,
    is_over: bool,
}

impl Turn {
    /// The cursor to ask with, which the first page has none of; `None` at the end.
    fn next(&mut self) -> Result<Option<Option<&str>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        if self.is_circle || self.pages >= PAGES_MAX {
            let problem = "the pages of the list have no end";
            return Err(ErrorKind::Protocol(ProtocolError::Body {
                expected: "the next page",
                problem: problem.into(),
                excerpt: self.cursor.as_deref().unwrap_or_default().into(),
            })
            .into());
        }
        self.pages += 1;
        Ok(Some(self.cursor.as_deref()))
    }

    fn turn(&mut self, next: Option<Box<str>>) {
        self.is_over = next.is_none();
        self.is_circle = next.is_some() && next == self.cursor;
        self.cursor = next;
    }
}

fn parse_ids(
    endpoints: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<Vec<EndpointId>, InputError> {
    endpoints.into_iter().map(|id| EndpointId::parse(id.as_ref())).collect()
}

fn read<T>(read: Result<T, ProtocolError>) -> Result<T, Error> {
    read.map_err(|error| ErrorKind::Protocol(error).into())
}

/// How long a question may take unless told otherwise: 2 minutes, repeats included.
pub const PLATFORM_DEADLINE_DEFAULT: Duration = Duration::from_secs(120);

/// Most pages of one list. The whole catalogue has some fifty of the service's default size.
const PAGES_MAX: u32 = 10_000;
