//! Outputs: what a model would give for an input, the same for the same seed, endpoint and input.

use std::time::{Duration, Instant};

use fal_protocol::rand::SplitMix64;
use serde_json::Value;

use super::config::Config;
use super::endpoint::{Shape, interface, is_listed};
use super::exchange::{Door, Host};
use super::failure::Failure;
use super::files::{Content, FileKey, Files, NewFile};
use super::id::{RequestId, digest};
use super::input;
use super::lifecycle::Keep;
use super::picture::{Picture, Size};
use super::verdict;
use crate::render;

/// A successful output, before it is written for a door.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    shape: Shape,
    prompt: Box<str>,
    seed: i128,
    images: u64,
    size: Size,
    key: u128,
    /// Sets the addresses of files apart that do not live as long as others.
    salt: u128,
}

impl Answer {
    /// Judges an input as the model would, and decides everything about its output.
    pub(crate) fn prepare(config: &Config, endpoint: &str, body: &[u8]) -> Result<Self, Failure> {
        let value = input::parse(body).map_err(|problems| Failure::invalid(&problems))?;
        let key = digest(config.seed, &[endpoint.as_bytes(), body]);
        Self::from_value(config, key, endpoint, &value)
    }

    /// The same for a call that carries its input in the query: every value is a text.
    pub(crate) fn prepare_query(
        config: &Config,
        endpoint: &str,
        query: &str,
    ) -> Result<Self, Failure> {
        let fields = super::exchange::parameters(query)
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        let key = digest(config.seed, &[endpoint.as_bytes(), query.as_bytes()]);
        Self::from_value(config, key, endpoint, &Value::Object(fields))
    }

    /// The same for the input of a session: `bytes` is its message, `value` what that says. Pictures have
    /// this size where it says none.
    pub(crate) fn prepare_message(
        config: &Config,
        endpoint: &str,
        bytes: &[u8],
        value: &Value,
        size: Size,
    ) -> Result<Self, Failure> {
        let key = digest(config.seed, &[endpoint.as_bytes(), bytes]);
        let answer = Self::from_value(config, key, endpoint, value)?;
        let has_size = value.get("image_size").is_some_and(|size| !size.is_null());
        Ok(Self { size: if has_size { answer.size } else { size }, ..answer })
    }

    fn from_value(
        config: &Config,
        key: u128,
        endpoint: &str,
        value: &Value,
    ) -> Result<Self, Failure> {
        let interface = interface(endpoint);
        if let Some(document) = config.catalog.document(endpoint)
            && !(document.is_bundled && is_listed(endpoint))
        {
            verdict::judge(&document.schema, value)?;
        }
        let input =
            input::read(interface, value).map_err(|problems| Failure::invalid(&problems))?;
        let drawn = || i128::from(SplitMix64::new(key as u64).below(1 << 32));
        Ok(Self {
            shape: interface.output,
            prompt: input.prompt,
            seed: input.seed.unwrap_or_else(drawn),
            images: input.images,
            size: input.size,
            key,
            salt: 0,
        })
    }

    /// An answer that nobody reads.
    pub(crate) fn empty() -> Self {
        let size = Size { width: 1, height: 1 };
        Self { shape: Shape::Generic, prompt: "".into(), seed: 0, images: 0, size, key: 0, salt: 0 }
    }

    /// How many pictures it has, which is also what it costs.
    pub(crate) const fn images(&self) -> u64 {
        self.images
    }

    /// What the input asked for.
    pub(crate) fn prompt(&self) -> &str {
        &self.prompt
    }

    /// The seed that it shows.
    pub(crate) const fn seed(&self) -> i128 {
        self.seed
    }

    /// Its pictures, not drawn yet.
    pub(crate) fn pictures(&self, endpoint: &str) -> Vec<Picture> {
        (0..self.images).map(|index| self.picture(index, endpoint)).collect()
    }

    /// A number that follows from seed, endpoint and input.
    pub(crate) const fn draw(&self) -> u64 {
        self.key as u64
    }

    /// The same with other pictures: what there is while `left` more steps are to be done. The last step
    /// has the final ones.
    pub(crate) fn draft(&self, left: usize) -> Self {
        Self { key: self.key.wrapping_add((left as u128) << 64), ..self.clone() }
    }

    const fn file(&self, index: u64) -> FileKey {
        FileKey::new((self.key ^ self.salt).wrapping_add(index as u128))
    }

