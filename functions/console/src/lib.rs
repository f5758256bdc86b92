//! The console: everything that a tenant can do, in a browser.
//!
//! It is a client of the API in the same process ([`client`]): a page calls the routers of the API
//! functions with the caller of its session in the request. Authorization, limits, audit and
//! idempotency are theirs; no page has a rule of its own.
//!
//! ```text
//! request ─▶ session (cookie) ─▶ page ─▶ client ─▶ routers of the API
//!                                  ╰──▶ html
//! ```

mod assets;
mod client;
mod cookies;
mod docs;
mod failure;
mod form;
mod layers;
mod layout;
mod localization;
mod pages;
mod preferences;
mod session;
mod sign_in;
mod ui;
mod visit;

use std::sync::Arc;

use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    config::Env,
    http::{Api, Routes, service},
    queue::Queue,
};
use aias_sandbox::Sandbox;
use axum::Router;

/// The state of the console.
#[derive(Debug)]
pub struct App {
    /// Authentication, the keyring and the time.
    pub api: Arc<Api>,
    /// The routers of the API functions.
    client: client::Client,
    settings: Settings,
}

/// How people may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The client id of the console at the OIDC issuer.
    pub client_id: String,
    /// Whether an API key is accepted.
    pub accepts_api_keys: bool,
}

impl Settings {
    /// From `OIDC_CLIENT_ID`, `OIDC_AUDIENCE` and `CONSOLE_API_KEYS`.
    #[must_use]
    pub fn load(env: &Env) -> Self {
        let client_id = env
            .optional("OIDC_CLIENT_ID")
            .or_else(|| env.optional("OIDC_AUDIENCE"));
        Self {
            client_id: client_id.unwrap_or_default(),
            accepts_api_keys: env.parsed("CONSOLE_API_KEYS", true),
        }
    }
}

impl App {
    /// From the settings of the API functions, `OIDC_CLIENT_ID` (the audience by default) and
    /// `CONSOLE_API_KEYS` (`true` by default; without an issuer, API keys are always accepted).
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let api = Api::load(aws, tenants, env);
        let routes = api_routes(&api, aws, tenants, env);
        Self::new(api, routes, Settings::load(env))
    }

    /// From the routes of the API functions.
    #[must_use]
    pub fn new(api: Api, routes: Routes, settings: Settings) -> Self {
        let settings = Settings {
            accepts_api_keys: settings.accepts_api_keys || !api.auth.has_issuer(),
            ..settings
        };
        Self {
            api: Arc::new(api),
            client: client::Client::new(service(routes)),
            settings,
        }
    }
}

/// The routes of all API functions, except those that providers and Stripe call.
#[must_use]
pub fn api_routes(api: &Api, aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Routes {
    let blobs = Blobs::new(tenants, env.text("BUCKET_NAME"));
    let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
    let sandbox = Sandbox::of_this_binary;
    let of_artifacts = artifacts::App::new(api.clone(), blobs.clone());
    let of_runs = runs::App::new(api.clone(), blobs.clone(), queue.clone(), sandbox());
    let of_workflows = workflows::App::new(api.clone(), blobs, queue, sandbox());
    Routes::new()
        .merge(artifacts::routes(of_artifacts))
        .merge(billing::routes(billing::App::load(api.clone(), aws, env)))
        .merge(diagnostics::routes(diagnostics::App::load(
            api.clone(),
            aws,
            env,
        )))
        .merge(runs::routes(of_runs))
        .merge(tenants::routes(api.clone()))
        .merge(webhook_endpoints::routes(webhook_endpoints::App::new(
            api.clone(),
        )))
        .merge(workflows::routes(of_workflows))
}

/// The routes of the console.
pub fn routes(app: App) -> Routes {
    Routes::from(pages::routes(Arc::new(app)))
}

/// A service of all pages.
pub fn router(app: App) -> Router {
    service(routes(app))
}
