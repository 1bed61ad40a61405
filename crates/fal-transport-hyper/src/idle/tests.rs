use proptest::prelude::*;

use super::*;

/// The same rules without an index: one list in the order of arrival.
struct Model {
    limits: Limits,
    parked: Vec<(Instant, u8, u32)>,
}

#[derive(Clone, Debug)]
enum Step {
    Park { key: u8 },
    Take { key: u8 },
    Pass { secs: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8).prop_map(|key| Step::Park { key }),
        3 => (0..4_u8).prop_map(|key| Step::Take { key }),
        1 => (0..12_u64).prop_map(|secs| Step::Pass { secs }),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// What is taken was parked under that key, is the youngest there, and is not too old; nothing is
    /// lost or given twice; the bounds hold after every step.
    #[test]
    fn the_set_keeps_its_promises(per_key_max in 0..5_usize, total_max in 0..9_usize, steps in steps()) {
        let limits = Limits { per_key_max, total_max, idle_max: Duration::from_secs(10) };
        let mut set = IdleSet::new(limits);
        let mut model = Model { limits, parked: Vec::new() };
        let mut now = Instant::now();
        let mut last = 0;
        for step in steps {
            match step {
                Step::Pass { secs } => now += Duration::from_secs(secs),
                Step::Park { key } => {
                    last += 1;
                    let leaving = set.park(now, &key, last);
                    model.parked.push((now, key, last));
                    model.remove(&leaving)?;
                }
                Step::Take { key } => {
                    let (taken, expired) = set.take(now, &key);
                    let youngest = model.youngest(now, key);
                    prop_assert_eq!(taken, youngest);
                    model.remove(taken.as_slice())?;
                    for (since, value) in expired {
                        prop_assert!(now - since >= limits.idle_max);
                        model.remove(&[value])?;
                    }
                }
            }
            prop_assert_eq!(set.len, model.parked.len());
            prop_assert!(set.len <= total_max);
            for key in 0..4 {
                let count = model.parked.iter().filter(|(_, k, _)| *k == key).count();
                prop_assert!(count <= per_key_max);
                prop_assert_eq!(set.parked.get(&key).map_or(0, VecDeque::len), count);
            }
        }
    }
}

impl Model {
    fn youngest(&self, now: Instant, key: u8) -> Option<u32> {
        let of_key = |(_, k, _): &&(Instant, u8, u32)| *k == key;
        let (since, _, value) = self.parked.iter().rev().find(of_key)?;
        (now - *since < self.limits.idle_max).then_some(*value)
    }

    fn remove(&mut self, values: &[u32]) -> Result<(), TestCaseError> {
        for value in values {
            let at = self.parked.iter().position(|(_, _, v)| v == value);
            prop_assert!(at.is_some(), "{value} was not there");
            self.parked.remove(at.expect("just found"));
        }
        Ok(())
    }
}

#[test]
fn a_full_set_makes_room_for_the_young() {
    let limits = Limits { per_key_max: 9, total_max: 2, idle_max: Duration::from_secs(10) };
    let mut set = IdleSet::new(limits);
    let start = Instant::now();
    assert!(set.park(start, &"a", 1).is_empty());
    assert!(set.park(start, &"a", 2).is_empty());
    assert_eq!(set.park(start, &"a", 3), [1], "its own oldest makes room");
    assert_eq!(set.park(start, &"b", 4), [4], "another key's do not");
    let later = start + Duration::from_secs(10);
    assert_eq!(set.park(later, &"b", 5), [2, 3], "unless they are too old");
    assert_eq!(set.take(later, &"b").0, Some(5));
}
