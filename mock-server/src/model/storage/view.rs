//! What a test can see of files, and do to them.

use std::time::SystemTime;

use super::super::Model;
use super::super::exchange::{Door, Host};
use super::super::files::{Content, File, FileKey};
use super::super::lifecycle::Acl;

/// What can be seen of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileView {
    /// Names it for good: 32 digits of base 16, with which `name` begins.
    pub id: String,
    /// Its address, through the door that was asked for.
    pub url: String,
    /// The last segment of the address.
    pub name: String,
    /// Its type, as announced or as sent.
    pub content_type: String,
    /// How many bytes of it there are. A picture that nobody has asked for has none yet.
    pub bytes: u64,
    /// Whether it can be downloaded: its upload is complete.
    pub is_complete: bool,
    /// The parts that have arrived, for an upload in parts that is not complete.
    pub parts: Vec<u32>,
    /// Who may read it.
    pub acl: Acl,
    /// When it is over, if ever.
    pub expires_at: Option<SystemTime>,
}

impl Model {
    /// Every file, the oldest first, those included whose upload has only been started. Addresses are written
    /// for `door`.
    #[must_use]
    pub fn files(&self, door: &Door<'_>) -> Vec<FileView> {
        self.files.by_age().filter_map(|(key, file)| self.file_view(key, file, door)).collect()
    }

    /// What can be seen of one file; `None` of one that is gone.
    pub(in super::super) fn file_view(
        &self,
        key: FileKey,
        file: &File,
        door: &Door<'_>,
    ) -> Option<FileView> {
        let (content_type, bytes, is_complete, parts) = match &file.content {
            Content::Gone => return None,
            Content::Awaited { content_type } => (&**content_type, 0, false, Vec::new()),
            Content::Parts(session) => (
                &*session.content_type,
                session.parts.values().map(super::super::content::Blob::len).sum(),
                false,
                session.parts.keys().copied().collect(),
            ),
            Content::Uploaded { .. } | Content::Made { .. } => {
                let unmade = match &file.content {
                    Content::Made { media, .. } => media.content_type(),
                    _ => "",
                };
                let readable = file.readable(key);
                let (content_type, bytes) =
                    readable.map_or((unmade, 0), |file| (file.content_type, file.len));
                (content_type, bytes, true, Vec::new())
            }
        };
        let (mut url, mut name) = (Vec::new(), Vec::new());
        Self::push_url(&mut url, door, file.host, key, &file.rest);
        key.push_name(&mut name, &file.rest);
        Some(FileView {
            id: key.to_string(),
            url: String::from_utf8(url).expect("made of texts"),
            name: String::from_utf8(name).expect("made of texts"),
            content_type: content_type.to_owned(),
            bytes,
            is_complete,
            parts,
            acl: file.acl().cloned().unwrap_or_default(),
            expires_at: file.until.map(|until| self.wall(until)),
        })
    }

    /// A file is over. Returns whether there was one.
    pub(in super::super) fn expire_file(&mut self, url: &str) -> bool {
        let Some((host, key, rest)) = locate(url) else { return false };
        if self.files.get(host, key, rest).is_none_or(|file| matches!(file.content, Content::Gone))
        {
            return false;
        }
        self.files.change(key, |file| {
            file.content = Content::Gone;
            file.until = None;
        });
        true
    }
}

/// The file that an address names, whether it is that of the service or leads through a door.
pub(crate) fn locate(url: &str) -> Option<(Host, FileKey, &str)> {
    let (_, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let name = authority.split(':').next().unwrap_or_default();
    let (host, path) = match host_of(name) {
        Some(host) => (host, path),
        None => {
            let path = &path[1..];
            let (name, path) = path.split_at(path.find('/')?);
            (host_of(name)?, path)
        }
    };
    let path = if host == Host::Gcs { path.strip_prefix(super::BUCKET)? } else { path };
    let (key, rest) = FileKey::split(path)?;
    Some((host, key, rest))
}

fn host_of(name: &str) -> Option<Host> {
    match name {
        "v3.fal.media" | "v3b.fal.media" | "v2.fal.media" | "fal.media" => Some(Host::Cdn),
        "storage.googleapis.com" | "gcs.fal.media" => Some(Host::Gcs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_located_through_every_door() {
        let key = FileKey::new(77);
        let path = key.path("_a.png");
        let want = |host| Some((host, key, "_a.png"));
        for (url, found) in [
            (format!("https://v3.fal.media{path}"), want(Host::Cdn)),
            (format!("https://v3.fal.media:8443{path}"), want(Host::Cdn)),
            (format!("http://127.0.0.1:1/v3.fal.media{path}"), want(Host::Cdn)),
            (format!("https://storage.googleapis.com/fal-mock{path}"), want(Host::Gcs)),
            (format!("http://gcs.fal.media:80/fal-mock{path}"), want(Host::Gcs)),
            (format!("https://storage.googleapis.com{path}"), None),
            (format!("https://example.com{path}"), None),
            (format!("v3.fal.media{path}"), None),
            ("https://v3.fal.media".to_owned(), None),
            ("https://v3.fal.media/files/x".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(locate(&url), found, "{url}");
        }
    }
}
