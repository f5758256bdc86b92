//! Signing in: with the OIDC issuer (authorization code flow with PKCE), or with an API key.

use std::sync::Arc;

use aias_domain::tenant::UserId;
use aias_platform::{
    http::{Identity, Problem, SignIn},
    secrets::is_equal,
};
use axum::{
    extract::State,
    http::{Method, StatusCode, header::SET_COOKIE},
    response::Response,
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::{
    App,
    client::{Page, Tenant},
    cookies::{cookie, delete_cookie, set_cookie},
    failure::{Failure, Result},
    form::{CSRF, Fields, Form, PublicForm},
    layout, session,
    session::{Credential, Session, random_token},
    ui,
    visit::{Browser, IntoHtml as _, Visit, see_other, t},
};

/// The state of a sign-in at the issuer.
const STATE_COOKIE: &str = "__Host-aias-sign-in";
const STATE_PLACE: &str = "console/sign-in";
const STATE_SECONDS: i64 = 600;

const PATH: &str = "/dashboard/sign-in";

/// A path of the console to return to. Anything else leads to the overview.
fn safe_path(path: &str) -> &str {
    let rest = path.strip_prefix("/dashboard");
    let is_safe = rest.is_some_and(|rest| {
        (rest.is_empty() || rest.starts_with(['/', '?']))
            && rest.chars().all(|c| c.is_ascii_graphic() && c != '\\')
    });
    let is_sign_in = path.starts_with(PATH);
    if is_safe && !is_sign_in {
        path
    } else {
        "/dashboard"
    }
}

/// The path of the page that signs in and then leads to `path`.
pub(crate) fn path_to_return(path: &str) -> String {
    let query = Fields::default().query_with(&[("return_to", path)]);
    format!("{PATH}?{query}")
}

pub(crate) async fn page(State(app): State<Arc<App>>, browser: Browser) -> Response {
    let query = browser.query();
    let content = choices(&app, &browser, query.get("return_to"), "", None);
    layout::public_page(&browser, StatusCode::OK, &t!(browser, "sign-in"), content)
}

/// The page after a form was sent without a session.
pub(crate) fn ended_page(app: &App, browser: &Browser, path: &str, draft: &str) -> Response {
    let content = html! {
        p role="alert" { (t!(browser, "session-ended")) }
        (choices(app, browser, path, draft, None))
    };
    let title = t!(browser, "sign-in");
    layout::public_page(browser, StatusCode::UNAUTHORIZED, &title, content)
}

/// In place of a part of a page that is polled.
pub(crate) fn ended_fragment(browser: &Browser) -> Response {
    let content = html! {
        p.problem role="alert" { (t!(browser, "session-ended")) " " a href=(PATH) { (t!(browser, "sign-in")) } }
    };
    let mut response = content.into_html();
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

fn choices(
    app: &App,
    browser: &Browser,
    return_to: &str,
    draft: &str,
    refused: Option<&Failure>,
) -> Markup {
    let return_to = safe_path(return_to);
    html! {
        @if let Some(failure) = refused { (ui::problem(browser, &failure.0)) }
        @if app.api.auth.has_issuer() {
            // A link, since the policy allows forms to this site only.
            p { a.button href=(format!("{PATH}/start?{}", Fields::default().query_with(&[("return_to", return_to)]))) {
                (t!(browser, "sign-in-with-issuer"))
            } }
        }
        @if app.settings.accepts_api_keys {
            form method="post" action=(PATH) {
                label { (t!(browser, "api-key"))
                    input name="api_key" type="password" autocomplete="off" required;
                }
                input type="hidden" name="return_to" value=(return_to);
                @if !draft.is_empty() { input type="hidden" name="draft" value=(draft); }
                button { (t!(browser, "sign-in")) }
            }
        }
    }
}

/// Signs in with an API key.
pub(crate) async fn with_key(
    State(app): State<Arc<App>>,
    browser: Browser,
    PublicForm(form): PublicForm,
) -> Result {
    if !app.settings.accepts_api_keys {
        return Err(Problem::forbidden("API keys are not accepted here").into());
    }
    let key = form.get("api_key");
    let (return_to, draft) = (form.get("return_to"), form.raw("draft"));
    if let Err(problem) = app.api.auth.key_caller(&browser.head, key).await {
        let failure = Failure::from(problem);
        let content = choices(&app, &browser, return_to, draft, Some(&failure));
        let title = t!(browser, "sign-in");
        return Ok(layout::public_page(
            &browser,
            failure.status(),
            &title,
            content,
        ));
    }
    let session = Session::start(Credential::ApiKey(key.to_owned()), app.api.clock.now());
    let path = safe_path(return_to);
    let response = if draft.is_empty() {
        see_other(path)
    } else {
        resumed(&browser, &session, path, draft)
    };
    with_session(&app, response, &session).await
}

/// The form that was sent without a session, to be sent again.
fn resumed(browser: &Browser, session: &Session, path: &str, draft: &str) -> Response {
    let fields = Fields::parse(draft);
    let content = html! {
        p { (t!(browser, "form-kept")) }
        form method="post" action=(path) {
            input type="hidden" name=(CSRF) value=(session.csrf);
            @for (name, value) in fields.iter().filter(|(name, _)| *name != CSRF) {
                input type="hidden" name=(name) value=(value);
            }
            button { (t!(browser, "send-again")) }
        }
        p { a href="/dashboard" { (t!(browser, "to-overview")) } }
    };
    layout::public_page(browser, StatusCode::OK, &t!(browser, "signed-in"), content)
}

async fn with_session(app: &App, mut response: Response, session: &Session) -> Result {
    let keyring = app.api.auth.keyring().await?;
    let cookie = session.cookie(&keyring);
    let cookie = cookie.ok_or_else(|| Problem::internal("the session cannot be sealed"))?;
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// What the browser keeps while the person is at the issuer.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    return_to: String,
    /// In seconds since 1970.
    started_at: i64,
}

impl Pending {
    fn request<'a>(&'a self, app: &'a App, redirect_uri: &'a str) -> SignIn<'a> {
        SignIn {
            client_id: &app.settings.client_id,
            redirect_uri,
            state: &self.state,
            nonce: &self.nonce,
            verifier: &self.verifier,
        }
    }
}

