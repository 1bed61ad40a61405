//! The clients: ours, and hyper's connection by hand with a thread that reads the file ahead.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::{Error, peak_kib};

/// Uploads once and prints the seconds that it took, and the peak of memory in KiB.
pub(crate) fn put(name: &str, base: &str, path: &Path) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let took = runtime.block_on(async {
        match name {
            "limit" => by_hand(base, path).await,
            "whole" | "parts" => ours(name, base, path).await,
            _ => Err(format!("no client is named {name}").into()),
        }
    })?;
    Ok(writeln!(std::io::stdout(), "{} {}", took.as_secs_f64(), peak_kib("self")?)?)
}

async fn ours(name: &str, base: &str, path: &Path) -> Result<Duration, Error> {
    let client = fal_client::Client::builder().base_url(base).key("id:secret").build()?;
    let over = if name == "whole" { u64::MAX } else { 0 };
    let start = Instant::now();
    client.upload(path).multipart_over(over).await?;
    Ok(start.elapsed())
}

/// One PUT to where an upload would go.
async fn by_hand(base: &str, path: &Path) -> Result<Duration, Error> {
    let length = std::fs::metadata(path)?.len();
    let authority = base.strip_prefix("http://").ok_or("the base is plain http")?;
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with this process.
    tokio::spawn(connection);

    let start = Instant::now();
    let body = r#"{"content_type":"application/octet-stream","file_name":"film"}"#;
    let body = http_body_util::Full::new(Bytes::from_static(body.as_bytes()));
    let initiate = "/rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3";
    let request = Request::post(initiate)
        .header(header::HOST, authority)
        .header(header::AUTHORIZATION, "Key id:secret")
        .header(header::CONTENT_TYPE, "application/json");
    let answer = sender.send_request(request.body(body.boxed())?).await?;
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
    let url = answer["upload_url"].as_str().ok_or("it says where to write")?;
    let target = url.strip_prefix(base).ok_or("it is the same server")?.to_owned();

    let (blocks, taken) = mpsc::channel(2);
    let file = std::fs::File::open(path)?;
    let reading = std::thread::spawn(move || read(file, &blocks));
    let body = StreamBody::new(stream::unfold(taken, |mut taken| async move {
        let block: Bytes = taken.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(Frame::data(block)), taken))
    }));
    let request = Request::put(target)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, length);
    // The connection says when it is done with the answer before.
    sender.ready().await?;
    let answer = sender.send_request(request.body(body.boxed())?).await?;
    if !answer.status().is_success() {
        return Err(format!("the PUT was answered {}", answer.status()).into());
    }
    answer.into_body().collect().await?;
    let took = start.elapsed();
    reading.join().map_err(|_| "the reader failed")??;
    Ok(took)
}

fn read(mut file: std::fs::File, blocks: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    loop {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        (&mut file).take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() || blocks.blocking_send(block.into()).is_err() {
            return Ok(());
        }
    }
}

/// As the transport reads.
const BLOCK_BYTES: usize = 256 << 10;
