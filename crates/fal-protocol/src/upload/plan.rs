use std::ops::Range;

use crate::error::InputError;

/// How a file is cut into parts: all of one size but the last, which is what remains.
///
/// ```
/// use fal_protocol::upload::Plan;
///
/// let plan = Plan::new((90 << 20) + 1, 10 << 20)?;
/// assert_eq!((plan.parts(), plan.range(10)), (10, (90 << 20)..(90 << 20) + 1));
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    total: u64,
    part_bytes: u64,
}

impl Plan {
    /// Cuts `total` bytes into parts of `part_bytes`; of larger ones, in whole MiB, where there would be
    /// more than [`PARTS_MAX`].
    ///
    /// # Errors
    /// [`InputError::Option`] when there is nothing to cut, or a part would have no bytes.
    pub fn new(total: u64, part_bytes: u64) -> Result<Self, InputError> {
        if part_bytes == 0 {
            return Err(InputError::option("part size", "a part has at least one byte"));
        }
        if total == 0 {
            return Err(InputError::option("parts", "an empty file has none"));
        }
        let least = total.div_ceil(PARTS_MAX.into());
        if part_bytes >= least {
            return Ok(Self { total, part_bytes });
        }
        Ok(Self { total, part_bytes: least.checked_next_multiple_of(1 << 20).unwrap_or(least) })
    }

    /// Bytes in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of every part but the last.
    #[must_use]
    pub const fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    /// How many parts there are: 1 to [`PARTS_MAX`].
    #[must_use]
    pub fn parts(&self) -> u32 {
        u32::try_from(self.total.div_ceil(self.part_bytes)).unwrap_or(PARTS_MAX)
    }

    /// The bytes of a part, counted from the start of the file. Parts are numbered from 1; other numbers
    /// have no bytes.
    #[must_use]
    pub fn range(&self, number: u32) -> Range<u64> {
        let Some(before) = number.checked_sub(1).filter(|before| *before < self.parts()) else {
            return 0..0;
        };
        let start = u64::from(before) * self.part_bytes;
        start..start.saturating_add(self.part_bytes).min(self.total)
    }
}

/// Most parts of one file: 10,000.
///
/// fal publishes none; this is what stores of the S3 family take (inferred).
pub const PARTS_MAX: u32 = 10_000;

/// The usual size of a part: 10 MiB.
///
/// Source: `storage.ts` of `@fal-ai/client` 1.10.1, `client.py` of `fal-client` 1.0.3 (official client source).
pub const PART_BYTES_DEFAULT: u64 = 10 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_not_cut() {
        Plan::new(0, 1).unwrap_err();
        Plan::new(1, 0).unwrap_err();
        assert_eq!(Plan::new(1, 1).unwrap().range(1), 0..1);
    }

    #[test]
    fn the_number_of_parts_has_a_limit() {
        let most = u64::from(PARTS_MAX) * 7;
        assert_eq!(Plan::new(most, 7).unwrap().part_bytes(), 7);
        let more = Plan::new(most + 1, 7).unwrap();
        assert_eq!((more.part_bytes(), more.parts()), (1 << 20, 1));
        let huge = Plan::new(u64::MAX, 1).unwrap();
        assert!(huge.parts() <= PARTS_MAX);
        assert_eq!(huge.range(huge.parts()).end, u64::MAX);
    }

    proptest! {
        #[test]
        fn parts_are_the_file(
            total in prop_oneof![1_u64..10_000, any::<u64>().prop_map(|n| n.max(1))],
            part_bytes in prop_oneof![1_u64..3_000, any::<u64>().prop_map(|n| n.max(1))],
        ) {
            let plan = Plan::new(total, part_bytes).unwrap();
            let mut end = 0;
            for number in 1..=plan.parts() {
                let range = plan.range(number);
                prop_assert_eq!(range.start, end);
                prop_assert!(range.end > range.start);
                prop_assert!(range.end - range.start <= plan.part_bytes());
                end = range.end;
            }
            prop_assert_eq!(end, total);
            prop_assert_eq!(plan.range(0), 0..0);
            prop_assert_eq!(plan.range(plan.parts() + 1), 0..0);
        }
    }
}
