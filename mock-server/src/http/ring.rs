//! The last events for those who look on: one buffer for all of them, and a place in it for each.
//!
//! Whoever reads slowly has no buffer of its own: when its place is overwritten it is told so, and goes on from now.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::TenantId;

/// The last events, as texts of `text/event-stream`. Their ids are `{run}-{number}`, and numbers count up.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Tells the events of one start of the mock from those of another.
    run: u64,
    events: VecDeque<Event>,
    bytes: usize,
    /// The number of the last event.
    last: u64,
    /// All events after this one are there.
    floor: u64,
}

#[derive(Debug)]
struct Event {
    number: u64,
    tenant: TenantId,
    kind: &'static str,
    text: Box<str>,
}

/// How far somebody has read.
#[derive(Debug)]
pub(crate) struct Place {
    /// Whose events they want; `None` is everybody's.
    tenant: Option<TenantId>,
    after: u64,
    greeting: Option<Greeting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// Everything from here on follows.
    Hello { resumed: bool },
    /// What was asked for is not there any more.
    Reset,
}

impl Ring {
    pub(crate) fn new(run: u64) -> Self {
        Self { run, events: VecDeque::new(), bytes: 0, last: 0, floor: 0 }
    }

    /// Adds an event. `data` stands on one line. One that `replaces` takes the place of the last one, if that was of the
    /// same kind and tenant.
    pub(crate) fn push(
        &mut self,
        tenant: TenantId,
        kind: &'static str,
        data: &str,
        replaces: bool,
    ) {
        let is_same = |last: &Event| last.tenant == tenant && last.kind == kind;
        if replaces
            && self.events.back().is_some_and(is_same)
            && let Some(old) = self.events.pop_back()
        {
            self.bytes -= old.cost();
        }
        self.last += 1;
        let (run, number) = (self.run, self.last);
        let text = format!("id: {run:x}-{number}\nevent: {kind}\ndata: {data}\n\n").into();
        let event = Event { number, tenant, kind, text };
        self.bytes += event.cost();
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX || self.bytes > EVENT_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.floor = oldest.number;
        }
    }

    /// From now on nothing is added for a while: whoever comes back has missed something.
    pub(crate) fn interrupt(&mut self) {
        self.events = VecDeque::new();
        self.bytes = 0;
        self.last += 1;
        self.floor = self.last;
    }

    /// The place of somebody who comes, or comes back and has read up to the event of that id.
    pub(crate) fn place(&self, tenant: Option<TenantId>, last_id: Option<&str>) -> Place {
        let (after, greeting) = match last_id.map(|id| self.number(id)) {
            None => (self.last, Greeting::Hello { resumed: false }),
            Some(Some(number)) if (self.floor..=self.last).contains(&number) => {
                (number, Greeting::Hello { resumed: true })
            }
            Some(_) => (self.last, Greeting::Reset),
        };
        Place { tenant, after, greeting: Some(greeting) }
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        let run = u64::from_str_radix(run, 16).ok()?;
        (run == self.run).then(|| number.parse().ok()).flatten()
    }

    /// What follows at a place, up to about [`READ_BYTES_MAX`]; `None` if there is nothing yet.
    pub(crate) fn read(&self, place: &mut Place) -> Option<Bytes> {
        let mut text = String::new();
        if place.after < self.floor {
            place.after = self.last;
            place.greeting = Some(Greeting::Reset);
        }
        match place.greeting.take() {
            Some(Greeting::Hello { resumed }) => {
                self.greet(&mut text, place.after, "hello", &format!("{{\"resumed\":{resumed}}}"));
            }
            Some(Greeting::Reset) => {
                self.greet(&mut text, place.after, "reset", "{\"tenant\":null}");
            }
            None => {}
        }
        let from = self.events.partition_point(|event| event.number <= place.after);
        for event in self.events.range(from..) {
            if place.tenant.is_none_or(|tenant| tenant == event.tenant) {
                if !text.is_empty() && text.len() + event.text.len() > READ_BYTES_MAX {
                    return Some(text.into());
                }
                text.push_str(&event.text);
            }
            place.after = event.number;
        }
        (!text.is_empty()).then(|| text.into())
    }

    fn greet(&self, text: &mut String, after: u64, kind: &str, data: &str) {
        let run = self.run;
        text.push_str(&format!(
            "retry: {RETRY_MS}\nid: {run:x}-{after}\nevent: {kind}\ndata: {data}\n\n"
        ));
    }
}

