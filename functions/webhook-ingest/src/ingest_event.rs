//! Ingests one event.

use aias_domain::{
    canonical,
    delivery::DeliveryReason,
    endpoint::{DisabledStatus, EndpointState},
    event::{self, Body, EventError},
    id::RunId,
    plan,
    run::{Run, Status, Trigger},
    verification::{self, KeyRequest, Values, is_visited, signed_handshake},
};
use aias_platform::{
    clock::random_id,
    http::{Fault, Head, Problem, Response, Result, WithHeader as _, kinds, response},
    runs::{SerializedInput, expiry, new_run},
    store::{Admission, Claim, ClaimResult, StoredRun, Task, TenantStore},
};
use axum::http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use jiff::Timestamp;
use tracing::{Span, field::display};

use crate::{
    App, EventIgnored, IgnoredStatus, WebhookAccepted, cache::ReadyEndpoint, deliveries, handshake,
    rate_limit,
};

/// Verifies an event, stores it and sends the message of its run.
pub(crate) async fn ingest(
    app: &App,
    ready: &ReadyEndpoint,
    head: &Head,
    request: &event::Request<'_>,
) -> Result {
    let (endpoint, body) = (&ready.found.endpoint.value, request.body);
    if endpoint.state() == EndpointState::Disabled {
        return Err(disabled(endpoint.disabled_status));
    }
    if body.len() > ready.limits.body_bytes {
        return Err(Problem::too_large(ready.limits.body_bytes));
    }
    let keep = async |response: &Response, reason| {
        let kept = (response.status().as_u16(), reason);
        deliveries::keep(app, ready, head, request, kept).await;
    };
    if let Some(response) = handshake::answer(app, ready, request).await? {
        keep(&response, DeliveryReason::Handshake).await;
        return Ok(response);
    }
    if endpoint.state() == EndpointState::PendingSecret {
        let detail = "set it with PUT /api/webhook-endpoints/{id}/signing-secret";
        let problem = Problem::new(&kinds::ENDPOINT_PENDING_SECRET).detail(detail);
        return Err(problem.retry_after(RETRY_AFTER_SECONDS));
    }
    let now = app.clock.now();
    let values = values_of(app, ready, request).await?;
    let signing = check_signature(ready, &values, now)?;
    if let Some(answer) = signing
        .and_then(|index| ready.keys.get(index))
        .and_then(|(_, key)| signed_handshake(&ready.scheme, &values, key))
    {
        if let Some(url) = &answer.visits {
            visit(app, url).await?;
        }
        let response = handshake::respond(answer)?;
        keep(&response, DeliveryReason::Handshake).await;
        return Ok(response);
    }
    if ready
        .scheme
        .ping
        .as_ref()
        .is_some_and(|ping| ping.holds(&values))
    {
        if endpoint.must_record_ping(now) {
            let store = app.intake.store.tenant(ready.found.proof);
            // Best effort: the provider only wants a response.
            let _ = store.record_ping(&ready.found.endpoint, now).await;
        }
        let mut response = response::plain("pong".to_owned());
        adapt(&mut response, ready, request)?;
        keep(&response, DeliveryReason::Ping).await;
        return Ok(response);
    }
    let event_type = event::event_type(&ready.scheme, &values);
    let event_id = event::event_id(&ready.scheme, &values).map_err(refuse)?;
    let body = event::read_body(&ready.scheme, values).map_err(refuse)?;
    let body = event::unwrap_payload(&ready.scheme, body).map_err(refuse)?;
    let event = Event {
        app,
        ready,
        store: &app.intake.store.tenant(ready.found.proof),
        head,
        request,
        event_type,
        id: event_id,
        signing: signing.and_then(|index| ready.keys.get(index).map(|(place, _)| *place)),
        now,
    };
    if !endpoint.runs_type(event.event_type.as_deref()) {
        let response = event.ignored()?;
        keep(&response, DeliveryReason::IgnoredType).await;
        return Ok(response);
    }
    let Ingested {
        response,
        is_duplicate,
    } = event.ingest(body).await?;
    if is_duplicate {
        keep(&response, DeliveryReason::Duplicate).await;
    }
    Ok(response)
}

/// The values of a request, with the published key of its provider if the scheme needs one.
pub(crate) async fn values_of<'a>(
    app: &App,
    ready: &ReadyEndpoint,
    request: &'a event::Request<'a>,
) -> Result<Values<'a>> {
    let newest = ready.keys.first().map(|(_, key)| key.as_slice());
    let keys = &app.published_keys;
    Ok(keys.values_of(&ready.scheme, newest, request).await?)
}

