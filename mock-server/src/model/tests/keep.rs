//! A service that is written down after every input goes on from what was written as it would have gone on by itself.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::keep::{Accepted, Keeping, Rows, Table, Value as Row, Writes};
use super::*;

/// Where rows are put.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    rows: BTreeMap<(Table, u128), Bytes>,
    accepted: Vec<Accepted>,
}

impl Shelf {
    /// Takes what has changed in a world, which is kept from the first time on.
    pub(super) fn keep(&mut self, world: &mut World) {
        if self.rows.is_empty() {
            world.model.keep_anew(Some(Keeping::new(0)));
        }
        let writes = world.model.take_writes(SystemTime::UNIX_EPOCH, true);
        self.apply(writes.expect("somebody keeps it"));
    }

    fn apply(&mut self, writes: Writes) {
        if writes.is_anew {
            self.rows.clear();
        }
        self.accepted.extend(writes.accepted);
        for (key, value) in writes.rows {
            match value {
                None => drop(self.rows.remove(&key)),
                Some(Row::Bytes(head, body)) => {
                    self.rows.insert(key, [&head[..], &body].concat().into());
                }
                Some(Row::Spooled(body)) => {
                    let bytes = body.keeper().downcast_ref::<Bytes>().unwrap();
                    self.rows.insert(key, [&[1], &bytes[..]].concat().into());
                }
            }
        }
    }

    /// Another process, so much later.
    pub(super) fn restore(&self, config: &Config, down: Duration) -> World {
        let mut rows = Rows::default();
        for ((table, key), row) in &self.rows {
            rows.add(*table, *key, row.clone());
        }
        let marks = rows.marks().expect("it was kept");
        let base = Instant::now();
        let now = base + marks.wall.duration_since(marks.origin).unwrap() + down;
        let mut world = World::new(config.clone());
        let mut open = |row: &Bytes| Some(spooled(row.slice(1..)));
        let epoch = (base, marks.origin);
        world.model = Model::restore(config.clone(), now, epoch, rows, &mut open)
            .expect("what was written can be read");
        world.now = now;
        world.drain();
        world
    }
}

fn spooled(bytes: Bytes) -> Spooled {
    let digest = Digest::of(&bytes);
    Spooled::new(bytes.len() as u64, digest, Arc::new(bytes))
}

/// A world that is written down.
struct Kept {
    world: World,
    shelf: Shelf,
}

impl Kept {
    fn new(config: Config) -> Self {
        let mut world = World::new(config);
        world.model.keep_anew(Some(Keeping::new(0)));
        let mut kept = Self { world, shelf: Shelf::default() };
        kept.write();
        kept
    }

