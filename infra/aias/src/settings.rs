//! The settings of a configuration file. They have the names and the meaning of the parameters of
//! `template.yaml`; those below [`Settings::public_url`] exist only here.

use std::{collections::HashMap, fs, path::Path};

use aias_platform::config::Env;
use ipnet::IpNet;
use serde::Deserialize;

/// A YAML file. Every setting has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub oidc_issuer: String,
    pub oidc_audience: String,
    pub oidc_client_id: String,
    pub oidc_former_issuers: Vec<String>,
    pub console_api_keys: bool,
    /// Origins of pages that may call the API (CORS).
    pub allowed_origins: Vec<String>,
    pub log_level: String,
    /// Days after which inputs and artifacts are deleted.
    pub retention_days: u32,
    pub stripe_api_url: String,
    pub outbound_networks: String,
    pub artifact_inline_max_bytes: usize,
    /// The most concurrent batches of runs.
    pub executor_concurrency: usize,

    /// The URL by which clients reach this process, without a path. By default it is that of
    /// `--listen`.
    pub public_url: String,
    /// PEM files. Without them the process speaks plain HTTP.
    pub tls_certificate: String,
    pub tls_key: String,
    /// Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The most concurrent requests.
    pub max_requests: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            oidc_issuer: String::new(),
            oidc_audience: String::new(),
            oidc_client_id: String::new(),
            oidc_former_issuers: Vec::new(),
            console_api_keys: true,
            allowed_origins: Vec::new(),
            log_level: "info".to_owned(),
            retention_days: 90,
            stripe_api_url: "https://api.stripe.com/".to_owned(),
            outbound_networks: String::new(),
            artifact_inline_max_bytes: 4096,
            executor_concurrency: 50,
            public_url: String::new(),
            tls_certificate: String::new(),
            tls_key: String::new(),
            trusted_proxies: Vec::new(),
            max_requests: 1_000,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the configuration file {0} cannot be read")]
    Unreadable(String, #[source] std::io::Error),
    #[error("the configuration file {0} is malformed")]
    Malformed(String, #[source] Box<serde_saphyr::Error>),
    #[error("{0}")]
    Invalid(&'static str),
}

/// The name by which the functions address each service of this process.
pub(crate) mod names {
    pub(crate) const TABLE: &str = "aias";
    pub(crate) const BUCKET: &str = "aias-objects";
    pub(crate) const RUNS_QUEUE: &str = "aias-runs";
    pub(crate) const DEAD_LETTER_QUEUE: &str = "aias-dead-letters";
    pub(crate) const KEYRING: &str = "keyring";
    pub(crate) const STRIPE_API_KEY: &str = "stripe-api-key";
    pub(crate) const STRIPE_WEBHOOK_SECRET: &str = "stripe-webhook-secret";
    pub(crate) const REGION: &str = "local";
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is malformed, or has contradicting settings.
    pub(crate) fn read(file: &Path) -> Result<Self, SettingsError> {
        let name = || file.display().to_string();
        let text = fs::read_to_string(file).map_err(|e| SettingsError::Unreadable(name(), e))?;
        let settings: Self = serde_saphyr::from_str(&text)
            .map_err(|e| SettingsError::Malformed(name(), Box::new(e)))?;
        settings.checked()
    }

    fn checked(self) -> Result<Self, SettingsError> {
        let invalid = if self.tls_certificate.is_empty() != self.tls_key.is_empty() {
            "TlsCertificate and TlsKey must be set together"
        } else if self.retention_days == 0 {
            "RetentionDays must be at least 1"
        } else if self.executor_concurrency == 0 || self.max_requests == 0 {
            "ExecutorConcurrency and MaxRequests must be at least 1"
        } else {
            return Ok(self);
        };
        Err(SettingsError::Invalid(invalid))
    }

    #[must_use]
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls_certificate.is_empty()
    }

    /// The environment variables of the functions.
    #[must_use]
    pub(crate) fn environment(&self, public_url: &str) -> Env {
        let inline = self.artifact_inline_max_bytes.to_string();
        let api_keys = self.console_api_keys.to_string();
        let former_issuers = self.oidc_former_issuers.join(",");
        let variables = [
            ("LOG_LEVEL", self.log_level.as_str()),
            ("AWS_REGION", names::REGION),
            ("AWS_ENDPOINT_URL", public_url),
            ("TABLE_NAME", names::TABLE),
            ("BUCKET_NAME", names::BUCKET),
            ("RUNS_QUEUE_URL", names::RUNS_QUEUE),
            ("DEAD_LETTER_QUEUE_URL", names::DEAD_LETTER_QUEUE),
            ("KEYRING_SECRET_ARN", names::KEYRING),
            ("STRIPE_API_KEY_ARN", names::STRIPE_API_KEY),
            ("STRIPE_WEBHOOK_SECRET_ARN", names::STRIPE_WEBHOOK_SECRET),
            (
                "TENANT_ROLE_ARN",
                "arn:aws:iam::000000000000:role/every-tenant",
            ),
            ("OIDC_ISSUER", &self.oidc_issuer),
            ("OIDC_AUDIENCE", &self.oidc_audience),
            ("OIDC_CLIENT_ID", &self.oidc_client_id),
            ("OIDC_FORMER_ISSUERS", &former_issuers),
            ("CONSOLE_API_KEYS", &api_keys),
            ("STRIPE_API_URL", &self.stripe_api_url),
            ("OUTBOUND_NETWORKS", &self.outbound_networks),
            ("ARTIFACT_INLINE_MAX_BYTES", &inline),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all: HashMap<String, String> = owned.into_iter().collect();
        Env::new(move |name| all.get(name).cloned())
    }
}
