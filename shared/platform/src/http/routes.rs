//! Routes, and their description in the OpenAPI document.
//!
//! `utoipa_axum`'s router describes each route when it is added, which takes a third of a function's
//! initialization. Here the document is built only by [`Routes::describe`].

use std::{convert::Infallible, fmt, sync::Arc};

use axum::{
    Router,
    extract::Request,
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, Route},
};
use tower::{Layer, Service};
use utoipa::openapi::{HttpMethod, OpenApi};
#[doc(hidden)]
pub use utoipa_axum;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// Handlers of one path, made by [`routes!`](crate::routes).
pub struct Handlers<S> {
    path: String,
    methods: MethodRouter<S>,
    describe: fn() -> UtoipaMethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Handlers<S> {
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        path: String,
        methods: MethodRouter<S>,
        describe: fn() -> UtoipaMethodRouter<S>,
    ) -> Self {
        Self {
            path,
            methods,
            describe,
        }
    }
}

impl<S> fmt::Debug for Handlers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handlers").field(&self.path).finish()
    }
}

/// The methods of a handler.
#[doc(hidden)]
#[must_use]
pub fn filter(methods: Vec<HttpMethod>) -> MethodFilter {
    let filters = methods.into_iter().map(|method| match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    });
    filters
        .reduce(MethodFilter::or)
        .unwrap_or(MethodFilter::GET)
}

/// Handlers with `#[utoipa::path]`, of the same path.
#[macro_export]
macro_rules! routes {
    ($($first:ident)::+ $(, $($other:ident)::+)* $(,)?) => {{
        let methods = ::axum::routing::MethodRouter::new();
        let methods = $crate::routes!(methods.on $($first)::+);
        $(let methods = $crate::routes!(methods.on $($other)::+);)*
        let path = $crate::http::routes::utoipa_axum::routes!(@path [path()] of $($first)::+);
        $crate::http::routes::Handlers::new(path, methods, || {
            $crate::http::routes::utoipa_axum::routes!($($first)::+ $(, $($other)::+)*)
        })
    }};
    ($methods:ident.on $($handler:ident)::+) => {{
        let of = $crate::http::routes::utoipa_axum::routes!(@path [methods()] of $($handler)::+);
        $methods.on($crate::http::routes::filter(of), $($handler)::+)
    }};
}

/// Routes with handlers that need the state `S`.
#[derive(Clone)]
pub struct Routes<S = ()> {
    router: Router<S>,
    descriptions: Vec<Arc<dyn Fn() -> OpenApi + Send + Sync>>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    #[must_use]
    pub fn new() -> Self {
        Self::from(Router::new())
    }

    #[must_use]
    pub fn routes(mut self, handlers: Handlers<S>) -> Self {
        let Handlers {
            path,
            methods,
            describe,
        } = handlers;
        self.descriptions.push(Arc::new(move || {
            let described = OpenApiRouter::new().routes(describe());
            described.into_openapi()
        }));
        self.router = self.router.route(&path, methods);
        self
    }

    /// A route without a description.
    #[must_use]
    pub fn route(self, path: &str, methods: MethodRouter<S>) -> Self {
        self.with(|router| router.route(path, methods))
    }

    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.descriptions.extend(other.descriptions);
        self.with(|router| router.merge(other.router))
    }

    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.with(|router| router.layer(layer))
    }

    #[must_use]
    pub fn route_layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.with(|router| router.route_layer(layer))
    }

    #[must_use]
    pub fn with_state<S2>(self, state: S) -> Routes<S2> {
        self.with(|router| router.with_state(state))
    }

    fn with<S2>(self, change: impl FnOnce(Router<S>) -> Router<S2>) -> Routes<S2> {
        Routes {
            router: change(self.router),
            descriptions: self.descriptions,
        }
    }

    /// The OpenAPI document of the routes.
    #[must_use]
    pub fn describe(&self) -> OpenApi {
        let mut documents = self.descriptions.iter().map(|describe| describe());
        let first = documents.next().unwrap_or_default();
        documents.fold(first, OpenApi::merge_from)
    }

    pub fn into_router(self) -> Router<S> {
        self.router
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> From<Router<S>> for Routes<S> {
    fn from(router: Router<S>) -> Self {
        Self {
            router,
            descriptions: Vec::new(),
        }
    }
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}
