//! Files inside values of any type: serialising leaves a mark where a file is, and remembers the file.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{FileInput, NOT_UPLOADED};

/// What becomes of files while a value is serialised.
enum Collection {
    /// They are remembered in that order, each with its mark.
    Marks {
        /// Drawn for each value, so that no text of the caller can be a mark.
        nonce: u64,
        files: Vec<(String, FileInput)>,
    },
    /// They are shown as the addresses that they will become.
    Preview,
}

thread_local! {
    /// Set while a value is serialised, which neither waits nor leaves the thread.
    static COLLECTION: RefCell<Option<Collection>> = const { RefCell::new(None) };
}

/// Serialises by `encode`, and returns what marks there may be in the outcome.
pub(super) fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<(String, FileInput)>) {
    let nonce = RandomState::new().build_hasher().finish();
    let fresh = Collection::Marks { nonce, files: Vec::new() };
    let _guard = Restore(COLLECTION.replace(Some(fresh)));
    let encoded = encode();
    let files = match COLLECTION.take() {
        Some(Collection::Marks { files, .. }) => files,
        _ => Vec::new(),
    };
    (encoded, files)
}

/// Serialises by `encode`, with an address in the place of each file.
pub(crate) fn preview<T>(encode: impl FnOnce() -> T) -> T {
    let _guard = Restore(COLLECTION.replace(Some(Collection::Preview)));
    encode()
}

/// Puts back what was there, also when a value panics.
struct Restore(Option<Collection>);

impl Drop for Restore {
    fn drop(&mut self) {
        COLLECTION.set(self.0.take());
    }
}

/// What a file is serialised as. `None` when nobody collects.
pub(super) fn stand_in(file: &FileInput) -> Option<String> {
    COLLECTION.with_borrow_mut(|collection| match collection.as_mut()? {
        Collection::Preview => Some(file.preview().to_owned()),
        Collection::Marks { nonce, files } => {
            let mark = format!("fal-file-{nonce:016x}-{:08x}", files.len());
            files.push((mark.clone(), file.clone()));
            Some(mark)
        }
    })
}

/// JSON with files in it.
pub(super) struct Marked {
    /// The text before each file, and after the last.
    pieces: Vec<Box<str>>,
    files: Vec<FileInput>,
    urls: Vec<String>,
}

impl Marked {
    /// Cuts the text at its marks. A file whose mark is not in it was left out by somebody, and is not needed.
    pub(super) fn new(json: &str, marks: Vec<(String, FileInput)>) -> Self {
        let place = |(mark, file)| {
            let quoted = format!("\"{mark}\"");
            json.find(&quoted).map(|at| (at, quoted.len(), file))
        };
        // In the order of the text: a value may be put together in another.
        let mut places: Vec<(usize, usize, FileInput)> =
            marks.into_iter().filter_map(place).collect();
        places.sort_by_key(|(at, ..)| *at);
        let (mut pieces, mut files, mut from) = (Vec::new(), Vec::new(), 0);
        for (at, length, file) in places {
            pieces.push(json[from..at].into());
            files.push(file);
            from = at + length;
        }
        pieces.push(json[from..].into());
        Self { pieces, files, urls: Vec::new() }
    }

    pub(super) fn files(&self) -> &[FileInput] {
        &self.files
    }

    /// The same with the addresses that the files become, as far as they are known now.
    pub(super) fn preview(&self) -> Self {
        let urls = self.files.iter().map(|file| file.preview().to_owned()).collect();
        Self { pieces: self.pieces.clone(), files: self.files.clone(), urls }
    }

    pub(super) fn fill(&mut self, urls: &mut impl Iterator<Item = String>) {
        self.urls = urls.take(self.files.len()).collect();
    }
}

impl Serialize for Marked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.urls.len() < self.files.len() {
            return Err(S::Error::custom(NOT_UPLOADED));
        }
        let mut urls = self.urls.iter();
        let mut json = String::new();
        for piece in &self.pieces {
            json.push_str(piece);
            if let Some(url) = urls.next() {
                json.push_str(&serde_json::to_string(url).map_err(S::Error::custom)?);
            }
        }
        RawValue::from_string(json).map_err(S::Error::custom)?.serialize(serializer)
    }
}