fn redirect_uri(browser: &Browser) -> String {
    format!("{}{PATH}/callback", browser.head.base_url())
}

/// Leads to the issuer.
pub(crate) async fn start(State(app): State<Arc<App>>, browser: Browser) -> Result {
    let pending = Pending {
        state: random_token(),
        nonce: random_token(),
        // PKCE wants 43 characters or more.
        verifier: random_token() + &random_token(),
        return_to: safe_path(browser.query().get("return_to")).to_owned(),
        started_at: app.api.clock.now().as_second(),
    };
    let redirect_uri = redirect_uri(&browser);
    let request = pending.request(&app, &redirect_uri);
    let url = app.api.auth.authorization_url(&request).await?;
    let keyring = app.api.auth.keyring().await?;
    let text = serde_json::to_vec(&pending).map_err(Problem::internal)?;
    let sealed = keyring.seal(STATE_PLACE, &text).map_err(Problem::from)?;
    let mut response = see_other(&url);
    let cookie = set_cookie(STATE_COOKIE, &sealed, STATE_SECONDS);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// The sign-in that this browser started, if `state` is its own.
async fn pending(app: &App, browser: &Browser, sealed: &str, state: &str) -> Result<Pending> {
    let keyring = app.api.auth.keyring().await?;
    let ended = || Failure::bad_request(&t!(browser, "sign-in-ended"));
    let text = keyring.open(STATE_PLACE, sealed).map_err(|_| ended())?;
    let pending: Pending = serde_json::from_slice(&text).map_err(|_| ended())?;
    let now = app.api.clock.now().as_second();
    let is_own = is_equal(pending.state.as_bytes(), state.as_bytes());
    if !is_own || now >= pending.started_at + STATE_SECONDS {
        return Err(ended());
    }
    Ok(pending)
}

/// The issuer leads back to this page.
pub(crate) async fn callback(
    State(app): State<Arc<App>>,
    browser: Browser,
    headers: axum::http::HeaderMap,
) -> Result {
    let query = browser.query();
    let sealed = cookie(&headers, STATE_COOKIE).unwrap_or_default();
    let pending = pending(&app, &browser, sealed, query.get("state")).await?;
    let (code, refusal) = (query.get("code"), query.get("error"));
    if code.is_empty() {
        let detail = t!(browser, "issuer-refused", reason = refusal);
        return Err(Problem::unauthorized(&detail).into());
    }
    let redirect_uri = redirect_uri(&browser);
    let request = pending.request(&app, &redirect_uri);
    let user = app
        .api
        .auth
        .signed_in_user(&browser.head, &request, code)
        .await?;
    let tenant = first_tenant(&app, &browser, &user).await?;
    let now: Timestamp = app.api.clock.now();
    let session = Session::start(Credential::Person { user, tenant }, now);
    let mut response = with_session(&app, see_other(&pending.return_to), &session).await?;
    let done = delete_cookie(STATE_COOKIE);
    response.headers_mut().append(SET_COOKIE, done);
    Ok(response)
}

async fn first_tenant(app: &App, browser: &Browser, user: &UserId) -> Result<Option<String>> {
    let identity = Identity::User(user.clone());
    let call = app
        .client
        .call(Method::GET, "/api/tenants", identity, &browser.head);
    let tenants: Page<Tenant> = call.get().await?;
    Ok(tenants.data.into_iter().next().map(|tenant| tenant.id))
}

pub(crate) async fn sign_out(_: Form) -> Response {
    let mut response = see_other(PATH);
    let ended = delete_cookie(session::COOKIE);
    response.headers_mut().append(SET_COOKIE, ended);
    response
}

/// Switches to another tenant of the person.
pub(crate) async fn switch(visit: Visit, Form(form): Form) -> Result {
    select_tenant(&visit.app, &visit.session, form.get("tenant")).await
}

/// Stores a session with another tenant, and leads to the overview.
pub(crate) async fn select_tenant(app: &App, session: &Session, tenant: &str) -> Result {
    with_session(app, see_other("/dashboard"), &session.in_tenant(tenant)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_console_are_returned_to() {
        for path in [
            "/dashboard",
            "/dashboard/runs?status=faulted",
            "/dashboard?x=1",
        ] {
            assert_eq!(safe_path(path), path);
        }
        for path in [
            "",
            "//evil.example",
            "https://evil.example/dashboard",
            "/dashboardx",
            "/dashboard.evil.example",
            "/dashboard\\..",
            "/dashboard/\r\nx: y",
            "/dashboard/sign-in?return_to=x",
        ] {
            assert_eq!(safe_path(path), "/dashboard", "{path}");
        }
    }
}
