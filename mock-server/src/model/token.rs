//! Short-lived tokens: minted for a key, shown in the query where no header can be set.
//!
//! A token is not kept: it says what it is for and until when, and a sum over both that follows from the
//! seed. It looks like a signed JWT, so that whatever hides those in logs hides it too. It is no secret.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use fal_protocol::EndpointId;
use fal_protocol::endpoint::ENDPOINT_ID_BYTES_MAX;
use http::{Method, StatusCode, header};
use serde_json::Value;

use super::auth::{self, Denied};
use super::exchange::{Request, Response};
use super::failure::Failure;
use super::id::{TenantId, digest};
use super::input::{self, Problem};
use super::{Model, reply};
use crate::render;

/// The two routes that mint tokens; they differ in the form of the answer.
///
/// Source: `auth.ts` of `@fal-ai/client` 1.10.1 and `client.py` of `fal-client` 1.0.3 for the first,
/// docs.fal.ai for the second (official client source, documented).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/tokens/`: the token as a JSON string.
    Text,
    /// `/tokens/realtime`: an object with the token in it.
    Object,
}

impl Route {
    /// The route of a path on the REST host, if it is one.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path.trim_end_matches('/') {
            "/tokens" => Some(Self::Text),
            "/tokens/realtime" => Some(Self::Object),
            _ => None,
        }
    }
}

impl Model {
    /// Mints a token.
    pub(crate) fn mint_token(&mut self, request: &Request<'_>, route: Route) -> Response {
        let id = self.mint_other();
        if *request.method != Method::POST {
            return reply::wrong_method(id, "POST");
        }
        if let Err(denied) = auth::check(&self.config, request, None) {
            return reply::refuse(StatusCode::UNAUTHORIZED, id, &denied.text(None));
        }
        let wanted = match read_wanted(&request.body) {
            Ok(wanted) => wanted,
            Err(problems) => return reply::failure(id, &Failure::invalid(&problems)),
        };
        self.counters.run_tokens += 1;
        let token = self.run_token(&wanted);
        let body = match route {
            Route::Text => format!("\"{token}\""),
            Route::Object => format!("{{\"token\":\"{token}\"}}"),
        };
        reply::json(StatusCode::OK, id, body)
    }

    fn run_token(&mut self, wanted: &Wanted) -> String {
        let issued = self.unix_seconds();
        let mut claims = b"{\"apps\":[".to_vec();
        for (at, app) in wanted.apps.iter().enumerate() {
            if at > 0 {
                claims.push(b',');
            }
            render::push_string(&mut claims, app);
        }
        claims.extend_from_slice(b"],\"iat\":");
        render::push_number(&mut claims, issued);
        claims.extend_from_slice(b",\"exp\":");
        render::push_number(&mut claims, issued + wanted.lifetime.as_secs());
        // Two tokens for the same in the same second differ.
        claims.extend_from_slice(b",\"jti\":");
        render::push_string(&mut claims, &self.mint_other().to_string());
        if self.config.tenant != TenantId::FIRST {
            claims.extend_from_slice(b",\"tenant\":");
            render::push_string(&mut claims, &self.config.tenant.to_string());
        }
        claims.push(b'}');
        let signed = format!("{HEADER}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let sum = self.token_sum(&signed);
        format!("{signed}.{sum}")
    }

    /// Whether a call may be made to an endpoint, by its key or by its token; for a token also until when.
    ///
    /// A header decides where there is one. `endpoint` is the whole path, `/stream` and `/realtime`
    /// included, because a token can be for that alone.
    pub(crate) fn admit(
        &self,
        request: &Request<'_>,
        endpoint: &EndpointId,
    ) -> Result<Option<Instant>, Denied> {
        let token = request.parameter(PARAMETER).filter(|token| !token.is_empty());
        match token {
            Some(token) if !request.headers.contains_key(header::AUTHORIZATION) => {
                self.check_token(&token, endpoint).map(Some).ok_or(Denied::Token)
            }
            _ => auth::check(&self.config, request, Some(endpoint.app())).map(|()| None),
        }
    }

    /// When a token runs out that is good for an endpoint now.
    fn check_token(&self, token: &str, endpoint: &EndpointId) -> Option<Instant> {
        let (signed, sum) = token.rsplit_once('.')?;
        let claims = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        if sum != self.token_sum(signed) {
            return None;
        }
        let claims: Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let mut apps = claims["apps"].as_array()?.iter().filter_map(Value::as_str);
        if !apps.any(|app| is_for(app, endpoint)) {
            return None;
        }
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64()?);
        let left = end.duration_since(self.wall(self.now)).ok().filter(|left| !left.is_zero())?;
        self.now.checked_add(left)
    }

