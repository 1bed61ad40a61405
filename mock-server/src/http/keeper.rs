//! Writes down what changes in the worlds, and holds back what would tell of it before it is safe.
//!
//! Changes are gathered under the lock of the worlds, after every input, into one pending batch. One thread takes it,
//! applies it to the store, and lets go what waited for it; meanwhile the next one fills. So no request waits for more
//! than two batches, none has one of its own under load, and no lock is held while anything is written.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::sync::oneshot;

use super::json;
use super::shared::{Own, Shared, State};
use super::spool::Spool;
use crate::model::keep::{BadRow, MARKS, Rows, Table};
use crate::model::{Config, Output, RequestId, TenantId};
use crate::state::{Batch, FileStore, StateError, Store, Why, read_place, spool_path};
use crate::world::{ClockMode, Settings, Start, World, Worlds};

/// What has yet to be written down, and what waits for that.
pub(crate) struct Pending {
    batch: Batch,
    /// The number of that batch.
    number: u64,
    /// The number of the last batch that is safe.
    safe: u64,
    /// Whether somebody waits for it.
    is_urgent: bool,
    is_closing: bool,
    /// In the order in which they were said.
    held: VecDeque<Held>,
    /// Jobs whose last news is not safe, and the batch that it is in.
    fresh: HashMap<(TenantId, RequestId), u64>,
    /// While outputs are being taken: what they wait for.
    turn: Option<Turn>,
    /// Wakes the writer.
    wake: Arc<Condvar>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("number", &self.number).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Turn {
    /// The batch that must be safe before anything is said.
    wait: Option<u64>,
    /// Whether that batch takes something in, which is undone if it cannot be written.
    is_acceptance: bool,
}

struct Held {
    batch: u64,
    what: What,
}

enum What {
    Said { whose: (TenantId, u32), is_acceptance: bool, output: Box<Output> },
    Signal(oneshot::Sender<()>),
}

impl Pending {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            batch: Batch::default(),
            number: 1,
            safe: 0,
            is_urgent: false,
            is_closing: false,
            held: VecDeque::new(),
            fresh: HashMap::new(),
            turn: None,
            wake: Arc::new(Condvar::new()),
        })
    }

    /// Takes what has changed in a world. Returns what whoever caused it has to wait for.
    fn gather(&mut self, tenant: TenantId, world: &mut World) -> Turn {
        let idle = Turn { wait: None, is_acceptance: false };
        let Some(writes) = world.take_writes(SystemTime::now()) else { return idle };
        let asked = writes.about.and_then(|id| self.fresh.get(&(tenant, id))).copied();
        // How time stands is told by everything anyhow, and nobody is told by it alone.
        let is_told = writes.rows.iter().any(|(key, _)| *key != (Table::Marks, MARKS));
        let wait = if is_told { Some(self.number) } else { asked };
        let is_acceptance = !writes.accepted.is_empty();
        if !writes.rows.is_empty() || writes.is_anew {
            self.wake_if_idle();
            for id in &writes.moved {
                self.fresh.insert((tenant, *id), self.number);
            }
            self.batch.add(tenant, writes);
        }
        Turn { wait, is_acceptance }
    }

    fn gather_requests(&mut self, tenant: TenantId, world: &mut World) {
        let (rows, first) = world.take_entries();
        if !rows.is_empty() || first.is_some() {
            self.wake_if_idle();
            self.batch.add_requests(tenant, rows, first);
        }
    }

    fn wake_if_idle(&self) {
        if self.batch.is_empty() {
            self.wake.notify_one();
        }
    }

    /// The next thing that waits for no later batch.
    fn next_held(&mut self, number: u64) -> Option<Held> {
        self.held.front().filter(|held| held.batch <= number)?;
        self.held.pop_front()
    }

    fn hold(&mut self, batch: u64, what: What) {
        self.held.push_back(Held { batch, what });
        if batch == self.number && !mem::replace(&mut self.is_urgent, true) {
            self.wake.notify_one();
        }
    }
}

