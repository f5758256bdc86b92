//! Reports completed runs to Stripe's meter, each exactly once.
//!
//! Runs are counted by the hour in which they were accepted. A completed run stays completed, so
//! the count of an hour only grows, and each report has the difference to the previous one. An hour
//! is counted several times, since a run may complete long after it was accepted. A report is
//! stored before it is sent, with an identifier derived from what it counts
//! (`<tenant>.<hour>.<from>-<to>`). If the process dies in between, the same report is sent again,
//! and Stripe counts an identifier once.

use aias_billing::MeterReport;
use aias_platform::store::{Error as StoreError, Hour, Meter, Report, Stored, Task, TenantStore};
use jiff::{SignedDuration, Timestamp};

use crate::App;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Billing(#[from] aias_billing::Error),
}

/// How long after its end an hour is counted.
const PASSES: [SignedDuration; 4] = [
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(24),
    SignedDuration::from_hours(24 * 7),
    SignedDuration::from_hours(24 * 28),
];

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The most hours that one pass counts.
const MAX_HOURS: usize = 48;

fn hour_of(at: Timestamp) -> Timestamp {
    let second = at.as_second().div_euclid(3600) * 3600;
    Timestamp::from_second(second).unwrap_or(at)
}

/// Reports a tenant's completed runs, if that is scheduled.
pub(crate) async fn meter(app: &App, store: &TenantStore<'_>) -> Result<(), Error> {
    let now = app.clock.now();
    let Some(schedule) = store
        .task_schedule(Task::Meter)
        .await?
        .filter(|schedule| schedule.at <= now)
    else {
        return Ok(());
    };
    let (account, tenant) = tokio::try_join!(store.account(), store.tenant())?;
    let store = &tenant.map_or(*store, |own| store.with_run_shards(&own.value.limits(now)));
    let account = account.value;
    let entitled = account.plan_grant();
    let payer = entitled
        .subscription
        .filter(|own| own.state.status.is_live())
        .map(|own| own.customer_id.clone());
    let customer = payer.clone().or(account.customer_id);
    let mut own = store.meter().await?.unwrap_or_else(|| Stored {
        value: Meter {
            next: vec![hour_of(now); PASSES.len()],
            paused: true,
        },
        version: 0,
    });
    let Some(customer) = customer else {
        return Ok(store.finish_task(Task::Meter, &schedule, None).await?);
    };
    if payer.is_some() && own.value.paused {
        // Runs without a subscription are not reported.
        if let Some(first) = own.value.next.first_mut() {
            *first = hour_of(now).max(*first);
        }
    }
    own.value.paused = payer.is_none();
    let looked = look(app, store, &customer, &mut own.value, now).await;
    store.save_meter(&own).await?;
    looked?;
    Ok(store
        .finish_task(Task::Meter, &schedule, next(&own.value))
        .await?)
}

/// When the next hour must be counted; none if metering has stopped and all hours are complete.
fn next(meter: &Meter) -> Option<Timestamp> {
    let first = meter.next.first().copied();
    let due = meter.next.iter().zip(PASSES).enumerate();
    due.filter(|(look, (hour, _))| {
        if *look == 0 {
            !meter.paused
        } else {
            first.is_some_and(|first| **hour < first)
        }
    })
    .map(|(_, (hour, delay))| *hour + HOUR + delay)
    .min()
}

async fn look(
    app: &App,
    store: &TenantStore<'_>,
    customer: &str,
    meter: &mut Meter,
    now: Timestamp,
) -> Result<(), Error> {
    let mut left = MAX_HOURS;
    let first = meter.next.first().copied().unwrap_or(now);
    for (look, (hour, delay)) in meter.next.iter_mut().zip(PASSES).enumerate() {
        if look == 0 && meter.paused {
            continue;
        }
        while left > 0 && *hour + HOUR + delay <= now && (look == 0 || *hour < first) {
            let known = store.metered_hour(*hour).await?;
            // Later passes only count hours that the first pass has counted.
            if look == 0 || known.is_some() {
                report(app, store, customer, *hour, known).await?;
            }
            *hour += HOUR;
            left -= 1;
        }
    }
    Ok(())
}

async fn report(
    app: &App,
    store: &TenantStore<'_>,
    customer: &str,
    at: Timestamp,
    known: Option<Stored<Hour>>,
) -> Result<(), Error> {
    let mut hour = known.unwrap_or_else(|| Stored {
        value: Hour::default(),
        version: 0,
    });
    if hour.value.sending.is_some() {
        send(app, store, customer, at, &mut hour).await?;
    }
    let (from, to) = (hour.value.reported(), store.completed_runs(at).await?);
    if to > from {
        hour.value.sending = Some(Report {
            at: app.clock.now(),
            from,
            to,
        });
        store.save_metered_hour(at, &hour).await?;
        hour.version += 1;
        send(app, store, customer, at, &mut hour).await?;
    } else if hour.version == 0 {
        store.save_metered_hour(at, &hour).await?;
    }
    Ok(())
}

async fn send(
    app: &App,
    store: &TenantStore<'_>,
    customer: &str,
    at: Timestamp,
    hour: &mut Stored<Hour>,
) -> Result<(), Error> {
    let Some(report) = hour.value.sending.clone() else {
        return Ok(());
    };
    let tenant = store.tenant_id();
    let identifier = format!(
        "{}.{}.{}-{}",
        tenant.ulid(),
        at.strftime("%Y%m%dT%H"),
        report.from,
        report.to
    );
    let metered = MeterReport {
        customer_id: customer,
        value: report.to - report.from,
        identifier: &identifier,
        at: report.at,
    };
    app.stripe.meter(metered).await?;
    hour.value.reports.push(report);
    hour.value.sending = None;
    store.save_metered_hour(at, hour).await?;
    hour.version += 1;
    tracing::info!(event = "runs_metered", tenant_id = %tenant, identifier, value = metered.value);
    Ok(())
}