    /// Depends on every byte of a token's first two parts.
    fn token_sum(&self, signed: &str) -> String {
        let half = |n: u8| digest(!self.config.seed, &[b"token", &[n], signed.as_bytes()]);
        let halves = [half(0).to_be_bytes(), half(1).to_be_bytes()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(halves)
    }

    fn unix_seconds(&self) -> u64 {
        self.wall(self.now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// Whose token a text is, if it may be one.
pub(crate) fn tenant_of(token: &str) -> Option<TenantId> {
    let (signed, _) = token.rsplit_once('.')?;
    let claims = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.get("tenant").map_or(Some(TenantId::FIRST), |tenant| TenantId::parse(tenant.as_str()?))
}

/// Whether an entry of `allowed_apps` covers an endpoint: by alias, by owner and alias, or by the whole path.
///
/// Source: official clients send the alias, the newest documentation the whole path (official client
/// source, documented); that any of them is matched is inferred.
fn is_for(entry: &str, endpoint: &EndpointId) -> bool {
    [endpoint.alias(), endpoint.app(), endpoint.as_str()].contains(&entry)
}

/// What a token is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    apps: Vec<String>,
    lifetime: Duration,
}

/// Reads the body of a call to either route.
///
/// Both names of the lifetime count on both. It is cut to what is allowed and not refused; the range is
/// inferred, since none is documented.
fn read_wanted(body: &Bytes) -> Result<Wanted, Vec<Problem>> {
    let body = input::parse(body)?;
    let Value::Object(fields) = &body else {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        return Err(vec![Problem::new(&["body"], "model_attributes_type", msg, &body)]);
    };
    let mut problems = Vec::new();
    let apps = match (fields.get("allowed_apps"), fields.get("app")) {
        (Some(list), _) => read_apps(list).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        }),
        // Third parties send one path under this name.
        (None, Some(Value::String(app))) => vec![normal(app)],
        _ => {
            problems.push(Problem::missing(&["body", "allowed_apps"], &body));
            Vec::new()
        }
    };
    let mut lifetime = LIFETIME;
    for name in ["duration", "token_expiration"] {
        match fields.get(name) {
            None | Some(Value::Null) => {}
            Some(value) => match value.as_f64() {
                Some(seconds) => {
                    let (min, max) = (LIFETIME_MIN.as_secs_f64(), LIFETIME_MAX.as_secs_f64());
                    lifetime = Duration::from_secs_f64(seconds.clamp(min, max).trunc());
                }
                None => {
                    let msg = "Input should be a valid integer";
                    problems.push(Problem::new(&["body", name], "int_type", msg, value));
                }
            },
        }
    }
    if problems.is_empty() { Ok(Wanted { apps, lifetime }) } else { Err(problems) }
}

fn read_apps(list: &Value) -> Result<Vec<String>, Problem> {
    let loc = ["body", "allowed_apps"];
    let refuse = |kind, msg: String| Err(Problem::new(&loc, kind, msg, list));
    let Value::Array(entries) = list else {
        return refuse("list_type", "Input should be a valid list".to_owned());
    };
    if entries.is_empty() {
        return refuse("too_short", "List should have at least 1 item".to_owned());
    }
    if entries.len() > APPS_MAX {
        return refuse("too_long", format!("List should have at most {APPS_MAX} items"));
    }
    let mut apps = Vec::with_capacity(entries.len());
    for entry in entries {
        match entry.as_str() {
            Some(app) if app.len() <= ENDPOINT_ID_BYTES_MAX => apps.push(normal(app)),
            Some(_) => return refuse("string_too_long", "An app's name is too long".to_owned()),
            None => return refuse("string_type", "Input should be a valid string".to_owned()),
        }
    }
    Ok(apps)
}

/// The slash form of an id; what is only an alias stays as it is.
fn normal(app: &str) -> String {
    let app = app.trim_matches('/');
    EndpointId::parse(app).map_or_else(|_| app.to_owned(), |id| id.as_str().to_owned())
}

/// Where a token stands.
pub(crate) const PARAMETER: &str = "fal_jwt_token";

/// `{"alg":"HS256","typ":"JWT"}`, as it begins nearly every JWT.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// How long a token is good where the call does not say: 2 minutes, as the official clients ask for.
const LIFETIME: Duration = Duration::from_secs(120);

/// The shortest life of a token.
const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// The longest life of a token.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// Most apps of one token.
const APPS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn read(body: Value) -> Result<Wanted, String> {
        read_wanted(&body.to_string().into()).map_err(|problems| {
            let body: Value =
                serde_json::from_slice(&input::render_problems(&problems)).expect("JSON");
            body["detail"][0]["type"].as_str().expect("a type").to_owned()
        })
    }

