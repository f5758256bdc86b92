//! Admission: exact at every limit, whoever comes at once.

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

/// What fifty at once get, over and over, each of an environment that remembers nothing.
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
async fn the_month_admits_exactly_its_runs() {
    let store = store().await;
    for shards in [1, MAX_SHARDS] {
        let own = with_tenant(&store).await;
        let all = storm(&own, &limits(123, 1_000, shards), 4).await;
        assert_eq!(admitted(&all), 123, "{shards} shards");
        let refused = |a: &Admission| matches!(a, Admission::MonthFull(_));
        assert!(all[150..].iter().all(refused), "{shards} shards");
        assert_eq!(own.usage(now()).await.unwrap().runs, 123);
        // One that is given back may come again, wherever it was counted.
        let Some(Admission::Admitted(place, _)) = all.first() else {
            panic!("{:?}", all.first());
        };
        own.unadmit(*place).await.unwrap();
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
async fn a_window_admits_exactly_its_events() {
    let store = store().await;
    for shards in [1, MAX_SHARDS] {
        let own = with_tenant(&store).await;
        // 12 a second are 120 in ten.
        let all = storm(&own, &limits(10_000, 12, shards), 4).await;
        assert_eq!(admitted(&all), 120, "{shards} shards");
        let refused = |a: &Admission| matches!(a, Admission::RateFull(_));
        assert!(all[150..].iter().all(refused), "{shards} shards");
        assert_eq!(own.usage(now()).await.unwrap().runs, 120);
    }
}

#[tokio::test]
async fn every_window_begins_anew_whenever_the_one_before_was() {
    let store = store().await;
    let limits = limits(1_000_000, 1, 1);
    // Windows that follow, that are far, and that have the same name: 31 windows are 310 seconds.
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
            assert!(matches!(got, Admission::RateFull(_)), "{pause} s: {got:?}");
        }
    }
}

#[tokio::test]
async fn an_event_that_comes_after_its_window_counts_in_the_newer_one() {
    let store = store().await;
    let limits = limits(1_000_000, 1, 1);
    let own = with_tenant(&store).await;
    let admit = async |now| Gate::default().admit(&own, &limits, now).await.unwrap();
    let (before, after) = (at("2026-11-21T12:00:09.999Z"), at("2026-11-21T12:00:10Z"));
    assert!(matches!(admit(before).await, Admission::Admitted(..)));
    // Ten of the new window, every other one from a clock that is a moment behind.
    for n in 0..10 {
        let got = admit(if n % 2 == 0 { after } else { before }).await;
        let Admission::Admitted(_, left) = got else {
            panic!("event {n}: {got:?}");
        };
        assert_eq!(left.events, 9 - n);
    }
    for now in [before, after, before, after] {
        assert!(matches!(admit(now).await, Admission::RateFull(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_tenant_is_counted_in_all_shards_and_told_once_that_they_are_full() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let limits = limits(1_600, 10_000, MAX_SHARDS);
    let gate = Gate::default();
    let all = join_all((0..1_600).map(|_| gate.admit(&own, &limits, now()))).await;
    let all: Vec<Admission> = all.into_iter().map(Result::unwrap).collect();
    // No one was refused while anything was left, and each shard has its share.
    assert_eq!(admitted(&all), 1_600);
    assert!(matches!(
        gate.admit(&own, &limits, now()).await.unwrap(),
        Admission::MonthFull(_)
    ));
    assert_eq!(own.usage(now()).await.unwrap().runs, 1_600);
    // A larger plan is seen at once, though the gate remembers the smaller one's end.
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
async fn an_upgrade_to_a_wide_plan_in_a_month_admits_no_more_than_it_allows() {
    let store = store().await;
    let own = with_tenant(&store).await;
    assert_eq!(admitted(&storm(&own, &limits(20, 1_000, 1), 1).await), 20);
    // A share of the wide plan, 25, is no less than all of the narrow one.
    let all = storm(&own, &limits(400, 1_000, MAX_SHARDS), 10).await;
    assert_eq!(admitted(&all), 380);
    assert_eq!(own.usage(now()).await.unwrap().runs, 400);
}

#[tokio::test]
async fn the_grace_holds_exactly_its_events() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let limits = limits(0, 1_000, 1);
    let held = join_all((0..50).map(|_| own.hold(&limits, now()))).await;
    let held: Vec<Admission> = held.into_iter().map(Result::unwrap).collect();
    assert_eq!(admitted(&held), 3);
    assert_eq!(own.usage(now()).await.unwrap().suspended, 3);
}
