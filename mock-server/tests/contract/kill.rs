//! A mock with a state is killed again and again under load, at random moments, now and then told to stop, and started on
//! the same file: whatever it had answered is there, works, and has an id of its own.
//!
//! `FAL_MOCK_KILLS` says how often (10), `FAL_MOCK_KILL_SEED` repeats a run; `cargo xtask kill` is the long one.

#![allow(clippy::unwrap_used, reason = "all of it is a test, and what fails shall end it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fal_protocol::rand::SplitMix64;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::client::{Answer, call_as};

/// A process of the mock.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fal-mock"))
            .args(["--port", "0", "--quiet", "--queue-time", "5ms", "--run-time", "30ms"])
            .arg("--state")
            .arg(state)
            .arg("--ca-dir")
            .arg(state.with_file_name("ca"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next();
        let first = first.expect("it starts on what a killed one has left").unwrap();
        Self { child, port: first.rsplit(':').next().unwrap().parse().unwrap() }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As whoever ends a service does.
    #[cfg(unix)]
    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    #[cfg(windows)]
    fn stop(self) {
        self.kill();
    }
}

/// One connection to a mock that may die at any moment.
struct Line {
    port: u16,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    const fn new(port: u16) -> Self {
        Self { port, sender: None }
    }

    /// A whole answer, or none.
    async fn send(&mut self, request: http::request::Builder, body: Bytes) -> Option<Answer> {
        let sender = match &mut self.sender {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
                tokio::spawn(connection);
                self.sender.insert(sender)
            }
        };
        sender.ready().await.ok()?;
        let host = format!("127.0.0.1:{}", self.port);
        let request = request.header("host", host).body(Full::new(body)).unwrap();
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    async fn get(&mut self, key: &str, target: &str) -> Option<Answer> {
        self.send(call_as(key, Method::GET, target), Bytes::new()).await
    }
}

/// What the mock has answered.
#[derive(Default)]
struct Told {
    /// Keys of tenants, the first one's before all.
    keys: Vec<String>,
    /// Prompts by request id, and what was read as the result.
    jobs: BTreeMap<String, Job>,
    /// Content by path.
    files: BTreeMap<String, Bytes>,
    /// Pictures that results named, by path, once they were fetched.
    made: BTreeMap<String, Bytes>,
    answers: u64,
    reads: u64,
    parts: u64,
}

#[derive(Clone, Default)]
struct Job {
    key: String,
    prompt: String,
    has_hook: bool,
    is_done: bool,
    result: Option<Bytes>,
}

/// What all who load the mock share.
struct Load {
    seed: u64,
    told: Mutex<Told>,
    hook: String,
    /// Answers after which it is killed.
    target: u64,
    reached: Notify,
}

impl Load {
    fn told<T>(&self, f: impl FnOnce(&mut Told) -> T) -> T {
        f(&mut self.told.lock().unwrap())
    }

    fn count(&self) {
        let answers = self.told(|told| {
            told.answers += 1;
            told.answers
        });
        if answers >= self.target {
            self.reached.notify_one();
        }
    }
}

/// The path of an address, whatever port it was given out with.
fn path_of(url: &str) -> String {
    let rest = url.strip_prefix("http://127.0.0.1:").expect("an address of the mock");
    rest[rest.find('/').unwrap()..].to_owned()
}

fn bytes(rng: &mut SplitMix64, len: usize) -> Bytes {
    let seed = rng.next_u64();
    (0..len as u64).map(|at| (at.wrapping_mul(seed | 1) >> 11) as u8).collect::<Vec<_>>().into()
}

/// Calls until the mock is gone.
async fn load(load: Arc<Load>, port: u16, number: u64) {
    let mut rng = SplitMix64::new(load.seed ^ number.wrapping_mul(0x9E37_79B9));
    let mut line = Line::new(port);
    while act(&load, &mut line, &mut rng).await.is_some() {
        load.count();
    }
}

async fn act(load: &Load, line: &mut Line, rng: &mut SplitMix64) -> Option<()> {
    match rng.below(20) {
        0 if load.told(|told| told.keys.len() < TENANTS) => tenant(load, line, rng).await,
        0..6 => submit(load, line, rng).await,
        6..8 => {
            let len = rng.below(20_000) as usize;
            upload(load, line, rng, len).await
        }
        // This one goes to the disk at once.
        8 => {
            let len = (1 << 20) + 1 + rng.below(300_000) as usize;
            upload(load, line, rng, len).await
        }
        9 => parts(load, line, rng).await,
        10..15 => status(load, line, rng).await,
        _ => result(load, line, rng).await,
    }
}

async fn tenant(load: &Load, line: &mut Line, rng: &mut SplitMix64) -> Option<()> {
    let key = format!("id:{:016x}", rng.next_u64());
    // With a seed of its own its ids are those of nobody else.
    let body = json!({ "key": &key, "seed": rng.next_u64() >> 12 }).to_string();
    let answer = line.send(Request::post("/__mock/v1/tenants"), body.into()).await?;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
    load.told(|told| told.keys.push(key));
    Some(())
}

/// The key of somebody.
fn anybody(load: &Load, rng: &mut SplitMix64) -> String {
    load.told(|told| told.keys[rng.below(told.keys.len() as u64) as usize].clone())
}

async fn submit(load: &Load, line: &mut Line, rng: &mut SplitMix64) -> Option<()> {
    let key = anybody(load, rng);
    let prompt = format!("{:016x}", rng.next_u64());
    let has_hook = rng.below(3) == 0;
    let hook = if has_hook { format!("?fal_webhook={}", load.hook) } else { String::new() };
    let target = format!("/queue.fal.run/acme/app{hook}");
    let body = json!({ "prompt": &prompt, "image_size": { "width": 64, "height": 64 } });
    let request = call_as(&key, Method::POST, &target);
    let answer = line.send(request, body.to_string().into()).await?;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    let job = Job { key, prompt, has_hook, ..Job::default() };
    let before = load.told(|told| told.jobs.insert(id.clone(), job));
    assert!(before.is_none(), "{id} was given out twice");
    Some(())
}

async fn initiate(line: &mut Line, route: &str, key: &str) -> Option<(String, String)> {
    let target = format!("/rest.fal.ai/storage/upload/{route}");
    let body = r#"{"content_type":"video/mp4","file_name":"a.mp4"}"#;
    let answer = line.send(call_as(key, Method::POST, &target), body.into()).await?;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json();
    let path = |name: &str| path_of(answer[name].as_str().unwrap());
    Some((path("file_url"), path("upload_url")))
}

async fn upload(load: &Load, line: &mut Line, rng: &mut SplitMix64, len: usize) -> Option<()> {
    let content = bytes(rng, len);
    let (file, target) = initiate(line, "initiate", &anybody(load, rng)).await?;
    load.count();
    let answer = line.send(Request::put(target), content.clone()).await?;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let before = load.told(|told| told.files.insert(file.clone(), content));
    assert!(before.is_none(), "{file} was given out twice");
    Some(())
}

async fn parts(load: &Load, line: &mut Line, rng: &mut SplitMix64) -> Option<()> {
    let key = anybody(load, rng);
    let (file, target) = initiate(line, "initiate-multipart", &key).await?;
    let (base, query) = target.split_once('?').unwrap();
    let (mut listed, mut whole) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        let len = if number == 2 { (1 << 20) + 100 } else { 3000 };
        let content = bytes(rng, len);
        whole.extend_from_slice(&content);
        let answer = line.send(Request::put(format!("{base}/{number}?{query}")), content).await?;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        listed.push(json!({ "partNumber": number, "etag": answer.json()["etag"] }));
        load.count();
    }
    let body = json!({ "parts": listed }).to_string();
    let complete = call_as(&key, Method::POST, &format!("{base}/complete?{query}"));
    let answer = line.send(complete, body.into()).await?;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    load.told(|told| {
        told.parts += 3;
        told.files.insert(file, whole.into());
    });
    Some(())
}

