//! The layers around pages: the policy of the browser, errors as pages, and the session.

use std::sync::Arc;

use aias_platform::http::{Head, Problem};
use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{
        HeaderValue, Method,
        header::{CONTENT_SECURITY_POLICY, SET_COOKIE},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{
    App,
    cookies::{cookie, delete_cookie},
    failure::Failure,
    form::MAX_FORM_BYTES,
    layout,
    preferences::Preferences,
    session::{self, Session, random_token},
    sign_in,
    visit::{Browser, Visit, Visitor, see_other},
};

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
