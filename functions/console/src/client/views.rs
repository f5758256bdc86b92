//! The objects of the API, as far as pages show them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Fault;

/// Structs of the members that pages use.
macro_rules! views {
    ($($(#[$meta:meta])* $name:ident { $($(#[$member_meta:meta])* $member:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Deserialize)]
        pub(crate) struct $name {
            $($(#[$member_meta])* pub(crate) $member: $type,)*
        }
    )*};
}

#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

views! {
    Run {
        id: String,
        status: String,
        workflow_id: String,
        workflow_version: Option<u32>,
        trigger: Trigger,
        input_digest: String,
        output_digest: Option<String>,
        error: Option<RunError>,
        attempts: u32,
        artifacts: Vec<ArtifactSummary>,
        children: Vec<ChildRun>,
        #[serde(default)]
        replays: Vec<String>,
        created_at: String,
        started_at: Option<String>,
        ended_at: Option<String>,
        duration_ms: Option<u64>,
        wakes_at: Option<String>,
        output: Option<Value>,
    }
    Trigger {
        #[serde(rename = "type")]
        kind: String,
        endpoint_id: Option<String>,
        event_id: Option<String>,
        replay_of: Option<String>,
        parent_run_id: Option<String>,
    }
    RunError {
        code: String,
        title: String,
        detail: Option<String>,
        instance: Option<String>,
        status: u16,
    }
    ArtifactSummary { id: String, name: String, size_bytes: u64 }
    ChildRun { run_id: String, task: String }
    LogEntry {
        seq: u32,
        time: String,
        level: String,
        task: Option<String>,
        event: String,
        message: String,
        attempt: u32,
        duration_ms: u64,
        error: Option<RunError>,
    }
    Step {
        task: String,
        status: String,
        attempt: u32,
        elapsed_ms: u64,
        input: Option<Value>,
        output: Option<Value>,
        expressions: Vec<Evaluation>,
        calls: Vec<RecordedCall>,
        error: Option<RunError>,
        #[serde(default)]
        truncated: Vec<String>,
    }
    Evaluation {
        pointer: String,
        expression: String,
        result: Option<Value>,
        error: Option<String>,
    }
    RecordedCall { request: Value, requested_at: String, result: Option<Value> }
    Comparison {
        equal: bool,
        output_patch: Option<Vec<Value>>,
        first_difference: Option<FirstDifference>,
    }
    FirstDifference { index: u32, this: Option<Step>, other: Option<Step> }
    Verified { reproducible: bool, expected_digest: String, actual_digest: Option<String> }
    RunAccepted { run_id: String }
    RunCounts { data: Vec<CountedPeriod>, complete: bool }
    CountedPeriod { from: String, runs: u64, by_status: BTreeMap<String, u64> }
    ErrorGroup {
        workflow_id: String,
        code: String,
        task: Option<String>,
        title: String,
        message: Option<String>,
        count: u64,
        last_at: String,
        last_run_id: String,
    }
    ReceivedSecret { secret: Option<String> }
    SampleHead {
        name: String,
        workflow_version: u32,
        run_id: Option<String>,
        source: Option<String>,
        updated_at: String,
    }
    ChangedSample {
        name: String,
        error: Option<RunError>,
        output_patch: Value,
    }
    WorkflowHead {
        id: String,
        name: String,
        namespace: String,
        version: u32,
        active_version: u32,
        enabled: bool,
        disabled_reason: Option<String>,
        updated_at: String,
    }
    Workflow {
        #[serde(flatten)]
        head: WorkflowHead,
        digest: String,
        definition: Map<String, Value>,
        #[serde(default)]
        warnings: Vec<Fault>,
    }
    VersionHead { version: u32, digest: String, created_at: String }
    Version {
        #[serde(flatten)]
        head: VersionHead,
        definition: Map<String, Value>,
    }
    DryRun {
        status: String,
        output: Option<Value>,
        error: Option<RunError>,
        steps: Vec<Step>,
        logs: Vec<LogEntry>,
        #[serde(default)]
        warnings: Vec<Fault>,
    }
    Endpoint {
        id: String,
        name: String,
        workflow_id: String,
        workflow_version: Option<u32>,
        enabled: bool,
        state: String,
        disabled_reason: Option<String>,
        disabled_status: u16,
        verification: Verification,
        url_secrets: Vec<EndpointSecret>,
        signing_secrets: Vec<EndpointSecret>,
        last_ping_at: Option<String>,
        refusing_since: Option<String>,
        #[serde(default)]
        event_types: Vec<String>,
        created_at: String,
        /// In the response to a creation or a rotation.
        url: Option<String>,
        secret: Option<String>,
    }
    Delivery {
        time: String,
        run_id: Option<String>,
        source_ip: Option<String>,
        event_id: Option<String>,
        event_type: Option<String>,
        status: u16,
        reason: Option<String>,
        detail: Option<String>,
    }
    Verification {
        scheme: String,
        header: Option<String>,
        prefix: Option<String>,
        /// In the response to a creation, if AIAS generated it.
        secret: Option<String>,
    }
    SourceCheck {
        verified: bool,
        reason: Option<String>,
        detail: String,
        hint: Option<String>,
        forms: Vec<SignatureCheck>,
        event_id: Option<String>,
        event_type: Option<String>,
    }
    SignatureCheck {
        at: String,
        method: String,
        detail: String,
        given: Option<String>,
        signed: Option<String>,
        expected: Option<String>,
        differs_at: Option<usize>,
    }
    EndpointSecret { created_at: String, last_used_at: Option<String>, valid_until: Option<String> }
    Artifact {
        id: String,
        run_id: String,
        workflow_id: String,
        name: String,
        content_type: String,
        size_bytes: u64,
        digest: String,
        created_at: String,
        expires_at: String,
        preview: Option<String>,
    }
    Tenant { id: String, name: String, plan: String, role: String }
    Member {
        user_id: String,
        role: String,
        created_at: String,
        disabled_reason: Option<String>,
    }
    Invitation {
        id: String,
        role: String,
        email: Option<String>,
        user_id: Option<String>,
        expires_at: String,
        accepted_by: Option<String>,
        /// In the response to its creation.
        token: Option<String>,
    }
    ApiKey {
        id: String,
        name: String,
        role: String,
        created_at: String,
        expires_at: Option<String>,
        disabled_reason: Option<String>,
        /// In the response to its creation.
        key: Option<String>,
    }
    Secret { name: String, created_at: String, updated_at: String }
    AuditEntry {
        time: String,
        action: String,
        actor: AuditActor,
        target: AuditTarget,
        before: Option<Value>,
        after: Option<Value>,
        source_ip: Option<String>,
        request_id: Option<String>,
    }
    AuditActor {
        #[serde(rename = "type")]
        kind: String,
        id: Option<String>,
    }
    AuditTarget {
        #[serde(rename = "type")]
        kind: String,
        id: String,
    }
    Entitlement {
        feature: String,
        limit: u64,
        used: Option<u64>,
        resets_at: Option<String>,
    }
    Subscription {
        plan: String,
        status: String,
        subscribed_plan: Option<String>,
        current_period_end: Option<String>,
        cancel_at: Option<String>,
        past_due_since: Option<String>,
        grace_ends_at: Option<String>,
    }
    Invoice {
        id: String,
        status: String,
        amount_due: i64,
        currency: String,
        created_at: Option<String>,
        hosted_invoice_url: Option<String>,
    }
    StripePage { url: String }
    Diagnostics {
        version: String,
        checks: BTreeMap<String, String>,
        queue: Option<QueueState>,
        runs: RunsState,
        request_rate: RequestRate,
        configuration: Vec<ConfigurationCheck>,
    }
    QueueState { messages: u64, in_flight: u64, delayed: u64, dead_letters: u64 }
    RunsState {
        by_status: BTreeMap<String, u64>,
        faulted_by_code: BTreeMap<String, u64>,
        complete: bool,
        oldest_pending_at: Option<String>,
        running: u64,
    }
    RequestRate { limit: u32, remaining: u32, resets_in_seconds: i64 }
    ConfigurationCheck { name: String, status: String, detail: String }
}

impl Run {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&*self.status, "cancelled" | "faulted" | "completed")
    }
}

impl CountedPeriod {
    pub(crate) fn faulted(&self) -> u64 {
        self.by_status.get("faulted").copied().unwrap_or_default()
    }
}
