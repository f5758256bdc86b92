//! The frame of pages: navigation, and pages of errors.
#![expect(
    clippy::needless_pass_by_value,
    reason = "the content of a page is made for it"
)]

use aias_domain::tenant::Role;
use axum::{
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::Response,
};
use maud::{DOCTYPE, Markup, html};

use crate::{
    assets,
    failure::Failure,
    preferences::Theme,
    ui,
    visit::{Browser, IntoHtml as _, Visit, t},
};

/// The pages of the navigation: path, text, lowest role.
const NAVIGATION: [(&str, &str, Role); 12] = [
    ("", "nav-overview", Role::Viewer),
    ("/runs", "nav-runs", Role::Viewer),
    ("/workflows", "nav-workflows", Role::Viewer),
    ("/endpoints", "nav-endpoints", Role::Viewer),
    ("/artifacts", "nav-artifacts", Role::Viewer),
    ("/secrets", "nav-secrets", Role::Admin),
    ("/members", "nav-members", Role::Viewer),
    ("/api-keys", "nav-api-keys", Role::Admin),
    ("/audit-log", "nav-audit-log", Role::Admin),
    ("/billing", "nav-billing", Role::Viewer),
    ("/diagnostics", "nav-diagnostics", Role::Admin),
    ("/settings", "nav-settings", Role::Viewer),
];

fn document(browser: &Browser, title: &str, body: Markup) -> Markup {
    let theme = browser.preferences.theme;
    html! {
        (DOCTYPE)
        html lang=(browser.language().as_str()) data-theme=[(theme != Theme::Auto).then(|| theme.as_str())] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content="extensions:\"hx-csp,ptag\"";
                title { (title) " · AIAS" }
                link rel="stylesheet" href=(assets::STYLE.path);
                link rel="icon" type="image/svg+xml" href=(assets::ICON.path);
                script src=(assets::SCRIPT.path) nonce=(browser.nonce) defer {}
            }
            (body)
        }
    }
}

/// A page with the navigation.
pub(crate) fn page(visit: &Visit, status: StatusCode, title: &str, content: Markup) -> Response {
    let path = visit.path().strip_prefix("/dashboard").unwrap_or_default();
    let is_current = |item: &str| match item {
        "" => path.trim_matches('/').is_empty(),
        _ => path.starts_with(item),
    };
    let tenant = visit.caller.tenant.name.to_string();
    let body = html! {
        body {
            a.skip href="#content" { (t!(visit, "skip")) }
            header {
                a.brand href="/dashboard" { "AIAS" }
                span.tenant { (ui::text(&tenant)) " " span.role { (ui::word(visit, "role", &visit.caller.role.to_string())) } }
                form method="post" action="/dashboard/sign-out" {
                    (ui::csrf(visit))
                    button.quiet { (t!(visit, "sign-out")) }
                }
            }
            nav aria-label=(t!(visit, "navigation")) {
                ul {
                    @for (item, text, role) in NAVIGATION {
                        @if visit.can(role) {
                            li {
                                a href=(format!("/dashboard{item}")) aria-current=[is_current(item).then_some("page")] {
                                    (t!(visit, text))
                                }
                            }
                        }
                    }
                    li { a href="/dashboard/docs" aria-current=[is_current("/docs").then_some("page")] { (t!(visit, "nav-docs")) } }
                }
            }
            main #content tabindex="-1" {
                h1 { (title) }
                (content)
            }
            div #connection role="status" hidden { (t!(visit, "connection-lost")) }
        }
    };
    with_status(status, document(visit, title, body).into_html())
}

/// A page without navigation, for people who have not signed in or have no tenant.
pub(crate) fn public_page(
    browser: &Browser,
    status: StatusCode,
    title: &str,
    content: Markup,
) -> Response {
    let body = html! {
        body.public {
            main #content {
                p.brand { "AIAS" }
                h1 { (title) }
                (content)
            }
        }
    };
    with_status(status, document(browser, title, body).into_html())
}

fn with_status(status: StatusCode, mut response: Response) -> Response {
    *response.status_mut() = status;
    response
}

fn explained(browser: &Browser, failure: &Failure) -> Markup {
    let mut problem = failure.0.clone();
    if problem.request_id.is_empty() {
        problem
            .request_id
            .clone_from(&browser.head.origin.request_id);
    }
    html! {
        (ui::problem(browser, &problem))
        @if problem.status >= 500 || problem.status == 429 {
            p { a.button href=(browser.head.uri.path_and_query().map_or("/dashboard", |path| path.as_str())) { (t!(browser, "try-again")) } }
        }
        p { a href="/dashboard" { (t!(browser, "to-overview")) } }
    }
}

/// A failure in the frame of the visit; for a polled part, without the frame.
pub(crate) fn failure(visit: &Visit, failure: &Failure) -> Response {
    let (status, title) = (failure.status(), ui::problem_title(visit, &failure.0));
    if visit.head.header("hx-request").is_some() {
        return with_status(status, ui::problem(visit, &failure.0).into_html());
    }
    with_retry(
        failure,
        page(visit, status, &title, explained(visit, failure)),
    )
}

fn with_retry(failure: &Failure, mut response: Response) -> Response {
    if let Some(seconds) = failure.0.retry_after {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(crate) fn public_failure(browser: &Browser, failure: &Failure) -> Response {
    let title = ui::problem_title(browser, &failure.0);
    let content = explained(browser, failure);
    with_retry(
        failure,
        public_page(browser, failure.status(), &title, content),
    )
}
