//! Every key of the table. Nowhere else is one spelled; `#` appears in no other file's strings.
//!
//! | item | `PK` | `SK` |
//! |---|---|---|
//! | tenant | `TENANT#<ten>` | `TENANT` |
//! | member | `TENANT#<ten>` | `MEMBER#<sub>` |
//! | API key | `TENANT#<ten>` | `KEY#<key>` |
//! | invitation | `TENANT#<ten>` | `INVITATION#<inv>` |
//! | secret | `TENANT#<ten>` | `SECRET#<name>` |
//! | audit log | `TENANT#<ten>#AUDIT#<yyyy-mm>` | `<aud>` |
//! | token → API key | `TENANT#<ten>` | `TOKEN#<keyed hash>` |
//! | workflow | `TENANT#<ten>` | `WORKFLOW#<wf>` |
//! | name → workflow | `TENANT#<ten>` | `NAME#<namespace>#<name>#<wf>` |
//! | version | `TENANT#<ten>` | `WORKFLOW#<wf>#V#<number, 8 digits>` |
//! | sample | `TENANT#<ten>` | `SAMPLE#<wf>#<name>` |
//! | its recording | `TENANT#<ten>` | `RECORDING#<wf>#<name>` |
//! | endpoint | `TENANT#<ten>` | `ENDPOINT#<whe>` |
//! | path secret → endpoint | `TENANT#<ten>` | `HOOK#<keyed hash>` |
//! | delivery that did not become a run, slot n | `TENANT#<ten>#DELIVERIES#<whe>` | `MINUTE#<n>` or `RECENT#<n>`, 2 digits |
//! | response to an `Idempotency-Key` | `TENANT#<ten>` | `IDEMPOTENCY#<hash>` |
//! | admission counter, shard s | `TENANT#<ten>#USAGE#<yyyy-mm>#<s>` | `USAGE` |
//! | dedup claim | `TENANT#<ten>#EVENT#<whe>#<hash of the event id>` | `EVENT` |
//! | run | `TENANT#<ten>#RUNS#<yyyy-mm-dd>#<s>` | `RUN#<run>` |
//! | log chunk | `TENANT#<ten>#RUN#<run>` | `LOG#<first seq, 8 digits>` |
//! | journal entry | `TENANT#<ten>#RUN#<run>` | `EFFECT#<place in the journal, 8 digits>` |
//! | emitted event | `TENANT#<ten>#RUN#<run>` | `EVENT#<number, 8 digits>` |
//! | run → its replay | `TENANT#<ten>#RUN#<run>` | `REPLAY#<run of the replay>` |
//! | end of a long wait | `TENANT#<ten>#RUN#<run>` | `WAKE#<seconds since 1970, 12 digits>#<wf>` |
//! | subscription | `TENANT#<ten>` | `SUBSCRIPTION` |
//! | runs in the phase `running`, counted, shard s | `TENANT#<ten>#RUNNING#<s>` | `RUNNING` |
//! | what is to be done at a time | `TENANT#<ten>` | `DUE#<task>` |
//! | run that is held back | `TENANT#<ten>#SUSPENDED` | `RUN#<run>` |
//! | how far completed runs were reported | `TENANT#<ten>` | `METER` |
//! | completed runs that were reported, of an hour | `TENANT#<ten>#METER#<yyyy-mm>` | `HOUR#<yyyy-mm-ddThh>` |
//! | payment provider's customer → tenant | `STRIPE#<cus>` | `CUSTOMER` |
//! | payment provider's event that was applied | `STRIPE_EVENT#<evt>` | `EVENT` |
//! | user → tenant | `USER#<sub>` | `TENANT#<ten>` |
//! | tenants that a user created in a month, counted | `USER#<sub>` | `CREATED#<yyyy-mm>` |
//! | lease and progress of the reconciler | `RECONCILER` | `PASS` |
//! | response to a user's `Idempotency-Key` | `USER#<sub>` | `IDEMPOTENCY#<hash>` |
//!
//! | index | its key | from |
//! |---|---|---|
//! | `active` | `active_hour` = `ACTIVE#<yyyy-mm-ddThh>#<s>` | admission counters |
//! | `active` | `active_hour` = `DUE#<yyyy-mm-ddThh>#<s>` | what is to be done at a time, ends of long waits |
//!
//! Keys are append-only: another shape is another row, and the old row stays reserved. Reserved by
//! the design: `ARTIFACT#`.

use std::collections::HashMap;

