//! Uploads and downloads: the REST host starts uploads, the CDN and the storage of Google take and serve files.
//!
//! | Way | Start | Data |
//! |---|---|---|
//! | signed address | `rest` `/storage/upload/initiate` | `PUT` to the CDN, or to Google's for `storage_type=gcs` |
//! | signed parts | `rest` `/storage/upload/initiate-multipart` | `PUT …/{n}`, `POST …/complete` |
//! | parts at Google's | the same with `storage_type=gcs` | `POST …/{n}` gives an address to `PUT` to |
//! | token | `rest` `/storage/auth/token` | CDN `POST /files/upload` |
//! | token, in parts | the same | CDN `POST /files/upload/multipart`, then as signed parts |

mod cdn;
mod fault;
mod initiate;
mod parts;
mod serve;
mod token;
mod view;

pub(crate) use serve::{Range, parse_range};
pub(crate) use token::tenant_of as tenant_of_upload_token;
pub(crate) use view::locate;

use std::time::SystemTime;

use http::{HeaderValue, Method, header};

use super::exchange::{Door, Host, Output, Request, Response};
use super::files::FileKey;
use super::id::digest;
use super::lifecycle::{Acl, Keep, Lifecycle};
use super::{Due, Model, Open, reply};
use crate::render;

pub use fault::{UploadFailure, UploadStep};
pub use parts::PARTS_MAX;
pub use view::FileView;

use fault::Faults;

/// What storage remembers beside files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    faults: Faults,
    /// What the account wants for files that say nothing themselves.
    pub(crate) account: Lifecycle,
    /// How many tokens were given out.
    tokens: u64,
    /// Tokens up to this one are over, by order of a test.
    tokens_over: u64,
}

impl Storage {
    /// How many tokens were given out, and up to which of them all are over.
    pub(super) const fn token_marks(&self) -> (u64, u64) {
        (self.tokens, self.tokens_over)
    }

    /// Goes on from there.
    pub(super) const fn set_token_marks(&mut self, tokens: u64, tokens_over: u64) {
        self.tokens = tokens;
        self.tokens_over = tokens_over;
    }
}

impl Model {
    /// Answers a call below `/storage/` of the REST host; `None` if the answer is late or never comes.
    pub(crate) fn storage(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        match request.path.trim_end_matches('/') {
            "/storage/upload/initiate" => {
                self.step(exchange, request, UploadStep::Initiate, |model| {
                    model.initiate(request, false)
                })
            }
            "/storage/upload/initiate-multipart" => {
                self.step(exchange, request, UploadStep::Initiate, |model| {
                    model.initiate(request, true)
                })
            }
            "/storage/auth/token" => {
                self.step(exchange, request, UploadStep::Token, |model| model.token(request))
            }
            path => match path.strip_prefix(PARTS_PATH) {
                Some(path) => self.parts_by_key(exchange, request, path),
                None => {
                    let what = format!("https://rest.fal.ai{}", request.path);
                    Some(reply::not_emulated(self.mint_other(), &what))
                }
            },
        }
    }

    /// Performs a step of an upload, unless a test has planned something else for it.
    fn step(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        step: UploadStep,
        perform: impl FnOnce(&mut Self) -> Response,
    ) -> Option<Response> {
        match self.storage.faults.next(step) {
            None => Some(perform(self)),
            Some(UploadFailure::Refuse(failure)) => {
                Some(reply::failure(self.mint_other(), &failure))
            }
            Some(UploadFailure::Cut) => {
                self.out.push_back(Output::Cut { id: exchange });
                None
            }
            Some(UploadFailure::LoseAnswer) => {
                perform(self);
                self.out.push_back(Output::Cut { id: exchange });
                None
            }
            Some(UploadFailure::Late(time)) => {
                let mut response = perform(self);
                if request.host != Host::Rest {
                    show_to_pages(&mut response);
                }
                self.open.insert(exchange, Open::Late(Box::new(response)));
                self.plan_after(time, Due::Late(exchange));
                None
            }
        }
    }

    /// Plans what happens to the next steps of a kind.
    pub(super) fn plan_upload_failure(
        &mut self,
        step: UploadStep,
        times: u32,
        failure: UploadFailure,
    ) {
        self.storage.faults.plan(step, times, failure);
    }

    /// A late answer is due.
    pub(crate) fn late_due(&mut self, exchange: u64) {
        if let Some(Open::Late(response)) = self.open.remove(&exchange) {
            self.out.push_back(Output::Reply { id: exchange, response: *response });
        }
    }

    /// Writes the address of a file.
    fn push_url(out: &mut Vec<u8>, door: &Door<'_>, host: Host, key: FileKey, rest: &str) {
        door.push_base(out, host);
        if host == Host::Gcs {
            out.extend_from_slice(BUCKET.as_bytes());
        }
        key.push_path(out, rest);
    }

    /// Depends on everything that an address permits. Deterministic, and no secret.
    fn signature(&self, what: &str, subject: &str, expires: u64) -> String {
        let parts = [what.as_bytes(), subject.as_bytes(), &expires.to_le_bytes()];
        format!("{:032x}", digest(!self.config.seed, &parts))
    }

