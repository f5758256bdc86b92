//! A request of a browser: its preferences, and on most pages its session and caller.

use std::sync::Arc;

use aias_domain::tenant::Role;
use aias_platform::http::{Caller, Head, Identity, Problem, response::etag_of};
use axum::{
    extract::FromRequestParts,
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION},
        request::Parts,
    },
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use maud::Markup;
use serde_json::Value;

use crate::{
    App,
    client::{ApiResult, Call, Page},
    form::Fields,
    layout,
    localization::Language,
    preferences::Preferences,
    session::{Credential, Session},
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

    /// The caller in the selected tenant. None for a person without one.
    pub(crate) async fn caller(&self) -> Result<Option<Arc<Caller>>, Problem> {
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

    /// The page of a list that the query of this page names: with its cursor and these filters.
    pub(crate) async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        filters: &[&str],
    ) -> ApiResult<Page<T>> {
        let query = self.query();
        let names = filters.iter().chain(&["cursor"]);
        let pairs: Vec<_> = names.map(|name| (*name, query.get(name))).collect();
        let separator = if path.contains('?') { '&' } else { '?' };
        let query = Fields::default().query_with(&pairs);
        self.get(&format!("{path}{separator}{query}")).await
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
        let tag = etag_of(&text.replace(&self.nonce, ""));
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
