//! Outputs: what a model would give for an input, by its document or, without one, by a table.

use std::time::{Duration, Instant};

use fal_protocol::rand::SplitMix64;
use fal_protocol::schema::ModelSchema;
use serde_json::Value;

use super::catalog::Document;
use super::config::Config;
use super::content::Blob;
use super::endpoint::{interface, is_listed, is_text};
use super::exchange::{Door, Host};
use super::failure::Failure;
use super::files::{Content, FileKey, Files, NewFile};
use super::given::{Given, content_type};
use super::id::{RequestId, TenantId, digest};
use super::input;
use super::lifecycle::Keep;
use super::media::{Media, Size};
use super::plain::Plain;
use super::synth::{Made, speech};
use super::work::Worked;
use super::{strict, verdict};
use crate::render;

/// A successful output, before it is written for a door.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// By a table of ours.
    Plain(Plain),
    /// By the output schema of a document.
    Made(Box<Made>),
    /// By a rule of a scenario.
    Given(Box<Given>),
    /// By an app's own back end.
    Worked(Box<Worked>),
}

impl Answer {
    /// Judges an input as the model would, and decides everything about its output.
    pub(crate) fn prepare(
        config: &Config,
        files: &Files,
        endpoint: &str,
        body: &[u8],
    ) -> Result<Self, Failure> {
        let value = input::parse(body).map_err(|problems| Failure::invalid(&problems))?;
        let key = config.tenant.mark(digest(config.seed, &[endpoint.as_bytes(), body]));
        Self::from_value(config, files, key, endpoint, &value)
    }

    /// The same for a call that carries its input in the query: every value is a text.
    pub(crate) fn prepare_query(
        config: &Config,
        files: &Files,
        endpoint: &str,
        query: &str,
    ) -> Result<Self, Failure> {
        let fields = super::exchange::parameters(query)
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        let key = config.tenant.mark(digest(config.seed, &[endpoint.as_bytes(), query.as_bytes()]));
        Self::from_value(config, files, key, endpoint, &Value::Object(fields))
    }

    /// Whether sessions of an endpoint give what its document says. Those of pictures and texts have a form of their own.
    pub(crate) fn is_of_document(config: &Config, endpoint: &str) -> bool {
        let has_pictures = |schema: &ModelSchema| {
            schema.output().resolved().fields().any(|field| field.name == "images")
        };
        !is_text(endpoint)
            && document(config, endpoint).is_some_and(|document| !has_pictures(&document.schema))
    }

    /// The same for the input of a session whose outputs are pictures or texts: `bytes` is its message, `value`
    /// what that says. Pictures have this size where it says none.
    pub(crate) fn prepare_message(
        config: &Config,
        endpoint: &str,
        bytes: &[u8],
        value: &Value,
        size: Size,
    ) -> Result<Plain, Failure> {
        let key = config.tenant.mark(digest(config.seed, &[endpoint.as_bytes(), bytes]));
        if let Some(document) = document(config, endpoint) {
            verdict::judge(&document.schema, value, config.validation)?;
        }
        let plain = plain(key, endpoint, value)?;
        let has_size = value.get("image_size").is_some_and(|size| !size.is_null());
        Ok(Plain { size: if has_size { plain.size } else { size }, ..plain })
    }

    fn from_value(
        config: &Config,
        files: &Files,
        key: u128,
        endpoint: &str,
        value: &Value,
    ) -> Result<Self, Failure> {
        if let Some(document) = document(config, endpoint) {
            let input = verdict::judge(&document.schema, value, config.validation)?;
            let entry = config.catalog.get(endpoint);
            let category = entry.map_or("", |entry| &entry.metadata.category);
            let made = Made::new(&document.schema, category, endpoint, &input, key, files);
            return Ok(Self::Made(Box::new(made)));
        }
        if config.strict && config.catalog.get(endpoint).is_none() {
            return Err(strict::unknown_path(endpoint));
        }
        plain(key, endpoint, value).map(Self::Plain)
    }

