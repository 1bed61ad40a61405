//! A waiting line that knows how many stand ahead of a ticket, also when thousands wait.

use std::collections::VecDeque;

/// First in, first out, with leaving from the middle.
///
/// Tickets are consecutive. Counting ahead sums whole blocks and scans one, so it is cheap for half a
/// million waiting jobs without a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Ticket of the front of `standing`; always a multiple of [`BLOCK`].
    first: u64,
    standing: VecDeque<bool>,
    /// How many stand in each block of `standing`.
    blocks: VecDeque<u16>,
    len: usize,
}

impl Line {
    /// Joins the end.
    pub(crate) fn join(&mut self) -> u64 {
        if self.standing.len().is_multiple_of(BLOCK) {
            self.blocks.push_back(0);
        }
        let ticket = self.first + self.standing.len() as u64;
        self.standing.push_back(true);
        *self.blocks.back_mut().expect("pushed with the first ticket of a block") += 1;
        self.len += 1;
        ticket
    }

    /// Leaves from wherever the ticket stands. Leaving twice changes nothing.
    pub(crate) fn leave(&mut self, ticket: u64) {
        let Some(at) = self.index(ticket) else { return };
        if !std::mem::replace(&mut self.standing[at], false) {
            return;
        }
        self.blocks[at / BLOCK] -= 1;
        self.len -= 1;
        // The last block stays, because tickets are still being written into it.
        while self.blocks.len() > 1 && self.blocks[0] == 0 {
            self.blocks.pop_front();
            self.standing.drain(..BLOCK);
            self.first += BLOCK as u64;
        }
    }

    /// How many stand ahead of a ticket.
    pub(crate) fn ahead(&self, ticket: u64) -> usize {
        let Some(at) = self.index(ticket) else { return 0 };
        let block = at / BLOCK;
        let before: usize = self.blocks.iter().take(block).map(|n| usize::from(*n)).sum();
        before + self.standing.range(block * BLOCK..at).filter(|standing| **standing).count()
    }

    /// How many stand in the line.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn index(&self, ticket: u64) -> Option<usize> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        (at < self.standing.len()).then_some(at)
    }
}

const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_agree_with_a_plain_list(steps in proptest::collection::vec((0u8..3, 0usize..4000), 1..3000)) {
            let mut line = Line::default();
            let mut plain: Vec<u64> = Vec::new();
            for (step, pick) in steps {
                match step {
                    0 | 1 => plain.push(line.join()),
                    _ if !plain.is_empty() => {
                        let ticket = plain.remove(pick % plain.len());
                        line.leave(ticket);
                        line.leave(ticket);
                    }
                    _ => {}
                }
                prop_assert_eq!(line.len(), plain.len());
                if !plain.is_empty() {
                    let at = pick % plain.len();
                    prop_assert_eq!(line.ahead(plain[at]), at);
                }
            }
        }
    }
}
