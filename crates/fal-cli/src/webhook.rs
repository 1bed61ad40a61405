//! `webhook verify` and `webhook listen`: whether deliveries are from fal.

mod listen;
mod saved;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fal_client::webhook::{Delivery, Payload, VerifyError};
use http::HeaderMap;

use crate::connect;
use crate::exit::Exit;
use crate::flags::{Global, Webhook, WebhookVerify};
use crate::json;
use crate::problem::Problem;
use crate::show::Show;

pub(crate) async fn webhook(
    global: &Global,
    flags: Webhook,
    show: &mut Show,
) -> Result<Exit, Problem> {
    match flags {
        Webhook::Verify(flags) => verify(global, flags, show).await,
        Webhook::Listen(flags) => listen::listen(global, flags, show).await,
    }
}

async fn verify(global: &Global, flags: WebhookVerify, show: &mut Show) -> Result<Exit, Problem> {
    let (headers, body) = match (&flags.request, &flags.headers, &flags.body) {
        (Some(request), ..) => saved::parse(&read(request)?.into()).ok_or_else(|| {
            let path = request.display();
            Problem::usage(format!("{path} is no saved request: it has no empty line after a head"))
        })?,
        (None, Some(headers), Some(body)) => {
            (saved::headers_of(&read(headers)?), Bytes::from(read(body)?))
        }
        _ => return Err(Problem::usage("give --request, or --headers and --body")),
    };
    let arrived = match signed_at(&headers).filter(|_| flags.any_age) {
        Some(signed) => signed,
        None => SystemTime::now(),
    };
    let client = connect::keyless_client(global)?;
    match client.webhooks().verify_at(&headers, &body, arrived).await {
        Ok(delivery) => {
            tell(&delivery, &body, show);
            Ok(Exit::Ok)
        }
        Err(VerifyError::Refused(why)) => {
            Err(Problem::new(Exit::Refused, format!("the delivery is not to be trusted: {why}")))
        }
        Err(VerifyError::KeysUnavailable(error)) => Err(Problem::of(error, global)),
        Err(error) => Err(Problem::new(Exit::Other, error.to_string())),
    }
}

fn tell(delivery: &Delivery, body: &[u8], show: &mut Show) {
    let outcome = outcome(delivery);
    let line = show.new_line("result").with("request_id", &delivery.request_id);
    // It was read before, so it is JSON.
    let text = String::from_utf8_lossy(body);
    let line = line.with("outcome", outcome).raw("delivery", &json::compact(&text));
    show.answer(line, &json::pretty(&text), &text);
}

/// The word for how the job ended.
fn outcome(delivery: &Delivery) -> &'static str {
    match &delivery.outcome {
        Ok(Payload::NotIncluded { .. }) => "not_included",
        Ok(_) => "ok",
        Err(_) => "failed",
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| Problem::file(path, &error))
}

/// When it says that it was signed.
fn signed_at(headers: &HeaderMap) -> Option<SystemTime> {
    let seconds = headers.get("x-fal-webhook-timestamp")?.to_str().ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
