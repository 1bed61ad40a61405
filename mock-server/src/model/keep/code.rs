//! How rows are written: plain fields one after the other, numbers with the low byte first, texts with their length.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// Something that can stand in a row.
pub(crate) trait Field: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads it from the front. `None` if it is not there whole.
    fn take(input: &mut &[u8]) -> Option<Self>;
}

/// Reads a value that fills a row.
pub(crate) fn read<T: Field>(mut row: &[u8]) -> Option<T> {
    let value = T::take(&mut row)?;
    row.is_empty().then_some(value)
}

/// Writes a value.
pub(crate) fn write<T: Field>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    value.put(&mut out);
    out
}

/// The next `len` bytes.
fn cut<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(len)?;
    *input = tail;
    Some(head)
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        impl Field for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(cut(input, size_of::<Self>())?.try_into().ok()?))
            }
        }
    )*};
}

number!(u8, u16, u32, u64, u128, i128);

/// Implements [`Field`] for a struct: its fields in this order.
macro_rules! row {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::model::keep::code::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::model::keep::code::Field::put(&self.$field, out);)*
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                $(let $field = $crate::model::keep::code::Field::take(input)?;)*
                Some(Self { $($field),* })
            }
        }
    };
}

pub(crate) use row;

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    // Nothing in a row is near that length: bodies stand at its end, without one.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).put(out);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::take(input)?;
    cut(input, usize::try_from(len).ok()?)
}

impl Field for Box<[u8]> {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        take_bytes(input).map(Into::into)
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        cut(input, N)?.try_into().ok()
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        take_bytes(input).map(Self::copy_from_slice)
    }
}

impl Field for Box<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        std::str::from_utf8(take_bytes(input)?).ok().map(Into::into)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        self.iter().for_each(|value| value.put(out));
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        // What is announced is not believed: each value takes a byte at least.
        let len = usize::try_from(u32::take(input)?).ok().filter(|len| *len <= input.len())?;
        (0..len).map(|_| T::take(input)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl Field for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_secs().put(out);
        self.subsec_nanos().put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let (secs, nanos) = (u64::take(input)?, u32::take(input)?);
        (nanos < 1_000_000_000).then(|| Self::new(secs, nanos))
    }
}

impl Field for SystemTime {
    fn put(&self, out: &mut Vec<u8>) {
        let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
        match self.duration_since(Self::UNIX_EPOCH) {
            Ok(after) => nanos(after).put(out),
            Err(before) => (-nanos(before.duration())).put(out),
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let nanos = i128::take(input)?;
        let (secs, rest) = (nanos.unsigned_abs() / NANOS, nanos.unsigned_abs() % NANOS);
        let time = Duration::new(u64::try_from(secs).ok()?, u32::try_from(rest).ok()?);
        match nanos < 0 {
            true => Self::UNIX_EPOCH.checked_sub(time),
            false => Self::UNIX_EPOCH.checked_add(time),
        }
    }
}

/// In a second.
const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Everything {
        number: u128,
        text: Box<str>,
        flag: bool,
        list: Vec<(u32, Option<Box<str>>)>,
        time: SystemTime,
        lasts: Duration,
        bytes: Bytes,
    }

    row!(Everything { number, text, flag, list, time, lasts, bytes });

    proptest! {
        #[test]
        fn values_read_back_and_nothing_shorter_or_longer_does(
            number in any::<u128>(),
            text in ".{0,20}",
            flag in any::<bool>(),
            list in proptest::collection::vec((any::<u32>(), proptest::option::of(".{0,5}")), 0..5),
            nanos in -1_000_000_000_000_i64..4_000_000_000_000_000_000,
            lasts in any::<u32>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let shift = Duration::from_nanos(nanos.unsigned_abs());
            let value = Everything {
                number,
                text: text.into(),
                flag,
                list: list.into_iter().map(|(n, t)| (n, t.map(Into::into))).collect(),
                time: match nanos < 0 {
                    true => SystemTime::UNIX_EPOCH - shift,
                    false => SystemTime::UNIX_EPOCH + shift,
                },
                lasts: Duration::from_nanos(lasts.into()),
                bytes: bytes.into(),
            };
            let mut row = write(&value);
            let read_back = read::<Everything>(&row);
            prop_assert_eq!(read_back.as_ref(), Some(&value));
            for end in 0..row.len() {
                prop_assert_eq!(read::<Everything>(&row[..end]), None);
            }
            row.push(0);
            prop_assert_eq!(read::<Everything>(&row), None);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Whatever comes out, it takes no more memory than what went in suggests.
            let _ = read::<Everything>(&bytes);
            let _ = read::<Vec<Box<str>>>(&bytes);
        }
    }
}
