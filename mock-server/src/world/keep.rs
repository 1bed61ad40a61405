//! A world that is written down, and one that goes on with what was.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;

use super::journal::{Entry, JournalLog, Message};
use super::{ClockMode, Journal, Settings, Start, World, Worlds};
use crate::model::keep::code::{Field, read, row, write};
use crate::model::keep::{BadRow, Keeping, REQUESTS, Rows, Table, Value, Write, Writes};
use crate::model::{Config, KeyDigest, KeyPrint, Model, Spooled, TenantId};

/// A request as it is written down; the start of the answer's body follows.
struct EntryRow {
    at: SystemTime,
    took: Option<Duration>,
    method: Box<str>,
    host: Box<str>,
    path: Box<str>,
    query: Box<str>,
    request_headers: Box<[u8]>,
    request_body: Box<[u8]>,
    request_body_len: u64,
    status: u16,
    response_headers: Box<[u8]>,
    response_body_len: u64,
}

row!(EntryRow {
    at,
    took,
    method,
    host,
    path,
    query,
    request_headers,
    request_body,
    request_body_len,
    status,
    response_headers,
    response_body_len,
});

/// A tenant, as it was made.
struct TenantRow {
    name: Box<str>,
    key_id: Box<str>,
    key_digest: KeyDigest,
    seed: Option<u64>,
    clock: Option<Box<str>>,
    queue_time: Option<Duration>,
    run_time: Option<Duration>,
    runners: Option<u64>,
    instant: Option<bool>,
}

row!(TenantRow { name, key_id, key_digest, seed, clock, queue_time, run_time, runners, instant });

impl TenantRow {
    fn settings(&self) -> Option<Settings> {
        Some(Settings {
            seed: self.seed,
            clock: self.clock.as_ref().map(|mode| mode.parse()).transpose().ok()?,
            queue_time: self.queue_time,
            run_time: self.run_time,
            runners: self.runners.map(|runners| runners.try_into().unwrap_or(usize::MAX)),
            instant: self.instant,
            // The one has its own place, the others are over.
            name: None,
            key: None,
            start: None,
        })
    }
}

impl World {
    /// The row of a tenant that was made with these settings; `None` for the first one, who is made by none.
    pub(crate) fn tenant_row(&self, settings: &Settings) -> Option<Value> {
        let key = self.model.config().own_key.as_ref()?;
        let row = TenantRow {
            name: self.name.clone(),
            key_id: key.id.clone(),
            key_digest: key.digest,
            seed: settings.seed,
            clock: settings.clock.map(|mode| mode.to_string().into()),
            queue_time: settings.queue_time,
            run_time: settings.run_time,
            runners: settings.runners.map(|runners| runners as u64),
            instant: settings.instant,
        };
        Some(Value::Bytes(write(&row), Bytes::new()))
    }

    /// Begins to note what changes.
    pub(crate) fn keep(&mut self) {
        self.model.keep_anew(Some(Keeping::new(0)));
        self.journal.log = Some(JournalLog::default());
    }

    /// What has changed in the service; `None` if nobody keeps it.
    pub(crate) fn take_writes(&mut self, real: SystemTime) -> Option<Writes> {
        let is_virtual = self.clock.is_frozen()
            || matches!(self.clock.mode(), ClockMode::Virtual | ClockMode::Auto);
        self.model.take_writes(real, is_virtual)
    }

    /// The requests that have changed. Also returns the number below which all are gone, if that is news.
    pub(crate) fn take_entries(&mut self) -> (Vec<Write>, Option<u64>) {
        let first = self.journal.first();
        let total = self.journal.total();
        let Some(log) = self.journal.log.as_mut() else { return (Vec::new(), None) };
        let before = std::mem::replace(&mut log.first, first);
        let touched = std::mem::take(&mut log.touched);
        let mut rows = Vec::with_capacity(touched.len());
        for number in touched {
            let Some(entry) = self.journal.get(number) else { continue };
            let body = Bytes::copy_from_slice(entry.response.body);
            let value = Value::Bytes(entry_row(&entry), body);
            rows.push(((Table::Journal, u128::from(number)), Some(value)));
        }
        let is_news = before != first;
        if is_news && first > total {
            // Nothing is left that says where numbers stand.
            let value = Value::Bytes(write(&total), Bytes::new());
            rows.push(((Table::Marks, REQUESTS), Some(value)));
        }
        (rows, is_news.then_some(first))
    }
}

