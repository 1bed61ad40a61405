//! `webhook listen`: receives deliveries, verifies them, and says what each is worth.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fal_client::webhook::{Delivery, VerifyError, Webhooks};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{outcome, saved};
use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, WebhookListen};
use crate::json;
use crate::problem::Problem;
use crate::save;
use crate::show::Show;
use crate::signals::Signals;

pub(crate) async fn listen(
    global: &Global,
    flags: WebhookListen,
    show: &mut Show,
) -> Result<Exit, Problem> {
    if let Some(dir) = &flags.save {
        save::prepare(dir)?;
    }
    let client = connect::keyless_client(global)?;
    let address = SocketAddr::new(flags.host, flags.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let problem = Problem::new(Exit::Other, format!("cannot listen on {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => problem.with_hint("use --port 0 for any free port"),
            _ => problem,
        }
    })?;
    let mut signals = Signals::new()?;
    let address = listener.local_addr().unwrap_or(address);
    let url = format!("http://{address}/");
    let line = show.new_line("listening").with("url", &url);
    show.line(line);
    show.note(&format!("listening on {url}; give it as --webhook {url}"));
    if !address.ip().is_loopback() {
        show.note("this address is not of this machine alone: others can send to it");
    }

    let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
    let desk = Arc::new(Desk { webhooks: client.webhooks(), save: flags.save, reports });
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut ledger = Ledger::default();
    loop {
        if flags.count.is_some_and(|count| ledger.good >= count.get()) {
            break;
        }
        // Whoever comes when there is no room waits in the queue of the operating system.
        let seat = Arc::clone(&room).acquire_owned();
        tokio::select! {
            biased;
            () = signals.next() => {
                return match flags.count {
                    Some(count) => Err(Problem::new(
                        Exit::Cancelled,
                        format!("stopped after {} of {count} deliveries", ledger.good),
                    )),
                    None => Ok(Exit::Ok),
                };
            }
            Some(report) = reported.recv() => ledger.tell(report, show),
            // Only for the sake of those that have ended.
            Some(_) = connections.join_next() => {}
            accepted = async { (seat.await, listener.accept().await) } => {
                // An accept fails with the connection it was for, or for a moment without room.
                if let (Ok(seat), Ok((stream, _))) = accepted {
                    let desk = Arc::clone(&desk);
                    connections.spawn(async move {
                        let _seat = seat;
                        let _ = tokio::time::timeout(CONNECTION_TIME_MAX, serve(stream, desk)).await;
                    });
                }
            }
        }
    }
    // The answers to what was counted must be on their way before the process ends.
    drop(listener);
    let _ = tokio::time::timeout(GOODBYE_TIME_MAX, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    Ok(Exit::Ok)
}

/// Where requests are judged and answered.
struct Desk {
    webhooks: Webhooks,
    save: Option<PathBuf>,
    reports: mpsc::Sender<Report>,
}

/// What came of one request.
struct Report {
    /// As its headers say, which is proved for those that are verified.
    request_id: Option<String>,
    verdict: Verdict,
    body: Bytes,
    answered: StatusCode,
    saved: Option<PathBuf>,
    /// Why it could not be saved.
    unsaved: Option<String>,
}

enum Verdict {
    Verified(Box<Delivery>),
    /// Signed by fal, and not understood.
    Malformed(String),
    /// Not from fal, or not of now.
    Refused(String),
    /// Nobody knows: the keys are out of reach.
    Unknown(String),
}

/// One request, one answer; then the connection is closed, so that none is idle at the end.
async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEADERS_TIME_MAX);
    // A peer that breaks off has said nothing.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED);
        }
        // What announces that it is too long need not be read to be so.
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return plain(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE);
            }
            Err(_) => return plain(StatusCode::BAD_REQUEST),
        };
        let (verdict, answered) = self.judge(&head.headers, &body).await;
        let (saved, unsaved) = self.save(&head, &body, &verdict).await;
        // What is not safe on disk is to come again.
        let answered = match &unsaved {
            Some(_) if answered.is_success() => StatusCode::SERVICE_UNAVAILABLE,
            _ => answered,
        };
        let request_id = head.headers.get("x-fal-webhook-request-id");
        let request_id = request_id.and_then(|id| Some(id.to_str().ok()?.to_owned()));
        let report = Report { request_id, verdict, body, answered, saved, unsaved };
        // The receiver lives as long as the command.
        let _ = self.reports.send(report).await;
        plain(answered)
    }

    async fn judge(&self, headers: &HeaderMap, body: &Bytes) -> (Verdict, StatusCode) {
        match self.webhooks.verify(headers, body).await {
            Ok(delivery) => (Verdict::Verified(Box::new(delivery)), StatusCode::OK),
            Err(VerifyError::Refused(why)) => {
                (Verdict::Refused(why.to_string()), StatusCode::UNAUTHORIZED)
            }
            Err(VerifyError::KeysUnavailable(why)) => {
                (Verdict::Unknown(why.to_string()), StatusCode::SERVICE_UNAVAILABLE)
            }
            // It would say the same again.
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                (Verdict::Malformed(source.unwrap_or_default()), StatusCode::OK)
            }
        }
    }

    /// Writes the request down before it is answered; returns where, or why not.
    async fn save(
        &self,
        head: &http::request::Parts,
        body: &Bytes,
        verdict: &Verdict,
    ) -> (Option<PathBuf>, Option<String>) {
        let Some(dir) = &self.save else { return (None, None) };
        let id = head.headers.get("x-fal-webhook-request-id").map_or(&b""[..], |id| id.as_bytes());
        let name = file_name(id, matches!(verdict, Verdict::Refused(_) | Verdict::Unknown(_)));
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let text = saved::render(target, &head.headers, body);
        let dir = dir.clone();
        let written = tokio::task::spawn_blocking(move || write(&dir, &name, &text)).await;
        match written {
            Ok(Ok(path)) => (Some(path), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(error) => (None, Some(error.to_string())),
        }
    }
}

