//! How many runs were created in each hour or day, by status.

use std::collections::BTreeMap;

use aias_domain::{id::RunId, run::Status};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    Error, TenantStore,
    items::string_of,
    run_item::{STATUS, run_id_of},
};

/// The longest span that is counted.
pub const MAX_COUNTED: SignedDuration = SignedDuration::from_hours(8 * 24);

/// The most runs of a day that are counted, and the most pages of 1 MiB that are read of a
/// partition: they bound what a request costs.
const MAX_PER_DAY: i32 = 8_000;
const MAX_PAGES: usize = 8;

/// The counted runs of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCounts {
    /// From when on all runs are counted: the start of the span, or later if there are too many runs.
    pub from: Timestamp,
    /// The creation of each run, newest first, and its status.
    pub runs: Vec<(Timestamp, Status)>,
}

impl RunCounts {
    /// The number of runs with each status.
    #[must_use]
    pub fn by_status(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (_, status) in &self.runs {
            *counts.entry(status.as_str()).or_default() += 1;
        }
        counts
    }
}

impl TenantStore<'_> {
    /// The runs created from `from` on and before `to`, which may be [`MAX_COUNTED`] apart. All
    /// partitions are read concurrently.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn run_counts(&self, from: Timestamp, to: Timestamp) -> Result<RunCounts, Error> {
        let from = from.max(to - MAX_COUNTED);
        let day_of = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        let mut partitions = Vec::new();
        let (mut day, last) = (day_of(from), day_of(to));
        while day <= last {
            partitions.extend((0..self.run_shards).map(|shard| (day, shard)));
            match day.tomorrow() {
                Ok(next) => day = next,
                Err(_) => break,
            }
        }
        let range = (RunId::range_at(from).0, RunId::range_at(to).0);
        let reads = partitions
            .into_iter()
            .map(|(day, shard)| self.counted_partition(day, shard, range));
        let mut counted = RunCounts {
            from,
            runs: Vec::new(),
        };
        for read in join_all(reads).await {
            let (runs, complete_from) = read?;
            counted.from = counted.from.max(complete_from.unwrap_or(from));
            counted.runs.extend(runs);
        }
        let from = counted.from;
        counted.runs.retain(|(created_at, _)| *created_at >= from);
        counted
            .runs
            .sort_unstable_by_key(|(at, status)| std::cmp::Reverse((*at, status.as_str())));
        Ok(counted)
    }

    /// The runs of a partition, and from when on they are complete if there are too many.
    async fn counted_partition(
        &self,
        day: Date,
        shard: u8,
        range: (RunId, RunId),
    ) -> Result<(Vec<(Timestamp, Status)>, Option<Timestamp>), Error> {
        let request = self
            .partition(day, shard, range)
            .projection_expression("SK, #status")
            .expression_attribute_names("#status", STATUS);
        let mut left = MAX_PER_DAY / i32::from(self.run_shards);
        let (mut runs, mut start) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = request.clone().limit(left).set_exclusive_start_key(start);
            let response = page.send().await.map_err(super::classify)?;
            for item in response.items.unwrap_or_default() {
                let status = string_of(&item, STATUS).unwrap_or_default();
                let status = Status::ALL.into_iter().find(|own| own.as_str() == status);
                if let (Some(status), Some(id)) = (status, run_id_of(&item)) {
                    runs.push((id.created_at(), status));
                }
            }
            left -= response.scanned_count;
            start = response.last_evaluated_key;
            if start.is_none() || left <= 0 {
                break;
            }
        }
        let is_cut = start.is_some();
        let oldest = runs.last().map(|(at, _)| *at).filter(|_| is_cut);
        Ok((runs, oldest))
    }
}