impl Event {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

/// Events that are kept for those who come back or read slowly.
pub(crate) const EVENTS_MAX: usize = 20_000;

/// Bytes of them: 8 MiB.
pub(crate) const EVENT_BYTES_MAX: usize = 8 << 20;

/// Bytes that are read at once, unless a single event is longer: 64 KiB.
const READ_BYTES_MAX: usize = 64 << 10;

/// After so many milliseconds a browser whose connection broke tries again.
const RETRY_MS: u32 = 500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: u8) -> TenantId {
        (0..number).fold(TenantId::FIRST, |tenant, _| tenant.next().unwrap())
    }

    /// Ids, kinds and data of events.
    fn parse(bytes: &Bytes) -> Vec<(String, String, String)> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\n\n"));
        let field = |event: &str, name: &str| {
            let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{name} in {event:?}")).to_owned()
        };
        text.split_terminator("\n\n")
            .map(|event| (field(event, "id"), field(event, "event"), field(event, "data")))
            .collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push {
            tenant: u8,
            clock: bool,
            len: usize,
        },
        Read,
        /// The connection breaks, and begins again from the last id.
        Reconnect,
        Interrupt,
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = prop_oneof![40 => 0_usize..200, 1 => 0..EVENT_BYTES_MAX / 2];
        prop_oneof![
            10 => (0_u8..3, any::<bool>(), len)
                .prop_map(|(tenant, clock, len)| Step::Push { tenant, clock, len }),
            4 => Just(Step::Read),
            1 => Just(Step::Reconnect),
            1 => Just(Step::Interrupt),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// Whoever reads gets each event of its tenants once and in order, or is told that it missed some.
        #[test]
        fn nothing_is_lost_silently(
            steps in proptest::collection::vec(step(), 1..120),
            own in proptest::option::of(0_u8..3),
        ) {
            let mut ring = Ring::new(0xfeed);
            let mut place = ring.place(own.map(tenant), None);
            let mut last_id = String::new();
            // What is still to be read; clocks only as the last of those that stand together.
            let mut wanted: VecDeque<(u8, bool, String)> = VecDeque::new();
            let mut count = 0;
            let mut last_pushed = None;
            // It has missed something, and must be told before anything else.
            let mut is_lost = false;
            for step in steps.into_iter().chain([Step::Read]) {
                match step {
                    Step::Push { tenant: whose, clock, len } => {
                        count += 1;
                        let data = format!("{count}:{}", "x".repeat(len));
                        let kind = if clock { "clock" } else { "job" };
                        ring.push(tenant(whose), kind, &data, clock);
                        let is_same = clock && last_pushed == Some((whose, true));
                        if own.is_none_or(|own| own == whose) {
                            if is_same && wanted.back().is_some_and(|last| last.0 == whose && last.1) {
                                wanted.pop_back();
                            }
                            wanted.push_back((whose, clock, data));
                        }
                        last_pushed = Some((whose, clock));
                    }
                    Step::Read => {
                        if place.after < ring.floor {
                            (is_lost, _) = (true, wanted.clear());
                        }
                        while let Some(bytes) = ring.read(&mut place) {
                            for (id, kind, data) in parse(&bytes) {
                                last_id = id;
                                match &*kind {
                                    "hello" => prop_assert!(!is_lost),
                                    "reset" => prop_assert!(std::mem::take(&mut is_lost)),
                                    _ => {
                                        prop_assert!(!is_lost);
                                        prop_assert_eq!(Some(data), wanted.pop_front().map(|one| one.2));
                                    }
                                }
                            }
                        }
                    }
                    Step::Reconnect => if !last_id.is_empty() {
                        place = ring.place(own.map(tenant), Some(&last_id));
                        is_lost = place.greeting == Some(Greeting::Reset);
                        if is_lost {
                            wanted.clear();
                        }
                    }
                    Step::Interrupt => {
                        ring.interrupt();
                        last_pushed = None;
                    }
                }
                prop_assert!(ring.events.len() <= EVENTS_MAX && ring.bytes <= EVENT_BYTES_MAX);
                let counted: usize = ring.events.iter().map(Event::cost).sum();
                prop_assert_eq!(counted, ring.bytes);
            }
            prop_assert!(wanted.is_empty(), "unread: {}", wanted.len());
        }
    }

    #[test]
    fn count_is_bounded_on_both_sides() {
        let mut ring = Ring::new(1);
        let mut place = ring.place(None, None);
        for _ in 0..EVENTS_MAX {
            ring.push(TenantId::FIRST, "job", "{}", false);
        }
        let first = ring.read(&mut place).unwrap();
        assert_eq!(parse(&first)[0].1, "hello", "nothing is lost yet");
        let mut late = ring.place(None, Some("1-0"));
        assert_eq!(parse(&ring.read(&mut late).unwrap())[0].2, "{\"resumed\":true}");
        ring.push(TenantId::FIRST, "job", "{}", false);
        let mut later = ring.place(None, Some("1-0"));
        assert_eq!(parse(&ring.read(&mut later).unwrap())[0].1, "reset");
        assert!(ring.read(&mut later).is_none());
    }

    #[test]
    fn ids_of_another_start_are_strange() {
        let mut ring = Ring::new(2);
        ring.push(TenantId::FIRST, "job", "{}", false);
        for id in ["1-1", "2-9", "2-", "x", "", "-1", "2-1-1"] {
            let mut place = ring.place(None, Some(id));
            assert_eq!(parse(&ring.read(&mut place).unwrap())[0].1, "reset", "{id}");
        }
    }

    #[test]
    fn an_event_that_is_too_long_resets_everybody() {
        let mut ring = Ring::new(3);
        let mut place = ring.place(None, None);
        assert!(ring.read(&mut place).is_some());
        ring.push(TenantId::FIRST, "job", &"x".repeat(EVENT_BYTES_MAX), false);
        assert_eq!((ring.events.len(), ring.bytes), (0, 0));
        assert_eq!(parse(&ring.read(&mut place).unwrap())[0].1, "reset");
    }
}
