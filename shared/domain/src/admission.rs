//! Counters of a tenant's usage: the runs of a month, and the events of a window of
//! [`RATE_SECONDS`]. Both are in one item, which is written once per event.
//!
//! An item counts one window at a time, in an attribute named after the window; there are [`SLOTS`]
//! such names. Every write removes the other names, so a new window starts at zero without a read.
//! If the previous write was an exact multiple of [`SLOTS`] windows ago, the name is still in use:
//! the conditional write fails and is repeated in a form that resets the counter.
//!
//! A tenant with a large plan is counted in several items, called shards, each with a share of the
//! limits. An event tries one shard at random and moves on to the next when its share is used up.
//! It is refused only when every shard refused it, so the sum is exact.

use jiff::Timestamp;

use crate::plan::RATE_SECONDS;

/// Number of window names. It is prime, so that an event per minute or per hour rarely finds its
/// name in use.
pub const SLOTS: u8 = 31;

/// A counting window of [`RATE_SECONDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Windows since 1970.
    pub number: i64,
    /// Seconds until the window ends, at least 1.
    pub left_seconds: i64,
}

impl Window {
    #[must_use]
    pub fn of(now: Timestamp) -> Self {
        let length = i64::try_from(RATE_SECONDS).unwrap_or(1);
        Self {
            number: now.as_second().div_euclid(length),
            left_seconds: length - now.as_second().rem_euclid(length),
        }
    }

    /// The number in the attribute's name, less than [`SLOTS`].
    #[must_use]
    pub fn slot(self) -> u8 {
        u8::try_from(self.number.rem_euclid(i64::from(SLOTS))).unwrap_or_default()
    }
}

/// The share of `total` that belongs to `shard`. The shares of all `shards` add up to `total`.
#[must_use]
pub fn share(total: u64, shards: u8, shard: u8) -> u64 {
    let n = u64::from(shards.max(1));
    total / n + u64::from(u64::from(shard) < total % n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_total() {
        for total in [0, 1, 15, 16, 17, 1_000, 80_000, 99_999_999] {
            for shards in [1, 16] {
                let all: Vec<u64> = (0..shards).map(|s| share(total, shards, s)).collect();
                assert_eq!(all.iter().sum::<u64>(), total);
                assert!(all[0] - all[usize::from(shards) - 1] <= 1);
            }
        }
    }

    #[test]
    fn window_keeps_its_slot_until_it_ends() {
        let at = |second| Window::of(Timestamp::from_second(second).unwrap());
        assert_eq!((at(120).number, at(120).left_seconds), (12, 10));
        assert_eq!((at(129).number, at(129).left_seconds), (12, 1));
        assert_ne!(at(129).slot(), at(130).slot());
        assert_eq!(at(0).slot(), at(10 * i64::from(SLOTS)).slot());
    }
}
