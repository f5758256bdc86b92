//! DynamoDB in this process: `dynoxide` on a SQLite file.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process,
    sync::Arc,
};

use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    data_folder::sync_folder,
    disk_sync::{DiskSync, Durability},
    settings::names,
};

/// Why the table cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the table {0} cannot be opened: restore a backup if it is damaged")]
    Database(String, #[source] DynoxideError),
    #[error("the table {0} cannot be opened")]
    Io(String, #[source] std::io::Error),
    #[error("a request for the table is malformed")]
    Malformed(#[source] serde_json::Error),
}

/// The table of the template, and the table of the queues.
#[derive(Clone)]
pub(crate) struct Table {
    database: Database,
    pub sync: Arc<DiskSync>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

tokio::task_local! {
    /// Set while the writes of a task are confirmed together, later.
    static CONFIRMED_LATER: ();
}

/// A response of the table.
#[derive(Debug)]
pub(crate) struct TableResponse {
    pub status: u16,
    pub body: Vec<u8>,
}

/// The name of the table of the queues.
pub(crate) const QUEUES: &str = "queues";

impl Table {
    /// Opens the file, and creates it and its tables if they do not exist.
    ///
    /// # Errors
    ///
    /// When the file is damaged or cannot be written.
    pub(crate) fn open(file: &Path, durability: Durability) -> Result<Self, TableError> {
        let name = file.display().to_string();
        let of_database = |error| TableError::Database(name.clone(), error);
        let database = Database::new(&name).map_err(of_database)?;
        // Sets `synchronous=NORMAL`, for which `DiskSync` is made: a loss of power never damages the file.
        database.disable_bulk_loading().map_err(of_database)?;
        for definition in [definition(), queues_definition()] {
            let exists = database
                .get_table_metadata(definition["TableName"].as_str().unwrap_or_default())
                .map_err(of_database)?;
            if exists.is_none() {
                let request = serde_json::from_value(definition).map_err(TableError::Malformed)?;
                database.create_table(request).map_err(of_database)?;
            }
        }
        let expiry = json!({"TableName": names::TABLE, "TimeToLiveSpecification": {
            "AttributeName": "expires_at", "Enabled": true,
        }});
        let described = json!({"TableName": names::TABLE});
        let described = serde_json::from_value(described).map_err(TableError::Malformed)?;
        let described = database
            .describe_time_to_live(described)
            .map_err(of_database)?;
        let described = serde_json::to_value(described).map_err(TableError::Malformed)?;
        if described["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED" {
            let request = serde_json::from_value(expiry).map_err(TableError::Malformed)?;
            database.update_time_to_live(request).map_err(of_database)?;
        }
        let of_io = |error| TableError::Io(name.clone(), error);
        let log = file.with_file_name(log_name(file));
        if !fs::exists(&log).map_err(of_io)? {
            // A clean end removed it, and so far nothing was written.
            fs::File::create(&log).map_err(of_io)?;
        }
        sync_folder(file.parent().unwrap_or(file)).map_err(of_io)?;
        let sync = DiskSync::start(&log, durability).map_err(of_io)?;
        Ok(Self {
            database,
            sync: Arc::new(sync),
        })
    }

    /// Responds to a request without waiting until its write survives: for writes that may be lost.
    pub(crate) fn respond_unconfirmed(&self, operation: &str, body: &[u8]) -> TableResponse {
        let result = catch_unwind(AssertUnwindSafe(|| self.dispatch(operation, body)));
        let result = result.unwrap_or_else(|_| {
            // The lock of the database stays poisoned, so that every later request would fail. The next
            // start reads what is on the disk.
            tracing::error!(event = "table_panicked", operation);
            process::exit(70);
        });
        if is_write(operation) {
            // Also a refused one: its caller may act on a write that it has seen, and whose own call
            // does not count it before the next instruction.
            self.sync.count_write();
        }
        match result {
            Ok(body) => TableResponse { status: 200, body },
            Err(error) => {
                if error.status_code() >= 500 {
                    tracing::error!(event = "table_failed", operation, %error);
                }
                TableResponse {
                    status: error.status_code(),
                    body: error.to_json().into_bytes(),
                }
            }
        }
    }

    /// Responds to a request of the SDK. A write is answered once it survives, a refused one once the
    /// write survives that refused it.
    pub(crate) async fn respond(&self, operation: &str, body: &[u8]) -> TableResponse {
        let response = self.respond_unconfirmed(operation, body);
        if is_write(operation) && CONFIRMED_LATER.try_with(|()| ()).is_err() {
            self.sync.confirm().await;
        }
        response
    }

    /// Runs a future whose writes are confirmed together, once it has ended: for a future that shows
    /// nothing to others before. A loss of power keeps a prefix of all writes, so what it wrote
    /// remains consistent, as if the process had died between two of its writes.
    pub(crate) async fn confirming_at_end<F: Future>(&self, work: F) -> F::Output {
        let output = CONFIRMED_LATER.scope((), work).await;
        self.sync.confirm().await;
        output
    }

    fn dispatch(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, DynoxideError> {
        let database = &self.database;
        match operation {
            "GetItem" => answer(body, |request| database.get_item(request)),
            "PutItem" => answer(body, |request| database.put_item(request)),
            "UpdateItem" => answer(body, |request| database.update_item(request)),
            "DeleteItem" => answer(body, |request| database.delete_item(request)),
            "Query" => answer(body, |request| database.query(request)),
            "Scan" => answer(body, |request| database.scan(request)),
            "BatchGetItem" => answer(body, |request| database.batch_get_item(request)),
            "BatchWriteItem" => answer(body, |request| database.batch_write_item(request)),
            "TransactGetItems" => answer(body, |request| database.transact_get_items(request)),
            "TransactWriteItems" => answer(
                body,
                |mut request: dynoxide::actions::transact_write_items::TransactWriteItemsRequest| {
                    // The database would remember each for ten minutes and search all of them for
                    // each new one. No answer is lost between the SDK and this function.
                    request.client_request_token = None;
                    database.transact_write_items(request)
                },
            ),
            "DescribeTable" => answer(body, |request| database.describe_table(request)),
            _ => Err(DynoxideError::ValidationException(format!(
                "{operation} is not supported"
            ))),
        }
    }

    /// Deletes expired items, a page at a time. Returns how many.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) fn delete_expired(&self) -> Result<usize, DynoxideError> {
        let deleted = self.database.sweep_ttl()?;
        self.sync.count_write();
        Ok(deleted)
    }

    /// The size of the database file in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.database.db_size_bytes().unwrap_or_default()
    }
}

fn is_write(operation: &str) -> bool {
    matches!(
        operation,
        "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems"
    )
}

/// The name of SQLite's write-ahead log of a database file.
fn log_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    format!("{}-wal", name.to_string_lossy())
}

fn answer<Q: DeserializeOwned, R: Serialize>(
    body: &[u8],
    call: impl FnOnce(Q) -> Result<R, DynoxideError>,
) -> Result<Vec<u8>, DynoxideError> {
    let malformed =
        |error: serde_json::Error| DynoxideError::SerializationException(error.to_string());
    let request = serde_json::from_slice(body).map_err(malformed)?;
    serde_json::to_vec(&call(request)?).map_err(malformed)
}

/// The table of `template.yaml`; a test compares them.
#[must_use]
pub fn definition() -> Value {
    json!({
        "TableName": names::TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
            {"AttributeName": "active_hour", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "active",
            "KeySchema": [
                {"AttributeName": "active_hour", "KeyType": "HASH"},
                {"AttributeName": "PK", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }],
    })
}

fn queues_definition() -> Value {
    json!({
        "TableName": QUEUES,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "queue", "AttributeType": "S"},
            {"AttributeName": "message_id", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "queue", "KeyType": "HASH"},
            {"AttributeName": "message_id", "KeyType": "RANGE"},
        ],
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        sync::atomic::{AtomicU64, Ordering},
    };

    use futures_util::future::join_all;

    use super::*;

    fn put(number: usize) -> Vec<u8> {
        let item = json!({"TableName": names::TABLE, "Item": {
            "PK": {"S": "a"}, "SK": {"S": number.to_string()},
        }});
        item.to_string().into_bytes()
    }

    fn folder() -> PathBuf {
        let name = format!("aias-table-{:x}", aias_platform::clock::random_id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn refused_write_waits_for_the_write_that_refused_it() {
        let folder = folder();
        let mut table = Table::open(&folder.join("table.sqlite"), Durability::Power).unwrap();
        table.sync = Arc::new(DiskSync::with(|| Ok(())).unwrap());
        let mut request: Value = serde_json::from_slice(&put(1)).unwrap();
        request["ConditionExpression"] = "attribute_not_exists(PK)".into();
        let request = request.to_string();
        // A write of another task that is in the file, and not counted yet.
        let other = table.dispatch("PutItem", request.as_bytes());
        other.unwrap();
        let refused = table.respond("PutItem", request.as_bytes()).await;
        assert_eq!(refused.status, 400);
        assert_eq!(table.sync.syncs(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    /// A loss of power leaves what the last finished sync had before it: the test keeps that as a
    /// copy, and opens it whenever a write is confirmed.
    #[tokio::test(flavor = "multi_thread")]
    async fn confirmed_write_survives_a_loss_of_power() {
        let folder = folder();
        let file = folder.join("table.sqlite");
        let mut table = Table::open(&file, Durability::Power).unwrap();
        let copies = Arc::new(AtomicU64::new(0));
        let copy_of = {
            let folder = folder.clone();
            move |number: u64| folder.join(format!("copy-{number}.sqlite"))
        };
        let sync = {
            let (copies, copy_of, file) = (Arc::clone(&copies), copy_of.clone(), file.clone());
            move || {
                let number = copies.load(Ordering::SeqCst) + 1;
                let copy = copy_of(number);
                fs::copy(&file, &copy)?;
                fs::copy(
                    file.with_file_name(log_name(&file)),
                    copy.with_file_name(log_name(&copy)),
                )?;
                copies.store(number, Ordering::SeqCst);
                Ok(())
            }
        };
        table.sync = Arc::new(DiskSync::with(sync).unwrap());
        let writes = (0..100).map(|number| {
            let (table, copies) = (table.clone(), Arc::clone(&copies));
            tokio::spawn(async move {
                let body = put(number);
                let writing = table.respond("PutItem", &body);
                let response = if number % 2 == 0 {
                    writing.await
                } else {
                    table.confirming_at_end(writing).await
                };
                assert_eq!(response.status, 200);
                (number, copies.load(Ordering::SeqCst))
            })
        });
        let mut confirmed: Vec<(usize, u64)> = join_all(writes)
            .await
            .into_iter()
            .map(|write| write.unwrap())
            .collect();
        confirmed.sort_by_key(|(_, copy)| *copy);
        let last = confirmed.last().unwrap().1;
        assert!(last < 100, "each write had a sync of its own");
        let mut copy = 0;
        let mut opened = None;
        for (number, confirmed_by) in confirmed {
            if opened.is_none() || confirmed_by != copy {
                copy = confirmed_by;
                opened = Some(Table::open(&copy_of(copy), Durability::Process).unwrap());
            }
            let key = json!({"TableName": names::TABLE, "Key": {
                "PK": {"S": "a"}, "SK": {"S": number.to_string()},
            }});
            let table = opened.as_ref().unwrap();
            let found = table.respond("GetItem", key.to_string().as_bytes()).await;
            let found = String::from_utf8(found.body).unwrap();
            assert!(
                found.contains("Item"),
                "write {number} is not in copy {copy}"
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
