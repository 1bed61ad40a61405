//! What was asked and answered: the last exchanges of a world, within limits of count and size.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::scroll::{Place, Scroll};
use crate::model::{Request, Spooled};

/// The last exchanges.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: VecDeque<Kept>,
    texts: Scroll,
    /// The number of the last entry; they count up from 1.
    last: u64,
    bytes: usize,
    /// What has changed since it was written down, if anybody writes it down.
    pub(super) log: Option<JournalLog>,
}

/// Entries that have changed, by number.
#[derive(Debug, Default)]
pub(super) struct JournalLog {
    pub(super) touched: BTreeSet<u64>,
    /// The first entry that there was when it was last written down.
    pub(super) first: u64,
}

/// An exchange as it is kept: its texts stand one after the other, those of the answer where it came.
#[derive(Debug)]
struct Kept {
    number: u64,
    at: SystemTime,
    took: Option<Duration>,
    method: Method,
    /// Host, path, query, headers, and the body unless that is shared.
    asked: Place,
    host_len: u32,
    path_len: u32,
    query_len: u32,
    asked_headers_len: u32,
    /// Headers, and the body unless that is shared.
    answered: Place,
    answered_headers_len: u32,
    status: u16,
    is_cut: bool,
    asked_len: u64,
    answered_len: u64,
    shared: Option<Box<Shared>>,
}

/// Bodies that are too long to be copied.
#[derive(Debug, Default)]
struct Shared {
    request: Bytes,
    response: Bytes,
}

/// One exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) number: u64,
    /// The time of the world when the request had come in whole.
    pub(crate) at: SystemTime,
    /// How long the answer took to begin, in the time of the world.
    pub(crate) took: Option<Duration>,
    pub(crate) method: &'a Method,
    /// The host that it was for; empty for what is none of fal's.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// Without tokens and signatures.
    pub(crate) query: &'a str,
    pub(crate) request: Message<'a>,
    /// 0 while there is no answer.
    pub(crate) status: u16,
    /// The connection was cut before an answer, by either end.
    pub(crate) is_cut: bool,
    pub(crate) response: Message<'a>,
}

/// A request that the mock was asked, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Counts up from 1, in each tenant by itself.
    pub number: u64,
    /// The time of the tenant when the request had come in whole.
    pub at: SystemTime,
    /// The method.
    pub method: Method,
    /// The host that it was for and its path: `queue.fal.run/fal-ai/flux/dev`. No query.
    pub address: String,
    /// The query, in which tokens and signatures are `***`.
    pub query: String,
    /// The headers of the request, in which keys are `***`.
    pub request_headers: Vec<(String, String)>,
    /// The start of its body, up to 64 KiB.
    pub request_body: Bytes,
    /// The status of the answer; 0 while there is none, and for ever if the connection was cut.
    pub status: u16,
    /// The headers of the answer.
    pub response_headers: Vec<(String, String)>,
    /// The start of its body, up to 64 KiB; nothing of streams and files.
    pub response_body: Bytes,
}

impl From<Entry<'_>> for Seen {
    fn from(entry: Entry<'_>) -> Self {
        let headers = |message: &Message<'_>| {
            message.headers().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        Self {
            number: entry.number,
            at: entry.at,
            method: entry.method.clone(),
            address: format!("{}{}", entry.host, entry.path),
            query: entry.query.to_owned(),
            request_headers: headers(&entry.request),
            request_body: Bytes::copy_from_slice(entry.request.body),
            status: entry.status,
            response_headers: headers(&entry.response),
            response_body: Bytes::copy_from_slice(entry.response.body),
        }
    }
}

/// Headers and body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message<'a> {
    /// `name: value` in lines. Values that are secret are `***`.
    pub(super) headers: &'a [u8],
    /// The start of the body, up to [`BODY_SHOWN_MAX`].
    pub(crate) body: &'a [u8],
    /// How long the body was.
    pub(crate) body_len: u64,
}

