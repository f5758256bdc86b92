//! Why a message is redelivered.

use std::sync::Arc;

use aias_platform::{blobs, journal, queue, runs, store};

use crate::secrets;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Read(#[from] Arc<store::Error>),
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    #[error(transparent)]
    Queue(#[from] queue::Error),
    #[error(transparent)]
    Input(#[from] runs::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    #[error("the run does not exist yet")]
    NoRunYet,
    #[error("the engine cannot be started")]
    EngineNotStarted,
    #[error("not enough time left in this invocation to run")]
    NotEnoughTime,
    #[error("another executor is executing the run")]
    ConcurrentExecution,
}
