//! What was asked and answered: the last exchanges of a world, within limits of count and size.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::model::Request;

/// The last exchanges.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
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

/// One exchange.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// The time of the world when the request had come in whole.
    pub(crate) at: SystemTime,
    /// How long the answer took to begin, in the time of the world.
    pub(crate) took: Option<Duration>,
    pub(crate) method: Method,
    /// The host that it was for; empty for what is none of fal's.
    pub(crate) host: Cow<'static, str>,
    pub(crate) path: Box<str>,
    /// Without tokens and signatures.
    pub(crate) query: Box<str>,
    pub(crate) request: Message,
    /// 0 while there is no answer.
    pub(crate) status: u16,
    /// The connection was cut before an answer, by either end.
    pub(crate) is_cut: bool,
    pub(crate) response: Message,
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

impl From<&Entry> for Seen {
    fn from(entry: &Entry) -> Self {
        let headers = |message: &Message| {
            message.headers().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        Self {
            number: entry.number,
            at: entry.at,
            method: entry.method.clone(),
            address: format!("{}{}", entry.host, entry.path),
            query: entry.query.to_string(),
            request_headers: headers(&entry.request),
            request_body: entry.request.body.clone(),
            status: entry.status,
            response_headers: headers(&entry.response),
            response_body: entry.response.body.clone(),
        }
    }
}

/// Headers and body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// `name: value` in lines. Values that are secret are `***`.
    pub(super) headers: Box<[u8]>,
    /// The start of the body, up to [`BODY_SHOWN_MAX`].
    pub(crate) body: Bytes,
    /// How long the body was.
    pub(crate) body_len: u64,
}

impl Message {
    pub(crate) fn new(headers: &HeaderMap, body: &Bytes) -> Self {
        let shown = match body.len() <= BODY_SHOWN_MAX {
            true => body.clone(),
            // A copy, so that the whole does not stay.
            false => Bytes::copy_from_slice(&body[..BODY_SHOWN_MAX]),
        };
        Self { headers: write_headers(headers), body: shown, body_len: body.len() as u64 }
    }

    /// One whose body of that length is not kept.
    pub(crate) fn head(headers: &HeaderMap, body_len: u64) -> Self {
        Self { headers: write_headers(headers), body: Bytes::new(), body_len }
    }

    /// Names and values, in the order of the message.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, String::from_utf8_lossy(&line[colon + 1..]).into_owned()))
        })
    }

    fn bytes(&self) -> usize {
        self.headers.len() + self.body.len()
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.path.len()
            + self.query.len()
            + self.request.bytes()
            + self.response.bytes()
    }
}

impl Journal {
    /// Writes down a request; returns its number.
    pub(crate) fn asked(&mut self, at: SystemTime, request: &Request<'_>) -> u64 {
        let mut message = Message::new(request.headers, &request.body);
        if let Some(spooled) = &request.spooled {
            message.body_len = spooled.len();
        }
        self.add(Entry {
            number: 0,
            at,
            took: None,
            method: request.method.clone(),
            host: Cow::Borrowed(request.host.name()),
            path: request.path.into(),
            query: redact_query(request.query.unwrap_or_default()),
            request: message,
            status: 0,
            is_cut: false,
            response: Message::default(),
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
        self.add(Entry {
            number: 0,
            at,
            took: Some(Duration::ZERO),
            method: method.clone(),
            host: Cow::Owned(host.to_owned()),
            path: path.into(),
            query: "".into(),
            request: Message::default(),
            status,
            is_cut: false,
            response: Message::default(),
        })
    }

    /// Completes an entry, if it is still there.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        now: SystemTime,
        status: u16,
        response: Message,
    ) {
        let Some(at) = self.position(number) else { return };
        let Some(entry) = self.entries.get_mut(at) else { return };
        self.bytes -= entry.bytes();
        entry.status = status;
        entry.took = now.duration_since(entry.at).ok();
        entry.response = response;
        self.bytes += entry.bytes();
        self.log(number);
        self.shrink();
    }

    /// There will be no answer.
    pub(crate) fn cut(&mut self, number: u64) {
        let at = self.position(number);
        if let Some(entry) = at.and_then(|at| self.entries.get_mut(at)) {
            entry.is_cut = true;
        }
    }

    /// One exchange.
    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(self.position(number)?)
    }

    /// Every exchange that is kept, the oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// How many there were.
    pub(crate) const fn total(&self) -> u64 {
        self.last
    }

    /// The number of the oldest that is kept, or of the next one.
    pub(super) fn first(&self) -> u64 {
        self.entries.front().map_or(self.last + 1, |entry| entry.number)
    }

    /// Goes on with entries of one before, the oldest first.
    pub(super) fn restore(&mut self, entries: impl Iterator<Item = Entry>, last: u64) {
        self.entries = entries.collect();
        self.bytes = self.entries.iter().map(Entry::bytes).sum();
        self.last = self.entries.back().map_or(0, |entry| entry.number).max(last);
        self.shrink();
    }

    fn log(&mut self, number: u64) {
        if let Some(log) = &mut self.log {
            log.touched.insert(number);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn add(&mut self, mut entry: Entry) -> u64 {
        self.last += 1;
        entry.number = self.last;
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.log(self.last);
        self.shrink();
        self.last
    }

    fn shrink(&mut self) {
        // The newest stays even where it alone is too large.
        while self.entries.len() > ENTRIES_MAX
            || self.bytes > JOURNAL_BYTES_MAX && self.entries.len() > 1
        {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    fn position(&self, number: u64) -> Option<usize> {
        let first = self.entries.front()?.number;
        usize::try_from(number.checked_sub(first)?).ok()
    }
}

/// All headers in one piece of memory, without secrets.
fn write_headers(headers: &HeaderMap) -> Box<[u8]> {
    let len = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
    let mut out = Vec::with_capacity(len);
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        match is_secret(name) || value.is_sensitive() {
            true => out.extend_from_slice(redact(value.as_bytes())),
            false => out.extend_from_slice(value.as_bytes()),
        }
        out.push(b'\n');
    }
    out.into()
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
fn redact_query(query: &str) -> Box<str> {
    let secret = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        SECRET_PARAMETERS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
    };
    if query.is_empty() || !query.split('&').any(|pair| secret(&pair)) {
        return query.into();
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
        let answer = Message::new(&HeaderMap::new(), &Bytes::from_static(b"{}"));
        journal.answered(2000, SystemTime::UNIX_EPOCH, 200, answer);
        assert_eq!(journal.get(2000).unwrap().status, 200);
        let counted: usize = journal.entries().map(Entry::bytes).sum();
        assert_eq!(counted, journal.bytes);
    }

    #[test]
    fn long_bodies_show_their_start_and_length() {
        let journal = journal([BODY_SHOWN_MAX, BODY_SHOWN_MAX + 1]);
        let lens: Vec<_> = journal
            .entries()
            .map(|entry| (entry.request.body.len(), entry.request.body_len))
            .collect();
        let max = BODY_SHOWN_MAX;
        assert_eq!(lens, [(max, max as u64), (max, max as u64 + 1)]);
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
        assert!(!String::from_utf8_lossy(&entry.request.headers).contains("mastodon"));
        assert_eq!(&*entry.query, "logs=1&fal_jwt_token=***&Signature=***&x");
        let shown: Vec<_> = entry.request.headers().collect();
        assert!(shown.contains(&("x-fal-runner-hint", "a: b".to_owned())), "{shown:?}");
        assert!(shown.contains(&("authorization", "Key ***".to_owned())), "{shown:?}");
    }
}
