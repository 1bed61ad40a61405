//! The file store: uploads and pictures, under addresses that name their key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;

use super::content::{Blob, Piece, slice};
use super::exchange::Host;
use super::id::{IdMap, TenantId};
use super::keep::FileLog;
use super::lifecycle::{Acl, Keep};
use super::media::{Media, Size, measure};
use crate::render::HEX;

/// Names one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileKey(u128);

impl FileKey {
    pub(crate) const fn new(bits: u128) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u128 {
        self.0
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

    /// The key that a path names, and what follows it.
    pub(crate) fn split(path: &str) -> Option<(Self, &str)> {
        let key = Self::from_path(path)?;
        // The address up to the key has one form only, so the rest is what remains.
        Some((key, &path[key.path("").len()..]))
    }
}

/// 32 digits of base 16.
impl std::fmt::Display for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Whose file a path names, on whatever host.
pub(crate) fn tenant_of(path: &str) -> Option<TenantId> {
    // At Google's a bucket stands before it.
    let path = &path[path.find("/files/")?..];
    FileKey::from_path(path).map(|key| TenantId::of(key.0))
}

/// Files in order of age, and what they cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    map: IdMap<u128, File>,
    /// Oldest first; replacing the content of a file does not make it younger.
    order: BTreeMap<u64, FileKey>,
    /// Whole files with bytes outside of memory, oldest first.
    spooled: BTreeSet<(u64, FileKey)>,
    expiries: BTreeSet<(Instant, FileKey)>,
    bytes: usize,
    spooled_bytes: u64,
    /// What has changed since somebody asked, if anybody wants to know.
    changed: Option<BTreeSet<FileKey>>,
    /// What has changed since it was written down, if anybody writes it down.
    pub(super) log: Option<Box<FileLog>>,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    age: u64,
    /// Where it is served.
    pub(crate) host: Host,
    /// What follows the key in the address.
    pub(crate) rest: Box<str>,
    /// If it is not public for ever.
    pub(crate) keep: Option<Box<Keep>>,
    /// When it is over, or its upload.
    pub(crate) until: Option<Instant>,
    pub(crate) content: Content,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Nothing yet: its upload was started.
    Awaited { content_type: Box<str> },
    /// Some parts of it.
    Parts(Box<Session>),
    /// Uploaded bytes.
    Uploaded { content_type: Box<str>, etag: Box<str>, blobs: Box<[Blob]> },
    /// What a model has made, encoded when somebody asks for it.
    Made { media: Box<Media>, bytes: Option<Bytes> },
    /// Nothing any more, by order of a test. It stays, because what a model made would be put there again.
    Gone,
}

/// An upload in parts that is not complete.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Stands in the addresses of the parts.
    pub(crate) id: u128,
    pub(crate) access: Access,
    pub(crate) content_type: Box<str>,
    pub(crate) parts: BTreeMap<u32, Blob>,
}

/// What opens an upload in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The signature in its addresses.
    Signature,
    /// A token in the header `Authorization`.
    Token,
    /// A key in the header `Authorization`; each part has a signed address.
    Key,
}

/// What is known of a file that can be read.
#[derive(Debug)]
pub(crate) struct Readable<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) etag: String,
    pub(crate) len: u64,
}

impl Files {
    /// Adds a file unless its key is taken. `age` counts up over everything that is stored.
    pub(crate) fn add(&mut self, age: u64, key: FileKey, file: NewFile<'_>, content: Content) {
        if self.map.contains_key(&key.0) {
            return;
        }
        let NewFile { host, rest, keep, until } = file;
        let file = File { age, host, rest: rest.into(), keep, until, content };
        self.order.insert(age, key);
        self.count(key, &file);
        self.map.insert(key.0, file);
        self.log(age, key);
        self.note(key);
    }

    /// A file at its address.
    pub(crate) fn get(&self, host: Host, key: FileKey, rest: &str) -> Option<&File> {
        self.map.get(&key.0).filter(|file| file.host == host && &*file.rest == rest)
    }

