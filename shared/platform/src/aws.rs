//! The SDK's configuration: one HTTP client under all AWS clients, short timeouts, few retries.

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::{
    BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::{client::Client, config::Env};

/// What every AWS client of a function is made of: `AWS_REGION`, credentials and, on this machine,
/// `AWS_ENDPOINT_URL`, all from the environment, where Lambda puts them. The SDK's own chain would
/// look for profiles, containers and instances, too, and takes half a megabyte to do so.
#[must_use]
pub fn load(env: &Env) -> SdkConfig {
    // A caller waits at most 30 s at the gateway, a provider often only 5 to 10 s.
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build();
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(env.text("AWS_REGION")))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Client::new().shared())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts);
    config.set_endpoint_url(env.optional("AWS_ENDPOINT_URL"));
    config.build()
}