impl State {
    /// What a world says next, as far as it may be said: what tells of changes that are not safe comes later.
    pub(super) fn next_output(&mut self, tenant: TenantId, own: Option<&mut Own>) -> Output {
        let Some(kept) = self.kept.as_mut() else { return self.worlds.poll_output(tenant) };
        let Some(world) = self.worlds.get_mut(tenant) else { return Output::Wait { until: None } };
        let whose = (tenant, world.generation());
        let turn = match kept.turn {
            Some(turn) => turn,
            None => kept.gather(tenant, world),
        };
        kept.turn = Some(turn);
        let own_id = own.as_ref().map(|own| own.id);
        let mut own = own;
        loop {
            let output = self.worlds.poll_output(tenant);
            let is_own = match &output {
                Output::Wait { .. } => {
                    kept.turn = None;
                    if let Some(world) = self.worlds.get_mut(tenant) {
                        kept.gather_requests(tenant, world);
                    }
                    return output;
                }
                Output::Reply { id, .. } => own_id == Some(*id),
                // Whoever is cut is told nothing.
                Output::Cut { id } | Output::Reset { id } if own_id == Some(*id) => return output,
                Output::Event { .. }
                | Output::End { .. }
                | Output::Cut { .. }
                | Output::Reset { .. }
                | Output::Release { .. }
                | Output::Deliver { .. } => false,
                // Files are at hand, and sessions and what begins are nothing that is kept.
                _ => return output,
            };
            // What others wait for stays in order.
            let after = kept.held.back().map(|held| held.batch).filter(|_| !is_own);
            let Some(batch) = turn.wait.max(after).filter(|batch| *batch > kept.safe) else {
                return output;
            };
            if is_own && let Some(own) = own.as_mut() {
                own.is_held = true;
            }
            let is_acceptance = turn.is_acceptance && is_own;
            let output = Box::new(output);
            kept.hold(batch, What::Said { whose, is_acceptance, output });
        }
    }

    /// Writes down what stands beside the worlds' inputs.
    pub(super) fn gather_requests(&mut self, tenant: TenantId) {
        if let (Some(kept), Some(world)) = (&mut self.kept, self.worlds.get_mut(tenant)) {
            kept.gather_requests(tenant, world);
        }
    }

    /// Writes down a tenant who was made with these settings.
    pub(super) fn keep_tenant(&mut self, tenant: TenantId, settings: &Settings) {
        let Some(kept) = self.kept.as_mut() else { return };
        let last = self.worlds.last_row();
        let Some(world) = self.worlds.get_mut(tenant) else { return };
        world.keep();
        kept.wake_if_idle();
        kept.batch.add_tenant(TenantId::FIRST, last);
        if let Some(row) = world.tenant_row(settings) {
            kept.batch.add_tenant(tenant, row);
        }
        kept.gather(tenant, world);
    }

    /// Writes down that a tenant has ended.
    pub(super) fn end_tenant(&mut self, tenant: TenantId, world: World) {
        let Some(kept) = self.kept.as_mut() else { return };
        kept.wake_if_idle();
        kept.batch.end_tenant(tenant, world.model.into_named());
    }

    /// Says what was held back.
    fn say_held(&mut self, whose: (TenantId, u32), output: Output) {
        // A delivery of a service that is no more is nobody's.
        if !matches!(output, Output::Deliver { .. }) || whose == self.whose(whose.0) {
            self.hand_out(whose.0, output, None);
        }
    }

    /// A batch is safe: what waited for it may be said.
    fn written(&mut self, number: u64) {
        let Some(kept) = self.kept.as_mut() else { return };
        kept.safe = number;
        kept.fresh.retain(|_, batch| *batch > number);
        while let Some(held) = self.kept.as_mut().and_then(|kept| kept.next_held(number)) {
            match held.what {
                What::Said { whose, output, .. } => self.say_held(whose, *output),
                // Who has gone does not wait any more.
                What::Signal(sender) => drop(sender.send(())),
            }
        }
    }

