//! Ingests one event.

use aias_domain::{
    canonical,
    endpoint::{DisabledStatus, EndpointState},
    event::{self, Body, EventError},
    id::RunId,
    plan,
    run::{Run, Status, Trigger},
    verification::{self, Handshake},
};
use aias_platform::{
    clock::random_id,
    http::{Fault, Head, Problem, Response, Result, WithHeader as _, kinds, response},
    runs::{SerializedInput, expiry, new_run},
    store::{Admission, Claim, ClaimResult, StoredRun, Task, TenantStore},
};
use axum::http::{StatusCode, header::LOCATION};
use jiff::Timestamp;
use tracing::{Span, field::display};

use crate::{App, WebhookAccepted, cache::ReadyEndpoint, rate_limit};

/// Verifies an event, stores it and sends the message of its run.
pub(crate) async fn ingest(app: &App, ready: &ReadyEndpoint, head: &Head, body: &[u8]) -> Result {
    let endpoint = &ready.found.endpoint.value;
    match endpoint.state() {
        EndpointState::Active => {}
        EndpointState::Disabled => return Err(disabled(endpoint.disabled_status)),
        EndpointState::PendingSecret => {
            let detail = "set it with PUT /api/webhook-endpoints/{id}/signing-secret";
            let problem = Problem::new(&kinds::ENDPOINT_PENDING_SECRET).detail(detail);
            return Err(problem.retry_after(RETRY_AFTER_SECONDS));
        }
    }
    if body.len() > ready.limits.body_bytes {
        return Err(Problem::too_large(ready.limits.body_bytes));
    }
    let now = app.clock.now();
    let own = event::Request {
        headers: head.headers().collect(),
        query: head.query(),
        body,
    };
    let signing = check_signature(ready, &own, now)?;
    let body = event::read_body(&own).map_err(refuse)?;
    let body = event::unwrap_payload(&ready.scheme, body).map_err(refuse)?;
    if event::is_ping(&ready.scheme, &own) {
        if endpoint.must_record_ping(now) {
            let store = app.intake.store.tenant(ready.found.proof);
            // Best effort: the provider only wants a response.
            let _ = store.record_ping(&ready.found.endpoint, now).await;
        }
        return Ok(response::plain("pong".to_owned()));
    }
    if ready.scheme.handshake == Handshake::SlackChallenge
        && let Some(challenge) = event::slack_challenge(&body)
    {
        return Ok(response::plain(challenge.0));
    }
    let event = Event {
        app,
        ready,
        store: &app.intake.store.tenant(ready.found.proof),
        request: &own,
        id: event::event_id(&ready.scheme, &own, &body).map_err(refuse)?,
        signing,
        now,
    };
    event.ingest(body).await
}

/// When a provider should retry an event that an endpoint cannot accept yet.
const RETRY_AFTER_SECONDS: i64 = 60;

fn disabled(status: DisabledStatus) -> Problem {
    match status {
        DisabledStatus::Gone => Problem::new(&kinds::ENDPOINT_DISABLED),
        DisabledStatus::Unavailable => {
            Problem::new(&kinds::ENDPOINT_DISABLED_FOR_NOW).retry_after(RETRY_AFTER_SECONDS)
        }
    }
}

fn check_signature(
    ready: &ReadyEndpoint,
    own: &event::Request<'_>,
    now: Timestamp,
) -> Result<Option<usize>> {
    let Some(signature) = &ready.scheme.signature else {
        return Ok(None);
    };
    let keys: Vec<Vec<u8>> = ready.keys.iter().map(|(_, key)| key.clone()).collect();
    let verified = verification::verify(signature, &keys, |name| own.header(name), own.body, now);
    match verified {
        Ok(index) => Ok(ready.keys.get(index).map(|(place, _)| *place)),
        Err(refusal) => {
            let endpoint_id = ready.found.endpoint.value.id;
            tracing::info!(event = "signature_refused", code = "signature-refused", %endpoint_id, reason = %refusal);
            Err(Problem::bad_signature())
        }
    }
}

fn refuse(error: EventError) -> Problem {
    let text = error.to_string();
    match error {
        EventError::Encoded(_) => Problem::unsupported_media_type(text),
        EventError::Json(e) => Problem::invalid(vec![Fault::new(e.pointer, e.detail)]),
        EventError::TooManyFields => Problem::new(&kinds::TOO_MANY_FIELDS).detail(text),
        EventError::BadEventId => Problem::new(&kinds::BAD_EVENT_ID).detail(text),
    }
}

/// A verified event.
struct Event<'a> {
    app: &'a App,
    ready: &'a ReadyEndpoint,
    store: &'a TenantStore<'a>,
    request: &'a event::Request<'a>,
    id: Option<String>,
    /// The index of the signing secret with which it was signed.
    signing: Option<usize>,
    now: Timestamp,
}

