//! Uploads in parts, in three dialects that share one set of rules.

use std::collections::BTreeMap;

use http::{Method, StatusCode, header};
use serde_json::Value;

use super::super::content::Blob;
use super::super::exchange::{Host, Request, Response};
use super::super::files::{Access, Content, FileKey, Session};
use super::super::id::digest;
use super::super::{Model, auth, reply};
use super::cdn::quoted;
use super::{OCTET_STREAM, UploadStep};
use crate::render;

impl Model {
    /// Starts an upload in parts by somebody with a token.
    pub(super) fn create_parts(&mut self, request: &Request<'_>) -> Response {
        let (rest, lifecycle) = match self.read_upload(request) {
            Ok(read) => read,
            Err(refusal) => return *refusal,
        };
        let content_type = request.header("content-type").unwrap_or(OCTET_STREAM).into();
        let (key, id) = self.add_session(Host::Cdn, &rest, lifecycle, Access::Token, content_type);
        let mut body = b"{\"access_url\":\"".to_vec();
        Self::push_url(&mut body, &request.door, Host::Cdn, key, &rest);
        body.extend_from_slice(b"\",\"uploadId\":\"");
        body.extend_from_slice(format!("{id:032x}\"}}").as_bytes());
        reply::json(StatusCode::OK, self.mint_other(), body)
    }

    /// Answers `…/multipart/{id}/{n}` and `…/multipart/{id}/complete` of the CDN.
    pub(super) fn parts_call(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        key: FileKey,
        rest: &str,
        tail: &str,
    ) -> Option<Response> {
        let Some((id, what)) = tail.split_once('/') else { return Some(self.no_upload()) };
        let refused = |model: &mut Self| {
            let Some(session) = model.session(Host::Cdn, key, rest, id) else {
                return Some(model.no_upload());
            };
            match session.access {
                Access::Signature => {
                    let subject = key.path(&format!("{rest}/multipart/{id}"));
                    let why = model.unsigned(request, "parts", &subject)?;
                    Some(model.forbid(request, why))
                }
                Access::Token => {
                    let why = model.without_token(request)?;
                    Some(reply::refuse(StatusCode::UNAUTHORIZED, model.mint_other(), why))
                }
                Access::Key => Some(model.no_upload()),
            }
        };
        if what == "complete" {
            if *request.method != Method::POST {
                return Some(reply::wrong_method(self.mint_other(), "POST, OPTIONS"));
            }
            return self.step(exchange, request, UploadStep::Complete, |model| {
                refused(model).unwrap_or_else(|| model.complete_parts(request, key))
            });
        }
        if *request.method != Method::PUT {
            return Some(reply::wrong_method(self.mint_other(), "PUT, OPTIONS"));
        }
        let Some(number) = part_number(what) else { return Some(self.bad_part()) };
        self.step(exchange, request, UploadStep::Part(Some(number)), |model| {
            refused(model).unwrap_or_else(|| model.take_part(request, key, number, true))
        })
    }

    /// Answers `/storage/upload/multipart/…` of the REST host: the address of a part at Google's, or the end.
    pub(super) fn parts_by_key(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        path: &str,
    ) -> Option<Response> {
        if *request.method != Method::POST {
            return Some(reply::wrong_method(self.mint_other(), "POST"));
        }
        if let Err(denied) = auth::check(&self.config, request, None) {
            let text = denied.text(None);
            return Some(reply::refuse(denied.status(), self.mint_other(), &text));
        }
        let found = FileKey::split(path).and_then(|(key, tail)| {
            let (rest, what) = tail.rsplit_once('/')?;
            let file = self.files.get(Host::Gcs, key, rest)?;
            let Content::Parts(session) = &file.content else { return None };
            Some((key, rest, what, session.id))
        });
        let Some((key, rest, what, id)) = found else { return Some(self.no_upload()) };
        if what == "complete" {
            return self.step(exchange, request, UploadStep::Complete, |model| {
                model.complete_parts(request, key)
            });
        }
        let Some(number) = part_number(what) else { return Some(self.bad_part()) };
        let mut body = b"{\"upload_url\":\"".to_vec();
        Self::push_url(&mut body, &request.door, Host::Gcs, key, rest);
        body.extend_from_slice(format!("?partNumber={number}&uploadId={id:032x}").as_bytes());
        self.push_signature(&mut body, b'&', "part", &part_subject(key, rest, id, number));
        body.extend_from_slice(b"\"}");
        Some(reply::json(StatusCode::OK, self.mint_other(), body))
    }