    /// A batch could not be written: it is tried again with the next one, but what it took in is undone, and its owners
    /// are told so. What was taken in before is there, and told as ever. Returns whether the alarm moved to earlier.
    fn unwritten(&mut self, mut failed: Batch, number: u64, error: &StateError) -> bool {
        let accepted = mem::take(&mut failed.accepted);
        let Some(kept) = self.kept.as_mut() else { return false };
        kept.batch.put_before(failed);
        let mut still_held = VecDeque::new();
        let next = kept.number;
        while let Some(held) = self.kept.as_mut().and_then(|kept| kept.next_held(number)) {
            match held.what {
                What::Said { whose, is_acceptance: true, output } => {
                    if let Output::Reply { id, .. } = *output {
                        let response = refusal(error);
                        self.say_held(whose, Output::Reply { id, response });
                    }
                }
                What::Said { whose, output, .. } if matches!(*output, Output::Deliver { .. }) => {
                    let what = What::Said { whose, is_acceptance: false, output };
                    still_held.push_back(Held { batch: next, what });
                }
                What::Said { whose, output, .. } => self.say_held(whose, *output),
                What::Signal(sender) => drop(sender.send(())),
            }
        }
        if let Some(kept) = self.kept.as_mut() {
            still_held.append(&mut kept.held);
            kept.held = still_held;
        }
        let mut is_earlier = false;
        for (tenant, one) in accepted {
            let Some(world) = self.worlds.get_mut(tenant) else { continue };
            let now = world.clock.at(super::shared::now());
            world.model.forget(now, one);
            is_earlier |= self.drain(tenant, None);
        }
        is_earlier
    }
}

/// What the owner of something is told that could not be kept.
fn refusal(error: &StateError) -> crate::model::Response {
    let status = match error.is_full() {
        true => StatusCode::INSUFFICIENT_STORAGE,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json(status, &format!("fal-mock cannot keep this, and has not taken it: {error}"))
}

impl Shared {
    /// Returns once all that has changed so far is safe, or could not be made so.
    pub(crate) async fn settled(&self) {
        let receiver = {
            let mut state = self.lock();
            let Some(kept) = state.kept.as_mut() else { return };
            let batch = match kept.batch.has_state {
                true => kept.number,
                false => kept.number - 1,
            };
            if batch <= kept.safe {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            kept.hold(batch, What::Signal(sender));
            receiver
        };
        // Without a writer the mock is being dropped.
        let _ = receiver.await;
    }

    /// The next batch and its number; `None` when all is written and no more will come.
    fn next_batch(&self, wake: &Condvar, is_failing: bool) -> Option<(Batch, u64)> {
        let mut state = self.lock();
        let mut has_rested = false;
        loop {
            let kept = state.kept.as_mut()?;
            let is_due = kept.is_urgent || kept.is_closing || has_rested;
            if kept.is_closing && (is_failing || kept.batch.is_empty()) {
                return None;
            }
            if !kept.batch.is_empty() && is_due {
                kept.is_urgent = false;
                kept.number += 1;
                return Some((mem::take(&mut kept.batch), kept.number - 1));
            }
            let rest = if is_failing { RETRY_REST } else { GATHER_TIME };
            (state, has_rested) = match kept.batch.is_empty() {
                true => (wait(wake, state), false),
                false => wait_for(wake, state, rest),
            };
        }
    }

    /// Writes until the end.
    fn write_all(&self, store: &mut dyn Store, wake: &Condvar) {
        let mut is_failing = false;
        while let Some((batch, number)) = self.next_batch(wake, is_failing) {
            let synced = if batch.names_spooled() { self.spool().sync() } else { Ok(()) };
            let path = self.spool().path();
            let synced = synced.map_err(|error| StateError::new(&path, Why::Io(error)));
            let written = synced.and_then(|()| store.apply(&batch));
            is_failing = written.is_err();
            let mut state = self.lock();
            match written {
                Ok(()) => {
                    state.written(number);
                    drop(state);
                    // Outside of the lock: places of bodies that are gone are given back now.
                    drop(batch);
                }
                Err(error) => {
                    let is_earlier = state.unwritten(batch, number, &error);
                    drop(state);
                    self.wake(is_earlier);
                }
            }
        }
    }
}

fn wait<'a>(wake: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    wake.wait(state).unwrap_or_else(PoisonError::into_inner)
}

/// Also returns whether all of the time has passed.
fn wait_for<'a>(
    wake: &Condvar,
    state: MutexGuard<'a, State>,
    time: Duration,
) -> (MutexGuard<'a, State>, bool) {
    let (state, result) = wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
    (state, result.timed_out())
}

