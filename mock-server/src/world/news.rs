//! What has changed in the worlds, for those who look on.
//!
//! Nothing is written down while nobody does. What is told is how things are now, and that suffices: a row replaces the
//! one before it.

use std::time::{Instant, SystemTime};

use super::{ClockMode, Entry, TenantView, World, Worlds};
use crate::model::{Change, Door, TenantId};

/// Something that has changed, and whose it is.
#[derive(Debug)]
pub(crate) struct News<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) name: &'a str,
    pub(crate) what: What<'a>,
}

/// Something that has changed, as it is now.
#[derive(Debug)]
pub(crate) enum What<'a> {
    /// A job, a delivery, a file.
    Model(&'a Change),
    /// A request was answered or cut, or begins to wait.
    Request(Entry<'a>),
    /// The clock was set, stopped, let go on, or moved.
    Clock {
        mode: ClockMode,
        is_frozen: bool,
        now: SystemTime,
    },
    Made(TenantView),
    Ended,
    /// So much is new that all must be asked for.
    Reset,
}

/// What is to be told of a world. Everything in it is bounded by what one input can do.
#[derive(Debug)]
pub(super) struct Heard {
    requests: Vec<u64>,
    clock_moves: u64,
    is_reset: bool,
}

/// A tenant that came or went.
#[derive(Debug)]
pub(super) enum TenantNews {
    Made(TenantId),
    Ended(TenantId, Box<str>),
}

impl World {
    fn watch(&mut self, is_watched: bool) {
        self.model.watch(is_watched);
        let clock_moves = self.clock.moves();
        let heard = Heard { requests: Vec::new(), clock_moves, is_reset: false };
        self.heard = is_watched.then_some(heard);
    }

    pub(super) fn hear_request(&mut self, number: u64) {
        if let Some(heard) = &mut self.heard {
            heard.requests.push(number);
        }
    }

    /// More has changed than can be told one by one: whoever looks on asks for all.
    pub(crate) fn tell_reset(&mut self) {
        if let Some(heard) = &mut self.heard {
            heard.is_reset = true;
        }
    }
}

impl Worlds {
    /// Begins or ends to write down what changes.
    pub(crate) fn watch(&mut self, is_watched: bool) {
        self.tenant_news = is_watched.then(Vec::new);
        self.all.values_mut().for_each(|world| world.watch(is_watched));
    }

    /// Tells what has changed in a world since it was last asked for, and who came and went. Addresses of files lead
    /// through `door`.
    pub(crate) fn tell_news(
        &mut self,
        real: Instant,
        tenant: TenantId,
        door: &Door<'_>,
        mut tell: impl FnMut(News<'_>),
    ) {
        for news in self.tenant_news.as_mut().map(std::mem::take).unwrap_or_default() {
            match news {
                TenantNews::Made(tenant) => {
                    let Some(world) = self.all.get_mut(&tenant) else { continue };
                    world.watch(true);
                    let what = What::Made(world.view(tenant));
                    tell(News { tenant, name: &world.name, what });
                }
                TenantNews::Ended(tenant, name) => {
                    tell(News { tenant, name: &name, what: What::Ended });
                }
            }
        }
        if let Some(world) = self.all.get_mut(&tenant) {
            world.tell_news(real, tenant, door, &mut tell);
        }
    }

    pub(super) fn hear_of_tenant(&mut self, news: TenantNews) {
        if let Some(all) = &mut self.tenant_news {
            all.push(news);
        }
    }
}

impl World {
    fn tell_news(
        &mut self,
        real: Instant,
        tenant: TenantId,
        door: &Door<'_>,
        tell: &mut impl FnMut(News<'_>),
    ) {
        let Some(heard) = &mut self.heard else { return };
        let requests = std::mem::take(&mut heard.requests);
        let moves = std::mem::replace(&mut heard.clock_moves, self.clock.moves());
        let mut is_reset = std::mem::take(&mut heard.is_reset);
        let has_moved = moves != self.clock.moves();
        let changes = self.model.take_changes(door);
        // Another model has taken the place of the one that was watched.
        if !self.model.is_watched() {
            self.model.watch(true);
            is_reset = true;
        }
        let name = &*self.name;
        if is_reset {
            return tell(News { tenant, name, what: What::Reset });
        }
        if has_moved {
            let (mode, is_frozen) = (self.clock.mode(), self.clock.is_frozen());
            let what = What::Clock { mode, is_frozen, now: self.wall(real) };
            tell(News { tenant, name, what });
        }
        for change in &changes {
            tell(News { tenant, name, what: What::Model(change) });
        }
        for entry in requests.iter().filter_map(|number| self.journal.get(*number)) {
            tell(News { tenant, name, what: What::Request(entry) });
        }
    }
}
