//! Errors as pages. A handler returns a [`Failure`]; a layer that knows the visit renders it.

use aias_platform::http::Problem;
use axum::{
    http::StatusCode,
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

    pub(crate) fn bad_request(detail: &str) -> Self {
        let problem = Problem::invalid_member("", detail);
        let mut failure = Self::from(problem);
        failure.0.detail = Some(detail.to_owned());
        failure
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The failure in a response, if it is one.
    pub(crate) fn take(mut response: Response) -> std::result::Result<Response, Self> {
        if let Some(failure) = response.extensions_mut().remove::<Self>() {
            return Err(failure);
        }
        match response.extensions_mut().remove::<Problem>() {
            Some(problem) => Err(problem.into()),
            None => Ok(response),
        }
    }
}

impl From<ApiProblem> for Failure {
    fn from(problem: ApiProblem) -> Self {
        Self(problem)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let kind = problem.kind();
        Self(ApiProblem {
            status: kind.status,
            code: kind.code.to_owned(),
            title: kind.title.to_owned(),
            detail: problem.shown_detail().map(str::to_owned),
            request_id: String::new(),
            errors: Vec::new(),
            retry_after: None,
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
