//! The item of a run. Attributes for keys, filters, versions and expiry are stored as they are; all
//! others are compressed together with a small artifact and a small log (`docs/decisions/0018`,
//! `0021`). The input is compressed separately, since it never changes.

use aias_domain::{
    id::{RunId, TenantId},
    log::Entry,
    run::{Run, Status, Trigger},
};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error,
    compression::{compress, decompress},
    items::{EXPIRES_AT, Item, KIND, VERSION, number, number_of, string_of},
    keys::{self, SK},
    runs::{Input, StoredRun},
};

pub(super) const STATUS: &str = "status";
pub(super) const WORKFLOW: &str = "workflow_id";
pub(super) const ENDPOINT: &str = "endpoint_id";
/// Number of artifacts; absent if there are none.
pub(super) const ARTIFACTS: &str = "artifacts";

const RUN: &str = "run";
const INPUT: &str = "input";
const INPUT_KEY: &str = "input_key";
const RUNNING_SHARD: &str = "running_shard";

/// The largest decompressed attribute, in bytes; an item has at most 400 KB.
const MAX_DECOMPRESSED: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
struct RunAttributesRef<'a> {
    run: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    log: &'a [Entry],
}

#[derive(Deserialize)]
struct RunAttributes {
    run: Run,
    #[serde(default)]
    artifact: Option<String>,
    #[serde(default)]
    log: Vec<Entry>,
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Broken(Box::new(error))
}

