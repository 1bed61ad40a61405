//! Alone in its process, because it measures the process.

#![cfg(target_os = "linux")]

use fal_protocol::wire::{Body, Request};
use fal_transport_hyper::{Answer, Config, Exchange, Source, Transport};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_large_upload_takes_little_memory() {
    let path = std::env::temp_dir().join(format!("fal-transport-large-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(UPLOAD_BYTES).unwrap(); // Sparse: costs no disk.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0;
        while total < UPLOAD_BYTES {
            total += stream.read(&mut buffer).await.unwrap() as u64;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let request = Request::new(Method::PUT, uri).with_body(Body::Source { range: 0..UPLOAD_BYTES });
    let exchange = Exchange::new(request).with_source(Source::file(&path));
    let answer = Transport::new(Config::default()).unwrap().send(exchange).await;
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(answer, Ok(Answer::Whole(_))), "{answer:?}");
    server.await.unwrap();

    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 40 << 10, "{peak_kib} KiB");
}

const UPLOAD_BYTES: u64 = 1 << 30;