fn entry_row(entry: &Entry<'_>) -> Vec<u8> {
    write(&EntryRow {
        at: entry.at,
        took: entry.took,
        method: entry.method.as_str().into(),
        host: entry.host.into(),
        path: entry.path.into(),
        query: entry.query.into(),
        request_headers: entry.request.headers.into(),
        request_body: entry.request.body.into(),
        request_body_len: entry.request.body_len,
        status: entry.status,
        response_headers: entry.response.headers.into(),
        response_body_len: entry.response.body_len,
    })
}

fn read_entry(number: u64, row: &[u8], journal: &mut Journal) -> Option<()> {
    let mut body = row;
    let fields = EntryRow::take(&mut body)?;
    let method = Method::from_bytes(fields.method.as_bytes()).ok()?;
    journal.restore(Entry {
        number,
        at: fields.at,
        took: fields.took,
        method: &method,
        host: &fields.host,
        path: &fields.path,
        query: &fields.query,
        request: Message {
            headers: &fields.request_headers,
            body: &fields.request_body,
            body_len: fields.request_body_len,
        },
        status: fields.status,
        // Whoever waited for an answer has lost it with the process.
        is_cut: fields.status == 0,
        response: Message {
            headers: &fields.response_headers,
            body,
            body_len: fields.response_body_len,
        },
    });
    Some(())
}

impl Worlds {
    /// All worlds go on with what rows say: their time has passed meanwhile as their clocks say, from where it stood.
    /// `open` finds bodies that the shell keeps.
    pub(crate) fn restored(
        config: Config,
        mode: ClockMode,
        start: Start,
        rows: BTreeMap<TenantId, Rows>,
        open: &mut dyn FnMut(&Bytes) -> Option<Spooled>,
    ) -> Result<Self, BadRow> {
        let mut worlds = Self::new(config, mode, start);
        for (tenant, mut rows) in rows {
            let row = rows.take_one(Table::Tenants, TENANT);
            let bad = BadRow { table: Table::Tenants, key: TENANT };
            let world = if tenant == TenantId::FIRST {
                let last = row.map(|row| read(&row).and_then(TenantId::new).ok_or(bad));
                worlds.last = last.transpose()?.unwrap_or_default();
                worlds.all.get_mut(&tenant).ok_or(bad)?
            } else {
                let row: TenantRow = row.and_then(|row| read(&row)).ok_or(bad)?;
                let settings = row.settings().ok_or(bad)?;
                let key = KeyPrint { id: row.key_id, digest: row.key_digest };
                worlds.last = worlds.last.max(tenant);
                worlds.begin(tenant, &row.name, key, &settings, start)
            };
            world.restore(start, rows, open)?;
        }
        Ok(worlds)
    }

    /// The row that says which tenant was made last, so that no later one has the same number.
    pub(crate) fn last_row(&self) -> Value {
        Value::Bytes(write(&self.last.number()), Bytes::new())
    }
}

impl World {
    fn restore(
        &mut self,
        start: Start,
        mut rows: Rows,
        open: &mut dyn FnMut(&Bytes) -> Option<Spooled>,
    ) -> Result<(), BadRow> {
        let marks = rows.marks()?;
        // Instants before this process cannot be relied upon, so the very first start is put here and everything
        // else after it.
        let stood = marks.wall.duration_since(marks.origin).unwrap_or_default();
        let stood = start.real.checked_add(stood).unwrap_or(start.real);
        let apart = start.wall.duration_since(marks.real).unwrap_or_default();
        self.clock.set(start.real, stood);
        let now = start.real.checked_add(apart).map_or(stood, |real| self.clock.at(real));
        self.clock.set(start.real, now);

        let last = rows.take_one(Table::Marks, REQUESTS).and_then(|row| read::<u64>(&row));
        let rows_of_requests = rows.take(Table::Journal);
        // Numbers have no gaps; before one that a damaged end has left, nothing can be found.
        let mut first = 0;
        for (before, after) in rows_of_requests.keys().zip(rows_of_requests.keys().skip(1)) {
            if before + 1 != *after {
                first = *after;
            }
        }
        for (key, row) in rows_of_requests.range(first..) {
            let bad = BadRow { table: Table::Journal, key: *key };
            let number = u64::try_from(*key).map_err(|_| bad)?;
            read_entry(number, row, &mut self.journal).ok_or(bad)?;
        }
        self.journal.go_on_after(last.unwrap_or_default());
        self.journal.log = Some(JournalLog::default());
        let epoch = (start.real, marks.origin);
        self.model = Model::restore(self.model.config().clone(), now, epoch, rows, open)?;
        Ok(())
    }
}

/// Key of the row of a tenant, and of that about the last one among those of the first.
pub(crate) const TENANT: u128 = 0;