/// Confirms a subscription at the provider.
async fn visit(app: &App, url: &str) -> Result<()> {
    if !is_visited(url) {
        let detail = "the URL that confirms the subscription is not the provider's";
        return Err(Problem::new(&kinds::BAD_CHALLENGE).detail(detail));
    }
    let request = KeyRequest::get(url.to_owned());
    app.published_keys.fetch(&request).await?;
    Ok(())
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

/// The index of the key that signed the request; none if the scheme has no signatures.
fn check_signature(
    ready: &ReadyEndpoint,
    values: &Values<'_>,
    now: Timestamp,
) -> Result<Option<usize>> {
    if !ready.scheme.is_signed() {
        return Ok(None);
    }
    let keys = ready.secrets();
    match verification::verify(&ready.scheme, &keys, values, now) {
        Ok(index) => Ok(Some(index)),
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

/// The response to an event that is stored.
struct Ingested {
    response: Response,
    is_duplicate: bool,
}

/// A verified event.
struct Event<'a> {
    app: &'a App,
    ready: &'a ReadyEndpoint,
    store: &'a TenantStore<'a>,
    head: &'a Head,
    request: &'a event::Request<'a>,
    event_type: Option<String>,
    id: Option<String>,
    /// The index of the signing secret with which it was signed.
    signing: Option<usize>,
    now: Timestamp,
}

impl Event<'_> {
    /// Stores the event as a run, unless it is a duplicate or not admitted.
    async fn ingest(&self, body: Body) -> Result<Ingested> {
        let new_id = RunId::new_in(self.ready.limits.run_shards, self.now, random_id());
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
                    return Ok(Ingested {
                        response: self.duplicate(&found).await?,
                        is_duplicate: true,
                    });
                }
                run_id
            }
        };
        let run = Run {
            id: run_id,
            created_at: run_id.created_at(),
            ..run
        };
        Ok(Ingested {
            response: self.accept(run, input, admitted).await?,
            is_duplicate: false,
        })
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
            event_type: self.event_type.clone(),
            source_ip: Some(self.head.origin.source_ip.clone()).filter(|text| !text.is_empty()),
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
            self.respond(StatusCode::ACCEPTED, run_id, Status::Suspended)?
        } else {
            let run = new_run(run, input, limits.retention_days);
            let found = intake.create_run(self.store, &run).await?;
            // Another delivery of the event, at another time, wrote the run and was counted. One with
            // the same input may be of this call, whose answer was lost.
            if found.is_some_and(|other| other.run.input_digest != run.run.input_digest) {
                self.revert(admitted).await;
            }
            self.respond(StatusCode::ACCEPTED, run_id, Status::Pending)?
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

    /// The response to a duplicate. The process that accepted the first delivery may have died
    /// before it sent the message, so it is sent again.
    async fn duplicate(&self, found: &StoredRun) -> Result {
        let (run, store) = (&found.run, self.store);
        match run.status {
            Status::Pending => self.app.intake.enqueue(store, found).await?,
            Status::Suspended => {
                let turn = plan::month_end(self.app.clock.now());
                store.schedule_task(Task::Resume, turn).await?;
            }
            Status::Running
            | Status::Waiting
            | Status::Cancelled
            | Status::Faulted
            | Status::Completed => {}
        }
        self.respond(StatusCode::OK, run.id, run.status)
    }

    /// The response to an event whose type does not run.
    fn ignored(&self) -> Result {
        let view = EventIgnored {
            status: IgnoredStatus::Ignored,
            event_type: self.event_type.clone(),
        };
        let mut response = response::json(StatusCode::ACCEPTED, &view)?;
        adapt(&mut response, self.ready, self.request)?;
        Ok(response)
    }

    /// The response in the form that the provider wants.
    fn respond(&self, code: StatusCode, run_id: RunId, status: Status) -> Result {
        Span::current().record("run_id", display(run_id));
        let view = WebhookAccepted {
            run_id,
            status,
            duplicate: code == StatusCode::OK,
        };
        let mut response = response::json(code, &view)?;
        adapt(&mut response, self.ready, self.request)?;
        Ok(response.with(LOCATION, format!("/api/runs/{run_id}")))
    }
}

/// Gives a response the form that the provider wants.
fn adapt(
    response: &mut Response,
    ready: &ReadyEndpoint,
    request: &event::Request<'_>,
) -> Result<()> {
    let Some(wanted) = &ready.scheme.response else {
        return Ok(());
    };
    *response.status_mut() = StatusCode::from_u16(wanted.status).map_err(Problem::internal)?;
    if let Some(body) = &wanted.body {
        body.clone_into(response.body_mut());
    }
    if let Some(content_type) = &wanted.content_type {
        let value = HeaderValue::from_str(content_type).map_err(Problem::internal)?;
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    if wanted.status == 204 {
        response.body_mut().clear();
    }
    if response.body().is_empty() {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    let repeated = wanted.repeats_header.as_deref().and_then(|name| {
        let value = HeaderValue::from_str(request.header(name)?).ok()?;
        Some((HeaderName::try_from(name).ok()?, value))
    });
    response.headers_mut().extend(repeated);
    Ok(())
}
