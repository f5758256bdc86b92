//! Admission: limits are exact, also under concurrency.

use std::time::Duration;

use aias_domain::plan::{Limits, MAX_SHARDS, PlanName};
use aias_platform::store::{Admission, Gate, TenantStore};
use futures_util::future::join_all;
use jiff::Timestamp;

use crate::store::{store, with_tenant};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-21T12:00:00Z")
}

fn limits(runs: u64, events_per_second: u64, shards: u8) -> Limits {
    Limits {
        runs_per_month: runs,
        suspended_runs: 3,
        events_per_second,
        shards,
        ..PlanName::Free.limits()
    }
}

/// The results of fifty concurrent events, repeated, each from a function that remembers nothing.
async fn storm(own: &TenantStore<'_>, limits: &Limits, times: usize) -> Vec<Admission> {
    let mut all = Vec::new();
    for _ in 0..times {
        let fifty = (0..50).map(|_| async { Gate::default().admit(own, limits, now()).await });
        all.extend(join_all(fifty).await.into_iter().map(Result::unwrap));
    }
    all
}

fn admitted(all: &[Admission]) -> usize {
    let is = |a: &&Admission| matches!(a, Admission::Admitted(..));
    all.iter().filter(is).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn monthly_quota_is_exact() {
    let store = store().await;
    for shards in [1, MAX_SHARDS] {
        let own = with_tenant(&store).await;
        let all = storm(&own, &limits(123, 1_000, shards), 4).await;
        assert_eq!(admitted(&all), 123, "{shards} shards");
        let refused = |a: &Admission| matches!(a, Admission::QuotaExceeded(_));
        assert!(all[150..].iter().all(refused), "{shards} shards");
        assert_eq!(
            own.usage(&limits(123, 1_000, shards), now())
                .await
                .unwrap()
                .runs,
            123
        );
        // An event whose count is reverted can be counted again, in any shard.
        let Some(Admission::Admitted(place, _)) = all.first() else {
            panic!("{:?}", all.first());
        };
        own.revert_admission(*place).await.unwrap();
        let all = storm(&own, &limits(123, 1_000, shards), 1).await;
        assert_eq!(admitted(&all), 1, "{shards} shards");
        let next = at("2026-12-01T00:00:00Z");
        let turned = Gate::default()
            .admit(&own, &limits(123, 1_000, shards), next)
            .await;
        assert!(matches!(turned.unwrap(), Admission::Admitted(..)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_rate_is_exact() {
    let store = store().await;
    for shards in [1, MAX_SHARDS] {
        let own = with_tenant(&store).await;
        // 12 a second are 120 in ten seconds.
        let all = storm(&own, &limits(10_000, 12, shards), 4).await;
        assert_eq!(admitted(&all), 120, "{shards} shards");
        let refused = |a: &Admission| matches!(a, Admission::RateExceeded(_));
        assert!(all[150..].iter().all(refused), "{shards} shards");
        assert_eq!(
            own.usage(&limits(10_000, 12, shards), now())
                .await
                .unwrap()
                .runs,
            120
        );
    }
}

#[tokio::test]
async fn new_window_starts_at_zero() {
    let store = store().await;
    let limits = limits(1_000_000, 1, 1);
    // Consecutive windows, distant ones, and ones with the same name: 31 windows are 310 seconds.
    for pause in [10, 20, 300, 310, 620, 3_100, 86_400] {
        let own = with_tenant(&store).await;
        for round in 0..3_u64 {
            let now = now() + Duration::from_secs(round * pause);
            for n in 0..10 {
                let got = Gate::default().admit(&own, &limits, now).await.unwrap();
                let Admission::Admitted(_, left) = got else {
                    panic!("{pause} s, round {round}, event {n}: {got:?}");
                };
                assert_eq!(left.events, 9 - n, "{pause} s");
            }
            let got = Gate::default().admit(&own, &limits, now).await.unwrap();
            assert!(
                matches!(got, Admission::RateExceeded(_)),
                "{pause} s: {got:?}"
            );
        }
    }
}

#[tokio::test]
async fn late_event_counts_in_newer_window() {
    let store = store().await;
    let limits = limits(1_000_000, 1, 1);
    let own = with_tenant(&store).await;
    let admit = async |now| Gate::default().admit(&own, &limits, now).await.unwrap();
    let (before, after) = (at("2026-11-21T12:00:09.999Z"), at("2026-11-21T12:00:10Z"));
    assert!(matches!(admit(before).await, Admission::Admitted(..)));
    // Ten events in the new window, every other one from a clock that is slightly behind.
    for n in 0..10 {
        let got = admit(if n % 2 == 0 { after } else { before }).await;
        let Admission::Admitted(_, left) = got else {
            panic!("event {n}: {got:?}");
        };
        assert_eq!(left.events, 9 - n);
    }
    for now in [before, after, before, after] {
        assert!(matches!(admit(now).await, Admission::RateExceeded(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_shards_are_used_before_refusal() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let limits = limits(1_600, 10_000, MAX_SHARDS);
    let gate = Gate::default();
    let all = join_all((0..1_600).map(|_| gate.admit(&own, &limits, now()))).await;
    let all: Vec<Admission> = all.into_iter().map(Result::unwrap).collect();
    // Nothing was refused while a shard had quota left, and each shard used its share.
    assert_eq!(admitted(&all), 1_600);
    assert!(matches!(
        gate.admit(&own, &limits, now()).await.unwrap(),
        Admission::QuotaExceeded(_)
    ));
    assert_eq!(own.usage(&limits, now()).await.unwrap().runs, 1_600);
    // A larger plan takes effect at once, although the gate remembers that the smaller one was used
    // up.
    let larger = Limits {
        runs_per_month: 3_200,
        ..limits
    };
    assert!(matches!(
        gate.admit(&own, &larger, now()).await.unwrap(),
        Admission::Admitted(..)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_within_month_keeps_quota_exact() {
    let store = store().await;
    let own = with_tenant(&store).await;
    assert_eq!(admitted(&storm(&own, &limits(20, 1_000, 1), 1).await), 20);
    // A share of the large plan, 25, is at least all of the small one.
    let all = storm(&own, &limits(400, 1_000, MAX_SHARDS), 10).await;
    assert_eq!(admitted(&all), 380);
    assert_eq!(
        own.usage(&limits(400, 1_000, MAX_SHARDS), now())
            .await
            .unwrap()
            .runs,
        400
    );
}

#[tokio::test]
async fn suspended_quota_is_exact() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let limits = limits(0, 1_000, 1);
    let held = join_all((0..50).map(|_| own.admit_suspended(&limits, now()))).await;
    let held: Vec<Admission> = held.into_iter().map(Result::unwrap).collect();
    assert_eq!(admitted(&held), 3);
    assert_eq!(own.usage(&limits, now()).await.unwrap().suspended, 3);
}
