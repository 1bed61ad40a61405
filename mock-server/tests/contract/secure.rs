//! The client's side of TLS and of tunnels.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Answer, open_on, whole};

pub(crate) async fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("the mock listens")
}

/// Shakes hands as a client that trusts `ca_pem` only and wants to reach `name`, a host or an address.
pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    ca_pem: &str,
    name: &str,
) -> io::Result<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate authority");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Asks the proxy at `port` for a tunnel to `target`; the answer that was given instead is the error.
pub(crate) async fn tunnel(port: u16, target: &str) -> Result<TcpStream, String> {
    let mut stream = dial(port).await;
    let ask = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("the mock reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.expect("a whole head");
        head.push(byte);
    }
    let mut head = String::from_utf8(head).expect("text");
    if head.starts_with("HTTP/1.1 200 ") {
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
        return Ok(stream);
    }
    let length = head.split("content-length: ").nth(1).expect("a length").split('\r').next();
    let mut body = vec![0; length.expect("a line").parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("a whole body");
    head.push_str(&String::from_utf8(body).expect("text"));
    Err(head)
}

/// One request and its whole answer.
pub(crate) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Answer {
    whole(open_on(stream, host, request, body).await.expect("an answer")).await
}
