//! The file store: uploads and pictures, under addresses that name their key.

use std::collections::VecDeque;

use bytes::Bytes;

use super::id::IdMap;
use super::picture::Picture;
use crate::render::HEX;

/// Names one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileKey(u128);

impl FileKey {
    pub(crate) const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// The path on the CDN: `/files/{animal}/{32 digits}{rest}`.
    pub(crate) fn path(self, rest: &str) -> String {
        let mut path = Vec::with_capacity(64);
        self.push_path(&mut path, rest);
        String::from_utf8(path).expect("made of texts")
    }

    /// Writes the same path.
    pub(crate) fn push_path(self, out: &mut Vec<u8>, rest: &str) {
        out.extend_from_slice(b"/files/");
        out.extend_from_slice(self.animal().as_bytes());
        out.push(b'/');
        self.push_name(out, rest);
    }

    /// Writes the last segment of the path.
    pub(crate) fn push_name(self, out: &mut Vec<u8>, rest: &str) {
        for byte in self.0.to_be_bytes() {
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        out.extend_from_slice(rest.as_bytes());
    }

    fn animal(self) -> &'static str {
        ANIMALS[(self.0 as u64 % ANIMALS.len() as u64) as usize]
    }

    /// The key that a path names, whatever follows it.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (animal, name) = path.strip_prefix("/files/")?.split_once('/')?;
        let digits = name.get(..32)?;
        if !digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let key = Self(u128::from_str_radix(digits, 16).ok()?);
        (key.animal() == animal).then_some(key)
    }
}

/// Files in order of age, and what they cost.
#[derive(Debug, Default)]
pub(crate) struct Files {
    map: IdMap<u128, File>,
    /// Ages and keys, oldest first; replacing a file does not make it younger.
    order: VecDeque<(u64, FileKey)>,
    bytes: usize,
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// What follows the key in the address.
    rest: Box<str>,
    content: Content,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing yet: its upload was started.
    Awaited { content_type: Box<str> },
    /// Uploaded bytes.
    Uploaded { content_type: Box<str>, bytes: Bytes },
    /// A picture that is drawn when somebody asks for it.
    Picture { picture: Box<Picture>, drawn: Option<Bytes> },
}

impl Files {
    /// Adds or replaces a file. `age` counts up over everything that is stored.
    pub(crate) fn put(&mut self, age: u64, key: FileKey, rest: &str, content: Content) {
        let file = File { rest: rest.into(), content };
        self.bytes += file.bytes();
        match self.map.insert(key.0, file) {
            Some(old) => self.bytes -= old.bytes(),
            None => self.order.push_back((age, key)),
        }
    }

    /// Adds a picture unless it is there.
    pub(crate) fn put_picture(
        &mut self,
        age: u64,
        key: FileKey,
        rest: &str,
        picture: impl FnOnce() -> Picture,
    ) {
        if !self.map.contains_key(&key.0) {
            self.put(
                age,
                key,
                rest,
                Content::Picture { picture: Box::new(picture()), drawn: None },
            );
        }
    }

    /// The type that was announced when the upload was started, or that the file has.
    pub(crate) fn content_type(&self, key: FileKey) -> Option<&str> {
        match &self.map.get(&key.0)?.content {
            Content::Awaited { content_type } | Content::Uploaded { content_type, .. } => {
                Some(content_type)
            }
            Content::Picture { .. } => Some("image/png"),
        }
    }

    /// Type and bytes of a file, drawn now if need be.
    pub(crate) fn read(&mut self, key: FileKey, rest: &str) -> Option<(&str, Bytes)> {
        let file = self.map.get_mut(&key.0).filter(|file| &*file.rest == rest)?;
        match &mut file.content {
            Content::Awaited { .. } => None,
            Content::Uploaded { content_type, bytes } => Some((content_type, bytes.clone())),
            Content::Picture { picture, drawn } => {
                let bytes = drawn.get_or_insert_with(|| {
                    let bytes = Bytes::from(picture.render().into_boxed_slice());
                    self.bytes += bytes.len();
                    bytes
                });
                Some(("image/png", bytes.clone()))
            }
        }
    }

    /// A picture that has yet to be drawn.
    pub(crate) fn undrawn(&self, key: FileKey) -> Option<Picture> {
        match &self.map.get(&key.0)?.content {
            Content::Picture { picture, drawn: None } => Some((**picture).clone()),
            _ => None,
        }
    }

    /// Takes a picture that was drawn elsewhere.
    pub(crate) fn drawn(&mut self, key: FileKey, bytes: Bytes) {
        let Some(file) = self.map.get_mut(&key.0) else { return };
        if let Content::Picture { drawn: drawn @ None, .. } = &mut file.content {
            self.bytes += bytes.len();
            *drawn = Some(bytes);
        }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The age of the oldest file.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.order.front().map(|(age, _)| *age)
    }

    pub(crate) fn remove_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            let file = self.map.remove(&key.0).expect("a file for every entry of the order");
            self.bytes -= file.bytes();
        }
    }
}

impl File {
    fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Awaited { content_type } => content_type.len(),
            Content::Uploaded { content_type, bytes } => content_type.len() + bytes.len(),
            Content::Picture { picture, drawn } => {
                picture.prompt.len() + picture.endpoint.len() + drawn.as_ref().map_or(0, Bytes::len)
            }
        };
        FILE_BYTES + self.rest.len() + content
    }
}

/// What the store itself needs for one file, about.
pub(crate) const FILE_BYTES: usize = 200;

/// Addresses of the CDN have the name of an animal in them.
///
/// Source: addresses in official client tests (official client source).
const ANIMALS: [&str; 12] = [
    "badger", "elephant", "giraffe", "koala", "lion", "monkey", "otter", "panda", "penguin",
    "rabbit", "tiger", "zebra",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_their_file() {
        for bits in [0, 1, u128::MAX, 0xabc << 70] {
            let key = FileKey::new(bits);
            assert_eq!(FileKey::from_path(&key.path("_cat.png")), Some(key));
        }
        for path in
            ["", "/files/", "/files/otter/abc", "/files/é/00000000000000000000000000000000", "/x"]
        {
            assert_eq!(FileKey::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn bytes_add_up() {
        let mut files = Files::default();
        let upload = |n| Content::Uploaded { content_type: "a/b".into(), bytes: vec![0; n].into() };
        files.put(1, FileKey::new(1), "_a", upload(10));
        files.put(2, FileKey::new(2), "_b", upload(20));
        files.put(3, FileKey::new(1), "_a", upload(5));
        assert_eq!(files.bytes(), 2 * (FILE_BYTES + 2 + 3) + 25);
        assert_eq!(files.oldest(), Some(1));
        assert_eq!(files.read(FileKey::new(2), "_b").unwrap().1.len(), 20);
        assert!(files.read(FileKey::new(2), "_c").is_none());
        files.remove_oldest();
        files.remove_oldest();
        assert_eq!((files.bytes(), files.oldest()), (0, None));
    }
}
