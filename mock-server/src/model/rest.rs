//! The REST host: uploads are started here, tokens minted, and the keys of webhooks stand here.

use http::{Method, StatusCode};

use super::exchange::{Request, Response};
use super::token::Route;
use super::{Model, reply};

impl Model {
    /// Answers a call to the REST host; `None` if the answer is late or never comes.
    pub(crate) fn rest(&mut self, exchange: u64, request: &Request<'_>) -> Option<Response> {
        if let Some(route) = Route::of(request.path) {
            return Some(self.mint_token(request, route));
        }
        match request.path {
            "/.well-known/jwks.json" => Some(self.key_set(request)),
            path if path.starts_with("/storage/") => self.storage(exchange, request),
            path => {
                let what = format!("https://rest.fal.ai{path}");
                Some(reply::not_emulated(self.mint_other(), &what))
            }
        }
    }

    /// The keys of webhooks, for everybody.
    fn key_set(&mut self, request: &Request<'_>) -> Response {
        let id = self.mint_other();
        match *request.method {
            Method::GET | Method::HEAD => {
                let keys = self.deliveries.signer.key_set(self.config.seed);
                reply::json(StatusCode::OK, id, keys)
            }
            _ => reply::wrong_method(id, "GET, HEAD"),
        }
    }
}
