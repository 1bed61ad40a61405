//! Bodies that are read while they are sent.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fal_protocol::wire::{Body, FailureKind, Phase, Request, Sent};
use fal_transport_hyper::{BlockFuture, Exchange, ReadAt, Source};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// A file that is removed in the end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(content: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fal-transport-upload-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::File::create(&path).unwrap().write_all(content).unwrap();
        Self(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn put(address: std::net::SocketAddr, range: std::ops::Range<u64>) -> Request {
    let mut request = get(address, "/").with_body(Body::Source { range });
    request.method = Method::PUT;
    request
}

/// A peer that reads one upload and gives it to the test.
async fn taker() -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let (taken_tx, taken) = tokio::sync::mpsc::unbounded_channel();
    let address = peer(move |_, mut stream| {
        let taken_tx = taken_tx.clone();
        async move {
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                if stream.read_exact(&mut body).await.is_ok() {
                    taken_tx.send(body).unwrap();
                    stream.write_all(OK).await.unwrap();
                }
            }
        }
    })
    .await;
    (address, taken)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 253) as u8).collect()
}

#[tokio::test]
async fn a_range_of_a_file_is_sent_and_progress_told() {
    let content = content(1_000_000);
    let file = TestFile::new(&content);
    let (address, mut taken) = taker().await;
    let transport = transport();
    for range in [0..1_000_000, 1..999_999, 300_000..900_001, 5..6, 7..7] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let exchange = {
            let told = Arc::clone(&told);
            Exchange::new(put(address, range.clone()))
                .with_source(Source::file(&file.0))
                .with_on_sent(move |sent| told.lock().unwrap().push(sent))
        };
        whole(&transport, exchange).await.unwrap();
        let expected = &content[range.start as usize..range.end as usize];
        assert!(taken.recv().await.unwrap() == expected, "{range:?}");
        let told = told.lock().unwrap();
        assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
        assert_eq!(told.last().copied().unwrap_or(0), range.end - range.start);
        assert!(expected.len() < 600_000 || told.len() >= 3, "{told:?}");
    }
}

#[tokio::test]
async fn bytes_in_memory_are_told_in_steps() {
    let (address, mut taken) = taker().await;
    let content = Bytes::from(content(600_000));
    for as_source in [true, false] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut request = put(address, 0..600_000);
        if !as_source {
            request = request.with_body(Body::Bytes(content.clone()));
        }
        let exchange = {
            let told = Arc::clone(&told);
            Exchange::new(request)
                .with_source(Source::bytes(content.clone()))
                .with_on_sent(move |sent| told.lock().unwrap().push(sent))
        };
        whole(&transport(), exchange).await.unwrap();
        assert!(taken.recv().await.unwrap() == content);
        assert_eq!(*told.lock().unwrap(), [262_144, 524_288, 600_000]);
    }
}

/// Gives what it is told to, whatever it is asked.
struct Odd(fn(u64, usize) -> io::Result<Bytes>);

impl ReadAt for Odd {
    fn read_at(&self, offset: u64, bytes_max: usize) -> BlockFuture {
        let block = self.0(offset, bytes_max);
        Box::pin(async move { block })
    }
}

#[tokio::test]
async fn a_source_of_ones_own_may_give_less_at_a_time() {
    let (address, mut taken) = taker().await;
    let source = Odd(|offset, _| Ok(Bytes::from(vec![offset as u8; 1])));
    let exchange = Exchange::new(put(address, 3..9)).with_source(Source::custom(Arc::new(source)));
    whole(&transport(), exchange).await.unwrap();
    assert_eq!(taken.recv().await.unwrap(), [3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_to_blame() {
    let (address, mut taken) = taker().await;
    let file = TestFile::new(&content(500_000));
    let missing = file.0.with_extension("missing");
    let failing = |read| Source::custom(Arc::new(Odd(read)));
    for (source, why) in [
        (None, "no source was given"),
        (Some(Source::file(missing)), "no such file"),
        (Some(Source::file(&file.0)), "shorter than the range"),
        (Some(Source::bytes(vec![0; 500_000])), "shorter than the range"),
        (Some(failing(|_, _| Err(io::Error::other("disk on fire")))), "disk on fire"),
        (Some(failing(|_, max| Ok(vec![0; max + 1].into()))), "more than it was asked"),
    ] {
        let mut exchange = Exchange::new(put(address, 0..600_000));
        exchange.source = source;
        let failure = whole(&transport(), exchange).await.unwrap_err();
        assert_eq!((failure.phase, failure.kind), (Phase::Write, FailureKind::Source), "{failure}");
        assert!(failure.message.contains(why), "{failure}");
    }
    assert!(taken.try_recv().is_err(), "no such upload looks whole");
}

#[tokio::test]
async fn dropping_an_upload_closes_its_connection() {
    let file = TestFile::new(&content(20_000_000));
    let (listener, address) = listen().await;
    let exchange = Exchange::new(put(address, 0..20_000_000)).with_source(Source::file(&file.0));
    let sending = tokio::spawn(async move { transport().send(exchange).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    sending.abort();
    let mut rest = Vec::new();
    let _ = in_time(stream.read_to_end(&mut rest)).await;
    assert!(rest.len() < 20_000_000);
}

#[tokio::test]
async fn what_was_not_written_says_so() {
    let exchange = Exchange::new(put(([127, 0, 0, 1], 1).into(), 0..9));
    fails(whole(&transport(), exchange).await, Phase::Write, Sent::No, FailureKind::Source);
}
