//! Recordings, read once and shared by all tenants.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::matching::Question;
use crate::cassette::{Answered, Content, Entry, Store};
use crate::doors;
use crate::http::Spool;
use crate::model::{Host, Piece};

/// All recordings of a directory.
#[derive(Debug)]
pub(crate) struct Library {
    pub(super) entries: Vec<Loaded>,
    by_target: HashMap<Target, Vec<usize>>,
    /// Entries that answer the same question, in order.
    pub(super) groups: Vec<Vec<usize>>,
    files: BTreeMap<(Host, String), Stored>,
}

type Target = (Method, Host, String);

/// One entry.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Its cassette and its place there: `queue.fal.run/fal-ai/flux/dev.json#2`.
    pub(super) name: HeaderValue,
    pub(super) method: Method,
    pub(super) host: Host,
    pub(super) path: String,
    pub(super) question: Question,
    pub(super) group: usize,
    pub(super) entry: Entry,
    pub(super) response: Given,
    pub(super) result: Option<Given>,
    pub(super) cancel: Option<Given>,
}

/// An answer with its body at hand.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) after_ms: u64,
    pub(super) status: http::StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
}

/// A file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) content_type: HeaderValue,
    pub(super) etag: HeaderValue,
    pub(super) pieces: Vec<Piece>,
}

impl Library {
    /// Reads a directory. Long files go to the spool.
    ///
    /// # Errors
    /// `InvalidData`, when something in it cannot be used.
    pub(crate) fn load(dir: &Path, spool: &std::sync::Arc<Spool>) -> io::Result<Self> {
        let store = Store::read(dir)?;
        let mut library = Self {
            entries: Vec::new(),
            by_target: HashMap::new(),
            groups: Vec::new(),
            files: BTreeMap::new(),
        };
        for (cassette, place, entry) in store.entries() {
            let name = format!("{cassette}#{place}");
            let wrong =
                |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {why}"));
            let body_of = |content: &Option<Content>| match content {
                None => Ok(Bytes::new()),
                Some(Content::File(file)) => store.file(file),
                Some(inline) => {
                    Ok(inline.inline().unwrap_or_default().into_owned().into_bytes().into())
                }
            };
            let given = |answered: &Answered| {
                Ok::<_, io::Error>(Given {
                    after_ms: answered.after_ms,
                    status: http::StatusCode::from_u16(answered.status)
                        .map_err(|_| wrong(&format!("{} is no status", answered.status)))?,
                    headers: answered
                        .headers
                        .iter()
                        .filter_map(|(name, value)| Some((name.parse().ok()?, value.clone())))
                        .collect(),
                    body: body_of(&answered.body)?,
                })
            };
            let request = &entry.request;
            let Some(Ok(host)) = doors::host_of(&request.host) else {
                return Err(wrong(&format!("{:?} is no host of the service", request.host)));
            };
            let method: Method = request.method.parse().map_err(|_| wrong("the method is none"))?;
            let path = trimmed(&request.path).to_owned();
            let question = Question::recorded(&request.query, &body_of(&request.body)?);
            let job = entry.job.as_ref();
            let optional = |answered: Option<&Answered>| answered.map(given).transpose();
            let index = library.entries.len();
            let target = library.by_target.entry((method.clone(), host, path.clone())).or_default();
            let twin = target.iter().find(|at| library.entries[**at].question == question);
            let group = match twin {
                Some(twin) => library.entries[*twin].group,
                None => {
                    library.groups.push(Vec::new());
                    library.groups.len() - 1
                }
            };
            target.push(index);
            library.groups[group].push(index);
            library.entries.push(Loaded {
                name: HeaderValue::from_str(&name)
                    .map_err(|_| wrong("the name cannot stand in a header"))?,
                method,
                host,
                path,
                question,
                group,
                response: given(&entry.response)?,
                result: optional(job.and_then(|job| job.result.as_ref()))?,
                cancel: optional(job.and_then(|job| job.cancel.as_ref()))?,
                entry: entry.clone(),
            });
        }
        for (url, indexed) in &store.index().files {
            let place = url.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
            let Some((host, path)) =
                place.and_then(|(name, path)| Some((doors::host_of(name)?.ok()?, path)))
            else {
                let why = format!("{url} is no address of a file of the service");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            };
            let bytes = store.file(&indexed.file)?;
            let octets = HeaderValue::from_static("application/octet-stream");
            let digest = indexed.file.split('.').next().unwrap_or_default();
            let stored = Stored {
                content_type: HeaderValue::from_str(&indexed.content_type).unwrap_or(octets),
                etag: HeaderValue::try_from(format!("\"{digest}\""))
                    .unwrap_or(HeaderValue::from_static("\"\"")),
                pieces: keep(bytes, spool)?,
            };
            library.files.insert((host, format!("/{path}")), stored);
        }
        Ok(library)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries of this method, host and path.
    pub(super) fn at(&self, method: &Method, host: Host, path: &str) -> &[usize] {
        let target = (method.clone(), host, trimmed(path).to_owned());
        self.by_target.get(&target).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has_target(&self, method: &Method, host: Host, path: &str) -> bool {
        !self.at(method, host, path).is_empty()
    }

    pub(super) fn file(&self, host: Host, path: &str) -> Option<&Stored> {
        self.files.get(&(host, path.to_owned()))
    }
}

/// A path without its outer slashes, which clients set as they like.
fn trimmed(path: &str) -> &str {
    path.trim_matches('/')
}

/// Short files stay in memory.
fn keep(bytes: Bytes, spool: &std::sync::Arc<Spool>) -> io::Result<Vec<Piece>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if bytes.len() <= MEMORY_BYTES_MAX {
        return Ok(vec![Piece::Memory(bytes)]);
    }
    let why = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let dir = spool.dir().display();
    let problem = |error: io::Error| why(format!("cannot keep recorded files in {dir}: {error}"));
    let mut writer = spool.writer().map_err(problem)?;
    let len = bytes.len() as u64;
    let full = |_| why("the recorded files take more room than --spool-bytes allows".to_owned());
    writer.reserve(bytes.len()).map_err(full)?;
    writer.write(&[bytes]).map_err(problem)?;
    Ok(vec![Piece::Spooled { body: writer.finish(), from: 0, to: len }])
}

/// Longest file that is kept in memory: 1 MiB.
const MEMORY_BYTES_MAX: usize = 1 << 20;
