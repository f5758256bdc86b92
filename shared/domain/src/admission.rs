//! Counting what a tenant takes: the month's runs, and the events of a window of
//! [`RATE_SECONDS`], both in one item, written once for each event.
//!
//! An item counts the events of one window at a time, in an attribute of the window's own name, one
//! of [`SLOTS`]; every write takes the other names away. So a count begins anew without a read.
//! Only when the last write was exactly a multiple of [`SLOTS`] windows ago, the name is taken: the
//! write is then refused, and made again in another form.
//!
//! A tenant whose plan is wide is counted in several items, its shards, each with a share of the
//! limits. An event goes to any of them; one whose share is used up sends it on to the next. It is
//! refused when every shard refused it: never one too many, and none too few.

use jiff::Timestamp;

use crate::plan::RATE_SECONDS;

/// How many names of windows there are. A prime: an event that comes each minute or each hour
/// seldom finds its name taken.
pub const SLOTS: u8 = 31;

/// The window of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Its number since 1970.
    pub number: i64,
    /// How many seconds it still has, at least 1.
    pub left_seconds: i64,
}

impl Window {
    /// The window of `now`.
    #[must_use]
    pub fn of(now: Timestamp) -> Self {
        let length = i64::try_from(RATE_SECONDS).unwrap_or(1);
        Self {
            number: now.as_second().div_euclid(length),
            left_seconds: length - now.as_second().rem_euclid(length),
        }
    }

    /// Its name's number, less than [`SLOTS`].
    #[must_use]
    pub fn slot(self) -> u8 {
        u8::try_from(self.number.rem_euclid(i64::from(SLOTS))).unwrap_or_default()
    }
}

/// The share of `total` that one of `shards` has; all shares together are `total`.
#[must_use]
pub fn share(total: u64, shards: u8, shard: u8) -> u64 {
    let n = u64::from(shards.max(1));
    total / n + u64::from(u64::from(shard) < total % n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_the_whole() {
        for total in [0, 1, 15, 16, 17, 1_000, 80_000, 99_999_999] {
            for shards in [1, 16] {
                let all: Vec<u64> = (0..shards).map(|s| share(total, shards, s)).collect();
                assert_eq!(all.iter().sum::<u64>(), total);
                assert!(all[0] - all[usize::from(shards) - 1] <= 1);
            }
        }
    }

    #[test]
    fn a_window_has_its_name_until_it_ends() {
        let at = |second| Window::of(Timestamp::from_second(second).unwrap());
        assert_eq!((at(120).number, at(120).left_seconds), (12, 10));
        assert_eq!((at(129).number, at(129).left_seconds), (12, 1));
        assert_ne!(at(129).slot(), at(130).slot());
        assert_eq!(at(0).slot(), at(10 * i64::from(SLOTS)).slot());
    }
}
