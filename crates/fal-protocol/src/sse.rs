//! Server-sent events: bytes to events, in any chunking.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;

/// Turns the bytes of an event stream into [`Item`]s. Does no I/O.
///
/// Call [`push`](Self::push) with each chunk as it arrives, then [`next_event`](Self::next_event)
/// until it returns `None`. Where the chunks are cut does not matter, not even inside a line end or
/// a character. The work is linear in the bytes, and at most [`Limits`] of them are kept.
///
/// A stream that ends inside an event loses that event, as the standard says; ask
/// [`is_mid_event`](Self::is_mid_event) at the end to notice.
///
/// ```
/// use fal_protocol::sse::{Decoder, Item};
///
/// let mut decoder = Decoder::default();
/// decoder.push("data: {\"n\":1}\n\n: ping\n\ndata: cut".into());
/// let Some(Ok(Item::Event(event))) = decoder.next_event() else { panic!("an event is whole") };
/// assert_eq!(event.data.as_bytes(), br#"{"n":1}"#);
/// assert_eq!(decoder.next_event(), Some(Ok(Item::Comment)));
/// assert_eq!(decoder.next_event(), None);
/// assert!(decoder.is_mid_event());
/// ```
///
/// Source: html.spec.whatwg.org, 9.2.5 and 9.2.6, parsing and interpreting an event stream
/// (documented).
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    chunk: Bytes,
    /// Where the unread part of `chunk` starts.
    at: usize,
    /// Chunks pushed before the current one was read to its end.
    queue: VecDeque<Bytes>,
    line: PartialLine,
    pending: Pending,
    /// The last line ended in CR at the end of a chunk: an LF that follows belongs to it.
    skip_lf: bool,
    /// A byte order mark can only stand before the first line.
    past_first_line: bool,
    failed: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if self.failed {
            return;
        }
        if self.at == self.chunk.len() && self.queue.is_empty() {
            self.chunk = chunk;
            self.at = 0;
        } else {
            self.queue.push_back(chunk);
        }
    }

    /// The next item of what was pushed so far; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`SseError`] when a limit is exceeded. The decoder is inert from then on: it returns `None`
    /// and ignores what is pushed.
    pub fn next_event(&mut self) -> Option<Result<Item, SseError>> {
        if let Some(item) = self.plain_item() {
            return Some(Ok(item));
        }
        match self.advance() {
            Ok(item) => item.map(Ok),
            Err(error) => {
                *self = Self { failed: true, ..Self::new(self.limits) };
                Some(Err(error))
            }
        }
    }

    /// Whether an event has begun that no blank line has ended yet.
    ///
    /// True at the end of the stream means that the stream was cut, or that its sender forgot the
    /// last blank line. Only meaningful once [`next_event`](Self::next_event) has returned `None`.
    #[must_use]
    pub fn is_mid_event(&self) -> bool {
        let line = without_bom(&self.line.bytes, !self.past_first_line);
        self.pending.has_fields || line.first().is_some_and(|first| *first != b':')
    }

    /// The id that a reconnect would send as `Last-Event-ID`. fal sends no ids.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&[u8]> {
        self.pending.last_id.as_deref()
    }

    /// How long to wait before a reconnect, if the stream said so. fal does not.
    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.pending.retry
    }

    /// The next item, if it lies whole in this chunk and is of the plain kind: LF line ends, at most
    /// one line each of data, name and id. Nearly all of fal's events are, and
    /// [`advance`](Self::advance), which can do everything, needs twice as long.
    ///
    /// On `None` nothing but blank lines was consumed. Then `advance` reads at least as far as was
    /// looked at here, so no byte is looked at more than twice.
    fn plain_item(&mut self) -> Option<Item> {
        if !self.past_first_line
            || self.skip_lf
            || self.pending.has_fields
            || !self.line.bytes.is_empty()
        {
            return None;
        }
        // Blank lines between events mean nothing.
        self.at += self.chunk[self.at..].iter().take_while(|byte| **byte == b'\n').count();
        let (mut data, mut name, mut id) = (None, None, None);
        let mut at = self.at;
        loop {
            let rest = &self.chunk[at..];
            if *rest.first()? == b'\n' {
                break;
            }
            let len = memchr2(b'\n', b'\r', rest).filter(|len| rest[*len] == b'\n')?;
            let (line, end) = (&rest[..len], at + len);
            at = end + 1;
            if let Some(value) = line.strip_prefix(b"data:") {
                let value = without_space(value);
                if value.len() > self.limits.event_bytes_max || data.is_some() {
                    return None;
                }
                data = Some(end - value.len()..end);
                continue;
            }
            if len > self.limits.field_bytes_max {
                return None;
            }
            if line[0] == b':' && data.is_none() && name.is_none() && id.is_none() {
                self.at = at;
                return Some(Item::Comment);
            }
            let (field, value) = match line.strip_prefix(b"event:") {
                Some(value) => (&mut name, without_space(value)),
                None => (&mut id, without_space(line.strip_prefix(b"id:")?)),
            };
            if field.is_some() || value.is_empty() || value.contains(&0) {
                return None;
            }
            *field = Some(end - value.len()..end);
        }
        let data = Text(self.chunk.slice(data?));
        let name = name.map(|range| Text(self.chunk.slice(range)));
        let id = id.map(|range| Text(self.chunk.slice(range)));
        self.at = at + 1;
        if let Some(id) = &id {
            self.pending.remember_id(id);
        }
        Some(Item::Event(Event { data, name, id }))
    }

    fn advance(&mut self) -> Result<Option<Item>, SseError> {
        loop {
            if self.at == self.chunk.len() {
                // Lets go of the memory of a chunk that was read.
                self.chunk = self.queue.pop_front().unwrap_or_default();
                self.at = 0;
                if self.chunk.is_empty() && self.queue.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            if std::mem::take(&mut self.skip_lf) && self.chunk[self.at] == b'\n' {
                self.at += 1;
                continue;
            }
            let rest = &self.chunk[self.at..];
            let Some(len) = find_line_end(rest) else {
                self.line.extend(rest, &self.pending, &self.limits, self.past_first_line)?;
                self.at = self.chunk.len();
                continue;
            };
            let (start, end) = (self.at, self.at + len);
            self.at = end + 1;
            if self.chunk[end] == b'\r' {
                match self.chunk.get(self.at) {
                    Some(b'\n') => self.at += 1,
                    Some(_) => {}
                    None => self.skip_lf = true,
                }
            }
            let first = !std::mem::replace(&mut self.past_first_line, true);
            let item = if self.line.bytes.is_empty() {
                self.pending.line(&self.chunk, start, end, first, &self.limits)?
            } else {
                let line = self.line.complete(&self.chunk[start..end]);
                self.pending.line(&line, 0, line.len(), first, &self.limits)?
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }
}

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// An event with data.
    Event(Event),
    /// A comment line: no news, but a sign of life of the connection.
    Comment,
}

/// One event.
///
/// Its parts share the memory of the chunk that they came in: who keeps a small part for long should
/// copy it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The data lines, joined by `\n`.
    pub data: Text,
    /// The `event` field. The standard reads its absence as `message`; fal seldom sends it.
    pub name: Option<Text>,
    /// The `id` field of this event itself. [`Decoder::last_event_id`] has the one that persists.
    pub id: Option<Text>,
}

