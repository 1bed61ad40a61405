//! Files of answers: kept with them, so that a replay has them although nobody downloaded them.

use bytes::Bytes;
use fal_protocol::wire;
use http::{Method, header};

use super::{Call, text_of};
use crate::cassette::address;

/// Keeps the files that a text with real addresses names, but those that are there already.
pub(super) async fn fetch(call: &Call, text: &str) {
    let recorder = call.recorder();
    for (key, whole) in address::files_in(text).into_iter().take(FILES_MAX) {
        if recorder.has_file(&key) {
            continue;
        }
        if let Err(why) = fetch_one(call, &key, &whole).await {
            recorder.note(&format!("{key} is not recorded: {why}"));
        }
    }
}

async fn fetch_one(call: &Call, key: &str, whole: &str) -> Result<(), String> {
    let url = match call.recorder().upstream() {
        Some(base) => address::below(whole, base).into_owned(),
        None => whole.to_owned(),
    };
    let uri = url.parse().map_err(|_| "its address cannot be asked for".to_owned())?;
    let request = wire::Request::new(Method::GET, uri);
    let (head, chunks) =
        call.recording.send(request).await.map_err(|failure| failure.to_string())?;
    if head.status() != http::StatusCode::OK {
        return Err(format!("it was answered with {}", head.status()));
    }
    let bytes =
        super::whole(chunks, FILE_BYTES_MAX).await.map_err(|failure| failure.to_string())?;
    call.recorder().keep_file(key, text_of(head.headers(), &header::CONTENT_TYPE), bytes);
    Ok(())
}

/// Keeps what the caller has uploaded in one piece, under the address at which it can be read.
pub(super) fn uploaded(call: &Call, text: &str) {
    let Some((content_type, bytes)) = &call.content else { return };
    let url = match call.method {
        Method::PUT if !call.path.contains("/multipart/") => {
            address::real(&call.name, &call.path, None)
        }
        Method::POST if call.path.trim_end_matches('/') == UPLOAD_PATH => {
            let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            match answer["access_url"].as_str() {
                Some(url) => url.to_owned(),
                None => return,
            }
        }
        _ => return,
    };
    let url = url.split('?').next().unwrap_or_default();
    if is_kept(bytes) {
        call.recorder().keep_file(url, content_type, bytes.clone());
    }
}

pub(super) fn is_kept(bytes: &Bytes) -> bool {
    bytes.len() <= FILE_BYTES_MAX
}

/// Where a file is uploaded with a token.
const UPLOAD_PATH: &str = "/files/upload";

/// Files of one answer that are kept.
const FILES_MAX: usize = 64;

/// Longest file that is kept: 256 MiB.
pub(super) const FILE_BYTES_MAX: usize = 256 << 20;