    /// Appends what makes an address a signed one, from the `?` or `&` on.
    fn push_signature(&self, out: &mut Vec<u8>, start: u8, what: &str, subject: &str) {
        let expires = self.unix_now().saturating_add(self.config.upload_time_max.as_secs());
        out.push(start);
        out.extend_from_slice(b"signature=");
        out.extend_from_slice(self.signature(what, subject, expires).as_bytes());
        out.extend_from_slice(b"&expires=");
        render::push_number(out, expires);
    }

    /// Why the signature in the address of a call does not permit it.
    fn unsigned(&self, request: &Request<'_>, what: &str, subject: &str) -> Option<&'static str> {
        let expires = request.parameter("expires").and_then(|text| text.parse::<u64>().ok());
        let given = request.parameter("signature");
        match (expires, given) {
            (Some(expires), Some(given)) if given == self.signature(what, subject, expires) => {
                (expires < self.unix_now()).then_some("The upload address has expired")
            }
            _ => Some("The signature is missing or wrong"),
        }
    }

    /// What a new file gets by the wish of its uploader and the settings of the account.
    fn keep(&self, wish: Lifecycle) -> Option<Box<Keep>> {
        let mut lifecycle = wish.or(&self.storage.account);
        lifecycle.acl = lifecycle.acl.map(|acl| self.without_strangers(acl));
        lifecycle.keep()
    }

    /// What the files get that a model makes for a call.
    pub(crate) fn keep_outputs(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<Box<Keep>>, super::Failure> {
        let wish = super::lifecycle::read_headers(request, &super::lifecycle::OF_CALLS)
            .map_err(|problem| super::Failure::invalid(&[problem]))?;
        Ok(self.keep(wish))
    }

    /// Drops rules for users that nobody is. The id of a key is taken for the name of its user; as long as no
    /// keys are listed, everybody may be somebody.
    ///
    /// Source: that such rules are dropped is reported by third parties (observed).
    pub(crate) fn without_strangers(&self, mut acl: Acl) -> Acl {
        if !self.config.keys.is_empty() {
            let own = self.config.own_key.as_ref();
            let is_known = |user: &str| {
                self.config.keys.iter().any(|key| key.split(':').next() == Some(user))
                    || own.is_some_and(|own| *own.id == *user)
            };
            acl.rules.retain(|(user, _)| is_known(user));
        }
        acl
    }

    pub(crate) fn unix_now(&self) -> u64 {
        self.wall(self.now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Gives up the oldest whole file that the shell keeps, because it has no room for another body. Returns
    /// whether there was one.
    ///
    /// Uploads in parts that are not complete are never given up for that.
    pub fn handle_spool_full(&mut self, now: std::time::Instant) -> bool {
        self.advance(now);
        let is_found = self.files.remove_oldest_spooled();
        self.counters.evicted += u64::from(is_found);
        self.settle(now);
        is_found
    }
}

/// Whether the body of a call is a file, which may be much longer than JSON and need not be in memory.
pub(crate) fn is_upload(method: &Method, host: Host, path: &str) -> bool {
    match host {
        Host::Cdn => *method == Method::PUT || (*method == Method::POST && path == DIRECT_PATH),
        Host::Gcs => *method == Method::PUT,
        _ => false,
    }
}

/// Lets a page of any origin read an answer: observed on every file, whether or not a browser asks.
fn show_to_pages<B>(response: &mut http::Response<B>) {
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// A file name that can stand in an address as it is.
fn safe_name(name: &str) -> String {
    let safe =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let start = name.char_indices().rev().nth(NAME_CHARS_MAX - 1).map_or(0, |(at, _)| at);
    name[start..].chars().map(safe).collect()
}

const OCTET_STREAM: &str = "application/octet-stream";

/// The first segment of addresses at Google's.
const BUCKET: &str = "/fal-mock";

/// Where a token uploads to.
const DIRECT_PATH: &str = "/files/upload";

/// Where parts for Google's are announced and completed, on the REST host (the path is inferred).
const PARTS_PATH: &str = "/storage/upload/multipart";

/// Of a longer file name the end is kept, because it has the extension.
const NAME_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_safe() {
        assert_eq!(safe_name("cat (1).png"), "cat__1_.png");
        assert_eq!(safe_name("../é\"?.jpg"), "..____.jpg");
        assert_eq!(safe_name(&format!("{}.png", "a".repeat(200))).len(), NAME_CHARS_MAX);
    }

    #[test]
    fn files_are_told_from_json() {
        for (method, host, path, want) in [
            (Method::PUT, Host::Cdn, "/files/otter/x", true),
            (Method::PUT, Host::Gcs, "/fal-mock/files/otter/x", true),
            (Method::POST, Host::Cdn, "/files/upload", true),
            (Method::POST, Host::Cdn, "/files/upload/multipart", false),
            (Method::POST, Host::Cdn, "/files/otter/x/multipart/1/complete", false),
            (Method::POST, Host::Rest, "/files/upload", false),
            (Method::PUT, Host::Queue, "/a/b/requests/x/cancel", false),
        ] {
            assert_eq!(is_upload(&method, host, path), want, "{method} {path}");
        }
    }
}