    fn write(&mut self) {
        let real = SystemTime::UNIX_EPOCH;
        self.shelf.apply(self.world.model.take_writes(real, true).expect("somebody keeps it"));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit { is_low: bool, is_valid: bool, has_timeout: bool, has_hook: bool, is_short: bool },
    Read(usize),
    Cancel(usize),
    Control(usize, u8),
    Upload { len: usize, is_spooled: bool, acl: bool },
    Begin,
    Part { upload: usize, number: u32, len: usize },
    Complete(usize),
    Expire(usize),
    Account(u64),
    Deliver(usize, u16),
    Rotate,
    Reset,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = || 0usize..30;
    prop_oneof![
        6 => any::<(bool, bool, bool, bool, bool)>().prop_map(
            |(is_low, is_valid, has_timeout, has_hook, is_short)| Step::Submit {
                is_low, is_valid, has_timeout, has_hook, is_short
            }
        ),
        4 => pick().prop_map(Step::Read),
        2 => pick().prop_map(Step::Cancel),
        3 => (pick(), 0u8..4).prop_map(|(n, what)| Step::Control(n, what)),
        3 => (0usize..400, any::<bool>(), any::<bool>())
            .prop_map(|(len, is_spooled, acl)| Step::Upload { len, is_spooled, acl }),
        1 => Just(Step::Begin),
        3 => (pick(), 1u32..4, 0usize..300)
            .prop_map(|(upload, number, len)| Step::Part { upload, number, len }),
        1 => pick().prop_map(Step::Complete),
        1 => pick().prop_map(Step::Expire),
        1 => (0u64..3).prop_map(Step::Account),
        3 => (pick(), prop_oneof![Just(200u16), Just(500), Just(301)])
            .prop_map(|(n, status)| Step::Deliver(n, status)),
        1 => Just(Step::Rotate),
        1 => prop_oneof![9 => Just(Step::Rotate), 1 => Just(Step::Reset)],
        5 => prop_oneof![0u64..300, 0u64..3000, Just(400_000), Just(3_700_000)].prop_map(Step::Pass),
    ]
}

/// What a sequence has begun.
#[derive(Default)]
struct Begun {
    jobs: Vec<RequestId>,
    files: Vec<String>,
    /// Base, query, and what was put there.
    uploads: Vec<(String, BTreeMap<u32, String>)>,
}

fn play(kept: &mut Kept, begun: &mut Begun, step: &Step) {
    let world = &mut kept.world;
    let job = |n: &usize| begun.jobs.get(n % begun.jobs.len().max(1)).copied();
    match step {
        Step::Submit { is_low, is_valid, has_timeout, has_hook, is_short } => {
            let prompt = if *is_short { "x".to_owned() } else { "y".repeat(1500) };
            let body = match is_valid {
                true => format!(r#"{{"prompt":"{prompt}","image_size":{{"width":9,"height":9}}}}"#),
                false => "[]".to_owned(),
            };
            let hook = if *has_hook { "?fal_webhook=http://127.0.0.1:9/x" } else { "" };
            let target = format!("/acme/app{hook}");
            let mut call = Call::post(&target, &body).with("x-fal-tags", "a");
            if *is_low {
                call = call.with("x-fal-queue-priority", "low");
            }
            if *has_timeout {
                call = call.with("x-fal-request-start-timeout", "1");
            }
            let id = world.submit(&call);
            assert!(!begun.jobs.contains(&id), "ids are unique");
            begun.jobs.push(id);
        }
        Step::Read(n) => {
            if let Some(id) = job(n) {
                world.result(id);
            }
        }
        Step::Cancel(n) => {
            if let Some(id) = job(n) {
                world.cancel(id);
            }
        }
        Step::Control(n, what) => {
            if let Some(request_id) = job(n) {
                let failure = Failure::request_error(StatusCode::BAD_GATEWAY, "odd", "why");
                world.control(match what {
                    0 => Control::Finish { request_id },
                    1 => Control::Fail { request_id, failure },
                    2 => Control::FailNext(failure),
                    _ => Control::Requeue { request_id },
                });
            }
        }
        Step::Upload { len, is_spooled, acl } => {
            let body = r#"{"content_type":"a/b","file_name":"f"}"#;
            let mut call = Call::post("/storage/upload/initiate", body).on(Host::Rest);
            if *acl {
                let wish = r#"{"expiration_duration_seconds":600,"initial_acl":{"default":"hide","rules":[{"user":"id","decision":"allow"}]}}"#;
                call = call.with("x-fal-object-lifecycle", wish);
            }
            let answer = json(&world.ask(&call));
            let path = |name: &str| path_of(&answer[name]);
            let content = Bytes::from(vec![*len as u8; *len]);
            let target = path("upload_url");
            let put = Call::put(&target).on(Host::Cdn);
            world.give(&put, |model, now, id, request| {
                let request = match is_spooled {
                    true => request.with_spooled(spooled(content)),
                    false => request.with_body(content),
                };
                model.handle_request(now, id, request);
            });
            begun.files.push(path("file_url"));
        }
        Step::Begin => {
            let body = r#"{"content_type":"a/b","file_name":"f"}"#;
            let call = Call::post("/storage/upload/initiate-multipart", body).on(Host::Rest);
            let answer = json(&world.ask(&call));
            begun.uploads.push((path_of(&answer["upload_url"]), BTreeMap::new()));
        }
        Step::Part { upload, number, len } => {
            let count = begun.uploads.len().max(1);
            if let Some((target, tags)) = begun.uploads.get_mut(upload % count) {
                let (base, query) = target.split_once('?').unwrap();
                let target = format!("{base}/{number}?{query}");
                let content = "p".repeat(*len);
                let put = Call::put(&target).on(Host::Cdn).with_body(&content);
                let answer = world.ask(&put);
                if answer.status() == StatusCode::OK {
                    let etag = json(&answer)["etag"].as_str().unwrap().to_owned();
                    tags.insert(*number, etag);
                }
            }
        }
        Step::Complete(n) => {
            if let Some((target, tags)) = begun.uploads.get(n % begun.uploads.len().max(1)) {
                let (base, query) = target.split_once('?').unwrap();
                let target = format!("{base}/complete?{query}");
                let listed: Vec<Value> = tags
                    .iter()
                    .map(|(number, etag)| serde_json::json!({"partNumber": number, "etag": etag}))
                    .collect();
                let body = serde_json::json!({ "parts": listed }).to_string();
                world.ask(&Call::post(&target, &body).on(Host::Cdn));
            }
        }
        Step::Expire(n) => {
            if let Some(path) = begun.files.get(n % begun.files.len().max(1)) {
                world.control(Control::ExpireFile { url: format!("https://v3.fal.media{path}") });
            }
        }
        Step::Account(seconds) => {
            let seconds = (*seconds > 0).then_some(seconds * 1000);
            let body = serde_json::json!({ "expiration_duration_seconds": seconds }).to_string();
            let call = Call::put("/v1/storage/settings").on(Host::Api).with_body(&body);
            world.ask(&call);
        }
        Step::Deliver(n, status) => {
            if let Some(letter) = world.letters.get(n % world.letters.len().max(1)) {
                let result = DeliveryResult::Answered(StatusCode::from_u16(*status).unwrap());
                let id = letter.id;
                world.model.handle_delivered(world.now, id, result);
                world.drain();
            }
        }
        Step::Rotate => drop(world.control(Control::RotateWebhookKey)),
        Step::Reset => {
            let keeping = world.model.unkeep();
            let (wall, now) = (world.model.wall(world.now), world.now);
            world.model = Model::new(world.model.config().clone(), now, wall);
            world.model.keep_anew(keeping);
            world.letters.clear();
            *begun = Begun::default();
            world.drain();
        }
        Step::Pass(ms) => {
            world.pass_ms(*ms);
            // As a shell does that moves a clock, whether something is due or not.
            world.model.handle_timeout(world.now);
            world.drain();
        }
    }
    kept.write();
}

fn path_of(url: &Value) -> String {
    url.as_str().unwrap().strip_prefix("https://v3.fal.media").unwrap().to_owned()
}

/// All that can be seen of what is over, and of files and deliveries.
#[derive(Debug, PartialEq)]
struct Seen {
    finished: Vec<String>,
    files: Vec<String>,
    deliveries: Vec<String>,
    keys: Vec<[u8; 32]>,
}

fn seen(world: &mut World, of: &[RequestId]) -> Seen {
    let mut finished = Vec::new();
    for id in of {
        let detail = world.model.job_detail(*id, &Door::Direct);
        finished.push(format!("{:?} {:?}", detail, world.model.job(*id)));
        world.result(*id);
    }
    let mut files = Vec::new();
    for view in world.model.files(&Door::Direct) {
        // The length of what a model made is known once it is encoded.
        let path = path_of(&view.url.clone().into());
        let content = world.ask(&Call::get(&path).on(Host::Cdn));
        let (body, acl, until) = (content.body(), &view.acl, view.expires_at);
        let parts = (&view.parts, view.is_complete);
        files.push(format!("{path} {} {parts:?} {acl:?} {until:?} {body:?}", view.content_type));
    }
    let deliveries = world.model.deliveries();
    let deliveries = deliveries.iter().map(|one| format!("{one:?}")).collect();
    Seen { finished, files, deliveries, keys: world.model.webhook_keys() }
}

fn with_state(world: &World, is: impl Fn(JobState) -> bool) -> Vec<RequestId> {
    let jobs = world.model.jobs();
    jobs.into_iter().filter(|job| is(job.state)).map(|job| job.request_id).collect()
}

fn is_over(state: JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed)
}

fn config() -> impl Strategy<Value = Config> {
    let limits = prop_oneof![3 => Just((500, 1 << 20)), 1 => Just((6, 20_000))];
    (any::<u64>(), proptest::option::of(1usize..3), limits, any::<bool>()).prop_map(
        |(seed, runners, (jobs_max, store_bytes_max), instant)| Config {
            seed,
            runners,
            jobs_max,
            store_bytes_max,
            instant,
            spool_bytes_max: 1000,
            ..Config::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_goes_on_as_it_was(
        config in config(),
        steps in proptest::collection::vec(step(), 1..60),
        later in prop_oneof![Just(0u64), Just(200), Just(1_000), Just(3_500)],
    ) {
        let mut kept = Kept::new(config.clone());
        let mut begun = Begun::default();
        for step in &steps {
            play(&mut kept, &mut begun, step);
        }
        let shelf = kept.shelf.clone();
        let mut world = kept.world;
        let mut other = shelf.restore(&config, Duration::ZERO);

        // The same jobs are there. Those that waited or ran wait, in their order; runs that were lost are counted.
        let ids = |world: &World| with_state(world, |_| true);
        prop_assert_eq!(ids(&world), ids(&other));
        let over = with_state(&world, is_over);
        for job in world.model.jobs() {
            let now = other.model.job(job.request_id).unwrap();
            match job.state {
                JobState::Queued => prop_assert!(now.attempts == job.attempts || config.queue_time.is_zero()),
                JobState::Running if now.state == JobState::Queued => {
                    prop_assert_eq!(now.attempts, job.attempts);
                }
                JobState::Running => prop_assert_eq!(now.state, JobState::Failed),
                _ => prop_assert_eq!(now.state, job.state),
            }
        }
        // Deliveries that were under way count as failed, the others are as they were.
        for (before, after) in world.model.deliveries().iter().zip(other.model.deliveries()) {
            prop_assert_eq!((&before.body, before.request_id), (&after.body, after.request_id));
            if before.state == DeliveryState::InFlight {
                prop_assert!(matches!(after.state, DeliveryState::Resting | DeliveryState::GivenUp));
                prop_assert_eq!(before.attempts.len(), after.attempts.len());
            } else {
                prop_assert_eq!(before, &after);
            }
        }

        // A whole dump of a service says the same as all that was written on the way.
        let keeping = other.model.unkeep();
        other.model.keep_anew(keeping);
        let mut dump = Shelf::default();
        dump.apply(other.model.take_writes(SystemTime::UNIX_EPOCH, true).unwrap());
        let mut third = dump.restore(&config, Duration::ZERO);
        prop_assert_eq!(ids(&other), ids(&third));

        // Finished jobs have the same results and logs, and files the same bytes, as long as they are kept.
        let (first, second) = (seen(&mut world, &over), seen(&mut other, &over));
        let third = seen(&mut third, &over);
        prop_assert_eq!(&first.finished, &second.finished);
        prop_assert_eq!(&first.finished, &third.finished);
        prop_assert_eq!(&first.keys, &second.keys);
        if config.store_bytes_max > 100_000 {
            // Where room is scarce, reading results pushes out what is old, which differs with what is known.
            prop_assert_eq!(&first.files, &second.files);
            prop_assert_eq!(&first.files, &third.files);
        }
        world.pass(Duration::from_secs(later));
        other.pass(Duration::from_secs(later));
        let left = |world: &World| -> Vec<RequestId> {
            over.iter().copied().filter(|id| world.model.job(*id).is_some()).collect()
        };
        if config.jobs_max > 100 && config.store_bytes_max > 100_000 {
            prop_assert_eq!(left(&world), left(&other));
        }

        // Another start gives out other ids.
        let id = other.submit(&submit());
        prop_assert!(!begun.jobs.contains(&id));
        let unfinished = with_state(&other, |state| !is_over(state));
        other.pass(Duration::from_secs(100));
        for id in unfinished {
            prop_assert!(other.model.job(id).is_none_or(|job| is_over(job.state)));
        }
    }
}

#[test]
fn nothing_is_noted_while_nobody_keeps_it() {
    let mut world = World::new(Config::default());
    world.submit(&submit());
    world.pass_ms(5000);
    let model = &mut world.model;
    assert!(model.take_writes(SystemTime::UNIX_EPOCH, true).is_none());
    assert!(model.keeping.is_none() && model.jobs.log.is_none());
    assert!(model.files.log.is_none() && model.deliveries.log.is_none());
    assert!(model.unkeep().is_none());
}

#[test]
fn a_lost_run_counts_until_no_attempt_is_left() {
    let config = Config::default();
    let mut kept = Kept::new(config.clone());
    let id = kept.world.submit(&submit());
    kept.write();
    let mut shelf = kept.shelf;
    for attempt in 1..=ATTEMPTS_MAX {
        let world = shelf.restore(&config, Duration::ZERO);
        let mut kept = Kept { world, shelf };
        kept.world.pass(config.queue_time);
        kept.write();
        let job = kept.world.model.job(id).unwrap();
        assert_eq!((job.state, job.attempts), (JobState::Running, attempt));
        shelf = kept.shelf;
    }
    let mut world = shelf.restore(&config, Duration::ZERO);
    let (_, status) = world.status(id);
    assert_eq!(status["error_type"], "runner_disconnected", "{status}");
}

#[test]
fn time_that_passed_meanwhile_counts() {
    let config = Config::default();
    let mut kept = Kept::new(config.clone());
    let done = kept.world.submit(&submit());
    kept.world.pass_ms(1500);
    let late = kept.world.submit(&submit().with("x-fal-request-start-timeout", "60"));
    kept.write();
    let mut soon = kept.shelf.restore(&config, Duration::from_secs(3000));
    assert_eq!(soon.status(done).1["status"], "COMPLETED");
    assert_eq!(soon.status(late).1["error_type"], "request_timeout");
    let after = kept.shelf.restore(&config, Duration::from_secs(3600));
    assert!(after.model.job(done).is_none(), "its hour is over");
}

#[test]
fn what_cannot_be_kept_is_taken_back() {
    let mut kept = Kept::new(Config { runners: Some(1), ..Config::default() });
    let first = kept.world.submit(&submit());
    kept.write();
    kept.world.pass_ms(300);
    kept.shelf.accepted.clear();
    let second = kept.world.submit(&submit());
    kept.write();
    assert_eq!(kept.shelf.accepted, [Accepted::Job(second)]);
    for (id, other) in [(second, first), (first, second)] {
        kept.world.model.forget(kept.world.now, Accepted::Job(id));
        kept.world.drain();
        assert_eq!(kept.world.model.job(id).map(|job| job.request_id), None);
        assert_eq!(kept.world.model.job(other).is_some(), other == first && id == second);
    }
    kept.write();
    assert!(!kept.shelf.rows.keys().any(|(table, _)| *table == Table::Jobs));
    let third = kept.world.submit(&submit());
    kept.world.pass_ms(1500);
    assert_eq!(kept.world.status(third).1["status"], "COMPLETED", "its runner is free");
}

/// Else a new upload could take the place of one that a row still names.
#[test]
fn bodies_of_a_service_that_is_over_stay_until_their_rows_are_void() {
    let mut kept = Kept::new(Config::default());
    let upload = Step::Upload { len: 5, is_spooled: true, acl: false };
    play(&mut kept, &mut Begun::default(), &upload);
    kept.write();
    let mut model = Model::new(Config::default(), kept.world.now, SystemTime::UNIX_EPOCH);
    model.keep_anew(kept.world.model.unkeep());
    let mut freed = |real| model.take_writes(real, true).expect("somebody keeps it").freed;
    assert_eq!(freed(SystemTime::UNIX_EPOCH).len(), 1);
    assert_eq!(freed(SystemTime::UNIX_EPOCH).len(), 0);

    let mut kept = Kept::new(Config::default());
    play(&mut kept, &mut Begun::default(), &upload);
    kept.write();
    assert_eq!(kept.world.model.into_named().len(), 1);
}

#[test]
fn rows_that_say_nothing_are_told() {
    let mut kept = Kept::new(Config::default());
    kept.world.submit(&submit());
    kept.write();
    let whole = kept.shelf.rows;
    for (key, row) in &whole {
        for bad in [row.slice(..row.len() / 2), [&row[..], b"x"].concat().into()] {
            // Behind the fields of a job follows its input, whatever that is.
            if key.0 == Table::Jobs && bad.len() > row.len() {
                continue;
            }
            let mut rows = Rows::default();
            for (other, row) in &whole {
                rows.add(other.0, other.1, if other == key { bad.clone() } else { row.clone() });
            }
            let (now, config) = (Instant::now(), Config::default());
            let epoch = (now, SystemTime::UNIX_EPOCH);
            let restored = Model::restore(config, now, epoch, rows, &mut |_| None);
            let told = restored.map(drop).unwrap_err();
            assert_eq!((told.table, told.key), *key);
        }
    }
}
