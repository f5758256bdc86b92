//! The data of a step, for hosts that show it.

use aias_domain::{canonical, run::RunError};
use jaq_json::Val;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, bounded, cut},
    host::Event,
    journal::{Body, EffectResult, Failure, Request},
    value,
};

/// The largest value of a step, in bytes of JSON.
const MAX_VALUE_BYTES: usize = 32 * 1024;

/// The largest result of an expression, in bytes of JSON.
const MAX_RESULT_BYTES: usize = 4 * 1024;

/// The most expressions of a step, and the longest of their texts and errors, in characters.
const MAX_EXPRESSIONS: usize = 100;
const MAX_TEXT: usize = 500;

/// The most calls of a step; an `OpenAPI` call makes two.
const MAX_CALLS: usize = 4;

/// The most headers of a request or response, and the longest name and value, in characters.
const MAX_HEADERS: usize = 50;
const MAX_HEADER: usize = 256;

/// A value, or the start of its JSON if it is too large.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excerpt {
    Whole(Value),
    Start { text: String, size_bytes: usize },
}

impl Excerpt {
    /// A value of at most `max` bytes of JSON, else its start.
    #[must_use]
    pub fn of(value: Value, max: usize) -> Self {
        let text = value.to_string();
        if text.len() <= max {
            return Self::Whole(value);
        }
        let end = text.floor_char_boundary(max.min(MAX_RESULT_BYTES));
        Self::Start {
            text: text.get(..end).unwrap_or_default().to_owned(),
            size_bytes: text.len(),
        }
    }
}

/// A value of a step and the digest of its canonical JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepValue {
    pub value: Excerpt,
    pub digest: String,
}

impl StepValue {
    pub(crate) fn of(val: &Val) -> Self {
        let value = value::to_json(val).unwrap_or_default();
        Self {
            digest: canonical::digest(&canonical::to_vec(&value)),
            value: Excerpt::of(value, MAX_VALUE_BYTES),
        }
    }
}

/// An expression that a task evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// A JSON pointer into the definition.
    pub pointer: String,
    /// Without `${ }`.
    pub expression: String,
    pub result: Result<Excerpt, String>,
}

/// A request of a task and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub requested_at: Timestamp,
    pub request: CallRequest,
    /// None while the task waits.
    pub result: Option<CallResult>,
}

/// A request without credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallRequest {
    Http {
        method: String,
        uri: String,
        headers: Vec<(String, String)>,
        body: Option<Excerpt>,
    },
    Workflow {
        namespace: String,
        name: String,
        version: String,
        input: Excerpt,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// A response with any status.
    Http {
        status: u16,
        headers: Vec<(String, String)>,
        body: Excerpt,
    },
    /// The output of a workflow.
    Output(Excerpt),
    Failed(Failure),
}

/// Headers whose values are credentials.
const REDACTED_HEADERS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
];

fn shown_headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let shown = |(name, value): &(String, String)| {
        let value = if REDACTED_HEADERS.contains(&name.as_str()) {
            "[redacted]".to_owned()
        } else {
            cut(value, MAX_HEADER)
        };
        (cut(name, MAX_HEADER), value)
    };
    headers.iter().take(MAX_HEADERS).map(shown).collect()
}

fn body(text: &str) -> Excerpt {
    Excerpt::of(Value::from(text), MAX_VALUE_BYTES)
}

impl CallRequest {
    fn of(request: &Request) -> Self {
        match request {
            Request::Http(request) => Self::Http {
                method: request.method.clone(),
                uri: request.uri.clone(),
                headers: shown_headers(&request.headers),
                body: request.body.as_deref().map(body),
            },
            Request::Workflow(subflow) => Self::Workflow {
                namespace: subflow.namespace.clone(),
                name: subflow.name.clone(),
                version: subflow.version.clone(),
                input: Excerpt::of(subflow.input.clone(), MAX_VALUE_BYTES),
            },
        }
    }
}

impl CallResult {
    fn of(result: &EffectResult) -> Self {
        match result {
            EffectResult::Http(response) => Self::Http {
                status: response.status,
                headers: shown_headers(&response.headers),
                body: match &response.body {
                    Body::Text(text) | Body::Base64(text) => body(text),
                },
            },
            EffectResult::Output(output) => {
                Self::Output(Excerpt::of(output.clone(), MAX_VALUE_BYTES))
            }
            EffectResult::Failed(failure) => Self::Failed(Failure {
                detail: bounded(&failure.detail),
                ..failure.clone()
            }),
        }
    }
}

/// One execution of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepData {
    /// The task reference.
    pub task: String,
    /// How it ended; [`Event::Started`] if it waits.
    pub event: Event,
    /// The attempt of the surrounding `try`, from 1.
    pub attempt: u32,
    /// Milliseconds since the start of the run, by its journal.
    pub elapsed_ms: u64,
    /// After `input.from`.
    pub input: Option<StepValue>,
    /// After `output.as`.
    pub output: Option<StepValue>,
    /// `$context` after the task.
    pub context: Option<Excerpt>,
    pub expressions: Vec<Evaluation>,
    pub calls: Vec<Call>,
    pub error: Option<RunError>,
}

impl StepData {
    pub(crate) fn new(task: &str) -> Self {
        Self {
            task: task.to_owned(),
            event: Event::Started,
            attempt: 1,
            elapsed_ms: 0,
            input: None,
            output: None,
            context: None,
            expressions: Vec::new(),
            calls: Vec::new(),
            error: None,
        }
    }

    pub(crate) fn add_evaluation(
        &mut self,
        (expression, pointer): (&str, &str),
        result: &Result<Val, String>,
    ) {
        if self.expressions.len() == MAX_EXPRESSIONS {
            return;
        }
        let excerpt = |val| {
            let value = value::to_json(val).unwrap_or_default();
            Excerpt::of(value, MAX_RESULT_BYTES)
        };
        self.expressions.push(Evaluation {
            pointer: cut(pointer, MAX_TEXT),
            expression: cut(expression, MAX_TEXT),
            result: result
                .as_ref()
                .map(excerpt)
                .map_err(|error| cut(error, MAX_TEXT)),
        });
    }

    pub(crate) fn add_call(&mut self, request: &Request, requested_at: Timestamp) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(Call {
                requested_at,
                request: CallRequest::of(request),
                result: None,
            });
        }
    }

    pub(crate) fn add_result(&mut self, result: &EffectResult) {
        if let Some(call) = self.calls.last_mut() {
            call.result = Some(CallResult::of(result));
        }
    }

    pub(crate) fn end(
        &mut self,
        event: Event,
        output: Option<&Val>,
        error: Option<&Error>,
        context: &Val,
    ) {
        self.event = event;
        self.output = output.map(StepValue::of);
        self.error = error.map(|error| error.clone().into());
        let context = value::to_json(context).unwrap_or_default();
        self.context = Some(Excerpt::of(context, MAX_VALUE_BYTES));
    }
}