    /// Takes a part at Google's.
    pub(super) fn google_part(
        &mut self,
        exchange: u64,
        request: &Request<'_>,
        key: FileKey,
        rest: &str,
    ) -> Option<Response> {
        let number = request.parameter("partNumber").and_then(|text| part_number(&text));
        let Some(number) = number else { return Some(self.bad_part()) };
        self.step(exchange, request, UploadStep::Part(Some(number)), |model| {
            let id = request.parameter("uploadId").unwrap_or_default();
            let Some(session) = model.session(Host::Gcs, key, rest, &id) else {
                return model.no_file(request);
            };
            let subject = part_subject(key, rest, session.id, number);
            match model.unsigned(request, "part", &subject) {
                Some(why) => model.forbid(request, why),
                None => model.take_part(request, key, number, false),
            }
        })
    }

    fn session(&self, host: Host, key: FileKey, rest: &str, id: &str) -> Option<&Session> {
        match &self.files.get(host, key, rest)?.content {
            Content::Parts(session) if format!("{:032x}", session.id) == id => Some(session),
            _ => None,
        }
    }

    /// Keeps a part. The last one with its number wins; an empty one is taken, because one of the Python
    /// client's ways of uploading sends such.
    ///
    /// The official JavaScript client reads the answer's body, the Python clients its `ETag`.
    fn take_part(
        &mut self,
        request: &Request<'_>,
        key: FileKey,
        number: u32,
        with_body: bool,
    ) -> Response {
        let blob = request.blob();
        let etag = format!("{:032x}", blob.digest());
        self.files.change(key, |file| {
            if let Content::Parts(session) = &mut file.content {
                session.parts.insert(number, blob);
            }
        });
        self.files.part_changed(key, number);
        self.counters.parts += 1;
        let mut response = self.done(quoted(&etag));
        if with_body {
            response.headers_mut().insert(header::CONTENT_TYPE, reply::JSON);
            let mut body = b"{\"partNumber\":".to_vec();
            render::push_number(&mut body, number.into());
            body.extend_from_slice(format!(",\"etag\":\"\\\"{etag}\\\"\"}}").as_bytes());
            *response.body_mut() = body.into();
        }
        response
    }

    /// Puts the parts together that the caller lists, by number. Nothing is copied.
    ///
    /// What it refuses and how is inferred.
    fn complete_parts(&mut self, request: &Request<'_>, key: FileKey) -> Response {
        let listed = match read_parts(&request.body) {
            Ok(listed) => listed,
            Err(why) => return reply::refuse(StatusCode::BAD_REQUEST, self.mint_other(), &why),
        };
        let together = self.files.change(key, |file| {
            let Content::Parts(session) = &file.content else { return None };
            Some(
                put_together(session, &listed)
                    .map(|content| (content, file.host, file.rest.clone())),
            )
        });
        match together.flatten() {
            Some(Ok((content, host, rest))) => {
                let Content::Uploaded { etag, .. } = &content else { return self.no_upload() };
                let etag = quoted(etag);
                self.counters.uploads += 1;
                self.store(key, host, &rest, content);
                self.done(etag)
            }
            Some(Err(why)) => reply::refuse(StatusCode::BAD_REQUEST, self.mint_other(), &why),
            None => self.no_upload(),
        }
    }

    fn no_upload(&mut self) -> Response {
        reply::refuse(StatusCode::NOT_FOUND, self.mint_other(), "Upload not found")
    }