impl<'a> Message<'a> {
    /// Names and values, in the order of the message.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'a str, String)> {
        self.headers.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, String::from_utf8_lossy(&line[colon + 1..]).into_owned()))
        })
    }
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    Whole(&'a Bytes),
    /// So long, and not kept.
    Unkept(u64),
}

impl Kept {
    fn bytes(&self) -> usize {
        let shared = self.shared.as_ref();
        size_of::<Self>()
            + self.asked.len()
            + self.answered.len()
            + shared.map_or(0, |shared| shared.request.len() + shared.response.len())
    }

    fn view<'a>(&'a self, texts: &'a Scroll) -> Entry<'a> {
        let mut rest = texts.read(self.asked);
        let mut next = |len: u32| {
            let (text, more) = rest.split_at_checked(len as usize).unwrap_or_default();
            rest = more;
            text
        };
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let (host, path) = (text(next(self.host_len)), text(next(self.path_len)));
        let query = text(next(self.query_len));
        let headers = next(self.asked_headers_len);
        let answered = texts.read(self.answered);
        let answered = answered.split_at_checked(self.answered_headers_len as usize);
        let (answered_headers, answered_body) = answered.unwrap_or_default();
        let or_shared = |body: &'a [u8], of: fn(&Shared) -> &Bytes| match &self.shared {
            Some(shared) if body.is_empty() => &of(shared)[..],
            _ => body,
        };
        Entry {
            number: self.number,
            at: self.at,
            took: self.took,
            method: &self.method,
            host,
            path,
            query,
            request: Message {
                headers,
                body: or_shared(rest, |shared| &shared.request),
                body_len: self.asked_len,
            },
            status: self.status,
            is_cut: self.is_cut,
            response: Message {
                headers: answered_headers,
                body: or_shared(answered_body, |shared| &shared.response),
                body_len: self.answered_len,
            },
        }
    }
}

/// A request as it comes into the journal.
struct Asked<'a> {
    at: SystemTime,
    method: &'a Method,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    body_len: u64,
}

impl Journal {
    /// Writes down a request; returns its number.
    pub(crate) fn asked(&mut self, at: SystemTime, request: &Request<'_>) -> u64 {
        let (headers, body) = (request.headers, &request.body);
        let body_len = request.spooled.as_ref().map_or(body.len() as u64, Spooled::len);
        self.write_asked(Asked {
            at,
            method: request.method,
            host: request.host.name(),
            path: request.path,
            query: request.query.unwrap_or_default(),
            headers,
            body,
            body_len,
        })
    }

    /// Writes down what no service of fal's was asked; returns its number.
    pub(crate) fn noted(
        &mut self,
        at: SystemTime,
        method: &Method,
        host: &str,
        path: &str,
        status: u16,
    ) -> u64 {
        let (headers, body) = (&HeaderMap::new(), &Bytes::new());
        let number = self.write_asked(Asked {
            at,
            method,
            host,
            path,
            query: "",
            headers,
            body,
            body_len: 0,
        });
        if let Some(kept) = self.kept.back_mut() {
            kept.took = Some(Duration::ZERO);
            kept.status = status;
        }
        number
    }

    fn write_asked(&mut self, asked: Asked<'_>) -> u64 {
        let query = redact_query(asked.query);
        let headers_room = headers_room(asked.headers);
        let (copied, shared) = split_body(asked.body);
        let (host_len, path_len) = (asked.host.len(), asked.path.len());
        let room = host_len + path_len + query.len() + headers_room + copied.len();
        let mut headers_len = 0;
        let place = self.texts.append(room, |out| {
            out.extend_from_slice(asked.host.as_bytes());
            out.extend_from_slice(asked.path.as_bytes());
            out.extend_from_slice(query.as_bytes());
            headers_len = write_headers(asked.headers, out);
            out.extend_from_slice(copied);
        });
        self.add(Kept {
            number: self.last + 1,
            at: asked.at,
            took: None,
            method: asked.method.clone(),
            asked: place,
            host_len: short(host_len),
            path_len: short(path_len),
            query_len: short(query.len()),
            asked_headers_len: short(headers_len),
            answered: Place::default(),
            answered_headers_len: 0,
            status: 0,
            is_cut: false,
            asked_len: asked.body_len,
            answered_len: 0,
            shared: shared.map(|request| Box::new(Shared { request, response: Bytes::new() })),
        })
    }

