//! SDK configurations for tests, without retries, so that calls can be counted.

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};

use crate::wire::Wire;

/// A configuration for `endpoint`, with calls over `wire`.
#[must_use]
pub fn config(endpoint: &str, wire: &Wire) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "testkit");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(wire.clone())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .build()
}

/// The same with the retries of the SDK, as in production.
#[must_use]
pub fn retrying(config: &SdkConfig) -> SdkConfig {
    let retries = RetryConfig::standard();
    config.to_builder().retry_config(retries).build()
}
