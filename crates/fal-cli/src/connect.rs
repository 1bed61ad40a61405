//! The client that the flags and the environment describe.

use std::env;
use std::path::PathBuf;

use fal_client::model::Documents;
use fal_client::{Builder, Client, Credentials, Error, ErrorKind, InputError, Key, RetryPolicy};

use crate::exit::Exit;
use crate::flags::Global;
use crate::problem::{KEY_HINT, Problem};

/// A client for a job that is worth waiting out an outage for.
pub(crate) fn client(global: &Global) -> Result<Client, Problem> {
    // A mock that is down does not come back by itself: whoever waits should be told soon.
    let is_elsewhere = global.base_url.is_some() || is_set("FAL_BASE_URL");
    let attempts = if is_elsewhere { ATTEMPTS_QUICK } else { RetryPolicy::default().attempts_read };
    build(global, attempts)
}

/// A client for a question that somebody waits for the answer of.
pub(crate) fn quick_client(global: &Global) -> Result<Client, Problem> {
    build(global, ATTEMPTS_QUICK)
}

/// A client for questions that anybody may ask: with the key if there is one.
pub(crate) fn open_client(global: &Global) -> Result<Client, Problem> {
    let builder = Client::builder();
    let builder = if has_key() { builder } else { builder.credentials(Credentials::Anonymous) };
    build_on(builder, global, ATTEMPTS_QUICK)
}

/// A client for the documents of models: what cannot be had at once is done without.
pub(crate) fn reader(global: &Global, documents: Option<Documents>) -> Result<Client, Error> {
    let mut builder = Client::builder().retry(RetryPolicy::default().with_attempts_read(1));
    if !has_key() {
        builder = builder.credentials(Credentials::Anonymous);
    }
    if let Some(base) = &global.base_url {
        builder = builder.base_url(base);
    }
    if let Some(documents) = documents {
        builder = builder.documents(documents);
    }
    builder.from_env()?.build()
}

/// A client for what everybody may ask: fal's public keys.
pub(crate) fn keyless_client(global: &Global) -> Result<Client, Problem> {
    build_on(Client::builder().credentials(Credentials::Anonymous), global, ATTEMPTS_QUICK)
}

fn build(global: &Global, attempts: u32) -> Result<Client, Problem> {
    build_on(Client::builder(), global, attempts)
}

fn build_on(builder: Builder, global: &Global, attempts: u32) -> Result<Client, Problem> {
    let mut builder = builder.retry(RetryPolicy::default().with_attempts_read(attempts));
    if let Some(base) = &global.base_url {
        builder = builder.base_url(base);
    }
    let built = builder.from_env().and_then(|builder| builder.build());
    built.map_err(|error| {
        let is_key = match &error {
            Error::Call(e) => matches!(e.kind(), ErrorKind::Input(InputError::Key { .. })),
            Error::Config { .. } => !has_key() || is_set("FAL_FORCE_AUTH_BY_USER"),
            _ => false,
        };
        if let Error::Config { problem } = &error
            && is_key
            && !problem.starts_with("there is no API key")
        {
            // A login that cannot be used, with what to do about it.
            return Problem::new(Exit::Key, &**problem);
        }
        if is_key && !has_key() {
            return Problem::new(Exit::Key, "there is no API key").with_hint(KEY_HINT);
        }
        if let Some(ErrorKind::Input(InputError::Address { text, problem })) = error.kind() {
            return Problem::usage(format!("the base URL {text:?} cannot be used: {problem}"));
        }
        let mut problem = Problem::of(error, global);
        if is_key {
            problem = problem.with_hint(KEY_HINT);
        }
        problem
    })
}

/// Where the environment says that documents of models are.
pub(crate) fn schema_path() -> Option<PathBuf> {
    env::var_os("FAL_SCHEMA").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The key of the environment alone, if there is one.
pub(crate) fn key() -> Result<Option<Key>, Problem> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let key = match (variable("FAL_KEY"), variable("FAL_KEY_ID"), variable("FAL_KEY_SECRET")) {
        (Some(key), _, _) => Key::parse(&key).map(Some),
        (None, Some(id), Some(secret)) => Key::from_parts(&id, &secret).map(Some),
        _ => Ok(None),
    };
    key.map_err(|error| Problem::new(Exit::Key, error.to_string()).with_hint(KEY_HINT))
}

fn has_key() -> bool {
    is_set("FAL_KEY") || (is_set("FAL_KEY_ID") && is_set("FAL_KEY_SECRET"))
}

fn is_set(name: &str) -> bool {
    env::var(name).is_ok_and(|value| !value.trim().is_empty())
}

/// With the default backoff, about three seconds.
const ATTEMPTS_QUICK: u32 = 4;
