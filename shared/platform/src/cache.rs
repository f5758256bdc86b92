//! Bounded in-memory caches that evict the least used entries.

use std::hash::Hash;

use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter, sync};

pub type Cache<K, V> = sync::Cache<K, V>;

/// The initial capacity of a cache.
const FIRST_ENTRIES: usize = 16;

/// A cache of at most `most` entries.
///
/// It has one shard, since a function has one thread, and grows as it is filled, so a cold start
/// allocates almost nothing.
#[must_use]
pub fn bounded<K: Eq + Hash, V: Clone>(most: usize) -> Cache<K, V> {
    let most = most.max(FIRST_ENTRIES);
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(FIRST_ENTRIES)
        .weight_capacity(u64::try_from(most).unwrap_or(u64::MAX))
        .build();
    match options {
        Ok(options) => sync::Cache::with_options(
            options,
            UnitWeighter,
            DefaultHashBuilder::default(),
            sync::DefaultLifecycle::default(),
        ),
        // All three required options are set, so this does not happen.
        Err(_) => sync::Cache::new(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_keeps_at_most_its_number_of_entries() {
        let cache = bounded(100);
        for n in 0..1_000 {
            cache.insert(n, n);
        }
        assert!((50..=100).contains(&cache.len()), "{}", cache.len());
        let first: Cache<u8, u8> = bounded(10_000);
        assert_eq!(first.len(), 0);
    }
}