    /// Completes an entry, if it is still there.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        now: SystemTime,
        status: u16,
        headers: &HeaderMap,
        said: Said<'_>,
    ) {
        let Some(at) = self.position(number) else { return };
        let Some(kept) = self.kept.get_mut(at) else { return };
        self.bytes -= kept.bytes();
        kept.status = status;
        kept.took = now.duration_since(kept.at).ok();
        let (copied, shared) = match said {
            Said::Whole(body) => split_body(body),
            Said::Unkept(_) => (&[][..], None),
        };
        kept.answered_len = match said {
            Said::Whole(body) => body.len() as u64,
            Said::Unkept(len) => len,
        };
        kept.answered = self.texts.append(headers_room(headers) + copied.len(), |out| {
            kept.answered_headers_len = short(write_headers(headers, out));
            out.extend_from_slice(copied);
        });
        if let Some(response) = shared {
            kept.shared.get_or_insert_default().response = response;
        }
        self.bytes += kept.bytes();
        self.log(number);
        self.shrink();
    }

    /// There will be no answer.
    pub(crate) fn cut(&mut self, number: u64) {
        let at = self.position(number);
        if let Some(kept) = at.and_then(|at| self.kept.get_mut(at)) {
            kept.is_cut = true;
        }
    }

    /// One exchange.
    pub(crate) fn get(&self, number: u64) -> Option<Entry<'_>> {
        Some(self.kept.get(self.position(number)?)?.view(&self.texts))
    }

    /// Every exchange that is kept, the oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> + ExactSizeIterator {
        self.kept.iter().map(|kept| kept.view(&self.texts))
    }

    /// How many there were.
    pub(crate) const fn total(&self) -> u64 {
        self.last
    }

    /// The number of the oldest that is kept, or of the next one.
    pub(super) fn first(&self) -> u64 {
        self.kept.front().map_or(self.last + 1, |kept| kept.number)
    }

    /// Goes on after an entry of a journal before, each once and the oldest first.
    pub(super) fn restore(&mut self, entry: Entry<'_>) {
        let Entry { request, response, .. } = entry;
        let asked = [
            entry.host.as_bytes(),
            entry.path.as_bytes(),
            entry.query.as_bytes(),
            request.headers,
            request.body,
        ];
        let mut append = |parts: &[&[u8]]| {
            let room = parts.iter().map(|part| part.len()).sum();
            self.texts.append(room, |out| parts.iter().for_each(|part| out.extend_from_slice(part)))
        };
        let (asked, answered) = (append(&asked), append(&[response.headers, response.body]));
        self.add(Kept {
            number: entry.number,
            at: entry.at,
            took: entry.took,
            method: entry.method.clone(),
            asked,
            host_len: short(entry.host.len()),
            path_len: short(entry.path.len()),
            query_len: short(entry.query.len()),
            asked_headers_len: short(request.headers.len()),
            answered,
            answered_headers_len: short(response.headers.len()),
            status: entry.status,
            is_cut: entry.is_cut,
            asked_len: request.body_len,
            answered_len: response.body_len,
            shared: None,
        });
    }

    /// Numbers go on after this one at least.
    pub(super) fn go_on_after(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    fn log(&mut self, number: u64) {
        if let Some(log) = &mut self.log {
            log.touched.insert(number);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.texts.clear();
        self.bytes = 0;
    }

    fn add(&mut self, kept: Kept) -> u64 {
        self.last = kept.number;
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
        self.log(self.last);
        self.shrink();
        self.last
    }

    fn shrink(&mut self) {
        // The newest stays even where it alone is too large.
        while self.kept.len() > ENTRIES_MAX || self.bytes > JOURNAL_BYTES_MAX && self.kept.len() > 1
        {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.bytes();
            if let Some(next) = self.kept.front() {
                self.texts.forget_before(next.asked);
            }
        }
    }

    fn position(&self, number: u64) -> Option<usize> {
        let first = self.kept.front()?.number;
        usize::try_from(number.checked_sub(first)?).ok()
    }
}

/// Lengths of parts of a head, which is far shorter.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// What is copied of a body, or else shared. Sharing keeps alive what a short body is only a piece of.
fn split_body(body: &Bytes) -> (&[u8], Option<Bytes>) {
    match body.len() {
        0..=BODY_COPIED_MAX => (body, None),
        _ if body.len() <= BODY_SHOWN_MAX => (&[], Some(body.clone())),
        // A copy, so that the whole does not stay.
        _ => (&[], Some(Bytes::copy_from_slice(&body[..BODY_SHOWN_MAX]))),
    }
}

/// How long headers are at most when they are written down.
fn headers_room(headers: &HeaderMap) -> usize {
    let len = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        name.as_str().len() + value.len().max(REDACTED_LEN_MAX) + 2
    };
    headers.iter().map(len).sum()
}

