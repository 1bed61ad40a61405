//! Outputs of endpoints without a document: pictures, the same for the same seed, endpoint and input.

use std::time::Duration;

use super::answer::Store;
use super::endpoint::Shape;
use super::exchange::{Door, Host};
use super::files::FileKey;
use super::media::{Media, Picture, Size};
use crate::render;

/// A successful output, before it is written for a door.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) shape: Shape,
    pub(crate) prompt: Box<str>,
    pub(crate) seed: i128,
    pub(crate) images: u64,
    pub(crate) size: Size,
    pub(crate) key: u128,
}

impl Plain {
    /// An answer that nobody reads.
    pub(crate) fn empty() -> Self {
        let size = Size { width: 1, height: 1 };
        Self { shape: Shape::Generic, prompt: "".into(), seed: 0, images: 0, size, key: 0 }
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
        FileKey::new(self.key.wrapping_add(index as u128))
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
        store: &mut Store<'_>,
        endpoint: &str,
        door: &Door<'_>,
        time: Duration,
    ) -> Vec<u8> {
        let salted = Self { key: store.key(self.key), ..self.clone() };
        let mut file_sizes = Vec::new();
        for index in 0..self.images {
            let key = salted.file(index);
            // What a picture looks like does not depend on how long it lives.
            store.put(key, PNG_NAME, || Media::png(self.picture(index, endpoint)));
            if self.shape == Shape::ImagesSeedTimings {
                file_sizes.push(store.files.make(key).map_or(0, |bytes| bytes.len()));
            }
        }
        salted.render(door, time, &file_sizes)
    }

    /// Writes the body. `file_sizes` has one entry for each picture if the body states them.
    fn render(&self, door: &Door<'_>, time: Duration, file_sizes: &[usize]) -> Vec<u8> {
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
                render::push_number(&mut out, *bytes as u64);
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

/// The end of a picture's address.
const PNG_NAME: &str = ".png";

/// More of a prompt would not fit on a picture.
const PROMPT_CHARS_SHOWN: usize = 600;
