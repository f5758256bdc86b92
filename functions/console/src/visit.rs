//! A request of a browser: its preferences, and on most pages its session and caller.

use std::sync::Arc;

use aias_domain::tenant::Role;
use aias_platform::http::{Caller, Head, Identity, Problem};
use axum::{
    body::to_bytes,
    extract::{FromRequestParts, Request, State},
    http::{
        HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, LOCATION, SET_COOKIE,
        },
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use maud::Markup;
use serde_json::Value;

use crate::{
    App,
    client::{ApiResult, Call},
    cookies::{cookie, delete_cookie},
    failure::Failure,
    form::Fields,
    layout,
    localization::Language,
    preferences::Preferences,
    session::{self, Credential, Session, random_token},
    sign_in,
};

/// A text of the page's language: `t!(visit, "sign-in")`, `t!(visit, "attempt", number = 3)`.
macro_rules! t {
    ($visit:expr, $id:expr) => {
        $visit.language().text($id, &[])
    };
    ($visit:expr, $id:expr, $($name:ident = $value:expr),+) => {
        $visit.language().text($id, &[$((stringify!($name), fluent_bundle::FluentValue::from($value))),+])
    };
}
pub(crate) use t;

/// What a page knows of the browser.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) preferences: Preferences,
    pub(crate) head: Head,
    /// The nonce of the page's scripts.
    pub(crate) nonce: String,
}

impl Browser {
    pub(crate) fn language(&self) -> Language {
        self.preferences.language
    }

    pub(crate) fn query(&self) -> Fields {
        Fields::parse(self.head.query())
    }

    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }
}

impl<S: Sync> FromRequestParts<S> for Browser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let browser = parts.extensions.get::<Self>();
        browser
            .cloned()
            .ok_or_else(|| Problem::internal("no layer"))
    }
}

/// A request of somebody who signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) browser: Browser,
    pub(crate) app: Arc<App>,
    pub(crate) session: Session,
    pub(crate) now: Timestamp,
}

/// A request of a caller in a tenant.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) visitor: Visitor,
    pub(crate) caller: Arc<Caller>,
}

impl std::ops::Deref for Visitor {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl std::ops::Deref for Visit {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Self>();
        visitor
            .cloned()
            .ok_or_else(|| Problem::internal("no layer"))
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let visit = parts.extensions.get::<Self>();
        visit.cloned().ok_or_else(|| Problem::internal("no layer"))
    }
}

impl Visitor {
    /// The person, unless the session is that of an API key.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match &self.session.credential {
            Credential::Person { user, .. } => Some(Identity::User(user.clone())),
            Credential::ApiKey(_) => None,
        }
    }

    async fn caller(&self) -> Result<Option<Arc<Caller>>, Problem> {
        let auth = &self.app.api.auth;
        match &self.session.credential {
            Credential::ApiKey(key) => auth.key_caller(&self.head, key).await.map(Some),
            Credential::Person { tenant: None, .. } => Ok(None),
            Credential::Person {
                tenant: Some(tenant),
                user,
            } => match auth.member_caller(tenant, user.clone()).await {
                Ok(caller) if caller.tenant.deleted_at.is_some() => Ok(None),
                Err(problem) if problem.kind().status == 404 => Ok(None),
                other => other.map(Some),
            },
        }
    }
}

impl Visit {
    pub(crate) fn can(&self, role: Role) -> bool {
        self.caller.role >= role
    }

    pub(crate) fn tenant(&self) -> String {
        self.caller.tenant.id.to_string()
    }

    /// A path below the tenant's, such as `/api/tenants/{id}/members`.
    pub(crate) fn tenant_path(&self, rest: &str) -> String {
        format!("/api/tenants/{}{rest}", self.caller.tenant.id)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        let identity = Identity::Caller(Arc::clone(&self.caller));
        self.app.client.call(method, path, identity, &self.head)
    }

