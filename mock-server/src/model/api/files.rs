//! What the platform API says about files: lists, signed addresses, settings of the account.

use serde_json::Value;

use super::super::Model;
use super::super::exchange::{Host, Request};
use super::super::files::FileKey;
use super::super::lifecycle::{Acl, Keep, Lifecycle};
use super::super::storage::locate;
use super::Refusal;
use crate::render;

impl Model {
    pub(super) fn file_acl(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let (key, rest) = self.named(request)?;
        let file = self.files.get(Host::Cdn, key, &rest);
        let mut out = Vec::new();
        file.and_then(|file| file.acl()).cloned().unwrap_or_default().push(&mut out);
        Ok(out)
    }

    pub(super) fn put_file_acl(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let (key, _) = self.named(request)?;
        let acl = Acl::read(&body(request)?).map_err(Refusal::invalid)?;
        let acl = self.without_strangers(acl);
        let mut out = Vec::new();
        acl.push(&mut out);
        self.files.change(key, |file| {
            let lifetime = file.keep.as_ref().and_then(|keep| keep.lifetime);
            let is_plain = lifetime.is_none() && acl.is_open();
            file.keep = (!is_plain).then(|| Box::new(Keep { lifetime, acl }));
        });
        Ok(out)
    }

    pub(super) fn sign_file(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let (key, rest) = self.named(request)?;
        let seconds = body(request)?
            .get("expiration_seconds")
            .and_then(Value::as_u64)
            .filter(|seconds| (1..=SIGNED_SECS_MAX).contains(seconds))
            .ok_or_else(|| {
                Refusal::invalid(format!(
                    "expiration_seconds must be a whole number between 1 and {SIGNED_SECS_MAX}"
                ))
            })?;
        let identity = self.identity(key, &rest, self.unix_now().saturating_add(seconds));
        let url = request.parameter("url").unwrap_or_default();
        let mut out = b"{\"signed_url\":".to_vec();
        render::push_string(&mut out, &format!("{url}?identity={identity}"));
        out.push(b'}');
        Ok(out)
    }

    pub(super) fn file_settings(&mut self, _: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        Ok(self.settings())
    }

    fn settings(&self) -> Vec<u8> {
        let account = &self.storage.account;
        let mut out = b"{\"expiration_duration_seconds\":".to_vec();
        match account.lifetime.flatten() {
            Some(time) => render::push_number(&mut out, time.as_secs()),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"initial_acl\":");
        match &account.acl {
            Some(acl) => acl.push(&mut out),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
        out
    }

    /// Replaces the settings; what is absent or null is cleared.
    pub(super) fn put_file_settings(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let value = body(request)?;
        if value.get("expiration_duration_seconds").is_some_and(|seconds| seconds == 0) {
            let why = "expiration_duration_seconds must be at least 1, or null".to_owned();
            return Err(Refusal::invalid(why));
        }
        let mut account = Lifecycle::read(&value).map_err(Refusal::invalid)?;
        account.acl = account.acl.map(|acl| self.without_strangers(acl));
        self.storage.account = account;
        self.account_changed();
        Ok(self.settings())
    }

    /// The file that the query names. It must be one of the CDN, and its address without query.
    fn named(&self, request: &Request<'_>) -> Result<(FileKey, String), Refusal> {
        let url = request.parameter("url").ok_or_else(|| Refusal::invalid("url is required"))?;
        if url.contains(['?', '#']) {
            return Err(Refusal::invalid("url must not contain query parameters"));
        }
        let (host, key, rest) =
            locate(&url).ok_or_else(|| Refusal::invalid("url is not the address of a file"))?;
        self.files
            .get(host, key, rest)
            .filter(|file| host == Host::Cdn && file.is_there())
            .map(|_| (key, rest.to_owned()))
            .ok_or_else(|| Refusal::not_found("There is no such file"))
    }
}

fn body(request: &Request<'_>) -> Result<Value, Refusal> {
    serde_json::from_slice(&request.body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Refusal::invalid("The body must be a JSON object"))
}

/// Longest life of a signed address: 7 days.
///
/// Source: published OpenAPI of the platform API (documented).
const SIGNED_SECS_MAX: u64 = 604_800;
