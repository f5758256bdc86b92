//! Takes webhooks: verified, recorded once, answered `202` only when durable.
//!
//! ```text
//! endpoint (cached 2 s) ─▶ signature ─▶ ┬ admission ─┐    ┌ the run ─────┐
//!                                       ├ claim ─────┼──▶ │              ├──▶ 202
//!                                       └ large input┘    └ the message ─┘
//! ```
//! Every step after the claim can be done again for the same run. When the process dies between
//! two calls, the provider got no `202` and sends the event again:
//!
//! | died after | is left | the next delivery |
//! |---|---|---|
//! | admission | a run counted that never came | counts again: the month is one run short |
//! | the claim | a claim without a run | finds it, and makes the claim's own run |
//! | the run | a pending run without a message | finds it, and sends the message |
//! | the message | a message without a run | finds the claim, and makes the run |
//!
//! What nobody sends again, the reconciler finishes. An event that the month has no room for is
//! taken as a run that is held back, up to the plan's grace: the run and its place in the list of
//! held ones are one transaction, and the wish to look at the list follows it. A process that dies
//! before the wish gave no `202`; the next delivery finds the run, and wishes.

mod cache;
mod handshake;
mod rate;
mod take;

use aias_platform::{
    blobs::Blobs,
    clock::Clock,
    config::Env,
    http::{
        HttpAnswer, HttpEvent, Method, Problem, Request, Response, SeenCell, is_secret_form, serve,
    },
    queue::Queue,
    runs::Intake,
    secrets::Keyrings,
    store::Store,
};

pub use cache::ENDPOINT_TTL;

/// What taking a webhook takes.
#[derive(Debug)]
pub struct App {
    intake: Intake,
    keyrings: Keyrings,
    clock: Clock,
    endpoints: cache::Endpoints,
}

impl App {
    /// From `TABLE_NAME`, `BUCKET_NAME`, `RUNS_QUEUE_URL` and `KEYRING_SECRET_ARN`.
    #[must_use]
    pub fn load(aws: &aias_platform::aws::SdkConfig, env: &Env) -> Self {
        let intake = Intake::new(
            Store::new(aws, env.text("TABLE_NAME")),
            Blobs::new(aws, env.text("BUCKET_NAME")),
            Queue::new(aws, env.text("RUNS_QUEUE_URL")),
        );
        let keyrings = Keyrings::new(aws, env.text("KEYRING_SECRET_ARN"));
        Self::new(intake, keyrings, Clock::system())
    }

    /// Of its parts.
    #[must_use]
    pub fn new(intake: Intake, keyrings: Keyrings, clock: Clock) -> Self {
        Self {
            intake,
            keyrings,
            clock,
            endpoints: cache::Endpoints::default(),
        }
    }

    /// Reads the keyring and opens a connection to the table and the queue, so that the first
    /// webhook waits for neither.
    pub async fn warm(&self) {
        // What cannot be reached now is said by the first request that needs it.
        let _ = tokio::join!(
            self.keyrings.get(),
            self.intake.store.check(),
            self.intake.queue.check()
        );
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(event, |request, seen| async move {
        route(app, &request, &seen).await
    })
    .await
}

async fn route(app: &App, request: &Request, seen: &SeenCell) -> Result<Response, Problem> {
    let path = request.path();
    let ["api", "webhooks", tenant, secret] = path.as_slice() else {
        return Err(Problem::not_found());
    };
    let tenant = tenant
        .parse()
        .ok()
        .filter(|_| is_secret_form(secret))
        .ok_or_else(Problem::not_found)?;
    let endpoint = app
        .endpoint(tenant, secret)
        .await?
        .ok_or_else(Problem::not_found)?;
    seen.note(|seen| seen.tenant(tenant));
    match request.method {
        Method::Post => take::take(app, &endpoint, request, seen).await,
        Method::Get => handshake::get(&endpoint, request),
        Method::Put | Method::Patch | Method::Delete | Method::Other => {
            Err(Problem::method_not_allowed(handshake::allowed(&endpoint)))
        }
    }
}