use aias_domain::{
    delivery::Slot,
    id::{AuditId, EndpointId, INDEX_SHARDS, InvitationId, KeyId, RunId, TenantId, WorkflowId},
    secret::SecretName,
    tenant::UserId,
};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::scheduled_tasks::Task;

/// The partition key's attribute.
pub(crate) const PK: &str = "PK";
/// The sort key's attribute.
pub(crate) const SK: &str = "SK";
/// The index of tenants by the hour of their last accepted run, and of scheduled tasks by hour.
pub(crate) const ACTIVE_INDEX: &str = "active";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn attributes(&self) -> HashMap<String, AttributeValue> {
        [(PK, &self.pk), (SK, &self.sk)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.clone())))
            .collect()
    }
}

/// Items of one partition with a common sort key prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) pk: String,
    pub(crate) prefix: String,
}

impl Range {
    /// The key of the item whose sort key ends with `rest`.
    pub(crate) fn key(&self, rest: &str) -> Key {
        Key {
            pk: self.pk.clone(),
            sk: format!("{}{rest}", self.prefix),
        }
    }
}

fn home(tenant: TenantId) -> String {
    format!("TENANT#{tenant}")
}

fn at_home(tenant: TenantId, sk: String) -> Key {
    Key {
        pk: home(tenant),
        sk,
    }
}

pub(crate) fn tenant(tenant: TenantId) -> Key {
    at_home(tenant, "TENANT".to_owned())
}

/// All items in the tenant's own partition.
pub(crate) fn everything(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "".to_owned(),
    }
}

pub(crate) fn member(tenant: TenantId, user: &UserId) -> Key {
    members(tenant).key(user.as_str())
}

pub(crate) fn members(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "MEMBER#".to_owned(),
    }
}

pub(crate) fn invitation(tenant: TenantId, invitation: InvitationId) -> Key {
    invitations(tenant).key(&invitation.to_string())
}

pub(crate) fn invitations(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "INVITATION#".to_owned(),
    }
}

pub(crate) fn api_key(tenant: TenantId, key: KeyId) -> Key {
    api_keys(tenant).key(&key.to_string())
}

pub(crate) fn api_keys(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "KEY#".to_owned(),
    }
}

pub(crate) fn secret(tenant: TenantId, name: &SecretName) -> Key {
    secrets(tenant).key(name.as_str())
}

pub(crate) fn secrets(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "SECRET#".to_owned(),
    }
}

pub(crate) fn audit(tenant: TenantId, at: Timestamp, id: AuditId) -> Key {
    audits(tenant, at).key(&id.to_string())
}

/// The audit log of a month.
pub(crate) fn audits(tenant: TenantId, at: Timestamp) -> Range {
    Range {
        pk: format!("{}#AUDIT#{}", home(tenant), at.strftime("%Y-%m")),
        prefix: String::new(),
    }
}

pub(crate) fn token(tenant: TenantId, hash: &str) -> Key {
    at_home(tenant, format!("TOKEN#{hash}"))
}

pub(crate) fn workflow(tenant: TenantId, workflow: WorkflowId) -> Key {
    workflows(tenant).key(&workflow.to_string())
}

pub(crate) fn workflows(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "WORKFLOW#".to_owned(),
    }
}

/// Workflows with one name, of which there may be several.
pub(crate) fn workflow_names(tenant: TenantId, namespace: &str, name: &str) -> Range {
    Range {
        pk: home(tenant),
        prefix: format!("NAME#{namespace}#{name}#"),
    }
}

pub(crate) fn version(tenant: TenantId, workflow: WorkflowId, number: u32) -> Key {
    versions(tenant, workflow).key(&version_rest(number))
}

pub(crate) fn versions(tenant: TenantId, workflow: WorkflowId) -> Range {
    Range {
        pk: home(tenant),
        prefix: format!("WORKFLOW#{workflow}#V#"),
    }
}

pub(crate) fn samples(tenant: TenantId, workflow: WorkflowId) -> Range {
    Range {
        pk: home(tenant),
        prefix: format!("SAMPLE#{workflow}#"),
    }
}

pub(crate) fn recordings(tenant: TenantId, workflow: WorkflowId) -> Range {
    Range {
        pk: home(tenant),
        prefix: format!("RECORDING#{workflow}#"),
    }
}

/// The end of a version's sort key.
pub(crate) fn version_rest(number: u32) -> String {
    format!("{number:08}")
}

pub(crate) fn endpoint(tenant: TenantId, endpoint: EndpointId) -> Key {
    endpoints(tenant).key(&endpoint.to_string())
}

