//! TLS on the port that also speaks plain HTTP: a local certificate authority and a certificate for each
//! name that is asked for.

mod authority;
mod home;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::NoServerSessionStorage;

use authority::Authority;
pub use home::data_dir;
pub(crate) use home::{make_fresh_dir, make_private_dir, replace};

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A host of fal's, as the client named it.
    Name(Box<str>),
    /// This machine under an address of its own; `localhost` and the loopback addresses stand beside it.
    Address(IpAddr),
}

/// Certificates of one mock. Without a directory its authority is made when the first is asked for.
pub(crate) struct Tls {
    authority: OnceLock<Authority>,
    cache: Mutex<BTreeMap<Subject, Cached>>,
}

struct Cached {
    config: Arc<ServerConfig>,
    since: Instant,
}

impl Tls {
    /// An authority that lives as long as this value. Costs nothing before it is used.
    pub(crate) const fn in_memory() -> Self {
        Self { authority: OnceLock::new(), cache: Mutex::new(BTreeMap::new()) }
    }

    /// The authority kept in `dir`, made there if there is none.
    ///
    /// # Errors
    /// When the directory cannot be made, read or written, or others can read its key.
    pub(crate) fn kept_in(dir: &Path) -> io::Result<Self> {
        let tls = Self::in_memory();
        let _ = tls.authority.set(Authority::kept_in(dir)?);
        Ok(tls)
    }

    /// The certificate of the authority, which clients must trust.
    pub(crate) fn ca_pem(&self) -> &str {
        self.authority().pem()
    }

    /// Settings for a handshake.
    ///
    /// # Errors
    /// When a certificate cannot be made: the name is no DNS name.
    pub(crate) fn config(&self, subject: Subject, now: Instant) -> io::Result<Arc<ServerConfig>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.get(&subject)
            && now.saturating_duration_since(cached.since) < CERTIFICATE_AGE_MAX
        {
            return Ok(Arc::clone(&cached.config));
        }
        let config = Arc::new(self.make(&subject)?);
        if cache.len() >= CERTIFICATES_MAX {
            // Which one goes does not matter: it is made again in less than a millisecond.
            cache.pop_first();
        }
        cache.insert(subject, Cached { config: Arc::clone(&config), since: now });
        Ok(config)
    }

    fn make(&self, subject: &Subject) -> io::Result<ServerConfig> {
        let authority = self.authority();
        let (names, addresses) = match subject {
            Subject::Name(name) => (vec![&**name], vec![]),
            Subject::Address(address) => {
                let mut addresses = LOOPBACK.to_vec();
                if !addresses.contains(address) {
                    addresses.push(*address);
                }
                (vec!["localhost"], addresses)
            }
        };
        let certificate = authority.certificate(&names, &addresses, SystemTime::now())?;
        let key = PrivateKeyDer::Pkcs8(authority.leaf_key().to_vec().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate], key)
            })
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A handshake costs less than the memory in which hundreds of sessions would wait for their return.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn authority(&self) -> &Authority {
        self.authority.get_or_init(Authority::generate)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Whether a connection that starts so speaks TLS: the first byte of a handshake record. No method of HTTP
/// starts with it, because it is no character of a token.
pub(crate) const fn is_tls(first: u8) -> bool {
    first == HANDSHAKE_RECORD
}

const HANDSHAKE_RECORD: u8 = 0x16;

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Certificates kept; beyond them one is forgotten and made again when it is asked for.
const CERTIFICATES_MAX: usize = 64;

/// After this time a new one is made, long before clients find the old one too old.
const CERTIFICATE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Subject {
        Subject::Name(text.into())
    }

    #[test]
    fn only_the_handshake_record_is_tls() {
        assert_eq!((0..=u8::MAX).filter(|byte| is_tls(*byte)).collect::<Vec<_>>(), [0x16]);
        let is_token = |byte: u8| http::Method::from_bytes(&[byte]).is_ok();
        assert!(!is_token(HANDSHAKE_RECORD), "a request could start so");
    }

    #[test]
    fn certificates_are_kept_up_to_a_limit_and_renewed() {
        let tls = Tls::in_memory();
        let now = Instant::now();
        let get = |subject, now| tls.config(subject, now).unwrap();
        let first = get(name("queue.fal.run"), now);
        let late = now + CERTIFICATE_AGE_MAX;
        assert!(Arc::ptr_eq(&first, &get(name("queue.fal.run"), late - Duration::from_nanos(1))));
        assert!(!Arc::ptr_eq(&first, &get(name("queue.fal.run"), late)));
        for number in 0..CERTIFICATES_MAX + 5 {
            get(name(&format!("host-{number}.fal.run")), now);
        }
        assert_eq!(tls.cache.lock().unwrap().len(), CERTIFICATES_MAX);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        assert!(Tls::in_memory().config(name("ä.fal.run"), Instant::now()).is_err());
    }

    #[test]
    fn the_authority_is_made_once() {
        let tls = Tls::in_memory();
        assert!(tls.authority.get().is_none(), "nothing is made before it is needed");
        assert_eq!(tls.ca_pem(), tls.ca_pem());
        assert!(!format!("{tls:?}").contains("PRIVATE"));
    }
}
