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
    let event_id = event::event_id(&ready.scheme, &own, &body).map_err(refuse)?;
    let run_id = RunId::new(now, random_id());
    let event = Event {
        id: event_id,
        body,
        signing,
        now,
    };
    event.store(app, ready, &own, run_id).await
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

struct Event {
    id: Option<String>,
    body: Body,
    signing: Option<usize>,
    now: Timestamp,
}

impl Event {
    async fn store(
        self,
        app: &App,
        ready: &ReadyEndpoint,
        own: &event::Request<'_>,
        run_id: RunId,
    ) -> Result {
        let endpoint = &ready.found.endpoint.value;
        let store = &app.intake.store.tenant(ready.found.proof);
        let now = self.now;
        let body_hash = canonical::digest(own.body);
        let event_hash = self
            .id
            .as_deref()
            .map(|id| canonical::digest(id.as_bytes()));
        let name = self.id.clone().unwrap_or_else(|| run_id.to_string());
        let input = event::workflow_input(&name, endpoint.id, now, &ready.scheme, own, self.body)
            .map_err(refuse)?;
        let input = SerializedInput::new(&input)?;
        let trigger = Trigger::Webhook {
            endpoint_id: endpoint.id,
            event_id: self.id,
        };
        let run = Run::pending(
            run_id,
            endpoint.workflow_id,
            endpoint.workflow_version,
            trigger,
            input.digest.clone(),
        );

        let claim = event_hash.as_deref().map(|event_hash| Claim {
            endpoint,
            event_hash,
            body_hash: &body_hash,
        });
        let claiming = async {
            match claim {
                None => Ok(ClaimResult::New),
                Some(claim) => store.claim(claim, run_id, now).await,
            }
        };
        let noting = async {
            for (which, index) in ready.uses_to_record(self.signing, now) {
                // Best effort: a webhook does not fail because of this.
                let _ = store
                    .record_use(&ready.found.endpoint, which, index, now)
                    .await;
            }
        };
        let admitting = app.intake.gate.admit(store, &ready.limits, now);
        let (admitted, claimed, placed, ()) = tokio::join!(
            admitting,
            claiming,
            app.intake.store_input(store, input),
            noting
        );
        let (admitted, claimed) = (admitted?, claimed?);

        let run_id = match claimed {
            ClaimResult::New => run_id,
            ClaimResult::Duplicate {
                same_body: false, ..
            } => {
                give_back(store, admitted).await;
                return Err(Problem::new(&kinds::EVENT_ID_REUSED));
            }
            ClaimResult::Duplicate { run_id, .. } => {
                if let Some(found) = store.run(run_id).await? {
                    give_back(store, admitted).await;
                    return duplicate(app, store, &found).await;
                }
                run_id
            }
        };
        let (admitted, held) = match admitted {
            Admission::QuotaExceeded(_) => (store.admit_suspended(&ready.limits, now).await?, true),
            Admission::Admitted(..) | Admission::RateExceeded(_) => (admitted, false),
        };
        let Admission::Admitted(_, left) = admitted else {
            if let (ClaimResult::New, Some(claim)) = (&claimed, claim) {
                store.delete_claim(claim, run_id).await?;
            }
            return Err(rate_limit::refuse(&ready.limits, admitted, now));
        };
        let run = Run {
            id: run_id,
            created_at: run_id.created_at(),
            ..run
        };
        let limits = &ready.limits;
        let mut response = if held {
            let mut run = new_run(run.suspend(), placed?, limits.retention_days);
            // Retained as long as it may be suspended, and then for another retention period.
            run.expires_at = expiry(plan::month_end(now), limits.retention_days);
            app.intake.suspend(store, &run, now).await?;
            accepted(run_id, Status::Suspended)?
        } else {
            let run = new_run(run, placed?, limits.retention_days);
            app.intake.create_run(store, &run).await?;
            accepted(run_id, Status::Pending)?
        };
        let rate = rate_limit::headers(limits, left, now);
        response.headers_mut().extend(rate);
        Ok(response)
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

async fn give_back(store: &TenantStore<'_>, admitted: Admission) {
    if let Admission::Admitted(place, _) = admitted {
        // If this fails, the month has one run too few, never one too many.
        let _ = store.revert_admission(place).await;
    }
}