/// A job that was told, any or one of the last.
fn pick(load: &Load, rng: &mut SplitMix64) -> Option<(String, Job)> {
    load.told(|told| {
        let at = rng.below(told.jobs.len() as u64) as usize;
        told.jobs.iter().nth(at).map(|(id, job)| (id.clone(), job.clone()))
    })
}

async fn status(load: &Load, line: &mut Line, rng: &mut SplitMix64) -> Option<()> {
    let Some((id, job)) = pick(load, rng) else { return Some(()) };
    let target = format!("/queue.fal.run/acme/app/requests/{id}/status");
    let answer = line.get(&job.key, &target).await?;
    let text = answer.json()["status"].as_str().unwrap_or_default().to_owned();
    assert!(matches!(answer.status.as_u16(), 200 | 202), "{id}: {} {text}", answer.status);
    // What was over once stays so.
    assert!(!job.is_done || text == "COMPLETED", "{id} was over, and is {text}");
    load.told(|told| {
        told.reads += 1;
        if let Some(job) = told.jobs.get_mut(&id).filter(|_| text == "COMPLETED") {
            job.is_done = true;
        }
    });
    Some(())
}

async fn result(load: &Load, line: &mut Line, rng: &mut SplitMix64) -> Option<()> {
    let Some((id, job)) = pick(load, rng) else { return Some(()) };
    let target = format!("/queue.fal.run/acme/app/requests/{id}");
    let answer = line.get(&job.key, &target).await?;
    if answer.status == StatusCode::BAD_REQUEST {
        assert!(!job.is_done, "{id} was over");
        return Some(());
    }
    assert_eq!(answer.status, StatusCode::OK, "{id}: {:?}", answer.body);
    note_result(load, &id, &job, &answer, line).await
}

