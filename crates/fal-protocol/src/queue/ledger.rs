//! Which log lines the application has already seen.
//!
//! Polls send the whole list each time, streams send what is new, and a stream that was opened again
//! may send all or only what is new: there are no ids to tell. So each connection (a stream, or one
//! poll) is a view that starts empty, and a line is new when this view has shown it more often than
//! was ever delivered. That is exact for polls and replays. A reconnected stream that sends only new
//! lines loses one whose time, level and text all equal an earlier line's.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::LogLine;

#[derive(Debug, Default)]
pub(crate) struct LogLedger {
    delivered: BTreeMap<u64, u32>,
    view: BTreeMap<u64, u32>,
    first_view: bool,
    lines: usize,
}

impl LogLedger {
    /// A new connection begins: what it sends may be old.
    pub(crate) fn begin_view(&mut self) {
        self.first_view = self.delivered.is_empty();
        self.view.clear();
    }

    /// Whether this line is new. Past [`LOG_LINES_MAX`] every line counts as new.
    pub(crate) fn admit(&mut self, line: &LogLine) -> bool {
        if self.lines >= LOG_LINES_MAX {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (&line.message, &line.timestamp, &line.level).hash(&mut hasher);
        let key = hasher.finish();
        let delivered = self.delivered.entry(key).or_default();
        if self.first_view {
            // Nothing was delivered before this view, so all of it is new.
            *self.view.entry(key).or_default() += 1;
            *delivered += 1;
            self.lines += 1;
            return true;
        }
        let shown = self.view.entry(key).or_default();
        *shown += 1;
        let is_new = *shown > *delivered;
        if is_new {
            *delivered = *shown;
            self.lines += 1;
        }
        is_new
    }
}

/// Lines remembered per job; 16 to 32 bytes each.
pub(crate) const LOG_LINES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { message: text.into(), timestamp: None, level: None, source: None }
    }

    fn admitted(ledger: &mut LogLedger, lines: &[&str]) -> Vec<String> {
        let new = |text: &&&str| ledger.admit(&line(text));
        lines.iter().filter(new).map(ToString::to_string).collect()
    }

    #[test]
    fn replay_and_continuation_are_told_apart() {
        let mut ledger = LogLedger::default();
        ledger.begin_view();
        assert_eq!(admitted(&mut ledger, &["a", "b", "b"]), ["a", "b", "b"]);
        ledger.begin_view();
        assert_eq!(admitted(&mut ledger, &["a", "b", "b", "b", "c"]), ["b", "c"], "a replay");
        ledger.begin_view();
        assert_eq!(admitted(&mut ledger, &["d"]), ["d"], "a continuation");
    }

    proptest! {
        #[test]
        fn polls_deliver_each_line_once_in_order(
            lines in proptest::collection::vec("[ab]", 0..30),
            cuts in proptest::collection::vec(0_usize..30, 0..10),
        ) {
            let all: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.sort_unstable();
            cuts.push(all.len());
            let mut ledger = LogLedger::default();
            let mut seen = Vec::new();
            for cut in cuts {
                ledger.begin_view();
                seen.extend(admitted(&mut ledger, &all[..cut]));
            }
            prop_assert_eq!(seen, all);
        }
    }
}
