use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;
const START: i64 = 1_700_000_000;

fn state(status: Status, plan: PlanName) -> State {
    State {
        status,
        plan: Some(plan),
        current_period_end: Some(START + 30 * DAY),
        cancel_at: None,
    }
}

fn subscription(status: Status, plan: PlanName) -> Fact {
    Fact::Subscription {
        id: "sub_1".into(),
        customer_id: "cus_1".into(),
        state: state(status, plan),
    }
}

fn invoice(at: i64, good: bool) -> Fact {
    Fact::Invoice {
        subscription_id: Some("sub_1".into()),
        customer_id: "cus_1".into(),
        good: Some(good),
        invoice: Invoice {
            as_of: at,
            id: format!("in_{at}"),
            status: if good { "paid" } else { "open" }.into(),
            amount_due: 2_000,
            currency: "usd".into(),
            hosted_url: None,
        },
    }
}

/// Checkout, paid, upgraded, past due, recovered, past due again, canceled.
fn life() -> Vec<(i64, Fact)> {
    let checkout = Fact::Checkout {
        customer_id: "cus_1".into(),
        subscription_id: Some("sub_1".into()),
    };
    vec![
        (START, subscription(Status::Incomplete, PlanName::Pro)),
        (START + 1, invoice(START + 1, true)),
        (START + 2, subscription(Status::Active, PlanName::Pro)),
        (START + 3, checkout),
        (
            START + 10 * DAY,
            subscription(Status::Active, PlanName::Business),
        ),
        (START + 30 * DAY, invoice(START + 30 * DAY, false)),
        (
            START + 30 * DAY + 1,
            subscription(Status::PastDue, PlanName::Business),
        ),
        (START + 33 * DAY, invoice(START + 33 * DAY, false)),
        (START + 34 * DAY, invoice(START + 34 * DAY, true)),
        (
            START + 34 * DAY + 1,
            subscription(Status::Active, PlanName::Business),
        ),
        (START + 60 * DAY, invoice(START + 60 * DAY, false)),
        (
            START + 60 * DAY + 1,
            subscription(Status::PastDue, PlanName::Business),
        ),
        (
            START + 70 * DAY,
            subscription(Status::Canceled, PlanName::Business),
        ),
    ]
}

fn applied(facts: &[(i64, Fact)]) -> Account {
    let mut account = Account::default();
    for (at, fact) in facts {
        account.apply(*at, fact);
    }
    account
}

/// The plan, its end, and the start of the overdue payment, in days after the start.
fn grant_of(facts: &[(i64, Fact)]) -> (PlanName, Option<i64>, Option<i64>) {
    let account = applied(facts);
    let grant = account.plan_grant();
    let days = |at: Timestamp| (at.as_second() - START) / DAY;
    (
        grant.plan,
        grant.until.map(days),
        grant.past_due_since.map(days),
    )
}