    fn picture(&self, index: u64, endpoint: &str) -> Picture {
        Picture {
            size: self.size,
            seed: (self.key >> 64) as u64 ^ index,
            endpoint: endpoint.into(),
            prompt: self.prompt.chars().take(PROMPT_CHARS_SHOWN).collect(),
        }
    }

    /// The length of the body, up to what depends on the door.
    pub(crate) fn bytes(&self) -> usize {
        let images = usize::try_from(self.images).expect("at most four");
        200 + self.prompt.len() + images * 200
    }

    /// The body, with its pictures put into the store; they are drawn only if their size is stated.
    pub(crate) fn publish(
        &self,
        files: &mut Files,
        age: &mut u64,
        endpoint: &str,
        door: &Door<'_>,
        time: Duration,
        lasting: Option<Lasting>,
    ) -> Vec<u8> {
        match &lasting {
            None => self.publish_as(files, age, endpoint, door, time, None),
            Some(Lasting { salt, .. }) => Self { salt: *salt, ..self.clone() }.publish_as(
                files,
                age,
                endpoint,
                door,
                time,
                lasting.as_ref(),
            ),
        }
    }

    fn publish_as(
        &self,
        files: &mut Files,
        age: &mut u64,
        endpoint: &str,
        door: &Door<'_>,
        time: Duration,
        lasting: Option<&Lasting>,
    ) -> Vec<u8> {
        let mut file_sizes = Vec::new();
        for index in 0..self.images {
            *age += 1;
            let key = self.file(index);
            let is_over = lasting.is_some_and(|lasting| lasting.is_over);
            if files.is_free(key) && !is_over {
                let file = NewFile {
                    host: Host::Cdn,
                    rest: PNG_NAME,
                    keep: lasting.map(|lasting| lasting.keep.clone()),
                    until: lasting.and_then(|lasting| lasting.until),
                };
                let picture = Box::new(self.picture(index, endpoint));
                files.add(*age, key, file, Content::Picture { picture, drawn: None });
            }
            if self.shape == Shape::ImagesSeedTimings {
                files.draw(key);
                let file = files.get(Host::Cdn, key, PNG_NAME);
                file_sizes
                    .push(file.and_then(|file| file.readable(key)).map_or(0, |file| file.len));
            }
        }
        self.render(door, time, &file_sizes)
    }

    /// Writes the body. `file_sizes` has one entry for each picture if the body states them.
    fn render(&self, door: &Door<'_>, time: Duration, file_sizes: &[u64]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.extend_from_slice(b"{\"images\":[");
        for index in 0..self.images {
            if index > 0 {
                out.push(b',');
            }
            let file = self.file(index);
            out.extend_from_slice(b"{\"url\":\"");
            door.push_base(&mut out, Host::Cdn);
            out.extend_from_slice(file.path(PNG_NAME).as_bytes());
            out.extend_from_slice(b"\",\"width\":");
            render::push_number(&mut out, u64::from(self.size.width));
            out.extend_from_slice(b",\"height\":");
            render::push_number(&mut out, u64::from(self.size.height));
            out.extend_from_slice(b",\"content_type\":\"image/png\"");
            if let Some(bytes) = file_sizes.get(usize::try_from(index).expect("at most four")) {
                out.extend_from_slice(b",\"file_name\":\"");
                file.push_name(&mut out, PNG_NAME);
                out.extend_from_slice(b"\",\"file_size\":");
                render::push_number(&mut out, *bytes);
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"seed\":");
        out.extend_from_slice(self.seed.to_string().as_bytes());
        if self.shape == Shape::Generic {
            out.extend_from_slice(b",\"prompt\":");
            render::push_string(&mut out, &self.prompt);
        }
        out.extend_from_slice(b",\"timings\":{\"inference\":");
        render::push_seconds(&mut out, time);
        out.push(b'}');
        if self.shape == Shape::Generic {
            out.extend_from_slice(b",\"has_nsfw_concepts\":[");
            for index in 0..self.images {
                out.extend_from_slice(if index == 0 { b"false" } else { b",false" });
            }
            out.push(b']');
        }
        out.push(b'}');
        out
    }
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
        Self { keep: Box::new(keep.clone()), salt: id.bits(), until, is_over }
    }
}

/// The end of a picture's address.
const PNG_NAME: &str = ".png";

/// More of a prompt would not fit on a picture.
const PROMPT_CHARS_SHOWN: usize = 600;
