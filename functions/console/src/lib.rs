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
    config::Env,
    http::{Api, service},
};
use axum::Router;
use utoipa_axum::router::OpenApiRouter;

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

impl App {
    /// From the settings of the API functions, `OIDC_CLIENT_ID` (the audience by default) and
    /// `CONSOLE_API_KEYS` (`true` by default; without an issuer, API keys are always accepted).
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let load_api = || Api::load(aws, tenants, env);
        let routes = OpenApiRouter::new()
            .merge(artifacts::routes(artifacts::App::load(aws, tenants, env)))
            .merge(billing::routes(billing::App::load(aws, tenants, env)))
            .merge(diagnostics::routes(diagnostics::App::load(
                aws, tenants, env,
            )))
            .merge(runs::routes(runs::App::load(aws, tenants, env)))
            .merge(tenants::routes(load_api()))
            .merge(webhook_endpoints::routes(load_api()))
            .merge(workflows::routes(workflows::App::load(aws, tenants, env)));
        let client_id = env
            .optional("OIDC_CLIENT_ID")
            .or_else(|| env.optional("OIDC_AUDIENCE"));
        let settings = Settings {
            client_id: client_id.unwrap_or_default(),
            accepts_api_keys: env.parsed("CONSOLE_API_KEYS", true),
        };
        Self::new(load_api(), routes, settings)
    }

    /// From the routes of the API functions.
    #[must_use]
    pub fn new(api: Api, routes: OpenApiRouter, settings: Settings) -> Self {
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

/// A service of all pages.
pub fn router(app: App) -> Router {
    service(OpenApiRouter::from(pages::routes(Arc::new(app))))
}