/// A name for what came under this id, which anybody can have written.
fn file_name(id: &[u8], is_suspect: bool) -> String {
    let plain = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
    let id: String =
        id.iter().filter(plain).take(NAME_CHARS_MAX).map(|byte| char::from(*byte)).collect();
    let id = if id.is_empty() { "delivery" } else { &id };
    format!("{id}{}.http", if is_suspect { "-not-verified" } else { "" })
}

fn write(dir: &Path, name: &str, text: &[u8]) -> io::Result<PathBuf> {
    let path = save::reserve(dir, name)?;
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(path),
        Err(error) => {
            // Half of a delivery is worse than none.
            let _ = std::fs::remove_file(&path);
            Err(error)
        }
    }
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// What has been told.
#[derive(Default)]
struct Ledger {
    /// Verified deliveries that were not there before.
    good: u64,
    seen: HashSet<String>,
    order: VecDeque<String>,
}

impl Ledger {
    fn tell(&mut self, report: Report, show: &mut Show) {
        let Report { request_id, verdict, body, answered, saved, unsaved } = report;
        let is_good = matches!(verdict, Verdict::Verified(_)) && answered.is_success();
        // Only what is from fal can be there twice; others may use any id.
        let is_duplicate = is_good && request_id.as_ref().is_some_and(|id| !self.is_new(id));
        self.good += u64::from(is_good && !is_duplicate);
        let (result, reason) = match &verdict {
            Verdict::Verified(_) => ("verified", None),
            Verdict::Malformed(why) => ("malformed", Some(why)),
            Verdict::Refused(why) => ("refused", Some(why)),
            Verdict::Unknown(why) => ("keys_unavailable", Some(why)),
        };
        let mut line = show
            .new_line("delivery")
            .with("result", result)
            .maybe("request_id", request_id.as_deref())
            .with("answered", &answered.as_u16())
            .maybe("reason", reason)
            .maybe("duplicate", is_good.then_some(is_duplicate));
        let mut words = format!("{result} {}", request_id.as_deref().unwrap_or("(no id)"));
        if let Verdict::Verified(delivery) = &verdict {
            let outcome = outcome(delivery);
            let text = String::from_utf8_lossy(&body);
            line = line.with("outcome", outcome).raw("delivery", &json::compact(&text));
            words.push_str(&format!(": {outcome}, {}", save::size(body.len() as u64)));
            if let Err(failure) = &delivery.outcome {
                words.push_str(&format!(", {failure}"));
            }
        }
        if is_duplicate {
            words.push_str(", a duplicate");
        }
        if let Some(why) = reason {
            words.push_str(&format!(": {why}"));
        }
        if let Some(path) = &saved {
            words.push_str(&format!(", saved as {}", path.display()));
        }
        if let Some(why) = &unsaved {
            words.push_str(&format!(", not saved: {why}"));
        }
        line = line.maybe("saved", saved.as_ref().map(|path| path.to_string_lossy()));
        show.received(line.maybe("unsaved", unsaved), &words, &body);
    }

    /// Whether this id is seen for the first time; remembers the last [`SEEN_MAX`].
    fn is_new(&mut self, id: &str) -> bool {
        if !self.seen.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

/// Connections served at once.
const CONNECTIONS_MAX: usize = 64;
/// Reports that wait to be told; whoever brings one more waits.
const REPORTS_MAX: usize = 64;
/// Longest body taken: 64 MiB. A payload may hold whole files as data URIs.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How long the head of a request may take.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take: fal gives a delivery up after 15 s at first, and 120 s later.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);
/// How long the last answers may take to go out.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);
/// Ids remembered to know duplicates.
const SEEN_MAX: usize = 10_000;
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files_of_their_folder() {
        assert_eq!(file_name(b"1a-B", false), "1a-B.http");
        assert_eq!(file_name(b"../../etc/passwd\0", true), "etcpasswd-not-verified.http");
        assert_eq!(file_name(b"", false), "delivery.http");
        assert_eq!(file_name(&[b'x'; 500], false).len(), NAME_CHARS_MAX + ".http".len());
    }

    #[test]
    fn only_so_many_ids_are_remembered() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_new("a") && !ledger.is_new("a"));
        for number in 0..SEEN_MAX {
            assert!(ledger.is_new(&number.to_string()));
        }
        assert!(ledger.is_new("a"), "forgotten");
        assert_eq!((ledger.seen.len(), ledger.order.len()), (SEEN_MAX, SEEN_MAX));
    }
}
