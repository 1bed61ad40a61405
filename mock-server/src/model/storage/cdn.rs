//! What the CDN and the storage of Google are asked: whole uploads, and the way to parts and downloads.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::super::content::Blob;
use super::super::exchange::{Host, Request, Response};
use super::super::failure::Failure;
use super::super::files::{Content, FileKey, NewFile};
use super::super::lifecycle::{self, Lifecycle};
use super::super::{Model, reply};
use super::{BUCKET, DIRECT_PATH, OCTET_STREAM, UploadStep, safe_name, show_to_pages};

impl Model {
    /// Answers a call to the CDN or to the storage of Google; `None` if the answer was begun, is late or never
    /// comes.
    pub(crate) fn cdn(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        let mut response = self.cdn_answer(exchange, request)?;
        show_to_pages(&mut response);
        Some(response)
    }

    fn cdn_answer(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        let path = match request.host {
            Host::Gcs => request.path.strip_prefix(BUCKET).unwrap_or_default(),
            _ => request.path,
        };
        if let (Host::Cdn, Some(tail)) = (request.host, path.strip_prefix(DIRECT_PATH)) {
            let (step, is_direct) = match tail {
                "" => (UploadStep::Direct, true),
                "/multipart" => (UploadStep::Create, false),
                _ => return Some(self.no_file(request)),
            };
            if *request.method != Method::POST {
                return Some(reply::wrong_method(self.mint_other(), "POST, OPTIONS"));
            }
            return self.step(exchange, request, step, |model| match is_direct {
                true => model.upload_with_token(request),
                false => model.create_parts(request),
            });
        }
        let Some((key, rest)) = FileKey::split(path) else {
            return Some(self.no_file(request));
        };
        if let (Host::Cdn, Some((rest, tail))) = (request.host, rest.split_once("/multipart/")) {
            return self.parts_call(exchange, request, key, rest, tail);
        }
        match *request.method {
            Method::GET | Method::HEAD => self.download(exchange, request, key, rest),
            Method::PUT
                if request.host == Host::Gcs && request.parameter("partNumber").is_some() =>
            {
                self.google_part(exchange, request, key, rest)
            }
            Method::PUT => self
                .step(exchange, request, UploadStep::Put, |model| model.upload(request, key, rest)),
            _ => Some(reply::wrong_method(self.mint_other(), "GET, HEAD, PUT, OPTIONS")),
        }
    }

    /// Takes a signed upload. An `Authorization` header is ignored: the official Python client sends
    /// one by mistake.
    fn upload(&mut self, request: &Request<'_>, key: FileKey, rest: &str) -> Response {
        if let Some(why) = self.unsigned(request, "put", &key.path(rest)) {
            return self.forbid(request, why);
        }
        let given = request.header("content-type");
        let announced = match self.files.get(request.host, key, rest).map(|file| &file.content) {
            Some(Content::Awaited { content_type } | Content::Uploaded { content_type, .. }) => {
                Some(&**content_type)
            }
            _ => None,
        };
        if request.host == Host::Gcs
            && self.config.gcs_checks_content_type
            && announced.is_some_and(|announced| given != Some(announced))
        {
            return self.forbid(request, "The content type is not the one that was signed");
        }
        let content_type: Box<str> = given.or(announced).unwrap_or(OCTET_STREAM).into();
        let blob = request.blob();
        let etag = format!("{:032x}", blob.digest()).into_boxed_str();
        let value = quoted(&etag);
        let blobs = Box::new([blob]);
        self.counters.uploads += 1;
        self.store(key, request.host, rest, Content::Uploaded { content_type, etag, blobs });
        self.done(value)
    }

    /// Takes an upload in one piece by somebody with a token.
    ///
    /// Source: `client.py` of `fal-client` 1.0.3 (official client source); the statuses are inferred.
    fn upload_with_token(&mut self, request: &Request<'_>) -> Response {
        let (rest, lifecycle) = match self.read_upload(request) {
            Ok(read) => read,
            Err(refusal) => return *refusal,
        };
        let content_type = request.header("content-type").unwrap_or(OCTET_STREAM).into();
        let key = self.add_file(Host::Cdn, &rest, lifecycle, Content::Gone);
        let blob = request.blob();
        let etag = format!("{:032x}", blob.digest()).into_boxed_str();
        let blobs = Box::new([blob]);
        self.counters.uploads += 1;
        self.store(key, Host::Cdn, &rest, Content::Uploaded { content_type, etag, blobs });
        let mut body = b"{\"access_url\":\"".to_vec();
        Self::push_url(&mut body, &request.door, Host::Cdn, key, &rest);
        body.extend_from_slice(b"\"}");
        reply::json(StatusCode::OK, self.mint_other(), body)
    }