    fn bad_part(&mut self) -> Response {
        let why = format!("The number of a part must be between 1 and {PARTS_MAX}");
        reply::refuse(StatusCode::BAD_REQUEST, self.mint_other(), &why)
    }
}

/// The whole file that listed parts make.
fn put_together(session: &Session, listed: &BTreeMap<u32, Box<str>>) -> Result<Content, String> {
    let mut blobs = Vec::with_capacity(listed.len());
    let mut digests = Vec::with_capacity(16 * listed.len());
    for (number, etag) in listed {
        let Some(blob) = session.parts.get(number) else {
            return Err(format!("Part {number} was not uploaded"));
        };
        if format!("{:032x}", blob.digest()) != **etag {
            return Err(format!("The etag of part {number} is not that of what was uploaded"));
        }
        digests.extend_from_slice(&blob.digest().to_le_bytes());
        blobs.push(blob.clone());
    }
    let etag = format!("{:032x}-{}", digest(0, &[&digests]), blobs.len());
    let content_type = session.content_type.clone();
    let blobs: Box<[Blob]> = blobs.into();
    Ok(Content::Uploaded { content_type, etag: etag.into(), blobs })
}

/// Numbers and tags that a completion lists, in any order. Both spellings of the number are taken, tags with
/// and without quotes; of a number that is there twice the last entry counts.
fn read_parts(body: &[u8]) -> Result<BTreeMap<u32, Box<str>>, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}"))?;
    let all =
        value.get("parts").and_then(Value::as_array).ok_or("The body has no list of parts")?;
    if all.is_empty() || all.len() > LISTED_MAX {
        return Err(format!("The list must have between 1 and {LISTED_MAX} parts"));
    }
    let mut parts = BTreeMap::new();
    for (at, entry) in all.iter().enumerate() {
        let number = entry.get("partNumber").or_else(|| entry.get("part_number"));
        let number = number
            .and_then(Value::as_u64)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (1..=PARTS_MAX).contains(number))
            .ok_or_else(|| format!("parts[{at}] has no part number between 1 and {PARTS_MAX}"))?;
        let etag = entry
            .get("etag")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("parts[{at}] has no etag"))?;
        parts.insert(number, unquoted(etag).into());
    }
    Ok(parts)
}

fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

fn part_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=PARTS_MAX).contains(number))
}

/// What the signature in the address of one part at Google's stands for.
fn part_subject(key: FileKey, rest: &str, id: u128, number: u32) -> String {
    format!("{} {id:032x} {number}", key.path(rest))
}

/// Parts of one file.
///
/// Source: the limit of multipart uploads at S3 and Google's, 10,000 (documented there; inferred for fal).
pub const PARTS_MAX: u32 = 10_000;

/// Entries of a completion: every part twice.
const LISTED_MAX: usize = 2 * PARTS_MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_are_read_leniently() {
        let body = br#"{"parts":[{"part_number":2,"etag":"b"},{"partNumber":1,"etag":"\"a\""},{"partNumber":2,"etag":"c"}]}"#;
        let parts: Vec<_> = read_parts(body).unwrap().into_iter().collect();
        assert_eq!(parts, [(1, "a".into()), (2, "c".into())]);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"parts":[]}"#,
            r#"{"parts":[{}]}"#,
            r#"{"parts":[{"partNumber":1}]}"#,
            r#"{"parts":[{"partNumber":0,"etag":"a"}]}"#,
            r#"{"parts":[{"partNumber":10001,"etag":"a"}]}"#,
            r#"{"parts":[{"partNumber":"1","etag":"a"}]}"#,
        ] {
            assert!(read_parts(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read_parts(br#"{"parts":[{"partNumber":10000,"etag":"a"}]}"#).is_ok());
        let many = |n: usize| {
            format!(r#"{{"parts":[{}]}}"#, vec![r#"{"partNumber":1,"etag":"a"}"#; n].join(","))
        };
        assert!(read_parts(many(LISTED_MAX).as_bytes()).is_ok());
        assert!(read_parts(many(LISTED_MAX + 1).as_bytes()).is_err());
    }
}