pub(crate) fn endpoints(tenant: TenantId) -> Range {
    Range {
        pk: home(tenant),
        prefix: "ENDPOINT#".to_owned(),
    }
}

pub(crate) fn hook(tenant: TenantId, hash: &str) -> Key {
    at_home(tenant, format!("HOOK#{hash}"))
}

pub(crate) fn delivery(tenant: TenantId, endpoint: EndpointId, slot: Slot) -> Key {
    deliveries(tenant, endpoint).key(&match slot {
        Slot::Minute(number) => format!("MINUTE#{number:02}"),
        Slot::Recent(number) => format!("RECENT#{number:02}"),
    })
}

pub(crate) fn deliveries(tenant: TenantId, endpoint: EndpointId) -> Range {
    Range {
        pk: format!("TENANT#{tenant}#DELIVERIES#{endpoint}"),
        prefix: String::new(),
    }
}

pub(crate) fn idempotency(tenant: TenantId, hash: &str) -> Key {
    at_home(tenant, format!("IDEMPOTENCY#{hash}"))
}

pub(crate) fn user_idempotency(user: &UserId, hash: &str) -> Key {
    Key {
        pk: format!("USER#{user}"),
        sk: format!("IDEMPOTENCY#{hash}"),
    }
}

pub(crate) fn usage(tenant: TenantId, at: Timestamp, shard: u8) -> Key {
    let month = at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string();
    Key {
        pk: format!("TENANT#{tenant}#USAGE#{month}#{shard}"),
        sk: "USAGE".to_owned(),
    }
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The index key of a tenant with an accepted run at `at`. The hours of tenants begin at different
/// times, so that those with steady events do not all change their index key at once.
pub(crate) fn active_hour(tenant: TenantId, at: Timestamp) -> String {
    let (shards, spread) = (u16::from(INDEX_SHARDS), tenant.spread());
    let offset = SignedDuration::from_secs((spread / shards).into());
    active_key(at + offset, spread % shards)
}

fn active_key(at: Timestamp, shard: u16) -> String {
    format!("ACTIVE#{}#{shard}", hour(at))
}

/// The index keys of the tenants of a shard whose last accepted run was between `from` and `to`,
/// oldest first.
pub(crate) fn active_hours(
    shard: u8,
    from: Timestamp,
    to: Timestamp,
) -> impl Iterator<Item = String> {
    // The longest offset is more than an hour.
    let last = (to + HOUR * 2).as_second().div_euclid(3600);
    let first = from.as_second().div_euclid(3600);
    (first..=last).filter_map(move |number| {
        let at = Timestamp::from_second(number * 3600).ok()?;
        Some(active_key(at, shard.into()))
    })
}

/// The index key of a tenant's task scheduled for the hour of `at`.
pub(crate) fn task_hour(tenant: TenantId, at: Timestamp) -> String {
    due_key(at, tenant.spread() % u16::from(INDEX_SHARDS))
}

/// The index key of a run that continues in the hour of `at`.
pub(crate) fn wake_hour(run: RunId, at: Timestamp) -> String {
    due_key(at, run.index_shard().into())
}

fn due_key(at: Timestamp, shard: u16) -> String {
    format!("DUE#{}#{shard}", hour(at))
}

/// The index keys of everything that is due in the hour of `at`.
pub(crate) fn due_hours(at: Timestamp) -> impl Iterator<Item = String> {
    (0..INDEX_SHARDS).map(move |shard| due_key(at, shard.into()))
}

pub(crate) fn created_tenants(user: &UserId, at: Timestamp) -> Key {
    let month = at.to_zoned(TimeZone::UTC).strftime("%Y-%m");
    Key {
        pk: format!("USER#{user}"),
        sk: format!("CREATED#{month}"),
    }
}

pub(crate) fn reconciler_pass() -> Key {
    Key {
        pk: "RECONCILER".to_owned(),
        sk: "PASS".to_owned(),
    }
}

fn hour(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H")
        .to_string()
}

pub(crate) fn scheduled_task(tenant: TenantId, task: Task) -> Key {
    at_home(tenant, format!("DUE#{}", task.name()))
}

pub(crate) fn subscription(tenant: TenantId) -> Key {
    at_home(tenant, "SUBSCRIPTION".to_owned())
}

pub(crate) fn meter(tenant: TenantId) -> Key {
    at_home(tenant, "METER".to_owned())
}

pub(crate) fn running(tenant: TenantId, shard: u8) -> Key {
    Key {
        pk: format!("TENANT#{tenant}#RUNNING#{shard}"),
        sk: "RUNNING".to_owned(),
    }
}

pub(crate) fn suspended(tenant: TenantId, run: RunId) -> Key {
    all_suspended(tenant).key(&run.to_string())
}

pub(crate) fn all_suspended(tenant: TenantId) -> Range {
    Range {
        pk: format!("TENANT#{tenant}#SUSPENDED"),
        prefix: "RUN#".to_owned(),
    }
}

pub(crate) fn metered(tenant: TenantId, at: Timestamp) -> Key {
    all_metered(tenant, at).key(&hour(at))
}

/// The hours of a month that were metered.
pub(crate) fn all_metered(tenant: TenantId, at: Timestamp) -> Range {
    let month = at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string();
    Range {
        pk: format!("TENANT#{tenant}#METER#{month}"),
        prefix: "HOUR#".to_owned(),
    }
}

pub(crate) fn customer(id: &str) -> Key {
    Key {
        pk: format!("STRIPE#{id}"),
        sk: "CUSTOMER".to_owned(),
    }
}

pub(crate) fn applied(event: &str) -> Key {
    Key {
        pk: format!("STRIPE_EVENT#{event}"),
        sk: "EVENT".to_owned(),
    }
}

/// The tenant that a partition key starts with.
pub(crate) fn tenant_of(pk: &str) -> Option<TenantId> {
    pk.strip_prefix("TENANT#")?.split('#').next()?.parse().ok()
}

pub(crate) fn event(tenant: TenantId, endpoint: EndpointId, hash: &str) -> Key {
    Key {
        pk: format!("TENANT#{tenant}#EVENT#{endpoint}#{hash}"),
        sk: "EVENT".to_owned(),
    }
}

pub(crate) fn run(tenant: TenantId, run: RunId) -> Key {
    runs(tenant, run.day(), run.shard()).key(&run.to_string())
}

pub(crate) fn runs(tenant: TenantId, day: Date, shard: u8) -> Range {
    Range {
        pk: format!("TENANT#{tenant}#RUNS#{day}#{shard}"),
        prefix: "RUN#".to_owned(),
    }
}

pub(crate) fn log_chunk(tenant: TenantId, run: RunId, first: u32) -> Key {
    log_chunks(tenant, run).key(&format!("{first:08}"))
}

pub(crate) fn log_chunks(tenant: TenantId, run: RunId) -> Range {
    Range {
        pk: format!("TENANT#{tenant}#RUN#{run}"),
        prefix: "LOG#".to_owned(),
    }
}

/// All items in the run's own partition.
pub(crate) fn of_run(tenant: TenantId, run: RunId) -> Range {
    Range {
        pk: format!("TENANT#{tenant}#RUN#{run}"),
        prefix: "".to_owned(),
    }
}

pub(crate) fn journal(tenant: TenantId, run: RunId) -> Range {
    Range {
        prefix: "EFFECT#".to_owned(),
        ..of_run(tenant, run)
    }
}

pub(crate) fn events(tenant: TenantId, run: RunId) -> Range {
    Range {
        prefix: "EVENT#".to_owned(),
        ..of_run(tenant, run)
    }
}

pub(crate) fn replays(tenant: TenantId, run: RunId) -> Range {
    Range {
        prefix: "REPLAY#".to_owned(),
        ..of_run(tenant, run)
    }
}

/// The end of the sort key of a journal entry or of an event.
pub(crate) fn place(number: u32) -> String {
    format!("{number:08}")
}

pub(crate) fn wake(tenant: TenantId, run: RunId, workflow: WorkflowId, at: Timestamp) -> Key {
    let seconds = at.as_second();
    Range {
        prefix: "WAKE#".to_owned(),
        ..of_run(tenant, run)
    }
    .key(&format!("{seconds:012}#{workflow}"))
}

/// The parts of a wake's key.
pub(crate) fn wake_of(pk: &str, sk: &str) -> Option<(TenantId, RunId, WorkflowId, Timestamp)> {
    let (seconds, workflow) = sk.strip_prefix("WAKE#")?.split_once('#')?;
    Some((
        tenant_of(pk)?,
        pk.rsplit('#').next()?.parse().ok()?,
        workflow.parse().ok()?,
        Timestamp::from_second(seconds.parse().ok()?).ok()?,
    ))
}

pub(crate) fn user_tenant(user: &UserId, tenant: TenantId) -> Key {
    user_tenants(user).key(&tenant.to_string())
}

pub(crate) fn user_tenants(user: &UserId) -> Range {
    Range {
        pk: format!("USER#{user}"),
        prefix: "TENANT#".to_owned(),
    }
}

#[cfg(test)]
mod tests;
