//! Clients that are recorded by one mock while another plays the service, and that get the same from the recordings.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fal_mock::{ClockMode, MockFal, Record, Replay, ReplayTiming};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::py_client;
use crate::support::{FLUX, client, in_time, name};

/// A folder of recordings, removed when dropped.
struct Tapes(PathBuf);

impl Tapes {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("fal-tapes-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    async fn recorder(&self, service: &MockFal) -> MockFal {
        let record = Record::new(&self.0).upstream(service.url());
        MockFal::builder().record(record).start().await.unwrap()
    }

    async fn player(&self, timing: ReplayTiming) -> MockFal {
        let replay = Replay::new(&self.0).timing(timing);
        MockFal::builder().replay(replay).clock(ClockMode::Auto).start().await.unwrap()
    }
}

impl Drop for Tapes {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn service() -> MockFal {
    let (queue, run) = (Duration::from_millis(20), Duration::from_millis(40));
    MockFal::builder().queue_time(queue).run_time(run).start().await.unwrap()
}

/// A job with an upload, a run and a stream; what does not differ from run to run, and the events of the job.
async fn session(url: &str) -> (Vec<Value>, Vec<&'static str>) {
    let client = client(url);
    let picture = vec![7; 100];
    let uploaded = in_time(client.upload(picture).content_type("image/png").named("a.png"));
    let uploaded = uploaded.await.unwrap();
    let input = json!({ "prompt": "a cat", "seed": 3, "image_url": uploaded.to_string() });
    let mut job = client.subscribe(FLUX).input(input).start();
    let mut events = Vec::new();
    while let Some(event) = in_time(job.next_event()).await {
        events.push(name(&event));
    }
    let output = in_time(job).await.unwrap();
    let file = in_time(client.download(&output.files()[0])).await.unwrap();
    let run = in_time(client.run(FLUX).input(json!({ "prompt": "two", "num_images": 2 }))).await;
    let run = run.unwrap();
    let mut stream = client.stream("fal-ai/any-llm").input(json!({ "prompt": "why" })).start();
    let mut last = Value::Null;
    while let Some(event) = in_time(stream.next()).await {
        last = event.unwrap().json().unwrap();
    }
    let told = [
        json!({ "prompt": output.value().unwrap()["prompt"], "seed": output.value().unwrap()["seed"] }),
        json!(file.len()),
        json!([run.value().unwrap()["seed"], run.files().len(), run.billable_units()]),
        last,
    ];
    (told.to_vec(), events)
}

#[tokio::test]
async fn our_client_gets_the_same_from_recordings() {
    let tapes = Tapes::new("own");
    let service = service().await;
    let recorder = tapes.recorder(&service).await;
    let (recorded, events) = session(&recorder.url()).await;
    assert_eq!(recorder.recorded().unwrap().problems, Vec::<String>::new());
    assert_eq!(service.submits(), 1);
    recorder.stop().await;
    service.stop().await;
    for timing in [ReplayTiming::Recorded, ReplayTiming::Instant] {
        let player = tapes.player(timing).await;
        let (replayed, again) = session(&player.url()).await;
        assert_eq!(replayed, recorded, "{timing:?}");
        for event in ["submitted", "completed"] {
            assert!(again.contains(&event), "{again:?}, recorded were {events:?}");
        }
        let unmatched = player.requests().into_iter().filter(|seen| seen.status == 404);
        assert_eq!(unmatched.count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_client_gets_the_same_from_recordings() {
    if let Err(reason) = py_client::is_installed() {
        assert!(std::env::var("CI").is_err(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let tapes = Tapes::new("python");
    let service = service().await;
    let recorder = tapes.recorder(&service).await;
    let recorded = script(&recorder).await;
    assert_eq!(recorder.recorded().unwrap().problems, Vec::<String>::new());
    recorder.stop().await;
    service.stop().await;
    let player = tapes.player(ReplayTiming::Recorded).await;
    let replayed = script(&player).await;
    assert_eq!(replayed, recorded);
    assert_eq!(recorded.lines().count(), 4, "{recorded}");
}

/// What a script prints that calls fal by its own names.
async fn script(mock: &MockFal) -> String {
    let environment = mock.environment("any:key-of-the-caller").unwrap();
    let mut command = std::process::Command::new(py_client::python());
    environment.apply(&mut command);
    let mut command = tokio::process::Command::from(command);
    let running = command
        .arg(py_client::sources().join("recorded.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = in_time(running).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
