//! Outputs that a rule gives.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::{Store, push_address};
use super::content::Blob;
use super::exchange::Door;
use super::id::{RequestId, TenantId};
use crate::scenario::{Fill, Input, Output, Rule};

/// An output that a rule gives, for one call.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    rule: Arc<Rule>,
    id: RequestId,
    tenant: TenantId,
    /// What the holes of a template are filled from.
    input: Bytes,
}

impl Given {
    pub(crate) fn new(rule: Arc<Rule>, id: RequestId, tenant: TenantId, input: Bytes) -> Self {
        let input = match rule.output {
            Output::Template(_) => input,
            Output::Literal(_) | Output::Synthesised => Bytes::new(),
        };
        Self { rule, id, tenant, input }
    }

    /// The length of the body, about.
    pub(crate) fn bytes(&self) -> usize {
        match &self.rule.output {
            Output::Literal(bytes) => bytes.len(),
            Output::Template(template) => template.len() + self.input.len(),
            Output::Synthesised => 0,
        }
    }

    /// A number that follows from its call.
    pub(crate) fn draw(&self) -> u64 {
        self.id.bits() as u64
    }

    /// The body, with the files of a template put into the store.
    pub(crate) fn publish(
        &self,
        store: &mut Store<'_>,
        endpoint: &str,
        door: &Door<'_>,
    ) -> Vec<u8> {
        match &self.rule.output {
            Output::Literal(bytes) => bytes.to_vec(),
            Output::Template(template) => {
                let mut filler = Filler { store, endpoint, door, id: self.id, tenant: self.tenant };
                template.fill(&Input::new(&self.input), &mut filler).to_string().into_bytes()
            }
            Output::Synthesised => Vec::new(),
        }
    }
}

/// Fills the holes of a template for one call.
struct Filler<'a, 'b> {
    store: &'a mut Store<'b>,
    endpoint: &'a str,
    door: &'a Door<'a>,
    id: RequestId,
    tenant: TenantId,
}

impl Fill for Filler<'_, '_> {
    fn request_id(&self) -> String {
        self.id.to_string()
    }

    fn endpoint(&self) -> &str {
        self.endpoint
    }

    fn file(&mut self, name: &str, bytes: &Bytes) -> String {
        let blob = Blob::memory(bytes.clone());
        let key = self.store.put_named(self.tenant, name, blob, None);
        let mut url = Vec::new();
        push_address(&mut url, self.door, key, name);
        String::from_utf8_lossy(&url).into_owned()
    }
}

/// By the end of the name.
pub(super) fn content_type(name: &str) -> &'static str {
    let end = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "glb" => "model/gltf-binary",
        "json" => "application/json",
        "txt" => "text/plain",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}