/// Writes all headers without secrets. Returns how long they are.
fn write_headers(headers: &HeaderMap, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        match is_secret(name) || value.is_sensitive() {
            true => out.extend_from_slice(redact(value.as_bytes())),
            false => out.extend_from_slice(value.as_bytes()),
        }
        out.push(b'\n');
    }
    out.len() - start
}

fn is_secret(name: &header::HeaderName) -> bool {
    *name == header::AUTHORIZATION
        || *name == header::PROXY_AUTHORIZATION
        || *name == header::COOKIE
        || *name == header::SET_COOKIE
        || name.as_str() == "x-fal-key"
        || name.as_str() == "sec-websocket-protocol"
}

/// What is shown of a secret: the scheme, which says how somebody tried to get in.
fn redact(value: &[u8]) -> &'static [u8] {
    let start = value.get(..4).unwrap_or_default();
    match () {
        () if start.eq_ignore_ascii_case(b"key ") => b"Key ***",
        () if start.eq_ignore_ascii_case(b"bear") => b"Bearer ***",
        () => b"***",
    }
}

/// The query without the values of parameters that open something.
fn redact_query(query: &str) -> Cow<'_, str> {
    let secret = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        SECRET_PARAMETERS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
    };
    if query.is_empty() || !query.split('&').any(|pair| secret(&pair)) {
        return Cow::Borrowed(query);
    }
    let pairs = query.split('&').map(|pair| match secret(&pair) {
        true => format!("{}=***", pair.split('=').next().unwrap_or_default()),
        false => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&").into()
}

/// Parameters whose values open something.
const SECRET_PARAMETERS: [&str; 6] =
    ["fal_jwt_token", "fal_key", "signature", "token", "x-goog-signature", "x-goog-credential"];

/// Of the longest text that stands for a secret.
const REDACTED_LEN_MAX: usize = 10;

/// Longer bodies are shared with whoever sends them: 4 KiB.
const BODY_COPIED_MAX: usize = 4 << 10;

/// Exchanges that are remembered.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// Bytes of all that is remembered: 64 MiB.
pub(crate) const JOURNAL_BYTES_MAX: usize = 64 << 20;

/// Of a longer body the start is kept: 64 KiB.
pub(crate) const BODY_SHOWN_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::model::Host;

    fn journal(bodies: impl IntoIterator<Item = usize>) -> Journal {
        let mut journal = Journal::default();
        let headers = HeaderMap::new();
        for len in bodies {
            let request = Request::new(&Method::POST, Host::Queue, "/a/b", &headers)
                .with_body(vec![b'x'; len].into());
            journal.asked(SystemTime::UNIX_EPOCH, &request);
        }
        journal
    }

    #[test]
    fn it_is_bounded_by_count_and_by_size() {
        let journal = journal(std::iter::repeat_n(10, ENTRIES_MAX + 5));
        assert_eq!(
            (journal.entries().len(), journal.total()),
            (ENTRIES_MAX, ENTRIES_MAX as u64 + 5)
        );
        assert!(journal.get(5).is_none() && journal.get(6).is_some());

        let mut journal = self::journal(std::iter::repeat_n(BODY_SHOWN_MAX, 2000));
        assert!(journal.bytes <= JOURNAL_BYTES_MAX && journal.entries().len() > 900);
        let (headers, body) = (HeaderMap::new(), Bytes::from_static(b"{}"));
        let at = SystemTime::UNIX_EPOCH;
        journal.answered(2000, at, 200, &headers, Said::Whole(&body));
        let entry = journal.get(2000).unwrap();
        assert_eq!((entry.status, entry.response.body), (200, &b"{}"[..]));
        assert_eq!(entry.request.body.len(), BODY_SHOWN_MAX);
        let counted: usize = journal.kept.iter().map(Kept::bytes).sum();
        assert_eq!(counted, journal.bytes);
    }

    #[test]
    fn long_bodies_show_their_start_and_length() {
        let all = [BODY_COPIED_MAX, BODY_COPIED_MAX + 1, BODY_SHOWN_MAX, BODY_SHOWN_MAX + 1];
        let journal = journal(all);
        let shown: Vec<_> = journal.entries().map(|entry| entry.request).collect();
        for (message, len) in shown.iter().zip(all) {
            assert_eq!(message.body.len(), len.min(BODY_SHOWN_MAX));
            assert_eq!(message.body_len, len as u64);
        }
    }

    #[test]
    fn what_is_put_back_shows_the_same() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("1"));
        headers.insert("authorization", HeaderValue::from_static("x"));
        let mut journal = Journal::default();
        for len in [0, 5, BODY_COPIED_MAX + 1] {
            let body = Bytes::from(vec![b'b'; len]);
            let request = Request::new(&Method::PUT, Host::Queue, "/é", &headers)
                .with_query(Some("a=1"))
                .with_body(body.clone());
            let number = journal.asked(SystemTime::UNIX_EPOCH, &request);
            let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            journal.answered(number, later, 200, &headers, Said::Whole(&body));
            let unkept = journal.noted(later, &Method::CONNECT, "example.com:1", "", 403);
            journal.answered(unkept, later, 200, &headers, Said::Unkept(7));
        }
        let mut again = Journal::default();
        journal.entries().skip(1).for_each(|entry| again.restore(entry));
        let shown = |journal: &Journal, skip| {
            let entries = journal.entries().skip(skip);
            entries.map(|entry| format!("{entry:?}")).collect::<Vec<_>>()
        };
        assert_eq!(shown(&again, 0), shown(&journal, 1));
        assert_eq!(again.total(), 6);
        again.go_on_after(9);
        assert_eq!(again.noted(SystemTime::UNIX_EPOCH, &Method::GET, "", "/", 404), 10);
    }

    #[test]
    fn secrets_are_not_kept() {
        let mut headers = HeaderMap::new();
        let secrets = ["authorization", "cookie", "x-fal-key", "proxy-authorization"];
        for name in secrets {
            headers.insert(name, HeaderValue::from_static("Key id:mastodon"));
        }
        headers.insert("x-fal-runner-hint", HeaderValue::from_static("a: b"));
        let request = Request::new(&Method::GET, Host::Queue, "/a/b", &headers)
            .with_query(Some("logs=1&fal_jwt_token=mastodon&Signature=mastodon&x"));
        let mut journal = Journal::default();
        let number = journal.asked(SystemTime::UNIX_EPOCH, &request);
        let entry = journal.get(number).unwrap();
        assert!(!format!("{entry:?}").contains("mastodon"));
        assert!(!String::from_utf8_lossy(entry.request.headers).contains("mastodon"));
        assert_eq!(entry.query, "logs=1&fal_jwt_token=***&Signature=***&x");
        let shown: Vec<_> = entry.request.headers().collect();
        assert!(shown.contains(&("x-fal-runner-hint", "a: b".to_owned())), "{shown:?}");
        assert!(shown.contains(&("authorization", "Key ***".to_owned())), "{shown:?}");
    }
}
