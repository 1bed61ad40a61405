use std::fmt;
use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fal_protocol::error::{ApiError, ErrorKind, InputError};
use fal_protocol::wire::{Expect, Failure, FailureKind, Head, Request, location};
use futures_util::StreamExt;
use http::{HeaderValue, Method, Uri, header};
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::drive::now;
use crate::error::Error;
use crate::transport::{Answer, ChunkStream, Exchange};

/// A file to be fetched: `.await` it for its bytes, or have it written [`to_file`](Self::to_file).
///
/// No credentials are sent, wherever the address leads. Data URIs are decoded.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = fal_mock::MockFal::builder().instant().start().await?;
/// # let client = fal_client::Client::builder().base_url(mock.url()).key("id:secret").build()?;
/// let output = client.run("fal-ai/flux/dev").input(serde_json::json!({ "prompt": "a cat" })).await?;
/// let png = client.download(&output.files()[0]).await?;
/// assert!(png.starts_with(b"\x89PNG"));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Download {
    client: Client,
    url: String,
    bytes_max: u64,
    deadline: Duration,
    on_progress: Option<OnProgress>,
}

type OnProgress = Box<dyn FnMut(u64, Option<u64>) + Send>;

impl Download {
    pub(crate) const fn new(client: Client, url: String) -> Self {
        let (bytes_max, deadline) = (DOWNLOAD_BYTES_MAX, DOWNLOAD_DEADLINE_DEFAULT);
        Self { client, url, bytes_max, deadline, on_progress: None }
    }

    /// Sets the longest file taken. Default [`DOWNLOAD_BYTES_MAX`].
    pub const fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Sets when to give up. Default [`DOWNLOAD_DEADLINE_DEFAULT`].
    ///
    /// A server from which nothing comes is given up earlier, after
    /// [`Builder::attempt_timeout`](crate::Builder::attempt_timeout).
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets who hears of the progress: bytes so far, and bytes in all if the server told.
    pub fn on_progress(
        mut self,
        on_progress: impl FnMut(u64, Option<u64>) + Send + 'static,
    ) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Writes the file; returns its length in bytes. Memory stays flat.
    ///
    /// It is written under a temporary name beside `path` and renamed when whole, so a file under `path` is
    /// never half of one.
    ///
    /// # Errors
    /// `File` when it cannot be written, `Api` when the server refuses, `Transport` when it breaks off.
    pub async fn to_file(self, path: impl AsRef<Path>) -> Result<u64, Error> {
        let path = path.as_ref();
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{:08x}.part", crate::client::new_seed() & 0xffff_ffff));
        let partial = Partial(path.with_file_name(name));
        let mut file =
            tokio::fs::File::create(&partial.0).await.map_err(|e| Error::file(path, e))?;
        let limit = now().checked_add(self.deadline);
        let mut body = self.open(limit).await?;
        let mut written = 0;
        while let Some(chunk) = body.next(limit).await? {
            written += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(|e| Error::file(path, e))?;
        }
        file.flush().await.map_err(|e| Error::file(path, e))?;
        drop(file);
        tokio::fs::rename(&partial.0, path).await.map_err(|e| Error::file(path, e))?;
        Ok(written)
    }

    /// Opens it; redirects are followed, refusals that pass with time repeated.
    async fn open(self, limit: Option<Instant>) -> Result<Body, Error> {
        let idle = self.client.settings().attempt_timeout;
        if self.url.starts_with("data:") {
            let content = fal_protocol::data_uri::decode(&self.url)
                .map_err(|e| bad_address("data:", &e.to_string()))?
                .bytes;
            let total = Some(content.len() as u64);
            let whole = futures_util::stream::iter([Ok(content)]);
            return Ok(Body::new(Box::pin(whole), total, idle, self.bytes_max, self.on_progress));
        }
        let mut uri: Uri =
            self.url.parse().map_err(|_| bad_address(&self.url, "it is not a URL"))?;
        let mut redirects = 0;
        loop {
            if !matches!(uri.scheme_str(), Some("https" | "http")) {
                return Err(
                    bad_address(&self.url, "only http, https and data can be fetched").into()
                );
            }
            let (head, chunks) = get(&self.client, &uri, limit).await?;
            if head.status().is_redirection() && redirects < REDIRECTS_MAX {
                let next = redirect(&uri, &head)
                    .ok_or_else(|| bad_address(&self.url, "it redirects to nowhere"))?;
                (uri, redirects) = (next, redirects + 1);
                continue;
            }
            if !head.status().is_success() {
                let mut body = Body::new(chunks, None, idle, ERROR_BYTES_MAX, None);
                let mut text = BytesMut::new();
                while let Ok(Some(chunk)) = body.next(limit).await {
                    text.extend_from_slice(&chunk);
                }
                let error = ApiError::parse(head.status(), head.headers(), &text.freeze());
                return Err(Error::from(ErrorKind::Api(error)));
            }
            let total = head.headers().get(header::CONTENT_LENGTH);
            let total = total.and_then(|length| length.to_str().ok()?.parse().ok());
            return Ok(Body::new(chunks, total, idle, self.bytes_max, self.on_progress));
        }
    }
}

