//! A world that is written down, and one that goes on with what was.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;

use super::journal::{Entry, JournalLog, Message};
use super::{ClockMode, Start, World, Worlds};
use crate::model::keep::code::{Field, read, row, write};
use crate::model::keep::{BadRow, Keeping, REQUESTS, Rows, Table, Value, Write, Writes};
use crate::model::{Config, Model, Spooled, TenantId};

/// A request as it is written down; the start of the answer's body follows.
struct EntryRow {
    at: SystemTime,
    took: Option<std::time::Duration>,
    method: Box<str>,
    host: Box<str>,
    path: Box<str>,
    query: Box<str>,
    request_headers: Box<[u8]>,
    request_body: Bytes,
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

impl World {
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
            let value = Value::Bytes(entry_row(entry), entry.response.body.clone());
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

fn entry_row(entry: &Entry) -> Vec<u8> {
    write(&EntryRow {
        at: entry.at,
        took: entry.took,
        method: entry.method.as_str().into(),
        host: (*entry.host).into(),
        path: entry.path.clone(),
        query: entry.query.clone(),
        request_headers: entry.request.headers.clone(),
        request_body: entry.request.body.clone(),
        request_body_len: entry.request.body_len,
        status: entry.status,
        response_headers: entry.response.headers.clone(),
        response_body_len: entry.response.body_len,
    })
}

fn entry_of(number: u64, row: &Bytes) -> Option<Entry> {
    let mut rest = &row[..];
    let fields = EntryRow::take(&mut rest)?;
    let body = row.slice_ref(rest);
    Some(Entry {
        number,
        at: fields.at,
        took: fields.took,
        method: Method::from_bytes(fields.method.as_bytes()).ok()?,
        host: Cow::Owned(fields.host.into()),
        path: fields.path,
        query: fields.query,
        request: Message {
            headers: fields.request_headers,
            body: fields.request_body,
            body_len: fields.request_body_len,
        },
        status: fields.status,
        // Whoever waited for an answer has lost it with the process.
        is_cut: fields.status == 0,
        response: Message {
            headers: fields.response_headers,
            body,
            body_len: fields.response_body_len,
        },
    })
}

impl Worlds {
    /// The first tenant's world goes on with what rows say: its time has passed meanwhile as `mode` says, from where it
    /// stood. `open` finds bodies that the shell keeps.
    pub(crate) fn restored(
        config: Config,
        mode: ClockMode,
        start: Start,
        mut rows: Rows,
        open: &mut dyn FnMut(&Bytes) -> Option<Spooled>,
    ) -> Result<Self, BadRow> {
        let marks = rows.marks()?;
        let mut worlds = Self::new(config.clone(), mode, start);
        let Some(world) = worlds.get_mut(TenantId::FIRST) else { return Ok(worlds) };
        // Instants before this process cannot be relied upon, so the very first start is put here and everything
        // else after it.
        let stood = marks.wall.duration_since(marks.origin).unwrap_or_default();
        let stood = start.real.checked_add(stood).unwrap_or(start.real);
        let apart = start.wall.duration_since(marks.real).unwrap_or_default();
        world.clock.set(start.real, stood);
        let now = start.real.checked_add(apart).map_or(stood, |real| world.clock.at(real));
        world.clock.set(start.real, now);

        let last = rows.take_one(Table::Marks, REQUESTS).and_then(|row| read::<u64>(&row));
        let mut entries = Vec::new();
        for (key, row) in rows.take(Table::Journal) {
            let bad = BadRow { table: Table::Journal, key };
            let number = u64::try_from(key).map_err(|_| bad)?;
            entries.push(entry_of(number, &row).ok_or(bad)?);
        }
        // Numbers have no gaps; before one that a damaged end has left, nothing can be found.
        let gap = entries.windows(2).rposition(|two| two[0].number + 1 != two[1].number);
        entries.drain(..gap.map_or(0, |at| at + 1));
        world.journal.restore(entries.into_iter(), last.unwrap_or_default());
        world.journal.log = Some(JournalLog::default());
        let epoch = (start.real, marks.origin);
        world.model = Model::restore(config, now, epoch, rows, open)?;
        Ok(worlds)
    }
}
