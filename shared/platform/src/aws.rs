//! The SDK configuration: one HTTP client for all AWS clients, short timeouts, few retries.

use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::{
    BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::{client::Client, config::Env};

/// The configuration of all AWS clients of a function: `AWS_REGION`, credentials and, locally,
/// `AWS_ENDPOINT_URL`. All are environment variables set by Lambda. The SDK's default chain also
/// searches profiles, containers and instance metadata, and adds half a megabyte to the binary.
#[must_use]
pub fn load(env: &Env) -> SdkConfig {
    let credentials = EnvironmentVariableCredentialsProvider::new();
    load_with(
        env,
        SharedCredentialsProvider::new(credentials),
        Client::new().shared(),
    )
}

/// As [`load`], with these credentials, and an HTTP client that leads to other services than AWS.
#[must_use]
pub fn load_with(
    env: &Env,
    credentials: SharedCredentialsProvider,
    client: SharedHttpClient,
) -> SdkConfig {
    // API Gateway waits at most 30 s for a response, and many providers only 5 to 10 s.
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build();
    // The time limit of an attempt includes the upload, but not the download of an object.
    let stalled_streams = StalledStreamProtectionConfig::enabled()
        .upload_enabled(false)
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(env.text("AWS_REGION")))
        .credentials_provider(credentials)
        .http_client(client)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts)
        .stalled_stream_protection(stalled_streams);
    config.set_endpoint_url(env.optional("AWS_ENDPOINT_URL"));
    config.build()
}
