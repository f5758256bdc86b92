//! What a workflow is computed on when nothing is called.

use std::collections::HashMap;

use aias_domain::id::RunId;
use aias_engine::journal::Entry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Every value that an expression can read, so the same version gives the same output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// `$workflow.id`.
    pub run_id: RunId,
    /// When the run was accepted.
    pub started_at: Timestamp,
    /// The nonce in the placeholders of workflow secrets.
    pub secret_nonce: String,
    pub input: Value,
    /// What calls return, by task reference.
    pub responses: HashMap<String, Value>,
    /// Results of a past run, for equal requests.
    pub journal: Vec<Entry>,
}