#[test]
fn events_in_order() {
    let life = life();
    let after = |n: usize| grant_of(&life[..n]);
    assert_eq!(after(0), (PlanName::Free, None, None));
    assert_eq!(after(1), (PlanName::Free, None, None));
    assert_eq!(after(4), (PlanName::Pro, None, None));
    assert_eq!(after(5), (PlanName::Business, None, None));
    // The grace period starts at the first failure, not at the newest.
    assert_eq!(after(6), (PlanName::Business, Some(44), Some(30)));
    assert_eq!(after(8), (PlanName::Business, Some(44), Some(30)));
    assert_eq!(after(9), (PlanName::Business, None, None));
    assert_eq!(after(12), (PlanName::Business, Some(74), Some(60)));
    assert_eq!(after(13), (PlanName::Free, None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn events_in_any_order_and_twice_give_same_account(
        order in Just((0..26_usize).collect::<Vec<_>>()).prop_shuffle(),
        until in 1..=13_usize,
    ) {
        let life = &life()[..until];
        let shuffled: Vec<_> = order
            .into_iter()
            .map(|n| n % 13)
            .filter_map(|n| life.get(n).cloned())
            .collect();
        prop_assert_eq!(applied(&shuffled), applied(life));
    }

    #[test]
    fn two_states_in_same_second_are_ambiguous(
        first in 0..4_usize,
        second in 0..4_usize,
    ) {
        let states = [
            subscription(Status::Incomplete, PlanName::Pro),
            subscription(Status::Active, PlanName::Pro),
            subscription(Status::Active, PlanName::Business),
            subscription(Status::Canceled, PlanName::Pro),
        ];
        let (one, two) = (&states[first], &states[second]);
        let there = applied(&[(START, one.clone()), (START, two.clone())]);
        let back = applied(&[(START, two.clone()), (START, one.clone())]);
        prop_assert_eq!(&there, &back);
        let mut account = applied(&[(START, one.clone())]);
        let ambiguous = ApplyResult::Ambiguous { subscription_id: "sub_1".into() };
        let applied = account.apply(START, two);
        let final_now = first == 3 || second == 3;
        prop_assert_eq!(applied == ambiguous, first != second && !final_now);
    }
}

#[test]
fn customer_account_is_merged_into_tenant() {
    let life = life();
    for cut in 0..=life.len() {
        let (before, after) = life.split_at(cut);
        let mut tenant = applied(after);
        tenant.merge(applied(before));
        assert_eq!(tenant, applied(&life), "{cut}");
    }
}

#[test]
fn queried_state_replaces_older_facts() {
    let mut account = applied(&life()[..1]);
    account.apply_queried(
        START + 100,
        "sub_1",
        "cus_1",
        &state(Status::Active, PlanName::Business),
    );
    assert_eq!(
        account.apply(START + 50, &subscription(Status::Active, PlanName::Pro)),
        ApplyResult::Applied
    );
    assert_eq!(account.plan_grant().plan, PlanName::Business);
    assert!(matches!(
        account.apply(START + 100, &subscription(Status::Active, PlanName::Pro)),
        ApplyResult::Ambiguous { .. }
    ));
}

#[test]
fn two_payments_in_same_second_are_ambiguous() {
    let mut account = applied(&life()[..4]);
    let at = START + 2;
    assert!(matches!(
        account.apply(at, &invoice(at, false)),
        ApplyResult::Ambiguous { .. }
    ));
    assert_eq!(account.plan_grant().past_due_since, None);
    account.apply_queried(at, "sub_1", "cus_1", &state(Status::PastDue, PlanName::Pro));
    assert!(account.plan_grant().past_due_since.is_some());
    assert!(matches!(
        account.apply(at, &invoice(at, true)),
        ApplyResult::Ambiguous { .. }
    ));
}

#[test]
fn checkout_of_unknown_subscription_is_ambiguous() {
    let checkout = Fact::Checkout {
        customer_id: "cus_1".into(),
        subscription_id: Some("sub_1".into()),
    };
    let mut account = Account::default();
    assert!(matches!(
        account.apply(START, &checkout),
        ApplyResult::Ambiguous { .. }
    ));
    // A checkout alone does not decide which customer the tenant buys as.
    assert_eq!(account.customer_id, None);
    assert_eq!(account.plan_grant().plan, PlanName::Free);
}

#[test]
fn deleted_customer_gives_no_plan() {
    let deleted = Fact::CustomerDeleted {
        customer_id: "cus_1".into(),
    };
    let mut account = applied(&life()[..5]);
    account.adopt("cus_1");
    account.apply(START + 20 * DAY, &deleted);
    account.apply(
        START + 21 * DAY,
        &subscription(Status::Active, PlanName::Business),
    );
    account.adopt("cus_1");
    assert_eq!(account.plan_grant().plan, PlanName::Free);
    assert_eq!(
        (account.customer_id.as_deref(), account.generation()),
        (None, 1)
    );
}

#[test]
fn ended_subscription_does_not_affect_new_one() {
    let mut account = applied(&life()[..5]);
    let second = Fact::Subscription {
        id: "sub_2".into(),
        customer_id: "cus_1".into(),
        state: state(Status::Active, PlanName::Pro),
    };
    account.apply(START + 11 * DAY, &second);
    account.apply(
        START + 12 * DAY,
        &subscription(Status::Canceled, PlanName::Business),
    );
    let grant = account.plan_grant();
    assert_eq!(grant.plan, PlanName::Pro);
    assert_eq!(grant.subscription.unwrap().id, "sub_2");
}

#[test]
fn stored_history_is_limited() {
    let mut account = Account::default();
    for n in 0..100 {
        let fact = Fact::Subscription {
            id: format!("sub_{n:03}"),
            customer_id: "cus_1".into(),
            state: state(
                if n == 7 {
                    Status::Active
                } else {
                    Status::Canceled
                },
                PlanName::Pro,
            ),
        };
        account.apply(START + n, &fact);
        account.apply(START + n, &invoice(START + n, n % 2 == 0));
    }
    assert!(account.subscriptions.len() <= MAX_SUBSCRIPTIONS);
    assert!(
        account
            .subscriptions
            .iter()
            .all(|s| s.payments.len() <= MAX_PAYMENTS)
    );
    assert_eq!(account.plan_grant().subscription.unwrap().id, "sub_007");
}

#[test]
fn unpaid_larger_plan_does_not_hide_a_paid_one() {
    let mut account = Account::default();
    account.apply(START, &subscription(Status::Active, PlanName::Business));
    account.apply(START + DAY, &invoice(START + DAY, false));
    assert_eq!(account.plan_grant().plan, PlanName::Business);
    let second = Fact::Subscription {
        id: "sub_2".into(),
        customer_id: "cus_1".into(),
        state: state(Status::Active, PlanName::Pro),
    };
    account.apply(START + 2 * DAY, &second);
    let grant = account.plan_grant();
    assert_eq!((grant.plan, grant.until), (PlanName::Pro, None));
}
