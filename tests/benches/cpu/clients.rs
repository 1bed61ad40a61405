//! The clients: ours, and hyper-util's by hand, each doing the same exchanges with a hundred jobs at once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::Error;
use crate::contestant::cpu_of;

/// Runs the jobs and prints the microseconds of CPU that each took.
pub(crate) fn call(name: &str, base: &str, cycles: usize) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let cpu = runtime.block_on(async {
        match name {
            "client-poll" | "client-stream" => {
                let client =
                    fal_client::Client::builder().base_url(base).key("id:secret").build()?;
                let stream = name == "client-stream";
                measure(cycles, move || ours(client.clone(), stream)).await
            }
            "limit-poll" | "limit-stream" => {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                let client = Legacy::builder(TokioExecutor::new()).build(connector);
                let (base, stream) = (Arc::<str>::from(base), name == "limit-stream");
                measure(cycles, move || by_hand(client.clone(), Arc::clone(&base), stream)).await
            }
            _ => Err(format!("no client is named {name}").into()),
        }
    })?;
    Ok(writeln!(std::io::stdout(), "{}", cpu.as_secs_f64() * 1e6 / cycles as f64)?)
}

/// CPU of `cycles` jobs after a warm-up of a tenth of them.
async fn measure<F>(
    cycles: usize,
    job: impl Fn() -> F + Clone + Send + 'static,
) -> Result<Duration, Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    many(cycles / 10, job.clone()).await?;
    let before = cpu_of("self")?;
    many(cycles, job).await?;
    Ok(cpu_of("self")? - before)
}

async fn many<F>(cycles: usize, job: impl Fn() -> F + Clone + Send + 'static) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let begun = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (begun, job) = (Arc::clone(&begun), job.clone());
            tokio::spawn(async move {
                while begun.fetch_add(1, Ordering::Relaxed) < cycles {
                    job().await.map_err(|e| e.to_string())?;
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

async fn ours(client: fal_client::Client, stream: bool) -> Result<(), Error> {
    let job = client.subscribe("fal-ai/flux/dev").input(&*INPUT).logs(false).status_stream(stream);
    let output = job.poll_interval(Duration::ZERO).await?;
    check(output.bytes())
}

async fn by_hand(
    client: Legacy<HttpConnector, Full<Bytes>>,
    base: Arc<str>,
    stream: bool,
) -> Result<(), Error> {
    let call = async |method: Method, url: &str, body: Bytes| -> Result<Bytes, Error> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", "Key id:secret")
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", "by-hand/1")
            .body(Full::new(body))?;
        let response = client.request(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    };
    let body = Bytes::from(serde_json::to_vec(&*INPUT)?);
    let url = format!("{base}/queue.fal.run/fal-ai/flux/dev");
    let submitted: Submitted = serde_json::from_slice(&call(Method::POST, &url, body).await?)?;
    if stream {
        let events =
            call(Method::GET, &format!("{}/stream?logs=0", submitted.status_url), Bytes::new())
                .await?;
        let event = events.strip_prefix(b"data: ").ok_or("one event")?;
        let _: StatusOnly = serde_json::from_slice(event)?;
    } else {
        let url = format!("{}?logs=0", submitted.status_url);
        loop {
            let status: StatusOnly =
                serde_json::from_slice(&call(Method::GET, &url, Bytes::new()).await?)?;
            if status.status == "COMPLETED" {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    check(&call(Method::GET, &submitted.response_url, Bytes::new()).await?)
}

/// What every caller does with a result.
fn check(body: &Bytes) -> Result<(), Error> {
    let result: Value = serde_json::from_slice(body)?;
    if result["images"][0]["url"].is_string() {
        Ok(())
    } else {
        Err("the result has no image".into())
    }
}

#[derive(serde::Deserialize)]
struct Submitted {
    status_url: String,
    response_url: String,
}

#[derive(serde::Deserialize)]
struct StatusOnly {
    status: String,
}

static INPUT: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
    serde_json::json!({
        "prompt": "Extreme close-up of a single tiger eye, direct frontal view.",
        "image_size": "landscape_4_3", "num_inference_steps": 28, "seed": 1_234_567_890,
        "guidance_scale": 3.5, "num_images": 1, "enable_safety_checker": true,
    })
});

const CONCURRENCY: usize = 100;
