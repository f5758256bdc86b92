//! HTTP and OpenAPI calls, and runs of other workflows.

use jaq_json::Val;
use serde_json::Value;
use url::Url;

use super::{AUTHORIZATION, Flow, Run, Scope, tasks::to_json};
use crate::{
    compile::authentication::Policy,
    definition::{self, Format as Text},
    endpoint::{self, Endpoint, Uri},
    error::{Error, Kind as ErrorKind},
    host::Event,
    http,
    journal::{Authentication, EffectResult, HttpRequest, HttpResponse, Request, Subflow},
    openapi,
    program::{Format, HttpCall, OpenApiCall, RunWorkflow, document_reference},
    template::Template,
    value,
};

impl Run<'_> {
    pub(super) async fn http(
        &self,
        call: &HttpCall,
        input: &Val,
        at: &str,
        scope: &mut Scope,
    ) -> Flow {
        let request = self.request(call, input, at, scope);
        scope.arguments.values[AUTHORIZATION] = Val::Null;
        self.called(request?, call.format, at, scope).await
    }

    fn request(
        &self,
        call: &HttpCall,
        dot: &Val,
        at: &str,
        scope: &mut Scope,
    ) -> Flow<HttpRequest> {
        let broken = |why: String| Error::new(ErrorKind::Configuration, at, why);
        let authentication = self.policy(call.endpoint.authentication.as_ref(), dot, at, scope)?;
        // `$authorization` exists only for the request that it belongs to.
        scope.arguments.values[AUTHORIZATION] =
            authentication.as_ref().map_or(Val::Null, authorization_of);
        let mut url = self.url(&call.endpoint, dot, at, scope)?;
        let pairs = |template: &Option<Template>| -> Flow<Vec<(String, String)>> {
            let Some(template) = template else {
                return Ok(Vec::new());
            };
            Ok(http::pairs(&self.json(template, dot, at, scope)?).map_err(broken)?)
        };
        http::add_query(&mut url, &pairs(&call.query)?);
        let body = call.body.as_ref();
        let parts = http::Parts {
            method: self.text(&call.method, dot, at, scope)?,
            url,
            headers: pairs(&call.headers)?,
            body: body
                .map(|body| self.json(body, dot, at, scope))
                .transpose()?,
            redirect: call.redirect,
        };
        let mut request = parts.request().map_err(broken)?;
        request.authentication = authentication;
        Ok(request)
    }

    pub(super) async fn openapi(
        &self,
        call: &OpenApiCall,
        input: &Val,
        at: &str,
        scope: &mut Scope,
    ) -> Flow {
        let broken = |why: String| Error::new(ErrorKind::Configuration, at, why);
        let url = self.url(&call.document, input, at, scope)?;
        let get = HttpRequest {
            method: "GET".to_owned(),
            uri: url.clone().into(),
            headers: Vec::new(),
            body: None,
            redirect: true,
            authentication: self.policy(call.document.authentication.as_ref(), input, at, scope)?,
        };
        // A key of its own, next to that of the call.
        let name = document_reference(at);
        let response = self.send(&name, &get, at, scope).await?;
        let document = read(&response).map_err(broken)?;
        let given = self.json(&call.parameters, input, at, scope)?;
        let mut parts =
            openapi::request(&document, &url, &call.operation, &given).map_err(broken)?;
        parts.redirect = call.redirect;
        let mut request = parts.request().map_err(broken)?;
        request.authentication = self.policy(call.authentication.as_ref(), input, at, scope)?;
        self.called(request, call.format, at, scope).await
    }

    async fn called(
        &self,
        request: HttpRequest,
        format: Format,
        at: &str,
        scope: &mut Scope,
    ) -> Flow {
        let response = self.send(at, &request, at, scope).await?;
        let output = http::output(response, &request, format)
            .map_err(|why| Error::new(ErrorKind::Communication, at, why))?;
        Ok(value::from_json(&output))
    }

    /// Sends a request and waits for a successful response.
    async fn send(
        &self,
        name: &str,
        request: &HttpRequest,
        at: &str,
        scope: &Scope,
    ) -> Flow<HttpResponse> {
        let result = self.ask(name, Request::Http(Box::new(request.clone())));
        self.note_call(at, result.request());
        self.record(at, Event::Started, &http::summary(request), scope.attempt)?;
        let result = result.await;
        self.note(at, |data| data.add_result(&result));
        Ok(http::require_success(result, request, at)?)
    }

    pub(super) async fn subflow(
        &self,
        workflow: &RunWorkflow,
        input: Val,
        at: &str,
        scope: &mut Scope,
    ) -> Flow {
        let given = match &workflow.input {
            None => to_json(&input, at)?,
            Some(template) => self.json(template, &input, at, scope)?,
        };
        let result = self.ask(
            at,
            Request::Workflow(Box::new(Subflow {
                namespace: workflow.namespace.clone(),
                name: workflow.name.clone(),
                version: workflow.version.clone(),
                input: given,
                wait: workflow.wait,
            })),
        );
        self.note_call(at, result.request());
        let message = format!("{}/{}", workflow.namespace, workflow.name);
        self.record(at, Event::Started, &message, scope.attempt)?;
        let result = result.await;
        self.note(at, |data| data.add_result(&result));
        match result {
            EffectResult::Output(_) if !workflow.wait => Ok(input),
            EffectResult::Output(output) => Ok(value::from_json(&output)),
            EffectResult::Failed(failure) => Err(Error::failed(&failure, at).into()),
            EffectResult::Http(_) => {
                let detail = "the journal has an HTTP response for a run of a workflow";
                Err(Error::new(ErrorKind::NonDeterministic, at, detail).into())
            }
        }
    }

    fn note_call(&self, at: &str, request: &Request) {
        if self.with_data {
            let mut world = self.world.borrow_mut();
            let now = world.now;
            world.note(at, |data| data.add_call(request, now));
        }
    }

    fn url(&self, endpoint: &Endpoint, dot: &Val, at: &str, scope: &Scope) -> Flow<Url> {
        let text = match &endpoint.uri {
            Uri::Template(template) => endpoint::expand(template, &to_json(dot, at)?)
                .map_err(|why| Error::new(ErrorKind::Expression, at, why))?,
            Uri::Expression(expression) => {
                endpoint::text(&to_json(&self.evaluate(*expression, dot, at, scope)?, at)?)
            }
        };
        let url = endpoint::parse(&text);
        Ok(url.map_err(|why| Error::new(ErrorKind::Configuration, at, why))?)
    }

    fn policy(
        &self,
        policy: Option<&Policy>,
        dot: &Val,
        at: &str,
        scope: &Scope,
    ) -> Flow<Option<Authentication>> {
        let mut text = |template: &Template| self.text(template, dot, at, scope);
        policy.map(|policy| policy.fill(&mut text)).transpose()
    }

    fn text(&self, template: &Template, dot: &Val, at: &str, scope: &Scope) -> Flow<String> {
        Ok(endpoint::text(&self.json(template, dot, at, scope)?))
    }
}

/// `$authorization`: the `Authorization` header, as far as it is known in advance.
fn authorization_of(authentication: &Authentication) -> Val {
    let (scheme, parameter) = match authentication {
        Authentication::Basic { username, password } => {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            ("Basic", STANDARD.encode(format!("{username}:{password}")))
        }
        Authentication::Bearer { token } => ("Bearer", token.clone()),
        Authentication::Digest { .. }
        | Authentication::OAuth2(_)
        | Authentication::Secret { .. } => {
            return Val::Null;
        }
    };
    value::object([
        ("scheme", value::text(scheme)),
        ("parameter", value::text(&parameter)),
    ])
}

/// Parses an OpenAPI document in JSON or YAML.
fn read(response: &HttpResponse) -> Result<Value, String> {
    let crate::journal::Body::Text(text) = &response.body else {
        return Err("the OpenAPI document is not UTF-8".to_owned());
    };
    let format = if text.trim_start().starts_with('{') {
        Text::Json
    } else {
        Text::Yaml
    };
    definition::parse(text.as_bytes(), format).map_err(|error| {
        format!(
            "the OpenAPI document cannot be parsed: {}",
            error.fault.detail
        )
    })
}
