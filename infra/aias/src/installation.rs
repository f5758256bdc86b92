//! A data folder with its services, and the configuration of the functions that use them.

use std::sync::Arc;

use aias_platform::{
    aws::{self, SdkConfig},
    clock::Clock,
    config::Env,
    tenant_credentials,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::{
    data_folder::{DataFolder, FolderError},
    disk_sync::Durability,
    objects::Objects,
    queue::{Queue, QueueError},
    secrets::{Secrets, SecretsError},
    services::Services,
    settings::Settings,
    table::{Table, TableError},
};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the messages of {0} cannot be read")]
    Queue(String, #[source] QueueError),
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) services: Arc<Services>,
    pub(crate) env: Env,
    pub(crate) aws: SdkConfig,
    /// The configuration of clients for tenants' items and objects.
    pub(crate) tenants: SdkConfig,
}

impl Installation {
    /// Opens the services of a folder, which the functions reach through a client.
    ///
    /// # Errors
    ///
    /// When a file is damaged or cannot be used.
    pub(crate) async fn open(
        folder: &DataFolder,
        settings: &Settings,
        public_url: &str,
        durability: Durability,
        client: impl FnOnce(SharedHttpClient) -> SharedHttpClient,
    ) -> Result<Self, OpenError> {
        let secrets = Secrets::open(folder.secrets())?;
        let credentials = secrets.credentials()?;
        let table = Table::open(&folder.table(), durability)?;
        let queue = Queue::open(table.clone(), Clock::system()).await;
        let queue =
            queue.map_err(|error| OpenError::Queue(folder.path().display().to_string(), error))?;
        let services = Arc::new(Services {
            table,
            objects: Objects::new(folder.objects(), durability),
            queue,
            secrets,
            credentials: credentials.clone(),
        });
        let env = settings.environment(public_url);
        let provider = SharedCredentialsProvider::new(credentials);
        let aws = aws::load_with(&env, provider, client(services.client()));
        let tenants = tenant_credentials::config(&aws, &env);
        Ok(Self {
            services,
            env,
            aws,
            tenants,
        })
    }
}