    /// Changes a file and what it costs.
    pub(crate) fn change<T>(
        &mut self,
        key: FileKey,
        change: impl FnOnce(&mut File) -> T,
    ) -> Option<T> {
        // Taken out meanwhile, so that costs are counted in one place.
        let mut file = self.map.remove(&key.0)?;
        self.discount(key, &file);
        let result = change(&mut file);
        self.count(key, &file);
        self.log(file.age, key);
        self.map.insert(key.0, file);
        self.note(key);
        Some(result)
    }

    /// Whether what a model made could be added under this key.
    pub(crate) fn is_free(&self, key: FileKey) -> bool {
        !self.map.contains_key(&key.0)
    }

    /// Encodes what a model made, if that has yet to be done, and gives it.
    pub(crate) fn make(&mut self, key: FileKey) -> Option<Bytes> {
        if let Some(media) = self.unmade(key) {
            self.take_made(key, Bytes::from(media.make().into_boxed_slice()));
        }
        match &self.map.get(&key.0)?.content {
            Content::Made { bytes, .. } => bytes.clone(),
            _ => None,
        }
    }

    /// What a model made and has yet to be encoded.
    pub(crate) fn unmade(&self, key: FileKey) -> Option<Media> {
        match &self.map.get(&key.0)?.content {
            Content::Made { media, bytes: None } => Some((**media).clone()),
            _ => None,
        }
    }

    /// Takes what was encoded elsewhere.
    pub(crate) fn take_made(&mut self, key: FileKey, made: Bytes) {
        let Some(file) = self.map.get_mut(&key.0) else { return };
        if let Content::Made { bytes: bytes @ None, .. } = &mut file.content {
            self.bytes += made.len();
            *bytes = Some(made);
            self.note(key);
        }
    }

    /// The size of a picture, if the file is one whose head is in memory.
    pub(crate) fn picture_size(&self, key: FileKey) -> Option<Size> {
        let file = self.map.get(&key.0)?;
        if let Content::Made { media, .. } = &file.content {
            return media.size();
        }
        let len = file.readable(key)?.len;
        match file.pieces(0, len.min(measure::HEAD_BYTES_MAX)).first()? {
            Piece::Memory(bytes) => measure::size_of(bytes),
            Piece::Spooled { .. } => None,
        }
    }

    fn count(&mut self, key: FileKey, file: &File) {
        let (bytes, spooled) = file.cost();
        self.bytes += bytes;
        self.spooled_bytes += spooled;
        if spooled > 0 && matches!(file.content, Content::Uploaded { .. }) {
            self.spooled.insert((file.age, key));
        }
        if let Some(until) = file.until {
            self.expiries.insert((until, key));
        }
    }

    fn discount(&mut self, key: FileKey, file: &File) {
        let (bytes, spooled) = file.cost();
        self.bytes -= bytes;
        self.spooled_bytes -= spooled;
        self.spooled.remove(&(file.age, key));
        if let Some(until) = file.until {
            self.expiries.remove(&(until, key));
        }
    }

    pub(super) fn remove(&mut self, key: FileKey) {
        if let Some(file) = self.map.remove(&key.0) {
            self.discount(key, &file);
            self.order.remove(&file.age);
            self.log(file.age, key);
            self.note(key);
        }
    }

    /// Begins or ends to note what changes.
    pub(crate) fn watch(&mut self, is_watched: bool) {
        self.changed = is_watched.then(BTreeSet::new);
    }

    /// Begins to note what is to be written down: all that is there. `last_blob` numbers bodies.
    pub(super) fn keep_anew(&mut self, last_blob: u64) {
        let mut log = FileLog::after(last_blob);
        for (key, file) in self.by_age() {
            log.touched(file.age, key);
            if let Content::Parts(session) = &file.content {
                session.parts.keys().for_each(|number| log.part_touched(file.age, key, *number));
            }
        }
        self.log = Some(Box::new(log));
    }

    /// A part of an upload has come, or has gone.
    pub(super) fn part_changed(&mut self, key: FileKey, number: u32) {
        if let (Some(log), Some(file)) = (&mut self.log, self.map.get(&key.0)) {
            log.part_touched(file.age, key, number);
        }
    }

    fn log(&mut self, age: u64, key: FileKey) {
        if let Some(log) = &mut self.log {
            log.touched(age, key);
        }
    }