/// Writes until it is dropped, which waits until all is written.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    wake: Arc<Condvar>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Begins to write down what changes from now on.
    pub(crate) fn start(shared: &Arc<Shared>, mut store: Box<dyn Store>) -> std::io::Result<Self> {
        let pending = Pending::new();
        let wake = Arc::clone(&pending.wake);
        shared.lock().kept = Some(pending);
        let (writer, woken) = (Arc::clone(shared), Arc::clone(&wake));
        let thread = std::thread::Builder::new()
            .name("fal-mock-state".to_owned())
            .spawn(move || writer.write_all(&mut *store, &woken))?;
        shared.spool().thaw();
        Ok(Self { shared: Arc::clone(shared), wake, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(kept) = &mut self.shared.lock().kept {
            kept.is_closing = true;
        }
        self.wake.notify_one();
        // A writer that panicked has written all that it could.
        let _ = self.thread.take().map(JoinHandle::join);
        // Nothing more is written down, so the bodies that the safe rows name stay where they are.
        self.shared.spool().freeze();
        // What it holds of the store is gone with it, and nothing more is gathered.
        self.shared.lock().kept = None;
    }
}

/// A state that is there, or begins.
pub(crate) struct Begun {
    pub(crate) worlds: Worlds,
    pub(crate) spool: Arc<Spool>,
    pub(crate) store: Box<dyn Store>,
}

/// Opens the state in a file and goes on with it, or begins one. `start.wall` is what a new one begins with.
pub(crate) fn begin(
    path: &Path,
    config: Config,
    mode: ClockMode,
    start: Start,
) -> Result<Begun, StateError> {
    let mut store = FileStore::open(path)?;
    let spool = Spool::kept(spool_path(path), config.spool_bytes_max);
    let fail = |path: &Path, error| StateError::new(path, Why::Io(error));
    spool.open().map_err(|error| fail(&spool_path(path), error))?;
    let rows = store.read()?;
    let mut worlds = match rows.is_empty() {
        true => {
            let mut worlds = Worlds::new(config, mode, start);
            worlds.get_mut(TenantId::FIRST).map(World::keep);
            worlds
        }
        false => {
            let bad = BadRow { table: Table::Marks, key: MARKS };
            let marks = rows.get(&TenantId::FIRST).map_or(Err(bad), Rows::marks);
            let marks = marks.map_err(|row| StateError::bad_row(path, row))?;
            if marks.seed != config.seed {
                return Err(StateError::new(path, Why::Seed(marks.seed)));
            }
            let start = Start { wall: SystemTime::now(), ..start };
            let mut open = |row: &bytes::Bytes| {
                let place = read_place(row)?;
                spool.adopt(place.len, place.digest, &place.runs)
            };
            Worlds::restored(config, mode, start, rows, &mut open)
                .map_err(|row| StateError::bad_row(path, row))?
        }
    };
    spool.settle().map_err(|error| fail(&spool_path(path), error))?;
    // How often it was started, and who waits again, is safe before anybody asks.
    let mut batch = Batch::default();
    for tenant in worlds.ids() {
        let world = worlds.get_mut(tenant);
        if let Some(writes) = world.and_then(|world| world.take_writes(SystemTime::now())) {
            batch.add(tenant, writes);
        }
    }
    store.apply(&batch)?;
    Ok(Begun { worlds, spool, store: Box::new(store) })
}

/// What nobody waits for is gathered for so long: requests that change nothing.
const GATHER_TIME: Duration = Duration::from_millis(50);

/// Until what could not be written is tried again, unless somebody waits.
const RETRY_REST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::{HeaderMap, HeaderValue, Method};

    use super::super::shared::Answer;
    use super::super::{Gate, Limits};
    use super::*;
    use crate::model::{Host, Request};
    use crate::state::RowKey;

    /// A disk that is full now and then.
    #[derive(Clone, Default)]
    struct Disk {
        is_full: Arc<AtomicBool>,
        rows: Arc<Mutex<Vec<RowKey>>>,
    }

    impl Disk {
        /// Whose jobs are on it.
        fn jobs(&self) -> Vec<TenantId> {
            let rows = self.rows.lock().unwrap();
            let jobs = rows.iter().filter(|(table, ..)| *table == Table::Jobs);
            jobs.map(|(_, tenant, _)| *tenant).collect()
        }
    }

    impl Store for Disk {
        fn read(&mut self) -> Result<BTreeMap<TenantId, Rows>, StateError> {
            Ok(BTreeMap::new())
        }

        fn apply(&mut self, batch: &Batch) -> Result<(), StateError> {
            if self.is_full.load(Ordering::Relaxed) {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(StateError::new(Path::new("state"), Why::Io(full)));
            }
            let mut rows = self.rows.lock().unwrap();
            rows.retain(|(_, tenant, _)| !batch.ended.contains(tenant));
            for (key, row) in &batch.rows {
                rows.retain(|other| other != key);
                rows.extend(row.as_ref().map(|_| *key));
            }
            Ok(())
        }
    }

    async fn submit(shared: &Arc<Shared>, key: &str) -> StatusCode {
        let value = HeaderValue::try_from(format!("Key {key}")).unwrap();
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        let mut request = Request::new(&Method::POST, Host::Queue, "/acme/app", &headers);
        request.body = "{}".into();
        match shared.exchange(request) {
            Answer::Later(answer) => answer.await.unwrap().status(),
            Answer::Now(_) | Answer::Over(_) => panic!("it is told before it is safe"),
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_refused_whoever_it_is_from() {
        let start = Start { real: super::super::shared::now(), wall: SystemTime::UNIX_EPOCH };
        let mut worlds = Worlds::new(Config::default(), ClockMode::Real, start);
        worlds.get_mut(TenantId::FIRST).map(World::keep);
        let limits = Limits { body_bytes: 1 << 10, upload_bytes: 1 << 10, message_bytes: 1 << 10 };
        let spool = Spool::new(std::env::temp_dir(), 0);
        let gate = Gate::new(None, false).unwrap();
        let (shared, _letters, _orders) =
            Shared::new(worlds, limits, "127.0.0.1:1".to_owned(), gate, spool);
        let disk = Disk::default();
        let keeper = Keeper::start(&shared, Box::new(disk.clone())).unwrap();
        let (tenant, key) = shared.add_tenant(&Settings::default()).unwrap();
        shared.settled().await;

        disk.is_full.store(true, Ordering::Relaxed);
        for key in ["id:secret", &*key] {
            assert_eq!(submit(&shared, key).await, StatusCode::INSUFFICIENT_STORAGE);
        }
        let count = |of| shared.with_model(of, |model, _| model.job_count());
        assert_eq!((count(TenantId::FIRST), count(tenant)), (Some(0), Some(0)));

        disk.is_full.store(false, Ordering::Relaxed);
        for key in ["id:secret", &*key] {
            assert_eq!(submit(&shared, key).await, StatusCode::OK);
        }
        assert_eq!(disk.jobs(), [TenantId::FIRST, tenant]);
        shared.end_tenant(tenant);
        shared.settled().await;
        assert_eq!(disk.jobs(), [TenantId::FIRST]);
        drop(keeper);
    }
}
