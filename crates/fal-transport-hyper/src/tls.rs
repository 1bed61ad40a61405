//! TLS: whom to trust, and the handshake.

use std::path::PathBuf;
use std::sync::Arc;

use fal_protocol::wire::{Failure, FailureKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Config;
use crate::error::{TransportError, explain_io, explain_rustls, find};
use crate::io::Socket;
use crate::origin::Origin;

/// Makes TLS connections. Reads the platform's certificates when the first one is asked for.
#[derive(Debug)]
pub(crate) struct Tls {
    extra_roots: RootCertStore,
    extra_root_file: Option<PathBuf>,
    config: OnceCell<Configs>,
}

/// The same but for the protocols that are offered.
#[derive(Debug)]
struct Configs {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// Which protocols a server may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Any,
    /// A WebSocket begins in HTTP/1.1.
    #[cfg_attr(not(feature = "websocket"), expect(dead_code, reason = "nothing else asks for it"))]
    Http1,
}

impl Tls {
    pub(crate) fn new(config: &Config) -> Result<Self, TransportError> {
        let refuse = |problem: String| TransportError::Root { problem: problem.into() };
        let mut extra_roots = RootCertStore::empty();
        for pem in &config.extra_roots {
            let before = extra_roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
                extra_roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
            }
            if extra_roots.len() == before {
                return Err(refuse("the text has no PEM certificate".to_owned()));
            }
        }
        let extra_root_file = config.extra_root_file.clone();
        Ok(Self { extra_roots, extra_root_file, config: OnceCell::new() })
    }

    /// Shakes hands over `stream`.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        stream: TcpStream,
        offer: Offer,
    ) -> Result<TlsStream<Socket>, Failure> {
        let configs = self.config.get_or_try_init(|| self.load()).await?;
        let config = match offer {
            Offer::Any => &configs.any,
            Offer::Http1 => &configs.http1,
        };
        let name = ServerName::try_from(origin.host().to_owned()).map_err(|_| {
            Failure::connect(FailureKind::Tls, "the host cannot be the name of a certificate")
        })?;
        TlsConnector::from(Arc::clone(config)).connect(name, Socket::new(stream)).await.map_err(
            |e| {
                let (kind, message) = match find::<rustls::Error>(&e) {
                    Some(tls) => explain_rustls(tls),
                    None => explain_io(e.kind()),
                };
                Failure::connect(kind, message)
            },
        )
    }

    /// Reads the certificates on a blocking thread: there are some 140 files of them.
    async fn load(&self) -> Result<Configs, Failure> {
        let roots = self.extra_roots.clone();
        let file = self.extra_root_file.clone();
        tokio::task::spawn_blocking(move || build(roots, file))
            .await
            .unwrap_or_else(|e| Err(e.to_string()))
            .map(|any| {
                let mut http1 = any.clone();
                http1.alpn_protocols.retain(|protocol| protocol != ALPN_HTTP2);
                Configs { any: Arc::new(any), http1: Arc::new(http1) }
            })
            .map_err(|problem| Failure::connect(FailureKind::Tls, problem))
    }
}

fn build(mut roots: RootCertStore, file: Option<PathBuf>) -> Result<ClientConfig, String> {
    if let Some(file) = file {
        let refuse = |e: &dyn std::fmt::Display| {
            format!("the file of extra root certificates cannot be used: {e}")
        };
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| refuse(&e))? {
            roots.add(certificate.map_err(|e| refuse(&e))?).map_err(|e| refuse(&e))?;
        }
    }
    // A platform's collection may hold what this library does not understand: the rest still counts.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine has no root certificates to trust".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What a server calls HTTP/2 in the handshake.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
