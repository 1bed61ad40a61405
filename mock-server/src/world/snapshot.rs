//! A world that begins anew, and one that goes back.

use std::time::Instant;

use super::World;
use crate::model::Model;
use crate::replay::Player;

impl World {
    /// A new service with the settings of the old one. Requests stay written down, snapshots stay.
    /// What is open must have been cut before.
    pub(crate) fn reset(&mut self, real: Instant) {
        let wall = self.wall(real);
        let (config, now) = (self.model.config().clone(), self.clock.at(real));
        let player = Player::of(&config, now);
        self.replace(Model::new(config, now, wall), player);
    }

    /// Keeps a copy under a name, in place of one that has it. `None` if there are [`SNAPSHOTS_MAX`] others.
    pub(crate) fn take_snapshot(&mut self, real: Instant, name: &str) -> Option<()> {
        self.tick_to(real);
        if self.snapshots.len() >= SNAPSHOTS_MAX && !self.snapshots.contains_key(name) {
            return None;
        }
        let player = self.player.as_ref().map(Player::snapshot);
        self.snapshots.insert(name.into(), (self.model.snapshot(), player));
        Some(())
    }

    /// Goes back to a copy, in time too. What is open must have been cut before. `None` if there is no such copy.
    pub(crate) fn restore_snapshot(&mut self, real: Instant, name: &str) -> Option<()> {
        let (model, player) = self.snapshots.get(name)?;
        let (model, player) = (model.snapshot(), player.as_ref().map(Player::snapshot));
        self.clock.set(real, model.now());
        self.replace(model, player);
        Some(())
    }

    /// Forgets a copy. Returns whether there was one.
    pub(crate) fn drop_snapshot(&mut self, name: &str) -> bool {
        self.snapshots.remove(name).is_some()
    }

    /// The names of all copies.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.snapshots.keys().map(|name| &**name)
    }

    fn replace(&mut self, model: Model, player: Option<Player>) {
        let keeping = self.model.unkeep();
        self.model = model;
        self.model.keep_anew(keeping);
        self.player = player;
        self.generation = self.generation.wrapping_add(1);
        self.deliveries_under_way = 0;
        self.may_progress = true;
        self.current = None;
        self.waiting.clear();
    }
}

/// Copies that a world keeps.
pub(crate) const SNAPSHOTS_MAX: usize = 16;