    /// The end of the address and the lifecycle of a file that somebody with a token brings.
    pub(super) fn read_upload(
        &mut self,
        request: &Request<'_>,
    ) -> Result<(String, Lifecycle), Box<Response>> {
        if let Some(why) = self.without_token(request) {
            let refusal = reply::refuse(StatusCode::UNAUTHORIZED, self.mint_other(), why);
            return Err(Box::new(refusal));
        }
        let lifecycle =
            lifecycle::read_headers(request, &lifecycle::OF_UPLOADS).map_err(|problem| {
                Box::new(reply::failure(self.mint_other(), &Failure::invalid(&[problem])))
            })?;
        let rest = match request.headers.get(FILE_NAME).map(HeaderValue::as_bytes) {
            Some(name) if !name.is_empty() => {
                format!("_{}", safe_name(&String::from_utf8_lossy(name)))
            }
            _ => extension(request.header("content-type").unwrap_or(OCTET_STREAM)),
        };
        Ok((rest, lifecycle))
    }

    /// Puts what was uploaded into its place; from now on it lives as long as it shall.
    pub(super) fn store(&mut self, key: FileKey, host: Host, rest: &str, content: Content) {
        self.age += 1;
        // It may have been evicted meanwhile.
        let file = NewFile { host, rest, keep: None, until: None };
        self.files.add(self.age, key, file, Content::Gone);
        let now = self.now;
        self.files.change(key, |file| {
            let lifetime = file.keep.as_ref().and_then(|keep| keep.lifetime);
            file.until = lifetime.and_then(|time| now.checked_add(time));
            file.content = content;
        });
    }

    /// The empty answer to an upload that was taken.
    pub(super) fn done(&mut self, etag: HeaderValue) -> Response {
        let mut response = Response::new(Bytes::new());
        response.headers_mut().insert(reply::REQUEST_ID, reply::id_value(self.mint_other()));
        response.headers_mut().insert(header::ETAG, etag);
        response
    }

    /// 403: `{"detail":…}`, and at Google's what Google writes.
    ///
    /// Source: cloud.google.com, XML API reference (documented); that of the CDN is inferred.
    pub(super) fn forbid(&mut self, request: &Request<'_>, why: &str) -> Response {
        let mut response = reply::refuse(StatusCode::FORBIDDEN, self.mint_other(), why);
        if request.host == Host::Gcs {
            google(&mut response, "SignatureDoesNotMatch", why);
        }
        response
    }

    pub(super) fn no_file(&mut self, request: &Request<'_>) -> Response {
        let mut response =
            reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), "File not found");
        if request.host == Host::Gcs {
            google(&mut response, "NoSuchKey", "The specified key does not exist.");
        }
        response
    }
}

impl Request<'_> {
    /// The body as a file has it.
    pub(super) fn blob(&self) -> Blob {
        match &self.spooled {
            Some(body) => Blob::Spooled(body.clone()),
            None => Blob::memory(self.body.clone()),
        }
    }
}

fn google(response: &mut Response, code: &str, message: &str) {
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?>\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    *response.body_mut() = body.into();
    let xml = HeaderValue::from_static("application/xml; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
}

/// The end of an address for a file without a name, such as `.png`.
fn extension(content_type: &str) -> String {
    let subtype = content_type.split(';').next().unwrap_or_default().split('/').nth(1);
    match subtype.unwrap_or_default().trim() {
        "octet-stream" | "" => ".bin".to_owned(),
        subtype => format!(".{}", safe_name(subtype)),
    }
}

/// An entity tag as it stands in a header.
pub(super) fn quoted(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\"")).expect("digits and dashes")
}

const FILE_NAME: HeaderName = HeaderName::from_static("x-fal-file-name");