impl Event<'_> {
    /// Stores the event as a run, unless it is a duplicate or not admitted.
    async fn ingest(&self, body: Body) -> Result {
        let new_id = RunId::new(self.now, random_id());
        let (run, input) = self.pending_run(new_id, body)?;
        let (admitted, claimed, ()) = tokio::join!(
            self.app
                .intake
                .gate
                .admit(self.store, &self.ready.limits, self.now),
            self.claim(new_id),
            self.record_uses()
        );
        let (admitted, claimed) = (admitted?, claimed?);
        let run_id = match claimed {
            ClaimResult::New => new_id,
            ClaimResult::Duplicate {
                same_body: false, ..
            } => {
                self.revert(admitted).await;
                return Err(Problem::new(&kinds::EVENT_ID_REUSED));
            }
            ClaimResult::Duplicate { run_id, .. } => {
                if let Some(found) = self.store.run(run_id).await? {
                    self.revert(admitted).await;
                    return duplicate(self.app, self.store, &found).await;
                }
                run_id
            }
        };
        let run = Run {
            id: run_id,
            created_at: run_id.created_at(),
            ..run
        };
        self.accept(run, input, admitted).await
    }

    /// The run of the event, and its input.
    fn pending_run(&self, id: RunId, body: Body) -> Result<(Run, SerializedInput)> {
        let endpoint = &self.ready.found.endpoint.value;
        let name = self.id.clone().unwrap_or_else(|| id.to_string());
        let scheme = &self.ready.scheme;
        let input = event::workflow_input(&name, endpoint.id, self.now, scheme, self.request, body)
            .map_err(refuse)?;
        let input = SerializedInput::new(&input)?;
        let trigger = Trigger::Webhook {
            endpoint_id: endpoint.id,
            event_id: self.id.clone(),
        };
        let run = Run::pending(
            id,
            endpoint.workflow_id,
            endpoint.workflow_version,
            trigger,
            input.digest.clone(),
        );
        Ok((run, input))
    }

    /// Claims the event for a run, if it has an id.
    async fn claim(&self, run: RunId) -> Result<ClaimResult> {
        let Some(id) = &self.id else {
            return Ok(ClaimResult::New);
        };
        let claim = Claim {
            endpoint: &self.ready.found.endpoint.value,
            event_hash: &canonical::digest(id.as_bytes()),
            body_hash: &canonical::digest(self.request.body),
        };
        Ok(self.store.claim(claim, run, self.now).await?)
    }

    /// Records the use of the secrets. Best effort: a webhook does not fail because of this.
    async fn record_uses(&self) {
        let endpoint = &self.ready.found.endpoint;
        for (which, index) in self.ready.uses_to_record(self.signing, self.now) {
            let _ = self
                .store
                .record_use(endpoint, which, index, self.now)
                .await;
        }
    }

    /// Writes the run, as suspended if the monthly run quota is used up. The claim of a refused
    /// event stays: another delivery of it may be about to create the run.
    async fn accept(&self, run: Run, input: SerializedInput, admitted: Admission) -> Result {
        let (limits, intake) = (&self.ready.limits, &self.app.intake);
        let (admitted, is_suspended) = match admitted {
            Admission::QuotaExceeded(_) => {
                // Counted in the month of the run, in which resuming it is counted, too.
                let counted = self.store.admit_suspended(limits, run.created_at);
                (counted.await?, true)
            }
            Admission::Admitted(..) | Admission::RateExceeded(_) => (admitted, false),
        };
        let Admission::Admitted(_, left) = admitted else {
            return Err(rate_limit::refuse(limits, admitted, self.now));
        };
        let run_id = run.id;
        // A large input is stored only now, so that refused events and duplicates store nothing.
        let input = intake.store_input(self.store, input).await?;
        let mut response = if is_suspended {
            let mut run = new_run(run.suspend(), input, limits.retention_days);
            // Retained as long as it may be suspended, and then for another retention period.
            run.expires_at = expiry(plan::month_end(self.now), limits.retention_days);
            intake.suspend(self.store, &run, self.now).await?;
            accepted(run_id, Status::Suspended)?
        } else {
            let run = new_run(run, input, limits.retention_days);
            intake.create_run(self.store, &run).await?;
            accepted(run_id, Status::Pending)?
        };
        let rate = rate_limit::headers(limits, left, self.now);
        response.headers_mut().extend(rate);
        Ok(response)
    }

    async fn revert(&self, admitted: Admission) {
        if let Admission::Admitted(place, _) = admitted {
            // If this fails, the month has one run too few, never one too many.
            let _ = self.store.revert_admission(place).await;
        }
    }
}

/// The response to a duplicate. The process that accepted the first delivery may have died before
/// it sent the message, so it is sent again.
async fn duplicate(app: &App, store: &TenantStore<'_>, found: &StoredRun) -> Result {
    let run = &found.run;
    match run.status {
        Status::Pending => app.intake.enqueue(store, found).await?,
        Status::Suspended => {
            let turn = plan::month_end(app.clock.now());
            store.schedule_task(Task::Resume, turn).await?;
        }
        Status::Running
        | Status::Waiting
        | Status::Cancelled
        | Status::Faulted
        | Status::Completed => {}
    }
    respond(StatusCode::OK, run.id, run.status)
}

fn accepted(run_id: RunId, status: Status) -> Result<Response> {
    respond(StatusCode::ACCEPTED, run_id, status)
}

fn respond(code: StatusCode, run_id: RunId, status: Status) -> Result {
    Span::current().record("run_id", display(run_id));
    let view = WebhookAccepted {
        run_id,
        status,
        duplicate: code == StatusCode::OK,
    };
    Ok(response::json(code, &view)?.with(LOCATION, format!("/api/runs/{run_id}")))
}