    pub(crate) async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> ApiResult<T> {
        self.call(Method::GET, path).get().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> ApiResult {
        self.call(Method::POST, path).json(body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> ApiResult {
        self.call(Method::DELETE, path).send().await
    }

    /// A page with the navigation.
    pub(crate) fn page(&self, title: &str, content: Markup) -> Response {
        layout::page(self, StatusCode::OK, title, content)
    }

    /// A part of a page that it polls. `304` if it has not changed.
    pub(crate) fn fragment(&self, content: Markup) -> Response {
        let text = content.into_string();
        let digest = aias_domain::canonical::digest(text.replace(&self.nonce, "").as_bytes());
        let tag = format!("\"{}\"", digest.get(7..39).unwrap_or_default());
        let known = [
            self.head.header(IF_NONE_MATCH.as_str()),
            self.head.header("hx-ptag"),
        ];
        let mut response = if known.contains(&Some(&tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            maud::PreEscaped(text).into_html()
        };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, tag.clone());
            response.headers_mut().insert("hx-ptag", tag);
        }
        // A browser that kept the part would give its script the old body with the new policy.
        let not_kept = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, not_kept);
        response
    }
}

/// HTML as a response.
pub(crate) trait IntoHtml {
    fn into_html(self) -> Response;
}

impl IntoHtml for Markup {
    fn into_html(self) -> Response {
        axum::response::Html(self.into_string()).into_response()
    }
}

/// `303`: the browser gets another page of the console.
pub(crate) fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

fn with_policy(mut response: Response, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types htmx"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    let permissions = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";
    headers.insert("permissions-policy", HeaderValue::from_static(permissions));
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert("cross-origin-opener-policy", same_origin.clone());
    // The CSRF check of old browsers and the way back after a sign-in need the path.
    headers.insert("referrer-policy", same_origin);
    response
}

/// The outermost layer: preferences, the policy, and errors as pages.
pub(crate) async fn browse(mut request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let browser = Browser {
        preferences: Preferences::of(&parts.headers),
        head: Head::of(&parts),
        nonce: random_token(),
    };
    request = Request::from_parts(parts, body);
    request.extensions_mut().insert(browser.clone());
    let response = next.run(request).await;
    let response = match Failure::take(response) {
        Ok(response) => response,
        Err(failure) => layout::public_failure(&browser, &failure),
    };
    with_policy(response, &browser.nonce)
}

/// The largest form, in bytes: a definition of 256 KiB, percent-encoded.
pub(crate) const MAX_FORM_BYTES: usize = 1024 * 1024;

/// The layer of pages for people and programs that signed in.
pub(crate) async fn require_session(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(browser) = request.extensions().get::<Browser>().cloned() else {
        return Problem::internal("no layer").into_response();
    };
    let keyring = match app.api.auth.keyring().await {
        Ok(keyring) => keyring,
        Err(problem) => return problem.into_response(),
    };
    let now = app.api.clock.now();
    let found = cookie(request.headers(), session::COOKIE);
    let opened = found.and_then(|text| Session::open(&keyring, text, now));
    let Some(session) = opened else {
        let had_session = found.is_some();
        return ended(&app, &browser, request, had_session).await;
    };
    let renewed = session.renewed(now);
    let visitor = Visitor {
        browser: browser.clone(),
        app: Arc::clone(&app),
        // A page that seals the session again seals it as used now.
        session: renewed.clone().unwrap_or(session),
        now,
    };
    let caller = match visitor.caller().await {
        Ok(caller) => caller,
        // The key was deleted or has expired.
        Err(problem) if problem.kind().status == 401 => {
            return ended(&app, &browser, request, true).await;
        }
        Err(problem) => return problem.into_response(),
    };
    let visit = caller.map(|caller| Visit {
        visitor: visitor.clone(),
        caller,
    });
    if visit.is_none() && !browser.path().starts_with("/dashboard/tenants") {
        return see_other("/dashboard/tenants");
    }
    request.extensions_mut().insert(visitor);
    if let Some(visit) = &visit {
        request.extensions_mut().insert(visit.clone());
    }
    let response = next.run(request).await;
    let mut response = match (Failure::take(response), &visit) {
        (Ok(response), _) => response,
        (Err(failure), Some(visit)) => layout::failure(visit, &failure),
        (Err(failure), None) => layout::public_failure(&browser, &failure),
    };
    if !response.headers().contains_key(SET_COOKIE)
        && let Some(cookie) = renewed.and_then(|session| session.cookie(&keyring))
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The response to a request without a session: the sign-in page, which then leads back. It keeps the
/// fields of a form.
async fn ended(app: &App, browser: &Browser, request: Request, had_session: bool) -> Response {
    let method = request.method().clone();
    let path = request.uri().path_and_query().map(ToString::to_string);
    let path = path.unwrap_or_default();
    let is_page = matches!(method, Method::GET | Method::HEAD);
    let mut response = if is_page && browser.head.header("hx-request").is_none() {
        see_other(&sign_in::path_to_return(&path))
    } else if method == Method::POST {
        let body = to_bytes(request.into_body(), MAX_FORM_BYTES).await;
        let draft = body.map(|body| String::from_utf8_lossy(&body).into_owned());
        sign_in::ended_page(app, browser, &path, &draft.unwrap_or_default())
    } else {
        sign_in::ended_fragment(browser)
    };
    if had_session {
        let headers = response.headers_mut();
        headers.append(SET_COOKIE, delete_cookie(session::COOKIE));
    }
    response
}