/// A result names the prompt and a picture, is always the same, and so is the picture.
async fn note_result(
    load: &Load,
    id: &str,
    job: &Job,
    answer: &Answer,
    line: &mut Line,
) -> Option<()> {
    let value = answer.json();
    assert_eq!(value["prompt"], job.prompt.as_str(), "{id}");
    // The port changes with each start, and nothing else.
    let url = value["images"][0]["url"].as_str().unwrap();
    let path = path_of(url);
    let same = String::from_utf8(answer.body.to_vec()).unwrap().replace(url, &path);
    if let Some(before) = &job.result {
        assert_eq!(*before, same.as_bytes(), "{id}: another result than before");
    }
    load.told(|told| {
        let job = told.jobs.get_mut(id).unwrap();
        job.is_done = true;
        job.result = Some(same.into());
    });
    let picture = line.get(NOBODY, &path).await?;
    assert_eq!(picture.status, StatusCode::OK, "{path}");
    let before = load.told(|told| told.made.insert(path.clone(), picture.body.clone()));
    assert!(before.is_none_or(|before| before == picture.body), "{path}: another picture");
    Some(())
}

/// Takes news, and remembers what was said of each job.
async fn receiver(news: Arc<Mutex<HashMap<String, HashSet<Bytes>>>>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let news = Arc::clone(&news);
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let news = Arc::clone(&news);
                async move {
                    if let Ok(body) = request.into_body().collect().await {
                        let body = body.to_bytes();
                        let value: Value = serde_json::from_slice(&body).unwrap();
                        let id = value["request_id"].as_str().unwrap().to_owned();
                        news.lock().unwrap().entry(id).or_default().insert(body);
                    }
                    Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::new())))
                }
            });
            connections.spawn(async move {
                // One end of it is killed now and then.
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, tasks)
}

