//! Uploads are started at the REST host.

use http::{Method, StatusCode};
use serde_json::Value;

use super::super::exchange::{Host, Request, Response};
use super::super::failure::Failure;
use super::super::files::{Access, Content, FileKey, NewFile, Session};
use super::super::id::digest;
use super::super::input::{self, Problem};
use super::super::lifecycle::{self, Lifecycle};
use super::super::{Model, auth, reply};
use super::{OCTET_STREAM, PARTS_PATH, safe_name};

/// What an initiate call says.
struct Wish {
    content_type: Box<str>,
    name: Box<str>,
    host: Host,
    lifecycle: Lifecycle,
}

impl Model {
    pub(super) fn initiate(&mut self, request: &Request<'_>, in_parts: bool) -> Response {
        if *request.method != Method::POST {
            return reply::wrong_method(self.mint_other(), "POST");
        }
        if let Err(denied) = auth::check(&self.config, request, None) {
            return reply::refuse(denied.status(), self.mint_other(), &denied.text(None));
        }
        match read(request) {
            Ok(wish) => self.begin(request, wish, in_parts),
            Err(problems) => reply::failure(self.mint_other(), &Failure::invalid(&problems)),
        }
    }

    fn begin(&mut self, request: &Request<'_>, wish: Wish, in_parts: bool) -> Response {
        let Wish { content_type, name, host, lifecycle } = wish;
        let rest = format!("_{}", safe_name(&name));
        let access = if host == Host::Gcs { Access::Key } else { Access::Signature };
        let (key, session) = match in_parts {
            false => {
                (self.add_file(host, &rest, lifecycle, Content::Awaited { content_type }), None)
            }
            true => {
                let (key, id) = self.add_session(host, &rest, lifecycle, access, content_type);
                (key, Some(id))
            }
        };
        let door = &request.door;
        let mut body = Vec::with_capacity(512);
        body.extend_from_slice(b"{\"file_url\":\"");
        Self::push_url(&mut body, door, host, key, &rest);
        body.extend_from_slice(b"\",\"upload_url\":\"");
        match (session, access) {
            (None, _) => {
                Self::push_url(&mut body, door, host, key, &rest);
                self.push_signature(&mut body, b'?', "put", &key.path(&rest));
            }
            (Some(id), Access::Key) => {
                // Its callers append to the address, so it has no query.
                let _ = id;
                door.push_base(&mut body, Host::Rest);
                body.extend_from_slice(PARTS_PATH.as_bytes());
                key.push_path(&mut body, &rest);
            }
            (Some(id), _) => {
                let tail = format!("{rest}/multipart/{id:032x}");
                Self::push_url(&mut body, door, host, key, &tail);
                self.push_signature(&mut body, b'?', "parts", &key.path(&tail));
            }
        }
        body.extend_from_slice(b"\"}");
        reply::json(StatusCode::OK, self.mint_other(), body)
    }

    /// Adds a file that has yet to come.
    pub(super) fn add_file(
        &mut self,
        host: Host,
        rest: &str,
        mut lifecycle: Lifecycle,
        content: Content,
    ) -> FileKey {
        if host != Host::Cdn {
            // Only files of the CDN have lists (documented).
            lifecycle.acl = Some(lifecycle::Acl::default());
        }
        self.age += 1;
        let bits = digest(self.config.seed, &[b"upload", &self.age.to_le_bytes()]);
        let key = FileKey::new(self.config.tenant.mark(bits));
        let keep = self.keep(lifecycle);
        self.files.add(self.age, key, NewFile { host, rest, keep, until: None }, content);
        key
    }

    /// Adds a file that comes in parts. Also returns what names its upload.
    pub(super) fn add_session(
        &mut self,
        host: Host,
        rest: &str,
        lifecycle: Lifecycle,
        access: Access,
        content_type: Box<str>,
    ) -> (FileKey, u128) {
        let id = digest(self.config.seed, &[b"parts", &self.age.to_le_bytes()]);
        let session =
            Session { id, access, content_type, parts: std::collections::BTreeMap::new() };
        let key = self.add_file(host, rest, lifecycle, Content::Parts(Box::new(session)));
        let time = match access {
            Access::Token => self.config.token_time,
            Access::Signature | Access::Key => self.config.upload_time_max,
        };
        let until = self.now.checked_add(time);
        self.files.change(key, |file| file.until = until);
        (key, id)
    }
}

fn read(request: &Request<'_>) -> Result<Wish, Vec<Problem>> {
    let mut problems = Vec::new();
    let host = match request.parameter("storage_type").as_deref() {
        None | Some("fal-cdn-v3") => Host::Cdn,
        Some("gcs") => Host::Gcs,
        Some(other) => {
            let msg = "Input should be 'fal-cdn-v3' or 'gcs'";
            let value = Value::String(other.to_owned());
            problems.push(Problem::new(&["query", "storage_type"], "literal_error", msg, &value));
            Host::Cdn
        }
    };
    let lifecycle =
        lifecycle::read_headers(request, &lifecycle::OF_UPLOADS).unwrap_or_else(|problem| {
            problems.push(problem);
            Lifecycle::default()
        });
    let body = match input::parse(&request.body) {
        Ok(body) => body,
        Err(found) => {
            problems.extend(found);
            return Err(problems);
        }
    };
    let Value::Object(object) = &body else {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        problems.push(Problem::new(&["body"], "model_attributes_type", msg, &body));
        return Err(problems);
    };
    let mut text = |name: &'static str| match object.get(name) {
        Some(Value::String(text)) => text.as_str().into(),
        // The types of the official JavaScript client allow null for the content type.
        Some(Value::Null) if name == "content_type" => OCTET_STREAM.into(),
        None => {
            problems.push(Problem::missing(&["body", name], &body));
            Box::default()
        }
        Some(other) => {
            let msg = "Input should be a valid string";
            problems.push(Problem::new(&["body", name], "string_type", msg, other));
            Box::default()
        }
    };
    let (content_type, name) = (text("content_type"), text("file_name"));
    if problems.is_empty() {
        Ok(Wish { content_type, name, host, lifecycle })
    } else {
        Err(problems)
    }
}
