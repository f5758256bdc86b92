//! Errors as pages. A handler returns a [`Failure`]; a layer that knows the visit renders it.

use aias_platform::http::{Problem, kinds};
use axum::{
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};

use crate::client::ApiProblem;

/// Why a page cannot be shown.
#[derive(Debug, Clone)]
pub(crate) struct Failure(pub(crate) ApiProblem);

/// The result of a page.
pub(crate) type Result<T = Response> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn not_found() -> Self {
        Problem::not_found().into()
    }

    /// `403`: the form is not from a page of this session.
    pub(crate) fn forged() -> Self {
        Problem::forbidden("the form was not sent from this site, or is too old").into()
    }

    /// `400`: a field of a form cannot be used.
    pub(crate) fn bad_request(detail: &str) -> Self {
        Problem::new(&kinds::INVALID_BODY).detail(detail).into()
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The failure in a response, if it is one.
    pub(crate) fn take(mut response: Response) -> std::result::Result<Response, Self> {
        let extensions = response.extensions_mut();
        let found = extensions.remove::<Self>();
        let found = found.or_else(|| extensions.remove::<Problem>().map(Self::from));
        let Some(mut failure) = found else {
            return Ok(response);
        };
        let retry_after = response.headers().get(RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        failure.0.retry_after = failure.0.retry_after.or(seconds);
        Err(failure)
    }
}

impl From<ApiProblem> for Failure {
    fn from(problem: ApiProblem) -> Self {
        Self(problem)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(ApiProblem::of(problem.body("", "", "").as_bytes()))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
