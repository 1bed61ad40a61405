//! Whether what a test expects has been asked, by the journal.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Entry, World};
use crate::model::{Host, Request};
use crate::scenario::{Expect, Expectations, Faults, Rules, Verdict};

impl World {
    /// Holds the requests that are remembered against expectations. Of a body that was long only its start is
    /// remembered: conditions on such an input do not hold. Faults and rules are none of them.
    pub(crate) fn verify(&self, expect: &Expect) -> Verdict {
        let mut verdict = Verdict::new(expect);
        let mut expectations = Expectations::new(expect.requests_alone());
        for entry in self.journal.entries() {
            let Some(host) = Host::ALL.into_iter().find(|host| host.name() == entry.host) else {
                continue;
            };
            let headers = headers_of(&entry);
            let query = Some(entry.query).filter(|query| !query.is_empty());
            let request = Request::new(entry.method, host, entry.path, &headers)
                .with_query(query)
                .with_body(Bytes::copy_from_slice(entry.request.body));
            let status = StatusCode::from_u16(entry.status).ok();
            let is_upgrade = status == Some(StatusCode::SWITCHING_PROTOCOLS);
            self.model.about(&request, is_upgrade).with(|facts| {
                expectations.note_as(entry.number, facts, status, &mut verdict);
            });
        }
        verdict.unmet = expectations.unmet(&Rules::default(), &Faults::default());
        verdict
    }
}

fn headers_of(entry: &Entry<'_>) -> HeaderMap {
    let parse = |(name, value): (&str, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    entry.request.headers().filter_map(parse).collect()
}
