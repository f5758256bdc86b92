//! Secrets Manager in this process: a file of mode 0600, made at the first start.
//!
//! A secret is read from the file at each request, and the functions cache it for five minutes, so
//! that a change of the file takes effect without a restart, as on AWS.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aias_platform::clock::random;
use aws_credential_types::Credentials;
use serde_json::{Map, Value, json};

use crate::{data_folder::sync_folder, settings::names};

/// The name of the credentials that sign the requests of this process and its download URLs.
const CREDENTIALS: &str = "credentials";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("{0} cannot be used")]
    Io(String, #[source] io::Error),
    #[error("{0} can be read by other users: run `chmod 600 {0}`")]
    Readable(String),
    #[error("{0} is malformed: it must be an object of objects of strings, as at the first start")]
    Malformed(String),
}

/// The secrets of a file.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    file: PathBuf,
}

type AllSecrets = BTreeMap<String, Map<String, Value>>;

impl Secrets {
    /// Opens the file, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// When it is malformed, or others can read it.
    pub(crate) fn open(file: PathBuf) -> Result<Self, SecretsError> {
        let secrets = Self { file };
        let failed = |error| SecretsError::Io(secrets.name(), error);
        if !secrets.file.exists() {
            secrets.create().map_err(failed)?;
        }
        let mode = fs::metadata(&secrets.file)
            .map_err(failed)?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(SecretsError::Readable(secrets.name()));
        }
        secrets.read()?;
        Ok(secrets)
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }

    /// Writes new secrets to a temporary file, which then gets the name, so that no half of a
    /// keyring is ever used.
    fn create(&self) -> io::Result<()> {
        let secret = || hex::encode(random::<32>());
        let content = json!({
            names::KEYRING: {"current": "k1", "k1": secret()},
            names::STRIPE_API_KEY: {"current": secret()},
            names::STRIPE_WEBHOOK_SECRET: {"current": format!("whsec_{}", secret())},
            CREDENTIALS: {"access_key_id": "aias", "secret_access_key": secret()},
        });
        let temporary = self.file.with_extension("new");
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        let mut created = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        created.write_all(serde_json::to_string_pretty(&content)?.as_bytes())?;
        created.sync_all()?;
        fs::rename(&temporary, &self.file)?;
        sync_folder(self.file.parent().unwrap_or_else(|| Path::new(".")))
    }

    fn read(&self) -> Result<AllSecrets, SecretsError> {
        let file = File::open(&self.file).map_err(|error| SecretsError::Io(self.name(), error))?;
        serde_json::from_reader(io::BufReader::new(file))
            .map_err(|_| SecretsError::Malformed(self.name()))
    }

    /// A secret as text; none if it does not exist.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<String>, SecretsError> {
        let found = self.read()?.remove(name);
        Ok(found.map(|members| Value::Object(members).to_string()))
    }

    /// The credentials that sign the requests of this process.
    ///
    /// # Errors
    ///
    /// When the file has none.
    pub(crate) fn credentials(&self) -> Result<Credentials, SecretsError> {
        let all = self.read()?;
        let member = |name: &str| all.get(CREDENTIALS)?.get(name)?.as_str();
        let (Some(id), Some(secret)) = (member("access_key_id"), member("secret_access_key"))
        else {
            return Err(SecretsError::Malformed(self.name()));
        };
        Ok(Credentials::new(id, secret, None, None, "aias"))
    }
}
