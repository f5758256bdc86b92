//! The responses of a dry run: those of the request, then those of a past run.

use std::collections::{HashMap, VecDeque};

use aias_engine::journal::{
    Body, Effect, EffectResult, Entry, EntryEvent, Failure, HttpResponse, Request as EffectRequest,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The results of a past run that are not used yet, oldest first.
struct PastResult {
    at: Timestamp,
    task: String,
    /// Of the request.
    digest: String,
    result: EffectResult,
}

pub(super) struct Responses {
    given: HashMap<String, VecDeque<Value>>,
    past: Vec<PastResult>,
}

/// `{"sequence": […]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence {
    sequence: VecDeque<Value>,
}

impl Responses {
    pub(super) fn new(given: HashMap<String, Value>, past: Vec<Entry>) -> Self {
        let sequence = |value: Value| match Sequence::deserialize(&value) {
            Ok(Sequence { sequence }) if !sequence.is_empty() => sequence,
            Ok(_) | Err(_) => VecDeque::from([value]),
        };
        let past = past.into_iter().filter_map(|entry| match entry.event {
            EntryEvent::EffectCompleted {
                key,
                digest,
                result,
            } => Some(PastResult {
                at: entry.at,
                task: key.task,
                digest,
                result,
            }),
            EntryEvent::Started | EntryEvent::TimerExpired | EntryEvent::Retried => None,
        });
        Self {
            given: given
                .into_iter()
                .map(|(task, value)| (task, sequence(value)))
                .collect(),
            past: past.collect(),
        }
    }

    /// The result of an effect, and when the past run got it.
    pub(super) fn take(&mut self, effect: &Effect) -> Option<(EffectResult, Option<Timestamp>)> {
        if let Some(sequence) = self.given.get_mut(&effect.key.task) {
            let response = if sequence.len() > 1 {
                sequence.pop_front()?
            } else {
                // The last one repeats.
                sequence.front()?.clone()
            };
            return Some((effect_result(effect, &response), None));
        }
        let digest = effect.digest();
        let equal = |past: &PastResult| past.digest == digest;
        let same_task = |past: &PastResult| equal(past) && past.task == effect.key.task;
        // A changed definition may have moved the task.
        let index = self.past.iter().position(same_task);
        let index = index.or_else(|| self.past.iter().position(equal))?;
        let past = self.past.remove(index);
        Some((past.result, Some(past.at)))
    }
}

/// A whole HTTP response, with the names of the DSL's `output: response`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WholeResponse {
    status_code: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    content: Value,
}

/// An effect that fails.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailedEffect {
    error: Problematic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Problematic {
    #[serde(rename = "type")]
    kind: String,
    status: u16,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// The result that a response stands for: an error, a whole HTTP response, the content of a
/// response, or the output of a workflow.
fn effect_result(effect: &Effect, response: &Value) -> EffectResult {
    if let Ok(FailedEffect { error }) = FailedEffect::deserialize(response) {
        return EffectResult::Failed(Failure {
            title: error.title.unwrap_or_else(|| "Error".to_owned()),
            detail: error.detail.unwrap_or_default(),
            kind: error.kind,
            status: error.status,
        });
    }
    match (&effect.request, WholeResponse::deserialize(response)) {
        (EffectRequest::Workflow(_), _) => EffectResult::Output(response.clone()),
        (EffectRequest::Http(_), Ok(whole)) => {
            let mut headers: Vec<_> = whole.headers.into_iter().collect();
            headers.sort();
            http(whole.status_code, headers, &whole.content)
        }
        (EffectRequest::Http(_), Err(_)) => http(200, Vec::new(), response),
    }
}

fn http(status: u16, headers: Vec<(String, String)>, content: &Value) -> EffectResult {
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut headers: Vec<(String, String)> = headers.collect();
    let text = match content {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            if !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            content.to_string()
        }
    };
    EffectResult::Http(HttpResponse {
        status,
        headers,
        body: Body::Text(text),
    })
}