/// Bytes that should be UTF-8 text.
///
/// The standard decodes a stream with replacement characters, never with an error.
/// [`to_str`](Self::to_str) does that, and only when asked, because JSON is parsed from the bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Bytes);

impl Text {
    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as they came, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The text; what is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn to_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str(), f)
    }
}

/// How much a [`Decoder`] keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest data of one event, line ends included. Default: [`EVENT_BYTES_MAX`].
    pub event_bytes_max: usize,
    /// Longest line that is not data, its field name included. Default: [`FIELD_BYTES_MAX`].
    pub field_bytes_max: usize,
}

impl Limits {
    /// These limits with another bound for the data of one event.
    #[must_use]
    pub const fn with_event_bytes_max(mut self, bytes: usize) -> Self {
        self.event_bytes_max = bytes;
        self
    }

    /// These limits with another bound for a line that is not data.
    #[must_use]
    pub const fn with_field_bytes_max(mut self, bytes: usize) -> Self {
        self.field_bytes_max = bytes;
        self
    }

    fn check_data(&self, bytes: usize) -> Result<(), SseError> {
        if bytes > self.event_bytes_max {
            return Err(SseError::EventTooLong { bytes_max: self.event_bytes_max });
        }
        Ok(())
    }

    fn check_field(&self, bytes: usize) -> Result<(), SseError> {
        if bytes > self.field_bytes_max {
            return Err(SseError::FieldTooLong { bytes_max: self.field_bytes_max });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { event_bytes_max: EVENT_BYTES_MAX, field_bytes_max: FIELD_BYTES_MAX }
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SseError {
    /// The data of one event exceeds [`Limits::event_bytes_max`].
    EventTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// A line that is not data exceeds [`Limits::field_bytes_max`].
    FieldTooLong {
        /// The limit.
        bytes_max: usize,
    },
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventTooLong { bytes_max } => {
                write!(f, "an event of the stream has more than {bytes_max} bytes of data")
            }
            Self::FieldTooLong { bytes_max } => {
                write!(f, "the stream has a line of more than {bytes_max} bytes that is not data")
            }
        }
    }
}

impl std::error::Error for SseError {}

/// The start of a line whose end has not arrived.
#[derive(Debug, Default)]
struct PartialLine {
    bytes: Vec<u8>,
    /// Length of the last long line: streams of pictures have events of like size, and growing a
    /// buffer by doubling would copy each of them once more.
    last_long: usize,
}

impl PartialLine {
    /// Appends bytes without a line end; fails once no end can make the line acceptable.
    fn extend(
        &mut self,
        bytes: &[u8],
        pending: &Pending,
        limits: &Limits,
        past_first_line: bool,
    ) -> Result<(), SseError> {
        let len = self.bytes.len() + bytes.len();
        if len > self.bytes.capacity() {
            let guess = if len > LONG_LINE_BYTES { self.last_long } else { 0 };
            self.bytes.reserve(guess.saturating_sub(self.bytes.len()).max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);

        let line = without_bom(&self.bytes, !past_first_line);
        match line.strip_prefix(b"data:") {
            Some(value) => limits.check_data(pending.data_len_with(without_space(value).len())),
            // Too short to tell: the line may still become one of data.
            None if line.len() <= BOM.len() + b"data:".len() => Ok(()),
            None => limits.check_field(line.len()),
        }
    }

    /// Appends the end of the line and hands it out.
    fn complete(&mut self, end: &[u8]) -> Bytes {
        self.bytes.extend_from_slice(end);
        if self.bytes.len() > LONG_LINE_BYTES {
            self.last_long = self.bytes.len();
            let mut line = std::mem::take(&mut self.bytes);
            if line.capacity() / 2 > line.len() {
                line.shrink_to_fit();
            }
            return Bytes::from(line);
        }
        // Short lines are copied out, so that neither they nor the next ones hold a large buffer.
        let line = Bytes::copy_from_slice(&self.bytes);
        self.bytes.clear();
        self.bytes.shrink_to(LONG_LINE_BYTES);
        line
    }
}

/// The event whose blank line has not arrived.
#[derive(Debug, Default)]
struct Pending {
    data: Data,
    name: Option<Text>,
    id: Option<Text>,
    /// Whether any field line, even an unknown one, came since the last blank line.
    has_fields: bool,
    /// A buffer of its own, because it outlives its chunk.
    last_id: Option<Vec<u8>>,
    retry: Option<Duration>,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    Absent,
    /// A slice of a chunk: what nearly every event is.
    Line(Bytes),
    Lines(Vec<u8>),
}

impl Pending {
    /// Reads the line `source[start..end]`, which has no line end.
    #[inline]
    fn line(
        &mut self,
        source: &Bytes,
        start: usize,
        end: usize,
        is_first: bool,
        limits: &Limits,
    ) -> Result<Option<Item>, SseError> {
        let line = without_bom(&source[start..end], is_first);
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            let value = without_space(value);
            limits.check_data(self.data_len_with(value.len()))?;
            self.add_data(source.slice(end - value.len()..end));
            return Ok(None);
        }
        limits.check_field(line.len())?;
        if line[0] == b':' {
            return Ok(Some(Item::Comment));
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], without_space(&line[colon + 1..])),
            None => (line, &line[line.len()..]),
        };
        self.has_fields = true;
        let text = || Text(source.slice(end - value.len()..end));
        match name {
            b"data" => {
                limits.check_data(self.data_len_with(0))?;
                self.add_data(Bytes::new());
            }
            b"event" => self.name = Some(text()).filter(|name| !name.is_empty()),
            b"id" if !value.contains(&0) => self.id = Some(text()),
            b"retry" => self.retry = parse_retry(value).or(self.retry),
            _ => {} // The standard: unknown fields are ignored.
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Item> {
        if !std::mem::take(&mut self.has_fields) {
            return None;
        }
        let (name, id) = (self.name.take(), self.id.take());
        if let Some(id) = &id {
            self.remember_id(id);
        }
        let data = match std::mem::take(&mut self.data) {
            Data::Absent => return None,
            Data::Line(line) => line,
            Data::Lines(lines) => Bytes::from(lines),
        };
        Some(Item::Event(Event { data: Text(data), name, id }))
    }

    fn remember_id(&mut self, id: &Text) {
        let last = self.last_id.get_or_insert_default();
        last.clear();
        last.extend_from_slice(id.as_bytes());
    }

    fn add_data(&mut self, value: Bytes) {
        self.has_fields = true;
        match &mut self.data {
            Data::Absent => self.data = Data::Line(value),
            Data::Line(line) => {
                let mut lines = Vec::with_capacity(line.len() + 1 + value.len());
                lines.extend_from_slice(line);
                lines.push(b'\n');
                lines.extend_from_slice(&value);
                self.data = Data::Lines(lines);
            }
            Data::Lines(lines) => {
                lines.push(b'\n');
                lines.extend_from_slice(&value);
            }
        }
    }

    /// How long the data would be with one more line of `len` bytes.
    const fn data_len_with(&self, len: usize) -> usize {
        match &self.data {
            Data::Absent => len,
            Data::Line(line) => line.len() + 1 + len,
            Data::Lines(lines) => lines.len() + 1 + len,
        }
    }
}

#[inline]
fn find_line_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first() {
        // Every second line of a usual stream is blank: not worth a search.
        Some(b'\n' | b'\r') => Some(0),
        _ => memchr2(b'\n', b'\r', bytes),
    }
}

fn without_bom(line: &[u8], is_first: bool) -> &[u8] {
    if is_first { line.strip_prefix(BOM).unwrap_or(line) } else { line }
}

fn without_space(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

fn parse_retry(value: &[u8]) -> Option<Duration> {
    // `u64::from_str` would take a sign, which the standard does not.
    let digits = value.iter().all(u8::is_ascii_digit);
    let millis = std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// Longest data of one event unless configured otherwise: 64 MiB.
///
/// Precedent: image models send whole pictures as data URIs in events, several at a time.
pub const EVENT_BYTES_MAX: usize = 64 << 20;

/// Longest line that is not data unless configured otherwise: 64 KiB.
pub const FIELD_BYTES_MAX: usize = 64 << 10;

/// Lines that are cut by a chunk's end and longer than this are not copied once more.
const LONG_LINE_BYTES: usize = 4 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests;
