//! Tokens for the CDN.
//!
//! A token says itself when it ends, so none is remembered.

use std::time::SystemTime;

use http::{Method, StatusCode, header};
use serde_json::Value;

use super::super::exchange::{Host, Request, Response};
use super::super::failure::Failure;
use super::super::id::TenantId;
use super::super::input::Problem;
use super::super::{Model, auth, reply};
use crate::render;

impl Model {
    /// Gives out a token.
    ///
    /// Source: `client.py` of `fal-client` 1.0.3 for the fields, and for the form of times, since Python before
    /// 3.11 reads no `Z` (official client source). Type and life of a token are inferred.
    pub(super) fn token(&mut self, request: &Request<'_>) -> Response {
        if *request.method != Method::POST {
            return reply::wrong_method(self.mint_other(), "POST");
        }
        if let Err(denied) = auth::check(&self.config, request, None) {
            return reply::refuse(denied.status(), self.mint_other(), &denied.text(None));
        }
        if let Some(kind) =
            request.parameter("storage_type").filter(|kind| !TOKEN_TYPES.contains(&&**kind))
        {
            let msg = "Input should be 'fal-cdn-v3' or 'fal-cdn'";
            let value = Value::String(kind.into_owned());
            let problem = Problem::new(&["query", "storage_type"], "literal_error", msg, &value);
            return reply::failure(self.mint_other(), &Failure::invalid(&[problem]));
        }
        self.storage.tokens += 1;
        self.counters.tokens += 1;
        let created = self.wall(self.now);
        let expires = created + self.config.token_time;
        let serial = self.storage.tokens;
        let expires_secs =
            expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut body = Vec::with_capacity(320);
        body.extend_from_slice(b"{\"token\":\"");
        body.extend_from_slice(self.token_text(serial, expires_secs).as_bytes());
        body.extend_from_slice(b"\",\"token_type\":\"Bearer\",\"base_url\":\"");
        request.door.push_base(&mut body, Host::Cdn);
        body.extend_from_slice(b"\",\"expires_at\":\"");
        // The token ends with the second, not after it.
        render::push_offset_timestamp(
            &mut body,
            SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(expires_secs),
        );
        body.extend_from_slice(b"\",\"created_at\":\"");
        render::push_offset_timestamp(&mut body, created);
        body.extend_from_slice(b"\"}");
        reply::json(StatusCode::OK, self.mint_other(), body)
    }

    /// Why a call may not go on for want of a token.
    pub(super) fn without_token(&self, request: &Request<'_>) -> Option<&'static str> {
        let Some(value) = request.headers.get(header::AUTHORIZATION) else {
            return Some("Authorization header is required");
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .and_then(|(_, token)| self.read_token(token.trim()));
        let Some((serial, expires)) = token else { return Some("Invalid token") };
        let is_over = expires <= self.unix_now() || serial <= self.storage.tokens_over;
        is_over.then_some("The token has expired")
    }

    /// All tokens given out so far are over.
    pub(in super::super) fn expire_tokens(&mut self) {
        self.storage.tokens_over = self.storage.tokens;
    }

    fn token_text(&self, serial: u64, expires: u64) -> String {
        let signature = self.signature("token", &serial.to_string(), expires);
        match self.config.tenant {
            TenantId::FIRST => format!("cdn_{serial:x}_{expires:x}_{signature}"),
            tenant => format!("cdn_{serial:x}_{expires:x}_{signature}_{tenant}"),
        }
    }

    fn read_token(&self, text: &str) -> Option<(u64, u64)> {
        let mut parts = text.strip_prefix("cdn_")?.split('_');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (serial, expires) = (number()?, number()?);
        (self.token_text(serial, expires) == text).then_some((serial, expires))
    }
}

/// Whose token a text is, if it may be one.
pub(crate) fn tenant_of(token: &str) -> Option<TenantId> {
    let mut parts = token.strip_prefix("cdn_")?.split('_').skip(3);
    parts.next().map_or(Some(TenantId::FIRST), TenantId::parse)
}

/// Values of `storage_type`; absent means the same as the first. The second is of an SDK that is gone.
///
/// Source: `client.py` of `fal-client` 1.0.3 and the serverless SDK (official client source).
const TOKEN_TYPES: [&str; 2] = ["fal-cdn-v3", "fal-cdn"];