    /// Judges an input for whoever does the work: as JSON, and by a document where there is one.
    pub(crate) fn check(config: &Config, endpoint: &str, body: &[u8]) -> Result<(), Failure> {
        let value = input::parse(body).map_err(|problems| Failure::invalid(&problems))?;
        match config.catalog.document(endpoint) {
            Some(document) => verdict::judge(&document.schema, &value, config.validation).map(drop),
            None => Ok(()),
        }
    }

    /// An answer that nobody reads.
    pub(crate) fn empty() -> Self {
        Self::Plain(Plain::empty())
    }

    /// What it costs.
    pub(crate) fn units(&self) -> u64 {
        match self {
            Self::Plain(plain) => plain.images(),
            Self::Made(made) => made.units(),
            Self::Given(_) => 1,
            Self::Worked(worked) => worked.units(),
        }
    }

    /// A number that follows from seed, endpoint and input.
    pub(crate) fn draw(&self) -> u64 {
        match self {
            Self::Plain(plain) => plain.draw(),
            Self::Made(made) => made.draw(),
            Self::Given(given) => given.draw(),
            Self::Worked(_) => 0,
        }
    }

    /// The length of the body, up to what depends on the door.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Plain(plain) => plain.bytes(),
            Self::Made(made) => made.bytes(),
            Self::Given(given) => given.bytes(),
            Self::Worked(worked) => worked.bytes(),
        }
    }

    /// The body, with its files put into the store; they are made only if their size is stated.
    pub(crate) fn publish(
        &self,
        files: &mut Files,
        age: &mut u64,
        endpoint: &str,
        door: &Door<'_>,
        time: Duration,
        lasting: Option<Lasting>,
    ) -> Vec<u8> {
        let mut store = Store { files, age, lasting };
        match self {
            Self::Plain(plain) => plain.publish(&mut store, endpoint, door, time),
            Self::Made(made) => made.publish(&mut store, door, time, 0),
            Self::Given(given) => given.publish(&mut store, endpoint, door),
            Self::Worked(worked) => worked.publish(door),
        }
    }

    /// How many events a stream of it has.
    pub(crate) fn frames(&self, endpoint: &str) -> usize {
        match self {
            Self::Plain(plain) if is_text(endpoint) => plain.tokens(endpoint).count(),
            Self::Made(made) => made.frames().unwrap_or(PICTURE_FRAMES),
            Self::Plain(_) => PICTURE_FRAMES,
            Self::Given(_) | Self::Worked(_) => 1,
        }
    }

    /// The event of a stream after which `left` more follow: the text so far, or the body with drafts.
    pub(crate) fn publish_frame(
        &self,
        store: &mut Store<'_>,
        endpoint: &str,
        door: &Door<'_>,
        time: Duration,
        left: usize,
    ) -> Vec<u8> {
        match self {
            Self::Plain(plain) if is_text(endpoint) => plain.said(endpoint, left),
            Self::Plain(plain) => plain.draft(left).publish(store, endpoint, door, time),
            Self::Made(made) => made.publish(store, door, time, left),
            Self::Given(given) => given.publish(store, endpoint, door),
            Self::Worked(worked) => worked.publish(door),
        }
    }
}

/// Where the files of an answer go.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    pub(crate) files: &'a mut Files,
    /// Counts up over everything that is stored.
    pub(crate) age: &'a mut u64,
    pub(crate) lasting: Option<Lasting>,
}

