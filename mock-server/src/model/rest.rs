//! The REST host: uploads are started here, tokens minted, and the keys of webhooks stand here.

use http::{Method, StatusCode};

use super::exchange::{Request, Response};
use super::signer::key_set;
use super::token::Route;
use super::{Model, reply};

impl Model {
    /// Answers a call to the REST host; `None` if the answer is late or never comes.
    pub(crate) fn rest(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        if let Some(route) = Route::of(request.path) {
            return Some(self.mint_token(request, route));
        }
        match request.path {
            KEY_SET_PATH => Some(self.key_set(request)),
            path if path.starts_with("/storage/") => self.storage(exchange, request),
            path => {
                let what = format!("https://rest.fal.ai{path}");
                Some(reply::not_emulated(self.mint_other(), &what))
            }
        }
    }

    /// The public keys that deliveries can be checked with, the latest first.
    pub(crate) fn webhook_keys(&mut self) -> Vec<[u8; 32]> {
        let seed = self.config.signing_seed();
        self.deliveries.signer.public_keys(seed).collect()
    }

    /// Shows these as well: the set is asked for without a key, so it holds those of all tenants.
    pub(crate) fn show_other_keys(&mut self, keys: Vec<[u8; 32]>) {
        self.deliveries.other_keys = keys;
    }

    /// The keys of webhooks, for everybody.
    fn key_set(&mut self, request: &Request<'_>) -> Response {
        let id = self.mint_other();
        match *request.method {
            Method::GET | Method::HEAD => {
                let mut keys = self.webhook_keys();
                keys.extend_from_slice(&self.deliveries.other_keys);
                reply::json(StatusCode::OK, id, key_set(&keys))
            }
            _ => reply::wrong_method(id, "GET, HEAD"),
        }
    }
}

/// Where the keys of webhooks stand.
///
/// Source: docs.fal.ai, webhooks page (documented).
pub(crate) const KEY_SET_PATH: &str = "/.well-known/jwks.json";
