//! What happens by itself: late answers, pieces of streams, states of jobs.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Open, Player};
use crate::cassette::{Chunk, address, fill_id};
use crate::model::{Door, Output, RequestId};

impl Player {
    /// Lets everything happen that is due, each at its own instant.
    pub(super) fn advance(&mut self, now: Instant) {
        let now = now.max(self.now);
        while let Some(at) = self.next_due().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            if let Some((turn, id)) = self.turns.first().copied().filter(|(turn, _)| *turn == at) {
                self.turns.remove(&(turn, id));
                self.turn(id);
            } else if let Some((_, exchange)) = self.due.pop_first() {
                self.go_on(exchange);
            }
        }
        self.now = now;
    }

    fn go_on(&mut self, exchange: u64) {
        match self.open.get(&exchange) {
            Some(Open::Late(_)) => {
                if let Some(Open::Late(response)) = self.open.remove(&exchange) {
                    self.reply(exchange, *response);
                }
            }
            Some(Open::Watch(_)) => self.tell(exchange),
            Some(Open::Chunks { .. }) => self.roll(exchange),
            None => {}
        }
    }

    /// Gives the pieces that are due.
    pub(super) fn roll(&mut self, exchange: u64) {
        let library = Arc::clone(&self.library);
        let (now, timing) = (self.now, self.timing);
        let Some(Open::Chunks { entry, next, since, id, door }) = self.open.get_mut(&exchange)
        else {
            return;
        };
        let chunks = library.entries[*entry].entry.response.chunks.as_deref().unwrap_or_default();
        let is_due = |chunk: &Chunk| {
            let time = std::time::Duration::from_millis(chunk.at_ms).min(crate::model::TIME_MAX);
            let at = since.checked_add(time).unwrap_or(*since);
            (timing == super::ReplayTiming::Instant || at <= now).then_some(()).ok_or(at)
        };
        // In one piece, however many there are: a reader cannot lag behind more than some.
        let mut bytes = Vec::new();
        let mut later = None;
        while let Some(chunk) = chunks.get(*next) {
            if let Err(at) = is_due(chunk) {
                later = Some(at);
                break;
            }
            bytes.extend_from_slice(&bytes_of(chunk, *id, door));
            *next += 1;
        }
        if !bytes.is_empty() {
            self.out.push_back(Output::Event { id: exchange, bytes: bytes.into() });
        }
        match later {
            Some(at) => _ = self.due.insert((at, exchange)),
            None => {
                self.open.remove(&exchange);
                self.out.push_back(Output::End { id: exchange });
            }
        }
    }
}

fn bytes_of(chunk: &Chunk, id: RequestId, door: &Door<'_>) -> Bytes {
    match (&chunk.text, &chunk.base64) {
        (Some(text), _) => {
            address::through(&fill_id(text, &id.to_string()), door).into_owned().into()
        }
        (None, Some(text)) => STANDARD.decode(text).unwrap_or_default().into(),
        (None, None) => Bytes::new(),
    }
}
