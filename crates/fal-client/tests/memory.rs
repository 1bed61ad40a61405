//! Alone in its process, because it measures the process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fal_client::Client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_file_of_five_gigabytes_takes_little_memory() {
    let path = std::env::temp_dir().join(format!("fal-client-large-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(FILE_BYTES).unwrap(); // Sparse: costs no disk.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let server = tokio::spawn({
        let (base, taken) = (base.clone(), Arc::clone(&taken));
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (base, taken) = (base.clone(), Arc::clone(&taken));
                // A connection ends when the client is gone.
                tokio::spawn(async move { serve(stream, &base, &taken).await });
            }
        }
    });
    let client = Client::builder().base_url(&base).key("id:secret").build().unwrap();
    // Larger parts than usual: fewer requests, the same memory.
    let url = client.upload(path.as_path()).part_bytes(64 << 20).await;
    std::fs::remove_file(&path).unwrap();
    server.abort();
    assert_eq!(url.unwrap(), format!("{base}/film"));
    assert_eq!(taken.load(Ordering::Relaxed), FILE_BYTES);

    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 60 << 10, "{peak_kib} KiB, with the server's");
}

/// Takes parts and forgets them.
async fn serve(stream: TcpStream, base: &str, taken: &AtomicU64) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(256 << 10, stream);
    loop {
        let (mut first, mut length) = (String::new(), 0_u64);
        if stream.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut rest = (&mut stream).take(length);
        while rest.limit() > 0 {
            let piece = rest.fill_buf().await?.len();
            rest.consume(piece);
        }
        let body = if first.starts_with("PUT ") {
            taken.fetch_add(length, Ordering::Relaxed);
            r#"{"etag":"e"}"#.to_owned()
        } else {
            format!(r#"{{"file_url":"{base}/film","upload_url":"{base}/film?signature=s"}}"#)
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all((head + &body).as_bytes()).await?;
    }
}

const FILE_BYTES: u64 = 5_000_000_000;
