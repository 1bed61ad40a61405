//! `proxy`: a server that adds the key to the calls of programs that must not hold it.

mod gate;
mod pages;
mod serve;
mod tell;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fal_client::Credentials;
use fal_protocol::proxy::Policy;
use fal_transport_hyper::{Config, Transport};
use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::connect;
use crate::exit::Exit;
use crate::flags::{self, Global};
use crate::problem::{KEY_HINT, Problem};
use crate::show::Show;
use crate::signals::Signals;

use gate::Gate;
use pages::Pages;
use serve::Server;
use tell::Record;

pub(crate) async fn proxy(
    global: &Global,
    flags: flags::Proxy,
    show: &mut Show,
) -> Result<Exit, Problem> {
    show.tell_all();
    let key = connect::key()?;
    if key.is_none() && !flags.forward_client_auth {
        return Err(Problem::new(Exit::Key, "there is no API key to add").with_hint(KEY_HINT));
    }
    let gate = Gate::new(&flags)?;
    let policy = policy(global, &flags)?;
    let pages = Pages::new(flags.origins.clone(), flags.anonymous);
    let transport = Transport::new(Config::from_env())
        .map_err(|error| Problem::new(Exit::Other, error.to_string()))?;
    let listening = |error: std::io::Error| {
        Problem::new(Exit::Other, format!("cannot listen at {}: {error}", flags.listen))
    };
    let listener = TcpListener::bind(flags.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let mut signals = Signals::new()?;

    welcome(address, &flags, show);
    let (teller, mut records) = mpsc::channel(RECORDS_WAITING_MAX);
    let key = key.and_then(|key| Credentials::from(key).header());
    let server = Arc::new(Server { policy, key, gate, pages, transport, teller });
    let (stop, stopping) = watch::channel(false);
    let mut serving = tokio::spawn(serve::serve(listener, server, stopping));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            record = records.recv() => match record {
                Some(record) => tell(&record, show),
                // The server and all connections are gone.
                None => return Ok(Exit::Ok),
            },
            () = signals.next() => {
                if is_stopping {
                    return Ok(Exit::Ok);
                }
                is_stopping = true;
                let line = show.new_line("stopping");
                show.line(line);
                show.note("stopping when the calls under way are done; Ctrl-C again stops now");
                // Nobody listens only if the server has ended, which the next turn sees.
                let _ = stop.send(true);
            }
            () = stopped_long_ago(is_stopping) => return Ok(Exit::Ok),
            _ = &mut serving, if !serving.is_finished() => {}
        }
    }
}

fn policy(global: &Global, flags: &flags::Proxy) -> Result<Policy, Problem> {
    let name = HeaderValue::from_static(concat!("fal-cli/", env!("CARGO_PKG_VERSION")));
    let mut policy = Policy::default()
        .with_anonymous(flags.anonymous)
        .with_forward_client_auth(flags.forward_client_auth)
        .with_documented_codes(flags.documented_codes)
        .with_body_bytes_max(flags.body_max)
        .with_name(name);
    let wrong =
        |flag: &str, error: &dyn std::fmt::Display| Problem::usage(format!("{flag}: {error}"));
    if !flags.urls.is_empty() {
        let urls = flags.urls.iter().map(String::as_str);
        policy = policy.with_urls(urls).map_err(|error| wrong("--allow-url", &error))?;
    }
    let endpoints = flags.endpoints.iter().map(String::as_str);
    policy = policy.with_endpoints(endpoints).map_err(|error| wrong("--allow-endpoint", &error))?;
    if flags.allow_tokens {
        policy = policy.with_tokens();
    }
    for name in &flags.forward_headers {
        let added = policy.with_forward_header(name.clone());
        policy = added.map_err(|error| wrong("--forward-header", &error))?;
    }
    let base = global.base_url.clone().or_else(|| std::env::var("FAL_BASE_URL").ok());
    if let Some(base) = base.filter(|base| !base.trim().is_empty()) {
        policy = policy.with_base(&base).map_err(|error| wrong("the base URL", &error))?;
    }
    Ok(policy)
}

fn welcome(address: SocketAddr, flags: &flags::Proxy, show: &mut Show) {
    let url = format!("http://{address}/api/fal/proxy");
    let line = show.new_line("listening").with("url", &url);
    show.line(line);
    show.note(&format!("point clients at {url}"));
    if flags.endpoints.is_empty() {
        show.note("every endpoint may be run: --allow-endpoint sets which");
    }
    if flags.anonymous {
        show.note("everybody who reaches this address spends what the key pays for");
    }
}

fn tell(record: &Record, show: &mut Show) {
    let line = record.line(show.new_line("request"));
    show.line(line);
    show.note(&record.to_string());
}

/// Resolves when the end has waited long enough for calls under way.
async fn stopped_long_ago(is_stopping: bool) {
    if is_stopping {
        tokio::time::sleep(STOP_WAIT_MAX).await;
    } else {
        std::future::pending().await
    }
}

/// Lines about calls that wait to be written. Beyond it calls wait for whoever reads the lines.
const RECORDS_WAITING_MAX: usize = 1024;

/// After the first Ctrl-C, once nothing has ended for so long, what is left is cut.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
