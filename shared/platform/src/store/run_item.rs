//! A run's item. In the clear is what finds it, what lists filter by, what refuses a stale write and
//! what ends its retention; all else is deflated together, with an artifact and a log that are small
//! (`docs/decisions/0018`, `0021`). The input is by itself: it never changes.

use aias_domain::{
    id::RunId,
    log::Entry,
    run::{Run, Trigger},
};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Stored, TenantStore,
    deflate::{deflate, inflate},
    items::{EXPIRES_AT, Item, KIND, VERSION, number, number_of, text_of},
    keys::{self, SK},
    runs::{Input, StoredRun},
};

pub(super) const STATUS: &str = "status";
pub(super) const WORKFLOW: &str = "workflow_id";
pub(super) const ENDPOINT: &str = "endpoint_id";
/// How many it has; only of a run that has some.
pub(super) const ARTIFACTS: &str = "artifacts";

const RUN: &str = "run";
const INPUT: &str = "input";
const INPUT_KEY: &str = "input_key";

/// The largest of what is deflated together, in bytes: an item has 400 KB.
const MAX_INFLATED: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
struct Packed<'a> {
    run: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    log: &'a [Entry],
}

#[derive(Deserialize)]
struct Unpacked {
    run: Run,
    #[serde(default)]
    artifact: Option<String>,
    #[serde(default)]
    log: Vec<Entry>,
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Broken(Box::new(error))
}

impl TenantStore<'_> {
    pub(super) fn run_item(&self, stored: &StoredRun) -> Result<Item, Error> {
        let run = &stored.run.value;
        let artifact = stored.artifact.as_deref().map(str::from_utf8).transpose();
        let packed = Packed {
            run,
            artifact: artifact.map_err(broken)?,
            log: &stored.log,
        };
        let packed = deflate(&serde_json::to_vec(&packed).map_err(broken)?)?;
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let bytes = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
        let mut item = keys::run(self.tenant, run.id).attributes();
        item.extend(
            [
                (KIND, text("run")),
                (VERSION, number(1)),
                (EXPIRES_AT, number(stored.expires_at.as_second())),
                (STATUS, text(run.status.as_str())),
                (WORKFLOW, text(&run.workflow_id.to_string())),
                (RUN, bytes(packed)),
                match &stored.input {
                    Input::Inline(deflated) => (INPUT, bytes(deflated.clone())),
                    Input::Blob(key) => (INPUT_KEY, text(key)),
                },
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if let Trigger::Webhook { endpoint_id, .. } = &run.trigger {
            item.insert(ENDPOINT.to_owned(), text(&endpoint_id.to_string()));
        }
        if !run.artifacts.is_empty() {
            let count = u64::try_from(run.artifacts.len()).unwrap_or(u64::MAX);
            item.insert(ARTIFACTS.to_owned(), number(count));
        }
        Ok(item)
    }
}

pub(super) fn run_of(mut item: Item) -> Result<StoredRun, Error> {
    let id: RunId = text_of(&item, SK)
        .and_then(|sk| sk.rsplit('#').next()?.parse().ok())
        .ok_or_else(|| Error::broken("a run without an id"))?;
    let input = match (item.remove(INPUT), item.remove(INPUT_KEY)) {
        (Some(AttributeValue::B(bytes)), _) => Input::Inline(bytes.into_inner()),
        (_, Some(AttributeValue::S(key))) => Input::Blob(key),
        _ => return Err(Error::broken("a run without an input")),
    };
    let Some(AttributeValue::B(packed)) = item.remove(RUN) else {
        return Err(Error::broken("a run without what it is"));
    };
    let packed = inflate(packed.as_ref(), MAX_INFLATED)?;
    let Unpacked { run, artifact, log } = serde_json::from_slice(&packed).map_err(broken)?;
    let version =
        number_of(&item, VERSION).ok_or_else(|| Error::broken("an item without a version"))?;
    let expires = number_of(&item, EXPIRES_AT).and_then(|s| i64::try_from(s).ok());
    let expires_at = expires
        .and_then(|s| Timestamp::from_second(s).ok())
        .unwrap_or(Timestamp::MAX);
    Ok(StoredRun {
        was: run.status,
        run: Stored {
            value: Run {
                id,
                created_at: id.created_at(),
                ..run
            },
            version,
        },
        input,
        artifact: artifact.map(String::into_bytes),
        log,
        expires_at,
    })
}