/// Opens an answer, again after a failure to get one: a GET without credentials costs nothing.
async fn get(
    client: &Client,
    uri: &Uri,
    limit: Option<Instant>,
) -> Result<(Head, ChunkStream), Error> {
    let settings = client.settings();
    let mut jitter = fal_protocol::rand::SplitMix64::new(crate::client::new_seed());
    let mut attempt = 1;
    loop {
        let mut request = Request::new(Method::GET, uri.clone()).with_expect(Expect::Chunks);
        request.headers.insert(header::USER_AGENT, settings.user_agent.clone());
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let answer = client.transport().send(Exchange::new(request));
        let answer = within(limit, settings.attempt_timeout, answer).await;
        let passes = match &answer {
            Ok(Answer::Chunks(head, _)) => matches!(head.status().as_u16(), 429 | 500 | 502..=504),
            Ok(Answer::Whole(response)) => {
                matches!(response.status().as_u16(), 429 | 500 | 502..=504)
            }
            Err(failure) => !matches!(failure.kind, FailureKind::Tls | FailureKind::Timeout),
        };
        if passes && attempt < settings.retry.attempts_read && settings.budget.withdraw() {
            let rest = settings.retry.backoff(attempt, &mut jitter);
            attempt += 1;
            if limit.is_none_or(|limit| now() + rest < limit) {
                tokio::time::sleep(rest).await;
                continue;
            }
        }
        return match answer {
            Ok(Answer::Chunks(head, chunks)) => Ok((head, chunks)),
            Ok(Answer::Whole(response)) => {
                let (parts, body) = response.into_parts();
                let whole = futures_util::stream::iter([Ok(body)]);
                Ok((http::Response::from_parts(parts, ()), Box::pin(whole)))
            }
            Err(failure) => Err(Error::from(ErrorKind::Transport(failure))),
        };
    }
}

/// Awaits one step of a download: until the deadline, and not longer than `idle`.
async fn within<T>(
    limit: Option<Instant>,
    idle: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let patience = now().checked_add(idle);
    let Some(until) = limit.into_iter().chain(patience).min() else { return work.await };
    match tokio::time::timeout_at(until.into(), work).await {
        Ok(result) => result,
        Err(_) if limit == Some(until) => {
            Err(Failure::read(FailureKind::Timeout, "the download did not end in time"))
        }
        Err(_) => Err(Failure::read(FailureKind::Timeout, format!("nothing came within {idle:?}"))),
    }
}

/// Where a redirect leads, absolute.
fn redirect(base: &Uri, head: &Head) -> Option<Uri> {
    let uri = location(base, head.headers())?;
    // From https there is no way back to http.
    let downgrade = base.scheme_str() == Some("https") && uri.scheme_str() != Some("https");
    (!downgrade).then_some(uri)
}

fn bad_address(url: &str, problem: &str) -> InputError {
    InputError::Address {
        text: url
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect::<String>()
            .into(),
        problem: problem.into(),
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}

impl IntoFuture for Download {
    type Output = Result<Bytes, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let limit = now().checked_add(self.deadline);
            let mut body = self.open(limit).await?;
            let Some(first) = body.next(limit).await? else { return Ok(Bytes::new()) };
            let Some(second) = body.next(limit).await? else { return Ok(first) };
            let mut whole = BytesMut::from(&first[..]);
            whole.extend_from_slice(&second);
            while let Some(chunk) = body.next(limit).await? {
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        })
    }
}

/// A file on its way in, counted.
struct Body {
    chunks: ChunkStream,
    /// Longest wait for a piece.
    idle: Duration,
    done: u64,
    total: Option<u64>,
    bytes_max: u64,
    on_progress: Option<OnProgress>,
}

impl Body {
    fn new(
        chunks: ChunkStream,
        total: Option<u64>,
        idle: Duration,
        bytes_max: u64,
        on_progress: Option<OnProgress>,
    ) -> Self {
        Self { chunks, idle, done: 0, total, bytes_max, on_progress }
    }

    async fn next(&mut self, limit: Option<Instant>) -> Result<Option<Bytes>, Error> {
        let next = within(limit, self.idle, async { self.chunks.next().await.transpose() }).await;
        let chunk = next.map_err(|failure| Error::from(ErrorKind::Transport(failure)))?;
        if let Some(chunk) = &chunk {
            self.done += chunk.len() as u64;
            if self.done > self.bytes_max {
                let message = format!(
                    "the file is longer than the {} bytes that were allowed",
                    self.bytes_max
                );
                let failure = Failure::read(FailureKind::TooLarge, message);
                return Err(Error::from(ErrorKind::Transport(failure)));
            }
            if let Some(on_progress) = &mut self.on_progress {
                on_progress(self.done, self.total);
            }
        }
        Ok(chunk)
    }
}

/// A file that is removed unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already when the download was whole.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Longest file fetched unless told otherwise: 16 GiB.
pub const DOWNLOAD_BYTES_MAX: u64 = 16 << 30;
/// Longest download unless told otherwise: 6 hours.
pub const DOWNLOAD_DEADLINE_DEFAULT: Duration = Duration::from_secs(6 * 3600);
const REDIRECTS_MAX: u32 = 5;
const ERROR_BYTES_MAX: u64 = 64 << 10;