    fn note(&mut self, key: FileKey) {
        self.changed.as_mut().map(|changed| changed.insert(key));
    }

    /// What has changed, each file once; all of them changed if there are more than `max`: `None`.
    pub(crate) fn take_changed(
        &mut self,
        max: usize,
    ) -> impl Iterator<Item = Option<FileKey>> + use<> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        let is_missed = changed.len() > max;
        let keys = changed.into_iter().take(if is_missed { 0 } else { max }).map(Some);
        keys.chain(is_missed.then_some(None))
    }

    /// A file by its key alone.
    pub(crate) fn find(&self, key: FileKey) -> Option<&File> {
        self.map.get(&key.0)
    }

    /// Bytes in memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes outside of memory.
    pub(crate) const fn spooled_bytes(&self) -> u64 {
        self.spooled_bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The age of the oldest file.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.order.first_key_value().map(|(age, _)| *age)
    }

    pub(crate) fn remove_oldest(&mut self) {
        if let Some((_, key)) = self.order.first_key_value() {
            self.remove(*key);
        }
    }

    /// Removes the oldest whole file with bytes outside of memory. Uploads in parts stay: taking them away
    /// from under an upload that is too large would only hide why it fails.
    pub(crate) fn remove_oldest_spooled(&mut self) -> bool {
        let Some((_, key)) = self.spooled.first().copied() else { return false };
        self.remove(key);
        true
    }

    /// When the next file is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(until, _)| *until)
    }

    /// Forgets the files whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((until, key)) = self.expiries.first().copied()
            && until <= now
        {
            self.remove(key);
        }
    }

    /// Every file with its key, the oldest first.
    pub(crate) fn by_age(&self) -> impl Iterator<Item = (FileKey, &File)> {
        self.order.values().filter_map(|key| Some((*key, self.map.get(&key.0)?)))
    }
}

/// What a file has beside its content.
#[derive(Debug)]
pub(crate) struct NewFile<'a> {
    pub(crate) host: Host,
    pub(crate) rest: &'a str,
    pub(crate) keep: Option<Box<Keep>>,
    pub(crate) until: Option<Instant>,
}

impl File {
    /// Bytes in memory and outside of it.
    fn cost(&self) -> (usize, u64) {
        let keep = self.keep.as_ref().map_or(0, |keep| size_of::<Keep>() + keep.acl.bytes());
        let (mut bytes, mut spooled) = (FILE_BYTES + self.rest.len() + keep, 0);
        let mut add = |blobs: &mut dyn Iterator<Item = &Blob>| {
            for blob in blobs {
                let (in_memory, elsewhere) = blob.cost();
                bytes += in_memory;
                spooled += elsewhere;
            }
        };
        match &self.content {
            Content::Awaited { content_type } => bytes += content_type.len(),
            Content::Parts(session) => {
                add(&mut session.parts.values());
                bytes += size_of::<Session>() + session.content_type.len();
            }
            Content::Uploaded { content_type, etag, blobs } => {
                add(&mut blobs.iter());
                bytes += content_type.len() + etag.len();
            }
            Content::Made { media, bytes: made } => {
                bytes += media.bytes() + made.as_ref().map_or(0, Bytes::len);
            }
            Content::Gone => {}
        }
        (bytes, spooled)
    }

    /// What is known of it, if it can be read. What a model made must be encoded.
    pub(crate) fn readable(&self, key: FileKey) -> Option<Readable<'_>> {
        match &self.content {
            Content::Uploaded { content_type, etag, blobs } => Some(Readable {
                content_type,
                etag: etag.to_string(),
                len: blobs.iter().map(Blob::len).sum(),
            }),
            Content::Made { media, bytes: Some(bytes) } => {
                let mut etag = Vec::new();
                key.push_name(&mut etag, &format!("-{:x}", bytes.len()));
                Some(Readable {
                    content_type: media.content_type(),
                    etag: String::from_utf8(etag).expect("digits"),
                    len: bytes.len() as u64,
                })
            }
            Content::Made { bytes: None, .. }
            | Content::Awaited { .. }
            | Content::Parts(_)
            | Content::Gone => None,
        }
    }

    /// A stretch of it.
    pub(crate) fn pieces(&self, from: u64, to: u64) -> Vec<Piece> {
        match &self.content {
            Content::Uploaded { blobs, .. } => slice(blobs, from, to),
            Content::Made { bytes: Some(bytes), .. } => {
                let at = |n: u64| usize::try_from(n).expect("within bytes that are in memory");
                vec![Piece::Memory(bytes.slice(at(from)..at(to)))]
            }
            _ => Vec::new(),
        }
    }

    /// Whether anybody may know of it.
    pub(crate) const fn is_there(&self) -> bool {
        matches!(self.content, Content::Uploaded { .. } | Content::Made { .. })
    }

    pub(super) const fn age(&self) -> u64 {
        self.age
    }

    pub(crate) fn acl(&self) -> Option<&Acl> {
        self.keep.as_ref().map(|keep| &keep.acl)
    }
}

