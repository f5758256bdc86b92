//! The pages. Each file has the pages of one noun of the API.

mod activity;
mod api_keys;
mod artifacts;
mod audit_log;
mod billing;
mod chart;
mod code_editor;
mod diagnostics;
mod endpoint_form;
mod endpoints;
mod members;
mod overview;
mod picture;
mod request_check;
mod run;
mod run_actions;
mod run_detail;
mod runs;
mod samples;
mod secrets;
mod settings;
mod steps;
mod templates;
mod tenants;
mod try_it;
mod verification_fields;
mod versions;
mod workflow_form;
mod workflow_names;
mod workflows;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};

use crate::{
    App, assets, docs,
    failure::Failure,
    layers::{browse, require_session},
    sign_in,
};

pub(crate) fn routes(app: Arc<App>) -> Router {
    let public = Router::new()
        .route("/dashboard/assets/{name}", get(assets::get))
        .route("/dashboard/errors/{code}", get(docs::error))
        .route(
            "/dashboard/sign-in",
            get(sign_in::page).post(sign_in::with_key),
        )
        .route("/dashboard/sign-in/start", get(sign_in::start))
        .route("/dashboard/sign-in/callback", get(sign_in::callback));
    let private = Router::new()
        .merge(overviews())
        .merge(run_pages())
        .merge(workflow_pages())
        .merge(endpoint_pages())
        .merge(tenant_pages())
        .layer(from_fn_with_state(Arc::clone(&app), require_session));
    public.merge(private).layer(from_fn(browse)).with_state(app)
}

fn overviews() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard", get(overview::page))
        .route("/dashboard/", get(overview::page))
        .route("/dashboard/activity", get(activity::fragment))
        .route("/dashboard/diagnostics", get(diagnostics::page))
        .route("/dashboard/docs", get(docs::index))
        .route("/dashboard/docs/{page}", get(docs::page))
        .route("/dashboard/sign-out", post(sign_in::sign_out))
        .route("/dashboard/{*rest}", get(async || Failure::not_found()))
}

fn run_pages() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard/runs", get(runs::page))
        .route("/dashboard/runs/list", get(runs::fragment))
        .route("/dashboard/runs/actions", post(run_actions::several))
        .route("/dashboard/runs/{id}", get(run::page))
        .route("/dashboard/runs/{id}/live", get(run::fragment))
        .route("/dashboard/runs/{id}/steps", get(steps::page))
        .route("/dashboard/runs/{id}/input", get(run_detail::input))
        .route("/dashboard/runs/{id}/compare", get(run_detail::compare))
        .route("/dashboard/runs/{id}/{action}", post(run_actions::one))
        .route("/dashboard/artifacts", get(artifacts::list))
        .route("/dashboard/artifacts/{id}", get(artifacts::page))
        .route(
            "/dashboard/artifacts/{id}/download",
            get(artifacts::download),
        )
}

fn workflow_pages() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard/workflows", get(workflows::list))
        .route(
            "/dashboard/workflows/new",
            get(workflow_form::new).post(workflow_form::create),
        )
        .route(
            "/dashboard/workflows/{id}",
            get(workflows::page).post(workflow_form::save),
        )
        .route(
            "/dashboard/workflows/{id}/try",
            get(try_it::page).post(try_it::run),
        )
        .route(
            "/dashboard/workflows/{id}/versions/{number}",
            get(versions::page),
        )
        .route("/dashboard/workflows/{id}/{action}", post(workflows::act))
}

fn endpoint_pages() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard/endpoints", get(endpoints::list))
        .route(
            "/dashboard/endpoints/new",
            get(endpoint_form::new).post(endpoint_form::create),
        )
        .route(
            "/dashboard/endpoints/check",
            get(request_check::page).post(request_check::run),
        )
        .route(
            "/dashboard/endpoints/{id}/verification",
            get(endpoint_form::verification).post(endpoint_form::verify),
        )
        .route(
            "/dashboard/endpoints/{id}",
            get(endpoints::page).post(endpoint_form::save),
        )
        .route("/dashboard/endpoints/{id}/{action}", post(endpoints::act))
}

fn tenant_pages() -> Router<Arc<App>> {
    Router::new()
        .route("/dashboard/secrets", get(secrets::page).post(secrets::put))
        .route("/dashboard/secrets/{name}/delete", post(secrets::delete))
        .route(
            "/dashboard/members",
            get(members::page).post(members::invite),
        )
        .route("/dashboard/members/{id}/{action}", post(members::act))
        .route(
            "/dashboard/api-keys",
            get(api_keys::page).post(api_keys::create),
        )
        .route("/dashboard/api-keys/{id}/delete", post(api_keys::delete))
        .route("/dashboard/audit-log", get(audit_log::page))
        .route("/dashboard/billing", get(billing::page))
        .route("/dashboard/billing/{action}", post(billing::act))
        .route(
            "/dashboard/settings",
            get(settings::page).post(settings::save),
        )
        .route("/dashboard/settings/rename", post(settings::rename))
        .route("/dashboard/settings/switch", post(sign_in::switch))
        .route("/dashboard/settings/delete", post(settings::delete))
        .route(
            "/dashboard/tenants",
            get(tenants::page).post(tenants::create),
        )
        .route("/dashboard/tenants/accept", post(tenants::accept))
        .route("/dashboard/tenants/select", post(tenants::select))
}