/// Reads all that was told so far. Every job ends, so it is asked until it has.
async fn check(load: &Load, port: u16) {
    let mut line = Line::new(port);
    let (jobs, files, made) =
        load.told(|told| (told.jobs.clone(), told.files.clone(), told.made.clone()));
    for (id, job) in &jobs {
        let target = format!("/queue.fal.run/acme/app/requests/{id}");
        let answer = loop {
            let answer = line.get(&job.key, &target).await.expect("nobody kills it");
            if answer.status != StatusCode::BAD_REQUEST {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(answer.status, StatusCode::OK, "job {id} is lost: {:?}", answer.body);
        note_result(load, id, job, &answer, &mut line).await.expect("nobody kills it");
    }
    for (path, content) in files.iter().chain(&made) {
        let answer = line.get(NOBODY, path).await.expect("nobody kills it");
        assert_eq!(answer.status, StatusCode::OK, "{path} is lost");
        assert!(answer.body == content, "{path} has other bytes");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_any_number_of_kills() {
    let kills = number("FAL_MOCK_KILLS").unwrap_or(10);
    let seed = number("FAL_MOCK_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let dir: PathBuf = std::env::temp_dir().join(format!("fal-mock-kill-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let run = tokio::spawn(run(kills, seed, dir.clone()));
    let outcome = run.await;
    std::fs::remove_dir_all(&dir).unwrap();
    if let Err(error) = outcome {
        panic!("FAL_MOCK_KILLS={kills} FAL_MOCK_KILL_SEED={seed} repeats this: {error}");
    }
}

async fn run(kills: u64, seed: u64, dir: PathBuf) {
    let begun = Instant::now();
    let state = dir.join("state");
    let news = Arc::new(Mutex::new(HashMap::new()));
    let (hook_port, _receiver) = receiver(Arc::clone(&news)).await;
    let mut rng = SplitMix64::new(seed);
    let mut told = Told { keys: vec![NOBODY.to_owned()], ..Told::default() };
    let mut starts = Vec::new();
    for round in 0..kills {
        let start = Instant::now();
        let process = Process::start(&state);
        starts.push(start.elapsed());
        let shared = Arc::new(Load {
            seed: rng.next_u64(),
            target: told.answers + 1 + rng.below(ANSWERS_MAX),
            told: Mutex::new(told),
            hook: format!("http%3A%2F%2F127.0.0.1%3A{hook_port}%2Fhook"),
            reached: Notify::new(),
        });
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(load(Arc::clone(&shared), process.port, number));
        }
        tokio::select! {
            () = shared.reached.notified() => {}
            // One that ends while the mock is there has found something wrong.
            ended = callers.join_next() => {
                ended.expect("there are some").expect("what it found is told above");
                panic!("round {round}: the mock went away by itself");
            }
        }
        match round % STOP_EVERY {
            1 => process.stop(),
            _ => process.kill(),
        }
        while let Some(ended) = callers.join_next().await {
            ended.expect("what it found is told above");
        }
        told = Arc::into_inner(shared).unwrap().told.into_inner().unwrap();
    }
    let process = Process::start(&state);
    let shared = Load {
        seed,
        told: Mutex::new(told),
        hook: String::new(),
        target: u64::MAX,
        reached: Notify::new(),
    };
    check(&shared, process.port).await;
    let told = shared.told.into_inner().unwrap();
    let hooked: Vec<&String> =
        told.jobs.iter().filter(|(_, job)| job.has_hook).map(|(id, _)| id).collect();
    let mut line = Line::new(process.port);
    let until = Instant::now() + NEWS_TIME_MAX;
    for id in &hooked {
        while !news.lock().unwrap().contains_key(*id) {
            assert!(Instant::now() < until, "nobody told of the end of {id}");
            // Each call gives the others a turn.
            line.get(NOBODY, "/__mock/v1/live").await.expect("nobody kills it");
        }
        assert_eq!(news.lock().unwrap()[*id].len(), 1, "{id}: different news");
    }
    for key in &told.keys {
        let har = line.get(key, "/__mock/v1/requests/har").await.expect("nobody kills it").json();
        let entries = har["log"]["entries"].as_array().unwrap();
        let written: HashSet<&str> = entries
            .iter()
            .filter_map(|entry| entry["response"]["content"]["text"].as_str())
            .filter_map(|text| text.split_once("\"request_id\":\"")?.1.get(..36))
            .collect();
        // The oldest are forgotten beyond their number.
        if entries.len() < REQUESTS_MAX {
            for id in told.jobs.iter().filter(|(_, job)| job.key == *key).map(|(id, _)| id) {
                let is_there = written.contains(id.as_str());
                assert!(is_there, "the submit of {id} is not among the requests");
            }
        }
    }
    process.kill();
    starts.sort_unstable();
    let size = std::fs::metadata(&state).unwrap().len();
    eprintln!(
        "{kills} kills in {:.1?} with seed {seed}: {} answers, {} tenants, {} jobs ({} with a webhook), {} files ({} \
         parts), {} status reads, {} pictures; start {:.0?} in the middle and {:.0?} at most; state {} KiB",
        begun.elapsed(),
        told.answers,
        told.keys.len(),
        told.jobs.len(),
        hooked.len(),
        told.files.len(),
        told.parts,
        told.reads,
        told.made.len(),
        starts[starts.len() / 2],
        starts[starts.len() - 1],
        size >> 10,
    );
}

/// One of so many is told to stop and not killed.
const STOP_EVERY: u64 = 5;

/// A key that belongs to the first tenant, as all do that are nobody's.
const NOBODY: &str = "id:secret";

/// From so many on no more are made.
const TENANTS: usize = 4;

/// Who call at once.
const CALLERS: u64 = 12;

/// Answers between two kills.
const ANSWERS_MAX: u64 = 150;

/// Requests that a mock remembers.
const REQUESTS_MAX: usize = 10_000;

/// Until the last news has come, at the rests between attempts that a killed one has left behind.
const NEWS_TIME_MAX: Duration = Duration::from_secs(120);