/// What the store itself needs for one file, about.
pub(crate) const FILE_BYTES: usize = 300;

/// Addresses of the CDN have the name of an animal in them.
///
/// Source: addresses in official client tests (official client source).
const ANIMALS: [&str; 12] = [
    "badger", "elephant", "giraffe", "koala", "lion", "monkey", "otter", "panda", "penguin",
    "rabbit", "tiger", "zebra",
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::content::Spooled;
    use super::*;

    #[test]
    fn addresses_name_their_file() {
        for bits in [0, 1, u128::MAX, 0xabc << 70] {
            let key = FileKey::new(bits);
            assert_eq!(FileKey::split(&key.path("_cat.png")), Some((key, "_cat.png")));
        }
        for path in
            ["", "/files/", "/files/otter/abc", "/files/é/00000000000000000000000000000000", "/x"]
        {
            assert_eq!(FileKey::from_path(path), None, "{path}");
        }
    }

    fn add(files: &mut Files, age: u64, blobs: &[Blob], until: Option<Instant>) -> FileKey {
        let key = FileKey::new(age.into());
        let file = NewFile { host: Host::Cdn, rest: "_a", keep: None, until };
        files.add(age, key, file, Content::Awaited { content_type: "a/b".into() });
        let (etag, blobs) = ("".into(), blobs.into());
        files.change(key, |file| {
            file.content = Content::Uploaded { content_type: "a/b".into(), etag, blobs };
        });
        key
    }

    #[test]
    fn costs_add_up_to_nothing() {
        let memory = |n| Blob::memory(vec![0; n].into());
        let spooled = |n| Blob::Spooled(Spooled::new(n, 0, Arc::new(())));
        let now = Instant::now();
        let mut files = Files::default();
        let first = add(&mut files, 1, &[memory(10), spooled(1000)], None);
        let second = add(&mut files, 2, &[spooled(500)], Some(now + Duration::from_secs(1)));
        add(&mut files, 3, &[memory(10)], None);
        assert_eq!((files.spooled_bytes(), files.len(), files.oldest()), (1500, 3, Some(1)));
        let before = files.bytes();
        files.change(first, |file| {
            file.content = Content::Awaited { content_type: "a/b".into() };
        });
        assert!(files.bytes() < before);
        assert_eq!(files.spooled_bytes(), 500);
        assert_eq!(files.next_expiry(), Some(now + Duration::from_secs(1)));
        assert!(files.remove_oldest_spooled() && !files.remove_oldest_spooled());
        assert!(files.get(Host::Cdn, second, "_a").is_none());
        assert_eq!((files.next_expiry(), files.oldest()), (None, Some(1)));
        files.remove_oldest();
        files.remove_oldest();
        assert_eq!((files.bytes(), files.spooled_bytes(), files.len()), (0, 0, 0));
    }

    #[test]
    fn files_are_over_at_their_instant() {
        let now = Instant::now();
        let mut files = Files::default();
        let until = now + Duration::from_secs(5);
        let key = add(&mut files, 1, &[Blob::memory("x".into())], Some(until));
        files.expire(until - Duration::from_nanos(1));
        assert!(files.get(Host::Cdn, key, "_a").is_some());
        files.expire(until);
        assert!(files.get(Host::Cdn, key, "_a").is_none() && files.next_expiry().is_none());
    }
}
