use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use fal_protocol::upload::CdnToken;

/// The token of the CDN that clones of a client share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(Arc<Mutex<Option<CdnToken>>>);

impl Tokens {
    /// The token, if it is good for another upload at that time of day.
    pub(crate) fn load(&self, wall: SystemTime) -> Option<CdnToken> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone().filter(|token| token.is_fresh(wall))
    }

    /// Keeps what an upload leaves. `lent` is what it was given: it is forgotten if the upload found it to be
    /// no good, and another one that came meanwhile stays.
    pub(crate) fn store(&self, lent: Option<&CdnToken>, left: Option<&CdnToken>) {
        if lent == left {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left {
            Some(token) if token.expires_at().is_some() => *kept = Some(token.clone()),
            _ if kept.as_ref() == lent => *kept = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(name: &str, expires_at: &str) -> CdnToken {
        let body = format!(r#"{{"token":"{name}","expires_at":"{expires_at}"}}"#);
        CdnToken::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_token_is_kept_until_it_ends_or_is_found_to_be_no_good() {
        let tokens = Tokens::default();
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let (old, new) =
            (token("old", "1970-01-01T01:00:00Z"), token("new", "1970-01-01T02:00:00Z"));
        tokens.store(None, Some(&old));
        assert_eq!(tokens.clone().load(at(0)), Some(old.clone()));
        assert_eq!(tokens.load(at(3600)), None, "it is about to end");
        tokens.store(Some(&old), Some(&new));
        assert_eq!(tokens.load(at(3600)), Some(new.clone()));
        tokens.store(Some(&old), None);
        assert_eq!(tokens.load(at(0)), Some(new.clone()), "another one came meanwhile");
        tokens.store(Some(&new), None);
        assert_eq!(tokens.load(at(0)), None);
        tokens.store(None, Some(&token("endless", "")));
        assert_eq!(tokens.load(at(0)), None, "nobody knows until when it is good");
    }
}