    #[test]
    fn lifetimes_have_two_names_and_a_range() {
        let seconds = |more: Value| {
            let mut body = json!({"allowed_apps": ["app"]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(body).map(|wanted| wanted.lifetime.as_secs())
        };
        assert_eq!(seconds(json!({})), Ok(120));
        assert_eq!(seconds(json!({"token_expiration": 300})), Ok(300));
        assert_eq!(seconds(json!({"duration": 60.9})), Ok(60));
        for (given, want) in [(-5, 1), (0, 1), (1, 1), (3600, 3600), (3601, 3600)] {
            assert_eq!(seconds(json!({"duration": given})), Ok(want), "{given}");
        }
        assert_eq!(seconds(json!({"duration": "soon"})), Err("int_type".to_owned()));
    }

    #[test]
    fn apps_are_named_in_several_ways() {
        let apps = |body| read(body).map(|wanted| wanted.apps);
        let list = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(apps(json!({"allowed_apps": ["app"]})), list(&["app"]));
        assert_eq!(apps(json!({"allowed_apps": ["123-app", "/a/b/"]})), list(&["123/app", "a/b"]));
        assert_eq!(apps(json!({"app": "owner/app/realtime"})), list(&["owner/app/realtime"]));
        let many = |n| json!({"allowed_apps": vec!["a"; n]});
        assert_eq!(apps(many(APPS_MAX)).map(|apps| apps.len()), Ok(APPS_MAX));
        for (body, kind) in [
            (json!([]), "model_attributes_type"),
            (json!({}), "missing"),
            (json!({"allowed_apps": "app"}), "list_type"),
            (json!({"allowed_apps": []}), "too_short"),
            (many(APPS_MAX + 1), "too_long"),
            (json!({"allowed_apps": [1]}), "string_type"),
            (json!({"allowed_apps": ["a".repeat(ENDPOINT_ID_BYTES_MAX + 1)]}), "string_too_long"),
        ] {
            assert_eq!(apps(body.clone()), Err(kind.to_owned()), "{body}");
        }
    }

    #[test]
    fn an_entry_covers_an_alias_an_app_or_a_path() {
        let endpoint = EndpointId::parse("owner/app/realtime").unwrap();
        for (entry, covers) in [
            ("app", true),
            ("owner/app", true),
            ("owner/app/realtime", true),
            ("owner", false),
            ("other/app", false),
            ("owner/app/stream", false),
            ("", false),
        ] {
            assert_eq!(is_for(entry, &endpoint), covers, "{entry}");
        }
    }
}
