//! Pages of lists: `limit`, and a cursor that names the next page.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::exchange::Request;
use super::Refusal;
use crate::render;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// From 1.
    number: usize,
    size: usize,
}

impl Page {
    /// The page that a query asks for. `max` cuts the limit, as the service does where nothing says that it
    /// refuses.
    pub(super) fn of(request: &Request<'_>, default: usize, max: usize) -> Result<Self, Refusal> {
        let size = limit(request)?.unwrap_or(default).min(max);
        let number = match request.parameter("cursor") {
            None => 1,
            Some(cursor) => {
                read_cursor(&cursor).ok_or_else(|| Refusal::invalid("cursor: not one of ours"))?
            }
        };
        Ok(Self { number, size })
    }

    /// Its part of a list.
    pub(super) fn cut<T>(self, list: &[T]) -> &[T] {
        let from = self.from().min(list.len());
        &list[from..from.saturating_add(self.size).min(list.len())]
    }

    /// Writes the members that say whether more follows.
    pub(super) fn push_next(self, out: &mut Vec<u8>, len: usize) {
        let has_more = self.from().saturating_add(self.size) < len;
        out.extend_from_slice(b"\"next_cursor\":");
        if has_more {
            let next = BASE64_STANDARD.encode((self.number + 1).to_string());
            render::push_string(out, &next);
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"has_more\":");
        out.extend_from_slice(if has_more { b"true" } else { b"false" });
    }

    const fn from(self) -> usize {
        (self.number - 1).saturating_mul(self.size)
    }
}

/// The limit as asked.
pub(super) fn limit(request: &Request<'_>) -> Result<Option<usize>, Refusal> {
    let Some(text) = request.parameter("limit") else { return Ok(None) };
    match text.parse::<usize>() {
        Ok(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err(Refusal::invalid("limit: must be a whole number of 1 or more")),
    }
}

/// The page number of a cursor: base64 of its digits, so `Mg==` is the second.
///
/// Source: the example in the platform's own OpenAPI document (documented).
fn read_cursor(cursor: &str) -> Option<usize> {
    let digits = BASE64_STANDARD.decode(cursor).ok()?;
    let number: usize = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::super::super::exchange::Host;
    use super::*;

    fn page(query: &str) -> Result<Page, Refusal> {
        let headers = HeaderMap::new();
        let request = Request::new(&Method::GET, Host::Api, "/", &headers).with_query(Some(query));
        Page::of(&request, 3, 5)
    }

    #[test]
    fn cursors_lead_through_a_list() {
        let list: Vec<u32> = (0..8).collect();
        let (mut query, mut seen) = (String::new(), Vec::new());
        loop {
            let page = page(&query).unwrap();
            seen.extend_from_slice(page.cut(&list));
            let mut next = b"{".to_vec();
            page.push_next(&mut next, list.len());
            next.push(b'}');
            let next: serde_json::Value = serde_json::from_slice(&next).unwrap();
            assert_eq!(next["has_more"], next["next_cursor"].is_string());
            let Some(cursor) = next["next_cursor"].as_str() else { break };
            query = format!("cursor={}", cursor.replace('=', "%3D"));
        }
        assert_eq!(seen, list);
        assert_eq!(page("cursor=Mg%3D%3D"), Ok(Page { number: 2, size: 3 }));
    }

    #[test]
    fn limits_are_cut_and_checked() {
        assert_eq!(page("limit=5"), page("limit=99"));
        let last = page("limit=99&cursor=MTg0NDY3NDQwNzM3MDk1NTE2MTU%3D").unwrap();
        assert!(last.cut(&[1]).is_empty());
        for bad in
            ["limit=0", "limit=-1", "limit=x", "limit=", "cursor=x", "cursor=MA%3D%3D", "cursor="]
        {
            assert!(page(bad).is_err(), "{bad}");
        }
    }
}
