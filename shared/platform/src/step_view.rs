//! The data of a step in the API.

use aias_domain::{run::RunError, timestamp};
use aias_engine::{Call, CallRequest, CallResult, Evaluation, Event, Excerpt, StepData, StepValue};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// The step waits for the result of a call.
    Waiting,
    /// The `if` of the task was false.
    Skipped,
    Completed,
    Faulted,
}

/// One execution of a task, computed again from the run's version, input and journal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub struct StepView {
    /// A JSON pointer into the definition.
    #[schema(example = "/do/0/report")]
    task: String,
    status: StepStatus,
    /// The attempt of the surrounding `try`, from 1.
    attempt: u32,
    /// Milliseconds since the start of the run.
    elapsed_ms: u64,
    /// After `input.from`.
    input: Value,
    /// Of the canonical JSON (RFC 8785) of the input.
    input_digest: Option<String>,
    /// After `output.as`.
    output: Value,
    /// Of the canonical JSON (RFC 8785) of the output.
    output_digest: Option<String>,
    /// `$context` after the step.
    context: Value,
    /// In the order of their evaluation, at most 100.
    expressions: Vec<EvaluationView>,
    /// At most 4.
    calls: Vec<CallView>,
    error: Option<RunError>,
    /// Pointers to the members that are only the start of a large value's JSON, as a string.
    truncated: Vec<String>,
}

/// An evaluated expression.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Evaluation)]
struct EvaluationView {
    /// A JSON pointer into the definition.
    #[schema(example = "/do/0/report/set/total")]
    pointer: String,
    /// Without `${ }`.
    expression: String,
    result: Value,
    /// Why there is no result.
    error: Option<String>,
}

/// A request and its result. Credentials are left out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Call)]
struct CallView {
    #[schema(format = DateTime)]
    requested_at: String,
    request: CallRequestView,
    /// `null` while the step waits.
    result: Option<CallResultView>,
}

/// The request of a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = CallRequest)]
enum CallRequestView {
    Http {
        method: String,
        uri: String,
        headers: Map<String, Value>,
        body: Value,
    },
    Workflow {
        namespace: String,
        name: String,
        version: String,
        input: Value,
    },
}

/// The result of a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = CallResult)]
enum CallResultView {
    Http {
        status: u16,
        headers: Map<String, Value>,
        /// Parsed if it is JSON, else a string; in base64 if it is not UTF-8.
        body: Value,
    },
    Workflow {
        output: Value,
    },
    /// There is no response.
    Failure {
        status: u16,
        title: String,
        detail: String,
    },
}

impl StepView {
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.status == StepStatus::Waiting
    }
}

/// Collects the pointers of truncated values.
struct Truncated(Vec<String>);

impl Truncated {
    fn value(&mut self, excerpt: Excerpt, pointer: impl FnOnce() -> String) -> Value {
        match excerpt {
            Excerpt::Whole(value) => value,
            Excerpt::Start { text, .. } => {
                self.0.push(pointer());
                Value::String(text)
            }
        }
    }

    fn step_value(&mut self, value: Option<StepValue>, pointer: &str) -> (Value, Option<String>) {
        let Some(StepValue { value, digest }) = value else {
            return (Value::Null, None);
        };
        (self.value(value, || pointer.to_owned()), Some(digest))
    }

    fn evaluation(&mut self, index: usize, own: Evaluation) -> EvaluationView {
        let (result, error) = match own.result {
            Ok(result) => {
                let at = || format!("/expressions/{index}/result");
                (self.value(result, at), None)
            }
            Err(error) => (Value::Null, Some(error)),
        };
        EvaluationView {
            pointer: own.pointer,
            expression: own.expression,
            result,
            error,
        }
    }

    fn call(&mut self, index: usize, own: Call) -> CallView {
        let at = |member: &str| format!("/calls/{index}/{member}");
        let request = match own.request {
            CallRequest::Http {
                method,
                uri,
                headers,
                body,
            } => CallRequestView::Http {
                method,
                uri,
                headers: members(headers),
                body: body.map_or(Value::Null, |body| {
                    parsed(self.value(body, || at("request/body")))
                }),
            },
            CallRequest::Workflow {
                namespace,
                name,
                version,
                input,
            } => CallRequestView::Workflow {
                namespace,
                name,
                version,
                input: self.value(input, || at("request/input")),
            },
        };
        let result = own.result.map(|result| match result {
            CallResult::Http {
                status,
                headers,
                body,
            } => CallResultView::Http {
                status,
                headers: members(headers),
                body: parsed(self.value(body, || at("result/body"))),
            },
            CallResult::Output(output) => CallResultView::Workflow {
                output: self.value(output, || at("result/output")),
            },
            CallResult::Failed(failure) => CallResultView::Failure {
                status: failure.status,
                title: failure.title,
                detail: failure.detail,
            },
        });
        CallView {
            requested_at: timestamp::format(own.requested_at),
            request,
            result,
        }
    }
}

/// Headers as members; values of the same name are joined (RFC 9110, section 5.3).
fn members(headers: Vec<(String, String)>) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, value) in headers {
        match members.get_mut(&name) {
            Some(Value::String(text)) => {
                text.push_str(", ");
                text.push_str(&value);
            }
            _ => {
                members.insert(name, value.into());
            }
        }
    }
    members
}

/// The content of a body: an object or an array if it is one in JSON, else the string.
fn parsed(body: Value) -> Value {
    let text = body.as_str().unwrap_or_default();
    if !text.trim_start().starts_with(['{', '[']) {
        return body;
    }
    aias_domain::json::parse(text.as_bytes()).unwrap_or(body)
}

impl From<StepData> for StepView {
    fn from(own: StepData) -> Self {
        let mut truncated = Truncated(Vec::new());
        let (input, input_digest) = truncated.step_value(own.input, "/input");
        let (output, output_digest) = truncated.step_value(own.output, "/output");
        let context = own.context.map_or(Value::Null, |context| {
            truncated.value(context, || "/context".to_owned())
        });
        let expressions = own.expressions.into_iter().enumerate();
        let expressions = expressions.map(|(index, one)| truncated.evaluation(index, one));
        let expressions = expressions.collect();
        let calls = own.calls.into_iter().enumerate();
        let calls = calls.map(|(index, one)| truncated.call(index, one));
        let calls = calls.collect();
        Self {
            task: own.task,
            status: match own.event {
                Event::Started => StepStatus::Waiting,
                Event::Skipped => StepStatus::Skipped,
                Event::Faulted => StepStatus::Faulted,
                Event::Completed | Event::Retried | Event::Caught | Event::Debug => {
                    StepStatus::Completed
                }
            },
            attempt: own.attempt,
            elapsed_ms: own.elapsed_ms,
            input,
            input_digest,
            output,
            output_digest,
            context,
            expressions,
            calls,
            error: own.error,
            truncated: truncated.0,
        }
    }
}
