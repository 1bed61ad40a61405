//! Whose request it is: by its key, or by what it carries instead of one.

use http::header;

use super::Worlds;
use crate::model::{self, Host, Request, TenantId};

impl Worlds {
    /// Whose world a request is for. Whatever names nobody is for the first tenant, who also tells strangers what
    /// is wrong with their keys.
    pub(super) fn find(&self, request: &Request<'_>) -> TenantId {
        if self.all.len() == 1 {
            return TenantId::FIRST;
        }
        let named = match request.host {
            // Whoever has the address of a file has it from its owner.
            Host::Cdn | Host::Gcs => model::tenant_of_file(request.path),
            _ => None,
        };
        named
            .filter(|tenant| *tenant != TenantId::FIRST)
            .or_else(|| self.by_credential(request))
            .filter(|tenant| self.all.contains_key(tenant))
            .unwrap_or(TenantId::FIRST)
    }

    fn by_credential(&self, request: &Request<'_>) -> Option<TenantId> {
        if let Some(value) = request.headers.get(header::AUTHORIZATION) {
            // The first of several counts, as it does when the key is checked.
            let first = value.to_str().ok()?.split(',').next()?.trim();
            let (_, credential) = first.split_once(' ')?;
            let credential = credential.trim();
            return self.by_key(credential).or_else(|| model::tenant_of_upload_token(credential));
        }
        model::tenant_of_run_token(&request.parameter(model::TOKEN_PARAMETER)?)
    }

    /// Who has a key.
    pub(crate) fn by_key(&self, key: &str) -> Option<TenantId> {
        self.keys.get(&model::key_digest(key)).copied()
    }
}