impl Store<'_> {
    /// The key under which the files of an answer stand that would have this one.
    pub(crate) fn key(&self, key: u128) -> u128 {
        key ^ self.lasting.as_ref().map_or(0, |lasting| lasting.salt)
    }

    /// Adds a file by its name and content. `of` tells it from others that are equal.
    pub(crate) fn put_named(
        &mut self,
        tenant: TenantId,
        name: &str,
        blob: Blob,
        of: Option<RequestId>,
    ) -> FileKey {
        let (sum, of) = (blob.digest(), of.map(|id| id.bits().to_le_bytes()));
        let sum_bytes = sum.to_le_bytes();
        let parts: Vec<&[u8]> = [name.as_bytes(), &sum_bytes]
            .into_iter()
            .chain(of.as_ref().map(|of| &of[..]))
            .collect();
        let key = FileKey::new(tenant.mark(self.key(digest(0, &parts))));
        self.put_content(key, &rest_of(name), || Content::Uploaded {
            content_type: content_type(name).into(),
            etag: format!("{sum:032x}").into(),
            blobs: Box::new([blob]),
        });
        key
    }

    /// Adds a file unless it is there, or its time is over already.
    pub(crate) fn put(&mut self, key: FileKey, rest: &str, media: impl FnOnce() -> Media) {
        self.put_content(key, rest, || Content::Made { media: Box::new(media()), bytes: None });
    }

    /// The same with any content.
    pub(crate) fn put_content(
        &mut self,
        key: FileKey,
        rest: &str,
        content: impl FnOnce() -> Content,
    ) {
        *self.age += 1;
        let lasting = self.lasting.as_ref();
        if !self.files.is_free(key) || lasting.is_some_and(|lasting| lasting.is_over) {
            return;
        }
        let file = NewFile {
            host: Host::Cdn,
            rest,
            keep: lasting.map(|lasting| lasting.keep.clone()),
            until: lasting.and_then(|lasting| lasting.until),
        };
        self.files.add(*self.age, key, file, content());
    }
}

/// Writes the address of a file that was put by its name.
pub(crate) fn push_address(out: &mut Vec<u8>, door: &Door<'_>, key: FileKey, name: &str) {
    door.push_base(out, Host::Cdn);
    key.push_path(out, &rest_of(name));
}

fn rest_of(name: &str) -> String {
    format!("_{name}")
}

/// What the files of one call get that are not public for ever. They have addresses of their own.
#[derive(Debug)]
pub(crate) struct Lasting {
    keep: Box<Keep>,
    salt: u128,
    until: Option<Instant>,
    is_over: bool,
}

impl Lasting {
    /// For the files of the call `id`, which were made at `made`.
    pub(crate) fn new(id: RequestId, keep: &Keep, made: Instant, now: Instant) -> Self {
        let until = keep.lifetime.and_then(|time| made.checked_add(time));
        let is_over = until.is_some_and(|until| until <= now);
        Self { keep: Box::new(keep.clone()), salt: id.bits() & SALT_BITS, until, is_over }
    }
}

/// The document that decides about an endpoint: one that was loaded, or one that came with the mock where no
/// table says more.
fn document<'a>(config: &'a Config, endpoint: &str) -> Option<&'a Document> {
    let document = config.catalog.document(endpoint)?;
    (!(document.is_bundled && is_listed(endpoint))).then_some(document)
}

/// Judges an input by a table, and decides everything about its output.
fn plain(key: u128, endpoint: &str, value: &Value) -> Result<Plain, Failure> {
    let interface = interface(endpoint);
    let input = input::read(interface, value).map_err(|problems| Failure::invalid(&problems))?;
    let drawn = || i128::from(SplitMix64::new(key as u64).below(1 << 32));
    Ok(Plain {
        shape: interface.output,
        prompt: input.prompt,
        seed: input.seed.unwrap_or_else(drawn),
        images: input.images,
        size: input.size,
        key,
    })
}

impl Plain {
    /// What a text model says.
    pub(crate) fn tokens(&self, endpoint: &str) -> impl Iterator<Item = String> {
        speech::tokens(self.draw(), self.prompt(), endpoint)
    }

    /// All tokens but the last ones: texts are cumulative.
    fn said(&self, endpoint: &str, left: usize) -> Vec<u8> {
        let tokens: Vec<String> = self.tokens(endpoint).collect();
        let text = tokens[..tokens.len().saturating_sub(left)].concat();
        let mut out = b"{\"output\":".to_vec();
        render::push_string(&mut out, &text);
        out.extend_from_slice(if left > 0 { b",\"partial\":true" } else { b",\"partial\":false" });
        out.extend_from_slice(b",\"error\":null}");
        out
    }
}

/// A salt leaves the bits alone that say whose a file is.
const SALT_BITS: u128 = (1 << 96) - 1;

/// Objects that a stream of pictures consists of, the final one included.
const PICTURE_FRAMES: usize = 4;