pub(super) fn run_item(tenant: TenantId, stored: &StoredRun) -> Result<Item, Error> {
    let run = &stored.run;
    let artifact = stored.artifact.as_deref().map(str::from_utf8).transpose();
    let packed = RunAttributesRef {
        run,
        artifact: artifact.map_err(broken)?,
        log: &stored.log,
    };
    let packed = compress(&serde_json::to_vec(&packed).map_err(broken)?)?;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let bytes = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
    let mut item = keys::run(tenant, run.id).attributes();
    item.extend(
        [
            (KIND, text("run")),
            (VERSION, number(1)),
            (EXPIRES_AT, number(stored.expires_at.as_second())),
            (STATUS, text(run.status.as_str())),
            (WORKFLOW, text(&run.workflow_id.to_string())),
            (RUN, bytes(packed)),
            match &stored.input {
                Input::Inline(compressed) => (INPUT, bytes(compressed.clone())),
                Input::Blob(key) => (INPUT_KEY, text(key)),
            },
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Trigger::Webhook { endpoint_id, .. } = &run.trigger {
        item.insert(ENDPOINT.to_owned(), text(&endpoint_id.to_string()));
    }
    if run.status == Status::Running {
        item.insert(RUNNING_SHARD.to_owned(), number(stored.running_shard));
    }
    if !run.artifacts.is_empty() {
        let count = u64::try_from(run.artifacts.len()).unwrap_or(u64::MAX);
        item.insert(ARTIFACTS.to_owned(), number(count));
    }
    Ok(item)
}

/// The run in an item's key.
pub(super) fn run_id_of(item: &Item) -> Option<RunId> {
    string_of(item, SK)?.rsplit('#').next()?.parse().ok()
}

pub(super) fn run_of(mut item: Item) -> Result<StoredRun, Error> {
    let id = run_id_of(&item).ok_or_else(|| Error::broken("an item of a run has no id"))?;
    let input = match (item.remove(INPUT), item.remove(INPUT_KEY)) {
        (Some(AttributeValue::B(bytes)), _) => Input::Inline(bytes.into_inner()),
        (_, Some(AttributeValue::S(key))) => Input::Blob(key),
        _ => return Err(Error::broken("an item of a run has no input")),
    };
    let Some(AttributeValue::B(packed)) = item.remove(RUN) else {
        return Err(Error::broken("an item of a run has no attributes"));
    };
    let packed = decompress(packed.as_ref(), MAX_DECOMPRESSED)?;
    let RunAttributes { run, artifact, log } = serde_json::from_slice(&packed).map_err(broken)?;
    let version =
        number_of(&item, VERSION).ok_or_else(|| Error::broken("an item has no version"))?;
    let expires = number_of(&item, EXPIRES_AT).and_then(|s| i64::try_from(s).ok());
    let expires_at = expires
        .and_then(|s| Timestamp::from_second(s).ok())
        .unwrap_or(Timestamp::MAX);
    let running_shard = number_of(&item, RUNNING_SHARD).and_then(|shard| u8::try_from(shard).ok());
    Ok(StoredRun {
        was: run.status,
        running_shard: running_shard.unwrap_or_default(),
        run: Run {
            id,
            created_at: id.created_at(),
            ..run
        },
        version,
        input,
        artifact: artifact.map(String::into_bytes),
        log,
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use aias_domain::{
        artifact::Artifact,
        canonical,
        id::{ArtifactId, EndpointId, WorkflowId},
        log::Level,
        run::{Child, RunError},
    };

    use super::*;

    /// A run in which every attribute is set.
    fn whole() -> StoredRun {
        let at = Timestamp::from_millisecond(1_795_262_400_123).unwrap();
        let id = RunId::new(at, 1);
        let workflow_id = WorkflowId::new(at, 2);
        let trigger = Trigger::Webhook {
            endpoint_id: EndpointId::new(at, 3),
            event_id: Some("evt_1".to_owned()),
            event_type: Some("push".to_owned()),
            source_ip: Some("192.0.2.1".to_owned()),
        };
        let digest = canonical::digest(b"{}");
        let run = Run {
            workflow_version: Some(7),
            output_digest: Some(digest.clone()),
            error: Some(RunError::platform("x", "X", "y")),
            attempts: 1,
            retries: 2,
            log_base: 3,
            wakes_at: Some(at),
            awaits_run: true,
            children: vec![Child {
                run_id: RunId::new(at, 4),
                task: "/do/0/a".to_owned(),
            }],
            events: 5,
            secret_nonce: Some("m".to_owned()),
            artifacts: vec![Artifact {
                id: ArtifactId {
                    run_id: id,
                    number: 0,
                },
                name: "output.json".to_owned(),
                content_type: "application/json".to_owned(),
                size_bytes: 2,
                digest: digest.clone(),
                created_at: at,
            }],
            started_at: Some(at),
            ended_at: Some(at),
            ..Run::pending(id, workflow_id, None, trigger, digest)
        };
        let entry = Entry {
            seq: 3,
            time: at,
            level: Level::Info,
            task: Some("/do/0/a".to_owned()),
            event: "task.completed".to_owned(),
            message: "a message".to_owned(),
            attempt: 1,
            duration_ms: 9,
            input_digest: None,
            output_digest: None,
            error: None,
        };
        StoredRun {
            was: run.status,
            running_shard: 0,
            run,
            version: 1,
            input: Input::Inline(compress(b"{}").unwrap()),
            artifact: Some("\"ä\u{0}\"".as_bytes().to_vec()),
            log: vec![entry],
            expires_at: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    fn tenant() -> TenantId {
        TenantId::new(Timestamp::UNIX_EPOCH, 1)
    }

    #[test]
    fn run_item_round_trips() {
        let whole = whole();
        let bare = StoredRun {
            run: Run::pending(
                whole.run.id,
                whole.run.workflow_id,
                None,
                Trigger::Api,
                String::new(),
            ),
            version: 1,
            input: Input::Blob("key".to_owned()),
            artifact: None,
            log: Vec::new(),
            ..whole.clone()
        };
        let running = StoredRun {
            was: Status::Running,
            running_shard: 15,
            run: Run {
                status: Status::Running,
                ..whole.run.clone()
            },
            ..whole.clone()
        };
        for run in [whole, bare, running] {
            assert_eq!(run_of(run_item(tenant(), &run).unwrap()).unwrap(), run);
        }
    }

    #[test]
    fn filtered_attributes_are_not_compressed() {
        let run = whole();
        let item = run_item(tenant(), &run).unwrap();
        let text = |name: &str| string_of(&item, name).unwrap().to_owned();
        assert_eq!(text(STATUS), "pending");
        assert_eq!(text(WORKFLOW), run.run.workflow_id.to_string());
        assert!(text(ENDPOINT).starts_with("whe_"));
        assert_eq!(number_of(&item, ARTIFACTS), Some(1));
        assert_eq!(number_of(&item, EXPIRES_AT), Some(1_800_000_000));
    }

    #[test]
    fn malformed_item_is_an_error() {
        for missing in [SK, VERSION, RUN, INPUT] {
            let mut item = run_item(tenant(), &whole()).unwrap();
            item.remove(missing);
            assert!(matches!(run_of(item), Err(Error::Broken(_))), "{missing}");
        }
    }
}
